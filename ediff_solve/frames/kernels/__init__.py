"""ediff_solve/frames/kernels"""

"""ediff_solve/scans/kernels"""

"""ediff_utils/paper/kernels"""

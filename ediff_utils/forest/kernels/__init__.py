"""ediff_utils/forest/kernels"""

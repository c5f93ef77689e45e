"""ediff_utils/bloch/kernels"""

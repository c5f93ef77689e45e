"""ediff_utils/core"""

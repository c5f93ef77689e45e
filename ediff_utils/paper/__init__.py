"""ediff_utils/paper"""

"""ediff_utils/paper/scan"""

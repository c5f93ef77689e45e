"""ediff_solve/gold_scan/kernels"""

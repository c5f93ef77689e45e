"""ediff_solve/predictor/evidence/kernels"""

"""ediff_solve/predictor/training"""

"""ediff_solve/figures"""

"""ediff_solve/lattice/kernels"""

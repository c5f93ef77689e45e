"""ediff_solve/scans"""

"""ediff_utils/bloch/dataset"""

"""ediff_utils/bloch"""

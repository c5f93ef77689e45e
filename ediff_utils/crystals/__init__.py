"""ediff_utils/crystals"""

"""Crystals from their sources to one table: standard cells, symmetry, labels."""

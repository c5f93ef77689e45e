"""Numba code of the evidence: symmetric metrics, symmetry of a pattern in the plane, rings."""

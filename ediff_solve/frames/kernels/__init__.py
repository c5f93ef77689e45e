"""Spots and sums of detector frames: compiled, arrays only."""

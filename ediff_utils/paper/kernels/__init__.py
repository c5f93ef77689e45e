"""Compiled sums over spots: equations 1 and 2 (``radial``)."""

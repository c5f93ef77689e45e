"""Bloch-wave spot patterns of crystals, and what a detector leaves of them."""

"""Compiled loops over bare arrays: structure factors, matrices, waves, detector."""

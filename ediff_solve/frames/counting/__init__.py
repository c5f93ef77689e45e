"""Spots in frames of few electrons a pixel, one at a time, and what a series of them tells."""

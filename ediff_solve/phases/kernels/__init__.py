"""Compiled functions on arrays."""

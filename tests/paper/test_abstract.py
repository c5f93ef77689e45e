"""The abstract: crystal system, and the ranges of space groups and lattices."""

from __future__ import annotations

from beside_the_paper import hold


def test_crystal_system():
    hold("crystal system accuracy")


def test_ranges():
    hold("space group accuracy, range", "median lattice error, range")

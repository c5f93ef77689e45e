"""Figure 5 and its text: space groups and lattices by predicted crystal system."""

from __future__ import annotations

from beside_the_paper import hold


def test_space_groups():
    hold("space group accuracy, predicted")


def test_space_groups_where_the_system_is_right():
    hold("space group accuracy where")


def test_median_errors_of_axes():
    hold("median error of")

"""Figure 4 and its text: confidences, wrong calls, what ten patterns gain over one."""

from __future__ import annotations

from beside_the_paper import hold


def test_mean_confidences():
    hold("mean confidence")


def test_false_positives():
    hold("false positives")


def test_gain_of_ten_patterns():
    hold("gain of")


def test_orthorhombic_called_monoclinic():
    hold("orthorhombic called monoclinic")

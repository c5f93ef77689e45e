"""Figure 7 and its text: the gold nanoparticles; the scans are other ones than the paper's."""

from __future__ import annotations

from beside_the_paper import hold


def test_gold():
    hold("gold:")

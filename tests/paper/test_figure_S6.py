"""Figure S6: how often hexagonal calls of some confidence are right."""

from __future__ import annotations

from beside_the_paper import hold


def test_hexagonal_calls():
    hold("right among hexagonal calls")

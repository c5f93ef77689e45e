"""Figure S3: triclinic as a seventh class."""

from __future__ import annotations

from beside_the_paper import hold


def test_with_triclinic():
    hold("with triclinic")

"""What is written of the differences to the paper is of numbers that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from beside_the_paper import compute_differences, distance, read_written

from ediff_utils.paper.published import Published


def test_nothing_is_written_that_is_not_there():
    found, written = compute_differences(), read_written()
    assert not written.index.duplicated().any()
    assert not set(written.index) - set(found.index)
    within = found["difference"].abs() <= found["tolerance"]
    assert not set(written.index) & set(found.index[within]), "within the tolerance by now"


def test_all_rows_belong_to_a_figure():
    """Each quantity is held by one of the tests of this folder."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    starts = re.findall(r'"([^"]+)"', " ".join(re.findall(r"hold\(([^)]*)\)", " ".join(texts))))
    quantities = set(compute_differences().index.get_level_values("quantity"))
    assert not [q for q in quantities if not q.startswith(tuple(starts))]


def test_distance():
    paper = Published(None, "fraction", "x", "range", 0.7, 0.9)
    assert distance(0.8, paper) == 0
    assert distance(0.6, paper) == pytest.approx(-0.1)
    assert distance([0.6, 0.95], paper) == pytest.approx(-0.1)
    assert distance(0.6, Published(0.5, "fraction", "x")) == pytest.approx(0.1)
    above = Published(0.9, "fraction", "x", "above")
    assert distance(0.95, above) == 0
    assert distance(0.85, above) == pytest.approx(-0.05)

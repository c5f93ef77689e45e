"""Bragg lists: every spot stays at its position."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ediff_solve.frames.bragg import drop_direct_beam
from ediff_utils.paper.scan.bragg import build_bragg_lists


@st.composite
def tables(draw):
    n = draw(st.integers(1, 30))
    whole = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    number = st.lists(st.floats(-1.9, 1.9), min_size=n, max_size=n)
    above = st.lists(st.floats(1e-6, 1e6), min_size=n, max_size=n)
    return draw(whole), draw(whole), draw(number), draw(number), draw(above)


@given(tables())
@settings(max_examples=30, deadline=None)
def test_building_keeps_every_spot_at_its_position(table):
    lists = build_bragg_lists(*table, shape=(6, 7))
    x, y = (np.repeat(v, lists.n_spots) for v in (lists.x, lists.y))
    built = zip(x, y, lists.qx, lists.qy, lists.intensity, strict=True)
    assert sorted(built) == sorted(zip(*table, strict=True))
    assert lists.n_spots.min() > 0
    assert np.isclose(lists.total_intensity.sum(), sum(table[4]))
    assert [len(lists.spots(i)[0]) for i in range(len(lists))] == lists.n_spots.tolist()


def test_dropping_the_direct_beam_drops_positions_that_had_nothing_else():
    lists = build_bragg_lists([0, 1, 1], [0, 0, 0], [0.019, 0.0, 0.5], [0.0, 0.0, 0.0], [9, 9, 1])
    left = drop_direct_beam(lists)
    assert left.x.tolist() == [1]
    assert left.qx.tolist() == [0.5]
    assert left.shape == lists.shape == (2, 1)
    assert len(drop_direct_beam(lists, radius=0.01)) == 2

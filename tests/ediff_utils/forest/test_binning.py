"""Features as bytes: what cuts are chosen, and that bytes and cuts say the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ediff_utils.core.errors import UserError
from ediff_utils.forest.binning import BINS, draw_sample, find_cuts, to_bins


def bins_of(values: np.ndarray) -> np.ndarray:
    vectors = np.asarray(values, np.float32)[:, None]
    return to_bins([vectors], find_cuts(vectors), len(vectors))[0]


def test_few_values_have_a_bin_each():
    values = np.repeat(np.linspace(-1, 1, BINS), 3)
    assert np.array_equal(bins_of(values), np.repeat(np.arange(BINS), 3))


def test_many_values_are_shared_out_evenly():
    patterns = np.bincount(bins_of(np.random.default_rng(0).normal(size=25_600)), minlength=BINS)
    assert patterns.min() >= 98
    assert patterns.max() <= 102


def test_zeros_have_a_bin_of_their_own_and_cost_no_other():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(40_000) < 0.9, 0, rng.normal(size=40_000))
    found = bins_of(values)
    zero = np.unique(found[values == 0])
    assert len(zero) == 1
    assert not np.any(found[values != 0] == zero[0])
    assert len(np.unique(found)) > 250


def test_cuts_tell_neighbouring_numbers_apart():
    one = np.float32(0.1)
    cuts = find_cuts(np.array([[one], [np.nextafter(one, np.float32(1))]]))
    assert one < cuts[0, 0] < np.nextafter(one, np.float32(1))
    assert np.all(np.isinf(cuts[0, 1:]))


def test_a_constant_has_no_cut():
    assert np.all(np.isinf(find_cuts(np.full((50, 1), 3, np.float32))))


numbers = st.floats(-(2.0**100), 2.0**100, width=32)


@given(st.lists(numbers, min_size=1, max_size=400), st.lists(numbers, min_size=1, max_size=50))
def test_a_value_is_in_a_bin_or_below_where_it_is_at_most_its_cut(sample, values):
    sample = np.array(sample, np.float32)[:, None]
    vectors = np.concatenate([np.array(values, np.float32)[:, None], sample])
    cuts = find_cuts(sample)
    assert np.all(np.diff(cuts[0][np.isfinite(cuts[0])]) > 0)
    found = to_bins([vectors], cuts, len(vectors))[0]
    below = vectors.astype(float) <= np.append(cuts[0], np.inf)
    assert np.array_equal(found, below.argmax(axis=1))


def test_blocks_are_as_good_as_one():
    vectors = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32)
    cuts = find_cuts(vectors[:300])
    whole = to_bins([vectors], cuts, 2000)
    parts = to_bins(iter([vectors[:1], vectors[1:700], vectors[700:]]), cuts, 2000)
    assert np.array_equal(whole, parts)
    assert whole.dtype == np.uint8
    with pytest.raises(ValueError, match="expected 2000 patterns, got 700"):
        to_bins([vectors[:700]], cuts, 2000)


def test_sample():
    assert np.array_equal(draw_sample(5, seed=0), np.arange(5))
    rows = draw_sample(1000, seed=0, size=100)
    assert len(rows) == len(set(rows)) == 100
    assert np.all(np.diff(rows) > 0)
    assert np.array_equal(rows, draw_sample(1000, seed=0, size=100))
    assert not np.array_equal(rows, draw_sample(1000, seed=1, size=100))


def test_errors():
    vectors = np.zeros((3, 2), np.float32)
    cuts = find_cuts(vectors)
    vectors[1, 1] = np.nan
    with pytest.raises(UserError, match="features: expected finite numbers"):
        find_cuts(vectors)
    with pytest.raises(UserError, match="features: expected finite numbers"):
        to_bins([vectors], cuts, 3)
    with pytest.raises(UserError, match="features: expected training patterns, found none"):
        find_cuts(vectors[:0])

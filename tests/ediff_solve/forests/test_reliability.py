"""Reliability and coverage on tables small enough to count by hand, and properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_tables import make_predictions

from ediff_solve.forests import reliability as ca
from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import compute_wilson_interval, estimate_rate
from ediff_utils.paper.evaluation import compute_accuracy, right_system


def make_table(right, confidence) -> pd.DataFrame:
    """Make a table of one pattern a material that is right where told."""
    system = np.where(np.asarray(right, dtype=bool), "cubic", "trigonal")
    names = [f"m{i}" for i in range(len(system))]
    return pd.DataFrame(
        {"material_id": names, "true_system": "cubic", "system": system, "share": confidence}
    ).astype({"system": object, "share": float})


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table([1, 1, 0, 1, 0, 0, 1, 0], [0.95, 0.9, 0.85, 0.5, 0.5, 0.5, 0.1, 0.05])


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(40, 6)


outcomes = st.lists(
    st.tuples(st.booleans(), st.integers(0, 20).map(lambda k: k / 20)), min_size=1, max_size=40
)


# --- reliability ----------------------------------------------------------------------------------
def test_reliability_worked_by_hand(table):
    bins = ca.compute_reliability(table, "share", n_bins=4)
    assert bins["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert bins["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert bins["n"].tolist() == [2, 0, 3, 3]
    np.testing.assert_allclose(bins["confidence"], [0.075, np.nan, 0.5, 0.9])
    np.testing.assert_allclose(bins["accuracy"], [1 / 2, np.nan, 1 / 3, 2 / 3])
    low, high = compute_wilson_interval(2 / 3, 3)
    np.testing.assert_allclose(bins.loc[3, ["accuracy_low", "accuracy_high"]].tolist(), [low, high])
    assert np.isnan(bins.loc[1, "accuracy_low"])


def test_a_share_on_an_edge_opens_its_bin():
    shares = np.array([0, 8, 16, 24, 48, 56, 80]) / 80
    bins = ca.compute_reliability(make_table(np.ones(7), shares), "share")
    assert bins["n"].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 0, 1]


def test_intervals_resample_materials(predictions):
    bins = ca.compute_reliability(predictions, "vote_share", seed=5)
    fullest = bins.loc[bins["n"].idxmax()]
    share = predictions["vote_share"]
    own = predictions[(share >= fullest["low"]) & (share < fullest["high"])]
    expected = estimate_rate(right_system(own), own["material_id"].to_numpy(), seed=5)
    assert fullest["n"] == expected.n
    assert (fullest["accuracy_low"], fullest["accuracy_high"]) == (expected.low, expected.high)


# --- expected calibration error -------------------------------------------------------------------
def test_ece_worked_by_hand(table):
    # (2 |1/2 - 0.075| + 3 |1/3 - 0.5| + 3 |2/3 - 0.9|) / 8 = (0.85 + 0.5 + 0.7) / 8
    assert ca.compute_ece(table, "share", n_bins=4) == pytest.approx(0.25625)


def test_ece_of_extremes():
    assert ca.compute_ece(make_table([1, 1], [1, 1]), "share") == 0
    assert ca.compute_ece(make_table([0, 0], [1, 1]), "share") == 1
    # one row off by 0.1 up and one by 0.1 down in the same bin cancel
    assert ca.compute_ece(make_table([1, 0], [0.5, 0.5]), "share") == pytest.approx(0)


@settings(max_examples=50)
@given(rows=outcomes, n_bins=st.integers(1, 12))
def test_ece_is_the_weighted_gap_of_the_reliability(rows, n_bins):
    table = make_table(*zip(*rows, strict=True))
    bins = ca.compute_reliability(table, "share", n_bins)
    assert bins["n"].sum() == len(table)
    gaps = (bins["accuracy"] - bins["confidence"]).abs() * bins["n"] / len(table)
    ece = ca.compute_ece(table, "share", n_bins)
    assert ece == pytest.approx(gaps.sum())
    overall = abs(right_system(table).mean() - table["share"].mean())
    assert overall - 1e-12 <= ece <= 1 + 1e-12


# --- coverage -------------------------------------------------------------------------------------
def test_coverage_worked_by_hand(table):
    curve = ca.compute_coverage(table, "share").set_index("coverage")
    assert len(curve) == 20
    # four rows: right, right, wrong, and one of a tie of three with one right
    assert curve.loc[0.5].tolist() == pytest.approx([(2 + 1 / 3) / 4, 4, 0.5])
    assert curve.loc[0.05].tolist() == [1, 1, 0.95]
    assert curve.loc[0.25].tolist() == [1, 2, 0.9]
    assert curve.loc[0.75].tolist() == [3 / 6, 6, 0.5]
    assert curve.loc[1.0].tolist() == [4 / 8, 8, 0.05]
    # 0.8 of 8 rows are 6.4: seven
    assert ca.compute_accuracy_at_coverage(table, "share") == pytest.approx(4 / 7)


@settings(max_examples=25)
@given(rows=outcomes, seed=st.integers(0, 9))
def test_a_tie_is_resolved_without_the_answer(rows, seed):
    table = make_table(*zip(*rows, strict=True))
    curve = ca.compute_coverage(table, "share")
    pd.testing.assert_frame_equal(
        curve, ca.compute_coverage(table.sample(frac=1, random_state=seed), "share")
    )
    flat = ca.compute_coverage(table.assign(share=0.3), "share")
    np.testing.assert_allclose(flat["accuracy"], right_system(table).mean())
    assert (curve["n"] >= curve["coverage"] * len(table) - 1e-9).all()
    assert (curve["n"] < curve["coverage"] * len(table) + 1).all()
    assert (np.diff(curve["threshold"]) <= 0).all()
    for row in curve.itertuples():
        value = ca.compute_accuracy_at_coverage(table, "share", row.coverage)
        assert value == row.accuracy


@settings(max_examples=50)
@given(right=st.lists(st.booleans(), min_size=1, max_size=30))
def test_an_oracle_is_right_until_its_right_rows_are_used_up(right):
    table = make_table(right, np.array(right, dtype=float))
    curve = ca.compute_coverage(table, "share")
    expected = np.minimum(sum(right), curve["n"]) / curve["n"]
    np.testing.assert_allclose(curve["accuracy"], expected)


# --- summary and what confidences are -------------------------------------------------------------
def test_summary(predictions):
    summary = ca.compute_reliability_summary(predictions, "vote_share")
    assert summary == {
        "ece": ca.compute_ece(predictions, "vote_share"),
        "accuracy_at_80": ca.compute_accuracy_at_coverage(predictions, "vote_share", 0.8),
        "mean_confidence": pytest.approx(predictions["vote_share"].mean()),
        "accuracy": pytest.approx(compute_accuracy(predictions).value),
    }
    assert summary["accuracy_at_80"] > summary["accuracy"]


def test_nothing_gives_nan(table):
    empty = table[:0]
    assert all(np.isnan(v) for v in ca.compute_reliability_summary(empty, "share").values())
    coverage = ca.compute_coverage(empty, "share")
    assert coverage["accuracy"].isna().all()
    assert not coverage["n"].any()
    bins = ca.compute_reliability(empty, "share", 3)
    assert bins["n"].tolist() == [0, 0, 0]
    assert bins["accuracy"].isna().all()


def test_confidences_that_are_none(table):
    with pytest.raises(UserError, match="column 'sureness' is missing"):
        ca.compute_ece(table, "sureness")
    for wrong in (1.2, -0.1, np.nan):
        with pytest.raises(UserError, match="share: expected numbers from 0 to 1"):
            ca.compute_reliability(table.assign(share=wrong), "share")
    with pytest.raises(UserError, match="n_bins: expected at least 1, got 0"):
        ca.compute_ece(table, "share", n_bins=0)
    for coverage in (0, 1.1):
        with pytest.raises(UserError, match="above 0 and at most 1"):
            ca.compute_accuracy_at_coverage(table, "share", coverage)


def test_round_off_of_a_sum_is_forgiven():
    table = make_table([1, 1], [1 + 4e-16, -1e-17])
    assert ca.compute_reliability(table, "share", 2)["n"].tolist() == [1, 1]

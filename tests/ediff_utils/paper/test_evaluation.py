"""Metrics on tables small enough to count by hand, and properties on random ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_tables import make_aggregates, make_predictions

from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import compute_wilson_interval, estimate_median, estimate_rate
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS
from ediff_utils.paper import evaluation as ev

#: Two cubic materials, one hexagonal: material, true, predicted, share, space groups, lengths.
ROWS = [
    ("m1", "cubic", "cubic", 0.9, 225, 225, 4.0, 4.1),
    ("m1", "cubic", "hexagonal", 0.4, 225, 194, 4.0, 4.4),
    ("m2", "cubic", "cubic", 0.7, 227, 225, 5.0, 5.3),
    ("m2", "cubic", "cubic", 0.5, 227, 227, 5.0, 5.0),
    ("m3", "hexagonal", "cubic", 0.3, 194, 225, 3.0, 3.8),
    ("m3", "hexagonal", "hexagonal", 0.6, 194, 194, 3.0, 3.2),
]


@pytest.fixture
def table() -> pd.DataFrame:
    names = ["material_id", "true_system", "system", "vote_share"]
    names += ["true_space_group", "space_group", "true_a", "a"]
    frame = pd.DataFrame(ROWS, columns=names)
    for axis in "bc":
        frame[axis], frame[f"true_{axis}"] = frame["a"], frame["true_a"]
    return frame.assign(confidence=frame["vote_share"] / 2)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(60, 6)


@pytest.fixture(scope="module")
def aggregates(predictions) -> pd.DataFrame:
    return make_aggregates(predictions)


def test_confusion_is_a_fraction_of_the_test_set(table):
    confusion = ev.compute_confusion(table)
    assert confusion.loc["cubic", "cubic"] == pytest.approx(3 / 6)
    assert confusion.loc["cubic", "hexagonal"] == pytest.approx(1 / 6)
    assert confusion.loc["hexagonal", "cubic"] == pytest.approx(1 / 6)
    assert confusion.attrs["n"] == 6
    assert list(confusion.index) == list(confusion.columns) == list(SYSTEMS)


def test_confidence_matrix_averages_the_vote_share_of_single_patterns(table):
    matrix = ev.compute_confidence_matrix(table)
    assert matrix.loc["cubic", "cubic"] == pytest.approx((0.9 + 0.7 + 0.5) / 3)
    assert matrix.loc["hexagonal", "cubic"] == pytest.approx(0.3)
    assert np.isnan(matrix.loc["trigonal", "trigonal"])


def test_confidence_of_aggregates_is_their_share_of_the_weights(table):
    aggregates = table.drop(columns="vote_share")
    matrix = ev.compute_confidence_matrix(aggregates)
    assert matrix.loc["hexagonal", "cubic"] == pytest.approx(0.15)


def test_rates_of_a_system(table):
    rates = ev.compute_system_rates(table)
    cubic = rates.loc["cubic"]
    assert (cubic["n_true"], cubic["n_predicted"], cubic["n_right"]) == (4, 4, 3)
    assert cubic["precision"] == pytest.approx(3 / 4)
    assert cubic["false_positive_rate"] == pytest.approx(1 / 4)
    assert rates.loc["hexagonal", "sensitivity"] == pytest.approx(1 / 2)
    assert cubic["share"] == pytest.approx(4 / 6)
    assert rates.loc["trigonal", "n_true"] == 0
    assert np.isnan(rates.loc["trigonal", "precision"])


def test_confidence_by_outcome(table):
    outcome = ev.compute_confidence_by_outcome(table)
    assert outcome.loc["right", "confidence"] == pytest.approx((0.9 + 0.7 + 0.5 + 0.6) / 4)
    assert outcome.loc["wrong", "confidence"] == pytest.approx(0.35)
    assert outcome["n"].to_dict() == {"right": 4, "wrong": 2}


def test_space_group_accuracy_by_every_grouping(table):
    rates = ev.compute_space_group_accuracy(table).set_index(["grouping", "system"])
    # of four predicted cubic two have the right space group; one of them is not cubic at all
    assert rates.loc[("predicted", "cubic"), "accuracy"] == pytest.approx(2 / 4)
    assert rates.loc[("true", "cubic"), "accuracy"] == pytest.approx(2 / 4)
    assert rates.loc[("given", "cubic"), "accuracy"] == pytest.approx(2 / 3)
    assert rates.loc[("given", "all"), "n"] == 4
    assert rates.loc[("predicted", "all"), "accuracy"] == pytest.approx(3 / 6)
    assert "known" not in rates.index.get_level_values("grouping")


def test_lattice_errors_are_medians(table):
    errors = ev.compute_lattice_errors(table).set_index(["grouping", "system", "axis"])
    # predicted cubic: 0.1, 0.3, 0.0, 0.8
    assert errors.loc[("predicted", "cubic", "a"), "median_error"] == pytest.approx(0.2)
    # truly cubic: 0.1, 0.4, 0.3, 0.0
    assert errors.loc[("true", "cubic", "b"), "median_error"] == pytest.approx(0.2)
    assert errors.loc[("predicted", "hexagonal", "c"), "median_error"] == pytest.approx(0.3)
    assert errors.loc[("predicted", "cubic", "a"), "n_materials"] == 3
    assert errors.loc[("predicted", "trigonal", "a"), "n"] == 0


def test_forests_of_the_true_system_have_their_own_grouping(predictions):
    errors = ev.compute_lattice_errors(predictions)
    known = errors[(errors["grouping"] == "known") & (errors["n"] > 0)]
    np.testing.assert_allclose(known["median_error"], 0.05)
    rates = ev.compute_space_group_accuracy(predictions)
    known = rates[(rates["grouping"] == "known") & (rates["system"] == "all")].iloc[0]
    right = predictions["space_group_given"] == predictions["true_space_group"]
    assert known["accuracy"] == pytest.approx(right.mean())


def test_conditional_accuracy_gives_the_unconditional_one(aggregates):
    """The paper's rule: accuracy = accuracy given the system x (1 - false-positive rate)."""
    rates = ev.compute_space_group_accuracy(aggregates).set_index(["grouping", "system"])
    false = ev.compute_system_rates(aggregates)["false_positive_rate"]
    for system in ("cubic", "orthorhombic"):
        given = rates.loc[("given", system), "accuracy"]
        overall = rates.loc[("predicted", system), "accuracy"]
        assert given * (1 - false[system]) == pytest.approx(overall)


def test_confidence_histogram_counts_every_prediction(predictions):
    histogram = ev.compute_confidence_histogram(predictions)
    assert histogram["n"].sum() == len(predictions)
    assert histogram["right"].sum() == ev.right_system(predictions).sum()
    assert (histogram["right"] + histogram["wrong"] == histogram["n"]).all()
    assert histogram.groupby("system")["low"].min().eq(0).all()
    assert histogram.groupby("system")["high"].max().eq(1).all()


def test_seven_classes_where_the_model_knows_triclinic():
    table = make_predictions(5, 2, triclinic=True)
    assert ev.systems_of(table) == ALL_SYSTEMS
    assert ev.compute_confusion(table).shape == (7, 7)
    assert ev.systems_of(make_aggregates(table)) == ALL_SYSTEMS


def test_no_rows_give_nan_and_no_warning(predictions):
    empty = predictions[:0]
    assert np.isnan(ev.compute_accuracy(empty).value)
    assert ev.compute_confusion(empty).isna().all(axis=None)
    assert ev.compute_confidence_matrix(empty).isna().all(axis=None)
    assert ev.compute_system_rates(empty)["n_true"].eq(0).all()
    assert ev.compute_space_group_accuracy(empty)["accuracy"].isna().all()
    assert ev.compute_lattice_errors(empty)["median_error"].isna().all()
    assert ev.compute_confidence_histogram(empty)["n"].eq(0).all()
    assert ev.compute_confidence_by_outcome(empty)["confidence"].isna().all()


@pytest.mark.parametrize("column", ["material_id", "system", "confidence"])
def test_a_missing_column_is_named(predictions, column):
    with pytest.raises(UserError, match=f"'{column}' is missing"):
        ev.compute_accuracy(predictions.drop(columns=column))


def test_missing_predictions_of_a_length_are_left_out(table):
    table.loc[0, "a"] = np.nan
    errors = ev.compute_lattice_errors(table).set_index(["grouping", "system", "axis"])
    # 0.3, 0.0, 0.8 remain
    assert errors.loc[("predicted", "cubic", "a"), "median_error"] == pytest.approx(0.3)
    assert errors.loc[("predicted", "cubic", "a"), "n"] == 3


# --- intervals ------------------------------------------------------------------------------------
def test_wilson_interval_of_a_textbook_case():
    """8 of 10: 0.4902 to 0.9433 (Brown, Cai and DasGupta 2001)."""
    assert compute_wilson_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_interval_does_not_shrink_by_repeating_patterns():
    rng = np.random.default_rng(1)
    right = rng.random(40) < 0.7
    materials = np.arange(40)
    once = estimate_rate(right, materials)
    twice = estimate_rate(np.repeat(right, 25), np.repeat(materials, 25))
    assert twice.value == once.value
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.15)
    assert (twice.n, twice.n_materials) == (1000, 40)


def test_an_interval_is_no_point_where_all_materials_agree():
    estimate = estimate_rate(np.ones(30, dtype=bool), np.repeat(np.arange(3), 10))
    assert estimate.value == estimate.high == 1.0
    assert estimate.low < 0.6


def test_weighted_median_agrees_with_plain_resampling():
    """The accumulated weights give the median that drawing the materials anew gives."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 9, 30)
    materials = np.repeat(np.arange(30), sizes)
    values = rng.gamma(1.0, 1.0, sizes.sum()) * np.repeat(rng.gamma(2.0, 1.0, 30), sizes)
    fast = estimate_median(values, materials, n_bootstrap=300, seed=5)
    rng = np.random.default_rng(5)
    medians = []
    for _ in range(300):
        drawn = np.concatenate([values[materials == m] for m in rng.integers(0, 30, 30)])
        medians.append(np.sort(drawn)[(len(drawn) + 1) // 2 - 1])
    assert (fast.low, fast.high) == pytest.approx(tuple(np.quantile(medians, (0.025, 0.975))))


def test_the_same_seed_gives_the_same_interval(predictions):
    assert ev.compute_accuracy(predictions, seed=3) == ev.compute_accuracy(predictions, seed=3)
    assert ev.compute_accuracy(predictions, seed=3) != ev.compute_accuracy(predictions, seed=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 100)), max_size=30))
def test_estimates_lie_within_their_interval(rows):
    materials = np.array([row[0] for row in rows])
    right = np.array([row[1] for row in rows], dtype=bool)
    values = np.array([row[2] for row in rows], dtype=float)
    rate = estimate_rate(right, materials, n_bootstrap=50)
    median = estimate_median(values, materials, n_bootstrap=50)
    if not rows:
        assert np.isnan(rate.value)
        assert np.isnan(median.value)
        return
    assert 0 <= rate.low <= rate.high <= 1
    assert median.low <= median.value <= median.high
    assert values.min() <= median.low
    assert median.high <= values.max()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_confusion_holds_accuracy_precision_and_sensitivity(seed, triclinic):
    table = make_predictions(6, 3, seed=seed, triclinic=triclinic)
    confusion = ev.compute_confusion(table)
    rates = ev.compute_system_rates(table)
    diagonal = pd.Series(np.diag(confusion), index=confusion.index)
    assert confusion.to_numpy().sum() == pytest.approx(1)
    assert diagonal.sum() == pytest.approx(ev.compute_accuracy(table).value)
    found = rates["n_predicted"] > 0
    np.testing.assert_allclose((diagonal / confusion.sum())[found], rates["precision"][found])
    present = rates["n_true"] > 0
    shares = diagonal / confusion.sum(axis=1)
    np.testing.assert_allclose(shares[present], rates["sensitivity"][present])

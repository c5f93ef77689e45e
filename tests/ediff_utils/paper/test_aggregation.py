"""Aggregation of several patterns: sums worked by hand, and the paper's rule against its twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic_tables import make_aggregates, make_predictions

from ediff_utils.core.errors import UserError
from ediff_utils.paper import aggregation as ag
from ediff_utils.paper.evaluation import right_system, systems_of
from ediff_utils.paper.predictions import aggregate_confidence, aggregate_votes, choose_patterns

#: Three patterns, three classes, 10 trees: leads of 6, 1 and 2 trees.
VOTES = np.array([[8, 2, 0], [4, 5, 1], [3, 5, 2]])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.4, 0.6, 0.0]])


def with_probabilities(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Add probabilities that are near the shares of the trees, as leaf fractions are."""
    systems = systems_of(predictions)
    votes = predictions[[f"votes_{s}" for s in systems]].to_numpy()
    blurred = votes + np.random.default_rng(seed).gamma(1.0, 2.0, votes.shape)
    blurred /= blurred.sum(axis=1, keepdims=True)
    return predictions.assign(**{f"probability_{s}": blurred[:, i] for i, s in enumerate(systems)})


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Draw a table in which materials have from three to six patterns, in no order."""
    table = with_probabilities(make_predictions(40, 6))
    short = table["material_id"].isin(["m-00003", "m-00017"]) & (table["pattern"] >= 3)
    return table[~short].sample(frac=1, random_state=2)


# --- scores ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "expected", "winner"),
    [
        ("difference", [6 / 9, 3 / 9, 0], 0),
        ("majority", [1 / 3, 2 / 3, 0], 1),
        ("mean_probability", [1.5 / 3, 1.3 / 3, 0.2 / 3], 0),
        # products 0.112, 0.06 and 0.0005, the last with 1 / 20 for nothing
        ("log_sum", [0.112 / 0.1725, 0.06 / 0.1725, 0.0005 / 0.1725], 0),
    ],
)
def test_scores_worked_by_hand(method, expected, winner):
    scores, first = ag.compute_scores(method, VOTES, PROBABILITIES)
    np.testing.assert_allclose(scores, [expected], rtol=1e-12)
    assert first.tolist() == [winner]


def test_groups_are_put_together_apart_from_each_other():
    codes = np.array([1, 0, 1])
    scores, winner = ag.compute_scores("difference", VOTES, codes=codes)
    np.testing.assert_allclose(scores, [[0, 1, 0], [6 / 8, 2 / 8, 0]])
    assert winner.tolist() == [1, 0]


def test_majority_breaks_ties_by_trees():
    votes = np.array([[6, 4, 0], [0, 9, 1]])
    scores, winner = ag.compute_scores("majority", votes)
    assert scores.tolist() == [[0.5, 0.5, 0]]
    assert winner.tolist() == [1]


def test_without_any_lead_the_trees_decide():
    votes = np.array([[5, 5, 0], [0, 5, 5]])
    scores, winner = ag.compute_scores("difference", votes)
    np.testing.assert_allclose(scores, [[0.25, 0.5, 0.25]])
    assert winner.tolist() == [1]


def test_many_sure_patterns_do_not_underflow():
    probabilities = np.tile([0.02, 0.49, 0.49], (1000, 1)) + [0, 1e-3, -1e-3]
    scores, winner = ag.compute_scores("log_sum", np.tile([1, 5, 4], (1000, 1)), probabilities)
    # (0.491 / 0.489)^1000 = exp(4.0817) = 59.24, and 59.24 / 60.24 = 0.98340
    np.testing.assert_allclose(scores, [[0, 0.98340, 0.01660]], atol=1e-5)
    assert winner.tolist() == [1]


def some_votes(max_patterns: int = 12, n_classes: int = 4):
    """Votes of 20 trees."""
    shape = st.tuples(st.integers(1, max_patterns), st.just(20))
    trees = arrays(np.int64, shape, elements=st.integers(0, n_classes - 1))
    return trees.map(lambda t: np.array([np.bincount(row, minlength=n_classes) for row in t]))


@given(votes=some_votes(), data=st.data())
def test_difference_is_the_papers(votes, data):
    codes = data.draw(arrays(np.int64, len(votes), elements=st.integers(0, 2)))
    codes = np.unique(codes, return_inverse=True)[1]
    scores, winner = ag.compute_scores("difference", votes, codes=codes)
    for group, (row, first) in enumerate(zip(scores, winner, strict=True)):
        weights = aggregate_votes(votes[codes == group])
        assert first == weights.argmax()
        np.testing.assert_allclose(row, weights / weights.sum(), rtol=1e-12)
        assert row[first] == pytest.approx(aggregate_confidence(weights), rel=1e-12)


@given(votes=some_votes(), method=st.sampled_from(ag.METHODS), seed=st.integers(0, 9))
def test_scores_are_shares_and_the_winner_has_the_highest(votes, method, seed):
    scores, winner = ag.compute_scores(method, votes, votes / 20)
    assert scores.sum() == pytest.approx(1)
    assert scores.min() >= 0
    assert scores[0, winner[0]] == scores.max()
    order = np.random.default_rng(seed).permutation(len(votes))
    again, _ = ag.compute_scores(method, votes[order], votes[order] / 20)
    np.testing.assert_allclose(again, scores, rtol=1e-9)


@given(votes=some_votes(max_patterns=1), method=st.sampled_from(ag.METHODS))
def test_one_pattern_stands_for_itself(votes, method):
    _, winner = ag.compute_scores(method, votes, votes / 20)
    assert winner[0] == votes[0].argmax()


def test_what_scores_need():
    with pytest.raises(UserError, match=r"expected one of difference, .*, got 'median'"):
        ag.compute_scores("median", VOTES)
    with pytest.raises(UserError, match="expected for method 'log_sum'"):
        ag.compute_scores("log_sum", VOTES)
    with pytest.raises(UserError, match="at least one pattern"):
        ag.compute_scores("majority", VOTES[:0])


# --- tables ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ag.METHODS)
def test_patterns_are_those_of_the_predictions_stage(predictions, method):
    table = ag.compute_aggregate(predictions, method, 4, seed=3)
    clean = predictions.reset_index(drop=True)
    systems = systems_of(predictions)
    chosen = choose_patterns(clean, 4, 3)
    assert table["material_id"].tolist() == list(chosen)
    for row, rows in zip(table.to_dict("records"), chosen.values(), strict=True):
        own = clean.iloc[rows]
        scores, winner = ag.compute_scores(
            method,
            own[[f"votes_{s}" for s in systems]].to_numpy(),
            own[[f"probability_{s}" for s in systems]].to_numpy(),
        )
        np.testing.assert_allclose([row[f"score_{s}"] for s in systems], scores[0], rtol=1e-9)
        assert row["n_patterns"] == len(rows)
        assert row["true_system"] == own["true_system"].iloc[0]
        assert row["system"] == systems[winner[0]]
        assert row["confidence"] == row[f"score_{row['system']}"]
    assert table["n_patterns"].value_counts().to_dict() == {4: 38, 3: 2}


def test_all_patterns_give_the_aggregates_of_the_synthetic_table():
    predictions = make_predictions(30, 5, triclinic=True)
    table = ag.compute_aggregate(predictions, "difference", 99)
    expected = make_aggregates(predictions)
    assert "score_triclinic" in table
    np.testing.assert_array_equal(table["system"], expected["system"])
    np.testing.assert_allclose(table["confidence"], expected["confidence"])


def test_draws_are_nested_and_differ_by_seed():
    counts = np.array([5, 3, 6])
    first, second = (ag._draw(counts, seed) for seed in (0, 1))
    assert sorted(first[:5]) == sorted(second[:5]) == list(range(5))
    assert sorted(first[8:]) == list(range(6))
    assert first.tolist() != second.tolist()


def test_tables_that_cannot_be_aggregated(predictions):
    with pytest.raises(UserError, match="column 'probability_cubic' is missing"):
        ag.compute_aggregate(predictions.drop(columns="probability_cubic"), "log_sum", 3)
    with pytest.raises(UserError, match="n_patterns: expected at least 1, got 0"):
        ag.compute_aggregate(predictions, "majority", 0)
    with pytest.raises(UserError, match="at least one pattern"):
        ag.compute_aggregate(predictions[:0], "majority", 1)
    with pytest.raises(UserError, match="got 'median'"):
        ag.compute_curves(predictions, methods=("median",))
    with pytest.raises(UserError, match="expected at least 1"):
        ag.compute_curves(predictions, sizes=(0, 2))


def test_votes_alone_serve_the_methods_that_need_no_more(predictions):
    votes_only = predictions.drop(columns=[c for c in predictions if c.startswith("probability")])
    for method in ("difference", "majority"):
        pd.testing.assert_frame_equal(
            ag.compute_aggregate(votes_only, method, 3),
            ag.compute_aggregate(predictions, method, 3),
        )


# --- curves ---------------------------------------------------------------------------------------
def test_curves_are_means_over_draws(predictions):
    curves = ag.compute_curves(predictions, (1, 3, 2, 5), repeats=3, seed=4)
    assert list(curves) == ["method", "n_patterns", "accuracy", "low", "high", "n_materials"]
    # two materials have three patterns, so five are left out
    assert curves["n_patterns"].tolist() == 4 * [1, 2, 3]
    assert curves["method"].tolist() == [m for m in ag.METHODS for _ in range(3)]
    assert (curves["n_materials"] == 40).all()
    for row in curves.itertuples():
        draws = [
            right_system(ag.compute_aggregate(predictions, row.method, row.n_patterns, seed)).mean()
            for seed in (4, 5, 6)
        ]
        assert row.accuracy == pytest.approx(np.mean(draws))
        assert row.low < draws[0] < row.high


def test_too_large_sizes_leave_one_pattern(predictions):
    curves = ag.compute_curves(predictions, (10, 20), methods=("majority",), repeats=1)
    assert curves["n_patterns"].tolist() == [1]


# --- features -------------------------------------------------------------------------------------
def test_pooling_worked_by_hand():
    vectors = np.array([[1, -2], [3, 4], [-5, 6]], dtype=np.float32)
    pooled = ag.pool_features(vectors, [np.array([0, 1]), np.array([2]), np.array([0, 1, 2])])
    expected = [[2, 1, 3, 4], [-5, 6, -5, 6], [-1 / 3, 8 / 3, 3, 6]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)
    assert pooled.dtype == np.float32
    with pytest.raises(UserError, match="none in group 1"):
        ag.pool_features(vectors, [np.array([0]), np.array([], dtype=int)])


@settings(max_examples=30)
@given(
    vectors=arrays(np.float32, (6, 3), elements=st.floats(-9, 9, width=32)),
    rows=st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_pooling_does_not_know_the_order(vectors, rows):
    first, turned = ag.pool_features(vectors, [np.array(rows), np.array(rows[::-1])])
    np.testing.assert_allclose(first, turned, atol=1e-6)
    assert (first[3:] >= first[:3] - 1e-5).all()
    assert (first[3:] == vectors[rows].max(axis=0)).all()

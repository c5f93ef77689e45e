"""Aggregation of several patterns: the paper's rule and the others, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic_tables import TREES, make_aggregates, make_predictions

from ediff_utils.core.errors import UserError
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper import aggregation as ag
from ediff_utils.paper import published
from ediff_utils.paper.aggregation import aggregate_votes, draw_patterns
from ediff_utils.paper.evaluation import right_system, systems_of
from ediff_utils.paper.votes import lead

#: Three patterns, three classes, 10 trees: leads of 6, 1 and 2 trees.
VOTES = np.array([[8, 2, 0], [4, 5, 1], [3, 5, 2]])
KINDS = ("votes", "probability")
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


# --- the paper's rule -----------------------------------------------------------------------------
def test_the_weights_of_figure_3():
    """47 / 20, 26 / 19 and 24 / 21 of 80 trees; the other trees spread below the second."""
    votes = []
    for vote in published.FIGURE_3_VOTES:
        row = dict.fromkeys(SYSTEMS, 0) | {vote.label: vote.first, vote.second_label: vote.second}
        rest = vote.trees - vote.first - vote.second
        others = [s for s in SYSTEMS if s not in (vote.label, vote.second_label)]
        for i, name in enumerate(others):
            row[name] = rest // 4 + (i < rest % 4)
        assert sum(row.values()) == vote.trees == 80
        votes.append([row[s] for s in SYSTEMS])
    weights = dict(zip(SYSTEMS, aggregate_votes(votes)[0], strict=True))
    assert weights["trigonal"] == pytest.approx(0.3375 + 0.0875)
    assert weights["tetragonal"] == pytest.approx(0.0375)
    assert sum(weights.values()) == pytest.approx(0.4625)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        # one sure pattern outweighs two unsure ones
        ([[10, 70, 0, 0], [41, 39, 0, 0], [42, 38, 0, 0]], [0.025 + 0.05, 0.75, 0, 0]),
        # a tied pattern has no say
        ([[40, 40, 0], [0, 10, 70]], [0, 0, 0.75]),
        # a tie of all patterns goes by the votes
        ([[40, 40, 0, 0], [0, 30, 30, 20]], [20 / 80, 35 / 80, 15 / 80, 10 / 80]),
    ],
)
def test_the_rule_worked_by_hand(votes, expected):
    np.testing.assert_allclose(aggregate_votes(votes), [expected])


def some_votes(max_patterns: int = 12, n_classes: int = 4):
    """Votes of 80 trees."""
    shape = st.tuples(st.integers(1, max_patterns), st.just(TREES))
    trees = arrays(np.int64, shape, elements=st.integers(0, n_classes - 1))
    return trees.map(lambda t: np.array([np.bincount(row, minlength=n_classes) for row in t]))


@given(votes=some_votes(), data=st.data())
def test_aggregation_written_out(votes, data):
    groups = data.draw(arrays(np.int64, len(votes), elements=st.integers(0, 2)))
    groups = np.unique(groups, return_inverse=True)[1]
    expected = np.zeros((groups.max() + 1, 4))
    for group, row in zip(groups, votes.tolist(), strict=True):
        first, second = sorted(row, reverse=True)[:2]
        expected[group, row.index(first)] += (first - second) / sum(row)
    led = expected.any(axis=1)
    np.testing.assert_allclose(aggregate_votes(votes, groups)[led], expected[led], atol=1e-12)
    own = aggregate_votes(votes, groups, lead(votes)[1])
    np.testing.assert_allclose(own[led], TREES * expected[led], atol=1e-9)


@given(n=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_drawn_patterns(n, seed):
    materials = list("aabbbbbbcaacbbbcc")
    names, groups, turn = draw_patterns(materials, seed)
    assert names.tolist() == ["a", "b", "c"]
    assert names[groups].tolist() == materials
    for group, size in enumerate(np.bincount(groups)):
        assert sorted(turn[groups == group]) == list(range(size))
    np.testing.assert_array_equal(turn, draw_patterns(materials, seed)[2])


def test_patterns_are_drawn_evenly():
    drawn = sum(draw_patterns(["a"] * 10, seed)[2] < 2 for seed in range(500))
    # 100 expected each, standard deviation 9
    assert drawn.min() > 60
    assert drawn.max() < 140


# --- scores ---------------------------------------------------------------------------------------
def ask(method, votes, probabilities=None) -> tuple[np.ndarray, str]:
    """Scores and system of one material; the classes are the first ones."""
    table = pd.DataFrame({"material_id": "m", "true_system": "cubic"}, index=range(len(votes)))
    for kind, values in (("votes", votes), ("probability", probabilities)):
        if values is not None:
            padded = np.pad(values, ((0, 0), (0, len(SYSTEMS) - values.shape[1])))
            table[[f"{kind}_{s}" for s in SYSTEMS]] = padded
    (row,) = ag.compute_aggregate(table, method, 10**6).to_dict("records")
    return np.array([row[f"score_{s}"] for s in SYSTEMS]), row["system"]


@pytest.mark.parametrize(
    ("method", "expected", "system"),
    [
        ("difference", [6 / 9, 3 / 9, 0], "cubic"),
        ("majority", [1 / 3, 2 / 3, 0], "hexagonal"),
        ("mean_probability", [1.5 / 3, 1.3 / 3, 0.2 / 3], "cubic"),
        # products 0.112, 0.06 and 0.0005, the last and three others with 1 / 20 for nothing
        ("log_sum", [0.112 / 0.172875, 0.06 / 0.172875, 0.0005 / 0.172875], "cubic"),
    ],
)
def test_scores_worked_by_hand(method, expected, system):
    scores, first = ask(method, VOTES, PROBABILITIES)
    np.testing.assert_allclose(scores[:3], expected, rtol=1e-12)
    assert first == system


def test_majority_breaks_ties_by_trees():
    scores, system = ask("majority", np.array([[6, 4, 0], [0, 9, 1]]))
    assert scores[:3].tolist() == [0.5, 0.5, 0]
    assert system == "hexagonal"


def test_many_sure_patterns_do_not_underflow():
    probabilities = np.tile([0.02, 0.49, 0.49], (1000, 1)) + [0, 1e-3, -1e-3]
    scores, system = ask("log_sum", np.tile([1, 5, 4], (1000, 1)), probabilities)
    # (0.491 / 0.489)^1000 = exp(4.0817) = 59.24, and 59.24 / 60.24 = 0.98340
    np.testing.assert_allclose(scores[:3], [0, 0.98340, 0.01660], atol=1e-5)
    assert system == "hexagonal"


@given(votes=some_votes(), method=st.sampled_from(ag.METHODS), seed=st.integers(0, 9))
def test_scores_are_shares_and_the_winner_has_the_highest(votes, method, seed):
    scores, system = ask(method, votes, votes / TREES)
    assert scores.sum() == pytest.approx(1)
    assert scores.min() >= 0
    assert scores[SYSTEMS.index(system)] == scores.max()
    order = np.random.default_rng(seed).permutation(len(votes))
    np.testing.assert_allclose(
        ask(method, votes[order], votes[order] / TREES)[0], scores, rtol=1e-9
    )
    if len(votes) == 1:
        assert SYSTEMS.index(system) == votes[0].argmax()


# --- tables ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ag.METHODS)
def test_patterns_are_those_that_are_drawn(predictions, method):
    table = ag.compute_aggregate(predictions, method, 4, seed=3)
    systems = systems_of(predictions)
    names, groups, turn = draw_patterns(predictions["material_id"], 3)
    assert table["material_id"].tolist() == names.tolist()
    for group, row in enumerate(table.to_dict("records")):
        own = predictions[(groups == group) & (turn < 4)]
        kinds = (own[[f"{kind}_{s}" for s in systems]].to_numpy() for kind in KINDS)
        scores, system = ask(method, *kinds)
        np.testing.assert_allclose([row[f"score_{s}"] for s in systems], scores, rtol=1e-9)
        assert row["n_patterns"] == len(own)
        assert row["true_system"] == own["true_system"].iloc[0]
        assert row["system"] == system
        assert row["confidence"] == row[f"score_{system}"]
    assert table["n_patterns"].value_counts().to_dict() == {4: 38, 3: 2}


def test_all_patterns_give_the_aggregates_of_the_synthetic_table():
    predictions = make_predictions(30, 5, triclinic=True)
    table = ag.compute_aggregate(predictions, "difference", 99)
    expected = make_aggregates(predictions)
    assert "score_triclinic" in table
    np.testing.assert_array_equal(table["system"], expected["system"])
    np.testing.assert_allclose(table["confidence"], expected["confidence"])


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

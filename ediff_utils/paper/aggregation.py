"""Several patterns of one material put together, from one forest's answers: figure 3.

All methods add up what each pattern says of each class and divide by the sum of all classes, so a
score lies between 0 and 1. They differ in what a pattern adds; all but the first go beyond the
paper:

``difference``
    Its difference confidence, to the class that it votes for (:func:`aggregate_votes`).
``majority``
    One, to the class that it votes for.
``mean_probability``
    The forest's probability of each class.
``log_sum``
    The logarithm of that probability; the sums are turned to scores by a softmax. That is the
    product of the patterns' probabilities. It takes patterns for independent, which those of one
    material are not, so its confidence is too high.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import estimate_rate
from ediff_utils.paper.evaluation import check_table, compute_accuracy, systems_of
from ediff_utils.paper.votes import difference_confidence

METHODS = ("difference", "majority", "mean_probability", "log_sum")
#: Those that need the forest's probabilities, not only its votes.
_PROBABILISTIC = ("mean_probability", "log_sum")
_SIZES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
_CURVE = ["method", "n_patterns", "accuracy", "low", "high", "n_materials"]


# --- the paper's rule -----------------------------------------------------------------------------
def aggregate_votes(
    votes: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Difference aggregation of several patterns' votes, trees a class, shape (n, n_classes).

    ``groups``, int (n,), is each pattern's group, from 0 and without gaps; by default all are one.
    ``weights``, (n,), is what a pattern adds to the class that it votes for, by default its
    difference confidence. Gives the sums, (n_groups, n_classes); where no pattern has any lead,
    every class gets the mean share of votes instead, so that a tie of all patterns still has an
    answer.
    """
    votes = np.asarray(votes)
    groups = np.zeros(len(votes), dtype=int) if groups is None else groups
    weights = difference_confidence(votes) if weights is None else weights
    shape = groups.max(initial=-1) + 1, votes.shape[1]
    cells = groups * shape[1] + votes.argmax(axis=1)
    sums = np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape)
    tied = ~(sums.sum(axis=1) > 0)
    if tied.any():
        means = _sum_by(groups, votes)[tied] / np.bincount(groups)[tied, None]
        sums[tied] = means / max(1, votes.sum(axis=1).max())
    return sums


def draw_patterns(materials: object, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the patterns of each material in a random order; a larger number has the smaller's.

    ``materials`` is that of each pattern, (n,). Gives the materials' sorted names, the index in
    them of each pattern's material, int (n,), and its turn, int (n,): when a pattern of its
    material is drawn, from 0, so that those below k are a draw of k.
    """
    groups, names = pd.factorize(np.asarray(materials, dtype=object), sort=True)
    rng, turn = np.random.default_rng(seed), np.empty(len(groups), dtype=int)
    ends = np.cumsum(np.bincount(groups))
    for rows in np.split(np.argsort(groups, kind="stable"), ends[:-1]):
        turn[rng.permutation(rows)] = np.arange(len(rows))
    return names, groups, turn


# --- scores ---------------------------------------------------------------------------------------
def _evidence(method: str, votes: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
    """What a pattern adds: to the class of its vote, shape (n,), or to each, (n, n_classes)."""
    if probabilities is None or method not in _PROBABILISTIC:
        return difference_confidence(votes) if method == "difference" else np.ones(len(votes))
    if method == "mean_probability":
        return probabilities
    # nothing is less likely than half a tree's share
    return np.log(np.maximum(probabilities, 1 / (2 * votes.sum(axis=1, keepdims=True))))


def _sum_by(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over the rows of each group; shape (n_groups, n_columns)."""
    return np.column_stack([np.bincount(groups, weights=column) for column in values.T])


def _decide(
    method: str, groups: np.ndarray, evidence: np.ndarray, votes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of each group, shape (n_groups, n_classes), and its winner's index."""
    if evidence.ndim == 1:
        sums = aggregate_votes(votes, groups, evidence)
    else:
        sums = _sum_by(groups, evidence)
    winner = sums.argmax(axis=1)
    if method == "majority":
        # two patterns that disagree tie: the first class in order would be cubic far too often
        tied = sums == sums.max(axis=1, keepdims=True)
        winner = np.where(tied, _sum_by(groups, votes), -1).argmax(axis=1)
    if method == "log_sum":
        sums = np.exp(sums - sums.max(axis=1, keepdims=True))
    return sums / sums.sum(axis=1, keepdims=True), winner


# --- tables ---------------------------------------------------------------------------------------
def _answers(
    predictions: pd.DataFrame, methods: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray | None]:
    """Classes, votes and, where a method needs them, probabilities of the patterns."""
    for method in methods:
        if method not in METHODS:
            raise UserError(f"method: expected one of {', '.join(METHODS)}, got '{method}'")
    systems = systems_of(predictions)
    kinds = ("votes", "probability") if set(methods) & set(_PROBABILISTIC) else ("votes",)
    columns = {kind: [f"{kind}_{s}" for s in systems] for kind in kinds}
    check_table(predictions, ("material_id", "true_system", *itertools.chain(*columns.values())))
    if not len(predictions):
        raise UserError("predictions: expected at least one pattern, found none")
    votes, *rest = (predictions[names].to_numpy() for names in columns.values())
    return systems, votes, rest[0] if rest else None


def compute_aggregate(
    predictions: pd.DataFrame, method: str, n_patterns: int, seed: int = 0
) -> pd.DataFrame:
    """Put several patterns of each material together.

    Patterns are drawn at random. A seed gives every method the same patterns, and a larger number
    the same ones and more. They are those of
    :func:`ediff_utils.paper.predictions.compute_aggregates`.

    Parameters
    ----------
    predictions : DataFrame
        One pattern a row: ``material_id``, ``true_system``, ``votes_<system>``, and
        ``probability_<system>`` for ``mean_probability`` and ``log_sum``.
    method : {"difference", "majority", "mean_probability", "log_sum"}
    n_patterns : int
        Patterns a material; all where there are fewer.
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        One material a row, by name: ``material_id``, ``n_patterns``, ``true_system``,
        ``score_<system>`` (sum to one), ``system``, and ``confidence``, the score of ``system``.

    Raises
    ------
    UserError
        No such method, a column is missing, no patterns, or ``n_patterns`` below 1.
    """
    if n_patterns < 1:
        raise UserError(f"n_patterns: expected at least 1, got {n_patterns}")
    systems, votes, probabilities = _answers(predictions, (method,))
    names, groups, turn = draw_patterns(predictions["material_id"], seed)
    first = predictions.iloc[np.unique(groups, return_index=True)[1]]
    drawn = turn < n_patterns
    evidence = _evidence(method, votes, probabilities)
    scores, winner = _decide(method, groups[drawn], evidence[drawn], votes[drawn])
    columns = {
        "material_id": names,
        "n_patterns": np.bincount(groups[drawn]),
        "true_system": first["true_system"].to_numpy(dtype=object),
    }
    columns |= {f"score_{s}": scores[:, i] for i, s in enumerate(systems)}
    columns["system"] = np.array(systems, dtype=object)[winner]
    columns["confidence"] = scores[np.arange(len(scores)), winner]
    return pd.DataFrame(columns)


def compute_point(aggregates: pd.DataFrame, method: str, seed: int = 0) -> pd.DataFrame:
    """Accuracy of one table of aggregates, as a row to set beside :func:`compute_curves`.

    ``method`` names what they come from; ``seed`` is of the interval.
    """
    e = compute_accuracy(aggregates, seed=seed)
    row = (method, int(aggregates["n_patterns"].max()), e.value, e.low, e.high, e.n_materials)
    return pd.DataFrame([row], columns=_CURVE)


def compute_curves(
    predictions: pd.DataFrame,
    sizes: Sequence[int] = _SIZES,
    methods: Sequence[str] = METHODS,
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute how the accuracy of the crystal system grows with the number of patterns.

    Of ``predictions`` as for :func:`compute_aggregate`, in ``repeats`` draws with seeds from
    ``seed`` on. ``sizes`` that some material lacks are left out; if that leaves none, 1 is taken. A
    row a method and size: ``method``, ``n_patterns``, ``accuracy`` (mean over the draws), ``low``
    and ``high`` (95 % interval of the first draw; materials are its sample), ``n_materials``.
    """
    if min((repeats, *sizes)) < 1:
        raise UserError("sizes, repeats: expected at least 1")
    systems, votes, probabilities = _answers(predictions, methods)
    draws = [draw_patterns(predictions["material_id"], seed + i) for i in range(repeats)]
    names, groups, _ = draws[0]
    first = predictions.iloc[np.unique(groups, return_index=True)[1]]
    true = pd.Index(systems).get_indexer(pd.Index(first["true_system"]))
    sizes = [n for n in sorted(set(sizes)) if n <= np.bincount(groups).min()] or [1]
    rows = []
    for method in methods:
        evidence = _evidence(method, votes, probabilities)
        for n in sizes:
            right = []
            for _, _, turn in draws:
                drawn = turn < n
                winner = _decide(method, groups[drawn], evidence[drawn], votes[drawn])[1]
                right.append(winner == true)
            e = estimate_rate(right[0], names, seed=seed)
            rows.append((method, n, np.mean(right), e.low, e.high, e.n_materials))
    return pd.DataFrame(rows, columns=_CURVE)

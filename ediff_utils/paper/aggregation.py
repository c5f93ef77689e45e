"""Several patterns of one material put together, from one forest's answers.

All methods add up what each pattern says of each class and divide by the sum of all classes, so a
score lies between 0 and 1. They differ in what a pattern adds:

``difference``
    Its difference confidence, to the class that it votes for (Gleason et al. 2024, figure 3;
    :func:`ediff_utils.paper.predictions.aggregate_votes`).
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
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import estimate_rate
from ediff_utils.paper.evaluation import check_table, right_system, systems_of
from ediff_utils.paper.votes import difference_confidence

METHODS = ("difference", "majority", "mean_probability", "log_sum")
#: Those that need the forest's probabilities, not only its votes.
_PROBABILISTIC = ("mean_probability", "log_sum")
SIZES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


# --- scores ---------------------------------------------------------------------------------------
def _evidence(method: str, votes: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
    """Return what each pattern adds to each class; shape (n, n_classes)."""
    if method == "mean_probability":
        return probabilities
    if method == "log_sum":
        floor = 1 / (2 * votes.sum(axis=1, keepdims=True))
        return np.log(np.maximum(probabilities, floor))
    evidence = np.zeros(votes.shape)
    weights = difference_confidence(votes) if method == "difference" else 1.0
    evidence[np.arange(len(votes)), votes.argmax(axis=1)] = weights
    return evidence


def _sum_by(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    # bincount adds in the order of the rows, as aggregate_votes does: the same last bits, and so
    # the same class where rounding decides
    return np.column_stack([np.bincount(codes, weights=column) for column in values.T])


def _decide(
    method: str, codes: np.ndarray, evidence: np.ndarray, votes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of each group, shape (n_groups, n_classes), and its winner's index."""
    sums = _sum_by(codes, evidence)
    if method == "difference":
        sums = np.where(sums.sum(axis=1, keepdims=True) > 0, sums, _sum_by(codes, votes))
    winner = sums.argmax(axis=1)
    if method == "majority":
        # two patterns that disagree tie: the first class in order would be cubic far too often
        tied = sums == sums.max(axis=1, keepdims=True)
        winner = np.where(tied, _sum_by(codes, votes), -1).argmax(axis=1)
    if method == "log_sum":
        sums = np.exp(sums - sums.max(axis=1, keepdims=True))
    return sums / sums.sum(axis=1, keepdims=True), winner


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise UserError(f"method: expected one of {', '.join(METHODS)}, got '{method}'")


def compute_scores(
    method: str,
    votes: np.ndarray,
    probabilities: np.ndarray | None = None,
    codes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute each group's scores from its patterns.

    Parameters
    ----------
    method : {"difference", "majority", "mean_probability", "log_sum"}
    votes : ndarray of int, shape (n, n_classes)
        Trees that vote for each class.
    probabilities : ndarray, shape (n, n_classes), optional
        Mean leaf fractions; needed by ``mean_probability`` and ``log_sum``. The latter takes
        nothing for less likely than half a tree's share, 1 / (2 n_trees).
    codes : ndarray of int, shape (n,), optional
        Group of each pattern, from 0 and without gaps; by default all are one group.

    Returns
    -------
    scores : ndarray, shape (n_groups, n_classes)
        Each row sums to one.
    winner : ndarray of int, shape (n_groups,)
        Class with the highest score. Of equal ones it is the first, except that ``majority`` takes
        that with most trees. Where no pattern has any lead, ``difference`` takes the shares of the
        trees for scores, as :func:`ediff_utils.paper.predictions.aggregate_votes` does.

    Raises
    ------
    UserError
        No such method, no patterns, or no probabilities where they are needed.
    """
    _check_method(method)
    votes = np.asarray(votes)
    if not len(votes):
        raise UserError("votes: expected at least one pattern, found none")
    if probabilities is None and method in _PROBABILISTIC:
        raise UserError(f"probabilities: expected for method '{method}', found none")
    codes = np.zeros(len(votes), dtype=int) if codes is None else np.asarray(codes)
    return _decide(method, codes, _evidence(method, votes, probabilities), votes)


# --- tables ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Patterns:
    """Patterns sorted by material: ``codes``, ``votes`` and ``probabilities`` have a row each."""

    systems: tuple[str, ...]
    materials: np.ndarray
    true_system: np.ndarray
    codes: np.ndarray
    counts: np.ndarray
    votes: np.ndarray
    probabilities: np.ndarray | None


def _sort(predictions: pd.DataFrame, methods: Sequence[str]) -> _Patterns:
    for method in methods:
        _check_method(method)
    systems = systems_of(predictions)
    columns = {"votes": [f"votes_{s}" for s in systems]}
    if set(methods) & set(_PROBABILISTIC):
        columns["probabilities"] = [f"probability_{s}" for s in systems]
    needed = itertools.chain(("material_id", "true_system"), *columns.values())
    check_table(predictions, tuple(needed))
    if not len(predictions):
        raise UserError("predictions: expected at least one pattern, found none")
    codes, materials = pd.factorize(predictions["material_id"].to_numpy(dtype=object), sort=True)
    order = np.argsort(codes, kind="stable")
    arrays = {name: predictions[of].to_numpy()[order] for name, of in columns.items()}
    counts = np.bincount(codes)
    true = predictions["true_system"].to_numpy(dtype=object)[order]
    return _Patterns(
        systems=systems,
        materials=materials,
        true_system=true[np.cumsum(counts) - counts],
        codes=codes[order],
        counts=counts,
        votes=arrays["votes"],
        probabilities=arrays.get("probabilities"),
    )


def _draw(counts: np.ndarray, seed: int) -> np.ndarray:
    """Return when each pattern of its material is drawn, from 0; shape (n,).

    The patterns with a number below n are those that
    :func:`ediff_utils.paper.predictions.choose_patterns` takes for n.
    """
    rng = np.random.default_rng(seed)
    when = np.empty(counts.sum(), dtype=int)
    for start, count in zip(np.cumsum(counts) - counts, counts, strict=True):
        when[start + rng.permutation(count)] = np.arange(count)
    return when


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
    patterns = _sort(predictions, (method,))
    evidence = _evidence(method, patterns.votes, patterns.probabilities)
    drawn = _draw(patterns.counts, seed) < n_patterns
    scores, winner = _decide(method, patterns.codes[drawn], evidence[drawn], patterns.votes[drawn])
    columns = {
        "material_id": patterns.materials,
        "n_patterns": np.minimum(patterns.counts, n_patterns),
        "true_system": patterns.true_system,
    }
    columns |= {f"score_{s}": scores[:, i] for i, s in enumerate(patterns.systems)}
    columns["system"] = np.array(patterns.systems, dtype=object)[winner]
    columns["confidence"] = scores[np.arange(len(scores)), winner]
    return pd.DataFrame(columns)


def compute_point(aggregates: pd.DataFrame, method: str, seed: int = 0) -> pd.DataFrame:
    """Accuracy of one table of aggregates, as a row to set beside :func:`compute_curves`.

    Parameters
    ----------
    aggregates : DataFrame
        One material a row: ``material_id, n_patterns, true_system, system``.
    method : str
        Name of what they come from.
    seed : int
        Of the interval.
    """
    right = right_system(aggregates)
    estimate = estimate_rate(right, aggregates["material_id"].to_numpy(dtype=object), seed=seed)
    row = {
        "method": method,
        "n_patterns": int(aggregates["n_patterns"].max()),
        "accuracy": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n_materials": estimate.n_materials,
    }
    return pd.DataFrame([row])


def compute_curves(
    predictions: pd.DataFrame,
    sizes: Sequence[int] = SIZES,
    methods: Sequence[str] = METHODS,
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute how the accuracy of the crystal system grows with the number of patterns.

    Parameters
    ----------
    predictions : DataFrame
        As for :func:`compute_aggregate`.
    sizes : sequence of int
        Patterns a material. Those that some material lacks are left out; if that leaves none, 1
        is taken.
    methods : sequence of str
        Some of :data:`METHODS`.
    repeats : int
        Draws of patterns, with seeds from ``seed`` on.
    seed : int
        Of the first draw.

    Returns
    -------
    DataFrame
        One row a method and size: ``method``, ``n_patterns``, ``accuracy`` (mean over the draws),
        ``low`` and ``high`` (95 % interval of the first draw; materials are its sample),
        ``n_materials``.

    Raises
    ------
    UserError
        No such method, a column is missing, no patterns, or a size or ``repeats`` below 1.
    """
    if min((repeats, *sizes)) < 1:
        raise UserError("sizes, repeats: expected at least 1")
    patterns = _sort(predictions, methods)
    true = pd.Index(patterns.systems).get_indexer(pd.Index(patterns.true_system))
    sizes = [n for n in sorted(set(sizes)) if n <= patterns.counts.min()] or [1]
    draws = [_draw(patterns.counts, seed + i) for i in range(repeats)]
    rows = []
    for method in methods:
        evidence = _evidence(method, patterns.votes, patterns.probabilities)
        for n in sizes:
            right = []
            for when in draws:
                drawn = when < n
                codes, votes = patterns.codes[drawn], patterns.votes[drawn]
                right.append(_decide(method, codes, evidence[drawn], votes)[1] == true)
            first = estimate_rate(right[0], patterns.materials, seed=seed)
            rows.append((method, n, np.mean(right), first.low, first.high, first.n_materials))
    columns = ["method", "n_patterns", "accuracy", "low", "high", "n_materials"]
    return pd.DataFrame(rows, columns=columns)


# --- features -------------------------------------------------------------------------------------
def pool_features(vectors: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Mean and maximum of each feature over the patterns of a group.

    The vectors hold 533 magnitudes and then 533 arguments [radian] of coefficients. The arguments
    are pooled like any number: their mean and maximum do not know that an angle is periodic.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, n_features)
        One pattern a row; 1,066 features.
    groups : sequence of ndarray of int
        Rows of each group, such as the values of
        :func:`ediff_utils.paper.predictions.choose_patterns`.

    Returns
    -------
    ndarray of float32, shape (n_groups, 2 n_features)
        The means, then the maxima.

    Raises
    ------
    UserError
        A group is empty.
    """
    n_features = vectors.shape[1]
    pooled = np.empty((len(groups), 2 * n_features), dtype=np.float32)
    # one group at a time: the vectors of all groups at once would be a second copy of gigabytes
    for i, rows in enumerate(groups):
        if not len(rows):
            raise UserError(f"groups: expected patterns in each, found none in group {i}")
        own = vectors[rows]
        pooled[i, :n_features] = own.mean(axis=0, dtype=float)
        pooled[i, n_features:] = own.max(axis=0)
    return pooled

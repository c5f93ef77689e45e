"""Whether a confidence can be believed: how often predictions of a given confidence are right.

This goes beyond the paper, whose figure S6 shows counts by confidence. Every function takes a
``table``, predictions or aggregates, and the name of its column of confidences, from 0 to 1; a
column that is missing, or that holds other numbers, is a ``UserError``. Groups without members have
``nan`` and ``n = 0``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import estimate_rate
from ediff_utils.paper.evaluation import check_table, right_system

#: Twentieths, so that a coverage's number of rows is counted without rounding.
_STEPS = 20
#: Sums of scores leave 1 by so much at most.
_ROUND_OFF = 1e-9


def _read(table: pd.DataFrame, confidence: str) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and which rows are right."""
    check_table(table, (confidence,))
    values = table[confidence].to_numpy(dtype=float)
    if not np.all((values >= -_ROUND_OFF) & (values <= 1 + _ROUND_OFF)):
        raise UserError(f"{confidence}: expected numbers from 0 to 1")
    return np.clip(values, 0, 1), right_system(table)


# --- reliability ----------------------------------------------------------------------------------
def _bins(values: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges, shape (n_bins + 1,), and the bin of each value, which holds its lower edge."""
    if n_bins < 1:
        raise UserError(f"n_bins: expected at least 1, got {n_bins}")
    # A quotient has the same bits as a share of trees on the edge; linspace has not: its 0.3 is
    # above 24 / 80.
    edges = np.arange(n_bins + 1) / n_bins
    return edges, np.searchsorted(edges[1:-1], values, side="right")


def compute_reliability(
    table: pd.DataFrame, confidence: str, n_bins: int = 10, *, seed: int = 0
) -> pd.DataFrame:
    """Compute the accuracy of predictions of similar confidence.

    Parameters
    ----------
    table : DataFrame
    confidence : str
    n_bins : int
        Bins of equal width; one holds its lower edge, the last one both.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame, one row a bin
        ``low``, ``high`` (edges), ``confidence`` (mean), ``accuracy``, ``accuracy_low``,
        ``accuracy_high`` (95 %, see :mod:`ediff_utils.core.estimates`), ``n``.
    """
    check_table(table, ("material_id", "true_system", "system"))
    values, right = _read(table, confidence)
    materials = table["material_id"].to_numpy(dtype=object)
    edges, bins = _bins(values, n_bins)
    rates = [
        estimate_rate(right[bins == i], materials[bins == i], seed=seed) for i in range(n_bins)
    ]
    counts = np.bincount(bins, minlength=n_bins)
    sums = np.bincount(bins, weights=values, minlength=n_bins)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "confidence": np.divide(sums, counts, np.full(n_bins, np.nan), where=counts > 0),
            "accuracy": [e.value for e in rates],
            "accuracy_low": [e.low for e in rates],
            "accuracy_high": [e.high for e in rates],
            "n": [e.n for e in rates],
        }
    )


def compute_ece(table: pd.DataFrame, confidence: str, n_bins: int = 10) -> float:
    """Compute the expected calibration error, ``nan`` without rows.

    The mean over the rows of |accuracy - mean confidence| of their bin: Naeini, Cooper and
    Hauskrecht, AAAI 2015; Guo, Pleiss, Sun and Weinberger, ICML 2017, equation 3.
    """
    values, right = _read(table, confidence)
    if not len(values):
        return np.nan
    # n |accuracy - confidence| of a bin is |right - sum of confidences|
    gaps = np.bincount(_bins(values, n_bins)[1], weights=right - values)
    return float(np.abs(gaps).sum() / len(values))


# --- coverage -------------------------------------------------------------------------------------
def _most_confident(
    right: np.ndarray, values: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of the ``n`` most confident rows, and the confidence of the last.

    Where only some of a tie are needed, the accuracy is that expected of a random choice.
    """
    levels, codes = np.unique(-values, return_inverse=True)
    size = np.bincount(codes)
    hits = np.bincount(codes, weights=right)
    last = np.searchsorted(np.cumsum(size), n)
    rows_above = (np.cumsum(size) - size)[last]
    hits_above = (np.cumsum(hits) - hits)[last]
    of_tie = (n - rows_above) * (hits / size)[last]
    return (hits_above + of_tie) / n, -levels[last]


def compute_coverage(table: pd.DataFrame, confidence: str) -> pd.DataFrame:
    """Compute the accuracy that is left when the least confident rows go without an answer.

    ``coverage`` (0.05, 0.10, ... 1), ``accuracy``, ``n`` (rows that keep their answer, rounded up),
    ``threshold`` (the lowest confidence among them). A tie at the threshold is resolved blindly:
    the accuracy is that expected of a random choice from the tie.
    """
    values, right = _read(table, confidence)
    steps = np.arange(1, _STEPS + 1)
    n = -(-steps * len(values) // _STEPS)
    accuracy, threshold = np.full((2, _STEPS), np.nan)
    if len(values):
        accuracy, threshold = _most_confident(right, values, n)
    return pd.DataFrame(
        {"coverage": steps / _STEPS, "accuracy": accuracy, "n": n, "threshold": threshold}
    )


def compute_accuracy_at_coverage(
    table: pd.DataFrame, confidence: str, coverage: float = 0.8
) -> float:
    """Compute the accuracy of the most confident share of the rows, ``nan`` without rows.

    Their number is rounded up; ties as in :func:`compute_coverage`. A UserError where the share is
    not above 0 and at most 1.
    """
    if not 0 < coverage <= 1:
        raise UserError(f"coverage: expected a number above 0 and at most 1, got {coverage}")
    values, right = _read(table, confidence)
    if not len(values):
        return np.nan
    # without rounding first, 0.55 of 20 rows would be 12
    n = max(1, int(np.ceil(round(coverage * len(values), 6))))
    return float(_most_confident(right, values, np.array([n]))[0][0])


def compute_reliability_summary(table: pd.DataFrame, confidence: str) -> dict[str, float]:
    """Sum up how far a confidence can be believed, and what it is worth for leaving rows out.

    ``ece`` (10 bins), ``accuracy_at_80`` (at a coverage of 80 %), ``mean_confidence`` and
    ``accuracy``; ``nan`` without rows.
    """
    values, right = _read(table, confidence)
    return {
        "ece": compute_ece(table, confidence),
        "accuracy_at_80": compute_accuracy_at_coverage(table, confidence, 0.8),
        "mean_confidence": float(values.mean()) if len(values) else np.nan,
        "accuracy": float(right.mean()) if len(values) else np.nan,
    }

"""Features as bytes: which of 256 bins a value lies in, and the cuts between the bins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ediff_utils.core.errors import UserError
from ediff_utils.forest.kernels.bins import write_bins

#: Bins of a feature, as many as a byte tells apart.
BINS = 256
#: Patterns that cuts are chosen from.
SAMPLE = 100_000
#: Steps to the share of patterns that a bin should have; it changes little after a few.
_STEPS = 8


def draw_sample(n: int, seed: int, size: int = SAMPLE) -> np.ndarray:
    """Rows to choose cuts from: at most ``size`` of ``n``, in ascending order."""
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def find_cuts(sample: np.ndarray) -> np.ndarray:
    """Cuts between the bins of each feature.

    Where a feature has few values, each is a bin. Else a value that fills two bins or more is one
    by itself, and the other values are shared out evenly.

    Parameters
    ----------
    sample : ndarray of float32, shape (n, n_features)
        Vectors of the training part.

    Returns
    -------
    ndarray of float64, shape (n_features, 255)
        Halfway between the values on either side, in ascending order, filled up with infinity.

    Raises
    ------
    UserError
        No vectors, or numbers that are not finite.
    """
    if not len(sample):
        raise UserError("features: expected training patterns, found none")
    _check(sample)
    cuts = np.full((sample.shape[1], BINS - 1), np.inf)
    for feature, own in enumerate(cuts):
        values, patterns = np.unique(sample[:, feature], return_counts=True)
        last = np.flatnonzero(np.diff(_number(patterns)))
        values = values.astype(np.float64)
        own[: len(last)] = (values[last] + values[last + 1]) / 2
    return cuts


def _number(patterns: np.ndarray) -> np.ndarray:
    """Bin of each value, from how many patterns have it."""
    if len(patterns) <= BINS:
        return np.arange(len(patterns))
    share = patterns.astype(float)
    for _ in range(_STEPS):
        # Two bins wide, a value shares none with its neighbours when its middle tells its bin.
        share = np.minimum(share, 2 * share.sum() / BINS)
    middle = np.cumsum(share) - share / 2
    return np.floor(BINS * middle / share.sum()).astype(int)


def to_bins(blocks: Iterable[np.ndarray], cuts: np.ndarray, n: int) -> np.ndarray:
    """Bins of vectors that come block by block.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, shape (..., n_features)
    cuts : ndarray, shape (n_features, 255)
        See :func:`find_cuts`. A value is in bin b or below where it is at most cut b.
    n : int
        Patterns of all blocks together.

    Returns
    -------
    ndarray of uint8, shape (n_features, n)

    Raises
    ------
    UserError
        Numbers that are not finite.
    """
    out = np.empty((len(cuts), n), np.uint8)
    start = 0
    for block in blocks:
        _check(block)
        write_bins(block, cuts, out[:, start : start + len(block)])
        start += len(block)
    if start != n:
        raise ValueError(f"blocks: expected {n} patterns, got {start}")
    return out


def _check(vectors: np.ndarray) -> None:
    if not np.isfinite(vectors).all():
        raise UserError("features: expected finite numbers, found NaN or infinity")

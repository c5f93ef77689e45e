"""Spots of neighbouring positions that are nearest to each other, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _find_nearest(x, y, own, other, square):  # type: ignore[no-untyped-def]
    """Number of the other position's nearest spot for each own one; -1 where none is near."""
    nearest = np.full(own[1] - own[0], -1, np.int64)
    for i in range(own[0], own[1]):
        best = square
        for j in range(other[0], other[1]):
            d = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
            if d < best:
                best = d
                nearest[i - own[0]] = j
    return nearest


@njit(cache=True, nogil=True)
def link_spots(
    x: np.ndarray, y: np.ndarray, offsets: np.ndarray, pairs: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of spots that are nearest to each other, of each pair of positions.

    Parameters
    ----------
    x, y : ndarray, shape (spots,)
        One position after the other [1/angstrom].
    offsets : ndarray of int, shape (positions + 1,)
    pairs : ndarray of int, shape (n, 2)
        Positions that are neighbours.
    tolerance : float
        How far apart the spots may be [1/angstrom].

    Returns
    -------
    first, second : ndarray of int, shape (links,)
    """
    most = 0
    for k in range(len(pairs)):
        a, b = pairs[k]
        most += min(offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b])
    first, second = np.empty(most, np.int64), np.empty(most, np.int64)
    n = 0
    for k in range(len(pairs)):
        a, b = pairs[k]
        own = (offsets[a], offsets[a + 1])
        other = (offsets[b], offsets[b + 1])
        there = _find_nearest(x, y, own, other, tolerance**2)
        back = _find_nearest(x, y, other, own, tolerance**2)
        for i in range(len(there)):
            j = there[i]
            if j >= 0 and back[j - other[0]] == own[0] + i:
                first[n], second[n] = own[0] + i, j
                n += 1
    return first[:n], second[:n]

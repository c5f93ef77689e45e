"""Sums of detector frames over a ring about each frame's own centre."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def ring_sums(frames: np.ndarray, centres: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """What falls on a ring about each frame's centre, shape (n,), in the unit of the frames.

    Frames are of shape (n, height, width), centres, row and column, of shape (n, 2). A pixel counts
    where its centre is at least as far as ``inner`` and nearer than ``outer`` [pixel].
    """
    n, height, width = frames.shape
    sums = np.zeros(n)
    for k in range(n):
        row, column = centres[k, 0], centres[k, 1]
        total = 0.0
        for i in range(height):
            rest = outer * outer - (i - row) ** 2
            if rest <= 0:
                continue
            reach = np.sqrt(rest)
            first, last = max(int(np.ceil(column - reach)), 0), min(int(column + reach), width - 1)
            for j in range(first, last + 1):
                square = (i - row) ** 2 + (j - column) ** 2
                if inner * inner <= square < outer * outer:
                    total += frames[k, i, j]
        sums[k] = total
    return sums

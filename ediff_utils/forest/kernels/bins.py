"""Bins of features."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def write_bins(vectors: np.ndarray, cuts: np.ndarray, out: np.ndarray) -> None:
    """Count the cuts below each value.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, n_features)
    cuts : ndarray of float64, shape (n_features, 255)
        In ascending order.
    out : ndarray of uint8, shape (n_features, n)
        Where they are written.
    """
    n, n_features = vectors.shape
    # A few patterns at a time, so that their vectors and a row of ``out`` stay in the cache.
    for start in range(0, n, 512):
        for feature in range(n_features):
            own = cuts[feature]
            for i in range(start, min(n, start + 512)):
                value = np.float64(vectors[i, feature])
                below = 0
                for step in (128, 64, 32, 16, 8, 4, 2, 1):
                    below += step * (own[below + step - 1] < value)
                out[feature, i] = below

"""Two-fold axes of a lattice by Le Page's search (1982, J. Appl. Cryst. 15, 255)."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Largest component of a direct or reciprocal vector that may lie along an axis.
LARGEST_INDEX = 2
#: An obliquity that stands for no axis [degree].
NO_AXIS = 30.0


@njit(cache=True, nogil=True, error_model="numpy")
def two_fold_obliquities(lattice: np.ndarray, n_axes: int) -> np.ndarray:
    """Smallest angles between direct vectors and reciprocal vectors that a two-fold axis aligns.

    A row u of the lattice is a two-fold axis where a net plane h with u . h = 1 or 2 is
    perpendicular to it; the angle between u and the plane's normal is the obliquity. Rows of
    ``lattice``, shape (3, 3), are the vectors of a reduced primitive cell. Smallest first, shape
    (n_axes,) [degree]; 30 where there are no more axes.
    """
    reciprocal = np.linalg.inv(lattice).T
    size = 2 * LARGEST_INDEX + 1
    half = size**3 // 2
    squares = np.empty(size**3)
    rows = np.empty(half)
    indices = np.empty((size**3, 3), np.int64)
    primitive = np.empty(size**3, np.bool_)
    for i in range(size**3):
        h, k, l = i // size**2, i // size % size, i % size
        indices[i] = h - LARGEST_INDEX, k - LARGEST_INDEX, l - LARGEST_INDEX
        h, k, l = indices[i]
        primitive[i] = h % 2 != 0 or k % 2 != 0 or l % 2 != 0
        squares[i] = np.sum((h * reciprocal[0] + k * reciprocal[1] + l * reciprocal[2]) ** 2)
        if i < half:
            rows[i] = np.sum((h * lattice[0] + k * lattice[1] + l * lattice[2]) ** 2)
    # Squared cosines are compared, the angles taken of those that are kept.
    kept = np.zeros(n_axes)
    for i in range(half):
        if not primitive[i]:
            continue
        u, v, w = indices[i]
        best = 0.0
        for j in range(size**3):
            product = u * indices[j, 0] + v * indices[j, 1] + w * indices[j, 2]
            if (product == 1 or product == 2) and primitive[j]:
                best = max(best, product * product / squares[j])
        best /= rows[i]
        if best > kept[n_axes - 1]:
            k = n_axes - 1
            while k > 0 and kept[k - 1] < best:
                kept[k] = kept[k - 1]
                k -= 1
            kept[k] = best
    found = np.full(n_axes, NO_AXIS)
    for k in range(n_axes):
        if kept[k] > 0:
            found[k] = min(NO_AXIS, np.degrees(np.arccos(min(np.sqrt(kept[k]), 1.0))))
    return found

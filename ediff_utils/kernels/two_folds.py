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
    perpendicular to it; the angle between u and the plane's normal is the obliquity.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are the vectors of a reduced primitive cell.
    n_axes : int
        How many.

    Returns
    -------
    ndarray, shape (n_axes,)
        Smallest first [degree]; 30 where there are no more axes.
    """
    reciprocal = np.linalg.inv(lattice).T
    size = 2 * LARGEST_INDEX + 1
    found = np.full(n_axes, NO_AXIS)
    half = size**3 // 2
    for i in range(half):
        u = (i // size**2 - LARGEST_INDEX, i // size % size - LARGEST_INDEX)
        w = i % size - LARGEST_INDEX
        if u[0] % 2 == 0 and u[1] % 2 == 0 and w % 2 == 0:
            continue
        row = u[0] * lattice[0] + u[1] * lattice[1] + w * lattice[2]
        length = np.sqrt(np.sum(row * row))
        best = NO_AXIS
        for j in range(size**3):
            h = (j // size**2 - LARGEST_INDEX, j // size % size - LARGEST_INDEX)
            l = j % size - LARGEST_INDEX
            product = u[0] * h[0] + u[1] * h[1] + w * l
            if product < 1 or product > 2:
                continue
            if h[0] % 2 == 0 and h[1] % 2 == 0 and l % 2 == 0:
                continue
            normal = h[0] * reciprocal[0] + h[1] * reciprocal[1] + l * reciprocal[2]
            cosine = product / (length * np.sqrt(np.sum(normal * normal)))
            best = min(best, np.degrees(np.arccos(min(cosine, 1.0))))
        if best < found[n_axes - 1]:
            k = n_axes - 1
            while k > 0 and found[k - 1] > best:
                found[k] = found[k - 1]
                k -= 1
            found[k] = best
    return found

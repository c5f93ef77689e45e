"""One pattern's part of the normal equations of the joint refinement: compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Parameters of a pattern's part: six strains of the cell, three rotations, one scale.
STRAINS, LOCAL = 6, 4
#: The strains 11, 22, 33, 23, 13, 12.
ROW = (0, 1, 2, 1, 0, 0)
COLUMN = (0, 1, 2, 2, 2, 1)


@njit(cache=True, nogil=True, error_model="numpy")
def pattern_equations(
    vectors: np.ndarray,
    hkl: np.ndarray,
    reciprocal: np.ndarray,
    rotation: np.ndarray,
    scale: float,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Sums over the indexed spots for g = h B (1 + strain) R turned by omega and scaled by s.

    Parameters
    ----------
    vectors : ndarray, shape (n, 3)
        Measured reciprocal vectors, their z that of the Ewald sphere [1/angstrom].
    hkl : ndarray of int64, shape (n, 4)
        Indices, and 1 for a spot that has some.
    reciprocal : ndarray, shape (3, 3)
        Rows are the reciprocal basis vectors.
    rotation : ndarray, shape (3, 3)
        Columns are the pattern's axes.
    scale : float
        Of the pattern's x and y.
    weight : ndarray, shape (3,)
        One over the standard deviations of x, y and z [angstrom].

    Returns
    -------
    normal : ndarray, shape (10, 10)
    right : ndarray, shape (10,)
    squares : ndarray, shape (indexed spots,)
        Squared distances in the plane.
    along : float
        Sum of the squared residuals along the beam.
    """
    size = STRAINS + LOCAL
    normal, right = np.zeros((size, size)), np.zeros(size)
    squares = np.empty(int(np.sum(hkl[:, 3])))
    along = 0.0
    jacobian = np.zeros((3, size))
    g, v, left = np.zeros(3), np.zeros(3), np.zeros(3)
    used = 0
    for i in range(vectors.shape[0]):
        if hkl[i, 3] == 0:
            continue
        for c in range(3):
            g[c] = 0.0
            for r in range(3):
                g[c] += hkl[i, r] * reciprocal[r, c]
        for c in range(3):
            v[c] = g[0] * rotation[0, c] + g[1] * rotation[1, c] + g[2] * rotation[2, c]
        for c in range(3):
            left[c] = (vectors[i, c] - v[c] * (scale if c < 2 else 1.0)) * weight[c]
            for k in range(STRAINS):
                derivative = g[ROW[k]] * rotation[COLUMN[k], c]
                if ROW[k] != COLUMN[k]:
                    derivative += g[COLUMN[k]] * rotation[ROW[k], c]
                jacobian[c, k] = derivative * weight[c]
            # omega x v
            following, before = (c + 1) % 3, (c + 2) % 3
            jacobian[c, STRAINS + c] = 0.0
            jacobian[c, STRAINS + following] = v[before] * weight[c]
            jacobian[c, STRAINS + before] = -v[following] * weight[c]
            jacobian[c, size - 1] = v[c] * weight[c] if c < 2 else 0.0
        squares[used] = (left[0] / weight[0]) ** 2 + (left[1] / weight[1]) ** 2
        along += (left[2] / weight[2]) ** 2
        used += 1
        for a in range(size):
            for c in range(3):
                right[a] += jacobian[c, a] * left[c]
                for b in range(a + 1):
                    normal[a, b] += jacobian[c, a] * jacobian[c, b]
    for a in range(size):
        for b in range(a):
            normal[b, a] = normal[a, b]
    return normal, right, squares, along

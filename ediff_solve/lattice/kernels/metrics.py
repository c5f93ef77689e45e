"""Bases of one lattice that have the metric of another's: compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Index vectors -2 .. 2 among which a basis vector of the other lattice is looked for.
LARGEST_INDEX = 2
#: Largest chi-square of one length, of two vectors, and of all three.
ONE_CHI, TWO_CHI, THREE_CHI = 9.0, 14.0, 25.0
#: Pairs of vectors that are completed to bases.
MOST_PAIRS = 60


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(u: np.ndarray, v: np.ndarray) -> float:
    # Written out, as a product of arrays would be put into memory first.
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@njit(cache=True, nogil=True, error_model="numpy")
def _products(
    first: int,
    last: int,
    vectors: np.ndarray,
    target: tuple,
) -> tuple[float, float, float]:
    """Chi-square of some vectors' scalar products, and what the scales are off by.

    v_i . v_j + a z_i z_j = t_i . t_j + b w_i w_j with a, b normal about zero is linear in a and b:
    the least squares are solved in closed form. ``target`` holds t_i . t_j, their errors, w_i w_j
    in terms of both, and the deviations of the scales; rows ``first`` to ``last`` are looked at.
    """
    wanted, size, depth, loose, other_loose = target
    aa, bb, ab, ra, rb, square = 1.0, 1.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first, last):
        for j in range(first, i + 1):
            left = (_dot(vectors[i], vectors[j]) - wanted[i, j]) / size[i, j]
            p = vectors[i, 2] * vectors[j, 2] * loose / size[i, j]
            r = depth[i, j]
            aa += p * p
            bb += r * r
            ab -= p * r
            ra -= left * p
            rb += left * r
            square += left * left
    determinant = aa * bb - ab * ab
    a, b = (bb * ra - ab * rb) / determinant, (aa * rb - ab * ra) / determinant
    return square - a * ra - b * rb, a * loose, b * other_loose


@njit(cache=True, nogil=True, error_model="numpy")
def _short_vectors(
    base: np.ndarray, target: tuple
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Indices and vectors up to the largest index; which and how many have each target's length."""
    edge = 2 * LARGEST_INDEX + 1
    n_short = edge**3
    short, points = np.empty((n_short, 3), np.int64), np.empty((n_short, 3))
    rows, counts = np.empty((3, n_short), np.int64), np.zeros(3, np.int64)
    vectors = np.empty((3, 3))
    for i in range(n_short):
        short[i, 0] = i // edge**2 - LARGEST_INDEX
        short[i, 1] = i // edge % edge - LARGEST_INDEX
        short[i, 2] = i % edge - LARGEST_INDEX
        for m in range(3):
            points[i, m] = _dot(short[i], base[:, m])
        for k in range(3):
            # Opposite vectors serve the first target equally.
            if i == n_short // 2 or (k == 0 and i < n_short // 2):
                continue
            vectors[k] = points[i]
            chi, _, _ = _products(k, k + 1, vectors, target)
            if chi < ONE_CHI:
                rows[k, counts[k]] = i
                counts[k] += 1
    return short, points, rows, counts


@njit(cache=True, nogil=True, error_model="numpy")
def _best_pairs(
    points: np.ndarray, first_rows: np.ndarray, second_rows: np.ndarray, target: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points that match the first two targets, and their chi-squares, best first."""
    # As :func:`_products` with two vectors, what hangs on one of them alone not computed again.
    wanted, size, r, loose, _ = target
    bb = 1 + r[0, 0] ** 2 + r[1, 0] ** 2 + r[1, 1] ** 2
    lefts, depths = np.empty(points.shape[0]), loose / size[1, 1] * points[:, 2] ** 2
    for j in second_rows:
        lefts[j] = (_dot(points[j], points[j]) - wanted[1, 1]) / size[1, 1]
    pairs, pair_chi = np.zeros((MOST_PAIRS, 2), np.int64), np.full(MOST_PAIRS, np.inf)
    for i in first_rows:
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        first_left = (x * x + y * y + z * z - wanted[0, 0]) / size[0, 0]
        first_depth = loose / size[0, 0] * z * z
        for j in second_rows:
            product = x * points[j, 0] + y * points[j, 1] + z * points[j, 2]
            left = (product - wanted[1, 0]) / size[1, 0]
            depth = loose / size[1, 0] * z * points[j, 2]
            aa = 1 + first_depth**2 + depth**2 + depths[j] ** 2
            ab = -first_depth * r[0, 0] - depth * r[1, 0] - depths[j] * r[1, 1]
            ra = -first_left * first_depth - left * depth - lefts[j] * depths[j]
            rb = first_left * r[0, 0] + left * r[1, 0] + lefts[j] * r[1, 1]
            square = first_left**2 + left**2 + lefts[j] ** 2
            gain = (bb * ra * ra + aa * rb * rb - 2 * ab * ra * rb) / (aa * bb - ab * ab)
            chi = square - gain
            if chi < TWO_CHI and chi < pair_chi[-1]:
                k = MOST_PAIRS - 1
                while k > 0 and pair_chi[k - 1] > chi:
                    pair_chi[k] = pair_chi[k - 1]
                    pairs[k] = pairs[k - 1]
                    k -= 1
                pair_chi[k] = chi
                pairs[k, 0], pairs[k, 1] = i, j
    return pairs, pair_chi


@njit(cache=True, nogil=True, error_model="numpy")
def match_metrics(
    base: np.ndarray,
    targets: np.ndarray,
    loose: float,
    other_loose: float,
    error: float,
    n_most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Integer bases of one lattice whose metric is that of given vectors, best first.

    Rows of ``base`` and ``targets``, shape (3, 3), are the vectors in the two patterns' frames, z
    along the beam. Targets that lie in the plane come first, as their lengths do not hang on the
    scale. ``loose`` and ``other_loose`` are standard deviations of the squares of the two scales
    along the beam, ``error`` that of a scalar product over the lengths of its vectors.

    Returns indices, int64 of shape (at most n_most, 3, 3), whose rows are the targets in terms of
    the base, of determinant 1 or -1; and figures, shape (at most n_most, 3): chi-square and the
    logarithms of the factors of the z components, base's and targets'.
    """
    wanted, size, depth = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            wanted[i, j] = _dot(targets[i], targets[j])
            lengths = _dot(targets[i], targets[i]) * _dot(targets[j], targets[j])
            size[i, j] = error * np.sqrt(lengths)
            depth[i, j] = targets[i, 2] * targets[j, 2] * other_loose / size[i, j]
    target = (wanted, size, depth, loose, other_loose)
    short, points, rows, counts = _short_vectors(base, target)
    vectors = np.empty((3, 3))
    first_rows, second_rows = rows[0, : counts[0]], rows[1, : counts[1]]
    pairs, pair_chi = _best_pairs(points, first_rows, second_rows, target)
    indices, figures = np.zeros((n_most, 3, 3), np.int64), np.full((n_most, 3), np.inf)
    for p in range(MOST_PAIRS):
        if not np.isfinite(pair_chi[p]):
            break
        first, second = short[pairs[p, 0]], short[pairs[p, 1]]
        normal = np.cross(first, second)
        vectors[0], vectors[1] = points[pairs[p, 0]], points[pairs[p, 1]]
        for j in rows[2, : counts[2]]:
            if abs(_dot(normal, short[j])) != 1:
                continue
            vectors[2] = points[j]
            chi, a, b = _products(0, 3, vectors, target)
            if chi >= THREE_CHI or chi >= figures[-1, 0]:
                continue
            k = n_most - 1
            while k > 0 and figures[k - 1, 0] > chi:
                figures[k] = figures[k - 1]
                indices[k] = indices[k - 1]
                k -= 1
            figures[k, 0] = chi
            figures[k, 1] = 0.5 * np.log(max(1 + a, 0.1))
            figures[k, 2] = 0.5 * np.log(max(1 + b, 0.1))
            indices[k, 0], indices[k, 1], indices[k, 2] = first, second, short[j]
    found = int(np.sum(np.isfinite(figures[:, 0])))
    return indices[:found], figures[:found]

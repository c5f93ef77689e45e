"""The best orientation of a cell in each of many patterns of some spots, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.lattice.kernels.orienting import pair_frame

#: Orientations of a pattern that are turned to fit.
_BEST = 4
#: Pairs of spots whose directions are nearer than this tell an orientation badly [radian].
_LEAST_ANGLE = 0.3
#: What a spot at the edge of its reach counts less than one on its point, in the plane and along z.
_EDGE = 0.4
#: A spot's error in the plane is taken to be half of its reach.
_ERRORS_WITHIN = 4.0


@njit(cache=True, nogil=True, error_model="numpy")
def explain_spots(
    basis: np.ndarray,
    vectors: np.ndarray,
    reach: np.ndarray,
    slab: float,
    nearest: np.ndarray,
    explained: np.ndarray,
) -> float:
    """How many spots a lattice explains, those near their points more.

    Writes the nearest points, shape (n, 3), and which spots are explained, shape (n,).
    """
    inverse = np.linalg.inv(basis)
    total = 0.0
    for i in range(vectors.shape[0]):
        x, y, z = vectors[i]
        h = np.round(x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0])
        k = np.round(x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1])
        m = np.round(x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2])
        for c in range(3):
            nearest[i, c] = h * basis[0, c] + k * basis[1, c] + m * basis[2, c]
        plane = ((x - nearest[i, 0]) ** 2 + (y - nearest[i, 1]) ** 2) / reach[i] ** 2
        along = ((z - nearest[i, 2]) / slab) ** 2
        explained[i] = plane < 1 and along < 1
        if explained[i]:
            total += 1 - _EDGE * (plane + along)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(vectors, nearest, explained, reach, weights):  # type: ignore[no-untyped-def]
    """The small rotation that brings points onto their spots, by least squares."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    rows = np.zeros((3, 3))
    for i in range(vectors.shape[0]):
        if not explained[i]:
            continue
        x, y, z = nearest[i]
        # A small turn w moves a point by w x g.
        rows[0, 1], rows[0, 2] = z, -y
        rows[1, 0], rows[1, 2] = -z, x
        rows[2, 0], rows[2, 1] = y, -x
        for k in range(3):
            weight = weights[i] if k == 2 else _ERRORS_WITHIN / reach[i] ** 2
            left = vectors[i, k] - nearest[i, k]
            for m in range(3):
                right[m] += weight * rows[k, m] * left
                for n in range(3):
                    normal[m, n] += weight * rows[k, m] * rows[k, n]
    ridge = 1e-3 * np.trace(normal) + 1e-9
    for m in range(3):
        normal[m, m] += ridge
    omega = np.linalg.solve(normal, right)
    angle = np.sqrt(np.sum(omega**2))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = omega / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_to_fit(basis, vectors, reach, slab, weights, nearest, explained):  # type: ignore[no-untyped-def]
    """Turn a basis, in place, while it explains more; returns what it then explains."""
    score = explain_spots(basis, vectors, reach, slab, nearest, explained)
    for _ in range(4):
        turned = basis @ _turn(vectors, nearest, explained, reach, weights).T
        better = explain_spots(turned, vectors, reach, slab, nearest, explained)
        if better <= score:
            explain_spots(basis, vectors, reach, slab, nearest, explained)
            break
        basis[:] = turned
        score = better
    return score


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(kept, scores, basis, score):  # type: ignore[no-untyped-def]
    """Insert an orientation among the best ones."""
    if score <= scores[-1]:
        return
    k = len(scores) - 1
    while k > 0 and scores[k - 1] < score:
        scores[k] = scores[k - 1]
        kept[k] = kept[k - 1]
        k -= 1
    scores[k] = score
    kept[k] = basis


@njit(cache=True, nogil=True, error_model="numpy")
def _try_pair(lattice, spots, a, b, slab, work, best, most):  # type: ignore[no-untyped-def]
    """Orientations that put two points of the lattice onto two spots; returns their number."""
    reciprocal, points, lengths = lattice
    vectors, reach = spots
    nearest, explained = work
    kept, scores = best
    q, p = np.sqrt(np.sum(vectors[a] ** 2)), np.sqrt(np.sum(vectors[b] ** 2))
    cosine = np.sum(vectors[a] * vectors[b]) / (q * p)
    angle = np.arccos(min(max(cosine, -1.0), 1.0))
    if not _LEAST_ANGLE < angle < np.pi - _LEAST_ANGLE:
        return 0
    wide = reach[a] / q + reach[b] / p
    least, most_of = np.cos(min(angle + wide, np.pi)), np.cos(max(angle - wide, 0.0))
    seen = pair_frame(vectors[a] / q, vectors[b] / p)
    first = np.searchsorted(lengths, np.array([q - reach[a], q + reach[a]]))
    second = np.searchsorted(lengths, np.array([p - reach[b], p + reach[b]]))
    tried = 0
    for i in range(first[0], first[1]):
        for j in range(second[0], second[1]):
            between = np.sum(points[i] * points[j]) / (lengths[i] * lengths[j])
            if not least < between < most_of:
                continue
            own = pair_frame(points[i] / lengths[i], points[j] / lengths[j])
            basis = reciprocal @ (own.T.copy() @ seen)
            score = explain_spots(basis, vectors, reach, slab, nearest, explained)
            _keep(kept, scores, basis, score)
            tried += 1
            if tried >= most:
                return tried
    return tried


@njit(cache=True, nogil=True, error_model="numpy")
def _orient_one(lattice, vectors, reach, weights, slab, limits):  # type: ignore[no-untyped-def]
    """Best basis in one pattern, which spots it explains, and orientations tried."""
    n_seeds, low, high, most = limits
    n = vectors.shape[0]
    work = (np.empty((n, 3)), np.zeros(n, np.bool_))
    best = (np.zeros((_BEST, 3, 3)), np.zeros(_BEST))
    seeds = np.empty(n_seeds, np.int64)
    m = 0
    for i in range(n):
        q = np.sqrt(np.sum(vectors[i] ** 2))
        if low < q < high and m < n_seeds:
            seeds[m] = i
            m += 1
    tried = 0
    for a in range(1, m):
        for b in range(a):
            if tried < most:
                pair = (seeds[a], seeds[b])
                spots = (vectors, reach)
                tried += _try_pair(lattice, spots, *pair, slab, work, best, most - tried)
    found, top = np.zeros((3, 3)), 0.0
    mask = np.zeros(n, np.bool_)
    kept, scores = best
    for k in range(_BEST):
        if scores[k] > 0:
            basis = kept[k].copy()
            score = _turn_to_fit(basis, vectors, reach, slab, weights, *work)
            if score > top:
                top = score
                found[:] = basis
                mask[:] = work[1]
    return found, mask, tried


@njit(cache=True, nogil=True, error_model="numpy")
def orient_all(
    lattice: tuple[np.ndarray, np.ndarray, np.ndarray],
    spots: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    slab: float,
    limits: tuple[int, float, float, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orient a cell in every pattern.

    Parameters
    ----------
    lattice : tuple of ndarray
        Reciprocal basis, shape (3, 3), its points, shape (m, 3), by their lengths, shape (m,)
        [1/angstrom].
    spots : tuple of ndarray
        Vectors on the Ewald sphere, shape (n, 3), strongest of each pattern first; how far each
        may lie from its point in the plane, shape (n,) [1/angstrom]; weight of its excitation
        error, shape (n,) [angstrom^2]; offsets of the patterns, shape (patterns + 1,).
    slab : float
        Largest excitation error [1/angstrom].
    limits : tuple
        Spots that pairs are made of; their smallest and largest length [1/angstrom]; orientations
        tried at most.

    Returns
    -------
    bases : ndarray, shape (patterns, 3, 3)
        In the patterns' frames; zeros where there is none.
    explained : ndarray of bool, shape (n,)
    tried : ndarray of int, shape (patterns,)
    """
    vectors, reach, weights, offsets = spots
    count = len(offsets) - 1
    bases, explained = np.zeros((count, 3, 3)), np.zeros(len(vectors), np.bool_)
    tried = np.zeros(count, np.int64)
    for p in range(count):
        own = slice(offsets[p], offsets[p + 1])
        found = _orient_one(lattice, vectors[own], reach[own], weights[own], slab, limits)
        bases[p], tried[p] = found[0], found[2]
        explained[own] = found[1]
    return bases, explained, tried

"""Orientations of a known lattice that explain a pattern: compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

#: How far a lattice vector's length, and the angle of two [radian], may be off a seed's.
SEED_LENGTH, SEED_ANGLE = 0.012, 0.04
#: Angles of seeds near 0 and 180 degrees settle no orientation [radian].
SMALLEST_ANGLE = 0.3
#: Lattice vectors compared with a seed at most.
MOST_NEAR = 300
#: Orientations tried at most.
MOST_TRIALS = 1500
#: A spot lies so near to a lattice point of a trial in the plane and along the beam [1/angstrom].
TRIAL_PLANE, TRIAL_SLAB = 0.012, 0.06
#: An orientation that explains this share of the judging spots leaves nothing to look for.
ENOUGH = 0.95


@njit(cache=True, nogil=True, error_model="numpy")
def pair_frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed frame of two unit vectors, their bisector first; rows are the axes, (3, 3)."""
    frame = np.empty((3, 3))
    frame[0] = first + second
    frame[0] /= np.sqrt(np.sum(frame[0] ** 2))
    frame[2] = np.cross(first, second)
    frame[2] /= np.sqrt(np.sum(frame[2] ** 2))
    frame[1] = np.cross(frame[2], frame[0])
    return frame


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(reciprocal: np.ndarray, rotation: np.ndarray, v: np.ndarray) -> float:
    """How many spots v, shape (n, 3), lie near lattice points, the nearest ones counting most."""
    basis = reciprocal @ rotation
    inverse = np.linalg.inv(basis)
    total = 0.0
    for i in range(v.shape[0]):
        left = v[i].copy()
        for r in range(3):
            n = np.round(
                v[i, 0] * inverse[0, r] + v[i, 1] * inverse[1, r] + v[i, 2] * inverse[2, r]
            )
            for c in range(3):
                left[c] -= n * basis[r, c]
        square = (left[0] ** 2 + left[1] ** 2) / TRIAL_PLANE**2
        if square < 1 and abs(left[2]) < TRIAL_SLAB:
            total += 1 - 0.5 * square
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def search_orientations(
    reciprocal: np.ndarray,
    points: np.ndarray,
    v: np.ndarray,
    seeds: np.ndarray,
    n_judges: int,
    n_most: int,
) -> np.ndarray:
    """Orientations that bring two lattice vectors onto two spots, best first.

    They are of shape (at most n_most, 3, 3). ``points``, shape (m, 3), are reciprocal lattice
    vectors, shortest first, and ``v``, shape (n, 3), those of the spots, strongest first
    [1/angstrom]. The spots ``seeds`` are paired, and the first ``n_judges`` judge an orientation.
    """
    kept, scores = np.zeros((n_most, 3, 3)), np.zeros(n_most)
    lengths = np.sqrt(np.sum(points**2, axis=1))
    units = points / lengths.reshape(-1, 1)
    judges = v[:n_judges]
    # What every spot on its point would come to, but for those that lie off by the usual error.
    enough = ENOUGH * judges.shape[0] * 0.9
    trials = 0
    for n in range(1, seeds.shape[0]):
        for m in range(n):
            one, other = v[seeds[n]], v[seeds[m]]
            q = np.sqrt(np.sum(one**2)), np.sqrt(np.sum(other**2))
            angle = np.arccos(min(max(np.sum(one * other) / (q[0] * q[1]), -1.0), 1.0))
            if not SMALLEST_ANGLE < angle < np.pi - SMALLEST_ANGLE:
                continue
            pattern = pair_frame(one / q[0], other / q[1])
            low, high = np.cos(angle + SEED_ANGLE), np.cos(angle - SEED_ANGLE)
            edges = (q[0] - SEED_LENGTH, q[0] + SEED_LENGTH, q[1] - SEED_LENGTH, q[1] + SEED_LENGTH)
            ranges = np.searchsorted(lengths, np.array(edges))
            first_last = min(ranges[1], ranges[0] + MOST_NEAR)
            second_last = min(ranges[3], ranges[2] + MOST_NEAR)
            for i in range(ranges[0], first_last):
                for j in range(ranges[2], second_last):
                    cosine = np.sum(units[i] * units[j])
                    if not low < cosine < high:
                        continue
                    rotation = pair_frame(units[i], units[j]).T.copy() @ pattern
                    score = _judge(reciprocal, rotation, judges)
                    trials += 1
                    if score > scores[-1]:
                        k = n_most - 1
                        while k > 0 and scores[k - 1] < score:
                            scores[k] = scores[k - 1]
                            kept[k] = kept[k - 1]
                            k -= 1
                        scores[k] = score
                        kept[k] = rotation
                    if trials >= MOST_TRIALS or score >= enough:
                        return kept[scores > 0]
    return kept[scores > 0]

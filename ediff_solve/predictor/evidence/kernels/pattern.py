"""What a pattern shows without any lattice: its symmetry in the plane, compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Rotations whose scores are taken [fold], and mirror lines tried over 180 degrees.
FOLDS = (2, 3, 4, 6)
N_MIRRORS = 36
#: Strongest spots that are looked at.
MOST_SPOTS = 50
#: A turned spot has a partner this near [1/angstrom]; mirror lines fall between those tried.
NEAR, NEAR_MIRRORED = 0.02, 0.05
#: Rings that differ less than this have the same radius [1/angstrom].
SAME_RADIUS = 0.003
#: Names of what :func:`pattern_symmetry` returns.
NAMES = (
    *(f"{kind}_{fold}" for fold in FOLDS for kind in ("positions", "intensities")),
    "positions_mirror",
    "intensities_mirror",
    "shortest",
    "third_shortest",
    "fifth_shortest",
    "same_radius",
    "smallest_distance",
    "log_spots",
)


@njit(cache=True, nogil=True, error_model="numpy")
def _partners(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, matrix: np.ndarray, near: float
) -> tuple[float, float]:
    """Share of the spots, and of their weight, that a map of the plane takes onto spots."""
    positions, intensities = 0.0, 0.0
    n = x.shape[0]
    for i in range(n):
        u = matrix[0, 0] * x[i] + matrix[0, 1] * y[i]
        v = matrix[1, 0] * x[i] + matrix[1, 1] * y[i]
        best, partner = near * near, -1
        for j in range(n):
            distance = (u - x[j]) ** 2 + (v - y[j]) ** 2
            if distance < best:
                best, partner = distance, j
        if partner >= 0:
            positions += 1
            intensities += min(weight[i], weight[partner])
    return positions / n, intensities / np.sum(weight)


@njit(cache=True, nogil=True, error_model="numpy")
def pattern_symmetry(x: np.ndarray, y: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """How well a pattern agrees with itself turned and mirrored, and its shortest vectors.

    Spots, shape (n,), without the direct beam, strongest first [1/angstrom]. Shape (16,), see
    :data:`NAMES`: the share of spots, and of the square roots of their intensities, that a rotation
    and the best mirror take onto spots; lengths [1/angstrom].
    """
    found = np.full(2 * len(FOLDS) + 8, np.nan)
    n = min(x.shape[0], MOST_SPOTS)
    found[-1] = np.log(max(x.shape[0], 1))
    if n < 3:
        return found
    x, y, weight = x[:n], y[:n], np.sqrt(intensity[:n])
    if np.sum(weight) == 0:
        weight = np.ones(n)
    matrix = np.empty((2, 2))
    for k in range(len(FOLDS)):
        angle = 2 * np.pi / FOLDS[k]
        matrix[0, 0] = matrix[1, 1] = np.cos(angle)
        matrix[1, 0] = np.sin(angle)
        matrix[0, 1] = -matrix[1, 0]
        found[2 * k], found[2 * k + 1] = _partners(x, y, weight, matrix, NEAR)
    best_positions, best_intensities = 0.0, 0.0
    for k in range(N_MIRRORS):
        angle = 2 * np.pi * k / N_MIRRORS
        matrix[0, 0], matrix[0, 1] = np.cos(angle), np.sin(angle)
        matrix[1, 0], matrix[1, 1] = matrix[0, 1], -matrix[0, 0]
        positions, intensities = _partners(x, y, weight, matrix, NEAR_MIRRORED)
        best_positions = max(best_positions, positions)
        best_intensities = max(best_intensities, intensities)
    start = 2 * len(FOLDS)
    found[start], found[start + 1] = best_positions, best_intensities
    radius = np.sort(np.sqrt(x * x + y * y))
    found[start + 2], found[start + 3] = radius[0], radius[2]
    found[start + 4] = radius[min(4, n - 1)]
    found[start + 5] = np.sum(np.diff(radius) < SAME_RADIUS) / (n - 1)
    smallest = np.inf
    for i in range(n):
        for j in range(i):
            smallest = min(smallest, (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2)
    found[start + 6] = np.sqrt(smallest)
    return found

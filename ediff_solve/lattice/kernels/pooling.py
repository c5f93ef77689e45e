"""Spots that are the same: of several patterns of one grain, and differences between spots."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def join_spots(
    qx: np.ndarray, qy: np.ndarray, weight: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gather spots that lie within a distance of each other's mean.

    Spots qx and qy, shape (n,), in the order in which they start groups, and the weights of their
    positions; the tolerance is in the unit of qx. Returns which group each spot is in, from 0,
    shape (n,), and the groups' weighted means, shape (groups, 2).
    """
    n = len(qx)
    group, sums = np.empty(n, np.int64), np.zeros((n, 3))
    groups = 0
    for a in range(n):
        best, nearest = -1, tolerance * tolerance
        for g in range(groups):
            u, v = qx[a] - sums[g, 0] / sums[g, 2], qy[a] - sums[g, 1] / sums[g, 2]
            if u * u + v * v < nearest:
                best, nearest = g, u * u + v * v
        if best < 0:
            best = groups
            groups += 1
        group[a] = best
        sums[best, 0] += weight[a] * qx[a]
        sums[best, 1] += weight[a] * qy[a]
        sums[best, 2] += weight[a]
    return group, sums[:groups, :2] / sums[:groups, 2:]


@njit(cache=True, nogil=True)
def distinct_differences(
    x: np.ndarray, y: np.ndarray, longest: float, tolerance: float
) -> np.ndarray:
    """Differences between spots, those that come more often first, then the shorter ones.

    Spots x and y, shape (n,); ``longest`` is in their unit. Differences nearer than the tolerance
    are the same, and of each group the shortest is returned; shape (m, 2), in the half-plane y >=
    0.
    """
    n = len(x)
    vectors, lengths = np.empty((n * (n - 1) // 2, 2)), np.empty(n * (n - 1) // 2)
    m = 0
    for i in range(n):
        for j in range(i):
            u, v = x[i] - x[j], y[i] - y[j]
            if v < 0:
                u, v = -u, -v
            length = np.sqrt(u * u + v * v)
            # shorter ones are one spot found twice
            if 4 * tolerance < length < longest:
                vectors[m, 0], vectors[m, 1], lengths[m] = u, v, length
                m += 1
    kept, times = np.empty(m, np.int64), np.zeros(m, np.int64)
    groups = 0
    for a in np.argsort(lengths[:m]):
        same = -1
        for g in range(groups):
            u, v = vectors[a, 0] - vectors[kept[g], 0], vectors[a, 1] - vectors[kept[g], 1]
            if u * u + v * v < tolerance * tolerance:
                same = g
                break
        if same < 0:
            same = groups
            kept[groups] = a
            groups += 1
        times[same] += 1
    # a merge sort, so that of equally frequent ones the shorter come first
    order = np.argsort(-times[:groups], kind="mergesort")
    return vectors[kept[order]]

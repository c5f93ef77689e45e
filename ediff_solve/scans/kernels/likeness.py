"""Which neighbouring patterns of a scan are of one grain: those whose spots lie alike.

Along one grain spots keep their places while their intensities come and go with the thickness, so
places decide and intensities weigh.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _explained(i: int, j: int, spots: tuple) -> float:
    """Share of pattern i's weight in spots that pattern j has too (:func:`neighbour_likeness`)."""
    offsets, qx, qy, weight, tolerance = spots
    total, found = 0.0, 0.0
    for a in range(offsets[i], offsets[i + 1]):
        total += weight[a]
        for b in range(offsets[j], offsets[j + 1]):
            u, v = qx[a] - qx[b], qy[a] - qy[b]
            if u * u + v * v <= tolerance * tolerance:
                found += weight[a]
                break
    return found / total if total > 0 else 0.0


@njit(cache=True, nogil=True)
def neighbour_likeness(index: np.ndarray, spots: tuple) -> np.ndarray:
    """How much each pattern is like its neighbours: mean over those of the eight that are there.

    Parameters
    ----------
    index : ndarray of int, shape (nx, ny)
        Pattern of each position; -1 where there is none.
    spots : tuple
        Offsets of int, shape (n + 1,), pattern i having the spots ``offsets[i]`` to
        ``offsets[i + 1] - 1``; their qx, qy and weights, shape (n_spots,); and the largest distance
        of two spots that are the same, in the unit of qx.

    Returns
    -------
    ndarray, shape (n,)
        The smaller of the two shares that one explains of the other; missing neighbours count 0.
    """
    nx, ny = index.shape
    out = np.zeros(len(spots[0]) - 1)
    for x in range(nx):
        for y in range(ny):
            i = index[x, y]
            if i < 0:
                continue
            total = 0.0
            for u in range(max(x - 1, 0), min(x + 1, nx - 1) + 1):
                for v in range(max(y - 1, 0), min(y + 1, ny - 1) + 1):
                    j = index[u, v]
                    if j >= 0 and j != i:
                        total += min(_explained(i, j, spots), _explained(j, i, spots))
            out[i] = total / 8
    return out


@njit(cache=True, nogil=True)
def grow_regions(index: np.ndarray, order: np.ndarray, spots: tuple, least: float) -> np.ndarray:
    """Regions of patterns that one of them explains.

    Parameters
    ----------
    index : ndarray of int, shape (nx, ny)
        Pattern of each position; -1 where there is none.
    order : ndarray of int, shape (n, 2)
        Positions, those that regions start from first. A position that is in a region already
        starts none.
    spots : tuple
        See :func:`neighbour_likeness`.
    least : float
        Share of a pattern's weight that the starting one has to explain. It is always the starting
        pattern that does, never the neighbour: regions would leak from grain to grain where two
        overlap.

    Returns
    -------
    ndarray of int, shape (nx, ny)
        Number of the region, from 1; 0 where there is no pattern.
    """
    nx, ny = index.shape
    labels = np.zeros((nx, ny), np.int64)
    stack = np.empty((nx * ny, 2), np.int64)
    label = 0
    for k in range(len(order)):
        x, y = order[k, 0], order[k, 1]
        if labels[x, y] or index[x, y] < 0:
            continue
        label += 1
        start = index[x, y]
        labels[x, y] = label
        stack[0, 0], stack[0, 1] = x, y
        n = 1
        while n:
            n -= 1
            x, y = stack[n, 0], stack[n, 1]
            for u in range(max(x - 1, 0), min(x + 1, nx - 1) + 1):
                for v in range(max(y - 1, 0), min(y + 1, ny - 1) + 1):
                    j = index[u, v]
                    if j < 0 or labels[u, v]:
                        continue
                    if _explained(j, start, spots) >= least:
                        labels[u, v] = label
                        stack[n, 0], stack[n, 1] = u, v
                        n += 1
    return labels

"""Overlapping triangular rings times exp(i p phi), compiled; frozen, see :mod:`..rings`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def decompose(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    n_rings: int,
    n_orders: int,
    step: float,
) -> np.ndarray:
    """Sum over spots of I max(0, 1 - |q - m step| / step) exp(i p phi), of many patterns.

    Spots, shape (spots,), are one pattern after another [1/angstrom]: j owns offsets[j] to
    offsets[j + 1]. The sums are complex64, shape (patterns, n_rings, n_orders), by m and p; the
    step is in 1/angstrom.
    """
    n = offsets.shape[0] - 1
    out = np.zeros((n, n_rings, n_orders), np.complex64)
    rings = np.zeros((n_rings, n_orders), np.complex128)
    for j in range(n):
        rings[:] = 0
        for spot in range(offsets[j], offsets[j + 1]):
            x, y = qx[spot], qy[spot]
            q = np.sqrt(x * x + y * y)
            position = q / step
            inner = int(np.floor(position))
            if inner >= n_rings:
                continue
            outer_weight = intensity[spot] * (position - inner)
            inner_weight = intensity[spot] - outer_weight
            turn = complex(x / q, y / q) if q > 0 else 1.0 + 0.0j
            wave = 1.0 + 0.0j
            for p in range(n_orders):
                rings[inner, p] += inner_weight * wave
                if inner + 1 < n_rings:
                    rings[inner + 1, p] += outer_weight * wave
                wave *= turn
        for m in range(n_rings):
            for p in range(n_orders):
                out[j, m, p] = np.complex64(rings[m, p])
    return out

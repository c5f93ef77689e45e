"""The radial and angular basis of Gleason et al. 2024, equations 1 and 2, for many patterns."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def radial_transform(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    n_radial: int,
    n_angular: int,
    step: float,
) -> np.ndarray:
    """T[m, p] = sum over spots of I max(0, 1 - |q - m step| / step) exp(i p phi).

    phi = atan2(qy, qx). Spots of all patterns stand one pattern after another, ``qx``, ``qy``
    [1/angstrom] and ``intensity``, (spots,); pattern j owns spots offsets[j] to offsets[j + 1],
    int64. A spot lies in at most two rings. Gives complex64, shape (patterns, n_radial, n_angular).
    """
    n = offsets.shape[0] - 1
    out = np.zeros((n, n_radial, n_angular), np.complex64)
    rings = np.zeros((n_radial, n_angular), np.complex128)
    for j in range(n):
        rings[:] = 0
        for spot in range(offsets[j], offsets[j + 1]):
            x, y = qx[spot], qy[spot]
            q = np.sqrt(x * x + y * y)
            position = q / step
            inner = int(np.floor(position))
            if inner >= n_radial:
                continue
            outer_weight = intensity[spot] * (position - inner)
            inner_weight = intensity[spot] - outer_weight
            turn = complex(x / q, y / q) if q > 0 else 1.0 + 0.0j
            wave = 1.0 + 0.0j
            for p in range(n_angular):
                rings[inner, p] += inner_weight * wave
                if inner + 1 < n_radial:
                    rings[inner + 1, p] += outer_weight * wave
                wave *= turn
        for m in range(n_radial):
            for p in range(n_angular):
                out[j, m, p] = np.complex64(rings[m, p])
    return out

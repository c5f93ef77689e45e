"""The featurizer as it is written down. Slow; the fast one is held against it."""

from __future__ import annotations

import numpy as np


def radial_transform_direct(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    n_radial: int,
    n_angular: int,
    step: float,
) -> np.ndarray:
    """Equations 1 and 2 of Gleason et al. 2024, spot by spot and bin by bin.

    Parameters
    ----------
    qx, qy, intensity : ndarray, shape (n,)
        Spots [1/angstrom] and their intensities.
    n_radial, n_angular : int
        Numbers of radial bins m = 0, 1, ... and of angular orders p = 0, 1, ...
    step : float
        Radial step, Delta q [1/angstrom].

    Returns
    -------
    ndarray of complex128, shape (n_radial, n_angular)
    """
    out = np.zeros((n_radial, n_angular), dtype=np.complex128)
    for x, y, i in zip(qx, qy, intensity, strict=True):
        q, phi = np.hypot(x, y), np.arctan2(y, x)
        for m in range(n_radial):
            weight = 1 - abs(q - m * step) / step
            if weight > 0:
                for p in range(n_angular):
                    out[m, p] += i * weight * np.exp(1j * p * phi)
    return out

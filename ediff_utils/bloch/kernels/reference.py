"""The obvious implementations. Slow; the fast ones are held against them."""

from __future__ import annotations

import numpy as np


def exit_wave_dense(matrix: np.ndarray, start: np.ndarray, thickness: float) -> np.ndarray:
    """Exit wave exp(2 pi i t A) psi(0) by a full eigen-decomposition.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Structure matrix A [1/angstrom].
    start : ndarray, shape (n,)
        Incident wave.
    thickness : float
        [angstrom]

    Returns
    -------
    ndarray of complex128, shape (n,)
    """
    matrix = np.asarray(matrix, dtype=np.complex128)
    if np.allclose(matrix, matrix.conj().T, atol=1e-12):
        values, vectors = np.linalg.eigh(matrix)
        amplitudes = vectors.conj().T @ start
    else:
        values, vectors = np.linalg.eig(matrix)
        amplitudes = np.linalg.solve(vectors, np.asarray(start, dtype=np.complex128))
    return vectors @ (np.exp(2j * np.pi * thickness * values) * amplitudes)


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

"""The obvious implementation. Slow; the fast ones are held against it."""

from __future__ import annotations

import numpy as np


def exit_wave_dense(matrix: np.ndarray, start: np.ndarray, thickness: float) -> np.ndarray:
    """Exit wave exp(2 pi i t A) psi(0) by a full eigen-decomposition; complex128, shape (n,).

    A is the structure matrix [1/angstrom], shape (n, n), psi(0) the incident wave ``start``, shape
    (n,), and t the thickness [angstrom].
    """
    matrix = np.asarray(matrix, dtype=np.complex128)
    if np.allclose(matrix, matrix.conj().T, atol=1e-12):
        values, vectors = np.linalg.eigh(matrix)
        amplitudes = vectors.conj().T @ start
    else:
        values, vectors = np.linalg.eig(matrix)
        amplitudes = np.linalg.solve(vectors, np.asarray(start, dtype=np.complex128))
    return vectors @ (np.exp(2j * np.pi * thickness * values) * amplitudes)

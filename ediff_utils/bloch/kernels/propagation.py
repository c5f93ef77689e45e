r"""Bloch waves: beams, the structure matrix, and the exit wave by a Chebyshev expansion.

The exit wave after a thickness t is psi(t) = exp(2 pi i t A) psi(0), where A holds the excitation
errors s_g on its diagonal and U(g - h) / (2 k0) off it (De Graef 2003, equations 5.51 to 5.60).
Only the column of the incident beam is wanted, so the exponential is not formed: with the spectrum
of A inside [c - r, c + r],

    exp(2 pi i t A) = exp(2 pi i t c) sum_k (2 - delta_k0) i^k J_k(2 pi t r) T_k((A - c) / r)

(Tal-Ezer and Kosloff 1984), which takes one matrix-vector product a term and about 2 pi t r terms.
Without absorption A is Hermitian, and :mod:`ediff_utils.bloch.kernels.packed` is faster.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, fastmath=True)
def select_beams(
    g: np.ndarray, beam_axis: np.ndarray, wavelength: float, excitation_error_max: float
) -> tuple[np.ndarray, np.ndarray]:
    """Reciprocal lattice points near the Ewald sphere, and their excitation errors.

    Of the points g, shape (n, 3), the origin first [1/angstrom], those with |s_g| up to a largest
    one are kept, s_g = (2 g_z - lambda g^2) / (2 - 2 lambda g_z) [1/angstrom]. ``beam_axis`` is a
    unit vector against the beam (zone axis), in the frame of g; also the foil normal. Gives rows of
    g, int64, the direct beam first, and their s_g, both of shape (beams,).
    """
    n = g.shape[0]
    index = np.empty(n, np.int64)
    excitation_error = np.empty(n)
    count = 0
    for i in range(n):
        gz = g[i, 0] * beam_axis[0] + g[i, 1] * beam_axis[1] + g[i, 2] * beam_axis[2]
        g2 = g[i, 0] ** 2 + g[i, 1] ** 2 + g[i, 2] ** 2
        s = (2.0 * gz - wavelength * g2) / (2.0 - 2.0 * wavelength * gz)
        if abs(s) <= excitation_error_max:
            index[count] = i
            excitation_error[count] = s
            count += 1
    return index[:count].copy(), excitation_error[:count].copy()


@njit(cache=True, fastmath=True)
def structure_matrix(
    hkl: np.ndarray, excitation_error: np.ndarray, coupling: np.ndarray, hermitian: bool
) -> np.ndarray:
    """Fill A, shape (n, n): excitation errors on the diagonal, couplings U(g - h) / (2 k0) off it.

    ``hkl``, shape (n, 3), are Miller indices of the beams. ``coupling`` is U_g / (2 k0) on a dense
    grid, shape (2 H + 1, 2 K + 1, 2 L + 1) [1/angstrom], of the type that A shall have. Its entry
    at the origin is added to the diagonal (zero without absorption: a shared phase). Where A is
    ``hermitian`` one half is filled and mirrored.
    """
    n = hkl.shape[0]
    size_k, size_l = coupling.shape[1], coupling.shape[2]
    flat = coupling.ravel()
    centre = flat.size // 2
    position = np.empty(n, np.int64)
    for i in range(n):
        position[i] = (hkl[i, 0] * size_k + hkl[i, 1]) * size_l + hkl[i, 2]
    matrix = np.empty((n, n), coupling.dtype)
    for i in range(n):
        shift = centre + position[i]
        for j in range(i if hermitian else n):
            matrix[i, j] = flat[shift - position[j]]
        matrix[i, i] = flat[centre] + excitation_error[i]
    if hermitian:
        for i in range(n):
            for j in range(i + 1, n):
                matrix[i, j] = np.conj(matrix[j, i])
    return matrix


@njit(cache=True, fastmath=True)
def spectral_interval(matrix: np.ndarray, steps: int) -> tuple[float, float]:
    """Bounds of the spectrum of a Hermitian matrix, shape (n, n), from a few Lanczos steps.

    The extreme Ritz values are widened by their residuals (Zhou and Li 2011), which bounds the
    spectrum in practice, not in theory: the caller checks that the norm is conserved.
    """
    n = matrix.shape[0]
    v = np.empty(n, matrix.dtype)
    # Any vector with a part along every eigenvector will do; a fixed one keeps runs identical.
    state = np.uint64(88172645463325252)
    for i in range(n):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        v[i] = np.float32(state >> np.uint64(40)) / np.float32(1 << 24) - np.float32(0.5)
    norm = 0.0
    for i in range(n):
        norm += v[i].real ** 2
    v *= np.float32(1.0 / np.sqrt(norm))
    previous = np.zeros(n, matrix.dtype)
    w = np.empty(n, matrix.dtype)
    steps = min(steps, n)
    tridiagonal = np.zeros((steps, steps))
    beta = 0.0
    size = 0
    for k in range(steps):
        np.dot(matrix, v, w)
        alpha = 0.0
        for i in range(n):
            alpha += (np.conj(v[i]) * w[i]).real
        a32, b32 = np.float32(alpha), np.float32(beta)
        beta = 0.0
        for i in range(n):
            w[i] -= a32 * v[i] + b32 * previous[i]
            beta += w[i].real ** 2 + w[i].imag ** 2
        beta = np.sqrt(beta)
        tridiagonal[k, k] = alpha
        size = k + 1
        if beta < 1e-6 or k == steps - 1:
            break
        tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = beta
        scale = np.float32(1.0 / beta)
        for i in range(n):
            previous[i] = v[i]
            v[i] = w[i] * scale
    ritz, vectors = np.linalg.eigh(tridiagonal[:size, :size])
    low = ritz[0] - beta * abs(vectors[size - 1, 0])
    high = ritz[size - 1] + beta * abs(vectors[size - 1, size - 1])
    # A beam that hardly couples is nearly an eigenvector, which a few steps may not see.
    for i in range(n):
        low, high = min(low, matrix[i, i].real), max(high, matrix[i, i].real)
    return low, high


@njit(cache=True, fastmath=True)
def propagate(
    matrix: np.ndarray, start: np.ndarray, centre: float, radius: float, weights: np.ndarray
) -> np.ndarray:
    """One exit wave: sum_k weights[k] T_k((A - centre) / radius) start, but for a phase all share.

    A, shape (n, n), and the wave before this slab, shape (n,), are of one type; centre and radius
    of the spectrum are in 1/angstrom. Weights are (2 - delta_k0) i^k J_k(2 pi t radius), shape
    (terms,), at least two.
    """
    n = matrix.shape[0]
    real = weights.real.dtype.type
    a = start.copy()
    b = np.dot(matrix, a)
    w = np.empty_like(a)
    psi = np.empty(n, weights.dtype)
    f1, f2, c = real(1.0 / radius), real(2.0 / radius), real(centre)
    for i in range(n):
        b[i] = f1 * (b[i] - c * a[i])
        psi[i] = weights[0] * a[i] + weights[1] * b[i]
    for k in range(2, weights.shape[0]):
        np.dot(matrix, b, w)
        weight = weights[k]
        for i in range(n):
            value = f2 * (w[i] - c * b[i]) - a[i]
            w[i] = value
            psi[i] += weight * value
        a, b, w = b, w, a
    return psi

r"""Hermitian structure matrices at half their size, and exit waves from them by Lanczos steps.

A product with a large matrix takes as long as reading it from the cache, so only one half is kept:
the rows below the diagonal in ``blocks`` of four, each ``4 x i0`` numbers for its first row i0, one
row after the other, and the 4 x 4 ``corners`` on the diagonal apart. Every number that is read
serves its mirror image too. Complex matrices and vectors are kept as a plane of real parts and one
of imaginary parts. The number of beams is filled up to a multiple of four, n, with beams that
couple to nothing.

The exit wave after a thickness t is psi(t) = exp(2 pi i t A) psi(0). Lanczos steps from the
incident beam give orthonormal v_0 .. v_m and a tridiagonal T with A V = V T up to the last vector;
then psi(t) = V exp(2 pi i t T) e_0 to an accuracy that the last entries tell (Park and Light 1986).
That is about a fifth fewer products than a Chebyshev expansion takes, and no bound of the spectrum
beforehand.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# What one of these functions calls is inlined by numba itself. Compiled on its own it would exist
# twice, optimised once and twice, and which of the two a process runs would depend on whether it
# compiled them or found them in the cache: the same but for the last bits, which is not the same.

#: Rows of a block.
ROWS = 4
#: A Lanczos vector shorter than this is rounding, and its space exhausted [1/angstrom].
EXHAUSTED = 1e-7


@njit(cache=True, fastmath=True)
def pack_matrix(
    hkl: np.ndarray, excitation_error: np.ndarray, coupling: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the half of A; ``propagation.structure_matrix`` says what stands in it.

    The coupling comes as one plane where it is real, or as real and imaginary parts, float32, shape
    (planes, 2 H + 1, 2 K + 1, 2 L + 1). So do ``blocks``, in each of which the rows of the real
    plane stand before those of the imaginary one, and ``corners``, shape (blocks, planes, 4, 4).
    """
    beams = hkl.shape[0]
    planes, size_k, size_l = coupling.shape[0], coupling.shape[2], coupling.shape[3]
    flat = coupling.reshape(planes, -1)
    centre = flat.shape[1] // 2
    n_blocks = (beams + ROWS - 1) // ROWS
    position = np.empty(beams, np.int64)
    for i in range(beams):
        position[i] = (hkl[i, 0] * size_k + hkl[i, 1]) * size_l + hkl[i, 2]
    blocks = np.zeros(planes * ROWS * ROWS * (n_blocks * (n_blocks - 1) // 2), np.float32)
    corners = np.zeros((n_blocks, planes, ROWS, ROWS), np.float32)
    offset = 0
    for block in range(n_blocks):
        first = ROWS * block
        for plane in range(planes):
            grid = flat[plane]
            for r in range(ROWS):
                if first + r < beams:
                    shift = centre + position[first + r]
                    row = blocks[offset : offset + first]
                    for j in range(first):
                        row[j] = grid[shift - position[j]]
                    for c in range(min(ROWS, beams - first)):
                        corners[block, plane, r, c] = grid[shift - position[first + c]]
                    corners[block, plane, r, r] = 0 if plane else excitation_error[first + r]
                offset += first
    return blocks, corners


@njit(fastmath=True, inline="always")
def _multiply_real(blocks: np.ndarray, corners: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    out[:] = 0
    offset = 0
    for block in range(corners.shape[0]):
        i = ROWS * block
        row0 = blocks[offset : offset + i]
        row1 = blocks[offset + i : offset + 2 * i]
        row2 = blocks[offset + 2 * i : offset + 3 * i]
        row3 = blocks[offset + 3 * i : offset + 4 * i]
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        y0 = y1 = y2 = y3 = np.float32(0)
        for j in range(i):
            a0, a1, a2, a3 = row0[j], row1[j], row2[j], row3[j]
            y0 += a0 * x[j]
            y1 += a1 * x[j]
            y2 += a2 * x[j]
            y3 += a3 * x[j]
            out[j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
        out[i] += y0
        out[i + 1] += y1
        out[i + 2] += y2
        out[i + 3] += y3
        for r in range(ROWS):
            for c in range(ROWS):
                out[i + r] += corners[block, 0, r, c] * x[i + c]
        offset += ROWS * i


@njit(fastmath=True, inline="always")
def _multiply_complex(
    blocks: np.ndarray, corners: np.ndarray, x: np.ndarray, out: np.ndarray
) -> None:
    n = ROWS * corners.shape[0]
    x_re, x_im, out_re, out_im = x[:n], x[n:], out[:n], out[n:]
    out[:] = 0
    offset = 0
    for block in range(corners.shape[0]):
        i = ROWS * block
        for pair in range(0, ROWS, 2):
            # Rows i + pair and i + pair + 1, their real and their imaginary parts.
            start = offset + pair * i
            re0, re1 = blocks[start : start + i], blocks[start + i : start + 2 * i]
            start += ROWS * i
            im0, im1 = blocks[start : start + i], blocks[start + i : start + 2 * i]
            k = i + pair
            xr0, xi0, xr1, xi1 = x_re[k], x_im[k], x_re[k + 1], x_im[k + 1]
            yr0 = yi0 = yr1 = yi1 = np.float32(0)
            for j in range(i):
                a, b, c, d = re0[j], im0[j], re1[j], im1[j]
                yr0 += a * x_re[j] - b * x_im[j]
                yi0 += a * x_im[j] + b * x_re[j]
                yr1 += c * x_re[j] - d * x_im[j]
                yi1 += c * x_im[j] + d * x_re[j]
                out_re[j] += a * xr0 + b * xi0 + c * xr1 + d * xi1
                out_im[j] += a * xi0 - b * xr0 + c * xi1 - d * xr1
            out_re[k] += yr0
            out_im[k] += yi0
            out_re[k + 1] += yr1
            out_im[k + 1] += yi1
        for r in range(ROWS):
            for c in range(ROWS):
                a, b = corners[block, 0, r, c], corners[block, 1, r, c]
                out_re[i + r] += a * x_re[i + c] - b * x_im[i + c]
                out_im[i + r] += a * x_im[i + c] + b * x_re[i + c]
        offset += 2 * ROWS * i


@njit(fastmath=True, inline="always")
def multiply(blocks: np.ndarray, corners: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Put A x of a packed matrix into ``out``; x and out are float32, shape (planes * n,)."""
    if corners.shape[1] == 1:
        _multiply_real(blocks, corners, x, out)
    else:
        _multiply_complex(blocks, corners, x, out)


@njit(cache=True, fastmath=True)
def lanczos(
    blocks: np.ndarray,
    corners: np.ndarray,
    vectors: np.ndarray,
    alpha: np.ndarray,
    beta: np.ndarray,
    first: int,
    last: int,
) -> int:
    """Lanczos steps ``first`` to ``last`` - 1; gives how many were done.

    Of the ``vectors``, float32, shape (more than last, planes * n), rows up to ``first`` are given,
    the first of them of norm one; those up to ``last`` are filled in. So are ``alpha`` and
    ``beta``, shape (at least last,), the diagonal of T and what is below it. Steps are fewer than
    ``last`` where the space that A spans from the start is exhausted, which the last ``beta``
    tells, being smaller than :data:`EXHAUSTED`.
    """
    n = vectors.shape[1]
    for k in range(first, last):
        v, w = vectors[k], vectors[k + 1]
        multiply(blocks, corners, v, w)
        total = 0.0
        for i in range(n):
            total += v[i] * w[i]
        alpha[k] = total
        a = np.float32(total)
        square = 0.0
        if k:
            b = np.float32(beta[k - 1])
            u = vectors[k - 1]
            for i in range(n):
                w[i] -= a * v[i] + b * u[i]
                square += w[i] * w[i]
        else:
            for i in range(n):
                w[i] -= a * v[i]
                square += w[i] * w[i]
        beta[k] = np.sqrt(square)
        if beta[k] < EXHAUSTED:
            return k + 1
        scale = np.float32(1.0 / beta[k])
        for i in range(n):
            w[i] *= scale
    return last


@njit(cache=True, fastmath=True)
def tridiagonal_interval(alpha: np.ndarray, beta: np.ndarray) -> tuple[float, float]:
    """Gershgorin's bounds of a tridiagonal T, close to the spectrum where Lanczos steps made it.

    ``alpha``, shape (m,), is its diagonal, ``beta``, shape (at least m - 1,), what is below it.
    """
    m = alpha.shape[0]
    low, high = alpha[0], alpha[0]
    for k in range(m):
        reach = (beta[k - 1] if k > 0 else 0.0) + (beta[k] if k + 1 < m else 0.0)
        low, high = min(low, alpha[k] - reach), max(high, alpha[k] + reach)
    return low, high


@njit(cache=True, fastmath=True)
def tridiagonal_waves(
    alpha: np.ndarray, beta: np.ndarray, centre: float, radius: float, weights: np.ndarray
) -> np.ndarray:
    """sum_k weights[:, k] T_k((T - centre) / radius) e_0 of a tridiagonal T.

    The weights are those of ``propagation.propagate`` for several thicknesses, shape (thicknesses,
    terms); the result is complex128, shape (thicknesses, m).
    """
    m = alpha.shape[0]
    out = np.zeros((weights.shape[0], m), np.complex128)
    before, x, w = np.zeros(m), np.zeros(m), np.zeros(m)
    x[0] = 1.0
    for t in range(weights.shape[0]):
        out[t, 0] = weights[t, 0]
    for k in range(1, weights.shape[1]):
        factor = 1.0 / radius if k == 1 else 2.0 / radius
        # Every product reaches one row further.
        reach = min(m, k + 1)
        for i in range(reach):
            w[i] = factor * (alpha[i] - centre) * x[i] - before[i]
        for i in range(1, reach):
            w[i] += factor * beta[i - 1] * x[i - 1]
        for i in range(min(reach, m - 1)):
            w[i] += factor * beta[i] * x[i + 1]
        for t in range(weights.shape[0]):
            weight = weights[t, k]
            for i in range(reach):
                out[t, i] += weight * w[i]
        before, x, w = x, w, before
    return out


@njit(cache=True, fastmath=True)
def chebyshev_vectors(
    blocks: np.ndarray,
    corners: np.ndarray,
    centre: float,
    radius: float,
    terms: int,
) -> np.ndarray:
    """All T_k((A - centre) / radius) e_0, from which every thickness follows by one product.

    As many as there are ``terms``, at least 2; float32, shape (terms, planes * n).
    """
    n = corners.shape[1] * ROWS * corners.shape[0]
    vectors = np.empty((terms, n), np.float32)
    f1, f2, c = np.float32(1.0 / radius), np.float32(2.0 / radius), np.float32(centre)
    vectors[0] = 0
    vectors[0, 0] = 1
    multiply(blocks, corners, vectors[0], vectors[1])
    for i in range(n):
        vectors[1, i] = f1 * (vectors[1, i] - c * vectors[0, i])
    for k in range(2, terms):
        a, b, w = vectors[k - 2], vectors[k - 1], vectors[k]
        multiply(blocks, corners, b, w)
        for i in range(n):
            w[i] = f2 * (w[i] - c * b[i]) - a[i]
    return vectors

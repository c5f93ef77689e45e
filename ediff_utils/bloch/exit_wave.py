"""Exit waves of the incident beam: how many steps, Bessel weights, slabs with absorption."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import jv

from ediff_utils.bloch.kernels.packed import (
    EXHAUSTED,
    ROWS,
    chebyshev_vectors,
    lanczos,
    tridiagonal_interval,
    tridiagonal_waves,
)
from ediff_utils.bloch.kernels.propagation import propagate, spectral_interval

#: Bessel functions below this are left out of an expansion.
_TOLERANCE = 1e-7
#: Largest entry that the last Lanczos vectors may have in the exit wave.
_LANCZOS_TOLERANCE = 5e-6
#: Largest departure of the total intensity from one; beyond it the spectral bound was wrong.
_NORM_TOLERANCE = 2e-5
#: Lanczos steps that bound the spectrum.
_BOUND_STEPS = 14
#: Phase 2 pi t r beyond which Lanczos vectors in single precision would no longer be orthogonal.
_LANCZOS_PHASE = 250.0
#: Longest slab propagated at once with absorption, where Chebyshev vectors grow [angstrom].
_ABSORPTIVE_SLAB = 200.0


class SimulationError(Exception):
    """A crystal or orientation that cannot be simulated."""


@lru_cache(maxsize=512)
def _bessel_weights(thicknesses: tuple[float, ...], radius: float) -> np.ndarray:
    """(2 - delta_k0) i^k J_k(2 pi t radius), shape (thicknesses, terms)."""
    x = 2 * np.pi * np.array(thicknesses) * radius
    # J_k(x) falls off faster than exponentially once k exceeds x by a few times x^(1/3).
    orders = np.arange(int(x.max() + 14 * np.cbrt(max(x.max(), 1)) + 14))
    bessel = jv(orders[None, :], x[:, None])
    terms = max(2, np.nonzero(np.abs(bessel).max(axis=0) > _TOLERANCE)[0].max() + 1)
    weights = 2 * bessel[:, :terms] * (1j ** (orders[:terms] % 4))
    weights[:, 0] /= 2
    # Denormal numbers make single precision crawl.
    weights[np.abs(weights) < 1e-12] = 0
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=512)
def _parity_weights(thicknesses: tuple[float, ...], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the even terms, which are real, and of the odd ones, which are imaginary."""
    weights = _bessel_weights(thicknesses, radius)
    even = np.ascontiguousarray(weights[:, ::2].real, dtype=np.float32)
    return even, np.ascontiguousarray(weights[:, 1::2].imag, dtype=np.float32)


def _rounded_up(radius: float) -> float:
    """Radius on a coarse grid, so that few Bessel tables serve all patterns."""
    return np.ceil(radius * 400) / 400


def exit_waves(
    blocks: np.ndarray,
    corners: np.ndarray,
    excitation_error: np.ndarray,
    thicknesses: tuple[float, ...],
) -> np.ndarray:
    """Exit waves of the incident beam at several thicknesses [angstrom], without absorption.

    ``blocks`` and ``corners`` are the structure matrix A [1/angstrom] as in
    :mod:`ediff_utils.bloch.kernels.packed`, the direct beam first; ``excitation_error``, shape
    (n,), is its diagonal. Gives amplitudes up to a phase that all beams share, complex64, shape
    (thicknesses, n). Where the total intensity does not stay one, even with wider spectral bounds,
    there is a SimulationError.
    """
    beams = len(excitation_error)
    if beams == 1:
        return np.ones((len(thicknesses), 1), np.complex64)
    spread = (excitation_error.max() - excitation_error.min()) / 2
    phase = 2 * np.pi * max(thicknesses) * spread
    if phase < _LANCZOS_PHASE:
        found = _lanczos_waves(blocks, corners, thicknesses, phase)
        if found is not None and _is_normal(found):
            return found[:, :beams]
    low, high = _spectral_interval(blocks, corners, excitation_error)
    centre, radius = (low + high) / 2, _rounded_up((high - low) / 2 * 1.03 + 1e-4)
    for _ in range(8):
        waves = _series(blocks, corners, thicknesses, centre, radius)[:, :beams]
        if _is_normal(waves):
            return waves
        radius = _rounded_up(radius * 1.15)
    norm = np.sum(np.abs(waves[-1]) ** 2)
    raise SimulationError(f"intensity is not conserved: {norm:.4g} of the incident beam")


def _is_normal(waves: np.ndarray) -> bool:
    norms = np.sum(waves.real.astype(float) ** 2 + waves.imag.astype(float) ** 2, axis=1)
    return bool(np.all(np.abs(norms - 1) < _NORM_TOLERANCE))


def _combine(
    real: tuple[np.ndarray, np.ndarray], imaginary: tuple[np.ndarray, np.ndarray], planes: int
) -> np.ndarray:
    """Waves sum_k (a_k + i b_k) v_k from pairs (a, vectors) and (b, vectors) of real arrays."""
    first, second = real[0] @ real[1], imaginary[0] @ imaginary[1]
    n = first.shape[1] // planes
    waves = np.empty((len(first), n), np.complex64)
    waves.real, waves.imag = first[:, :n], second[:, :n]
    if planes == 2:
        waves.real -= second[:, n:]
        waves.imag += first[:, n:]
    return waves


def _lanczos_waves(
    blocks: np.ndarray, corners: np.ndarray, thicknesses: tuple[float, ...], phase: float
) -> np.ndarray | None:
    """Exit waves, or None where a fair number of steps does not do."""
    planes, size = corners.shape[1], corners.shape[1] * ROWS * len(corners)
    # Entries fall off once there are more steps than the phase, over a few times its cube root.
    first = int(phase + 3 * np.cbrt(phase)) + 2
    limit = first + 80
    vectors = np.empty((limit + 1, size), np.float32)
    vectors[0] = 0
    vectors[0, 0] = 1
    alpha, beta = np.zeros(limit), np.zeros(limit)
    done = 0
    for steps in range(first, limit + 1, 4):
        done = lanczos(blocks, corners, vectors, alpha, beta, done, steps)
        low, high = tridiagonal_interval(alpha[:done], beta)
        radius = _rounded_up((high - low) / 2 + 1e-6)
        weights = _bessel_weights(thicknesses, radius)
        entries = tridiagonal_waves(alpha[:done], beta, (low + high) / 2, radius, weights)
        if beta[done - 1] < EXHAUSTED or np.abs(entries[:, -2:]).max() < _LANCZOS_TOLERANCE:
            parts = entries.real.astype(np.float32), entries.imag.astype(np.float32)
            return _combine((parts[0], vectors[:done]), (parts[1], vectors[:done]), planes)
    return None


def _spectral_interval(
    blocks: np.ndarray, corners: np.ndarray, excitation_error: np.ndarray
) -> tuple[float, float]:
    """Bounds of the spectrum: extreme Ritz values, widened by their residuals (Zhou and Li 2011).

    That holds in practice, not in theory: the caller checks that the intensity is conserved.
    """
    size = corners.shape[1] * ROWS * len(corners)
    steps = min(_BOUND_STEPS, len(excitation_error))
    # Any vector with a part along every eigenvector will do; a fixed one keeps runs identical.
    vectors = np.empty((steps + 1, size), np.float32)
    vectors[0] = np.random.default_rng(0).random(size, np.float32) - 0.5
    vectors[0] /= np.linalg.norm(vectors[0])
    alpha, beta = np.zeros(steps), np.zeros(steps)
    steps = lanczos(blocks, corners, vectors, alpha, beta, 0, steps)
    off = np.diag(beta[: steps - 1], 1)
    ritz, inner = np.linalg.eigh(np.diag(alpha[:steps]) + off + off.T)
    residual = beta[steps - 1] * np.abs(inner[-1])
    # A beam that hardly couples is nearly an eigenvector, which a few steps may not see.
    low = min(ritz[0] - residual[0], excitation_error.min())
    return low, max(ritz[-1] + residual[-1], excitation_error.max())


def _series(
    blocks: np.ndarray,
    corners: np.ndarray,
    thicknesses: tuple[float, ...],
    centre: float,
    radius: float,
) -> np.ndarray:
    even, odd = _parity_weights(thicknesses, radius)
    terms = even.shape[1] + odd.shape[1]
    vectors = chebyshev_vectors(blocks, corners, centre, radius, terms)
    # Outside of the bounds the vectors grow past all numbers, which the norm then shows.
    with np.errstate(over="ignore", invalid="ignore"):
        return _combine((even, vectors[::2]), (odd, vectors[1::2]), corners.shape[1])


def absorptive_waves(matrix: np.ndarray, thicknesses: tuple[float, ...]) -> np.ndarray:
    """As :func:`exit_waves`, of a whole matrix with absorption, complex128 and shape (n, n).

    Chebyshev vectors of such a matrix grow: double precision, and slab by slab.
    """
    start = np.zeros(len(matrix), matrix.dtype)
    start[0] = 1
    if len(matrix) == 1:
        attenuation = np.exp(-2 * np.pi * np.array(thicknesses) * matrix[0, 0].imag)
        return attenuation[:, None].astype(complex)
    hermitian = np.ascontiguousarray((matrix + matrix.conj().T) / 2)
    low, high = spectral_interval(hermitian, _BOUND_STEPS)
    # Eigenvalues of a non-Hermitian matrix lie within its numerical range, a little off the axis.
    centre, radius = (low + high) / 2, _rounded_up((high - low) / 2 * 1.1 + 1e-4)
    waves = np.empty((len(thicknesses), len(matrix)), np.complex128)
    wave, done = start, 0.0
    for index in np.argsort(thicknesses):
        while thicknesses[index] - done > 1e-9:
            slab = min(_ABSORPTIVE_SLAB, thicknesses[index] - done)
            weights = _bessel_weights((slab,), radius)[0]
            wave = propagate(matrix, wave, centre, radius, weights)
            done += slab
        waves[index] = wave
    return waves

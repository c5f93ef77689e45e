"""Exit waves of a structure matrix: spectral bounds, Bessel weights, slabs with absorption."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import jv

from ediff_utils.kernels.bloch import chebyshev_vectors, propagate, spectral_interval

#: Bessel functions below this are left out of the expansion.
_TOLERANCE = 1e-7
#: Largest departure of the total intensity from one; beyond it the spectral bound was wrong.
_NORM_TOLERANCE = 2e-5
_LANCZOS_STEPS = 14
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
def _single_weights(thickness: float, radius: float) -> np.ndarray:
    return _bessel_weights((thickness,), radius)[0].astype(np.complex64)


def _rounded_up(radius: float) -> float:
    """Radius on a coarse grid, so that few Bessel tables serve all patterns."""
    return np.ceil(radius * 400) / 400


def exit_waves(matrix: np.ndarray, thicknesses: tuple[float, ...], hermitian: bool) -> np.ndarray:
    """Exit waves of the incident beam at several thicknesses.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Structure matrix A [1/angstrom]; float32, complex64 or, with absorption, complex128. Its
        first row and column belong to the direct beam.
    thicknesses : tuple of float
        [angstrom]
    hermitian : bool
        Without absorption: the total intensity must stay one, and is checked.

    Returns
    -------
    ndarray of complex, shape (thicknesses, n)
        Amplitudes, up to a phase that all beams share.

    Raises
    ------
    SimulationError
        The norm is not conserved, even with wider spectral bounds.
    """
    start = np.zeros(len(matrix), matrix.dtype)
    start[0] = 1
    if len(matrix) == 1:
        return np.ones((len(thicknesses), 1), np.complex64)
    if not hermitian:
        return _absorptive_waves(matrix, start, thicknesses)
    low, high = spectral_interval(matrix, _LANCZOS_STEPS)
    centre, radius = (low + high) / 2, _rounded_up((high - low) / 2 * 1.03 + 1e-4)
    for _ in range(8):
        if len(thicknesses) == 1:
            weights = _single_weights(thicknesses[0], radius)
            waves = propagate(matrix, start, centre, radius, weights)[None]
        else:
            waves = _series(matrix, start, thicknesses, centre, radius)
        norms = np.sum(waves.real.astype(float) ** 2 + waves.imag.astype(float) ** 2, axis=1)
        if np.all(np.abs(norms - 1) < _NORM_TOLERANCE):
            return waves
        radius = _rounded_up(radius * 1.15)
    raise SimulationError(f"intensity is not conserved: {norms[-1]:.4g} of the incident beam")


@lru_cache(maxsize=64)
def _series_weights(
    thicknesses: tuple[float, ...], radius: float, kind: np.dtype
) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
    """Weights of a series: complex, or of a real matrix those of the even and of the odd terms."""
    weights = _bessel_weights(thicknesses, radius)
    if kind.kind == "c":
        return weights.astype(kind)
    even = np.ascontiguousarray(weights[:, ::2].real, dtype=kind)
    return even, np.ascontiguousarray(weights[:, 1::2].imag, dtype=kind)


def _series(
    matrix: np.ndarray,
    start: np.ndarray,
    thicknesses: tuple[float, ...],
    centre: float,
    radius: float,
) -> np.ndarray:
    terms = _bessel_weights(thicknesses, radius).shape[1]
    vectors = chebyshev_vectors(matrix, start, centre, radius, terms)
    weights = _series_weights(thicknesses, radius, matrix.dtype)
    if isinstance(weights, np.ndarray):
        return weights @ vectors
    # Even terms are real and odd ones imaginary: two real products instead of a complex one.
    waves = np.empty((len(thicknesses), len(matrix)), np.complex64)
    waves.real = weights[0] @ vectors[::2]
    waves.imag = weights[1] @ vectors[1::2]
    return waves


def _absorptive_waves(
    matrix: np.ndarray, start: np.ndarray, thicknesses: tuple[float, ...]
) -> np.ndarray:
    """With absorption the Chebyshev vectors grow: double precision, and slab by slab."""
    hermitian = np.ascontiguousarray((matrix + matrix.conj().T) / 2)
    low, high = spectral_interval(hermitian, _LANCZOS_STEPS)
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

"""The features stage: spot patterns to vectors of the radial and angular basis.

Equations 1 and 2 of Gleason et al. 2024: 41 overlapping triangular rings, 0.05 1/angstrom apart,
times exp(i p phi) for p = 0 to 12, make 533 complex numbers T[m, p]. The vector is their
magnitudes, in the order of (m, p), followed by their arguments: 1,066 real numbers.
"""

from __future__ import annotations

import numpy as np

from ediff_utils.core.errors import UserError
from ediff_utils.paper.kernels.radial import radial_transform

#: Radial bins, angular orders and radial step [1/angstrom] of the paper.
N_RADIAL, N_ANGULAR, STEP = 41, 13, 0.05
N_FEATURES = 2 * N_RADIAL * N_ANGULAR
#: Below this fraction of its ring's total a coefficient is round-off; its argument means nothing.
_ROUND_OFF = 1e-5
#: The same as a fraction of the whole pattern: a spot on a ring, in single precision, leaks so
#: much into the next one.
_LEAKAGE = 3e-6
#: Where the circle of arguments is cut open [radian]. Mirrors and two-fold axes make coefficients
#: real, and for a negative one rounding would choose between -pi and pi, were the cut there.
_CUT = -np.pi + 0.01
#: Where no ring reaches [1/angstrom].
_FAR = 100.0


def transform(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Coefficients T[m, p] of many patterns, complex64, shape (patterns, 41, 13).

    Spots of all patterns stand one pattern after another, without the direct beam: ``qx``, ``qy``
    [1/angstrom] and ``intensity``, (spots,); pattern j owns spots offsets[j] to offsets[j + 1].
    Those beyond the rings count nowhere.
    """
    x, y, height = (np.array(v, dtype=np.float64) for v in (qx, qy, intensity))
    # Far out, the compiled code's numbers of rings would overflow.
    far = ~(np.maximum(np.abs(x), np.abs(y)) <= _FAR)
    x[far], y[far], height[far] = _FAR, 0.0, 0.0
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    return radial_transform(x, y, height, offsets, N_RADIAL, N_ANGULAR, STEP)


def _to_vectors(coefficients: np.ndarray, round_off: str) -> np.ndarray:
    """Coefficients, complex (n, 41, 13), as vectors, float32 (n, 1066).

    533 magnitudes, then 533 arguments from 0.01 - pi to 0.01 + pi [radian]; the argument of a
    vanishing coefficient is 0, unless round-off is kept.
    """
    n = len(coefficients)
    magnitude = np.abs(coefficients)
    argument = np.angle(coefficients)
    if round_off == "zero":
        argument = _wrap(argument)
        argument[_vanishing(magnitude)] = 0
    both = np.concatenate([magnitude.reshape(n, -1), argument.reshape(n, -1)], axis=1)
    return both.astype(np.float32)


def _wrap(argument: np.ndarray) -> np.ndarray:
    """Arguments within the turn that the cut begins [radian]."""
    return np.remainder(argument - _CUT, 2 * np.pi) + _CUT


def _vanishing(magnitude: np.ndarray) -> np.ndarray:
    """Which coefficients are round-off; bool, shape (n, 41, 13)."""
    ring = magnitude[:, :, :1]
    return magnitude <= np.maximum(_ROUND_OFF * ring, _LEAKAGE * ring.sum(axis=1, keepdims=True))


def to_coefficients(vectors: np.ndarray) -> np.ndarray:
    """Complex coefficients of vectors, shape (n, 41, 13)."""
    vectors = np.asarray(vectors)
    magnitude, argument = np.split(vectors, 2, axis=1)
    return (magnitude * np.exp(1j * argument)).reshape(len(vectors), N_RADIAL, N_ANGULAR)


def normalise(intensity: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Divide the intensities of each pattern by their sum, so that counts and fractions compare."""
    sizes = np.diff(offsets)
    totals = np.zeros(len(sizes))
    full = sizes > 0
    totals[full] = np.add.reduceat(np.asarray(intensity, dtype=float), offsets[:-1][full])
    return intensity / np.repeat(np.where(totals > 0, totals, 1), sizes)


def compute_features(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    normalisation: str = "scattered",
    round_off: str = "zero",
) -> np.ndarray:
    """Vectors of many patterns, as the forests take them.

    Parameters
    ----------
    qx, qy, intensity, offsets
        As in :func:`transform`.
    normalisation : {"scattered", "incident"}
        "scattered": intensities as fractions of the sum over a pattern's spots, which is all that a
        measured pattern in counts allows. "incident": as they come.
    round_off : {"zero", "kept"}
        The argument of a coefficient that symmetry extinguishes. "zero": 0, so that a tree can see
        the symmetry of a pattern. "kept": that of what rounding leaves, with the circle cut at pi,
        as a plain reading of the paper has it.

    Returns
    -------
    ndarray of float32, shape (patterns, 1066)
        A pattern without spots gives zeros.

    Raises
    ------
    UserError
        A position or intensity that is not finite.
    """
    for name, values in (("qx", qx), ("qy", qy), ("intensity", intensity)):
        if not np.all(np.isfinite(values)):
            raise UserError(f"{name}: expected finite numbers, found NaN or infinity")
    if normalisation == "scattered":
        intensity = normalise(intensity, offsets)
    # Blocks bound the memory of the complex coefficients.
    blocks = [np.empty((0, N_FEATURES), np.float32)]
    for start in range(0, len(offsets) - 1, 20_000):
        part = offsets[start : start + 20_001]
        own = slice(part[0], part[-1])
        blocks.append(
            _to_vectors(transform(qx[own], qy[own], intensity[own], part - part[0]), round_off)
        )
    return np.concatenate(blocks)


def rotate_vectors(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors, float32 (n, 1066), of the same patterns turned about the beam.

    By an angle for each, (n,), from qx towards qy [degree]. That multiplies T[m, p] by exp(i p
    angle), so that magnitudes stay and arguments shift.
    """
    magnitude, argument = np.split(vectors, 2, axis=1)
    shape = (-1, N_RADIAL, N_ANGULAR)
    vanishing = _vanishing(magnitude.reshape(shape))
    shift = np.radians(np.asarray(angle, dtype=float))[:, None] * np.arange(N_ANGULAR)
    turned = _wrap(argument.reshape(shape) + shift[:, None, :].astype(np.float32))
    # Where round-off was kept, it stays.
    turned[vanishing & (argument.reshape(shape) == 0)] = 0
    # The argument of order 0 says nothing but that it is a sum of intensities.
    turned[:, :, 0] = argument.reshape(shape)[:, :, 0]
    return np.concatenate([magnitude, turned.reshape(len(vectors), -1)], axis=1)


def basis_function(m: int, p: int, qx: np.ndarray, qy: np.ndarray) -> np.ndarray:
    """The basis function of ring m and order p where qx, qy [1/angstrom] are, equation 2.

    max(0, 1 - ||q| - m dq| / dq) exp(i p phi), complex.
    """
    ring = np.maximum(0, 1 - np.abs(np.hypot(qx, qy) - m * STEP) / STEP)
    return ring * np.exp(1j * p * np.arctan2(qy, qx))


def reconstruct(coefficients: np.ndarray, qx: np.ndarray, qy: np.ndarray) -> np.ndarray:
    """Put a pattern together again from its coefficients, (41, 13), where qx, qy [1/angstrom] are.

    sum over m of ring m times (T[m, 0] + 2 sum_p Re T[m, p] exp(-i p phi)) / (2 pi): the Fourier
    series of each ring, cut off at order 12, as intensity a radian.
    """
    position, angle = np.hypot(qx, qy) / STEP, np.arctan2(qy, qx)
    inner = np.floor(position).astype(int)
    weight = (position - inner)[..., None]
    # One ring of zeros beyond the last, for what lies outside of it.
    rings = np.concatenate([coefficients, np.zeros((1, N_ANGULAR))])
    own = rings[np.minimum(inner, N_RADIAL)] * (1 - weight)
    own = own + rings[np.minimum(inner + 1, N_RADIAL)] * weight
    waves = np.exp(-1j * np.arange(N_ANGULAR) * angle[..., None])
    waves[..., 1:] *= 2
    return np.sum(own * waves, axis=-1).real / (2 * np.pi)

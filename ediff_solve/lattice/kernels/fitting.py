"""Least squares of one pattern's reciprocal basis: compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.lattice.kernels.search import (
    CONDITION_SHARE,
    FREE_ROUNDS,
    MEDIAN_SQUARE,
    REACH,
    ROUNDS,
    SHARPEST,
    SLAB_LOG_ERROR,
    SMALLEST_SINE,
    find_third,
    index_spots,
)

#: Fewest indexed spots that a basis is fitted to.
FEWEST_SPOTS = 5
#: Curvature counts where it is so many times its standard error.
SEEN_CURVATURE = 2.0
#: A vector is shortened by another where their scalar product exceeds this part of its square.
REDUCE_ABOVE = 0.5005
#: Free parameters of a basis, which a gain in likelihood pays for.
PARAMETERS = 9
#: Logarithm of one over the share of spots that belong to no lattice.
STRAY_COST = np.log(10.0)
#: The mean square of the spots that is taken for no weight at all.
TINY = 1e-12


@njit(cache=True, nogil=True, error_model="numpy")
def reduce_basis(basis: np.ndarray) -> None:
    """Shorten three vectors, rows of a basis, by each other until none gets shorter, in place."""
    for _ in range(60):
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                square = np.sum(basis[j] ** 2)
                if square < TINY:
                    continue
                ratio = np.sum(basis[i] * basis[j]) / square
                if abs(ratio) > REDUCE_ABOVE:
                    for t in range(3):
                        basis[i, t] -= np.round(ratio) * basis[j, t]
                    changed = True
        if not changed:
            break


@njit(cache=True, nogil=True, error_model="numpy")
def widest_pair_first(basis: np.ndarray) -> float:
    """Order the vectors so that the first two span the largest area in the plane; its sine."""
    third, area = find_third(basis)
    if third != 2:
        for t in range(3):
            basis[third, t], basis[2, t] = basis[2, t], basis[third, t]
    lengths = np.sqrt(np.sum(basis[0, :2] ** 2) * np.sum(basis[1, :2] ** 2))
    return area / max(lengths, TINY)


@njit(cache=True, nogil=True, error_model="numpy")
def fit_plane(x: np.ndarray, y: np.ndarray, hkl: np.ndarray, basis: np.ndarray) -> float:
    """Fit the x and y components to the indexed spots; standard deviation, negative if singular."""
    normal = np.zeros((3, 3))
    right = np.zeros((3, 2))
    count = 0
    for i in range(x.shape[0]):
        if hkl[i, 3]:
            for r in range(3):
                for c in range(3):
                    normal[r, c] += hkl[i, r] * hkl[i, c]
                right[r, 0] += hkl[i, r] * x[i]
                right[r, 1] += hkl[i, r] * y[i]
            count += 1
    if np.linalg.det(normal) < 0.5:
        return -1.0
    basis[:, :2] = np.linalg.solve(normal, right)
    squares = np.empty(count)
    k = 0
    for i in range(x.shape[0]):
        if hkl[i, 3]:
            u, v = x[i], y[i]
            for r in range(3):
                u -= hkl[i, r] * basis[r, 0]
                v -= hkl[i, r] * basis[r, 1]
            squares[k] = u * u + v * v
            k += 1
    # Robust against spots that only happen to lie near a point; each row costs three parameters.
    return np.sqrt(np.median(squares) / MEDIAN_SQUARE * count / max(count - 3, 1))


@njit(cache=True, nogil=True, error_model="numpy")
def fit_heights(
    height: np.ndarray,
    weight: np.ndarray,
    hkl: np.ndarray,
    layer: int,
    slab_spread: float,
    basis: np.ndarray,
) -> tuple[float, float]:
    """Fit the z components: n + u h + v k = kappa lambda q^2 / 2, whence c_z = 1 / kappa.

    To fit the excitation errors themselves would shrink the z components, as zero ones make them
    small; the layer's number as a function of the curvature has no such bias. Returns the root mean
    square of the excitation errors and the uncertainty of the scale's logarithm.
    """
    first, second = (layer + 1) % 3, (layer + 2) % 3
    unit = 0.0
    total = 0.0
    for i in range(height.shape[0]):
        if hkl[i, 3]:
            unit += weight[i] * height[i] ** 2
            total += weight[i]
    unit = np.sqrt(unit / max(total, TINY)) + TINY
    normal = np.zeros((3, 3))
    right = np.zeros(3)
    row = np.zeros(3)
    count = 0
    for i in range(height.shape[0]):
        if hkl[i, 3]:
            row[0], row[1], row[2] = -hkl[i, first], -hkl[i, second], height[i] / unit
            for r in range(3):
                right[r] += weight[i] * row[r] * hkl[i, layer]
                for c in range(3):
                    normal[r, c] += weight[i] * row[r] * row[c]
            count += 1
    for r in range(3):
        normal[r, r] += 1e-6 * total
    slope = np.linalg.solve(normal, right)
    rough = _layer_spread(height / unit, weight, hkl, layer, slope) + TINY
    inverse = np.linalg.inv(normal)
    error = rough * np.sqrt(inverse[2, 2] * total / max(count - 3, 1))
    curvature, error = slope[2] / unit, error / unit
    by_slab = np.log(slab_spread / rough)
    log_scale, log_error = by_slab, SLAB_LOG_ERROR
    if abs(curvature) > SEEN_CURVATURE * error:
        by_curvature = -np.log(abs(curvature))
        weights = (SLAB_LOG_ERROR**-2, (error / abs(curvature)) ** -2 + TINY)
        log_error = (weights[0] + weights[1]) ** -0.5
        log_scale = (weights[0] * by_slab + weights[1] * by_curvature) * log_error**2
    scale = np.exp(log_scale) * (1.0 if curvature >= 0 else -1.0)
    # Once more, with the scale that was settled on.
    right[:2] -= normal[:2, 2] * (unit / scale)
    slope[:2] = np.linalg.solve(normal[:2, :2].copy(), right[:2].copy())
    slope[2] = unit / scale
    spread = _layer_spread(height / unit, weight, hkl, layer, slope) * abs(scale)
    basis[first, 2], basis[second, 2] = slope[0] * scale, slope[1] * scale
    basis[layer, 2] = scale
    return spread, log_error


@njit(cache=True, nogil=True, error_model="numpy")
def _layer_spread(
    height: np.ndarray, weight: np.ndarray, hkl: np.ndarray, layer: int, slope: np.ndarray
) -> float:
    first, second = (layer + 1) % 3, (layer + 2) % 3
    squares, total = 0.0, 0.0
    for i in range(height.shape[0]):
        if hkl[i, 3]:
            left = hkl[i, layer] + slope[0] * hkl[i, first] + slope[1] * hkl[i, second]
            squares += weight[i] * (left - slope[2] * height[i]) ** 2
            total += weight[i]
    return np.sqrt(squares / max(total, TINY))


@njit(cache=True, nogil=True, error_model="numpy")
def divide_out(hkl: np.ndarray, basis: np.ndarray) -> bool:
    """Take a sublattice where the indices obey u h + v k + w l = 0 modulo 2 or 3, in place.

    For ``hkl`` see :func:`~ediff_solve.lattice.kernels.search.index_spots`; whether there was such
    a condition is returned.
    """
    indexed = np.sum(hkl[:, 3])
    change = np.zeros((3, 3))
    for p in (2, 3):
        for code in range(1, p**3):
            condition = (code % p, code // p % p, code // p**2)
            kept = 0
            for i in range(hkl.shape[0]):
                value = hkl[i, 0] * condition[0] + hkl[i, 1] * condition[1]
                if hkl[i, 3] and (value + hkl[i, 2] * condition[2]) % p == 0:
                    kept += 1
            if kept < CONDITION_SHARE * indexed:
                continue
            # With the factor of the last index one, e_i - u_i e_last and p e_last span the rest.
            last = 2 if condition[2] else (1 if condition[1] else 0)
            inverse = 1 if condition[last] == 1 else p - 1
            change[:] = 0
            for i in range(3):
                change[i, i] = 1
                change[i, last] = -(condition[i] * inverse % p)
            change[last, last] = p
            basis[:] = change @ basis
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def score_basis(
    spots: tuple, hkl: np.ndarray, basis: np.ndarray, sigma: float, spread: float
) -> float:
    """Gain in the logarithm of the likelihood over spots that lie anywhere.

    A spot of a lattice has the density N2(r; sigma) N(s; spread) / V_reciprocal^-1 about each
    point: the gain is -log((2 pi)^1.5 V sigma^2 spread) - r^2 / 2 sigma^2 - s^2 / 2 spread^2 with
    the volume V of the direct cell, and the parameters cost half the logarithm of the number of
    spots each (Schwarz 1978). A spot that is nowhere near costs -log of the share of such spots.
    """
    x, y, height = spots
    volume = 1 / max(abs(np.linalg.det(basis)), TINY)
    best = -np.log((2 * np.pi) ** 1.5 * volume * sigma**2 * spread)
    gain = -0.5 * PARAMETERS * np.log(x.shape[0])
    for i in range(x.shape[0]):
        here = -STRAY_COST
        if hkl[i, 3]:
            u, v, s = x[i], y[i], height[i]
            for r in range(3):
                u -= hkl[i, r] * basis[r, 0]
                v -= hkl[i, r] * basis[r, 1]
                s -= hkl[i, r] * basis[r, 2]
            here = best - (u * u + v * v) / (2 * sigma**2) - s * s / (2 * spread**2)
        gain += max(here, -STRAY_COST)
    return gain


@njit(cache=True, nogil=True, error_model="numpy")
def fit_triple(
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    weight: np.ndarray,
    triple: np.ndarray,
    tolerance: float,
    slab: float,
    slab_spread: float,
    hkl: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a basis to the spots, starting from a triple of difference vectors, shape (3, 2).

    For x, y, height, slab and hkl see :func:`~ediff_solve.lattice.kernels.search.index_spots`;
    ``weight``, shape (n,), is that of a spot's excitation error. ``tolerance`` is the largest
    distance of a spot from its point in the plane, ``slab_spread`` what the root mean square of the
    excitation errors is expected to be [1/angstrom].

    Returns the reduced basis, shape (3, 3), and figures, shape (5,): gain, spots indexed, sigma of
    the positions, spread of the excitation errors [1/angstrom], uncertainty of the logarithm of the
    scale along the beam. A gain of minus infinity: no fit.
    """
    basis = np.zeros((3, 3))
    basis[:, :2] = triple
    figures = np.array([-np.inf, 0.0, tolerance, slab_spread, 1.0])
    within, sigma, spread, log_error, layer = tolerance, tolerance / REACH, slab_spread, 1.0, 2
    last = ROUNDS - 1
    done = 0
    while done <= last:
        flat = done < FREE_ROUNDS
        count = index_spots(x, y, height, basis, within, 0.0 if flat else slab, spread, hkl)
        if count < FEWEST_SPOTS:
            return basis, figures
        if done == last - 1 and divide_out(hkl, basis):
            reduce_basis(basis)
            if widest_pair_first(basis) < SMALLEST_SINE / 3:
                return basis, figures
            last += 1 if last < ROUNDS + 3 else 0
            done += 1
            continue
        sigma = fit_plane(x, y, hkl, basis)
        if sigma < 0:
            return basis, figures
        sigma = min(max(sigma, SHARPEST), tolerance / 2)
        spread, log_error = fit_heights(height, weight, hkl, layer, slab_spread, basis)
        spread = max(spread, slab_spread / 4)
        within = min(max(REACH * sigma, REACH * SHARPEST), tolerance)
        if not flat and done < last:
            reduce_basis(basis)
            if widest_pair_first(basis) < SMALLEST_SINE / 3:
                return basis, figures
            layer = int(np.argmax(np.abs(basis[:, 2])))
        done += 1
    if not np.all(np.isfinite(basis)) or abs(np.linalg.det(basis)) < TINY:
        return basis, figures
    figures[0] = score_basis((x, y, height), hkl, basis, sigma, spread)
    figures[1:] = np.array([float(count), sigma, spread, log_error])
    return basis, figures

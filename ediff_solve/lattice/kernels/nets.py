"""The net of one zone, and a third axis from the layers above it: compiled, arrays only.

A net of two vectors explains the strong spots of a pattern near a zone axis. The Ewald sphere's
height over the plane of the net, z = lambda q^2 / 2 - tau . q with the tilt tau, is that of the
layer a spot belongs to: zero, or n times the layers' distance, with the net shifted by n times a
vector of the plane. The shift may be none, and then z alone tells the layers apart.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.lattice.kernels.fitting import (
    TINY,
    fit_heights,
    fit_plane,
    reduce_basis,
    score_basis,
    widest_pair_first,
)
from ediff_solve.lattice.kernels.search import (
    MEDIAN_SQUARE,
    REACH,
    SHARPEST,
    SMALLEST_SINE,
    index_spots,
    reduce_pair,
)

#: Cost of a spot off the net in logarithms of likelihood.
STRAY = np.log(10.0)
#: Spots so far above the plane are of other layers, while the net is fitted [1/angstrom].
FAR_ABOVE = 0.12
#: Strong spots as far above the plane count half while the tilt is fitted [1/angstrom].
HALF_WEIGHT = 0.03
#: Rounds of fitting the net and its tilt.
ROUNDS = 4
#: Layers that spots off the net are looked for in, and what each further one costs.
LAYERS, LAYER_COST = 3, 0.1
#: Fewest spots on a net, and indexed by a net and a third axis.
FEWEST_ON, FEWEST_INDEXED = 4, 6
#: Positions are no better known than this at first, and no worse in the end [1/angstrom].
LEAST_REACH, EXTRA_REACH, WORST = 0.0015, 0.002, 0.0045


@njit(cache=True, nogil=True, error_model="numpy")
def best_pair(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, vectors: np.ndarray, tolerance: float
) -> tuple[float, np.ndarray]:
    """The pair of vectors, shape (2, 2), whose net gains most likelihood, and a spot's mean gain.

    Spots x and y [1/angstrom] and weight, shape (n,), the direct beam among them; vectors of shape
    (m, 2); ``tolerance`` is the farthest that a spot lies off its point [1/angstrom].
    """
    best, kept = -np.inf, np.zeros((2, 2))
    sigma, total = tolerance / REACH, np.sum(weight)
    pair = np.zeros((2, 2))
    for i in range(1, len(vectors)):
        for j in range(i):
            pair[0], pair[1] = vectors[i], vectors[j]
            reduce_pair(pair)
            (ax, ay), (bx, by) = pair[0], pair[1]
            area = ax * by - ay * bx
            sine = abs(area) / np.sqrt((ax * ax + ay * ay) * (bx * bx + by * by) + TINY**2)
            if abs(area) < 8 * tolerance**2 or sine < SMALLEST_SINE:
                continue
            point, gain = np.log(abs(area) / (2 * np.pi * sigma**2)), 0.0
            for k in range(len(x)):
                h = np.round((x[k] * by - y[k] * bx) / area)
                l = np.round((ax * y[k] - ay * x[k]) / area)
                u, v = x[k] - h * ax - l * bx, y[k] - h * ay - l * by
                gain += weight[k] * max(point - (u * u + v * v) / (2 * sigma**2), -STRAY)
            if gain / total > best:
                best = gain / total
                kept[:] = pair
    return best, kept


@njit(cache=True, nogil=True, error_model="numpy")
def fit_net(
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    weight: np.ndarray,
    basis: np.ndarray,
    tolerance: float,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Fit a net to the spots near its plane, in place, and the plane's tilt to the strong ones.

    Spots x, y and the Ewald sphere's height, weight, all of shape (n,); ``basis`` of shape (2, 2).
    Returns the standard deviation of a coordinate [1/angstrom], negative where there is no fit, the
    tilt [radian], shape (2,), and which spots are on the net, bool of shape (n,).
    """
    n = len(x)
    within, sigma = tolerance, tolerance / REACH
    tilt = np.zeros(2)
    on = np.zeros(n, np.bool_)
    hk = np.zeros((n, 2))
    for _ in range(ROUNDS):
        count = _place(x, y, basis, within, hk, on)
        aa = ab = bb = 0.0
        right = np.zeros((2, 2))
        for i in range(n):
            z = height[i] - tilt[0] * x[i] - tilt[1] * y[i]
            if on[i] and abs(z) >= FAR_ABOVE:
                on[i] = False
                count -= 1
            if on[i]:
                h, k, w = hk[i, 0], hk[i, 1], weight[i]
                aa, ab, bb = aa + w * h * h, ab + w * h * k, bb + w * k * k
                right[0, 0] += w * h * x[i]
                right[0, 1] += w * h * y[i]
                right[1, 0] += w * k * x[i]
                right[1, 1] += w * k * y[i]
        determinant = aa * bb - ab * ab
        if count < FEWEST_ON or determinant <= 1e-9 * (aa + bb) ** 2:
            return -1.0, tilt, on
        for t in range(2):
            basis[0, t] = (bb * right[0, t] - ab * right[1, t]) / determinant
            basis[1, t] = (aa * right[1, t] - ab * right[0, t]) / determinant
        squares = np.empty(count)
        m = 0
        for i in range(n):
            if on[i]:
                u = x[i] - hk[i, 0] * basis[0, 0] - hk[i, 1] * basis[1, 0]
                v = y[i] - hk[i, 0] * basis[0, 1] - hk[i, 1] * basis[1, 1]
                squares[m] = u * u + v * v
                m += 1
        sigma = np.sqrt(np.median(squares) / MEDIAN_SQUARE)
        sigma = min(max(sigma, SHARPEST), within / 2)
        tilt = _fit_tilt(x, y, height, weight, on)
        within = min(max(REACH * sigma, REACH * SHARPEST), tolerance)
    if not np.all(np.isfinite(basis)):
        return -1.0, tilt, on
    reduce_pair(basis)
    if basis[0, 0] * basis[1, 0] + basis[0, 1] * basis[1, 1] < 0:
        basis[1] = -basis[1]
    _place(x, y, basis, within, hk, on)
    return sigma, tilt, on


@njit(cache=True, nogil=True, error_model="numpy")
def _place(
    x: np.ndarray, y: np.ndarray, basis: np.ndarray, within: float, hk: np.ndarray, on: np.ndarray
) -> int:
    """The nearest points of a net, and which spots lie within a distance of theirs."""
    (ax, ay), (bx, by) = basis[0], basis[1]
    area = ax * by - ay * bx
    count = 0
    for i in range(len(x)):
        hk[i, 0] = np.round((x[i] * by - y[i] * bx) / area)
        hk[i, 1] = np.round((ax * y[i] - ay * x[i]) / area)
        u = x[i] - hk[i, 0] * ax - hk[i, 1] * bx
        v = y[i] - hk[i, 0] * ay - hk[i, 1] * by
        on[i] = u * u + v * v < within * within
        count += on[i]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_tilt(
    x: np.ndarray, y: np.ndarray, height: np.ndarray, weight: np.ndarray, on: np.ndarray
) -> np.ndarray:
    """The tilt at which strong spots of the net have the smallest excitation errors."""
    tilt = np.zeros(2)
    for turn in range(ROUNDS):
        aa = ab = bb = ra = rb = total = 0.0
        for i in range(len(x)):
            if on[i]:
                # Spots of higher layers that fall onto the net count for less.
                z = height[i] - tilt[0] * x[i] - tilt[1] * y[i]
                w = weight[i] / (1 + (z / HALF_WEIGHT) ** 2) if turn else weight[i]
                aa, ab, bb = aa + w * x[i] * x[i], ab + w * x[i] * y[i], bb + w * y[i] * y[i]
                ra, rb = ra + w * x[i] * height[i], rb + w * y[i] * height[i]
                total += w
        aa, bb = aa + 1e-6 * total + TINY, bb + 1e-6 * total + TINY
        determinant = aa * bb - ab * ab
        tilt[0], tilt[1] = (bb * ra - ab * rb) / determinant, (aa * rb - ab * ra) / determinant
    return tilt


@njit(cache=True, nogil=True, error_model="numpy")
def match_shifts(
    f: np.ndarray,
    z: np.ndarray,
    weight: np.ndarray,
    basis: np.ndarray,
    shifts: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """How many spots shifts of a net explain, and the slope of layer's number against height.

    Spots ``f`` in terms of the net's ``basis``, shape (n, 2), their height ``z`` over its plane
    [1/angstrom] and weight, shape (n,); shifts of one layer in the same terms, shape (m, 2);
    ``tolerance`` [1/angstrom]. Weighted shares and slopes [angstrom], both of shape (m,).
    """
    share, slope = np.zeros(len(shifts)), np.zeros(len(shifts))
    total = np.sum(weight)
    for s in range(len(shifts)):
        up = square = 0.0
        for i in range(len(f)):
            for order in range(2 * LAYERS + 1):
                n = (order + 1) // 2 if order % 2 else -(order // 2)
                u, v = f[i, 0] - n * shifts[s, 0], f[i, 1] - n * shifts[s, 1]
                u -= np.round(u)
                v -= np.round(v)
                dx, dy = u * basis[0, 0] + v * basis[1, 0], u * basis[0, 1] + v * basis[1, 1]
                if dx * dx + dy * dy < tolerance * tolerance:
                    share[s] += weight[i] / (1 + LAYER_COST * abs(n))
                    up += weight[i] * n * z[i]
                    square += weight[i] * z[i] * z[i]
                    break
        slope[s] = up / max(square, TINY)
    return share / total, slope


@njit(cache=True, nogil=True, error_model="numpy")
def fit_layers(
    spots: tuple,
    weight: np.ndarray,
    basis: np.ndarray,
    sigma: float,
    slab: float,
    slab_spread: float,
    hkl: np.ndarray,
) -> np.ndarray:
    """Fit a lattice to all spots from a net, its tilt and a guess of the third vector, in place.

    Spots x, y and height [1/angstrom], weight; ``basis`` of shape (3, 3), the net's vectors first.
    For the others, and the figures, shape (5,), see
    :func:`~ediff_solve.lattice.kernels.fitting.fit_triple`.
    """
    x, y, height = spots
    figures = np.array([-np.inf, 0.0, sigma, slab_spread, 1.0])
    spread, log_error = slab_spread, 1.0
    within = max(REACH * sigma, LEAST_REACH) + EXTRA_REACH
    for _ in range(3):
        widest_pair_first(basis)
        count = index_spots(x, y, height, basis, within, slab, spread, hkl)
        if count < FEWEST_INDEXED:
            return figures
        layer = int(np.argmax(np.abs(basis[:, 2])))
        sigma = fit_plane(x, y, hkl, basis)
        if sigma < 0:
            return figures
        sigma = min(max(sigma, SHARPEST), WORST)
        spread, log_error = fit_heights(height, weight, hkl, layer, slab_spread, basis)
        spread = max(spread, slab_spread / 4)
        within = max(REACH * sigma, REACH * SHARPEST)
        if not np.all(np.isfinite(basis)):
            return figures
        reduce_basis(basis)
    if abs(np.linalg.det(basis)) < TINY or widest_pair_first(basis) < SMALLEST_SINE / 3:
        return figures
    count = index_spots(x, y, height, basis, within, slab, spread, hkl)
    figures[0] = score_basis(spots, hkl, basis, sigma, spread)
    figures[1:] = np.array([float(count), sigma, spread, log_error])
    return figures

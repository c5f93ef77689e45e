"""Structure factors of a whole crystal on a dense grid of Miller indices."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(fastmath=True, inline="always")
def electron_scattering_factor(g_squared: float, parameters: np.ndarray) -> float:
    """Electron scattering factor of an atom, Lobato and Van Dyck 2014, equation 16.

    f_e(g) = sum_i a_i (2 + b_i g^2) / (1 + b_i g^2)^2 [angstrom]; the parameters, shape (10,), are
    a1..a5 [angstrom], then b1..b5 [angstrom^2].
    """
    total = 0.0
    for i in range(5):
        bg = parameters[5 + i] * g_squared
        inverse = 1.0 / (1.0 + bg)
        total += parameters[i] * (2.0 + bg) * inverse * inverse
    return total


@njit(fastmath=True, inline="always")
def _phases(frac_coords: np.ndarray, axis: int, index_max: int) -> np.ndarray:
    """exp(-2 pi i h x) of every atom for h = -index_max..index_max; shape (atoms, indices)."""
    n = frac_coords.shape[0]
    out = np.empty((n, 2 * index_max + 1), np.complex128)
    for atom in range(n):
        for h in range(-index_max, index_max + 1):
            angle = -2.0 * np.pi * h * frac_coords[atom, axis]
            out[atom, h + index_max] = np.cos(angle) + 1j * np.sin(angle)
    return out


@njit(fastmath=True, inline="always")
def _last_index_range(
    base: np.ndarray, step: np.ndarray, g_max: float, index_max: int
) -> tuple[int, int]:
    """First and last l for which |base + l step| <= g_max; empty (1, 0) when there is none."""
    a = step[0] ** 2 + step[1] ** 2 + step[2] ** 2
    b = base[0] * step[0] + base[1] * step[1] + base[2] * step[2]
    c = base[0] ** 2 + base[1] ** 2 + base[2] ** 2 - g_max**2
    discriminant = b * b - a * c
    if discriminant < 0:
        return 1, 0
    root = np.sqrt(discriminant)
    first = max(-index_max, int(np.ceil((-b - root) / a - 1e-9)))
    last = min(index_max, int(np.floor((-b + root) / a + 1e-9)))
    return first, last


@njit(cache=True, fastmath=True)
def structure_factor_grid(
    reciprocal: np.ndarray,
    frac_coords: np.ndarray,
    kinds: np.ndarray,
    parameters: np.ndarray,
    g_max: float,
    index_max: np.ndarray,
) -> np.ndarray:
    """Sum over atoms of f_e(g) exp(-2 pi i g r) for all |g| <= g_max.

    With this sign the coupling of beam h into beam g is the entry at g - h. Codes that write
    exp(+2 pi i g r), py4DSTEM among them, need h - g; for crystals without an inversion centre the
    two must not be mixed.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Rows a*, b*, c* [1/angstrom].
    frac_coords : ndarray, shape (n, 3)
        Fractional coordinates, atoms of one element together.
    kinds : ndarray of int, shape (n,)
        Row of ``parameters`` of every atom, ascending.
    parameters : ndarray, shape (n_elements, 10)
        See :func:`electron_scattering_factor`.
    g_max : float
        [1/angstrom]
    index_max : ndarray of int, shape (3,)
        Largest |h|, |k|, |l| inside the radius.

    Returns
    -------
    ndarray of complex128, shape (2 H + 1, 2 K + 1, 2 L + 1)
        Entry [h + H, k + K, l + L] [angstrom]; zero outside the radius.
    """
    big_h, big_k, big_l = index_max[0], index_max[1], index_max[2]
    grid = np.zeros((2 * big_h + 1, 2 * big_k + 1, 2 * big_l + 1), np.complex128)
    phase_h = _phases(frac_coords, 0, big_h)
    phase_k = _phases(frac_coords, 1, big_k)
    phase_l = _phases(frac_coords, 2, big_l)
    n_atoms, width = frac_coords.shape[0], 2 * big_l + 1
    # Real and imaginary parts apart, and one loop a row of l: so they become vector instructions.
    l_real, l_imaginary = phase_l.real.copy(), phase_l.imag.copy()
    real, imaginary = np.empty((kinds[-1] + 1, width)), np.empty((kinds[-1] + 1, width))
    row_real, row_imaginary, g_squared = np.empty(width), np.empty(width), np.empty(width)
    base = np.empty(3)
    # F(-g) is the conjugate of F(g): half of the grid is enough.
    for h in range(big_h + 1):
        for k in range(-big_k if h else 0, big_k + 1):
            for x in range(3):
                base[x] = h * reciprocal[0, x] + k * reciprocal[1, x]
            first, last = _last_index_range(base, reciprocal[2], g_max, big_l)
            if last < first:
                continue
            size = last - first + 1
            real[:, :size] = 0
            imaginary[:, :size] = 0
            for atom in range(n_atoms):
                phase = phase_h[atom, h + big_h] * phase_k[atom, k + big_k]
                p, q = phase.real, phase.imag
                into_real, into_imaginary = real[kinds[atom]], imaginary[kinds[atom]]
                wave_real = l_real[atom, first + big_l : last + big_l + 1]
                wave_imaginary = l_imaginary[atom, first + big_l : last + big_l + 1]
                for i in range(size):
                    into_real[i] += p * wave_real[i] - q * wave_imaginary[i]
                    into_imaginary[i] += p * wave_imaginary[i] + q * wave_real[i]
            for i in range(size):
                total = 0.0
                for x in range(3):
                    total += (base[x] + (first + i) * reciprocal[2, x]) ** 2
                g_squared[i] = total
                row_real[i] = row_imaginary[i] = 0.0
            for kind in range(parameters.shape[0]):
                own = parameters[kind]
                for i in range(size):
                    factor = electron_scattering_factor(g_squared[i], own)
                    row_real[i] += factor * real[kind, i]
                    row_imaginary[i] += factor * imaginary[kind, i]
            for i in range(size):
                value = complex(row_real[i], row_imaginary[i])
                l = first + i
                grid[big_h + h, big_k + k, big_l + l] = value
                grid[big_h - h, big_k - k, big_l - l] = np.conj(value)
    return grid


@njit(cache=True, fastmath=True)
def reciprocal_points(
    reciprocal: np.ndarray, g_max: float, index_max: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All reciprocal lattice points with |g| <= g_max, the origin first.

    Arguments are those of :func:`structure_factor_grid`. Gives hkl, int32, and g, Cartesian
    [1/angstrom], both of shape (n, 3).
    """
    big_h, big_k, big_l = index_max[0], index_max[1], index_max[2]
    base = np.empty(3)
    # More than there are; what is not touched takes no memory.
    size = (2 * big_h + 1) * (2 * big_k + 1) * (2 * big_l + 1)
    hkl, g = np.empty((size, 3), np.int32), np.empty((size, 3))
    hkl[0], g[0] = 0, 0
    n = 1
    for h in range(-big_h, big_h + 1):
        for k in range(-big_k, big_k + 1):
            for x in range(3):
                base[x] = h * reciprocal[0, x] + k * reciprocal[1, x]
            first, last = _last_index_range(base, reciprocal[2], g_max, big_l)
            for l in range(first, last + 1):
                if h == 0 and k == 0 and l == 0:
                    continue
                hkl[n, 0], hkl[n, 1], hkl[n, 2] = h, k, l
                for x in range(3):
                    g[n, x] = base[x] + l * reciprocal[2, x]
                n += 1
    return hkl[:n].copy(), g[:n].copy()

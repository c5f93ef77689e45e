"""Joint refinement of a cell, orientations and the camera's distortion: compiled, arrays only.

A measured position is m = c + s (1 + E) v with the in-plane part v of g = h B R, the pattern's
centre c and scale s, and the ellipse E = ((e1, e2), (e2, -e1)) that all patterns share. Residuals
are taken after these are undone, where z is that of the Ewald sphere.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.lattice.kernels.metric_groups import COLUMN, ROW
from ediff_solve.lattice.kernels.search import MEDIAN_SQUARE, SHARPEST, find_third, index_spots

#: Strains of the cell 11, 22, 33, 23, 13, 12, entries of the ellipse, and a pattern's rotations and
#: centre.
STRAINS, ELLIPSE, TURNS, CENTRE = 6, 2, 3, 2
#: Gauss-Newton steps between two rounds of indexing.
STEPS = 3
#: Standard deviations of a pattern's scale about the mean, of what is left of its centre
#: [1/angstrom] and of the ellipse's entries, where these are free.
SCALE_SPREAD, CENTRE_SPREAD, ELLIPSE_SPREAD = 0.01, 0.002, 0.005
#: The mean of the scales is one within this.
MEAN_SPREAD = 1e-5
#: Largest change of the cell or rotation in one step [relative, radian].
LONGEST_STEP = 0.1
#: Between these the standard deviation of the excitation errors is believed [1/angstrom].
SPREADS = (0.01, 0.03)
#: Steps end where no parameter changes by more than this part of the spots' error.
CONVERGED = 0.01
#: Added to the diagonal of the normal equations, relative, beside a one, a standard deviation of
#: one radian, so that they are never singular.
RIDGE = 1e-9
#: Least share of the residuals that the parameters are taken to leave free.
SMALLEST_FREEDOM = 0.2


@njit(cache=True, nogil=True, error_model="numpy")
def undistort(
    x: np.ndarray, y: np.ndarray, scale: float, centre: np.ndarray, ellipse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions v of measured ones, m = c + s (1 + E) v, shape (n,) [1/angstrom]."""
    factor = 1 / (scale * (1 - ellipse[0] ** 2 - ellipse[1] ** 2))
    u, v = (x - centre[0]) * factor, (y - centre[1]) * factor
    return (1 - ellipse[0]) * u - ellipse[1] * v, (1 + ellipse[0]) * v - ellipse[1] * u


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_matrix(turn: np.ndarray) -> np.ndarray:
    """Rotation about a vector by its length [radian] (Rodrigues); shape (3, 3)."""
    angle = np.sqrt(np.sum(turn**2))
    cross = np.zeros((3, 3))
    cross[0, 1], cross[0, 2], cross[1, 2] = -turn[2], turn[1], -turn[0]
    cross -= cross.T.copy()
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * (cross @ cross)


@njit(cache=True, nogil=True, error_model="numpy")
def index_patterns(
    spots: tuple, lattice: tuple, tolerance: float, slab: float, spread: float
) -> np.ndarray:
    """Indices of all patterns' spots, and 1 for a spot that has some; int64, shape (n, 4).

    ``spots`` are measured x and y, shape (n,) [1/angstrom], half of the wavelength [angstrom], and
    offsets of int64, shape (patterns + 1,): pattern p owns spots offsets[p] to offsets[p + 1].
    ``lattice`` is a reciprocal basis, shape (3, 3), rotations with g_pattern = g @ R, shape
    (patterns, 3, 3), scales, shape (patterns,), centres, shape (patterns, 2) [1/angstrom], and the
    ellipse, shape (2,). For the others see :func:`~ediff_solve.lattice.kernels.search.index_spots`.
    """
    x, y, half, offsets = spots
    reciprocal, rotations, scales, centres, ellipse = lattice
    hkl = np.zeros((x.shape[0], 4), np.int64)
    for p in range(offsets.shape[0] - 1):
        own = slice(offsets[p], offsets[p + 1])
        u, v = undistort(x[own], y[own], scales[p], centres[p], ellipse)
        basis = reciprocal @ rotations[p]
        # The two that span the largest area in the plane come first.
        third, _ = find_third(basis)
        order = np.array([(third + 1) % 3, (third + 2) % 3, third])
        found = np.zeros((u.shape[0], 4), np.int64)
        height = half * (u * u + v * v)
        index_spots(u, v, height, basis[order], tolerance, slab, spread, found)
        for k in range(3):
            hkl[own, order[k]] = found[:, k]
        hkl[own, 3] = found[:, 3]
    return hkl


@njit(cache=True, nogil=True, error_model="numpy")
def _add_pattern(
    p: int,
    spots: tuple,
    hkl: np.ndarray,
    lattice: tuple,
    weight: np.ndarray,
    columns: np.ndarray,
    normal: np.ndarray,
    right: np.ndarray,
    squares: np.ndarray,
) -> tuple[int, float]:
    """Add one pattern's spots to the normal equations.

    ``columns`` says where each of the 14 parameters (strains, ellipse, turns, scale, centre) stands
    in them, or -1. Returns the number of spots and the sum of their squared residuals along z.
    """
    x, y, half, offsets = spots
    reciprocal, rotations, scales, centres, ellipse = lattice
    own, rotation = slice(offsets[p], offsets[p + 1]), rotations[p]
    u, v = undistort(x[own], y[own], scales[p], centres[p], ellipse)
    hkl, size = hkl[own], columns.shape[0]
    jacobian = np.zeros((3, size))
    q, left = np.zeros(3), np.zeros(3)
    used, along = 0, 0.0
    for i in range(u.shape[0]):
        if hkl[i, 3] == 0:
            continue
        g = hkl[i, 0] * reciprocal[0] + hkl[i, 1] * reciprocal[1] + hkl[i, 2] * reciprocal[2]
        for c in range(3):
            q[c] = g[0] * rotation[0, c] + g[1] * rotation[1, c] + g[2] * rotation[2, c]
        left[0], left[1] = u[i] - q[0], v[i] - q[1]
        left[2] = half * (u[i] * u[i] + v[i] * v[i]) - q[2]
        squares[used] = left[0] ** 2 + left[1] ** 2
        along += left[2] ** 2
        used += 1
        for c in range(3):
            left[c] *= weight[c]
            for k in range(STRAINS):
                derivative = g[ROW[k]] * rotation[COLUMN[k], c]
                if ROW[k] != COLUMN[k]:
                    derivative += g[COLUMN[k]] * rotation[ROW[k], c]
                jacobian[c, k] = derivative * weight[c]
            # omega x q
            following, before = (c + 1) % 3, (c + 2) % 3
            start = STRAINS + ELLIPSE
            jacobian[c, start + following] = q[before] * weight[c]
            jacobian[c, start + before] = -q[following] * weight[c]
        jacobian[0, STRAINS], jacobian[1, STRAINS] = q[0] * weight[0], -q[1] * weight[1]
        jacobian[0, STRAINS + 1], jacobian[1, STRAINS + 1] = q[1] * weight[0], q[0] * weight[1]
        start = STRAINS + ELLIPSE + TURNS
        jacobian[0, start], jacobian[1, start] = q[0] * weight[0], q[1] * weight[1]
        jacobian[0, start + 1], jacobian[1, start + 2] = weight[0], weight[1]
        for a in range(size):
            row = columns[a]
            if row < 0:
                continue
            for c in range(3):
                right[row] += jacobian[c, a] * left[c]
                for b in range(a + 1):
                    if columns[b] >= 0:
                        normal[row, columns[b]] += jacobian[c, a] * jacobian[c, b]
    return used, along


@njit(cache=True, nogil=True, error_model="numpy")
def _layout(n: int, free: tuple[bool, bool, bool]) -> tuple[int, int, int]:
    """Parameters that all patterns share, those of each, and all."""
    free_cell, free_scales, free_distortion = free
    shared = STRAINS * free_cell + ELLIPSE * (free_distortion and free_cell)
    each = TURNS + free_scales + CENTRE * free_distortion
    return shared, each, shared + each * n


@njit(cache=True, nogil=True, error_model="numpy")
def _add_priors(
    normal: np.ndarray, right: np.ndarray, lattice: tuple, free: tuple[bool, bool, bool]
) -> None:
    """What is believed of scales, centres and ellipse beforehand, and a normal matrix in full."""
    _, _, scales, centres, ellipse = lattice
    free_cell, free_scales, free_distortion = free
    shared, each, size = _layout(scales.shape[0], free)
    for a in range(size):
        for b in range(a):
            normal[a, b] += normal[b, a]
            normal[b, a] = normal[a, b]
    if free_distortion and free_cell:
        for k in range(ELLIPSE):
            normal[STRAINS + k, STRAINS + k] += ELLIPSE_SPREAD**-2
            right[STRAINS + k] -= ellipse[k] * ELLIPSE_SPREAD**-2
    n = scales.shape[0]
    for p in range(n):
        start = shared + each * p + TURNS
        if free_scales:
            normal[start, start] += SCALE_SPREAD**-2
            right[start] -= (scales[p] - 1) * SCALE_SPREAD**-2
            # The cell's size takes up what the scales have in common.
            right[start] -= (np.mean(scales) - 1) / n / MEAN_SPREAD**2
            for q in range(n):
                normal[start, shared + each * q + TURNS] += (n * MEAN_SPREAD) ** -2
        if free_distortion:
            for k in range(CENTRE):
                at = start + free_scales + k
                normal[at, at] += CENTRE_SPREAD**-2
                right[at] -= centres[p, k] * CENTRE_SPREAD**-2


@njit(cache=True, nogil=True, error_model="numpy")
def _normal_equations(
    spots: tuple,
    hkl: np.ndarray,
    lattice: tuple,
    weight: np.ndarray,
    free: tuple[bool, bool, bool],
    squares: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Those of all patterns, with what is believed beforehand.

    Fills in the squares of the spots' distances in the plane; returns beside the equations the
    number of spots and the sum of their squared residuals along z.
    """
    free_scales, free_distortion = free[1], free[2]
    n = spots[3].shape[0] - 1
    shared, each, size = _layout(n, free)
    normal, right = np.zeros((size, size)), np.zeros(size)
    columns = np.full(STRAINS + ELLIPSE + TURNS + 1 + CENTRE, -1, np.int64)
    for k in range(shared):
        columns[k] = k
    used, along = 0, 0.0
    for p in range(n):
        start = shared + each * p
        for k in range(TURNS + free_scales):
            columns[STRAINS + ELLIPSE + k] = start + k
        for k in range(CENTRE * free_distortion):
            columns[STRAINS + ELLIPSE + TURNS + 1 + k] = start + TURNS + free_scales + k
        here, vertical = _add_pattern(
            p, spots, hkl, lattice, weight, columns, normal, right, squares[used:]
        )
        used += here
        along += vertical
    _add_priors(normal, right, lattice, free)
    return normal, right, used, along


@njit(cache=True, nogil=True, error_model="numpy")
def _apply(change: np.ndarray, lattice: tuple, free: tuple[bool, bool, bool]) -> None:
    """Take a step, in place."""
    free_cell, free_scales, free_distortion = free
    reciprocal, rotations, scales, centres, ellipse = lattice
    shared, each, _ = _layout(rotations.shape[0], free)
    if free_cell:
        strain = np.eye(3)
        for k in range(STRAINS):
            strain[ROW[k], COLUMN[k]] += change[k]
            if ROW[k] != COLUMN[k]:
                strain[COLUMN[k], ROW[k]] += change[k]
        reciprocal[:] = reciprocal @ strain
    for k in range(STRAINS, shared):
        ellipse[k - STRAINS] += change[k]
    for p in range(rotations.shape[0]):
        local = change[shared + each * p : shared + each * (p + 1)]
        rotations[p] = rotations[p] @ _turn_matrix(local[:TURNS]).T
        if free_scales:
            scales[p] += local[TURNS]
        if free_distortion:
            centres[p] += local[TURNS + free_scales :]


@njit(cache=True, nogil=True, error_model="numpy")
def refine_patterns(
    spots: tuple,
    hkl: np.ndarray,
    lattice: tuple,
    sigma: float,
    spread: float,
    free: tuple[bool, bool, bool],
) -> tuple[float, float, np.ndarray]:
    """Gauss-Newton steps at fixed indices; changes the lattice and all that follows it in place.

    For ``spots``, ``lattice`` and ``hkl`` see :func:`index_patterns`. ``sigma`` and ``spread`` are
    standard deviations in the plane and along the beam [1/angstrom]; ``free`` says whether the cell
    (and with it the ellipse), the scales, and the distortion are refined. Returns sigma and spread
    as the residuals have them, and the covariance of the strains 11, 22, 33, 23, 13, 12, shape (6,
    6), zero where the cell is not refined.
    """
    covariance = np.zeros((STRAINS, STRAINS))
    squares = np.empty(np.sum(hkl[:, 3]))
    for _ in range(STEPS):
        weight = np.array([1 / sigma, 1 / sigma, 1 / spread])
        equations = _normal_equations(spots, hkl, lattice, weight, free, squares)
        normal, right, used, along = equations
        size = right.shape[0]
        ridge = 1 + RIDGE * np.max(np.diag(normal))
        for k in range(size):
            normal[k, k] += ridge
        inverse = np.linalg.inv(normal)
        change = np.clip(inverse @ right, -LONGEST_STEP, LONGEST_STEP)
        if free[0]:
            covariance[:] = inverse[:STRAINS, :STRAINS]
        _apply(change, lattice, free)
        if used == 0:
            break
        freedom = max(1 - size / (2 * used), SMALLEST_FREEDOM)
        sigma = max(np.sqrt(np.median(squares) / MEDIAN_SQUARE / freedom), SHARPEST / 10)
        spread = min(max(np.sqrt(along / used), SPREADS[0]), SPREADS[1])
        if np.max(np.abs(change)) < CONVERGED * sigma:
            break
    return sigma, spread, covariance

"""Least squares of one cell and many orientations against the spots of many patterns.

The in-plane positions of differently oriented patterns settle all six parameters of the cell to the
accuracy of the spots; the curvature of the Ewald sphere is a weak condition beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from ediff_utils.kernels.lattice import MEDIAN_SQUARE, SHARPEST, index_spots
from ediff_utils.lattice.fitting import FEWEST_SPOTS
from ediff_utils.lattice.normal import COLUMN, ROW, STRAINS, pattern_equations

#: Gauss-Newton steps between two rounds of indexing.
STEPS = 3
#: Standard deviation of a pattern's scale about the mean, where scales are free.
SCALE_SPREAD = 0.01
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


@dataclass(frozen=True)
class Spots:
    """One pattern's spots and where its Ewald sphere lies.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        [1/angstrom]
    height : ndarray, shape (n,)
        lambda q^2 / 2 [1/angstrom].
    """

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray

    @cached_property
    def vectors(self) -> np.ndarray:
        """Reciprocal vectors without excitation errors, shape (n, 3) [1/angstrom]."""
        return np.column_stack([self.x, self.y, self.height])


@dataclass(frozen=True)
class JointFit:
    """A cell, the orientations of patterns, and the indices of their spots.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Rows are reciprocal basis vectors in the crystal's frame [1/angstrom].
    rotations : dict of int to ndarray, shape (3, 3)
        By pattern: columns are the pattern's axes in the crystal's frame, g_pattern = g @ R.
    scales : dict of int to float
        By pattern: measured lengths are so many times the true ones.
    hkl : dict of int to ndarray of int64, shape (n, 4)
        By pattern: indices of each spot, and 1 where it has some.
    position_error, spread : float
        Standard deviations in the plane and along the beam [1/angstrom].
    covariance : ndarray, shape (6, 6)
        Of the strains 11, 22, 33, 23, 13, 12 of the reciprocal basis.
    """

    reciprocal: np.ndarray
    rotations: dict[int, np.ndarray]
    scales: dict[int, float]
    hkl: dict[int, np.ndarray]
    position_error: float
    spread: float
    covariance: np.ndarray

    def indexed(self, pattern: int) -> int:
        """Spots of a pattern that have indices."""
        return int(self.hkl[pattern][:, 3].sum())

    @property
    def total(self) -> int:
        """Spots of all patterns that have indices."""
        return sum(self.indexed(p) for p in self.hkl)

    def only(self, patterns: Sequence[int]) -> JointFit:
        """The same with some patterns alone."""
        return replace(
            self,
            rotations={p: self.rotations[p] for p in patterns},
            scales={p: self.scales[p] for p in patterns},
            hkl={p: self.hkl[p] for p in patterns},
        )

    def metric_covariance(self) -> np.ndarray:
        """Of the direct metric 11, 22, 33, 23, 13, 12 [angstrom^4]: dG = -2 A strain A^T."""
        direct = np.linalg.inv(self.reciprocal).T
        columns = []
        for r, c in zip(ROW, COLUMN, strict=True):
            unit = np.zeros((3, 3))
            unit[r, c] = unit[c, r] = 1
            columns.append((-2 * direct @ unit @ direct.T)[ROW, COLUMN])
        operator = np.array(columns).T
        return operator @ self.covariance @ operator.T


def index_pattern(
    spots: Spots, basis: np.ndarray, tolerance: float, slab: float, spread: float
) -> np.ndarray:
    """Indices of the spots in any basis of the pattern's frame; ndarray of int64, shape (n, 4)."""
    cross = [abs(np.linalg.det(basis[[(k + 1) % 3, (k + 2) % 3], :2])) for k in range(3)]
    third = int(np.argmax(cross))
    order = [(third + 1) % 3, (third + 2) % 3, third]
    hkl = np.zeros((spots.x.size, 4), np.int64)
    index_spots(
        spots.x,
        spots.y,
        spots.height,
        np.ascontiguousarray(basis[order]),
        tolerance,
        slab,
        spread,
        hkl,
    )
    back = np.empty_like(hkl)
    back[:, order] = hkl[:, :3]
    back[:, 3] = hkl[:, 3]
    return back


def reindex(
    fit: JointFit, patterns: Sequence[Spots], tolerance: float, slab: float, reach: float = np.inf
) -> JointFit:
    """Index all spots up to the distance ``reach`` anew.

    Where the distance is infinite, patterns with too few indexed spots are left out.
    """
    hkl = {}
    for p, rotation in fit.rotations.items():
        scale = np.array([fit.scales[p], fit.scales[p], 1.0])
        found = index_pattern(
            patterns[p], fit.reciprocal @ rotation * scale, tolerance, slab, fit.spread
        )
        found[np.hypot(patterns[p].x, patterns[p].y) > reach, 3] = 0
        if np.isfinite(reach) or found[:, 3].sum() >= min(FEWEST_SPOTS, len(found)):
            hkl[p] = found
    return replace(
        fit,
        hkl=hkl,
        rotations={p: fit.rotations[p] for p in hkl},
        scales={p: fit.scales[p] for p in hkl},
    )


def refine(
    fit: JointFit, patterns: Sequence[Spots], free_cell: bool = True, free_scales: bool = False
) -> JointFit:
    """Gauss-Newton steps on the cell and all orientations, at fixed indices.

    Parameters
    ----------
    fit : JointFit
        Somewhere near.
    patterns : sequence of Spots
    free_cell : bool
        Otherwise only the orientations are refined.
    free_scales : bool
        Refine each pattern's camera-length scale too. What is common to all of them cannot be told
        from the cell's size, so their mean is held to 1.

    Returns
    -------
    JointFit
    """
    for _ in range(STEPS):
        fit, longest = _step(fit, patterns, free_cell, free_scales)
        if longest < CONVERGED * fit.position_error:
            break
    return fit


def _step(
    fit: JointFit, patterns: Sequence[Spots], free_cell: bool, free_scales: bool
) -> tuple[JointFit, float]:
    """One Gauss-Newton step, and the largest change that it made."""
    each = 4 if free_scales else 3
    size = STRAINS + each * len(fit.rotations)
    normal, right = np.zeros((size, size)), np.zeros(size)
    weight = 1 / np.array([fit.position_error, fit.position_error, fit.spread])
    squares, along = [], 0.0
    for k, (p, rotation) in enumerate(fit.rotations.items()):
        part, side, planar, vertical = pattern_equations(
            patterns[p].vectors, fit.hkl[p], fit.reciprocal, rotation, fit.scales[p], weight
        )
        squares.append(planar)
        along += vertical
        cell, own = slice(STRAINS), slice(STRAINS, STRAINS + each)
        here = slice(STRAINS + each * k, STRAINS + each * (k + 1))
        normal[cell, cell] += part[cell, cell]
        normal[cell, here], normal[here, cell] = part[cell, own], part[own, cell]
        normal[here, here] = part[own, own]
        right[cell] += side[cell]
        right[here] = side[own]
        if free_scales:
            normal[here.stop - 1, here.stop - 1] += SCALE_SPREAD**-2
            right[here.stop - 1] -= (fit.scales[p] - 1) * SCALE_SPREAD**-2
    if free_scales:
        # The cell's size takes up what the scales have in common.
        mean = np.zeros(size)
        mean[STRAINS + each - 1 :: each] = 1 / len(fit.rotations)
        normal += np.outer(mean, mean) / MEAN_SPREAD**2
        right -= mean * (np.mean(list(fit.scales.values())) - 1) / MEAN_SPREAD**2
    if not free_cell:
        normal[:STRAINS] = normal[:, :STRAINS] = 0
        right[:STRAINS] = 0
    inverse = np.linalg.inv(normal + np.eye(size) * (1 + RIDGE * np.diag(normal).max()))
    change = np.clip(inverse @ right, -LONGEST_STEP, LONGEST_STEP)
    covariance = inverse[:STRAINS, :STRAINS]
    stepped = _apply(fit, change, covariance, each, np.concatenate(squares), along)
    return stepped, float(np.abs(change).max())


def _apply(
    fit: JointFit,
    change: np.ndarray,
    covariance: np.ndarray,
    each: int,
    squares: np.ndarray,
    along: float,
) -> JointFit:
    strain = np.zeros((3, 3))
    strain[ROW, COLUMN] = strain[COLUMN, ROW] = change[:STRAINS]
    turns = change[STRAINS:].reshape(-1, each)
    matrices = Rotation.from_rotvec(turns[:, :3]).as_matrix()
    rotations, scales = {}, {}
    for (p, rotation), matrix, turn in zip(fit.rotations.items(), matrices, turns, strict=True):
        rotations[p] = rotation @ matrix.T
        scales[p] = fit.scales[p] + (turn[3] if each == 4 else 0.0)
    freedom = max(1 - len(change) / (2 * squares.size), SMALLEST_FREEDOM)
    sigma = np.sqrt(np.median(squares) / MEDIAN_SQUARE / freedom)
    return replace(
        fit,
        reciprocal=fit.reciprocal @ (np.eye(3) + strain),
        rotations=rotations,
        scales=scales,
        position_error=float(max(sigma, SHARPEST / 10)),
        spread=float(np.clip(np.sqrt(along / squares.size), *SPREADS)),
        covariance=covariance,
    )

"""Least squares of one cell and many orientations against the spots of many patterns.

The in-plane positions of differently oriented patterns settle all six parameters of the cell to the
accuracy of the spots; the curvature of the Ewald sphere is a weak condition beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ediff_solve.lattice.kernels.fitting import FEWEST_SPOTS
from ediff_solve.lattice.kernels.least_squares import index_patterns, refine_patterns, undistort
from ediff_solve.lattice.kernels.metric_groups import metric_operators


class Free(NamedTuple):
    """What is refined beside the orientations: the cell; each pattern's scale; the distortion.

    What is common to all camera-length scales cannot be told from the cell's size, so their mean is
    held to 1. The distortion is an ellipse that all patterns share, and each pattern's centre.
    """

    scales: bool = False
    distortion: bool = False
    cell: bool = True


@dataclass(frozen=True)
class Spots:
    """One pattern's spots, shape (n,) [1/angstrom], and half of the wavelength [angstrom]."""

    x: np.ndarray
    y: np.ndarray
    half: float

    @cached_property
    def height(self) -> np.ndarray:
        """Of the Ewald sphere, lambda q^2 / 2 [1/angstrom]; shape (n,)."""
        return self.half * (self.x * self.x + self.y * self.y)

    @cached_property
    def vectors(self) -> np.ndarray:
        """Reciprocal vectors without excitation errors, shape (n, 3) [1/angstrom]."""
        return np.column_stack([self.x, self.y, self.height])


@dataclass(frozen=True)
class JointFit:
    """A cell, and by pattern its orientation and the indices of its spots.

    Rows of ``reciprocal``, shape (3, 3), are the basis vectors in the crystal's frame [1/angstrom].
    Columns of a rotation, shape (3, 3), are the pattern's axes there, g_pattern = g @ R; measured
    lengths are ``scales`` times the true ones; centres are of shape (2,) [1/angstrom]. ``hkl``,
    int64 of shape (n, 4), holds indices of each spot, and 1 where it has some. Position error and
    spread are standard deviations in the plane and along the beam [1/angstrom]; the covariance,
    shape (6, 6), is that of the strains 11, 22, 33, 23, 13, 12 of the basis. For the ellipse, shape
    (2,), see :mod:`ediff_solve.lattice.kernels.least_squares`.
    """

    reciprocal: np.ndarray
    rotations: dict[int, np.ndarray]
    scales: dict[int, float]
    hkl: dict[int, np.ndarray]
    position_error: float
    spread: float
    covariance: np.ndarray
    centres: dict[int, np.ndarray]
    ellipse: np.ndarray

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
            centres={p: self.centres[p] for p in patterns},
        )

    def undistorted(self, pattern: int, spots: Spots) -> Spots:
        """A pattern's spots without scale, centre and ellipse."""
        x, y = undistort(
            spots.x, spots.y, self.scales[pattern], self.centres[pattern], self.ellipse
        )
        return Spots(x, y, spots.half)

    def metric_covariance(self) -> np.ndarray:
        """Of the direct metric 11, 22, 33, 23, 13, 12 [angstrom^4]: dG = -2 A strain A^T."""
        operator = -2 * metric_operators(np.linalg.inv(self.reciprocal).T[None])[0]
        return operator @ self.covariance @ operator.T


def _stack(fit: JointFit, spots: Sequence[Spots]) -> tuple[list[int], tuple, tuple]:
    """The patterns, and what the compiled functions call spots and lattice; copies."""
    patterns = list(fit.rotations)
    chosen = [spots[p] for p in patterns]
    offsets = np.concatenate([[0], np.cumsum([s.x.size for s in chosen])]).astype(np.int64)
    x, y = (np.concatenate([getattr(s, name) for s in chosen]) for name in "xy")
    lattice = (
        fit.reciprocal.copy(),
        np.array([fit.rotations[p] for p in patterns]),
        np.array([fit.scales[p] for p in patterns], dtype=float),
        np.array([fit.centres[p] for p in patterns], dtype=float),
        np.array(fit.ellipse, dtype=float),
    )
    return patterns, (x, y, chosen[0].half, offsets), lattice


def reindex(
    fit: JointFit, spots: Sequence[Spots], tolerance: float, slab: float, reach: float = np.inf
) -> JointFit:
    """Index all spots up to a distance anew; if infinite, without patterns of too few of them."""
    if not fit.rotations:
        return fit
    patterns, stacked, lattice = _stack(fit, spots)
    found = index_patterns(stacked, lattice, tolerance, slab, fit.spread)
    x, y, _, offsets = stacked
    if np.isfinite(reach):
        found[np.hypot(x, y) > reach, 3] = 0
    hkl = dict(zip(patterns, np.split(found, offsets[1:-1]), strict=True))
    if not np.isfinite(reach):
        hkl = {p: h for p, h in hkl.items() if h[:, 3].sum() >= min(FEWEST_SPOTS, len(h))}
    return replace(fit, hkl=dict.fromkeys(fit.rotations, np.empty((0, 4))) | hkl).only(list(hkl))


def refine(fit: JointFit, spots: Sequence[Spots], free: Free) -> JointFit:
    """Gauss-Newton steps on all that is free from a fit that is near, at fixed indices."""
    if not fit.rotations:
        return fit
    patterns, stacked, lattice = _stack(fit, spots)
    hkl = np.concatenate([fit.hkl[p] for p in patterns])
    flags = (free.cell, free.scales, free.distortion)
    sigma, spread, covariance = refine_patterns(
        stacked, hkl, lattice, fit.position_error, fit.spread, flags
    )
    reciprocal, rotations, scales, centres, ellipse = lattice
    return replace(
        fit,
        reciprocal=reciprocal,
        rotations=dict(zip(patterns, rotations, strict=True)),
        scales=dict(zip(patterns, scales.tolist(), strict=True)),
        centres=dict(zip(patterns, centres, strict=True)),
        ellipse=ellipse,
        position_error=float(sigma),
        spread=float(spread),
        covariance=covariance if free.cell else fit.covariance,
    )

"""A grain's pattern with the indices that its phase gives it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.phases.discovery import Phase, find_owned
from ediff_solve.phases.judging import undistort
from ediff_solve.phases.scan import ScanPhases
from ediff_utils.bloch.scattering import wavelength


@dataclass(frozen=True)
class IndexedGrain:
    """One grain's pattern.

    Parameters
    ----------
    spots : ndarray, shape (n, 3)
        qx, qy without distortion [1/angstrom], and intensity.
    own : ndarray of bool, shape (n,)
        Which are explained by the phase.
    hkl : ndarray of int, shape (n, 3)
        Indices in the conventional cell; zeros where it does not explain a spot.
    points : ndarray, shape (n, 2)
        Where the points of those indices lie [1/angstrom].
    positions : int
        How many positions show the grain.
    """

    spots: np.ndarray
    own: np.ndarray
    hkl: np.ndarray
    points: np.ndarray
    positions: int


def index_grain(found: ScanPhases, phase: Phase, number: int, energy: float) -> IndexedGrain:
    """Index a grain of a phase; ``number`` counts ``phase.grains``, the energy is in eV."""
    grain = found.grains[phase.grains[number]]
    spots = undistort(grain.spots, found.discovered.distortion)
    height = wavelength(energy) / 2 * (spots[:, :2] ** 2).sum(axis=1)
    vectors = np.column_stack([spots[:, :2], height])
    basis = phase.bases[number]
    own = find_owned(basis, vectors)
    primitive = np.rint(vectors @ np.linalg.inv(basis))
    # Indices change as the vectors of the direct lattice do.
    change = np.rint(phase.bravais.conventional @ phase.reciprocal.T)
    hkl = np.where(own[:, None], primitive @ change.T, 0).astype(int)
    return IndexedGrain(spots, own, hkl, (primitive @ basis)[:, :2], len(grain.positions))


def best_grain(found: ScanPhases, phase: Phase, energy: float) -> IndexedGrain:
    """The grain of which a phase explains most spots."""
    all_of_them = [index_grain(found, phase, n, energy) for n in range(len(phase.grains))]
    return max(all_of_them, key=lambda grain: int(grain.own.sum()))

"""Bloch-wave spot patterns of a crystal, with multiple scattering.

Conventions. An orientation is a rotation matrix R, shape (3, 3), whose columns are the pattern's x,
y and z axes in the crystal's Cartesian frame: g_pattern = R.T @ g. The beam travels along -z, so z
is the zone axis and points at the source; the foil is normal to the beam. Spots lie at
(qx, qy) = (g_x, g_y) in 1/angstrom without 2 pi. Intensities are fractions of the incident beam.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ediff_utils.bloch.exit_wave import SimulationError, absorptive_waves, exit_waves
from ediff_utils.bloch.kernels.packed import pack_matrix
from ediff_utils.bloch.kernels.potential import reciprocal_points, structure_factor_grid
from ediff_utils.bloch.kernels.propagation import select_beams, structure_matrix
from ediff_utils.bloch.scattering import lobato_parameters, relativistic_factor, wavelength
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal

#: Ratio of imaginary to real potential of "lobato-absorptive" (Hashimoto, Howie, Whelan 1962).
_ABSORPTION = 0.1
#: Largest distance of an atom from the image of another [angstrom]. It is tight, because imaginary
#: parts of structure factors are dropped on the strength of it.
_INVERSION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SpotPattern:
    """The spots of one orientation at one thickness.

    Parameters
    ----------
    qx, qy : ndarray, shape (n,)
        Positions [1/angstrom].
    intensity : ndarray, shape (n,)
        Fractions of the incident beam.
    hkl : ndarray of int, shape (n, 3)
        Miller indices in the conventional cell.
    direct_beam : float
        Intensity of 000, which is not among the spots.
    thickness : float
        [angstrom]
    """

    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    hkl: np.ndarray
    direct_beam: float
    thickness: float


@dataclass(frozen=True)
class BlochCrystal:
    """What the patterns of one crystal share; :func:`prepare` builds it."""

    #: U_g / (2 k0) [1/angstrom], shape (2 H + 1, 2 K + 1, 2 L + 1): float32 where the origin is an
    #: inversion centre, else complex64, or complex128 with absorption.
    coupling: np.ndarray = field(repr=False)
    #: The same as a real plane, or as real and imaginary ones, float32; empty with absorption.
    planes: np.ndarray = field(repr=False)
    #: Reciprocal lattice points by the primitive cell, shape (n, 3).
    hkl: np.ndarray = field(repr=False)
    #: And by the conventional cell.
    hkl_conventional: np.ndarray = field(repr=False)
    #: And Cartesian [1/angstrom].
    g: np.ndarray = field(repr=False)
    #: Of the electrons [angstrom].
    wavelength: float
    settings: SimulationSettings

    @property
    def hermitian(self) -> bool:
        return self.settings.scattering != "lobato-absorptive"


def inversion_centre(crystal: Crystal) -> np.ndarray | None:
    """Fractional coordinates of an inversion centre, shape (3,), if the crystal has one."""
    frac, numbers = crystal.frac_coords, crystal.numbers
    rarest = min(np.unique(numbers), key=lambda z: np.count_nonzero(numbers == z))
    candidates = frac[numbers == rarest]
    for partner in candidates:
        twice = candidates[0] + partner
        image = twice - frac
        offset = image[:, None, :] - frac[None, :, :]
        distance = np.linalg.norm((offset - np.round(offset)) @ crystal.lattice, axis=2)
        distance[numbers[:, None] != numbers[None, :]] = np.inf
        if np.all(distance.min(axis=1) < _INVERSION_TOLERANCE):
            return twice / 2
    return None


def structure_factors(crystal: Crystal, g_max: float) -> np.ndarray:
    """Sums sum_j f_e(g) exp(-2 pi i g r_j) of the primitive cell for all |g| <= g_max [1/angstrom].

    As :func:`~ediff_utils.bloch.kernels.potential.structure_factor_grid` returns them [angstrom].
    """
    order = np.argsort(crystal.numbers, kind="stable")
    elements, kinds = np.unique(crystal.numbers[order], return_inverse=True)
    return structure_factor_grid(
        crystal.reciprocal_lattice,
        np.ascontiguousarray(crystal.frac_coords[order]),
        kinds.astype(np.int64),
        lobato_parameters(elements),
        g_max,
        _index_max(crystal.lattice, g_max),
    )


def _index_max(lattice: np.ndarray, g_max: float) -> np.ndarray:
    return np.floor(g_max * np.linalg.norm(lattice, axis=1) + 1e-9).astype(np.int64)


def prepare(crystal: Crystal, settings: SimulationSettings) -> BlochCrystal:
    """Structure factors and reciprocal lattice points, once a crystal.

    A cell without volume is a SimulationError, an element without scattering factors a UserError.
    """
    finite = np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac_coords).all()
    if not finite or crystal.volume < 1e-3:
        raise SimulationError(f"{crystal.material_id}: expected a cell of finite volume")
    absorptive = settings.scattering == "lobato-absorptive"
    centre = None if absorptive else inversion_centre(crystal)
    if centre is not None:
        crystal = replace(crystal, frac_coords=crystal.frac_coords - centre)
    lam = wavelength(settings.energy)
    # U_g = gamma F_g / (pi V); A holds U_g / (2 k0) with k0 = 1 / lambda.
    scale = relativistic_factor(settings.energy) / (np.pi * crystal.volume) * lam / 2
    # Twice the beams' radius, or couplings between outer beams would be missing.
    grid = structure_factors(crystal, 2 * settings.q_max)
    middle = tuple(n // 2 for n in grid.shape)
    mean = grid[middle].real * scale
    if absorptive:
        coupling = grid * (scale * (1 + 1j * _ABSORPTION))
        coupling[middle] = 1j * _ABSORPTION * mean
        planes = np.empty((2, 0, 0, 0), np.float32)
    else:
        grid[middle] = 0
        parts = [grid.real] if centre is not None else [grid.real, grid.imag]
        planes = np.array([(part * scale).astype(np.float32) for part in parts])
        coupling = planes[0] if centre is not None else planes[0] + 1j * planes[1]
    hkl, g = reciprocal_points(
        crystal.reciprocal_lattice, settings.q_max, _index_max(crystal.lattice, settings.q_max)
    )
    conventional = np.rint(g @ crystal.conventional_lattice.T).astype(np.int16)
    return BlochCrystal(coupling, planes, hkl, conventional, g, lam, settings)


def find_beams(
    bloch: BlochCrystal, orientation: np.ndarray, tilt: tuple[float, float] = (0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Beams that one orientation excites, and their excitation errors [1/angstrom]; shape (n,).

    Beams are rows of ``bloch.g``, the direct one first. The ``tilt`` is the angle of the beam off
    the zone axis, and its azimuth from the pattern's x axis [radian].
    """
    angle, azimuth = tilt
    off = np.sin(angle) * np.array([np.cos(azimuth), np.sin(azimuth)])
    axis = orientation @ np.array([*off, np.cos(angle)])
    return select_beams(bloch.g, axis, bloch.wavelength, bloch.settings.excitation_error_max)


def full_matrix(bloch: BlochCrystal, index: np.ndarray, excitation_error: np.ndarray) -> np.ndarray:
    """Structure matrix A of the beams of :func:`find_beams` [1/angstrom], shape (n, n).

    Of float32, complex64 or, with absorption, complex128.
    """
    return structure_matrix(bloch.hkl[index], excitation_error, bloch.coupling, bloch.hermitian)


def propagate_beams(
    bloch: BlochCrystal,
    index: np.ndarray,
    excitation_error: np.ndarray,
    thicknesses: tuple[float, ...],
) -> np.ndarray:
    """Exit waves of the beams of :func:`find_beams` at several thicknesses [angstrom].

    As :func:`~ediff_utils.bloch.exit_wave.exit_waves` returns them, with absorption or without.
    """
    if not bloch.hermitian:
        return absorptive_waves(full_matrix(bloch, index, excitation_error), thicknesses)
    blocks, corners = pack_matrix(bloch.hkl[index], excitation_error, bloch.planes)
    return exit_waves(blocks, corners, excitation_error, thicknesses)


def compute_spots(
    bloch: BlochCrystal, orientation: np.ndarray, thicknesses: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spots of one orientation at several thicknesses [angstrom], as arrays.

    Returns
    -------
    beam : ndarray of int, shape (spots,)
        Rows of ``bloch.g``, thickness after thickness; without the direct beam and spots weaker
        than the settings' floor.
    intensity : ndarray, shape (spots,)
        Fractions of the incident beam.
    counts : ndarray of int, shape (thicknesses,)
        Spots at each thickness.
    direct_beam : ndarray, shape (thicknesses,)
    """
    index, intensities = _intensities(bloch, orientation, thicknesses)
    keep = intensities >= bloch.settings.intensity_floor
    keep[:, 0] = False
    number, beam = np.nonzero(keep)
    spots = intensities[number, beam].astype(float)
    counts = np.bincount(number, minlength=len(thicknesses))
    return index[beam], spots, counts, intensities[:, 0].astype(float)


def simulate_orientation(bloch: BlochCrystal, orientation: np.ndarray) -> list[SpotPattern]:
    """Patterns of one orientation, shape (3, 3), one at each thickness of the settings."""
    thicknesses = tuple(bloch.settings.thicknesses)
    beam, spots, counts, direct_beam = compute_spots(bloch, orientation, thicknesses)
    qx, qy = (bloch.g[beam] @ orientation[:, :2]).T
    ends = np.cumsum(counts)[:-1]
    columns = (np.split(values, ends) for values in (qx, qy, spots, bloch.hkl_conventional[beam]))
    return [
        SpotPattern(x, y, intensity, hkl, float(direct), thickness)
        for x, y, intensity, hkl, direct, thickness in zip(
            *columns, direct_beam, thicknesses, strict=True
        )
    ]


def _intensities(
    bloch: BlochCrystal, orientation: np.ndarray, thicknesses: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Beams, the direct one first, and their intensities, shape (thicknesses, beams).

    With precession the intensities of a beam that goes round a cone are added up incoherently
    (Vincent and Midgley 1994), each with the beams that it excites; descan puts the spots of all
    azimuths where those of the unprecessed pattern are. The foil is taken to be normal to the
    beam, which leaves out a longer path by the cosine of the semi-angle.
    """
    settings = bloch.settings
    if not settings.precession:
        index, error = find_beams(bloch, orientation)
        waves = propagate_beams(bloch, index, error, thicknesses)
        return index, waves.real**2 + waves.imag**2
    total = np.zeros((len(thicknesses), len(bloch.g)))
    excited = np.zeros(len(bloch.g), bool)
    steps = settings.precession_steps
    for azimuth in 2 * np.pi * np.arange(steps) / steps:
        index, error = find_beams(bloch, orientation, (settings.precession / 1e3, azimuth))
        waves = propagate_beams(bloch, index, error, thicknesses)
        total[:, index] += (waves.real**2 + waves.imag**2) / steps
        excited[index] = True
    index = np.flatnonzero(excited)
    return index, total[:, index]


def simulate(
    crystal: Crystal, orientations: np.ndarray, settings: SimulationSettings
) -> list[list[SpotPattern]]:
    """Patterns of one crystal.

    Parameters
    ----------
    crystal : Crystal
    orientations : ndarray, shape (n, 3, 3)
        Columns of each are the pattern's axes in the crystal's frame.
    settings : SimulationSettings

    Returns
    -------
    list of list of SpotPattern
        Indexed by orientation, then by thickness.

    Raises
    ------
    SimulationError
        The crystal cannot be simulated.
    """
    bloch = prepare(crystal, settings)
    return [simulate_orientation(bloch, orientation) for orientation in orientations]

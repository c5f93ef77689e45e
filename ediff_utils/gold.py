"""A simulated scan of gold nanoparticles: randomly oriented grains on an empty support."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.bragg import BraggLists, build_bragg_lists, read_bragg_lists
from ediff_utils.crystal import Crystal
from ediff_utils.errors import UserError
from ediff_utils.features import compute_features
from ediff_utils.orientations import in_plane_rotation, random_orientations
from ediff_utils.settings import ScanSettings, SimulationSettings
from ediff_utils.simulation import SpotPattern, simulate

#: Edge of the cubic cell of gold at room temperature [angstrom]. The paper has 4.08.
GOLD_LATTICE = 4.0782
#: Smallest and largest radius of a particle [angstrom], shrunk where the scan is small.
PARTICLE_RADII = (60.0, 130.0)
#: Thickness of a particle is rounded to multiples of this [angstrom], the step of the paper's
#: thickness series.
THICKNESS_STEP = 20.0
#: Weakest spot that disk detection finds, as a fraction of the incident beam.
DETECTION_THRESHOLD = 1e-3
#: Standard deviation of a detected position along each axis [1/angstrom].
POSITION_NOISE = 0.005

#: Places tried for a particle, and fresh starts after one found no room.
_TRIES, _ATTEMPTS = 500, 20


def gold_crystal() -> Crystal:
    """Face-centred cubic gold."""
    conventional = GOLD_LATTICE * np.eye(3)
    return Crystal(
        material_id="Au",
        lattice=GOLD_LATTICE / 2 * (1 - np.eye(3)),
        numbers=np.array([79]),
        frac_coords=np.zeros((1, 3)),
        conventional_lattice=conventional,
    )


def place_particles(
    settings: ScanSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put round particles where they touch neither each other nor the edge of the scan.

    Parameters
    ----------
    settings : ScanSettings
        ``scan_size``, ``step`` and ``n_particles`` are used.
    rng : Generator

    Returns
    -------
    centres : ndarray, shape (n_particles, 2)
        Along x and y, from the first probe position [angstrom].
    radii : ndarray, shape (n_particles,)
        Uniform between :data:`PARTICLE_RADII`, or in the same proportion below a fifth of the
        scan's width, in falling order [angstrom].

    Raises
    ------
    UserError
        They do not fit.
    """
    width = (settings.scan_size - 1) * settings.step
    largest = min(PARTICLE_RADII[1], width / 5)
    smallest = largest * PARTICLE_RADII[0] / PARTICLE_RADII[1]
    # the large ones first, as they find room only while there is much of it
    radii = np.sort(rng.uniform(smallest, largest, settings.n_particles))[::-1]
    placed = 0
    for _ in range(_ATTEMPTS):
        centres = _place(radii, width, rng)
        if len(centres) == len(radii):
            return centres, radii
        placed = max(placed, len(centres))
    raise UserError(
        f"n_particles: only {placed} of {settings.n_particles} particles fit on a scan of "
        f"{width:.0f} angstrom; expected fewer, or a larger scan_size or step"
    )


def _place(radii: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """Centres of the particles, in order, up to the first that finds no room."""
    centres = np.empty((0, 2))
    for radius in radii:
        tried = rng.uniform(radius, width - radius, (_TRIES, 2))
        distance = np.linalg.norm(tried[:, None] - centres[None], axis=2)
        free = np.flatnonzero(np.all(distance > radii[: len(centres)] + radius, axis=1))
        if not free.size:
            break
        centres = np.vstack([centres, tried[free[0]]])
    return centres


def particle_thickness(
    centres: np.ndarray, radii: np.ndarray, settings: ScanSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Particle and its thickness at each probe position.

    Parameters
    ----------
    centres, radii : ndarray, shapes (n, 2) and (n,)
        See :func:`place_particles`.
    settings : ScanSettings
        ``scan_size`` and ``step`` are used.

    Returns
    -------
    particle : ndarray of int, shape (scan_size, scan_size)
        -1 on the support, and where a rim is thinner than half of :data:`THICKNESS_STEP`.
    steps : ndarray of int, shape (scan_size, scan_size)
        Chord of the sphere along the beam, in multiples of :data:`THICKNESS_STEP`.
    """
    positions = np.moveaxis(np.indices((settings.scan_size,) * 2) * settings.step, 0, -1)
    particle = np.full(positions.shape[:2], -1)
    steps = np.zeros(positions.shape[:2], dtype=int)
    for i, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        square = radius**2 - np.sum((positions - centre) ** 2, axis=-1)
        own = np.rint(2 * np.sqrt(np.clip(square, 0, None)) / THICKNESS_STEP).astype(int)
        particle[own > 0] = i
        steps[own > 0] = own[own > 0]
    return particle, steps


def simulate_gold_scan(
    settings: ScanSettings, simulation: SimulationSettings | None = None
) -> tuple[BraggLists, pd.DataFrame]:
    """Simulate the Bragg lists of a scan over gold nanoparticles.

    Each particle is one grain, turned at random. Its intensities are Bloch waves at the thickness
    under the probe; of a real detector there are the :data:`DETECTION_THRESHOLD` and the
    :data:`POSITION_NOISE`, of a real sample neither twins, bending nor overlap.

    Parameters
    ----------
    settings : ScanSettings
        Size, step, number of particles and seed.
    simulation : SimulationSettings, optional
        Beam energy, ``q_max`` and what else a pattern needs; its thicknesses and orientations are
        not used.

    Returns
    -------
    BraggLists
        Without the direct beam.
    DataFrame
        The truth, a row a position: x, y, particle (-1 on the support), thickness [angstrom] (0
        there), zone_axis_x, zone_axis_y, zone_axis_z (unit vector in the crystal's cubic axes,
        pointing at the source) and rotation [degree] (see
        :func:`ediff_utils.orientations.in_plane_rotation`); NaN on the support.

    Raises
    ------
    UserError
        The particles do not fit on the scan, or no spot is above the threshold.
    """
    rng = np.random.default_rng(settings.seed)
    particle, steps = particle_thickness(*place_particles(settings, rng), settings)
    orientations = random_orientations(settings.n_particles, rng)
    series = THICKNESS_STEP * np.arange(1, max(steps.max(), 1) + 1)
    detected = _with(simulation, tuple(series), DETECTION_THRESHOLD)
    patterns = simulate(gold_crystal(), orientations, detected)

    x, y = np.nonzero(particle >= 0)
    here = [patterns[particle[i, j]][steps[i, j] - 1] for i, j in zip(x, y, strict=True)]
    if not here or all(len(pattern.qx) == 0 for pattern in here):
        raise UserError("scan_size: no probe position hits a particle; expected a larger scan")
    counts = [len(pattern.qx) for pattern in here]
    qx, qy, intensity = _concatenate(here)
    qx, qy = (q + rng.normal(0, POSITION_NOISE, len(q)) for q in (qx, qy))
    lists = build_bragg_lists(
        np.repeat(x, counts), np.repeat(y, counts), qx, qy, intensity, shape=particle.shape
    )
    return lists, _truth(particle, steps, orientations)


def load_scan(settings: ScanSettings) -> tuple[BraggLists, pd.DataFrame | None]:
    """Read the user's Bragg lists, or simulate the gold scan where none are named.

    Parameters
    ----------
    settings : ScanSettings
        ``bragg_file``, and what the simulated scan is made of.

    Returns
    -------
    BraggLists
    DataFrame or None
        The truth of the simulated scan; nobody knows it of a real one.

    Raises
    ------
    UserError
        The file cannot be read as Bragg lists.
    """
    if settings.bragg_file:
        return read_bragg_lists(settings.bragg_file), None
    return simulate_gold_scan(settings)


def _with(
    simulation: SimulationSettings | None, thicknesses: tuple[float, ...], floor: float
) -> SimulationSettings:
    simulation = simulation or SimulationSettings()
    floor = max(floor, simulation.intensity_floor)
    return simulation.model_copy(update={"thicknesses": thicknesses, "intensity_floor": floor})


def _truth(particle: np.ndarray, steps: np.ndarray, orientations: np.ndarray) -> pd.DataFrame:
    x, y = (axis.ravel() for axis in np.indices(particle.shape))
    index = particle.ravel()
    truth = pd.DataFrame(
        {"x": x, "y": y, "particle": index, "thickness": THICKNESS_STEP * steps.ravel()}
    )
    columns = ["zone_axis_x", "zone_axis_y", "zone_axis_z"]
    truth[columns] = np.where(index[:, None] < 0, np.nan, orientations[index, :, 2])
    rotations = np.array([in_plane_rotation(orientation) for orientation in orientations])
    truth["rotation"] = np.where(index < 0, np.nan, rotations[index])
    return truth


def compute_gold_features(
    n_patterns: int,
    simulation: SimulationSettings | None = None,
    *,
    thickness: float = 200.0,
    normalisation: str = "scattered",
    seed: int = 0,
) -> np.ndarray:
    """Vectors of simulated gold at random orientations, as the forests see them in training.

    Parameters
    ----------
    n_patterns : int
        Number of orientations.
    simulation : SimulationSettings, optional
        Beam energy, ``q_max`` and what else a pattern needs.
    thickness : float
        [angstrom]
    normalisation : str
        See :func:`ediff_utils.features.compute_features`.
    seed : int
        Of the orientations.

    Returns
    -------
    ndarray, shape (n_patterns, n_features)
    """
    orientations = random_orientations(n_patterns, np.random.default_rng(seed))
    patterns = simulate(gold_crystal(), orientations, _with(simulation, (thickness,), 0.0))
    first = [pattern[0] for pattern in patterns]
    offsets = np.cumsum([0, *(len(pattern.qx) for pattern in first)])
    return compute_features(*_concatenate(first), offsets, normalisation=normalisation)


def _concatenate(patterns: list[SpotPattern]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    qx, qy, intensity = (
        np.concatenate([getattr(pattern, name) for pattern in patterns])
        for name in ("qx", "qy", "intensity")
    )
    return qx, qy, intensity

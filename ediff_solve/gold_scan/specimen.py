"""Gold nanoparticles on a film: where they lie, how they are turned, and their twins.

Lengths are in angstrom. x and y run along the scan's axes from its first position, z against the
beam from the film, on which the particles lie; particles and domains are counted from 0 here and
from 1 in the truth's tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ediff_solve.gold_scan import twins
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_utils.bloch.orientations import lattice_fixed_orientation, random_orientations
from ediff_utils.core.errors import UserError

#: What a particle may be; the truth's column ``kind``.
KINDS = ("single", "lamellar", "decahedron")
#: Distance of overlapping particles' centres in projection, as a fraction of the radii's sum.
_OVERLAP_DISTANCES = (0.4, 0.9)
#: Places drawn at a time for a particle, and how often.
_PLACES, _TRIES = 20, 200


@dataclass(frozen=True)
class Specimen:
    """Particles and their domains; made by :func:`build_specimen`."""

    centres: np.ndarray  # (particles, 3), x, y and z [angstrom]
    radii: np.ndarray  # (particles,) [angstrom]
    kinds: np.ndarray  # (particles,), places in KINDS
    textured: np.ndarray  # (particles,), bool
    cell_offsets: np.ndarray  # (particles + 1,), where each particle's cells begin
    cell_domain: np.ndarray  # (cells,), and the planes, (cells, 2, 4): see twins.Domains
    cell_planes: np.ndarray
    domain_particle: np.ndarray  # (domains,)
    orientations: np.ndarray  # (domains, 3, 3), columns: the scan's x, y, z in the cubic axes


def build_specimen(settings: GoldScanSettings) -> Specimen:
    """Draw a specimen; a UserError where its particles do not fit."""
    rng = np.random.default_rng([settings.seed, 0])
    width = (settings.scan_size - 1) * settings.step
    radii = _draw_radii(settings, width, rng)
    centres = _place(radii, width, settings.overlapping, rng)
    n = len(radii)
    kinds = np.where(rng.random(n) < settings.five_fold, 2, 1)
    kinds[rng.random(n) >= settings.twinned] = 0
    textured = rng.random(n) < settings.textured
    orientations = random_orientations(n, rng)
    orientations[textured] = _texture(settings.texture_spread, int(textured.sum()), rng)
    parts = [
        _domains(kind, orientation, radius, rng)
        for kind, orientation, radius in zip(kinds, orientations, radii, strict=True)
    ]
    counts = [len(part.orientations) for part in parts]
    firsts = np.repeat(np.cumsum([0, *counts[:-1]]), [len(part.cell_domain) for part in parts])
    return Specimen(
        centres=centres,
        radii=radii,
        kinds=kinds,
        textured=textured,
        cell_offsets=np.cumsum([0, *(len(part.cell_domain) for part in parts)]),
        cell_domain=np.concatenate([part.cell_domain for part in parts]) + firsts,
        cell_planes=np.concatenate([part.cell_planes for part in parts]),
        domain_particle=np.repeat(np.arange(n), counts),
        orientations=np.concatenate([part.orientations for part in parts]),
    )


def _draw_radii(settings: GoldScanSettings, width: float, rng: np.random.Generator) -> np.ndarray:
    """Radii in falling order, as many as the coverage asks for."""
    low, high = settings.diameters
    wanted = settings.coverage * width**2
    if np.pi / 4 * low**2 > wanted:
        raise UserError(
            f"coverage: {settings.coverage:g} of a scan of {width:g} angstrom is less than one "
            f"particle of {low:g} angstrom; expected more, or a larger scan_size"
        )
    radii: list[float] = []
    while np.pi * np.sum(np.square(radii)) < wanted:
        radii.append(rng.uniform(low, high) / 2)
    # a small scan may hold no more than one of the larger ones
    if len(radii) == 1:
        radii[0] = min(radii[0], np.sqrt(wanted / np.pi))
    # the large ones first, as they find room only while there is much of it
    return np.sort(radii)[::-1].copy()


def _place(
    radii: np.ndarray, width: float, overlapping: float, rng: np.random.Generator
) -> np.ndarray:
    """Centres; a particle that overlaps another one touches it from above."""
    centres = np.empty((0, 3))
    for i, radius in enumerate(radii):
        on_top = i > 0 and rng.random() < overlapping
        for _ in range(_TRIES):
            place = _try(radius, radii[:i], centres, width, on_top, rng)
            if place is not None:
                break
        else:
            raise UserError(
                f"coverage: only {i} of {len(radii)} particles fit on a scan of {width:g} "
                f"angstrom; expected a smaller coverage or a larger scan_size"
            )
        centres = np.vstack([centres, place])
    return centres


def _try(
    radius: float,
    radii: np.ndarray,
    centres: np.ndarray,
    width: float,
    on_top: bool,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """One of some places drawn where the particle lies alone, or on one other alone."""
    partner = np.full(_PLACES, -1)
    tried = rng.uniform(0, width, (_PLACES, 2))
    if on_top:
        partner = rng.integers(0, len(radii), _PLACES)
        distance = rng.uniform(*_OVERLAP_DISTANCES, _PLACES) * (radii[partner] + radius)
        angle = rng.uniform(0, 2 * np.pi, _PLACES)
        aside = distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        tried = centres[partner, :2] + aside
    gap = np.linalg.norm(tried[:, None] - centres[None, :, :2], axis=2) - radii - radius
    if on_top:
        gap[np.arange(_PLACES), partner] = np.inf
    inside = np.all((tried >= 0) & (tried <= width), axis=1)
    free = np.flatnonzero(np.all(gap > 0, axis=1) & inside)
    if not free.size:
        return None
    place, below = tried[free[0]], partner[free[0]]
    height = radius
    if on_top:
        square = (radii[below] + radius) ** 2 - np.sum((place - centres[below, :2]) ** 2)
        height = centres[below, 2] + np.sqrt(square)
    return np.append(place, height)


def _texture(spread: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Orientations with [111] about along the beam, shape (n, 3, 3)."""
    turned = lattice_fixed_orientation(np.tile([1.0, 1.0, 1.0], (n, 1)))
    about = Rotation.from_rotvec([0.0, 0.0, 1.0] * rng.uniform(0, 2 * np.pi, (n, 1))).as_matrix()
    tilt = np.column_stack([rng.normal(0, np.radians(spread), (n, 2)), np.zeros(n)])
    return turned @ about @ Rotation.from_rotvec(tilt).as_matrix()


def _domains(
    kind: int, orientation: np.ndarray, radius: float, rng: np.random.Generator
) -> twins.Domains:
    if kind == 0:
        return twins.single_crystal(orientation)
    if kind == 2:
        return twins.decahedron(orientation, tuple(radius * rng.uniform(-0.15, 0.15, 2)))
    normal = twins.PLANES_111[rng.integers(4)]
    if rng.random() < 0.5:
        return twins.lamellar_twin(orientation, normal, (radius * rng.uniform(-0.5, 0.5),))
    middle, half = radius * rng.uniform(-0.4, 0.4), radius * rng.uniform(0.1, 0.3)
    return twins.lamellar_twin(orientation, normal, (middle - half, middle + half))

"""Intensities of every domain over a series of thicknesses, so that a position only looks them up.

A domain's intensities are those of a crystal of the local thickness on its own; several domains
along the beam diffract one after another, each what the ones above have left in the direct beam.
Diffracted beams are not diffracted again, and Debye-Waller factors are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ediff_solve.gold_scan.crystal import gold_crystal
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.gold_scan.specimen import Specimen
from ediff_utils.bloch.simulation import compute_spots, prepare
from ediff_utils.core.settings import SimulationSettings

#: Beams that stay below this at every thickness are left out [fraction of the incident beam].
WEAKEST_BEAM = 1e-5


class IntensityTables(NamedTuple):
    """Beams of all domains, flat; those of domain i begin at the offsets' entries i."""

    beam_offsets: np.ndarray  # (domains + 1,)
    qx: np.ndarray  # (beams,), along the scan's axes [1/angstrom]
    qy: np.ndarray
    thickness_offsets: np.ndarray  # (domains + 1,)
    direct: np.ndarray  # (rows,), at 0, 1, 2 ... thickness steps [fraction of the incident beam]
    table_offsets: np.ndarray  # (domains + 1,)
    intensity: np.ndarray  # (entries,), float32: all beams of a domain, thickness after thickness


def compute_tables(specimen: Specimen, settings: GoldScanSettings) -> IntensityTables:
    """Bloch waves of every domain, up to its particle's diameter."""
    simulation = SimulationSettings(
        energy=settings.energy, q_max=settings.q_max, intensity_floor=0.0
    )
    bloch = prepare(gold_crystal(), simulation)
    parts: list[tuple[np.ndarray, ...]] = []
    step = settings.thickness_step
    for orientation, particle in zip(specimen.orientations, specimen.domain_particle, strict=True):
        n = int(np.ceil(2 * specimen.radii[particle] / step)) + 1
        series = tuple(step * np.arange(1, n + 1))
        beam, spots, counts, direct = compute_spots(bloch, orientation, series)
        # without a floor every thickness has the same beams
        beams, table = beam[: counts[0]], spots.reshape(n, -1)
        strong = table.max(axis=0, initial=0) >= WEAKEST_BEAM
        beams, table = beams[strong], table[:, strong]
        qx, qy = (bloch.g[beams] @ orientation[:, :2]).T
        nothing = np.zeros((1, len(beams)))
        values = np.vstack([nothing, table]).astype(np.float32).ravel()
        parts.append((qx, qy, np.append(1.0, direct), values))
    qx, qy, direct, intensity = (np.concatenate(column) for column in zip(*parts, strict=True))
    sizes = np.array([(len(part[0]), len(part[2]), len(part[3])) for part in parts])
    offsets = np.vstack([np.zeros((1, 3), np.int64), np.cumsum(sizes, axis=0)])
    beam_offsets, thickness_offsets, table_offsets = np.ascontiguousarray(offsets.T)
    return IntensityTables(
        beam_offsets, qx, qy, thickness_offsets, direct, table_offsets, intensity
    )

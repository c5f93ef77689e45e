"""Bloch-wave patterns by py4DSTEM, which shares our environment.

Counted: the choice of the beams, the structure matrix, its eigen-decomposition and the intensities.
Not counted: the structure factors, which are timed apart.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
from py4DSTEM.process.diffraction import Crystal as OtherCrystal

from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal


def build_other(crystal: Crystal, settings: SimulationSettings) -> OtherCrystal:
    """py4DSTEM's crystal with its structure factors, couplings between outer beams included."""
    other = OtherCrystal(crystal.frac_coords, crystal.numbers, crystal.lattice)
    other.setup_diffraction(settings.energy)
    with contextlib.redirect_stdout(io.StringIO()):
        other.calculate_dynamical_structure_factors(
            settings.energy, "Lobato", k_max=2 * settings.q_max, tol_structure_factor=-1
        )
    return other


def other_pattern(
    other: OtherCrystal,
    orientation: np.ndarray,
    thicknesses: list[float],
    settings: SimulationSettings,
) -> object:
    """py4DSTEM's pattern from the same beams, their selection included as in ours."""
    # A negative tolerance, or kinematically forbidden reflections would not be beams.
    beams = other.generate_diffraction_pattern(
        orientation_matrix=orientation,
        sigma_excitation_error=settings.excitation_error_max / 3,
        tol_excitation_error_mult=3,
        tol_intensity=-1,
        k_max=settings.q_max,
    )
    return other.generate_dynamical_diffraction_pattern(
        beams, thickness=thicknesses, zone_axis_cartesian=orientation[:, 2]
    )


def other_intensities(
    other: OtherCrystal, orientation: np.ndarray, settings: SimulationSettings
) -> dict[tuple[int, int, int], float]:
    """Intensities of one pattern by Miller indices of the primitive cell."""
    pattern = other_pattern(other, orientation, list(settings.thicknesses), settings)
    data = (pattern[0] if isinstance(pattern, list) else pattern).data
    hkl = np.stack([data["h"], data["k"], data["l"]], axis=1).astype(int)
    return dict(zip(map(tuple, hkl.tolist()), data["intensity"].tolist(), strict=True))

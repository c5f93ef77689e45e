"""Gold: its crystal, and what the forests see of it."""

from __future__ import annotations

import numpy as np

from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import simulate
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.paper.features import compute_features

#: Edge of the cubic cell of gold at room temperature [angstrom]. The paper has 4.08.
GOLD_LATTICE = 4.0782


def gold_crystal() -> Crystal:
    """Face-centred cubic gold."""
    return Crystal(
        material_id="Au",
        lattice=GOLD_LATTICE / 2 * (1 - np.eye(3)),
        numbers=np.array([79]),
        frac_coords=np.zeros((1, 3)),
        conventional_lattice=GOLD_LATTICE * np.eye(3),
    )


def compute_gold_features(
    n_patterns: int, *, thickness: float = 200.0, normalisation: str = "scattered", seed: int = 0
) -> np.ndarray:
    """Vectors of simulated gold at random orientations, as the forests see them in training.

    Of a thickness [angstrom]; shape (n_patterns, n_features). The normalisation is that of
    :func:`ediff_utils.paper.features.compute_features`.
    """
    orientations = random_orientations(n_patterns, np.random.default_rng(seed))
    settings = SimulationSettings(thicknesses=(thickness,))
    first = [pattern[0] for pattern in simulate(gold_crystal(), orientations, settings)]
    offsets = np.cumsum([0, *(len(pattern.qx) for pattern in first)])
    names = ("qx", "qy", "intensity")
    qx, qy, value = (np.concatenate([getattr(one, name) for one in first]) for name in names)
    return compute_features(qx, qy, value, offsets, normalisation)

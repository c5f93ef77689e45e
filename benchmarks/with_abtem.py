"""One Bloch-wave pattern of each crystal by abTEM; :mod:`bloch` starts it in abTEM's environment.

Counted: the choice of the beams, the structure matrix, its eigen-decomposition and the intensities.
Not counted: the structure factors, which abTEM can keep from one pattern to the next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

timing.use_one_core()

import numpy as np
from abtem.bloch import BlochWaves, StructureFactor
from abtem.measurements import IndexedDiffractionPatterns
from ase import Atoms

#: abTEM's beam travels along +z, ours along -z: half a turn around x, which keeps the hand.
_TURN = np.diag([1.0, -1.0, -1.0])


def prepare(tasks: dict, crystal: dict) -> tuple[Callable[[], Any], Callable[[Any], tuple]]:
    """Structure factors of a crystal; functions that make one pattern of it and read it."""
    atoms = Atoms(
        crystal["numbers"],
        cell=crystal["lattice"],
        scaled_positions=crystal["frac_coords"],
        pbc=True,
    )
    # Twice the beams' radius, or couplings between outer beams would be missing.
    factors = StructureFactor(
        atoms,
        g_max=2 * tasks["q_max"],
        parametrization="lobato",
        cutoff="hard",
        centering="P",
    ).build(lazy=False)
    orientation = _TURN @ np.array(crystal["orientation"]).T

    def simulate() -> IndexedDiffractionPatterns:
        waves = BlochWaves(
            factors,
            energy=tasks["energy"],
            sg_max=tasks["excitation_error_max"],
            g_max=tasks["q_max"],
            orientation_matrix=orientation,
            centering="P",
        )
        return waves.calculate_diffraction_patterns(tasks["thickness"], lazy=False)

    def read(pattern: IndexedDiffractionPatterns) -> tuple[list, list]:
        return pattern.miller_indices.tolist(), pattern.array.tolist()

    return simulate, read


if __name__ == "__main__":
    timing.run_tasks(Path(sys.argv[1]), Path(sys.argv[2]), ("abtem", "numpy", "numba"), prepare)

"""One Bloch-wave pattern of each crystal by quantem; :mod:`bloch` starts it in its environment.

Counted: the choice of the beams, the structure matrix, its eigen-decomposition and the intensities.
Not counted: the structure factors, kinematical Lobato ones without absorption, so that the matrix
is Hermitian and quantem takes its faster ``eigh``, and the crystal's symmetry.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

timing.use_one_core()

import numpy as np
import torch
from ase import Atoms
from quantem.diffraction.bloch import dynamical_pattern
from quantem.diffraction.crystal import Crystal
from scipy.spatial.transform import Rotation

torch.set_num_threads(1)
# quantem warns that there is no absorption, which is what we want.
warnings.filterwarnings("ignore", message=".*no absorptive structure factors.*")


def prepare(tasks: dict, crystal: dict) -> tuple[Callable[[], Any], Callable[[Any], tuple]]:
    """Structure factors of a crystal; functions that make one pattern of it and read it."""
    atoms = Atoms(
        crystal["numbers"],
        cell=crystal["lattice"],
        scaled_positions=crystal["frac_coords"],
        pbc=True,
    )
    other = Crystal(atoms, pseudo_symmetry_tol=None, verbose=False)
    # Twice the beams' radius, or couplings between outer beams would be missing; and with the
    # default tolerance forbidden reflections would not be beams.
    other.calculate_structure_factors(k_max=2 * tasks["q_max"], tol_structure_factor=-1.0)
    # Crystal to laboratory, scalar first.
    turn = Rotation.from_matrix(np.array(crystal["orientation"]).T).as_quat(scalar_first=True)
    quaternion = torch.as_tensor(turn)

    def simulate() -> dict[str, torch.Tensor]:
        return dynamical_pattern(
            other,
            quaternion,
            tasks["thickness"],
            energy_ev=tasks["energy"],
            sg_max=tasks["excitation_error_max"],
            k_max=tasks["q_max"],
        )

    def read(pattern: dict[str, torch.Tensor]) -> tuple[list, list]:
        intensity = [*pattern["intensity_000"].tolist(), *pattern["intensity"][0].tolist()]
        return [[0, 0, 0], *pattern["hkl"].tolist()], intensity

    return simulate, read


if __name__ == "__main__":
    timing.run_tasks(Path(sys.argv[1]), Path(sys.argv[2]), ("quantem", "torch", "numpy"), prepare)

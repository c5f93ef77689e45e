"""Crystals that several tests share: real ones, all seven systems, polar and chiral ones too."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Lattice, Structure

from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.symmetry import standardise

#: name: (space group, lattice, species, coordinates). Textbook values, rounded.
CRYSTALS = {
    "silicon": ("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
    "gold": ("Fm-3m", Lattice.cubic(4.0782), ["Au"], [[0, 0, 0]]),
    "zinc blende": ("F-43m", Lattice.cubic(5.409), ["Zn", "S"], [[0, 0, 0], [0.25] * 3]),
    "pyrite": ("Pa-3", Lattice.cubic(5.416), ["Fe", "S"], [[0, 0, 0], [0.3848] * 3]),
    "manganese silicide (chiral)": (
        "P2_13",
        Lattice.cubic(4.556),
        ["Mn", "Si"],
        [[0.138] * 3, [0.845] * 3],
    ),
    "wurtzite (polar)": (
        "P6_3mc",
        Lattice.hexagonal(3.25, 5.207),
        ["Zn", "O"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.3819]],
    ),
    "magnesium": ("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]]),
    "quartz (chiral)": (
        "P3_221",
        Lattice.hexagonal(4.9137, 5.4047),
        ["Si", "O"],
        [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
    ),
    "bismuth telluride": (
        "R-3m",
        Lattice.hexagonal(4.395, 30.44),
        ["Te", "Bi", "Te"],
        [[0, 0, 0], [0, 0, 0.4001], [0, 0, 0.2095]],
    ),
    "rutile": (
        "P4_2/mnm",
        Lattice.tetragonal(4.594, 2.959),
        ["Ti", "O"],
        [[0] * 3, [0.305, 0.305, 0]],
    ),
    "barium titanate (polar)": (
        "P4mm",
        Lattice.tetragonal(3.994, 4.038),
        ["Ba", "Ti", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5224], [0.5, 0.5, 0.9756], [0.5, 0, 0.4895]],
    ),
    "forsterite": (
        "Pnma",
        Lattice.orthorhombic(10.207, 5.98, 4.756),
        ["Mg", "Mg", "Si", "O", "O", "O"],
        [
            [0, 0, 0],
            [0.2774, 0.25, 0.9915],
            [0.094, 0.25, 0.4262],
            [0.0913, 0.25, 0.7657],
            [0.4474, 0.25, 0.2215],
            [0.1628, 0.0331, 0.2777],
        ],
    ),
    "zirconia": (
        "P2_1/c",
        Lattice.from_parameters(5.145, 5.2075, 5.3107, 90, 99.23, 90),
        ["Zr", "O", "O"],
        [[0.2758, 0.0411, 0.2082], [0.0703, 0.3359, 0.3406], [0.4423, 0.7549, 0.4789]],
    ),
    "wollastonite-like triclinic": (
        "P-1",
        Lattice.from_parameters(4.2, 5.1, 6.3, 83, 76, 69),
        ["Ca", "Si", "O"],
        [[0.2, 0.42, 0.76], [0.18, 0.39, 0.27], [0.43, 0.23, 0.8]],
    ),
}
NON_CENTROSYMMETRIC = [
    "zinc blende",
    "manganese silicide (chiral)",
    "wurtzite (polar)",
    "quartz (chiral)",
    "barium titanate (polar)",
]


def make_structure(name: str) -> Structure:
    """One of :data:`CRYSTALS` as a pymatgen structure."""
    return Structure.from_spacegroup(*CRYSTALS[name])


def make_crystal(name: str, inverted: bool = False) -> Crystal:
    """One of :data:`CRYSTALS` as the simulation takes it, or its image under inversion."""
    row = standardise(make_structure(name), 0.01) | {"material_id": name}
    if inverted:
        row["frac_coords"] = list(-np.asarray(row["frac_coords"]))
    return Crystal.from_row(row)

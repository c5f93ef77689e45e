"""A crystal as the simulation sees it: arrays, no pymatgen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ediff_utils.core.errors import UserError

if TYPE_CHECKING:
    from typing import Any

    import pandas as pd


@dataclass(frozen=True)
class Crystal:
    """A crystal in its primitive cell.

    Parameters
    ----------
    material_id : str
        Name of the crystal in its source.
    lattice : ndarray, shape (3, 3)
        Lattice vectors a, b, c of the primitive cell as rows [angstrom], in the Cartesian frame of
        ``conventional_lattice``.
    numbers : ndarray of int, shape (n,)
        Atomic numbers.
    frac_coords : ndarray, shape (n, 3)
        Fractional coordinates in ``lattice``.
    conventional_lattice : ndarray, shape (3, 3)
        Lattice vectors of the conventional cell as rows [angstrom]; Miller indices refer to it.
    """

    material_id: str
    lattice: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    conventional_lattice: np.ndarray

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Crystal:
        """Build a crystal from a row of the crystals' table."""
        return cls(
            material_id=str(row["material_id"]),
            lattice=np.array(row["lattice"], dtype=float).reshape(3, 3),
            numbers=np.array(row["numbers"], dtype=np.int64),
            frac_coords=np.array(row["frac_coords"], dtype=float).reshape(-1, 3),
            conventional_lattice=np.array(row["conventional_lattice"], dtype=float).reshape(3, 3),
        )

    @property
    def volume(self) -> float:
        """Volume of the primitive cell [cubic angstrom]."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def reciprocal_lattice(self) -> np.ndarray:
        """Rows a*, b*, c* of the primitive cell [1/angstrom], without 2 pi; shape (3, 3)."""
        return np.linalg.inv(self.lattice).T


def choose_crystal(table: pd.DataFrame, material_id: str = "") -> Crystal:
    """Take one crystal from the crystals' table, to show something by.

    Without a ``material_id`` it is the first cubic compound, or the first crystal where none is.
    A name that is not there is a UserError.
    """
    if material_id:
        found = table[table["material_id"] == material_id]
        if not len(found):
            raise UserError(f"material_id {material_id}: no such crystal in the table")
        return Crystal.from_row(found.iloc[0])
    compound = table["numbers"].map(lambda numbers: len(set(numbers)) > 1)
    cubic = table[compound & (table["crystal_system"] == "cubic")]
    return Crystal.from_row((cubic if len(cubic) else table).iloc[0])

"""What a space group's number says: crystal system, Laue class, symbol, Bravais lattice."""

from __future__ import annotations

from functools import cache

import numpy as np
import spglib

#: The order in which systems stand in tables and figures, highest symmetry first.
SYSTEMS = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic")
ALL_SYSTEMS = (*SYSTEMS, "triclinic")
#: The order in which the space groups of each are numbered.
NUMBERED_SYSTEMS = ALL_SYSTEMS[::-1]
N_GROUPS = 230
#: Crystal family of the first letter of a Bravais lattice's symbol.
FAMILIES = {
    "a": "triclinic",
    "m": "monoclinic",
    "o": "orthorhombic",
    "t": "tetragonal",
    "h": "hexagonal",
    "c": "cubic",
}
#: Laue classes in the order of their space groups: last number, symbol and crystal system.
_LAUE = (
    (2, "-1", "triclinic"),
    (15, "2/m", "monoclinic"),
    (74, "mmm", "orthorhombic"),
    (88, "4/m", "tetragonal"),
    (142, "4/mmm", "tetragonal"),
    (148, "-3", "trigonal"),
    (167, "-3m", "trigonal"),
    (176, "6/m", "hexagonal"),
    (194, "6/mmm", "hexagonal"),
    (206, "m-3", "cubic"),
    (230, "m-3m", "cubic"),
)
#: Last space group of each of :data:`NUMBERED_SYSTEMS`.
LAST_GROUPS = tuple({system: last for last, _, system in _LAUE}.values())
#: Point group of each system's lattices.
HOLOHEDRIES = {system: symbol for _, symbol, system in _LAUE}


def laue_group(space_group: int) -> str:
    """Hermann-Mauguin symbol of the Laue class of a space group number from 1 to 230."""
    return next(symbol for last, symbol, _ in _LAUE if space_group <= last)


def crystal_system(space_group: int) -> str:
    """Crystal system of a space group number from 1 to 230."""
    return next(system for last, _, system in _LAUE if space_group <= last)


def system_of(space_groups: np.ndarray) -> np.ndarray:
    """Positions in :data:`NUMBERED_SYSTEMS` of space group numbers; shape (n,)."""
    return np.searchsorted(LAST_GROUPS, space_groups)


@cache
def _types() -> dict[int, spglib.SpaceGroupType]:
    """What spglib knows of the first of Hall's settings: b unique, hexagonal axes for R."""
    settings = map(spglib.get_spacegroup_type, range(530, 0, -1))
    # None is what spglib gives for other numbers than these.
    return {setting.number: setting for setting in settings}  # type: ignore[misc, union-attr]


def hall_number(space_group: int) -> int:
    """Number of a space group's first setting among Hall's 530."""
    return _types()[space_group].hall_number


def symbol(space_group: int) -> str:
    """International short symbol of a space group, such as ``Fm-3m``."""
    return _types()[space_group].international_short


def bravais(space_group: int) -> str:
    """Bravais lattice of a space group; the three settings of one-face-centred cells are oC, mC."""
    system, centring = crystal_system(space_group), symbol(space_group)[0]
    family = next((k for k, name in FAMILIES.items() if name == system), "h")
    return family + ("C" if centring in "ABC" else centring)

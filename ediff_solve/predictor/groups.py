"""What a space group's number says: symbol, Laue class, Bravais lattice, crystal system."""

from __future__ import annotations

from functools import cache

import numpy as np
import spglib

from ediff_solve.predictor.boosting import N_GROUPS, SYSTEMS, system_of
from ediff_utils.crystals.symmetry import laue_group

_FAMILIES = {
    "triclinic": "a",
    "monoclinic": "m",
    "orthorhombic": "o",
    "tetragonal": "t",
    "trigonal": "h",
    "hexagonal": "h",
    "cubic": "c",
}


@cache
def _symbols() -> tuple[str, ...]:
    found: dict[int, str] = {}
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        found.setdefault(kind.number, kind.international_short)
    return tuple(found[number] for number in range(1, N_GROUPS + 1))


def symbol(space_group: int) -> str:
    """International short symbol of a space group, such as ``Fm-3m``."""
    return _symbols()[space_group - 1]


def crystal_system(space_group: int) -> str:
    """Crystal system of a space group."""
    return list(SYSTEMS)[int(system_of(np.array([space_group]))[0])]


def bravais(space_group: int) -> str:
    """Bravais lattice of a space group; the three settings of one-face-centred cells are oC, mC."""
    centring = symbol(space_group)[0]
    return _FAMILIES[crystal_system(space_group)] + ("C" if centring in "ABC" else centring)


@cache
def _classes(kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes of a kind, and to which of them each space group belongs."""
    name = {"laue_class": laue_group, "bravais": bravais, "system": crystal_system}[kind]
    keys = [name(number) for number in range(1, N_GROUPS + 1)]
    names = tuple(dict.fromkeys(keys))
    return names, np.array([names.index(key) for key in keys])


def sum_classes(probabilities: np.ndarray, kind: str) -> dict[str, float]:
    """Probabilities of Laue classes, Bravais lattices or crystal systems.

    Parameters
    ----------
    probabilities : ndarray, shape (230,)
        Of the space groups.
    kind : {"laue_class", "bravais", "system"}

    Returns
    -------
    dict of str to float
        Likeliest first.
    """
    names, members = _classes(kind)
    sums = np.bincount(members, probabilities, minlength=len(names))
    return {names[k]: float(sums[k]) for k in np.argsort(-sums, kind="stable")}

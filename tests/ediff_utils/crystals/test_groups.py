"""What a space group's number says, against pymatgen's own tables."""

import numpy as np
import pytest
from pymatgen.symmetry.groups import SpaceGroup

from ediff_utils.crystals.groups import (
    ALL_SYSTEMS,
    HOLOHEDRIES,
    NUMBERED_SYSTEMS,
    bravais,
    crystal_system,
    laue_group,
    symbol,
    system_of,
)

#: Point groups of each Laue class, International Tables for Crystallography A, table 10.1.2.
LAUE_CLASSES = {
    "-1": ["1", "-1"],
    "2/m": ["2", "m", "2/m"],
    "mmm": ["222", "mm2", "mmm"],
    "4/m": ["4", "-4", "4/m"],
    "4/mmm": ["422", "4mm", "-42m", "-4m2", "4/mmm"],
    "-3": ["3", "-3"],
    "-3m": ["32", "3m", "-3m", "321", "312", "3m1", "31m", "-3m1", "-31m"],
    "6/m": ["6", "-6", "6/m"],
    "6/mmm": ["622", "6mm", "-62m", "-6m2", "6/mmm"],
    "m-3": ["23", "m-3"],
    "m-3m": ["432", "-43m", "m-3m"],
}


@pytest.mark.parametrize("number", range(1, 231))
def test_against_pymatgen(number):
    theirs = SpaceGroup.from_int_number(number)
    assert crystal_system(number) == theirs.crystal_system
    assert NUMBERED_SYSTEMS[system_of(np.array([number]))[0]] == theirs.crystal_system
    assert theirs.point_group in LAUE_CLASSES[laue_group(number)]
    # Monoclinic symbols are written in full there.
    own, other = symbol(number), theirs.symbol.split(":")[0]
    if 3 <= number <= 15:
        assert own[0] == other[0]
    else:
        assert own.replace("_", "") == other.replace("_", "")


def test_bravais_lattices_are_the_fourteen():
    # Of one atom on each.
    holohedral = (2, 10, 12, 47, 65, 69, 71, 123, 139, 166, 191, 221, 225, 229)
    wanted = ["aP", "mP", "mC", "oP", "oC", "oF", "oI", "tP", "tI", "hR", "hP", "cP", "cF", "cI"]
    assert [bravais(n) for n in holohedral] == wanted
    assert {bravais(n) for n in range(1, 231)} == set(wanted)


def test_holohedries_are_the_last_of_their_systems():
    assert set(HOLOHEDRIES) == set(ALL_SYSTEMS)
    for number in (2, 15, 74, 142, 167, 194, 230):
        assert HOLOHEDRIES[crystal_system(number)] == laue_group(number)

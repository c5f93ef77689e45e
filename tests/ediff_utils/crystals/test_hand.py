"""Standardising keeps group, hand and structure, in all groups and for every order of axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from ediff_utils.crystals.symmetry import _HANDED, build_structure, standardise

#: Four atoms that make a corner with a hand: three arms of different lengths and elements.
ARMS = np.array([[0.0, 0, 0], [1.1, 0, 0], [0, 1.2, 0], [0, 0, 1.3]])
ELEMENTS = ["Si", "C", "N", "O"]


def find_hand(structure: Structure) -> int:
    """+1 or -1, by the arms C, N and O of a Si; 0 where corners of both hands are there."""
    hands = set()
    for site in (site for site in structure if site.specie.symbol == "Si"):
        near = structure.get_neighbors(site, 1.5)
        arms = {n.specie.symbol: n.coords - site.coords for n in near}
        hands.add(int(np.sign(np.linalg.det([arms[name] for name in "CNO"]))))
    return hands.pop() if len(hands) == 1 else 0


def make_lattice(number: int, rng: np.random.Generator) -> Lattice:
    """A cell with room for all images, of axes in any order of length."""
    a, b, c = rng.permutation([15.0, 19.0, 24.0]) * rng.uniform(0.97, 1.03, 3)
    if number <= 2:
        return Lattice.from_parameters(a, b, c, *rng.uniform(75, 105, 3))
    if number <= 15:
        return Lattice.from_parameters(a, b, c, 90, rng.uniform(95, 115), 90)
    if number <= 74:
        return Lattice.orthorhombic(a, b, c)
    if number <= 142:
        return Lattice.tetragonal(a, c)
    if number <= 194:
        return Lattice.hexagonal(1.5 * a, 1.5 * c)
    return Lattice.cubic(45.0)


def make_crystal(number: int, rng: np.random.Generator) -> Structure:
    """Corners on a general position, apart from each other."""
    lattice = make_lattice(number, rng)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    arms = ARMS @ turn @ np.linalg.inv(lattice.matrix)
    # Of large groups without a hand one atom says enough.
    n = 1 if number >= 195 and number not in _HANDED else 4
    for _ in range(200):
        place = rng.uniform(0.02, 0.48, 3)
        found = Structure.from_spacegroup(number, lattice, ELEMENTS[:n], place + arms[:n])
        silicon = Structure.from_sites([s for s in found if s.specie.symbol == "Si"])
        if not len(silicon.get_neighbor_list(3.2)[3]):
            return found
    raise AssertionError(f"no place found in group {number}")


def disguise(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal by other axes, turned and shifted; its hand is kept."""
    order = list(itertools.permutations(range(3)))[rng.integers(6)]
    change = np.eye(3, dtype=int)[list(order)]
    change[rng.integers(3)] *= np.linalg.det(change).round().astype(int)
    change[0] += rng.integers(-1, 2) * change[1]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    matrix = change @ structure.lattice.matrix @ turn
    places = structure.frac_coords @ np.linalg.inv(change) + rng.uniform(0, 1, 3)
    return Structure(Lattice(matrix), structure.species, places, to_unit_cell=True)


def check(number: int, seed: int) -> None:
    rng = np.random.default_rng([seed, number])
    crystal = make_crystal(number, rng)
    shown = disguise(crystal, rng)
    cell = (shown.lattice.matrix, shown.frac_coords, shown.atomic_numbers)
    assert spglib.get_symmetry_dataset(cell, symprec=0.1).number == number
    row = standardise(shown, 0.1)
    assert row["space_group"] == number
    found = build_structure(row["lattice"], row["numbers"], row["frac_coords"])
    assert found.composition.reduced_formula == crystal.composition.reduced_formula
    assert found.density == pytest.approx(crystal.density, rel=1e-6)
    assert np.linalg.det(np.reshape(row["conventional_lattice"], (3, 3))) > 0
    if number in _HANDED:
        assert find_hand(crystal) != 0
        assert find_hand(found) == find_hand(crystal)
    elif number < 195:
        assert find_hand(crystal) == find_hand(found) == 0
    # And the structure: every distance up to the arms', as often.
    for one in ("Si", "C"):
        own, its = (
            sorted(d for site in s if site.specie.symbol == one for d in _distances(site, s))
            for s in (crystal, found)
        )
        ratio = len(crystal) // len(found)
        np.testing.assert_allclose(own[::ratio], its, atol=1e-3)


def _distances(site, structure):
    return [neighbour.nn_distance for neighbour in structure.get_neighbors(site, 2.0)]


def test_the_handed_groups_are_those_without_improper_operations():
    for number in range(1, 231):
        hall = next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == number)
        turns = spglib.get_symmetry_from_database(hall)["rotations"]
        assert (number in _HANDED) == all(np.linalg.det(r) > 0 for r in turns)
    assert len(_HANDED) == 65


@pytest.mark.parametrize("first", range(1, 231, 10))
def test_all_groups(first):
    for number in range(first, first + 10):
        check(number, seed=0)


@pytest.mark.parametrize("number", sorted(_HANDED - set(range(195, 231))))
def test_every_order_of_axes(number):
    for seed in (1, 2):
        check(number, seed)

"""Standard cells and labels against pymatgen, and what must not depend on the choice of cell."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Species, Structure
from pymatgen.core.structure_matcher import StructureMatcher
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.spatial.transform import Rotation

from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.symmetry import UnusableCrystalError, standardise

SYMPREC = 0.1

#: One crystal of each Bravais lattice, and one more where its settings or its holohedry ask for it:
#: space group, lattice, species, coordinates.
BRAVAIS = {
    "aP": (
        1,
        Lattice.from_parameters(3.1, 4.3, 5.9, 81, 77, 69),
        ["Li", "C", "O"],
        [(0, 0, 0), (0.3, 0.4, 0.1), (0.6, 0.2, 0.55)],
    ),
    "mP": (
        14,
        Lattice.monoclinic(5.15, 5.2, 5.33, 99),
        ["Zr", "O"],
        [(0.276, 0.041, 0.208), (0.07, 0.336, 0.343)],
    ),
    "mC": (
        12,
        Lattice.monoclinic(9.8, 3.1, 6.7, 117),
        ["Ga", "O"],
        [(0.09, 0, 0.21), (0.31, 0, 0.55)],
    ),
    "oP": (
        62,
        Lattice.orthorhombic(5.5, 7.7, 5.3),
        ["Ca", "Ti"],
        [(0.04, 0.25, 0.99), (0, 0, 0.5)],
    ),
    "oC": (63, Lattice.orthorhombic(2.9, 5.9, 5.0), ["U"], [(0, 0.105, 0.25)]),
    "oA": (38, Lattice.orthorhombic(3.9, 5.6, 5.8), ["Ba", "Ti"], [(0, 0, 0), (0.5, 0, 0.51)]),
    "oI": (71, Lattice.orthorhombic(3.6, 4.4, 8.6), ["Ta", "B"], [(0, 0, 0.17), (0, 0, 0.42)]),
    "oF": (70, Lattice.orthorhombic(8.5, 9.9, 3.2), ["Pu"], [(0.125, 0.125, 0.125)]),
    "tP": (136, Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)]),
    "tI": (141, Lattice.tetragonal(3.78, 9.5), ["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)]),
    "hR": (167, Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)]),
    "hP": (
        186,
        Lattice.hexagonal(3.25, 5.2),
        ["Zn", "O"],
        [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.382)],
    ),
    "trigonal P": (
        154,
        Lattice.hexagonal(4.15, 9.5),
        ["Hg", "S"],
        [(0.72, 0, 2 / 3), (0.49, 0, 1 / 6)],
    ),
    "cP": (221, Lattice.cubic(4.12), ["Cs", "Cl"], [(0, 0, 0), (0.5, 0.5, 0.5)]),
    "cI": (229, Lattice.cubic(2.87), ["Fe"], [(0, 0, 0)]),
    "cF": (227, Lattice.cubic(5.43), ["Si"], [(0, 0, 0)]),
}
POINTS = {"P": 1, "C": 2, "A": 2, "I": 2, "R": 3, "F": 4}


def build(name):
    return Structure.from_spacegroup(*BRAVAIS[name])


def primitive_of(row):
    return Structure(
        Lattice(np.reshape(row["lattice"], (3, 3))),
        row["numbers"],
        np.reshape(row["frac_coords"], (-1, 3)),
    )


def index_matrix(row):
    """The conventional lattice vectors in terms of the primitive ones."""
    return np.reshape(row["conventional_lattice"], (3, 3)) @ np.linalg.inv(
        np.reshape(row["lattice"], (3, 3))
    )


@pytest.mark.parametrize("name", BRAVAIS)
def test_labels_are_those_of_pymatgen(name):
    structure = build(name)
    row = standardise(structure, SYMPREC)
    analyzer = SpacegroupAnalyzer(structure, SYMPREC)
    conventional = analyzer.get_conventional_standard_structure()
    assert row["space_group"] == analyzer.get_space_group_number() == BRAVAIS[name][0]
    assert row["space_group_symbol"] == analyzer.get_space_group_symbol()
    assert row["crystal_system"] == analyzer.get_crystal_system()
    assert [row[k] for k in "abc"] == pytest.approx(conventional.lattice.abc)
    angles = [row[k] for k in ("alpha", "beta", "gamma")]
    assert angles == pytest.approx(conventional.lattice.angles)
    assert np.allclose(row["conventional_lattice"], conventional.lattice.matrix.ravel())


@pytest.mark.parametrize("name", BRAVAIS)
def test_primitive_cell_is_that_of_spglib(name):
    structure = build(name)
    row = standardise(structure, SYMPREC)
    primitive = primitive_of(row)
    expected = SpacegroupAnalyzer(structure, SYMPREC).find_primitive()
    assert row["n_sites"] == len(primitive) == len(expected)
    assert row["volume"] == pytest.approx(primitive.volume) == pytest.approx(expected.volume)
    matcher = StructureMatcher(
        ltol=1e-3, stol=1e-3, angle_tol=0.1, scale=False, primitive_cell=False
    )
    assert matcher.fit(primitive, expected)
    assert SpacegroupAnalyzer(primitive, 1e-3).get_space_group_number() == row["space_group"]


@pytest.mark.parametrize("name", BRAVAIS)
def test_miller_indices_are_integers_of_the_conventional_cell(name):
    row = standardise(build(name), SYMPREC)
    matrix = index_matrix(row)
    assert np.abs(matrix - np.round(matrix)).max() < 1e-9
    n = np.linalg.det(matrix)
    assert abs(n) == pytest.approx(POINTS[row["space_group_symbol"][0]])
    crystal = Crystal.from_row({"material_id": "x", **row})
    indices = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    hkl = indices @ crystal.reciprocal_lattice @ crystal.conventional_lattice.T
    assert np.abs(hkl - np.round(hkl)).max() < 1e-9


@pytest.mark.parametrize("name", BRAVAIS)
def test_both_cells_are_the_same_crystal_in_the_same_frame(name):
    """Structure factors of the two cells agree; those of the conventional one alone vanish."""
    structure = build(name)
    row = standardise(structure, SYMPREC)
    conventional = SpacegroupAnalyzer(structure, SYMPREC).get_conventional_standard_structure()
    matrix = index_matrix(row)
    hkl = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    of_primitive = hkl @ np.linalg.inv(matrix).T
    shared = np.abs(of_primitive - np.round(of_primitive)).max(axis=1) < 1e-6

    def structure_factors(indices, frac, numbers):
        return np.exp(2j * np.pi * indices @ np.reshape(frac, (-1, 3)).T) @ np.array(numbers)

    large = structure_factors(hkl, conventional.frac_coords, conventional.atomic_numbers)
    small = structure_factors(of_primitive, row["frac_coords"], row["numbers"])
    n = abs(round(np.linalg.det(matrix)))
    assert np.allclose(large[shared], n * small[shared], atol=1e-6 * sum(row["numbers"]))
    assert np.abs(large[~shared]).max(initial=0) < 1e-6 * sum(row["numbers"])


@pytest.mark.parametrize("name", BRAVAIS)
def test_primitive_cell_is_reduced_and_right_handed(name):
    a, b, c = np.reshape(standardise(build(name), SYMPREC)["lattice"], (3, 3))
    assert np.linalg.det([a, b, c]) > 0
    lengths = [np.linalg.norm(v) for v in (a, b, c)]
    assert lengths[0] <= lengths[1] + 1e-9
    assert lengths[1] <= lengths[2] + 1e-9
    for x, y in itertools.product((-1, 0, 1), repeat=2):
        assert np.linalg.norm(b + x * a) >= lengths[1] - 1e-9
        assert np.linalg.norm(c + x * a + y * b) >= lengths[2] - 1e-9


def test_skewed_input_cell():
    structure = build("mP")
    structure.make_supercell([[1, 0, 0], [7, 1, 0], [-5, 9, 1]])
    assert standardise(structure, SYMPREC)["space_group"] == 14


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(BRAVAIS)),
    scaling=st.tuples(*[st.integers(1, 2)] * 3),
    shear=st.integers(-1, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_labels_do_not_depend_on_the_cell(name, scaling, shear, seed):
    structure = build(name)
    expected = standardise(structure, SYMPREC)
    rng = np.random.default_rng(seed)
    structure.make_supercell(np.diag(scaling) + shear * np.eye(3, k=1, dtype=int))
    lattice = structure.lattice.matrix @ Rotation.random(random_state=seed).as_matrix()
    order = rng.permutation(len(structure))
    numbers = np.array(structure.atomic_numbers)[order]
    # An origin of its own: everything shifted by the same vector.
    frac = structure.frac_coords[order] + rng.uniform(size=3)
    row = standardise(Structure(Lattice(lattice), numbers, frac), SYMPREC)
    for key in ("formula", "crystal_system", "space_group", "laue_group", "n_sites"):
        assert row[key] == expected[key]
    for key in ("a", "b", "c", "alpha", "beta", "gamma", "volume"):
        assert row[key] == pytest.approx(expected[key], rel=1e-4)


def handedness(structure):
    """Sign of the volume that the three different neighbours of silicon span with it."""
    centre = next(site for site in structure if site.specie.symbol == "Si")
    near = {n.specie.symbol: n.coords - centre.coords for n in structure.get_neighbors(centre, 1.4)}
    return np.sign(np.linalg.det([near[symbol] for symbol in "CNO"]))


@pytest.mark.parametrize(
    ("number", "lattice"),
    [
        (1, Lattice.from_parameters(10, 8.5, 7, 100, 105, 95)),
        (3, Lattice.monoclinic(7, 8.5, 10, 100)),
        (4, Lattice.monoclinic(10, 8.5, 7, 80)),
        (5, Lattice.monoclinic(9, 8, 11, 93)),
        (19, Lattice.orthorhombic(10, 7, 8.5)),
        (20, Lattice.orthorhombic(8.5, 10, 7)),
        (76, Lattice.tetragonal(9, 12)),
        (145, Lattice.hexagonal(9, 16)),
        (155, Lattice.hexagonal(9, 16)),
        (169, Lattice.hexagonal(9, 16)),
        (198, Lattice.cubic(40)),
    ],
)
@pytest.mark.parametrize("hand", [1, -1])
def test_chiral_crystals_keep_their_hand(number, lattice, hand):
    offsets = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.2, 0], [0, 0, 1.3 * hand]])
    sites = [0.21, 0.17, 0.13] + offsets @ np.linalg.inv(lattice.matrix)
    structure = Structure.from_spacegroup(number, lattice, ["Si", "C", "N", "O"], sites)
    assert handedness(structure) == hand
    row = standardise(structure, SYMPREC)
    assert row["space_group"] == number
    assert handedness(primitive_of(row)) == hand


def test_prototype_does_not_hang_on_cell_origin_or_elements():
    """Perovskites, of whose A and B sites either may be called 1a; and wurtzite, another thing."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    first = Structure(Lattice.cubic(3.9), ["Sr", "Ti", "O", "O", "O"], sites)
    moved = Structure(Lattice.cubic(4.1), ["Ba", "Zr", "S", "S", "S"], np.array(sites) + 0.5)
    moved.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    expected = "ABC3_221_1:m-3m_1:m-3m_3:4/mm.m"
    assert standardise(first, 0.1)["prototype"] == expected
    assert standardise(moved, 0.1)["prototype"] == expected
    wurtzite = Structure.from_spacegroup(
        "P6_3mc",
        Lattice.hexagonal(3.82, 6.26),
        ["Zn", "S"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]],
    )
    assert standardise(wurtzite, 0.1)["prototype"] == "AB_186_2:3m._2:3m."


def test_small_distortions_are_symmetrised():
    structure = build("cP")
    structure.translate_sites([1], [0.004, 0.002, 0.0])
    row = standardise(structure, SYMPREC)
    assert row["space_group"] == 221
    assert SpacegroupAnalyzer(primitive_of(row), 1e-6).get_space_group_number() == 221


def test_oxidation_states_and_properties_play_no_part():
    structure = build("cP")
    structure.add_site_property("magmom", [1.0, -1.0])
    structure.replace_species({"Cs": Species("Cs", 1), "Cl": Species("Cl", -1)})
    assert standardise(structure, SYMPREC) == standardise(build("cP"), SYMPREC)


def cubic(species=("Na", "Cl"), coords=((0, 0, 0), (0.5, 0.5, 0.5)), a=4.0):
    return Structure(Lattice.cubic(a), species, coords)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (cubic(species=[{"Na": 0.5, "K": 0.5}, "Cl"]), "partial occupancy"),
        (cubic(species=[{"Na": 0.9}, "Cl"]), "partial occupancy"),
        (cubic(species=["Na", "X"]), "unknown element"),
        (cubic(species=["Na", "Rf"]), "atomic number 104"),
        (cubic(coords=[(0, 0, 0), (0.01, 0, 0)]), "closer than 0.7"),
        (cubic(coords=[(0, 0, 0), (0.995, 0, 0)]), "closer than 0.7"),
        (cubic(coords=[(0, 0, 0), (np.nan, 0, 0)]), "not finite"),
        (cubic(a=0.5), "cell volume"),
        (Structure(Lattice.cubic(4), [], []), "no sites"),
        (Structure(Lattice([[3, 0, 0], [6, 0, 0], [0, 0, 3]]), ["Na"], [(0, 0, 0)]), "cell volume"),
    ],
)
def test_unusable_crystals_say_why(structure, reason):
    with pytest.raises(UnusableCrystalError, match=reason) as caught:
        standardise(structure, SYMPREC)
    assert "\n" not in str(caught.value)


def test_no_symmetry_found():
    with pytest.raises(UnusableCrystalError, match="no symmetry found"):
        standardise(build("oP"), symprec=5.0)

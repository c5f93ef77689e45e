"""CIFs are read as what they say of themselves, or left out with the reason; never as another."""

from __future__ import annotations

import random

import gemmi
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from ediff_utils.crystals.files import Candidate, label_candidate


def write(path, cell, sites, *lines, columns=("label", "fract_x", "fract_y", "fract_z")):
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    text = ["data_own", *(f"_cell_{n} {v}" for n, v in zip(names, cell, strict=True)), *lines]
    text += ["loop_", *(f"_atom_site_{name}" for name in columns), *sites, ""]
    path.write_text("\n".join(text))
    return path


def label(path):
    return label_candidate(Candidate("own", "file", path), 0.1, 2000.0)


CUBE = (4.2, 4.2, 4.2, 90, 90, 90)
MAGNESIA = ["Mg 0 0 0", "O 0.5 0.5 0.5"]
FACES = "_symmetry_space_group_name_H-M 'F m -3 m'"


class TestSites:
    def test_dummies_and_empty_sites_are_no_atoms(self, tmp_path):
        columns = (
            "label",
            "type_symbol",
            "fract_x",
            "fract_y",
            "fract_z",
            "occupancy",
            "calc_flag",
        )
        sites = ["Mg1 Mg2+ 0 0 0 1 d", "O1 O2- .5 .5 .5 1.0 d", "Cg1 C .25 .25 .25 1 dum"]
        sites.append("X1 Na .1 .1 .1 0 d")
        row = label(write(tmp_path / "a.cif", CUBE, sites, FACES, columns=columns))
        assert (row["formula"], row["space_group"], row["n_sites"]) == ("MgO", 225, 2)

    @pytest.mark.parametrize(
        ("name", "formula", "element"),
        [
            ("CO1", "C O", "C"),
            ("CO1", "Co O", "Co"),
            ("OH", "H O", "O"),
            ("NA1", "Na O", "Na"),
            ("D1", "D O", "H"),
            ("Fe3+", "Fe O", "Fe"),
            ("OW", "O W", "O"),
            ("W", "O W", "W"),
        ],
    )
    def test_elements_of_labels(self, name, formula, element):
        from ediff_utils.crystals.cif import _find_composition, _find_element

        block = gemmi.cif.read_string(f"data_x\n_chemical_formula_sum '{formula}'\n")[0]
        assert _find_element(name, _find_composition(block)) == element

    @pytest.mark.parametrize(
        ("sites", "lines", "reason"),
        [
            (["Q 0 0 0"], (), "site Q: no element"),
            (["Mg ? 0 0"], (), "site Mg: no position"),
            (["Mg 0 0 0", "O 0.02 0 0"], (), "two atoms closer than 0.7"),
            (["Mg 0 0 0", "O 0.5 0.5 0.47"], (), "two atoms closer than 0.7"),
            (MAGNESIA, ("_chemical_formula_sum 'Mg O2'",), "formula says Mg1 O2, sites give MgO"),
            (["O 0 0 0"], ("_chemical_formula_sum 'H2 O'",), "hydrogens without positions"),
            (MAGNESIA, ("_chemical_formula_sum 'Mg O'", "_cell_formula_units_Z 2"), "sites give 4"),
        ],
    )
    def test_what_does_not_agree_is_left_out(self, tmp_path, sites, lines, reason):
        found = label(write(tmp_path / "a.cif", CUBE, sites, FACES, *lines))
        assert isinstance(found, str)
        assert reason in found
        assert "\n" not in found

    @pytest.mark.parametrize("digits", [3, 4])
    @pytest.mark.parametrize("number", [187, 194, 216, 221, 227, 229])
    def test_rounded_places_are_put_on_their_special_positions(self, tmp_path, number, digits):
        rng = np.random.default_rng(number)
        lattice = Lattice.hexagonal(9.7, 11.3) if number < 195 else Lattice.cubic(10.9)
        place = [1 / 3, 2 / 3, 1 / 4] if number < 195 else [0, 0, 0]
        whole = Structure.from_spacegroup(number, lattice, ["Fe"], [place])
        (x, y, z) = np.array(place) + rng.uniform(-0.45, 0.45, 3) * 10.0**-digits
        symbol = gemmi.find_spacegroup_by_number(number).xhm()
        lines = (f"_symmetry_space_group_name_H-M '{symbol}'",)
        sites = [f"Fe {x:.6f} {y:.6f} {z:.6f}"]
        row = label(write(tmp_path / "a.cif", lattice.parameters, sites, *lines))
        assert row["space_group"] >= number
        assert row["volume"] / row["n_sites"] == pytest.approx(whole.volume / len(whole))


class TestSymmetry:
    @pytest.mark.parametrize("ext", ["", ":1", ":2", " S", " Z"])
    def test_origin_choices(self, tmp_path, ext):
        """Spinel by either choice; without one, the formula decides."""
        second = ext in ("", ":2", " Z")
        sites = [
            "Mg 0.125 0.125 0.125" if second else "Mg 0 0 0",
            "Al 0.5 0.5 0.5" if second else "Al 0.625 0.625 0.625",
            "O 0.2624 0.2624 0.2624" if second else "O 0.3874 0.3874 0.3874",
        ]
        lines = (
            f"_symmetry_space_group_name_H-M 'F d -3 m{ext}'",
            "_chemical_formula_sum 'Al2 Mg O4'",
        )
        row = label(write(tmp_path / "a.cif", (8.08,) * 3 + (90,) * 3, sites, *lines))
        assert (row["formula"], row["space_group"], row["n_sites"]) == ("MgAl2O4", 227, 14)

    @pytest.mark.parametrize(
        "lines",
        [
            ("_symmetry_space_group_name_H-M 'P b n m :cab'", "_symmetry_Int_Tables_number 62"),
            ("_space_group_name_H-M_alt 'P b n m'",),
            ("_space_group_name_Hall '-P 2c 2ab'",),
            (
                "loop_",
                "_symmetry_equiv_pos_as_xyz",
                *(
                    f"'{op.triplet()}'"
                    for op in gemmi.find_spacegroup_by_name("P b n m").operations()
                ),
            ),
        ],
    )
    def test_settings(self, tmp_path, lines):
        sites = ["Ca 0.993 0.036 0.25", "Ti 0 0.5 0", "O1 0.071 0.484 0.25", "O2 0.711 0.289 0.037"]
        cell = (5.38, 5.44, 7.64, 90, 90, 90)
        row = label(
            write(tmp_path / "a.cif", cell, sites, "_chemical_formula_sum 'Ca O3 Ti'", *lines)
        )
        assert (row["formula"], row["space_group"], row["n_sites"]) == ("CaTiO3", 62, 20)

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (("_symmetry_space_group_name_H-M 'F m x'",), "symbol 'F m x'"),
            ((FACES, "_symmetry_Int_Tables_number 221"), "number 221"),
            ((FACES, "loop_", "_symmetry_equiv_pos_as_xyz", "'x,y,z'"), "1 operations, 192 of"),
            ((), "none is given"),
            (("_symmetry_Int_Tables_number 400",), ""),
            (("loop_", "_symmetry_equiv_pos_as_xyz", "'x,y,q'"), "not read as a CIF"),
        ],
    )
    def test_what_is_not_understood_is_left_out(self, tmp_path, lines, reason):
        found = label(write(tmp_path / "a.cif", CUBE, MAGNESIA, *lines))
        assert isinstance(found, str)
        assert reason in found
        assert "\n" not in found

    @pytest.mark.parametrize("number", range(1, 231, 7))
    def test_every_group_by_symbol_operations_and_number(self, tmp_path, number):
        """All three give the same crystal, of a general position."""
        group = gemmi.find_spacegroup_by_number(number)
        cell = (21.0, 21, 23, 90, 90, 120) if 143 <= number < 195 else (21.0,) * 3 + (90,) * 3
        ops = [f"'{op.triplet()}'" for op in group.operations()]
        ways = (
            (f"_space_group_name_H-M_alt '{group.xhm()}'",),
            (f"_space_group_IT_number {number}",),
            ("loop_", "_space_group_symop_operation_xyz", *ops),
        )
        rows = [label(write(tmp_path / "a.cif", cell, ["Fe 0.07 0.19 0.31"], *way)) for way in ways]
        assert all(isinstance(row, str) for row in rows) or not any(
            isinstance(r, str) for r in rows
        )
        if not isinstance(rows[0], str):
            atoms = {round(row["n_sites"] / row["volume"], 9) for row in rows}
            volume = gemmi.UnitCell(*cell).volume
            assert atoms == {round(len(ops) / volume, 9)}
            assert len({row["space_group"] for row in rows}) == 1


def test_blocks_without_sites_are_passed_over(tmp_path):
    path = write(tmp_path / "a.cif", CUBE, MAGNESIA, FACES)
    path.write_text("data_global\n_publ_section_title 'own'\n\n" + path.read_text())
    assert label(path)["n_sites"] == 2


def test_whatever_happens_to_a_file_there_is_a_reason(tmp_path):
    """Cut short, bytes changed, lines lost: the same crystal, or one line that says why not."""
    sites = ["Ti1 Ti 0 0 0", "O1 O 0.305 0.305 0"]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
    lines = ("_symmetry_space_group_name_H-M 'P 42/m n m'", "_chemical_formula_sum 'O2 Ti'")
    path = write(tmp_path / "a.cif", (4.59, 4.59, 2.96, 90, 90, 90), sites, *lines, columns=columns)
    good = path.read_bytes()
    rng = random.Random(0)
    reasons = set()
    for _ in range(400):
        kind, data = rng.randrange(3), bytearray(good)
        if kind == 0:
            data = data[: rng.randrange(len(data))]
        elif kind == 1:
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            rows = data.splitlines(keepends=True)
            del rows[rng.randrange(len(rows))]
            data = bytearray().join(rows)
        path.write_bytes(bytes(data))
        found = label(path)
        if isinstance(found, str):
            assert found
            assert "\n" not in found
            reasons.add(found.split(":")[0])
        else:
            assert set(found["numbers"]) <= {8, 22} or found["formula"]
    assert len(reasons) > 5

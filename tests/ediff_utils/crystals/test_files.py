"""Crystals from CIFs and from Parquet tables, and what is wrong with some of them."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Species, Structure

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals import files
from ediff_utils.crystals.sources import load_crystals

SALT = Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
ZINC = Structure.from_spacegroup(194, Lattice.hexagonal(2.66, 4.95), ["Zn"], [[1 / 3, 2 / 3, 0.25]])
RUTILE = Structure.from_spacegroup(
    136, Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
DISORDERED = Structure(Lattice.cubic(3.7), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


def load(path, **values):
    return load_crystals(CrystalSettings(crystals=str(path), **values), progress=False)


def as_row(name, structure):
    return {
        "material_id": name,
        "formula": structure.composition.reduced_formula,
        "lattice": structure.lattice.matrix.ravel().tolist(),
        "numbers": list(structure.atomic_numbers),
        "frac_coords": structure.frac_coords.ravel().tolist(),
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "more" / "deep").mkdir(parents=True)
    SALT.to(str(tmp_path / "salt.cif"))
    ZINC.to(str(tmp_path / "more" / "zinc.cif"))
    RUTILE.to(str(tmp_path / "more" / "deep" / "rutile.cif"))
    (tmp_path / "notes.txt").write_text("not a crystal")
    return tmp_path


@pytest.fixture
def write_table(tmp_path):
    def write(rows, **columns):
        path = tmp_path / "crystals.parquet"
        pd.DataFrame(rows).assign(**columns).to_parquet(path)
        return path

    return write


def many(n):
    """Cubic crystals of n sizes."""
    return [
        as_row(
            f"m-{i:03d}", Structure(Lattice.cubic(3 + 0.01 * i), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
        )
        for i in range(n)
    ]


def test_folder(folder):
    crystals = load(folder)
    assert list(crystals.table["material_id"]) == ["rutile", "zinc", "salt"]
    assert list(crystals.table["space_group"]) == [136, 194, 225]
    assert set(crystals.table["source"]) == {"file"}
    names = ["AB2_136_2:m.mm_4:m.2m", "A_194_2:-6m2", "AB_225_4:m-3m_4:m-3m"]
    assert list(crystals.table["prototype"]) == names
    assert crystals.skipped.empty
    assert list(crystals.skipped.columns) == ["material_id", "reason"]


def test_one_cif(folder):
    table = load(folder / "salt.cif").table
    assert list(table["material_id"]) == ["salt"]
    assert table.loc[0, "a"] == pytest.approx(5.64)
    assert table.loc[0, "n_sites"] == 2


def test_oxidation_states_in_a_cif(tmp_path):
    salt = SALT.copy()
    salt.replace_species({"Na": Species("Na", 1), "Cl": Species("Cl", -1)})
    salt.to(str(tmp_path / "salt.cif"))
    assert load(tmp_path).table.loc[0, "space_group"] == 225


def test_same_stem_in_two_folders(folder):
    ZINC.to(str(folder / "more" / "deep" / "salt.cif"))
    (folder / "more" / "zinc.cif").rename(folder / "more" / "zinc.CIF")
    ZINC.to(str(folder / "more" / "zinc.cif"))
    names = list(load(folder).table["material_id"])
    assert sorted(names) == ["more/deep/salt", "more/zinc.CIF", "more/zinc.cif", "rutile", "salt"]


@pytest.mark.parametrize("content", ["", "hello", "data_x\n_cell_length_a 4\n", "\x00\xff\x00"])
def test_bad_cif_is_skipped(folder, content):
    (folder / "bad.cif").write_text(content)
    crystals = load(folder)
    assert len(crystals.table) == 3
    assert list(crystals.skipped["material_id"]) == ["bad"]
    assert crystals.skipped.loc[0, "reason"].startswith("not read as a CIF")
    assert "\n" not in crystals.skipped.loc[0, "reason"]


def test_disordered_cif_is_skipped(folder):
    DISORDERED.to(str(folder / "alloy.cif"))
    skipped = load(folder).skipped
    assert list(skipped["material_id"]) == ["alloy"]
    assert skipped.loc[0, "reason"] == "partial occupancy"


def test_several_structures_in_a_cif_are_skipped(folder):
    both = (folder / "salt.cif").read_text() + (folder / "more" / "zinc.cif").read_text()
    (folder / "both.cif").write_text(both)
    skipped = load(folder).skipped
    assert list(skipped["reason"]) == ["2 structures in one CIF, expected one"]


def test_table(write_table):
    path = write_table([as_row("s", SALT), as_row("z", ZINC), as_row("r", RUTILE)])
    table = load(path).table
    assert list(table["material_id"]) == ["s", "z", "r"]
    assert list(table["crystal_system"]) == ["cubic", "hexagonal", "tetragonal"]


def test_table_without_formula(write_table):
    row = as_row("s", SALT)
    del row["formula"]
    assert load(write_table([row])).table.loc[0, "formula"] == "NaCl"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lattice": [1.0] * 8}, "lattice: expected 9 numbers, got 8"),
        ({"lattice": [np.nan] * 9}, "not finite"),
        ({"lattice": None}, "expected 9 numbers"),
        ({"lattice": [1.0] * 9}, "cell volume"),
        ({"numbers": []}, "no sites"),
        ({"numbers": [0] * 8}, "atomic number 0, expected 1 to 103"),
        ({"numbers": [104] * 8}, "atomic number 104"),
        ({"numbers": [11] * 7}, "frac_coords: expected 21 numbers for 7 sites, got 24"),
        ({"frac_coords": [0.0] * 24}, "two atoms closer than 0.7"),
        ({"frac_coords": None}, "frac_coords"),
        ({"material_id": "good"}, "material_id repeated"),
        ({"material_id": None}, "material_id missing"),
    ],
)
def test_unusable_rows_are_listed(write_table, changes, reason):
    crystals = load(write_table([as_row("good", ZINC), as_row("bad", SALT) | changes]))
    assert list(crystals.table["material_id"]) == ["good"]
    assert len(crystals.skipped) == 1
    assert reason in crystals.skipped.loc[0, "reason"]


def test_volume_filter(write_table):
    crystals = load(write_table([as_row("s", SALT), as_row("z", ZINC)]), max_volume=40)
    assert list(crystals.table["material_id"]) == ["z"]
    assert crystals.skipped.loc[0, "reason"] == "primitive volume 45 above 40 cubic angstrom"


def test_sample(write_table):
    path = write_table(many(60))
    whole = list(load(path).table["material_id"])
    first, again, other = (
        list(load(path, max_crystals=20, seed=s).table["material_id"]) for s in (1, 1, 2)
    )
    assert len(whole) == 60
    assert len(first) == len(set(first)) == len(other) == 20
    assert first == again != other
    # the order stays that of the table
    assert first == [name for name in whole if name in first] != whole[:20]


def test_sample_is_filled_up(write_table):
    """Crystals that cannot be used do not count."""
    rows = many(30)
    for row in rows[::2]:
        row["numbers"] = [0, 0]
    crystals = load(write_table(rows), max_crystals=12)
    assert len(crystals.table) == 12
    assert len(load(write_table(rows), max_crystals=20).table) == 15
    assert len(load(write_table(rows), max_crystals=20).skipped) == 15


def test_worker_processes_give_the_same(write_table, monkeypatch):
    path = write_table(
        [*many(6), as_row("bad", DISORDERED.copy().replace(0, "Cu")) | {"numbers": [0]}]
    )
    alone = load(path)
    monkeypatch.setattr(files, "_PARALLEL_FROM", 3)
    together = load(path)
    pd.testing.assert_frame_equal(alone.table, together.table)
    pd.testing.assert_frame_equal(alone.skipped, together.skipped)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "nowhere: no such file or folder; expected a folder of CIFs"),
        (lambda p: p / "nowhere.parquet", r"nowhere\.parquet: no such file or folder"),
        (lambda p: p, "expected a folder with CIFs"),
    ],
)
def test_nothing_there(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        load(make(tmp_path))


@pytest.mark.parametrize("column", files.TABLE_COLUMNS)
def test_table_without_a_column(write_table, column):
    row = as_row("s", SALT)
    del row[column]
    with pytest.raises(UserError, match=rf"crystals\.parquet: column {column} missing; expected"):
        load(write_table([row]))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PAR1" + bytes(100)])
def test_not_a_table(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.parquet: not a Parquet table") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_truncated_table(write_table):
    path = write_table(many(5))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"crystals\.parquet: not a Parquet table"):
        load(path)


def test_nothing_usable(tmp_path):
    DISORDERED.to(str(tmp_path / "alloy.cif"))
    with pytest.raises(UserError, match="none of 1 crystals can be used; alloy: partial occupancy"):
        load(tmp_path)


def test_empty_table(write_table):
    path = write_table([as_row("s", SALT)])
    pd.read_parquet(path)[:0].to_parquet(path)
    with pytest.raises(UserError, match="none of 0 crystals can be used"):
        load(path)

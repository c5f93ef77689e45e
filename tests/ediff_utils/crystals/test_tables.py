"""The crystals' table as a file."""

import json

import numpy as np
import pandas as pd
import pytest

from ediff_utils.core import paths
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.symmetry import build_structure, standardise
from ediff_utils.crystals.tables import COLUMNS, CrystalSet, read_crystals, write_crystals


@pytest.fixture
def crystal_set():
    rows = []
    for name, numbers in {"rock": [11, 17], "metal": [26]}.items():
        frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])[: len(numbers)]
        row = standardise(build_structure(4.1 * np.eye(3), numbers, frac), 0.1)
        rows.append({"material_id": name, "source": "file", "prototype": name, **row})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return CrystalSet(table, pd.DataFrame([("x", "no sites")], columns=["material_id", "reason"]))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    return paths.Run("test")


def test_round_trip(crystal_set, run):
    write_crystals(crystal_set, run)
    table = read_crystals(run.crystals)
    assert tuple(table.columns) == COLUMNS
    for before, after in zip(
        crystal_set.table.to_dict("records"), table.to_dict("records"), strict=True
    ):
        for name in COLUMNS:
            assert np.array_equal(before[name], after[name])
        crystal = Crystal.from_row(after)
        assert crystal.volume == pytest.approx(after["volume"])
    assert json.loads(run.skipped.read_text()) == {
        "count": 1,
        "crystals": [{"material_id": "x", "reason": "no sites"}],
    }
    assert {p.name for p in run.data.iterdir()} == {"crystals.parquet", "skipped.json"}


def test_missing_file(run):
    with pytest.raises(UserError, match=r"crystals\.parquet: not there"):
        read_crystals(run.crystals)


@pytest.mark.parametrize("content", [b"", b"material_id,lattice\n", b"PAR1 and nothing else PAR1"])
def test_not_parquet(tmp_path, content):
    path = tmp_path / "crystals.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"crystals\.parquet: not a Parquet table"):
        read_crystals(path)


def test_truncated(crystal_set, run):
    write_crystals(crystal_set, run)
    run.crystals.write_bytes(run.crystals.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"crystals\.parquet: not a Parquet table"):
        read_crystals(run.crystals)


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column(crystal_set, tmp_path, column):
    path = tmp_path / "t.parquet"
    crystal_set.table.drop(columns=column).to_parquet(path)
    with pytest.raises(UserError, match=rf"t\.parquet: column {column} missing"):
        read_crystals(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("lattice", [1.0] * 8, "lattice: expected 9 numbers"),
        ("conventional_lattice", [1.0] * 10, "conventional_lattice: expected 9 numbers"),
        ("lattice", [np.nan] * 9, "lattice: expected finite"),
        ("lattice", None, "lattice: a value is missing"),
        ("frac_coords", [0.0] * 4, "frac_coords: expected 3 n_sites"),
        ("numbers", [1, 2, 3], "numbers: expected n_sites"),
        ("numbers", [0], "numbers: expected 1 to 103"),
        ("volume", np.nan, "volume: a value is missing"),
        ("volume", np.inf, "volume: expected finite"),
        ("a", -1.0, "a: expected numbers above 0"),
        ("space_group", 231, "space_group: expected 1 to 230"),
        ("crystal_system", "round", "crystal_system: expected one of cubic"),
        ("material_id", "rock", "material_id: expected each name once"),
        ("formula", None, "formula: a value is missing"),
    ],
)
def test_bad_values(crystal_set, tmp_path, column, value, message):
    path = tmp_path / "t.parquet"
    table = crystal_set.table
    values = table[column].to_list()
    table[column] = pd.Series([values[0], value])
    table.to_parquet(path)
    with pytest.raises(UserError, match=message) as caught:
        read_crystals(path)
    assert "\n" not in str(caught.value)
    assert "t.parquet: column " in str(caught.value)


@pytest.mark.parametrize("column", ["formula", "lattice", "volume"])
def test_wrong_type(crystal_set, tmp_path, column):
    path = tmp_path / "t.parquet"
    crystal_set.table[column] = {"formula": [1, 2], "lattice": [1.0, 2.0]}.get(column, ["a", "b"])
    crystal_set.table.to_parquet(path)
    with pytest.raises(UserError, match=rf"column {column}: expected"):
        read_crystals(path)


def test_empty_table(crystal_set, tmp_path):
    path = tmp_path / "t.parquet"
    crystal_set.table[:0].to_parquet(path)
    with pytest.raises(UserError, match="no crystals in it"):
        read_crystals(path)


def test_unwritable_file(crystal_set, run):
    run.crystals.mkdir(parents=True)
    with pytest.raises(UserError, match=r"crystals\.parquet: cannot be written"):
        write_crystals(crystal_set, run)

"""Tables that cells are looked up in: what is left out is counted and said, never a traceback."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from ediff_solve.lattice import niggli_cell
from ediff_solve.predictor.known import LEFT_OUT, match_known, read_known
from ediff_utils.core.errors import UserError

RUTILE = Structure.from_spacegroup(
    136, Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
CELL = niggli_cell(RUTILE.lattice.matrix)


def as_row(name="rutile", **changes):
    return {
        "material_id": name,
        "lattice": RUTILE.lattice.matrix.ravel().tolist(),
        "numbers": list(RUTILE.atomic_numbers),
        "frac_coords": RUTILE.frac_coords.ravel().tolist(),
    } | changes


def write(path, rows):
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_nested_lattices(tmp_path):
    nested = {
        "lattice": RUTILE.lattice.matrix.tolist(),
        "frac_coords": RUTILE.frac_coords.tolist(),
    }
    known = read_known(write(tmp_path / "a.parquet", [as_row(**nested)]))
    found = match_known(CELL, known, ["Ti", "O"])
    assert found["material_id"].tolist() == ["rutile"]
    assert LEFT_OUT not in found.attrs


@pytest.mark.parametrize("elements", [["Na", "Cl"], ["Si"]])
def test_nothing_left_over(tmp_path, elements):
    assert match_known(CELL, read_known(write(tmp_path / "a.parquet", [as_row()])), elements).empty


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lattice": None}, "gap: lattice: expected nine numbers"),
        ({"lattice": [1.0] * 9}, "gap: lattice: expected nine numbers"),
        ({"lattice": [1.0, 2.0]}, "gap: lattice: expected nine numbers"),
        ({"lattice": [np.nan] * 9}, "gap: lattice: expected nine numbers"),
        ({"numbers": None}, "gap: no sites"),
        ({"numbers": [22, 22, 8, 8, 8, 400]}, "gap: atomic number 400"),
        ({"frac_coords": [0.0] * 5}, "gap: frac_coords: expected 18 numbers"),
        ({"frac_coords": None}, "gap: frac_coords: expected 18 numbers"),
    ],
)
def test_a_bad_row_is_passed_over_and_counted(tmp_path, changes, reason):
    known = read_known(write(tmp_path / "a.parquet", [as_row(), as_row("gap", **changes)]))
    found = match_known(CELL, known)
    assert found["material_id"].tolist() == ["rutile"]
    assert found.attrs[LEFT_OUT].startswith("1 of 2 could not be used: ")
    assert reason in found.attrs[LEFT_OUT]


def test_no_row_that_can_be_used(tmp_path):
    path = write(tmp_path / "a.parquet", [as_row("gap", lattice=[1.0])])
    with pytest.raises(UserError, match=r"a\.parquet: no crystal that can be used: gap: lattice"):
        read_known(path)


def test_a_folder_counts_what_it_lacks(tmp_path):
    RUTILE.to(str(tmp_path / "rutile.cif"))
    doped = RUTILE.copy()
    doped.replace(0, {"Ti": 0.5, "V": 0.5})
    doped.to(str(tmp_path / "doped.cif"))
    found = match_known(CELL, read_known(tmp_path))
    assert found["material_id"].tolist() == ["rutile"]
    assert found.attrs[LEFT_OUT] == "1 of 2 could not be used: doped: partial occupancy"


_CELLS = st.one_of(
    st.none(),
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=12),
    st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=2, max_size=4),
)


@given(lattice=_CELLS, places=_CELLS, numbers=st.one_of(st.none(), st.lists(st.integers(-9, 400))))
def test_whatever_stands_in_a_row(tmp_path_factory, lattice, places, numbers):
    odd = as_row("odd", lattice=lattice, frac_coords=places, numbers=numbers)
    table = pd.DataFrame([as_row(), odd])
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    try:
        table.to_parquet(path)
    except Exception:  # a table that Parquet itself refuses
        return
    found = match_known(CELL, read_known(path), ["Ti", "O"])
    assert found["material_id"].tolist()[0] == "rutile"

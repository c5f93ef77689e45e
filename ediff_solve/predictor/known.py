"""Known crystals whose cell is the one that was solved, and whose elements are those present."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ediff_solve.lattice import niggli_cell, same_lattice
from ediff_solve.predictor.answering import Answer
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_schema, read_table
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import CrystalSettings

if TYPE_CHECKING:
    from ediff_utils.crystals.files import Candidate

#: Lengths within this part, angles within this [radian], are the same cell.
TOLERANCE = 0.03
#: A primitive cell is so many times smaller than the conventional one at most: F has four.
CENTRED = 4
_NEEDED = ("material_id", "formula", "lattice")
_SHOWN = ("material_id", "formula", "lattice", "space_group", "space_group_symbol")
_ELEMENT = re.compile(r"[A-Z][a-z]?")


def read_known(path: Path) -> pd.DataFrame:
    """Read crystals to look a cell up in.

    Parameters
    ----------
    path : Path
        A run's ``crystals.parquet``; a Parquet table with the columns
        :data:`ediff_utils.crystals.files.TABLE_COLUMNS`, whatever its cells, or with
        ``material_id``, ``formula`` and ``lattice`` of a primitive cell; a CIF; a folder of CIFs.

    Returns
    -------
    DataFrame
        ``material_id, formula, lattice`` (the nine entries of the primitive vectors as rows
        [angstrom]), ``space_group`` and ``space_group_symbol`` where there; of tables that no run
        wrote the columns of the file, of which :func:`match_known` standardises what it needs.

    Raises
    ------
    UserError
        No such file or folder, no crystal in it that can be used, or a column that it lacks.
    """
    # pymatgen's parsers take a while, which only those who look cells up should wait for.
    from ediff_utils.crystals.files import TABLE_COLUMNS, find_candidates

    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".cif":
        return _standardise(find_candidates(path), path)
    what = "a Parquet table of crystals, a CIF or a folder of CIFs"
    names = read_schema(path, what=what).names
    raw = all(name in names for name in TABLE_COLUMNS)
    if raw and "prototype" not in names:
        wanted: tuple[str, ...] = TABLE_COLUMNS
    else:
        wanted = (*_NEEDED, *(name for name in _SHOWN if name in names and name not in _NEEDED))
    return read_table(path, wanted, others=False, what=what).to_pandas()


def _standardise(candidates: list[Candidate], path: Path | None = None) -> pd.DataFrame:
    """Those that can be used, with primitive cells; without a path there may be none."""
    from ediff_utils.crystals.files import label_candidate

    symprec = CrystalSettings().symprec
    rows = [label_candidate(one, symprec, np.inf) for one in candidates]
    found = [row for row in rows if not isinstance(row, str)]
    if path is not None and not found:
        raise UserError(f"{path}: no crystal that can be used: {rows[0]}")
    return pd.DataFrame(found, columns=list(_SHOWN))


def find_known(crystals: str, run: Run) -> pd.DataFrame | None:
    """The table that a solved cell is looked up in; None where the run has no crystals.

    ``crystals`` is a file or folder (:func:`read_known`); anything else stands for the run's.
    """
    if Path(crystals).exists():
        return read_known(Path(crystals))
    return read_known(run.crystals) if run.crystals.exists() else None


def look_up(
    answer: Answer, crystals: pd.DataFrame | None, elements: Collection[str] = ()
) -> pd.DataFrame:
    """Known crystals with the cell of an answer, of those of :func:`find_known`.

    See :func:`match_known`; empty where there is no cell, or no table.
    """
    if crystals is None or answer.lattice is None:
        return pd.DataFrame(columns=["material_id", "formula", "volume_ratio"])
    return match_known(answer.lattice.niggli, crystals, elements, answer.probabilities)


def split_elements(text: str) -> list[str]:
    """Symbols from a list such as ``Si, O``; a UserError for one that is no element's."""
    elements = [name.strip() for name in text.split(",") if name.strip()]
    check_elements(elements)
    return elements


def check_elements(elements: Collection[str]) -> None:
    """Raise a UserError that names the first of the symbols that is no element's."""
    if not elements:
        return
    # Takes a while, and only those who name elements need it.
    from pymatgen.core import Element

    for name in elements:
        if not Element.is_valid_symbol(name):
            raise UserError(f"elements: expected symbols such as Si, got '{name}'")


def match_known(
    lattice: np.ndarray,
    crystals: pd.DataFrame,
    elements: Collection[str] = (),
    probabilities: Sequence[float] | np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Crystals of a table with the cell of a solved lattice.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are vectors of a primitive cell [angstrom].
    crystals : DataFrame
        See :func:`read_known`.
    elements : collection of str, optional
        Those present: a crystal may have no others.
    probabilities : sequence of float, shape (230,), optional
        Of the space groups, by which the crystals are ranked where their space groups are known.
    tolerance : float
        See :func:`ediff_solve.lattice.same_lattice`.

    Returns
    -------
    DataFrame
        Columns of ``crystals``, ``volume_ratio`` (theirs over the solved one's) and
        ``probability`` (of the space group), likeliest first.

    Raises
    ------
    UserError
        An element that is none.
    """
    check_elements(elements)
    cell = niggli_cell(lattice)
    volume = abs(np.linalg.det(cell))
    if "formula" not in crystals:
        crystals = _standardise_near(crystals, volume, elements, tolerance)
    shapes, ratio = _volumes(crystals, volume)
    near = np.abs(ratio - 1) < 3 * tolerance
    if elements:
        allowed = set(elements)
        near &= [set(_ELEMENT.findall(f)) <= allowed for f in crystals["formula"]]
    rows = [n for n in np.flatnonzero(near) if same_lattice(shapes[n], cell, tolerance)]
    found = crystals.iloc[rows].drop(columns="lattice").assign(volume_ratio=ratio[rows])
    if probabilities is not None and "space_group" in found:
        found["probability"] = np.asarray(probabilities)[found["space_group"].to_numpy(int) - 1]
        found = found.sort_values("probability", ascending=False, kind="stable")
    return found.reset_index(drop=True)


def _volumes(crystals: pd.DataFrame, volume: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells, and their volumes over that of the solved one."""
    shapes = np.array([np.ravel(row) for row in crystals["lattice"]], float).reshape(-1, 3, 3)
    return shapes, np.abs(np.linalg.det(shapes)) / volume if len(shapes) else np.empty(0)


def _standardise_near(
    crystals: pd.DataFrame, volume: float, elements: Collection[str], tolerance: float
) -> pd.DataFrame:
    """Crystals whose primitive cell may have this volume; to standardise all takes minutes."""
    from ediff_utils.crystals.files import table_candidates

    _, ratio = _volumes(crystals, volume)
    whole = np.clip(np.round(ratio), 1, CENTRED)
    near = np.abs(ratio / whole - 1) < 3 * tolerance
    if elements:
        from pymatgen.core import Element

        allowed = {Element(name).Z for name in elements}
        near &= [set(map(int, numbers)) <= allowed for numbers in crystals["numbers"]]
    return _standardise(table_candidates(crystals[near], "file"))

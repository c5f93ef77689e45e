"""Known crystals whose cell is the one that was solved, and whose elements are those present."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ediff_solve.lattice import niggli_cell, same_lattice
from ediff_solve.predictor.answering import Answer
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_schema, read_table
from ediff_utils.core.paths import Run

if TYPE_CHECKING:
    import pandas as pd

    from ediff_utils.crystals.files import Candidate

#: Lengths within this part, angles within this [radian], are the same cell.
TOLERANCE = 0.03
#: A primitive cell is so many times smaller than the conventional one at most: F has four.
CENTRED = 4
_NEEDED = ("material_id", "formula", "lattice")
_SHOWN = ("material_id", "formula", "lattice", "space_group", "space_group_symbol")
#: Key of what a table says of crystals that are not in it.
LEFT_OUT = "left_out"
#: To look a cell up, atoms may be nearer than in a crystal that is simulated [angstrom].
_CLOSEST = 0.1
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
        What cannot be used is left out; ``attrs[LEFT_OUT]`` says how much of it there is, and why.

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
    table = read_table(path, wanted, others=False, what=what).to_pandas()
    reasons = [_look_at(*row) for row in zip(*(table[c] for c in wanted[:3]), strict=True)]
    return _keep(table, reasons, table["material_id"], path)


def _look_at(name: object, second: object, third: object) -> str:
    """Why a row of a table cannot be looked at; its lattice is the second or the third column."""
    lattice = third if isinstance(second, str) else second
    if name is None or (lattice is third and not _ELEMENT.search(str(second))):
        return "material_id or formula missing"
    from ediff_utils.crystals.symmetry import flatten

    try:
        cell = flatten(lattice)
    except (TypeError, ValueError):
        return "lattice: expected nine numbers"
    if cell.size != 9 or not np.isfinite(cell).all() or not np.linalg.det(cell.reshape(3, 3)):
        return "lattice: expected nine numbers that span a cell"
    return ""


def _keep(
    table: pd.DataFrame, reasons: Sequence[str], names: Iterable[object], path: Path | None
) -> pd.DataFrame:
    """Rows without a reason against them; a UserError where a file has none."""
    left_out = [f"{n}: {reason}" for n, reason in zip(names, reasons, strict=True) if reason]
    if path is not None and len(left_out) == len(reasons):
        first = left_out[0] if left_out else "it is empty"
        raise UserError(f"{path}: no crystal that can be used: {first}")
    kept = table[np.array([not reason for reason in reasons], bool)].reset_index(drop=True)
    if left_out:
        n = f"{len(left_out)} of {len(reasons)} could not be used"
        kept.attrs[LEFT_OUT] = f"{n}: {left_out[0]}" + (", ..." if len(left_out) > 1 else "")
    return kept


def _standardise(candidates: list[Candidate], path: Path | None = None) -> pd.DataFrame:
    """Those that can be used, with primitive cells; without a path there may be none."""
    import pandas as pd

    from ediff_utils.core.settings import CrystalSettings
    from ediff_utils.crystals.files import label_candidate

    symprec = CrystalSettings().symprec
    rows = [label_candidate(one, symprec, np.inf, _CLOSEST) for one in candidates]
    found = pd.DataFrame([r if isinstance(r, dict) else {} for r in rows], columns=list(_SHOWN))
    reasons = [row if isinstance(row, str) else "" for row in rows]
    return _keep(found, reasons, [one.material_id for one in candidates], path)


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
        import pandas as pd

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
    left_out = crystals.attrs.get(LEFT_OUT)
    if "formula" not in crystals:
        crystals = _standardise_near(crystals, volume, elements, tolerance)
        left_out = left_out or crystals.attrs.get(LEFT_OUT)
    shapes, ratio = _volumes(crystals, volume)
    near = np.abs(ratio - 1) < 3 * tolerance
    if elements:
        allowed = set(elements)
        named = [set(_ELEMENT.findall(str(f))) <= allowed for f in crystals["formula"]]
        near &= np.array(named, dtype=bool)
    rows = [n for n in np.flatnonzero(near) if same_lattice(shapes[n], cell, tolerance)]
    found = crystals.iloc[rows].drop(columns="lattice").assign(volume_ratio=ratio[rows])
    if probabilities is not None and "space_group" in found:
        found["probability"] = np.asarray(probabilities)[found["space_group"].to_numpy(int) - 1]
        found = found.sort_values("probability", ascending=False, kind="stable")
    found = found.reset_index(drop=True)
    found.attrs = {LEFT_OUT: left_out} if left_out else {}
    return found


def _volumes(crystals: pd.DataFrame, volume: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells, and their volumes over that of the solved one."""
    from ediff_utils.crystals.symmetry import flatten

    shapes = np.array([flatten(row) for row in crystals["lattice"]], float).reshape(-1, 3, 3)
    return shapes, np.abs(np.linalg.det(shapes)) / volume if len(shapes) else np.empty(0)


def _elements(numbers: object) -> set[float]:
    """Atomic numbers of a row; one that is not understood is looked at with the crystal itself."""
    try:
        return set(np.array(numbers, dtype=float).ravel().tolist())
    except (TypeError, ValueError):
        return set()


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
        near &= np.array([_elements(numbers) <= allowed for numbers in crystals["numbers"]], bool)
    return _standardise(table_candidates(crystals[near], "file"))

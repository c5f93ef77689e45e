"""Known crystals whose cell is the one that was solved, and whose elements are those present."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.errors import UserError
from ediff_utils.lattice import niggli_cell, same_lattice
from ediff_utils.paths import Run
from ediff_utils.predictor.predictor import Answer

#: Lengths within this part, angles within this [radian], are the same cell.
TOLERANCE = 0.03
_NEEDED = ("material_id", "formula", "lattice")
_ELEMENT = re.compile(r"[A-Z][a-z]?")


def read_known(path: Path) -> pd.DataFrame:
    """Read a table of crystals, such as a run's ``crystals.parquet``.

    Parameters
    ----------
    path : Path
        Parquet with ``material_id``, ``formula`` and ``lattice``, the nine entries of the primitive
        vectors as rows [angstrom]; space groups, if there, are shown.

    Returns
    -------
    DataFrame

    Raises
    ------
    UserError
        No such table, or a column that it lacks.
    """
    path = Path(path)
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        raise UserError(f"{path}: expected a Parquet table of crystals") from None
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; expected a table of crystals")
    shown = [name for name in ("space_group", "space_group_symbol") if name in schema.names]
    return pq.read_table(path, columns=[*_NEEDED, *shown]).to_pandas()


def find_known(crystals: str, run: Run) -> pd.DataFrame | None:
    """The table that a solved cell is looked up in.

    Parameters
    ----------
    crystals : str
        A Parquet file (:func:`read_known`); anything else stands for the crystals of the run.
    run : Run

    Returns
    -------
    DataFrame or None
        None where the run has no crystals.
    """
    if Path(crystals).is_file():
        return read_known(Path(crystals))
    return read_known(run.crystals) if run.crystals.exists() else None


def look_up(
    answer: Answer, crystals: pd.DataFrame | None, elements: Collection[str] = ()
) -> pd.DataFrame:
    """Known crystals with the cell of an answer.

    Parameters
    ----------
    answer : Answer
    crystals : DataFrame or None
        See :func:`find_known`.
    elements : collection of str, optional
        Those present.

    Returns
    -------
    DataFrame
        See :func:`match_known`; empty where there is no cell, or no table.
    """
    if crystals is None or answer.lattice is None:
        return pd.DataFrame(columns=["material_id", "formula", "volume_ratio"])
    return match_known(answer.lattice.niggli, crystals, elements, answer.probabilities)


def split_elements(text: str) -> list[str]:
    """Symbols from a list such as ``Si, O``.

    Raises
    ------
    UserError
        One that is no element's.
    """
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
    probabilities: Sequence[float] | None = None,
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
        See :func:`ediff_utils.lattice.same_lattice`.

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
    shapes = np.array([np.ravel(row) for row in crystals["lattice"]], float).reshape(-1, 3, 3)
    ratio = np.abs(np.linalg.det(shapes)) / volume if len(shapes) else np.empty(0)
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

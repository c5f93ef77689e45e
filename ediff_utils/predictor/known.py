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
    wrong = [name for name in elements if not _ELEMENT.fullmatch(name)]
    if wrong:
        raise UserError(f"elements: expected symbols such as Si, got '{wrong[0]}'")
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

"""The crystals' table as a file: written atomically, checked when it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.core import made_from, paths
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_table
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.crystals.symmetry import MAX_ATOMIC_NUMBER

_REALS = ("a", "b", "c", "alpha", "beta", "gamma", "volume")
_SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("formula", pa.string()),
        ("source", pa.string()),
        ("prototype", pa.string()),
        ("lattice", pa.list_(pa.float64())),
        ("numbers", pa.list_(pa.int64())),
        ("frac_coords", pa.list_(pa.float64())),
        ("conventional_lattice", pa.list_(pa.float64())),
        ("crystal_system", pa.string()),
        ("space_group", pa.int64()),
        ("space_group_symbol", pa.string()),
        ("laue_group", pa.string()),
        *((name, pa.float64()) for name in _REALS),
        ("n_sites", pa.int64()),
    ]
)
#: Columns of the crystals' table, in order.
COLUMNS = tuple(_SCHEMA.names)
_TEXT = [field.name for field in _SCHEMA if pa.types.is_string(field.type)]
_LISTS = [field.name for field in _SCHEMA if pa.types.is_list(field.type)]


@dataclass(frozen=True)
class CrystalSet:
    """Crystals ready for the simulation, and those that are left out.

    Parameters
    ----------
    table : DataFrame
        One row a crystal, columns :data:`COLUMNS`. ``lattice``, ``numbers`` and ``frac_coords``
        are the primitive cell, ``conventional_lattice`` is in the same Cartesian frame [angstrom];
        ``a`` to ``gamma`` are the conventional cell's [angstrom, degrees], ``volume`` and
        ``n_sites`` the primitive one's [cubic angstrom].
    skipped : DataFrame
        Columns ``material_id`` and ``reason``.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame


def write_crystals(
    crystal_set: CrystalSet, run: paths.Run, identity: made_from.Identity | None = None
) -> None:
    """Write ``crystals.parquet`` and ``skipped.json`` of a run, with what they were made from."""
    skipped = {
        "count": len(crystal_set.skipped),
        "crystals": crystal_set.skipped.to_dict(orient="records"),
    }
    with paths.atomic_write(run.skipped) as partial:
        partial.write_text(json.dumps(skipped, indent=1) + "\n", encoding="utf-8")
    write_table(crystal_set.table, run.crystals, identity)


def read_again(run: paths.Run) -> CrystalSet | None:
    """Read what :func:`write_crystals` wrote; None where the list of those skipped is not whole."""
    try:
        skipped = json.loads(run.skipped.read_text(encoding="utf-8"))["crystals"]
    except (OSError, ValueError, KeyError):
        return None
    columns = ["material_id", "reason"]
    return CrystalSet(read_crystals(run.crystals), pd.DataFrame(skipped, columns=columns))


def write_table(
    crystals: pd.DataFrame, path: Path, identity: made_from.Identity | None = None
) -> None:
    """Write those of :data:`COLUMNS` that a table has, with what it was made from."""
    fields = [field for field in _SCHEMA if field.name in crystals]
    columns = {field.name: crystals[field.name].to_list() for field in fields}
    for name in columns.keys() & set(_LISTS):
        columns[name] = [np.ravel(value) for value in columns[name]]
    schema = pa.schema(fields, made_from.metadata(identity))
    with paths.atomic_write(path) as partial:
        pq.write_table(pa.table(columns, schema=schema), partial)


def read_crystals(path: Path) -> pd.DataFrame:
    """Read the crystals' table of :class:`CrystalSet`, as a rule ``Run.crystals``, and check it.

    Lists come as arrays. A UserError where it is not there, is no such table, or has values that
    cannot be; the line names the column.
    """
    table = read_table(path, COLUMNS, made_by="the structures step").to_pandas()
    if table.empty:
        raise UserError(f"{path}: no crystals in it; expected one a row")
    for name in COLUMNS:
        if table[name].isna().any():
            raise UserError(f"{path}: column {name}: a value is missing")
    _check_scalars(table, path)
    _check_lists(table, path)
    return table


def _check_scalars(table: pd.DataFrame, path: Path) -> None:
    for name in (*_REALS, "space_group", "n_sites"):
        values = table[name]
        if not pd.api.types.is_numeric_dtype(values) or not np.isfinite(values).all():
            raise UserError(f"{path}: column {name}: expected finite numbers")
        if (values <= 0).any():
            raise UserError(f"{path}: column {name}: expected numbers above 0")
    for name in _TEXT:
        if not all(isinstance(value, str) for value in table[name]):
            raise UserError(f"{path}: column {name}: expected text")
    if not table["material_id"].is_unique:
        raise UserError(f"{path}: column material_id: expected each name once")
    if not table["crystal_system"].isin(ALL_SYSTEMS).all():
        raise UserError(f"{path}: column crystal_system: expected one of {', '.join(ALL_SYSTEMS)}")
    if (table["space_group"] > 230).any():
        raise UserError(f"{path}: column space_group: expected 1 to 230")


def _check_lists(table: pd.DataFrame, path: Path) -> None:
    n_sites = table["n_sites"]
    lengths = {"numbers": ("n_sites", n_sites), "frac_coords": ("3 n_sites", 3 * n_sites)}
    for name in _LISTS:
        if not all(isinstance(value, list | np.ndarray) for value in table[name]):
            raise UserError(f"{path}: column {name}: expected lists of numbers")
        expected, length = lengths.get(name, ("9", 9))
        if (table[name].map(len) != length).any():
            raise UserError(f"{path}: column {name}: expected {expected} numbers a crystal")
        values = np.concatenate(table[name].to_list())
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise UserError(f"{path}: column {name}: expected finite numbers")
    numbers = np.concatenate(table["numbers"].to_list())
    if ((numbers < 1) | (numbers > MAX_ATOMIC_NUMBER)).any():
        raise UserError(f"{path}: column numbers: expected 1 to {MAX_ATOMIC_NUMBER}")

"""Reading a dataset of patterns, as :mod:`ediff_utils.bloch.dataset.writing` writes it."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from ediff_utils.bloch.dataset.manifest import MANIFEST, read_finished
from ediff_utils.bloch.dataset.table import SCHEMA
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_schema


def part_files(folder: Path) -> list[Path]:
    """Files of a dataset, in order; a UserError where not all are there, or it is not finished."""
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        parts = [folder / shard["file"] for shard in read_finished(folder)["shards"]]
        for path in parts:
            if not path.exists():
                raise UserError(f"{path}: missing; simulate again to have it made again")
    else:
        parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise UserError(f"{folder}: no patterns there; expected part-*.parquet files")
    return parts


def read_patterns(
    folder: Path,
    columns: Sequence[str] | None = None,
    thickness: float | None = None,
    material_id: str | None = None,
) -> pa.Table:
    """Read the patterns of a dataset.

    Parameters
    ----------
    folder : Path
    columns : sequence of str, optional
        Which columns; all by default.
    thickness : float, optional
        Only patterns of this thickness [angstrom].
    material_id : str, optional
        Only patterns of this material.

    Returns
    -------
    pyarrow.Table
        See :data:`~ediff_utils.bloch.dataset.table.SCHEMA`.

    Raises
    ------
    UserError
        No patterns there, a damaged file, or none of that thickness.
    """
    where, asked = _condition(thickness, material_id)
    dataset = _open(folder)
    try:
        table = dataset.to_table(columns=columns, filter=where)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(folder, error) from None
    if table.num_rows == 0:
        raise UserError(f"{folder}: no patterns {asked} there")
    return table.combine_chunks()


def iterate_patterns(
    folder: Path,
    columns: Sequence[str] | None = None,
    thickness: float | None = None,
    rows: int = 20_000,
) -> Iterator[pa.Table]:
    """As :func:`read_patterns`, in blocks of so many ``rows``; the last one may have fewer."""
    where, asked = _condition(thickness, None)
    waiting: list[pa.RecordBatch] = []
    n_waiting, found = 0, False
    try:
        # Little is read ahead: lists of spots are large.
        for batch in _open(folder).to_batches(
            columns=columns, filter=where, batch_size=rows, batch_readahead=2, fragment_readahead=1
        ):
            waiting.append(batch)
            n_waiting += batch.num_rows
            while n_waiting >= rows:
                table = pa.Table.from_batches(waiting)
                found = True
                yield table.slice(0, rows).combine_chunks()
                waiting = table.slice(rows).to_batches()
                n_waiting -= rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(folder, error) from None
    if n_waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()
    elif not found:
        raise UserError(f"{folder}: no patterns {asked} there")


def count_patterns(folder: Path, thickness: float | None = None) -> int:
    """Number of patterns in a dataset, of one thickness [angstrom] or of all."""
    return _open(folder).count_rows(filter=_condition(thickness, None)[0])


def _condition(
    thickness: float | None, material_id: str | None
) -> tuple[pc.Expression | None, str]:
    conditions, asked = [], []
    if thickness is not None:
        conditions.append(pc.abs(pc.field("thickness") - thickness) < 1e-3)
        asked.append(f"of thickness {thickness:g} angstrom")
    if material_id is not None:
        conditions.append(pc.field("material_id") == material_id)
        asked.append(f"of material {material_id}")
    return reduce(operator.and_, conditions) if conditions else None, " ".join(asked)


def _open(folder: Path) -> pa.dataset.Dataset:
    parts = part_files(folder)
    for path in parts:
        # A part without a column would pass as rows of nothing.
        read_schema(path, SCHEMA.names, what="patterns; remove it and simulate again")
    try:
        return pa.dataset.dataset([str(p) for p in parts], format="parquet")
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: Exception) -> UserError:
    detail = str(error).split("\n")[0]
    return UserError(f"{folder}: a part cannot be read as patterns: {detail}")


def spots(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spots of many patterns as flat arrays, out of list columns.

    Gives qx, qy [1/angstrom] and intensity, each of float32 and shape (spots,), and their offsets,
    int64, shape (patterns + 1,).
    """
    flat = []
    for name in ("qx", "qy", "intensity"):
        column = table[name].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        flat.append(column.flatten().to_numpy(zero_copy_only=False))
        offsets = column.offsets.to_numpy().astype(np.int64)
    return flat[0], flat[1], flat[2], offsets - offsets[0]

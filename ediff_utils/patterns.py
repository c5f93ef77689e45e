"""Reading a dataset of patterns, as :mod:`ediff_utils.dataset` writes it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from ediff_utils.errors import UserError
from ediff_utils.manifest import MANIFEST, read_finished
from ediff_utils.pattern_table import SCHEMA


def part_files(folder: Path) -> list[Path]:
    """Files of a dataset, in order.

    Raises
    ------
    UserError
        There are none, or not all that its manifest lists, or the dataset is not finished.
    """
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
        See :data:`SCHEMA`.

    Raises
    ------
    UserError
        No patterns there, a damaged file, or none of that thickness.
    """
    conditions, asked = [], []
    if thickness is not None:
        conditions.append(pc.abs(pc.field("thickness") - thickness) < 1e-3)
        asked.append(f"of thickness {thickness:g} angstrom")
    if material_id is not None:
        conditions.append(pc.field("material_id") == material_id)
        asked.append(f"of material {material_id}")
    where = reduce(operator.and_, conditions) if conditions else None
    parts = part_files(folder)
    try:
        for path in parts:
            # A part without a column would pass as rows of nothing.
            if not set(SCHEMA.names) <= set(pq.read_schema(path).names):
                raise UserError(f"{path}: not a table of patterns; remove it and simulate again")
        dataset = pa.dataset.dataset([str(p) for p in parts], format="parquet")
        table = dataset.to_table(columns=columns, filter=where)
    except (pa.ArrowException, OSError) as error:
        detail = str(error).split("\n")[0]
        raise UserError(f"{folder}: a part cannot be read as patterns: {detail}") from None
    if table.num_rows == 0:
        raise UserError(f"{folder}: no patterns {' '.join(asked)} there")
    return table.combine_chunks()


def spots(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spots of many patterns as flat arrays.

    Parameters
    ----------
    table : pyarrow.Table
        With list columns qx, qy and intensity.

    Returns
    -------
    qx, qy, intensity : ndarray of float32, shape (spots,)
    offsets : ndarray of int64, shape (patterns + 1,)
    """
    flat = []
    for name in ("qx", "qy", "intensity"):
        column = table[name].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        flat.append(column.flatten().to_numpy(zero_copy_only=False))
        offsets = column.offsets.to_numpy().astype(np.int64)
    return flat[0], flat[1], flat[2], offsets - offsets[0]

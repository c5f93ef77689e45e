"""The patterns stage: crystals in, Parquet shards of spot patterns out.

A dataset is a folder of ``part-*.parquet`` files, one row a pattern, and a ``manifest.json``. Work
is cut by crystal; a shard appears only when it is whole, so that a run that was stopped goes on
where it was. What is drawn at random depends on the seed and the crystal's name alone.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from ediff_utils import __version__
from ediff_utils.crystal import Crystal
from ediff_utils.errors import UserError
from ediff_utils.paths import atomic_write, require
from ediff_utils.pattern_rows import SCHEMA, pattern_rows, rows_to_table
from ediff_utils.progress import tqdm
from ediff_utils.settings import SimulationSettings, check
from ediff_utils.simulation import SimulationError

_FAILURES = b"ediff_failures"


@dataclass(frozen=True)
class DatasetReport:
    """What a run of the patterns stage did.

    Parameters
    ----------
    folder : Path
        Where the shards are.
    n_patterns : int
        Rows in all shards.
    failures : DataFrame
        ``material_id`` and ``reason`` of crystals that could not be simulated.
    """

    folder: Path
    n_patterns: int
    failures: pd.DataFrame


def _write_block(
    crystals: Sequence[Crystal], settings: SimulationSettings, path: Path
) -> tuple[int, list[dict[str, str]]]:
    """Simulate some crystals into one shard; runs in a worker process."""
    rows: list[dict[str, object]] = []
    failures: list[dict[str, str]] = []
    for crystal in crystals:
        try:
            rows += pattern_rows(crystal, settings)
        except (SimulationError, UserError) as error:
            failures.append({"material_id": crystal.material_id, "reason": str(error)})
    table = rows_to_table(rows)
    table = table.replace_schema_metadata({_FAILURES: json.dumps(failures)})
    with atomic_write(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return len(rows), failures


def simulate_dataset(
    crystals: pd.DataFrame,
    settings: SimulationSettings,
    folder: Path,
    *,
    block_size: int = 25,
    progress: bool = True,
) -> DatasetReport:
    """Simulate all patterns of a table of crystals, or what is left of them.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : SimulationSettings
    folder : Path
        Where the shards go. A folder begun with the same crystals and parameters is continued.
    block_size : int
        Crystals a shard.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DatasetReport

    Raises
    ------
    UserError
        The folder holds patterns of other crystals or parameters, or cannot be written to.
    """
    manifest = _manifest(crystals, settings, block_size)
    _claim(folder, manifest)
    blocks = []
    for number, start in enumerate(range(0, len(crystals), block_size)):
        path = folder / f"part-{number:05d}.parquet"
        if not path.exists():
            part = crystals.iloc[start : start + block_size]
            blocks.append(([Crystal.from_row(row) for _, row in part.iterrows()], path))
    with joblib.parallel_config("loky", n_jobs=settings.jobs, inner_max_num_threads=1):
        results = joblib.Parallel(return_as="generator_unordered")(
            joblib.delayed(_write_block)(part, settings, path) for part, path in blocks
        )
        done = len(crystals) - sum(len(part) for part, _ in blocks)
        with tqdm(
            total=len(crystals), initial=done, desc="crystals simulated", disable=not progress
        ) as bar:
            for n_patterns, failed in results:
                bar.update(n_patterns // (settings.orientations * len(settings.thicknesses)))
                bar.update(len(failed))
    return read_report(folder)


def _manifest(
    crystals: pd.DataFrame, settings: SimulationSettings, block_size: int
) -> dict[str, object]:
    digest = hashlib.sha256()
    for row in crystals.itertuples():
        digest.update(str(row.material_id).encode())
        digest.update(np.asarray(row.lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.conventional_lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.numbers, dtype=np.int64).tobytes())
        digest.update(np.asarray(row.frac_coords, dtype=float).tobytes())
    return {
        "ediff_utils": __version__,
        "n_crystals": len(crystals),
        "crystals_sha256": digest.hexdigest(),
        "block_size": block_size,
        # How many processes did the work is no property of the patterns.
        "settings": json.loads(settings.model_dump_json(exclude={"jobs"})),
    }


def _claim(folder: Path, manifest: dict[str, object]) -> None:
    """Begin a dataset, or make sure that the one that is there is the same."""
    path = folder / "manifest.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
            dict(found["settings"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: not a manifest; remove {folder} to start afresh") from None
        if found != manifest:
            differing = _differences(found, manifest)
            raise UserError(
                f"{folder}: holds patterns made with another {differing}; remove the folder or "
                "choose another run name"
            )
        return
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")


def _differences(found: dict, wanted: dict) -> str:
    flat_found = found | found.get("settings", {})
    flat_wanted = wanted | wanted["settings"]
    names = [n for n in flat_wanted if flat_found.get(n) != flat_wanted[n] and n != "settings"]
    return ", ".join("set of crystals" if n == "crystals_sha256" else n for n in names) or "version"


def read_report(folder: Path) -> DatasetReport:
    """Count the patterns of a dataset and list its failures.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    DatasetReport

    Raises
    ------
    UserError
        No patterns there, or a damaged file.
    """
    n_patterns = 0
    failures: list[dict[str, str]] = []
    for path in _parts(folder):
        try:
            meta = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            raise UserError(f"{path}: damaged; remove it and simulate again") from None
        n_patterns += meta.num_rows
        failures += json.loads((meta.metadata or {}).get(_FAILURES, b"[]"))
    table = pd.DataFrame(failures, columns=["material_id", "reason"])
    return DatasetReport(folder, n_patterns, table)


def _parts(folder: Path) -> list[Path]:
    parts = sorted(Path(folder).glob("part-*.parquet"))
    if not parts:
        raise UserError(f"{folder}: no patterns there; expected part-*.parquet files")
    return parts


def read_settings(folder: Path) -> SimulationSettings:
    """Parameters that a dataset was simulated with.

    Raises
    ------
    UserError
        The folder has no manifest of patterns.
    """
    path = require(folder / "manifest.json", "notebook 01")
    try:
        values = json.loads(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a manifest of patterns, as notebook 01 writes it") from None
    return check(SimulationSettings, where=f"{path}: ", **values)


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
    parts = _parts(folder)
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

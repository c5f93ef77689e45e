"""The patterns stage: crystals in, a dataset of spot patterns out, whatever happens in between.

A dataset is a folder of ``part-*.parquet`` files of about 128 MB, one row a pattern, with the
crystals' table and a ``manifest.json`` beside them. Work is cut by crystal into blocks, each of
which becomes a file under ``blocks/`` when it is whole, so that a run that was stopped goes on
where it was; when all are there they are joined, a block a row group. What is drawn at random
depends on the seed and the crystal's name alone, so that the finished files are the same however
the work was done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ediff_utils.bloch.dataset import manifest as manifests
from ediff_utils.bloch.dataset.table import SCHEMA, pattern_table
from ediff_utils.bloch.simulation import SimulationError
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import file_sha256
from ediff_utils.core.memory import peak_memory
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.core.workers import run_tasks
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.tables import write_table

if TYPE_CHECKING:
    from distributed import Client

_FAILURES = b"ediff_failures"
#: Errors of one crystal that must not end the run of all.
_OF_A_CRYSTAL = (SimulationError, UserError, ArithmeticError, ValueError, MemoryError)
#: Floating-point columns, which compress better with their bytes sorted by significance.
_REALS = ["qx.list.element", "qy.list.element", "intensity.list.element"]


@dataclass(frozen=True)
class DatasetReport:
    """What a run of the patterns stage did: where the shards are, and rows in all of them."""

    folder: Path
    n_patterns: int
    #: ``material_id`` and ``reason`` of crystals that could not be simulated.
    failures: pd.DataFrame


def simulate_dataset(
    crystals: pd.DataFrame,
    settings: SimulationSettings,
    folder: Path,
    *,
    block_size: int = 25,
    shard_bytes: int = 128 * 10**6,
    client: Client | None = None,
    spent: float = 0.0,
    progress: bool = True,
) -> DatasetReport:
    """Simulate all patterns of a table of crystals, or what is left of them.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : SimulationSettings
        Among them where to work: ``jobs`` processes of this machine, or a Dask ``cluster``.
    folder : Path
        Where the files go. A folder begun with the same crystals and parameters is continued.
    block_size : int
        Crystals a block.
    shard_bytes : int
        Size at which a shard is closed.
    client : distributed.Client, optional
        A cluster to work on; its workers must see ``folder``.
    spent : float
        Time that the crystals took, to be counted with the patterns' [s].
    progress : bool
        Show a progress bar.

    Returns
    -------
    DatasetReport

    Raises
    ------
    UserError
        The folder holds patterns of other crystals, parameters or code, cannot be written to, or
        another run is at work on it. See :func:`ediff_utils.bloch.dataset.manifest.claim`.
    """
    folder = Path(folder).absolute()
    identity = manifests.build_identity(
        crystals, settings, block_size=block_size, shard_bytes=shard_bytes
    )
    if not _is_complete(folder, manifests.claim(folder, identity, len(crystals))):
        with manifests.alone(folder):
            _complete(crystals, settings, folder, client or settings.cluster, spent, progress)
    return read_report(folder)


def _is_complete(folder: Path, manifest: dict) -> bool:
    if not manifest["finished"] or _missing_shards(folder, manifest):
        return False
    return (folder / "crystals.parquet").exists() and not (folder / "blocks").exists()


def _missing_shards(folder: Path, manifest: dict) -> list[dict]:
    return [shard for shard in manifest.get("shards", []) if not _is_there(folder, shard)]


def _complete(
    crystals: pd.DataFrame,
    settings: SimulationSettings,
    folder: Path,
    cluster: str | Client,
    spent: float,
    progress: bool,
) -> None:
    """Do what a dataset still lacks."""
    manifest = manifests.read_manifest(folder)
    _sweep(folder)
    missing = _missing_shards(folder, manifest)
    if manifest["finished"] and not missing and (folder / "crystals.parquet").exists():
        shutil.rmtree(folder / "blocks", ignore_errors=True)
        return
    write_table(crystals, folder / "crystals.parquet")
    blocks = list(range(-(-len(crystals) // manifest["sizes"]["block_size"])))
    if manifest["finished"]:
        blocks = [b for s in missing for b in range(s["first_block"], s["last_block"] + 1)]
    run = partial(run_tasks, jobs=settings.jobs, cluster=cluster)
    workers = None if cluster else joblib.effective_n_jobs(settings.jobs)
    session = manifests.Session(folder, workers, spent)
    _simulate_blocks(crystals, settings, folder, blocks, run, session, progress)
    if not manifest["finished"]:
        missing = _plan_shards(folder, len(blocks), manifest["sizes"]["shard_bytes"])
    tasks = [(folder, s["file"], s["first_block"], s["last_block"]) for s in missing]
    written = sorted(run(_write_shard, tasks), key=lambda shard: shard["file"])
    if manifest["finished"]:
        _compare(folder, missing, written)
    else:
        _finish(folder, manifest, written)
    session.note()
    shutil.rmtree(folder / "blocks", ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed left half-written."""
    for path in [*folder.glob(".*.partial"), *folder.glob("blocks/.*.partial")]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be removed: {error.strerror}") from error


def _is_there(folder: Path, shard: dict) -> bool:
    path = folder / shard["file"]
    if not path.exists():
        return False
    if path.stat().st_size != shard["bytes"]:
        raise UserError(f"{path}: damaged; remove it and simulate again")
    return True


def _block_path(folder: Path, number: int) -> Path:
    return folder / "blocks" / f"block-{number:05d}.parquet"


def _simulate_blocks(
    crystals: pd.DataFrame,
    settings: SimulationSettings,
    folder: Path,
    blocks: Sequence[int],
    run: Callable[..., Iterator[tuple[int, int, float]]],
    session: manifests.Session,
    progress: bool,
) -> None:
    size = manifests.read_manifest(folder)["sizes"]["block_size"]
    tasks, waiting = [], 0
    for number in blocks:
        path = _block_path(folder, number)
        part = crystals.iloc[number * size : (number + 1) * size]
        if not path.exists():
            tasks.append(([Crystal.from_row(row) for _, row in part.iterrows()], settings, path))
            waiting += len(part)
    patterns = 0
    with tqdm(
        total=len(crystals),
        initial=len(crystals) - waiting,
        desc="crystals simulated",
        disable=not progress,
    ) as bar:
        for n_crystals, n_patterns, peak_gib in run(_write_block, tasks):
            session.note(n_patterns, peak_gib)
            patterns += n_patterns
            bar.set_postfix_str(f"{patterns / session.elapsed:.0f} patterns/s", refresh=False)
            bar.update(n_crystals)


def _write_block(
    crystals: Sequence[Crystal], settings: SimulationSettings, path: Path
) -> tuple[int, int, float]:
    """Simulate some crystals into one file, in a worker: crystals, patterns, peak memory [GiB]."""
    tables = [SCHEMA.empty_table()]
    failures: list[dict[str, str]] = []
    for crystal in crystals:
        try:
            tables.append(_try_twice(crystal, settings))
        except _OF_A_CRYSTAL as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            failures.append({"material_id": crystal.material_id, "reason": reason})
    table = pa.concat_tables(tables)
    table = table.replace_schema_metadata({_FAILURES: json.dumps(failures)})
    with atomic_write(path) as partial:
        _write_parquet([table], partial, table.schema)
    return len(crystals), table.num_rows, peak_memory()


def _try_twice(crystal: Crystal, settings: SimulationSettings) -> pa.Table:
    try:
        return pattern_table(crystal, settings)
    except _OF_A_CRYSTAL:
        return pattern_table(crystal, settings)


def _write_parquet(tables: Iterable[pa.Table], path: Path, schema: pa.Schema) -> None:
    """One row group a table."""
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=["material_id"],
        use_byte_stream_split=_REALS,
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _plan_shards(folder: Path, n_blocks: int, shard_bytes: int) -> list[dict]:
    """Which blocks go into which shard: consecutive ones, up to a size."""
    shards: list[dict] = []
    size = 0
    for number in range(n_blocks):
        own = _block_path(folder, number).stat().st_size
        if not shards or size + own > shard_bytes:
            shards.append({"file": f"part-{len(shards):05d}.parquet", "first_block": number})
            size = 0
        shards[-1]["last_block"] = number
        size += own
    return shards


def _write_shard(folder: Path, name: str, first: int, last: int) -> dict[str, Any]:
    """Join blocks; runs in a worker process."""
    blocks = [_block_path(folder, number) for number in range(first, last + 1)]
    noted = [json.loads(pq.read_metadata(block).metadata[_FAILURES]) for block in blocks]
    failures = [failure for those in noted for failure in those]
    schema = SCHEMA.with_metadata({_FAILURES: json.dumps(failures)})
    spots: list[int] = []
    path = folder / name
    with atomic_write(path) as partial:
        _write_parquet(_read_blocks(blocks, spots), partial, schema)
    return {
        "file": name,
        "first_block": first,
        "last_block": last,
        "patterns": pq.read_metadata(path).num_rows,
        "spots": sum(spots),
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "failures": failures,
    }


def _compare(folder: Path, before: Sequence[dict], after: Sequence[dict]) -> None:
    digests = {shard["file"]: shard["sha256"] for shard in before}
    for shard in after:
        if shard["sha256"] != digests[shard["file"]]:
            path = folder / shard["file"]
            path.unlink()
            raise UserError(
                f"{path}: made again, it differs; with other versions of packages than those in "
                f"{manifests.MANIFEST}, remove {folder} to start afresh"
            )


def _read_blocks(paths: Sequence[Path], spots: list[int]) -> Iterator[pa.Table]:
    """Give the tables one by one, and note how many spots each has."""
    for path in paths:
        table = pq.read_table(path).replace_schema_metadata(None)
        spots.append(pc.sum(pc.list_value_length(table["intensity"])).as_py() or 0)
        yield table


def _finish(folder: Path, manifest: dict, shards: list[dict]) -> None:
    found = {
        "finished": True,
        "patterns": sum(shard["patterns"] for shard in shards),
        "spots": sum(shard["spots"] for shard in shards),
        "failures": [failure for shard in shards for failure in shard.pop("failures")],
        "crystals_file_sha256": file_sha256(folder / "crystals.parquet"),
        "shards": shards,
    }
    manifests.write_manifest(folder, manifest | found)


def read_report(folder: Path) -> DatasetReport:
    """Count the patterns of a finished dataset and list its failures."""
    manifest = manifests.read_finished(Path(folder))
    failures = pd.DataFrame(manifest["failures"], columns=["material_id", "reason"])
    return DatasetReport(Path(folder), manifest["patterns"], failures)


def verify(folder: Path) -> None:
    """Hold the files of a finished dataset against its manifest; a UserError where one differs."""
    manifest = manifests.read_finished(Path(folder))
    expected = {shard["file"]: shard["sha256"] for shard in manifest["shards"]}
    expected["crystals.parquet"] = manifest["crystals_file_sha256"]
    for name, digest in expected.items():
        path = Path(folder) / name
        if not path.exists() or file_sha256(path) != digest:
            raise UserError(f"{path}: missing or damaged; remove it and simulate again")

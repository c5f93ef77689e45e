"""Vectors of evidence of many crystals' patterns, to train and to judge the predictor by.

Every crystal gives single patterns and groups of several, as simulated ("clean") and as a detector
shows them ("detector"). Work is cut by the row groups of the dataset of patterns; each becomes a
file when it is whole, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ediff_solve.detector.effects import CLEAN, DetectorSettings, apply_detector
from ediff_solve.predictor.evidence import NAMES, compute_evidence, solve_alone
from ediff_utils.bloch.dataset.manifest import fingerprint
from ediff_utils.bloch.dataset.reading import part_files, spots
from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_table
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.core.seeds import name_seed
from ediff_utils.core.settings import Settings
from ediff_utils.core.workers import run_tasks

#: What is done to the patterns.
DETECTORS = {"clean": CLEAN, "detector": DetectorSettings()}
EXAMPLES = made_from.Stage(
    "examples",
    ("ediff_solve.predictor.training.examples",),
    without=("ediff_utils.bloch.dataset.manifest", "ediff_utils.bloch.dataset.table"),
)


class ExampleSettings(Settings):
    """Which patterns of a crystal are taken, and how many together."""

    protocol: str = Field("clean", description="clean or detector")
    singles: int = Field(6, ge=0, le=1000, description="patterns of a crystal on their own")
    together: tuple[int, ...] = Field((10,), description="sizes of groups")
    random_groups: int = Field(1, ge=0, le=100, description="groups of random sizes")
    random_sizes: tuple[int, int] = Field((2, 9), description="between which they are drawn")
    seed: int = Field(0, ge=0)


def build_examples(
    patterns: Path,
    folder: Path,
    settings: ExampleSettings,
    materials: set[str] | None = None,
    *,
    jobs: int = -1,
    cluster: str = "",
    progress: bool = True,
) -> Path:
    """Compute the examples of a dataset, or what is left of them.

    Parameters
    ----------
    patterns : Path
        A dataset of patterns.
    folder : Path
        Where the files go, one a row group of the dataset.
    settings : ExampleSettings
    materials : set of str, optional
        Only these.
    jobs, cluster
        See :func:`ediff_utils.core.workers.run_tasks`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UserError
        No patterns there, an unknown protocol, or a folder that cannot be written to.
    """
    if settings.protocol not in DETECTORS:
        raise UserError(f"protocol: expected one of {', '.join(DETECTORS)}")
    chosen = None if materials is None else frozenset(materials)
    places = [
        (path, group, Path(folder) / f"{path.stem}-{group:03d}.parquet")
        for path in part_files(patterns)
        for group in range(pq.ParquetFile(path).num_row_groups)
    ]
    identity = _identify(patterns, settings, chosen)
    same = EXAMPLES.which_same([made_from.read(target) for *_, target in places], identity)
    tasks = [
        (*place, settings, chosen, identity)
        for place, done in zip(places, same, strict=True)
        if not done
    ]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(tasks), desc=f"examples, {settings.protocol}", disable=not progress) as bar:
        for _ in run_tasks(_write_block, tasks, jobs=jobs, cluster=cluster):
            bar.update()
    return Path(folder)


def _identify(
    patterns: Path, settings: ExampleSettings, materials: frozenset[str] | None
) -> dict[str, dict]:
    """What examples are made from."""
    names = "all" if materials is None else "\n".join(sorted(materials))
    inputs = {
        "patterns": fingerprint(patterns),
        "materials": hashlib.sha256(names.encode()).hexdigest(),
    }
    detector = DETECTORS[settings.protocol].model_dump(mode="json")
    return EXAMPLES.identify(settings.model_dump(mode="json"), inputs, detector=detector)


def choose_groups(n: int, settings: ExampleSettings, material: str) -> list[np.ndarray]:
    """Which of a crystal's patterns are taken alone and together.

    Parameters
    ----------
    n : int
        Patterns of the crystal.
    settings : ExampleSettings
    material : str
        What is drawn hangs on its name and the seed alone.

    Returns
    -------
    list of ndarray of int
    """
    rng = np.random.default_rng([settings.seed, name_seed(material)])
    # All draw on the same few, as each has to be solved.
    order = rng.permutation(n)[
        : max(settings.singles, *settings.together, settings.random_sizes[1])
    ]
    groups = [order[j : j + 1] for j in range(min(settings.singles, n))]
    groups += [np.sort(order[:size]) for size in settings.together if size <= n]
    low, high = settings.random_sizes
    for _ in range(settings.random_groups):
        size = int(rng.integers(low, high + 1))
        if size <= n:
            groups.append(np.sort(rng.choice(order, size, replace=False)))
    return groups


def _write_block(
    source: Path,
    row_group: int,
    target: Path,
    settings: ExampleSettings,
    materials: frozenset[str] | None,
    identity: made_from.Identity,
) -> int:
    """Examples of one row group's crystals into one file; runs in a worker process."""
    columns = ["material_id", "pattern", "thickness", "qx", "qy", "intensity"]
    table = pq.ParquetFile(source).read_row_group(row_group, columns=columns)
    rows: list[dict] = []
    for material, part in _by_material(table):
        if materials is None or material in materials:
            rows += compute_examples(material, part, settings)
    vectors = np.array([row.pop("evidence") for row in rows], np.float32).reshape(-1, len(NAMES))
    frame = pd.DataFrame(
        rows, columns=["material_id", "protocol", "patterns", "spots", "thickness"]
    )
    found = pa.Table.from_pandas(frame, preserve_index=False)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), len(NAMES))
    found = found.append_column("evidence", flat)
    found = found.replace_schema_metadata(made_from.metadata(identity))
    with atomic_write(target) as partial:
        pq.write_table(found, partial, compression="zstd")
    return len(rows)


def _by_material(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    names = np.array(table["material_id"].to_pylist())
    if not len(names):
        return
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        yield str(names[start]), table.slice(start, stop - start)


def compute_examples(
    material: str,
    table: pa.Table,
    settings: ExampleSettings,
    groups: Sequence[np.ndarray] | None = None,
) -> list[dict]:
    """Vectors of evidence of one crystal.

    Parameters
    ----------
    material : str
    table : pyarrow.Table
        Its patterns.
    settings : ExampleSettings
    groups : sequence of ndarray of int, optional
        Which of them are taken together, instead of what the settings say.

    Returns
    -------
    list of dict
        ``material_id, protocol, patterns`` (how many together), ``spots`` (median), ``thickness``
        (mean) and ``evidence``.
    """
    patterns = show_patterns(material, table, DETECTORS[settings.protocol], settings.seed)
    n = len(patterns)
    thickness = table["thickness"].to_numpy()
    if groups is None:
        groups = choose_groups(n, settings, material)
    # A pattern is in more than one group.
    alone = {j: solve_alone(patterns[j]) for j in sorted({int(j) for g in groups for j in g})}
    return [
        {
            "material_id": material,
            "protocol": settings.protocol,
            "patterns": len(group),
            "spots": float(np.median([len(patterns[j][0]) for j in group])),
            "thickness": float(thickness[group].mean()),
            "evidence": compute_evidence(
                [patterns[j] for j in group], candidates=[alone[j] for j in group]
            ).vector,
        }
        for group in groups
    ]


def show_patterns(
    material: str,
    table: pa.Table,
    detector: DetectorSettings,
    seed: int,
    pool: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Patterns of a crystal as a detector shows them.

    Parameters
    ----------
    material : str
    table : pyarrow.Table
        Its patterns.
    detector, seed, pool
        See :func:`ediff_solve.detector.effects.apply_detector`.

    Returns
    -------
    list of tuple of ndarray
        qx, qy [1/angstrom] and intensity of each.
    """
    *flat, offsets = spots(table.combine_chunks())
    seen = apply_detector(
        *(a.astype(float) for a in flat),
        offsets,
        np.full(table.num_rows, material),
        table["pattern"].to_numpy(),
        detector,
        seed,
        pool,
    )
    columns = (seen.qx, seen.qy, seen.intensity)
    own = (slice(*seen.offsets[j : j + 2]) for j in range(table.num_rows))
    return [tuple(column[rows] for column in columns) for rows in own]


def read_examples(*folders: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Examples of one or more folders.

    Parameters
    ----------
    *folders : Path

    Returns
    -------
    index : DataFrame
        ``material_id, protocol, patterns, spots, thickness``.
    vectors : ndarray of float32, shape (n, len(NAMES))

    Raises
    ------
    UserError
        No examples there.
    """
    paths = [path for folder in folders for path in sorted(Path(folder).glob("*.parquet"))]
    if not paths:
        raise UserError(f"{folders[0]}: no examples there; build them first")
    tables = [read_table(path, what="examples").replace_schema_metadata(None) for path in paths]
    # Of a block without any of the materials pandas does not know the types.
    table = pa.concat_tables([table for table in tables if table.num_rows] or tables[:1])
    flat = table["evidence"].combine_chunks()
    vectors = flat.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(NAMES))
    return table.drop(["evidence"]).to_pandas(), vectors

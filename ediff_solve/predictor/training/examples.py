"""Vectors of evidence of many crystals' patterns, to train and to judge the predictor by.

Every crystal gives single patterns and groups of several, as simulated ("clean") and as a detector
shows them ("detector"). Work is cut by the row groups of the dataset of patterns; each becomes a
file when it is whole, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
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

#: What is done to the patterns, at random orientations and near zone axes.
DETECTORS = {
    "clean": CLEAN,
    "detector": DetectorSettings(),
    "zone": CLEAN,
    "zone_detector": DetectorSettings(),
}
EXAMPLES = made_from.Stage(
    "examples",
    ("ediff_solve.predictor.training.examples",),
    without=("ediff_utils.bloch.dataset.manifest", "ediff_utils.bloch.dataset.table"),
)
#: What is read of a dataset; the last two where it holds no more patterns than are needed.
_COLUMNS = (
    *("material_id", "pattern", "zone_axis_cartesian", "thickness", "qx", "qy", "intensity"),
    *("position", "of"),
)


class ExampleSettings(Settings):
    """Which patterns of a crystal are taken, and how many together."""

    condition: str = Field("clean", description="clean, detector, zone or zone_detector")
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
    """Compute the examples of a dataset of patterns, or what is left of them; return the folder.

    The folder has a file a row group of the dataset. Only of the ``materials``, if any are given;
    for jobs and cluster see :func:`ediff_utils.core.workers.run_tasks`. A UserError where there are
    no patterns, the condition is unknown, or the folder cannot be written to.
    """
    if settings.condition not in DETECTORS:
        raise UserError(f"condition: expected one of {', '.join(DETECTORS)}")
    chosen = None if materials is None else frozenset(materials)
    run_blocks(
        _write_examples,
        EXAMPLES,
        identify_blocks(EXAMPLES, patterns, settings, {"materials": _digest(chosen)}),
        patterns,
        folder,
        (settings, chosen),
        jobs=jobs,
        cluster=cluster,
        progress=progress,
    )
    return Path(folder)


def identify_blocks(
    stage: made_from.Stage, patterns: Path, settings: ExampleSettings, inputs: Mapping[str, str]
) -> dict[str, dict]:
    """What the files of :func:`run_blocks` are made from; ``inputs`` beside the patterns."""
    detector = DETECTORS[settings.condition].model_dump(mode="json")
    found = {"patterns": fingerprint(patterns), **inputs}
    return stage.identify(settings.model_dump(mode="json"), found, detector=detector)


def run_blocks(
    function: Callable[..., None],
    stage: made_from.Stage,
    identity: made_from.Identity,
    patterns: Path,
    folder: Path,
    arguments: tuple,
    *,
    jobs: int = -1,
    cluster: str = "",
    progress: bool = True,
) -> list[Path]:
    """Make a file of every row group of a dataset, where it is not there yet; in its order.

    The function takes the row group's table, the file and the identity, which :func:`write_block`
    writes, and the arguments; it runs in a worker process. A file with another identity is made
    again. For the others see :func:`build_examples`.
    """
    places = [
        (path, group, Path(folder) / f"{path.stem}-{group:03d}.parquet")
        for path in part_files(patterns)
        for group in range(pq.ParquetFile(path).num_row_groups)
    ]
    same = stage.which_same([made_from.read(target) for *_, target in places], identity)
    tasks = [
        (function, *place, identity, *arguments)
        for place, done in zip(places, same, strict=True)
        if not done
    ]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(tasks), desc=f"{stage.name}, {folder.name}", disable=not progress) as bar:
        for _ in run_tasks(_run_block, tasks, jobs=jobs, cluster=cluster):
            bar.update()
    return [target for *_, target in places]


def _run_block(
    function: Callable[..., None], source: Path, row_group: int, target: Path, *arguments: object
) -> None:
    """One row group's patterns by a function; runs in a worker process."""
    file = pq.ParquetFile(source)
    columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
    function(file.read_row_group(row_group, columns=columns), target, *arguments)


def write_block(table: pa.Table, target: Path, identity: made_from.Identity) -> None:
    """Write what was made of a row group, with what it was made from."""
    with atomic_write(target) as partial:
        made = table.replace_schema_metadata(made_from.metadata(identity))
        pq.write_table(made, partial, compression="zstd")


def _digest(materials: frozenset[str] | None) -> str:
    names = "all" if materials is None else "\n".join(sorted(materials))
    return hashlib.sha256(names.encode()).hexdigest()


def choose_groups(n: int, settings: ExampleSettings, material: str) -> list[np.ndarray]:
    """Which of a crystal's n patterns are taken alone and together: numbers from 0 of each group.

    What is drawn hangs on the material's name and the seed alone.
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


def place_groups(table: pa.Table, settings: ExampleSettings, material: str) -> list[np.ndarray]:
    """Groups of :func:`choose_groups` as rows of a crystal's table of patterns.

    The table has all of them; or those that are needed, with ``position``, which of all each is,
    and ``of``, how many there are.
    """
    if "position" not in table.column_names:
        return choose_groups(table.num_rows, settings, material)
    rows = {int(k): row for row, k in enumerate(table["position"].to_pylist())}
    groups = choose_groups(table["of"][0].as_py(), settings, material)
    return [np.array([rows[int(k)] for k in group]) for group in groups]


def _write_examples(
    table: pa.Table,
    target: Path,
    identity: made_from.Identity,
    settings: ExampleSettings,
    materials: frozenset[str] | None,
) -> None:
    """Examples of one row group's crystals into one file; runs in a worker process."""
    rows: list[dict] = []
    for material, part in split_materials(table):
        if materials is None or material in materials:
            rows += compute_examples(material, part, settings)
    vectors = np.array([row.pop("evidence") for row in rows], np.float32).reshape(-1, len(NAMES))
    frame = pd.DataFrame(
        rows, columns=["material_id", "condition", "patterns", "spots", "thickness"]
    )
    found = pa.Table.from_pandas(frame, preserve_index=False)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), len(NAMES))
    write_block(found.append_column("evidence", flat), target, identity)


def split_materials(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each material of a dataset's table, and its patterns."""
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
) -> list[dict]:
    """Vectors of evidence of one crystal, of which the table has the patterns.

    Of each example ``material_id, condition, patterns`` (how many together), ``spots`` (median),
    ``thickness`` (mean) [angstrom] and ``evidence``.
    """
    patterns = show_patterns(material, table, DETECTORS[settings.condition], settings.seed)
    thickness = table["thickness"].to_numpy()
    groups = place_groups(table, settings, material)
    # A pattern is in more than one group.
    alone = {j: solve_alone(patterns[j]) for j in sorted({int(j) for g in groups for j in g})}
    return [
        {
            "material_id": material,
            "condition": settings.condition,
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
    """Patterns of a crystal as a detector shows them: qx, qy [1/angstrom] and intensity of each.

    For detector, seed and pool see :func:`ediff_solve.detector.effects.apply_detector`.
    """
    qx, qy, intensity, offsets = spots(table.combine_chunks())
    seen = apply_detector(
        qx.astype(float),
        qy.astype(float),
        intensity.astype(float),
        offsets,
        np.full(table.num_rows, material),
        table["pattern"].to_numpy(),
        detector,
        seed,
        pool,
    )
    own = (slice(*seen.offsets[j : j + 2]) for j in range(table.num_rows))
    return [(seen.qx[rows], seen.qy[rows], seen.intensity[rows]) for rows in own]


def read_examples(*folders: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Examples of one or more folders, and their vectors, float32 of shape (n, len(NAMES)).

    The columns are ``material_id, condition, patterns, spots, thickness``. A UserError where there
    are no examples.
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

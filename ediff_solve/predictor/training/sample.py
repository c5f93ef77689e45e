"""Answers to test patterns that go with a predictor, and the patterns of some of them.

The answers are what the card's figures are computed from. The patterns let everybody have some of
the answers made again, from spots to space group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.training.examples import ExampleSettings, choose_groups, place_groups
from ediff_solve.predictor.training.judging import SCHEMA, TRUTH, answer_material, make_table
from ediff_utils.bloch.dataset.reading import part_files
from ediff_utils.core.files import read_table
from ediff_utils.core.paths import Run, atomic_write

ANSWERS, PATTERNS = "answers.parquet", "test_patterns.parquet"
#: Test materials whose patterns go with a predictor.
MATERIALS = 100
#: Answers that agree have confidences this near: other processors round otherwise.
NEAR = 0.01
_SPOTS = ("qx", "qy", "intensity")
_COLUMNS = ("material_id", "pattern", "zone_axis_cartesian", "thickness", *_SPOTS)
_KEY = ["material_id", "condition", "patterns"]


def write_answers(answers: pd.DataFrame, folder: Path) -> Path:
    """Write the answers to all test examples into the predictor's folder.

    See :func:`ediff_solve.predictor.training.judging.answer_material`.
    """
    path = Path(folder) / ANSWERS
    table = pa.Table.from_pandas(answers, schema=SCHEMA, preserve_index=False)
    with atomic_write(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return path


def read_answers(folder: Path) -> pd.DataFrame:
    """Read what :func:`write_answers` wrote.

    A UserError where it is not there, damaged, or of another version of the program.
    """
    return _read(Path(folder) / ANSWERS, SCHEMA.names).to_pandas()


def read_test_materials(folder: Path) -> set[str]:
    """The materials that the answers of a predictor are about, whatever version wrote them."""
    table = _read(Path(folder) / ANSWERS, ("material_id",))
    return set(table["material_id"].unique().to_pylist())


def _read(path: Path, needed: Iterable[str]) -> pa.Table:
    """A file that goes with a predictor, with the columns that it must have."""
    return read_table(path, tuple(needed), made_by="training the predictor")


def write_sample(
    runs: Mapping[str, Run],
    settings: Mapping[str, ExampleSettings],
    materials: Iterable[str],
    crystals: pd.DataFrame,
    folder: Path,
) -> Path:
    """Write the patterns that the examples of some test materials are made of.

    Runs and settings are by condition; of the materials :data:`MATERIALS` are drawn.
    """
    names = np.unique(list(materials))
    seed = next(iter(settings.values())).seed
    drawn = np.random.default_rng(seed).permutation(names)[:MATERIALS]
    parts = [_used(run, settings[condition], drawn, condition) for condition, run in runs.items()]
    table = pa.concat_tables(parts)
    labels = crystals.set_index("material_id").loc[table["material_id"].to_pylist()]
    for name in TRUTH:
        table = table.append_column(name, pa.array(labels[name].tolist()))
    path = Path(folder) / PATTERNS
    with atomic_write(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return path


def _used(run: Run, settings: ExampleSettings, drawn: np.ndarray, condition: str) -> pa.Table:
    """Patterns of some materials that examples are made of, and which of all they are."""
    parts = []
    for path in part_files(run.patterns):
        # Lists of spots are large: blocks without any of the materials are not read.
        where = pc.field("material_id").isin(drawn.tolist())
        table = pq.read_table(path, columns=list(_COLUMNS), filters=where)
        for material in table["material_id"].unique().to_pylist():
            own = table.filter(pc.equal(table["material_id"], material))
            used = np.unique(np.concatenate(choose_groups(own.num_rows, settings, material)))
            part = own.take(used).replace_schema_metadata(None)
            part = part.append_column("condition", pa.array([condition] * len(used)))
            part = part.append_column("position", pa.array(used))
            parts.append(part.append_column("of", pa.array([own.num_rows] * len(used))))
    return pa.concat_tables(parts)


def read_sample(
    settings: Mapping[str, ExampleSettings], folder: Path
) -> Iterator[tuple[str, str, pa.Table, list[np.ndarray]]]:
    """The patterns in a predictor's folder; settings are by condition.

    Yields condition, material, the material's patterns as simulated, and which of them make each
    example. A UserError where there are no patterns.
    """
    table = _read(Path(folder) / PATTERNS, (*_COLUMNS, "condition", "position", "of"))
    for condition in table["condition"].unique().to_pylist():
        own = table.filter(pc.equal(table["condition"], condition))
        for material in own["material_id"].unique().to_pylist():
            part = own.filter(pc.equal(own["material_id"], material))
            yield condition, material, part, place_groups(part, settings[condition], material)


def answer_sample(
    predictor: Predictor, settings: Mapping[str, ExampleSettings], folder: Path
) -> pd.DataFrame:
    """Answers to the patterns that go with a predictor, from their spots.

    See :func:`read_sample` and :func:`ediff_solve.predictor.training.judging.answer_material`.
    """
    rows: list[dict] = []
    for condition, material, part, _ in read_sample(settings, folder):
        truth = {name: part[name][0].as_py() for name in TRUTH}
        rows += answer_material(predictor, material, part, settings[condition], truth)
    return make_table(rows).to_pandas()


def compare_answers(made: pd.DataFrame, shipped: pd.DataFrame) -> dict[str, float]:
    """Whether answers that were made again are those that were written.

    ``answers``, how many were made again, ``same``, the share of them with the same status, crystal
    system, space group and, within :data:`NEAR`, confidence, and ``largest``, the largest
    difference of confidence.
    """
    numbered = [
        table.assign(number=table.groupby(_KEY).cumcount()).set_index([*_KEY, "number"])
        for table in (made, shipped)
    ]
    both = numbered[0].join(numbered[1], rsuffix="_shipped", how="left")
    difference = (both["confidence"] - both["confidence_shipped"]).abs().fillna(1.0)
    same = difference < NEAR
    for name in ("status", "system", "space_group"):
        said, other = both[name], both[f"{name}_shipped"]
        same &= (said == other) | (said.isna() & other.isna())
    return {
        "answers": len(both),
        "same": float(same.mean()),
        "largest": float(difference.max()),
    }

"""What a predictor says of patterns whose crystals are known, asked as anybody asks it.

The answers are those of :meth:`ediff_solve.predictor.answering.Predictor.predict`, "cannot tell"
among them. Work is cut by the row groups of the dataset of patterns, as in :mod:`.examples`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_solve.predictor.answering import Answer, Predictor
from ediff_solve.predictor.evidence import solve_alone
from ediff_solve.predictor.groups import crystal_system
from ediff_solve.predictor.spot_checks import check_pattern, check_patterns
from ediff_solve.predictor.store import read_card
from ediff_solve.predictor.training.examples import (
    DETECTORS,
    ExampleSettings,
    identify_blocks,
    place_groups,
    run_blocks,
    show_patterns,
    split_materials,
    write_block,
)
from ediff_utils.bloch.orientations import LOW_INDICES
from ediff_utils.core import made_from

ANSWERS = made_from.Stage(
    "answers",
    ("ediff_solve.predictor.training.judging",),
    without=("ediff_utils.bloch.dataset.manifest", "ediff_utils.bloch.dataset.table"),
)
#: True lengths of the axes, and their errors, in a table of answers.
LENGTHS, ERRORS = ("length_1", "length_2", "length_3"), ("error_1", "error_2", "error_3")
#: Of an answer that names no space group: the number, and the rank of the right one.
NO_GROUP, NO_RANK = 0, 231
#: What a label has.
TRUTH = ["space_group", "a", "b", "c", "conventional_lattice"]
#: Largest index of the axes of the lowest indices.
_LOWEST = 1
_COLUMNS = {
    "material_id": pa.string(),
    "condition": pa.string(),
    "patterns": pa.int64(),
    "spots": pa.float32(),
    "thickness": pa.float32(),
    "lowest": pa.bool_(),
    "one_zone": pa.bool_(),
    "status": pa.string(),
    "true_system": pa.string(),
    "system": pa.string(),
    "confidence": pa.float32(),
    "true_space_group": pa.int64(),
    "space_group": pa.int64(),
    "rank": pa.int64(),
    "indexed": pa.float32(),
    **{name: pa.float32() for name in (*LENGTHS, *ERRORS)},
}
SCHEMA = pa.schema(list(_COLUMNS.items()))


def answer_material(
    predictor: Predictor,
    material: str,
    table: pa.Table,
    settings: ExampleSettings,
    truth: Mapping[str, Any],
) -> list[dict]:
    """Ask about the single patterns and the groups of one crystal.

    For the table of its patterns see :func:`ediff_solve.predictor.training.examples.place_groups`;
    the truth has ``space_group``, ``a, b, c`` of the conventional cell and its vectors,
    ``conventional_lattice`` [angstrom]. A row an answer: ``material_id, condition, patterns`` (how
    many together), ``spots`` (median), ``thickness`` (mean) [angstrom], ``lowest``, whether the
    nearest of the zone axes with indices up to 3 has none above 1, ``one_zone``, whether the answer
    has a net and no cell, ``status, true_system, system, confidence, true_space_group,
    space_group``, ``rank`` of the right space group among the answers, counted from 1, ``indexed``,
    the share of the spots that the lattice explains, ``length_1`` to ``length_3`` of the axes,
    shortest first, and ``error_1`` to ``error_3`` of those that were found [angstrom], infinite
    without a lattice. Where nothing can be told there is no system, confidence is 0, and the rank
    is behind all.
    """
    patterns = show_patterns(material, table, DETECTORS[settings.condition], settings.seed)
    thickness = table["thickness"].to_numpy()
    axes = table["zone_axis_cartesian"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    lattice = np.reshape(truth["conventional_lattice"], (3, 3)).astype(float)
    lowest = np.abs(nearest_axes(axes, lattice)).max(axis=1) <= _LOWEST
    groups = place_groups(table, settings, material)
    # A pattern is in more than one group.
    alone = {}
    for j in sorted({int(j) for group in groups for j in group}):
        one = check_pattern(*patterns[j])
        alone[j] = solve_alone(one.spots) if one.usable else []
    rows = []
    for group in groups:
        checked = check_patterns([patterns[j] for j in group])
        answer = predictor.answer(checked, candidates=[alone[int(j)] for j in group])
        rows.append(
            {
                "material_id": material,
                "condition": settings.condition,
                "patterns": len(group),
                "spots": float(np.median([len(patterns[j][0]) for j in group])),
                "thickness": float(thickness[group].mean()),
                "lowest": bool(lowest[group].all()),
                "one_zone": answer.net is not None,
                **_compare(answer, truth),
            }
        )
    return rows


def nearest_axes(directions: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Indices [uvw] of the zone axes of indices up to 3 that directions are nearest to.

    Cartesian unit vectors, shape (n, 3), and rows of the conventional lattice; int, shape (n, 3).
    """
    axes = LOW_INDICES @ lattice
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    found: np.ndarray = LOW_INDICES[np.argmax(directions @ axes.T, axis=1)]
    return found


def _compare(answer: Answer, truth: Mapping[str, Any]) -> dict[str, object]:
    """Columns of an answer, and of what is true."""
    number = int(truth["space_group"])
    told = answer.system is not None
    lengths = np.sort([float(truth[axis]) for axis in "abc"])
    errors = np.full(3, np.inf)
    if answer.lattice is not None:
        errors = np.abs(np.sort(answer.lattice.parameters[:3]) - lengths)
    ahead = int((answer.probabilities > answer.probabilities[number - 1]).sum())
    return {
        "status": answer.status,
        "true_system": crystal_system(number),
        "system": answer.system,
        "confidence": answer.confidence,
        "true_space_group": number,
        "space_group": answer.space_groups[0][0] if told else NO_GROUP,
        "rank": 1 + ahead if told else NO_RANK,
        "indexed": answer.indexed,
        **dict(zip(LENGTHS, map(float, lengths), strict=True)),
        **dict(zip(ERRORS, map(float, errors), strict=True)),
    }


def make_table(rows: list[dict]) -> pa.Table:
    """Rows of :func:`answer_material` with the types that files of answers have."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def ask_dataset(
    predictor: Path,
    patterns: Path,
    folder: Path,
    settings: ExampleSettings,
    labels: pd.DataFrame,
    *,
    jobs: int = -1,
    progress: bool = True,
) -> pd.DataFrame:
    """Ask the predictor of a folder about the crystals of a dataset, or about those that are left.

    Answers (:func:`answer_material`) are kept in ``folder``, a file a row group of the dataset. The
    labels are a table of crystals, those that are asked about. A UserError where there is no
    predictor, no patterns, or the folder cannot be written to.
    """
    labels = labels[["material_id", *TRUTH]]
    card = read_card(predictor)
    # Whatever an answer hangs on.
    made_of = {name: card[name] for name in ("sha256", "evidence", "thresholds", "least_indexed")}
    inputs = {
        "predictor": made_from.digest(made_of),
        "labels": str(pd.util.hash_pandas_object(labels.drop(columns=TRUTH[-1])).sum()),
    }
    paths = run_blocks(
        _write_answers,
        ANSWERS,
        identify_blocks(ANSWERS, patterns, settings, inputs),
        patterns,
        folder,
        (Path(predictor), settings, labels),
        jobs=jobs,
        progress=progress,
    )
    return pa.concat_tables([pq.read_table(path, schema=SCHEMA) for path in paths]).to_pandas()


def ask_datasets(
    predictor: Path,
    part: str,
    sources: Mapping[str, Path],
    settings: Mapping[str, ExampleSettings],
    labels: pd.DataFrame,
    jobs: int,
    progress: bool,
) -> pd.DataFrame:
    """:func:`ask_dataset` of each condition; answers of a ``part`` are kept beside the datasets."""
    tables = [
        ask_dataset(
            predictor,
            patterns,
            patterns.parent / f"answers-{part}-{name}",
            settings[name],
            labels,
            jobs=jobs,
            progress=progress,
        )
        for name, patterns in sources.items()
    ]
    return join_answers(tables)


def join_answers(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Answers in one order, wherever they come from."""
    answers = pd.concat(tables, ignore_index=True)
    return answers.sort_values(["condition", "material_id"], kind="stable", ignore_index=True)


def _write_answers(
    table: pa.Table,
    target: Path,
    identity: made_from.Identity,
    predictor: Path,
    settings: ExampleSettings,
    labels: pd.DataFrame,
) -> None:
    """Answers about one row group's crystals into one file; runs in a worker process."""
    known = labels.set_index("material_id").to_dict("index")
    rows: list[dict] = []
    for material, part in split_materials(table):
        if material in known:
            asked = _load(predictor, made_from.digest(identity))
            rows += answer_material(asked, material, part, settings, known[material])
    write_block(make_table(rows), target, identity)


@cache
def _load(predictor: Path, digest: str) -> Predictor:
    """Once a worker process; the digest changes with what is in the folder."""
    return Predictor.load(predictor)

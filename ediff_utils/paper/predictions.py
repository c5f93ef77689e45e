"""The predictions stage: what the forests say of each test pattern, and of several together.

Figures 4 to 6 are drawn of its two tables. Patterns of one material are put together as in figure 3
(:func:`ediff_utils.paper.aggregation.aggregate_votes`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.core import files, made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.paper.aggregation import aggregate_votes, draw_patterns
from ediff_utils.paper.feature_files import Features
from ediff_utils.paper.labels import label_patterns
from ediff_utils.paper.models import LATTICE, Hierarchy
from ediff_utils.paper.votes import difference_confidence

#: They are made anew whenever a notebook asks the forests; later notebooks read them.
TABLES = made_from.Stage(
    "tables of a run", ("ediff_utils.paper.predictions", "ediff_utils.paper.training")
)
_TRUE = {"crystal_system": "true_system", "space_group": "true_space_group"} | {
    axis: f"true_{axis}" for axis in LATTICE
}


def _test_patterns(
    features: Features, crystals: pd.DataFrame, split: pd.DataFrame, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Truth of the test patterns, and which rows of the features they are."""
    labels = label_patterns(features.index, crystals, split)
    keep = (labels["part"] == "test") & labels["crystal_system"].isin(classes)
    if not keep.any():
        raise UserError("split: expected test patterns of the forests' crystal systems, found none")
    rows = np.flatnonzero(keep)
    labels = labels.iloc[rows].drop(columns="part").rename(columns=_TRUE).reset_index(drop=True)
    return labels, rows


def compute_predictions(
    hierarchy: Hierarchy, features: Features, crystals: pd.DataFrame, split: pd.DataFrame
) -> pd.DataFrame:
    """What the forests say of every test pattern.

    Parameters
    ----------
    hierarchy : Hierarchy
        With a crystal-system forest alone, the other columns are left out.
    features : Features
    crystals, split : DataFrame

    Returns
    -------
    DataFrame
        One row a pattern: the truth (``true_*``), ``votes_<system>``, ``probability_<system>``
        (mean of the leaves), ``n_trees``, ``system``, ``vote_share``, ``confidence``;
        ``space_group``, ``space_group_confidence`` and ``a, b, c`` [angstrom] by the forests of
        the predicted system; ``*_given`` by those of the true one.

    Raises
    ------
    UserError
        No test patterns.
    """
    labels, rows = _test_patterns(features, crystals, split, hierarchy.classes)
    vectors = features.take(rows)
    votes, probabilities = hierarchy.system_answers(vectors)
    system = np.array(hierarchy.classes)[votes.argmax(axis=1)]
    table = labels.assign(
        **{f"votes_{name}": votes[:, i] for i, name in enumerate(hierarchy.classes)},
        **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(hierarchy.classes)},
        n_trees=hierarchy.n_trees,
        system=system,
        vote_share=votes.max(axis=1) / hierarchy.n_trees,
        confidence=difference_confidence(votes),
    )

    def answer(rows: np.ndarray, name: str) -> pd.DataFrame:
        number, confidence = hierarchy.predict_space_group(vectors[rows], name)
        lattice = hierarchy.predict_lattice(vectors[rows], name)
        groups = {"space_group": number, "space_group_confidence": confidence}
        return pd.DataFrame(lattice, columns=LATTICE).assign(**groups)

    return _ask_by_system(table, hierarchy, answer, progress=False)


def _ask_by_system(
    table: pd.DataFrame,
    hierarchy: Hierarchy,
    answer: Callable[[np.ndarray, str], pd.DataFrame],
    progress: bool,
) -> pd.DataFrame:
    """The table with space group and lattice by the forests of the predicted and the true system.

    ``answer`` has those of the rows that it is given, by the forests of the system that it is
    given. It is asked once a system, about all rows that are told it in either way.
    """
    if not hierarchy.space_group:
        return table
    blank = {"space_group": 0, "space_group_confidence": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}
    told = {name: table[name].to_numpy() for name in ("system", "true_system")}
    out = {name: pd.DataFrame(blank, index=range(len(table))) for name in told}
    for name in tqdm(hierarchy.space_group, desc="systems asked", disable=not progress):
        rows = np.flatnonzero((told["system"] == name) | (told["true_system"] == name))
        if not len(rows):
            continue
        answers = answer(rows, name)
        for way, system in told.items():
            own = system[rows] == name
            out[way].loc[rows[own], answers.columns] = answers[own].to_numpy()
    given = out["true_system"].drop(columns="space_group_confidence").add_suffix("_given")
    return pd.concat([table, out["system"], given], axis=1)


def compute_aggregates(
    hierarchy: Hierarchy,
    features: Features,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    *,
    n_patterns: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """What the forests say of every test material, from several of its patterns.

    The aggregated crystal system decides which forests all of the patterns are handed to; their
    space groups are aggregated likewise, and the lattice is the median over the patterns.

    Parameters
    ----------
    hierarchy, features, crystals, split
        See :func:`compute_predictions`.
    n_patterns : int
        Patterns a material, drawn at random; all where there are fewer.
    seed : int
        Of the draw.
    progress : bool

    Returns
    -------
    DataFrame
        One row a material, columns as in :func:`compute_predictions`, with ``n_patterns`` and
        ``weight_<system>``; ``confidence`` is the predicted class's share of the weights.

    Raises
    ------
    UserError
        No test patterns.
    """
    labels, kept = _test_patterns(features, crystals, split, hierarchy.classes)
    names, groups, turn = draw_patterns(labels["material_id"], seed)
    drawn = np.flatnonzero(turn < n_patterns)
    vectors, groups = features.take(kept[drawn]), groups[drawn]
    weights = aggregate_votes(hierarchy.system_votes(vectors), groups)
    truth = labels.drop(columns="pattern").drop_duplicates("material_id").set_index("material_id")
    table = truth.loc[names].reset_index()
    table.insert(1, "n_patterns", np.bincount(groups))
    table = table.assign(
        **{f"weight_{s}": weights[:, i] for i, s in enumerate(hierarchy.classes)},
        system=np.array(hierarchy.classes)[weights.argmax(axis=1)],
        confidence=_share_of_first(weights),
    )

    def answer(materials: np.ndarray, name: str) -> pd.DataFrame:
        rows = np.flatnonzero(np.isin(groups, materials))
        own = np.searchsorted(materials, groups[rows])
        weights = aggregate_votes(hierarchy.space_group_votes(vectors[rows], name), own)
        lattice = pd.DataFrame(hierarchy.predict_lattice(vectors[rows], name), columns=LATTICE)
        answers = lattice.groupby(own).median()
        answers["space_group"] = hierarchy.space_groups(name)[weights.argmax(axis=1)]
        answers["space_group_confidence"] = _share_of_first(weights)
        return answers

    return _ask_by_system(table, hierarchy, answer, progress)


def _share_of_first(weights: np.ndarray) -> np.ndarray:
    """Weight of the predicted class over the sum of all weights; shape (n_materials,)."""
    return weights.max(axis=1) / weights.sum(axis=1)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of predictions to Parquet, with the code that made it."""
    found = pa.Table.from_pandas(table, preserve_index=False)
    made = made_from.metadata({"code": TABLES.code()})
    with atomic_write(path) as partial:
        pq.write_table(found.replace_schema_metadata(found.schema.metadata | made), partial)


def read_table(
    path: Path, made_by: str, columns: tuple[str, ...] = ("material_id",)
) -> pd.DataFrame:
    """Read a table of a run; without a file or one of the columns a UserError says what to run.

    Where other code made it, a line on stderr says so.
    """
    table = files.read_table(path, columns, made_by=made_by).to_pandas()
    TABLES.note_old(made_from.read(path) or {})
    return table

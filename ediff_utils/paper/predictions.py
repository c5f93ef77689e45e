"""The predictions stage: what the forests say of each test pattern, and of several together.

A pattern's weight is its difference confidence, (votes of the first - votes of the second) / trees.
Several patterns of one material are put together by the paper's difference aggregation: each gives
its weight to the class that it votes for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_utils.core import files
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.paper.feature_files import Features
from ediff_utils.paper.labels import label_patterns
from ediff_utils.paper.models import LATTICE, Hierarchy
from ediff_utils.paper.votes import difference_confidence

_TRUE = {"crystal_system": "true_system", "space_group": "true_space_group"} | {
    axis: f"true_{axis}" for axis in LATTICE
}


def aggregate_votes(votes: np.ndarray) -> np.ndarray:
    """Difference aggregation of several patterns' votes (Gleason et al. 2024, figure 3).

    Parameters
    ----------
    votes : ndarray of int, shape (patterns, n_classes)
        Trees a class.

    Returns
    -------
    ndarray, shape (n_classes,)
        Summed weights. Where no pattern has any lead, every class gets the mean share of votes
        instead, so that a tie of all patterns still has an answer.
    """
    votes = np.asarray(votes)
    weights = np.bincount(
        votes.argmax(axis=1), weights=difference_confidence(votes), minlength=votes.shape[1]
    )
    if weights.sum() > 0:
        return weights
    return votes.mean(axis=0) / max(1, votes.sum(axis=1).max())


def aggregate_confidence(weights: np.ndarray) -> float:
    """Weight of the predicted class over the sum of all weights."""
    return float(weights.max() / weights.sum())


def choose_patterns(labels: pd.DataFrame, n_patterns: int, seed: int) -> dict[str, np.ndarray]:
    """Patterns of each material that are taken together, drawn at random.

    Parameters
    ----------
    labels : DataFrame
        ``material_id`` of every pattern, with a clean index.
    n_patterns : int
        At most so many a material.
    seed : int

    Returns
    -------
    dict of str to ndarray of int
        Rows of ``labels``, in rising order.
    """
    rng = np.random.default_rng(seed)
    groups = labels.groupby("material_id", sort=True).indices
    return {str(name): np.sort(rng.permutation(rows)[:n_patterns]) for name, rows in groups.items()}


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
    if not hierarchy.space_group:
        return table
    predicted, given = _by_system(hierarchy, vectors, (system, labels["true_system"].to_numpy()))
    given = given.drop(columns="space_group_confidence").add_suffix("_given")
    return pd.concat([table, predicted, given], axis=1)


def _no_answers(n: int) -> pd.DataFrame:
    columns = {"space_group": 0, "space_group_confidence": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}
    return pd.DataFrame(columns, index=range(n))


def _by_system(
    hierarchy: Hierarchy, vectors: np.ndarray, told: Sequence[np.ndarray]
) -> list[pd.DataFrame]:
    """Space group and lattice, each pattern by the forests of the system that it is told.

    For each way to tell the patterns their systems there is a table. A forest is asked once, about
    all patterns that are told its system in any way.
    """
    out = [_no_answers(len(vectors)) for _ in told]
    for name in hierarchy.space_group:
        rows = np.flatnonzero(np.any([system == name for system in told], axis=0))
        if not len(rows):
            continue
        number, confidence = hierarchy.predict_space_group(vectors[rows], name)
        lattice = hierarchy.predict_lattice(vectors[rows], name)
        for system, table in zip(told, out, strict=True):
            own = system[rows] == name
            table.loc[rows[own], "space_group"] = number[own]
            table.loc[rows[own], "space_group_confidence"] = confidence[own]
            table.loc[rows[own], list(LATTICE)] = lattice[own]
    return out


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
    hierarchy : Hierarchy
    features : Features
    crystals, split : DataFrame
    n_patterns : int
        Patterns a material, drawn at random; all where there are fewer.
    seed : int
        Of the draw.
    progress : bool
        Show a progress bar.

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
    chosen = choose_patterns(labels, n_patterns, seed)
    vectors = features.take(kept[np.concatenate(list(chosen.values()))])
    ends = np.cumsum([len(members) for members in chosen.values()])
    members = np.split(np.arange(len(vectors)), ends[:-1])
    votes = hierarchy.system_votes(vectors)
    truth = labels.drop(columns="pattern").drop_duplicates("material_id").set_index("material_id")
    rows = []
    for name, own in zip(chosen, members, strict=True):
        weights = aggregate_votes(votes[own])
        rows.append(
            {"material_id": name, "n_patterns": len(own)}
            | truth.loc[name].to_dict()
            | {f"weight_{s}": w for s, w in zip(hierarchy.classes, weights, strict=True)}
            | {
                "system": hierarchy.classes[int(weights.argmax())],
                "confidence": aggregate_confidence(weights),
            }
        )
    table = pd.DataFrame(rows)
    if not hierarchy.space_group:
        return table
    told = [table[name].to_numpy() for name in ("system", "true_system")]
    with tqdm(total=len(hierarchy.space_group), desc="systems asked", disable=not progress) as bar:
        predicted, given = _aggregate_by_system(hierarchy, vectors, members, told, bar)
    given = given.drop(columns="space_group_confidence").add_suffix("_given")
    return pd.concat([table, predicted, given], axis=1)


def _aggregate_by_system(
    hierarchy: Hierarchy,
    vectors: np.ndarray,
    members: list[np.ndarray],
    told: Sequence[np.ndarray],
    bar: tqdm,
) -> list[pd.DataFrame]:
    """Space group and lattice of each material, all its patterns by the forests of one system.

    As :func:`_by_system`, but that materials are told systems.
    """
    out = [_no_answers(len(members)) for _ in told]
    for name in hierarchy.space_group:
        bar.update()
        materials = np.flatnonzero(np.any([system == name for system in told], axis=0))
        if not len(materials):
            continue
        rows = np.concatenate([members[i] for i in materials])
        ends = np.cumsum([len(members[i]) for i in materials])
        votes = np.split(hierarchy.space_group_votes(vectors[rows], name), ends[:-1])
        lattices = np.split(hierarchy.predict_lattice(vectors[rows], name), ends[:-1])
        groups = hierarchy.space_groups(name)
        for i, vote, lattice in zip(materials, votes, lattices, strict=True):
            weights = aggregate_votes(vote)
            answer = [groups[weights.argmax()], aggregate_confidence(weights)]
            for system, table in zip(told, out, strict=True):
                if system[i] == name:
                    table.loc[i, ["space_group", "space_group_confidence"]] = answer
                    table.loc[i, list(LATTICE)] = np.median(lattice, axis=0)
    return out


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of predictions to Parquet.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    with atomic_write(path) as partial:
        table.to_parquet(partial, index=False)


def read_table(
    path: Path, made_by: str, columns: tuple[str, ...] = ("material_id",)
) -> pd.DataFrame:
    """Read a table of a run.

    Parameters
    ----------
    path : Path
    made_by : str
        What to run when it is not there.
    columns : tuple of str
        Columns that it must have.

    Returns
    -------
    DataFrame

    Raises
    ------
    UserError
        Not there, not Parquet, or without a column.
    """
    return files.read_table(path, columns, made_by=made_by).to_pandas()

"""Training of the predictor on examples, and what it is worth on materials it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ediff_solve.forests.reliability import compute_accuracy_at_coverage, compute_ece
from ediff_solve.predictor.boosting import (
    BoostingSettings,
    SpaceGroupModel,
    sum_systems,
    train_model,
)
from ediff_solve.predictor.evidence import NAMES
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.groups import N_GROUPS, NUMBERED_SYSTEMS, system_of
from ediff_utils.paper.evaluation import right_system

#: Of the training materials, those that tell when to stop and how sure to be.
HELD_OUT = 0.1
#: Space groups of which one may be right.
TOP = 5
#: Share of the answers that is left when the least confident are set aside.
COVERAGE = 0.8
#: True lengths of the axes, and their errors, in a table of answers.
LENGTHS, ERRORS = ("length_1", "length_2", "length_3"), ("error_1", "error_2", "error_3")


def hold_out(split: pd.DataFrame, seed: int) -> set[str]:
    """Training materials that trees are not grown on.

    Parameters
    ----------
    split : DataFrame
        ``material_id`` and ``part``.
    seed : int
    """
    names = np.sort(split.loc[split["part"] == "train", "material_id"].unique())
    rng = np.random.default_rng(seed)
    return set(rng.choice(names, round(HELD_OUT * len(names)), replace=False))


def train_predictor(
    index: pd.DataFrame,
    vectors: np.ndarray,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: BoostingSettings,
    on_round: Callable[[str, int], None] | None = None,
) -> dict[str, SpaceGroupModel]:
    """Train on the training materials' examples: single patterns, and several together.

    Parameters
    ----------
    index, vectors
        See :func:`ediff_solve.predictor.training.examples.read_examples`.
    crystals, split : DataFrame
        Labels and axes, and which material is on which side.
    settings : BoostingSettings
    on_round : callable, optional
        Called with the kind and the number of the round.

    Returns
    -------
    dict of str to SpaceGroupModel
        ``single`` and ``several``.

    Raises
    ------
    UserError
        No examples of training materials.
    """
    train = set(split.loc[split["part"] == "train", "material_id"])
    rows = np.flatnonzero(index["material_id"].isin(train))
    groups = index["material_id"].map(crystals.set_index("material_id")["space_group"]).to_numpy()
    models, apart = {}, hold_out(split, settings.seed)
    for kind in ("single", "several"):
        alone = (index["patterns"].to_numpy()[rows] == 1) == (kind == "single")
        own = rows[alone]
        if not len(own):
            raise UserError(f"examples: found none of training materials for '{kind}'")
        held_out = index["material_id"].iloc[own].isin(apart).to_numpy()
        report = None if on_round is None else (lambda n, kind=kind: on_round(kind, n))
        models[kind] = train_model(
            vectors[own], groups[own].astype(int), held_out, settings, report
        )
    return models


def lattice_errors(
    index: pd.DataFrame, vectors: np.ndarray, crystals: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the conventional axes, shortest first, and errors of those that were found.

    Parameters
    ----------
    index, vectors, crystals
        See :func:`train_predictor`.

    Returns
    -------
    lengths, errors : ndarray, shape (n, 3)
        [angstrom]; errors are infinite where no lattice was solved.
    """
    names = [NAMES.index(f"conventional_{axis}") for axis in "abc"]
    found = np.sort(vectors[:, names].astype(float), axis=1)
    axes = crystals.set_index("material_id")[["a", "b", "c"]]
    lengths = np.sort(axes.loc[index["material_id"]].to_numpy(float), axis=1)
    return lengths, np.where(np.isnan(found), np.inf, np.abs(found - lengths))


def judge(
    models: dict[str, SpaceGroupModel],
    index: pd.DataFrame,
    vectors: np.ndarray,
    crystals: pd.DataFrame,
) -> pd.DataFrame:
    """Ask a predictor about examples whose crystals are known.

    Parameters
    ----------
    models : dict of str to SpaceGroupModel
    index, vectors, crystals
        See :func:`train_predictor`.

    Returns
    -------
    DataFrame
        A row an example: ``material_id, protocol, patterns, spots, thickness, true_system, system,
        confidence, true_space_group, space_group``, ``rank`` of the right space group among the
        answers, counted from 1, ``indexed``, the share of the spots that the lattice explains,
        ``length_1`` to ``length_3`` and ``error_1`` to ``error_3`` (:func:`lattice_errors`).
    """
    truth = index["material_id"].map(crystals.set_index("material_id")["space_group"]).to_numpy(int)
    probabilities = np.zeros((len(index), N_GROUPS))
    alone = index["patterns"].to_numpy() == 1
    for kind, chosen in (("single", alone), ("several", ~alone)):
        if chosen.any():
            probabilities[chosen] = models[kind].probabilities(vectors[chosen])
    systems = sum_systems(probabilities)
    names = np.array(NUMBERED_SYSTEMS)
    own = probabilities[np.arange(len(index)), truth - 1]
    lengths, errors = lattice_errors(index, vectors, crystals)
    return index.assign(
        true_system=names[system_of(truth)],
        system=names[systems.argmax(axis=1)],
        confidence=systems.max(axis=1),
        true_space_group=truth,
        space_group=1 + probabilities.argmax(axis=1),
        rank=1 + (probabilities > own[:, None]).sum(axis=1),
        indexed=vectors[:, NAMES.index("indexed")],
        **dict(zip(LENGTHS, lengths.T, strict=True)),
        **dict(zip(ERRORS, errors.T, strict=True)),
    )


def summarise(table: pd.DataFrame) -> dict[str, float]:
    """Figures of some answers.

    Parameters
    ----------
    table : DataFrame
        See :func:`judge`.

    Returns
    -------
    dict
        ``accuracy``, ``space_group_top1``, ``space_group_top5``, ``ece``, ``at_80_coverage``,
        ``n`` and ``n_materials``.
    """
    return {
        "accuracy": float(right_system(table).mean()),
        "space_group_top1": float((table["rank"] == 1).mean()),
        "space_group_top5": float((table["rank"] <= TOP).mean()),
        "ece": compute_ece(table, "confidence"),
        "at_80_coverage": compute_accuracy_at_coverage(table, "confidence", COVERAGE),
        "n": len(table),
        "n_materials": int(table["material_id"].nunique()),
    }

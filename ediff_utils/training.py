"""Training: the split of the materials, and the forests of table 1 grown on one part of it.

Trees, depths and features a split are table 1 of Gleason et al. 2024.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import skops
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split

from ediff_utils import __version__
from ediff_utils.crystal import ALL_SYSTEMS, SYSTEMS
from ediff_utils.errors import UserError
from ediff_utils.feature_files import Features
from ediff_utils.features import coarsen
from ediff_utils.growing import Checkpoint, TreeCount, tree_workers
from ediff_utils.models import (
    ABOUT,
    LATTICE,
    Forest,
    Hierarchy,
    load_hierarchy,
    save_hierarchy,
)
from ediff_utils.progress import tqdm
from ediff_utils.published import HYPERPARAMETERS
from ediff_utils.settings import ForestSettings

#: Trees fitted between two steps of the progress bar.
_BATCH = 8
#: Where the work is done and how the forests are asked is no property of theirs.
_NOT_OF_FORESTS = {"jobs", "cluster", "patterns_per_prediction"}


def make_split(crystals: pd.DataFrame, settings: ForestSettings) -> pd.DataFrame:
    """Divide the materials into training and test, once for all models.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : ForestSettings
        ``split_by`` "material": every material on its own, as the paper does. "prototype":
        isostructural materials stay on one side, which asks more of a model.

    Returns
    -------
    DataFrame
        ``material_id`` and ``part``, "train" or "test".

    Raises
    ------
    UserError
        Fewer than two materials (or prototypes) to divide.
    """
    groups = crystals["prototype" if settings.split_by == "prototype" else "material_id"]
    unique = groups.drop_duplicates().sort_values().to_numpy()
    if len(unique) < 2:
        raise UserError(f"crystals: expected at least two to divide into parts, got {len(unique)}")
    if np.ceil(settings.test_size * len(unique)) >= len(unique):
        raise UserError(
            f"test_size: {settings.test_size} of {len(unique)} materials leaves none to train on"
        )
    _, test = train_test_split(unique, test_size=settings.test_size, random_state=settings.seed)
    part = np.where(groups.isin(set(test)), "test", "train")
    return pd.DataFrame({"material_id": crystals["material_id"].to_numpy(), "part": part})


def forest_plan(
    labels: pd.DataFrame, settings: ForestSettings
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Which forests are trained, and on which patterns.

    Parameters
    ----------
    labels : DataFrame
        ``crystal_system`` of every training pattern.
    settings : ForestSettings

    Yields
    ------
    kind : {"crystal_system", "space_group", "lattice"}
    system : str
        Empty for the crystal-system forest.
    rows : ndarray of int
        Rows of ``labels``.
    """
    systems = ALL_SYSTEMS if settings.include_triclinic else SYSTEMS
    system = labels["crystal_system"].to_numpy()
    yield "crystal_system", "", np.flatnonzero(np.isin(system, systems))
    for name in systems:
        rows = np.flatnonzero(system == name)
        if len(rows):
            yield "space_group", name, rows
            yield "lattice", name, rows


def new_forest(kind: str, settings: ForestSettings) -> Forest:
    """An untrained forest with the hyperparameters of table 1.

    Parameters
    ----------
    kind : {"crystal_system", "space_group", "lattice"}
    settings : ForestSettings
        ``tree_fraction``, ``max_features``, ``max_samples`` and ``min_samples_leaf`` scale table 1
        down where time is short, those that begin with ``lattice`` the lattice's forests.

    Returns
    -------
    RandomForestClassifier or RandomForestRegressor
    """
    table = HYPERPARAMETERS[kind]
    names = ("max_features", "max_samples", "min_samples_leaf")
    features, samples, leaf = (getattr(settings, name) for name in names)
    if kind == "lattice":
        own = (settings.lattice_features, settings.lattice_samples, settings.lattice_leaf)
        pairs = zip(own, (features, samples, leaf), strict=True)
        features, samples, leaf = (mine if mine is not None else all_ for mine, all_ in pairs)
    arguments = {
        "n_estimators": max(1, round(table["trees"].value * settings.tree_fraction)),
        "max_depth": int(table["depth"].value),
        "max_features": features,
        "max_samples": samples if samples < 1 else None,
        "min_samples_leaf": leaf,
        "random_state": settings.seed,
        "n_jobs": -1 if settings.cluster else settings.jobs,
    }
    return (RandomForestRegressor if kind == "lattice" else RandomForestClassifier)(**arguments)


def fit_forest(
    forest: Forest,
    features: np.ndarray,
    target: np.ndarray,
    step: Callable[[int], object],
    checkpoint: Checkpoint | None = None,
) -> Forest:
    """Fit a forest a few trees at a time, which gives the same trees as all at once.

    Parameters
    ----------
    forest : RandomForestClassifier or RandomForestRegressor
        Untrained.
    features : ndarray of float32, shape (n, 1066)
        In Fortran order a tree is grown sooner: it asks for one feature of many patterns.
    target : ndarray, shape (n,) or (n, 3)
    step : callable
        Told how many trees have been added.
    checkpoint : Checkpoint, optional
        Keeps the trees as they come, and has those of an earlier, stopped run.

    Returns
    -------
    The forest.
    """
    total = forest.n_estimators
    forest.set_params(warm_start=True)
    grown = checkpoint.load() if checkpoint else []
    if grown:
        forest.estimators_ = grown
        step(len(grown))
    for n_trees in [*range(_BATCH, total, _BATCH), total]:
        before = len(getattr(forest, "estimators_", []))
        # Where all trees were loaded, the last fit still learns the classes, which they lack.
        if before >= n_trees and (n_trees < total or hasattr(forest, "n_outputs_")):
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warm-start fitting without increasing")
            forest.set_params(n_estimators=n_trees).fit(features, target)
        if checkpoint and n_trees > before:
            checkpoint.save(before, forest.estimators_[before:])
        step(n_trees - before)
    return forest.set_params(warm_start=False)


def prepare_hierarchy(
    features: Features,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
    folder: Path,
    *,
    only_system: bool = False,
    progress: bool = True,
) -> Hierarchy:
    """Train the forests and save them, or load them where that was done before.

    Parameters
    ----------
    features, crystals, split, settings, only_system, progress
        As in :func:`train_hierarchy`.
    folder : Path
        Of the models. Trees are kept there as they are grown, so that a training that was stopped
        goes on where it was.

    Returns
    -------
    Hierarchy

    Raises
    ------
    UserError
        As :func:`train_hierarchy`, or a file cannot be written or read.
    """
    labels = _training_labels(features, crystals, split)
    about = describe_training(features, labels, settings)
    found = json.loads((folder / ABOUT).read_text()) if (folder / ABOUT).exists() else {}
    same = about["training"]["key"] and all(found.get(name) == about[name] for name in about)
    if same and (only_system or len(found["files"]) > 1):
        return load_hierarchy(folder, progress=progress)
    known: dict[tuple[str, str], Forest] = {}
    if about["training"]["key"] and _of_classes(found) == _of_classes(about):
        # What differs are the lattice's forests alone.
        old = load_hierarchy(folder, progress=progress)
        known = {("crystal_system", ""): old.system_forest}
        known |= {("space_group", system): forest for system, forest in old.space_group.items()}
    hierarchy = train_hierarchy(
        features,
        crystals,
        split,
        settings,
        only_system=only_system,
        checkpoints=folder / "growing" if about["training"]["key"] else None,
        known=known,
        progress=progress,
    )
    save_hierarchy(hierarchy, folder, progress=progress)
    shutil.rmtree(folder / "growing", ignore_errors=True)
    return hierarchy


def _of_classes(about: Mapping[str, object]) -> dict[str, object]:
    """What forests that tell classes were made with and from."""
    names = ("ediff_utils", "python", "scikit_learn", "skops", "training")
    settings = {k: v for k, v in about.get("settings", {}).items() if not k.startswith("lattice_")}
    return {name: about.get(name) for name in names} | {"settings": settings}


def train_hierarchy(
    features: Features,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
    *,
    only_system: bool = False,
    checkpoints: Path | None = None,
    known: Mapping[tuple[str, str], Forest] | None = None,
    progress: bool = True,
) -> Hierarchy:
    """Train the forests on the training part.

    Parameters
    ----------
    features : Features
        Only the patterns of one forest are in memory at a time.
    crystals : DataFrame
        The crystals' table, for the labels.
    split : DataFrame
        See :func:`make_split`.
    settings : ForestSettings
    only_system : bool
        Train the crystal-system forest alone.
    checkpoints : Path, optional
        Folder where trees are kept as they are grown.
    known : mapping of (kind, system) to forest, optional
        Those that need not be trained.
    progress : bool
        Show a progress bar of trees.

    Returns
    -------
    Hierarchy

    Raises
    ------
    UserError
        No pattern of a usable crystal in the training part.
    """
    labels = _training_labels(features, crystals, split)
    about = describe_training(features, labels, settings)
    plan = [job for job in forest_plan(labels, settings) if not (only_system and job[1])]
    if not len(plan[0][2]):
        raise UserError("split: expected training patterns that are not triclinic, found none")
    forests: dict[tuple[str, str], Forest] = dict(known or {})
    plan = [job for job in plan if job[:2] not in forests]
    untrained = [new_forest(kind, settings) for kind, _, _ in plan]
    total = sum(forest.n_estimators for forest in untrained)
    rows_before, vectors = np.empty(0), np.empty(0)
    bar = tqdm(total=total, desc="trees grown", unit="trees", disable=not progress)
    count = TreeCount(bar.update)
    with bar, tree_workers(settings.cluster, settings.jobs, count.early):
        for (kind, system, rows), forest in zip(plan, untrained, strict=True):
            bar.set_postfix_str(f"{kind} {system}".strip())
            checkpoint = None
            if checkpoints:
                origin = about if kind == "lattice" else _of_classes(about)
                checkpoint = Checkpoint(checkpoints / f"{kind}-{system}".strip("-"), origin)
            target = labels[list(LATTICE) if kind == "lattice" else kind].to_numpy()[rows]
            if not np.array_equal(rows, rows_before):
                del vectors
                vectors = features.take(labels.index.to_numpy()[rows], order="F")
                if settings.coarse_features:
                    coarsen(vectors)
                rows_before = rows
            forests[kind, system] = fit_forest(forest, vectors, target, count, checkpoint)
    return Hierarchy(
        forests["crystal_system", ""],
        {system: f for (kind, system), f in forests.items() if kind == "space_group"},
        {system: f for (kind, system), f in forests.items() if kind == "lattice"},
        about,
    )


def _training_labels(
    features: Features, crystals: pd.DataFrame, split: pd.DataFrame
) -> pd.DataFrame:
    """Labels of the training patterns; their index counts the rows of the features."""
    labels = label_patterns(features.index, crystals, split)
    return labels[labels["part"] == "train"]


def label_patterns(
    index: pd.DataFrame, crystals: pd.DataFrame, split: pd.DataFrame
) -> pd.DataFrame:
    """Labels of every pattern, in the order of the patterns.

    Parameters
    ----------
    index : DataFrame
        ``material_id`` and ``pattern``.
    crystals, split : DataFrame

    Returns
    -------
    DataFrame
        ``material_id, pattern, part, crystal_system, space_group, a, b, c``.

    Raises
    ------
    UserError
        A pattern of a material that the tables do not have.
    """
    columns = ["material_id", "crystal_system", "space_group", *LATTICE]
    labels = index[["material_id", "pattern"]]
    labels = labels.merge(crystals[columns], on="material_id", how="left", validate="many_to_one")
    labels = labels.merge(split, on="material_id", how="left", validate="many_to_one")
    missing = labels["part"].isna() | labels["crystal_system"].isna()
    if missing.any():
        name = labels.loc[missing, "material_id"].iloc[0]
        raise UserError(f"features: material {name} is not in the tables of crystals and split")
    return labels


def describe_training(
    features: Features, labels: pd.DataFrame, settings: ForestSettings
) -> dict[str, object]:
    """What forests were made with and from, ready for JSON.

    Parameters
    ----------
    features : Features
    labels : DataFrame
        Of the training patterns, see :func:`label_patterns`.
    settings : ForestSettings

    Returns
    -------
    dict
        Versions, settings, and a summary of the training data; ``key`` in it is empty where the
        features do not say where they are from.
    """
    key = ""
    if features.key:
        names = "\n".join(sorted(labels["material_id"].unique()))
        key = hashlib.sha256(f"{features.key}\n{names}".encode()).hexdigest()
    return {
        "ediff_utils": __version__,
        "python": platform.python_version(),
        "scikit_learn": sklearn.__version__,
        "skops": skops.__version__,
        "settings": json.loads(
            settings.model_dump_json(exclude=_NOT_OF_FORESTS, exclude_none=True)
        ),
        "training": {
            "materials": int(labels["material_id"].nunique()),
            "patterns": len(labels),
            "systems": labels["crystal_system"].value_counts().sort_index().to_dict(),
            "key": key,
        },
    }

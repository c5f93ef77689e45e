"""Training: the forests of table 1 grown on the training part of the materials.

Trees, depths and features a split are table 1 of Gleason et al. 2024.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import skops
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from ediff_utils import __version__
from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import file_sha256
from ediff_utils.core.made_from import Identity
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS
from ediff_utils.paper.checkpoints import Checkpoint, TreeCount, tree_workers
from ediff_utils.paper.feature_files import Features
from ediff_utils.paper.features import coarsen
from ediff_utils.paper.labels import label_patterns
from ediff_utils.paper.models import (
    ABOUT,
    FORESTS,
    LATTICE,
    Forest,
    Hierarchy,
    forest_file,
    load_hierarchy,
    read_about,
    write_about,
    write_forest,
)
from ediff_utils.paper.published import HYPERPARAMETERS

#: Trees fitted between two steps of the progress bar.
_BATCH = 8
#: Where the work is done and how the forests are asked is no property of theirs.
_NOT_OF_FORESTS = {"jobs", "cluster", "patterns_per_prediction"}


def _forest_plan(
    labels: pd.DataFrame, settings: ForestSettings
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, crystal system and rows of the labels of each forest; one of all has no system."""
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

    ``tree_fraction``, ``max_features``, ``max_samples`` and ``min_samples_leaf`` scale table 1 down
    where time is short, those that begin with ``lattice`` the lattice's forests.
    """
    table = HYPERPARAMETERS[kind]
    names = ("max_features", "max_samples", "min_samples_leaf")
    features, samples, leaf = (getattr(settings, name) for name in names)
    if kind == "lattice":
        own = (settings.lattice_features, settings.lattice_samples, settings.lattice_leaf)
        pairs = zip(own, (features, samples, leaf), strict=True)
        features, samples, leaf = (mine if mine is not None else all_ for mine, all_ in pairs)
    arguments = {
        "n_estimators": max(1, round(table["trees"] * settings.tree_fraction)),
        "max_depth": table["depth"],
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

    ``features``, float32 (n, 1066), are sooner learnt from in Fortran order: a tree asks for one
    feature of many patterns. ``target`` has shape (n,) or (n, 3). ``step`` is told how many trees
    have been added; ``checkpoint`` keeps the trees as they come, and has those of an earlier,
    stopped run.
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
    features : Features
        Only the patterns of one forest are in memory at a time.
    crystals : DataFrame
        The crystals' table, for the labels.
    split : DataFrame
        See :func:`ediff_utils.paper.labels.make_split`.
    settings : ForestSettings
    folder : Path
        Of the models. Trees are kept there as they are grown, so that a training that was stopped
        goes on where it was.
    only_system : bool
        Train the crystal-system forest alone.
    progress : bool
        Show a progress bar of trees.

    Returns
    -------
    Hierarchy

    Raises
    ------
    UserError
        No pattern of a usable crystal in the training part, or a file that cannot be written or
        read.
    """
    labels = label_patterns(features.index, crystals, split)
    # Their index counts the rows of the features.
    labels = labels[labels["part"] == "train"]
    about, wanted = _describe(labels, settings), _identify(features, labels, settings)
    kept = _find_kept(folder, wanted, only_system)
    if kept is None:
        return _load(folder, about, progress)
    growing, grown = folder / "growing", []
    forests = _grow_forests(
        features,
        labels,
        wanted,
        settings,
        only_system=only_system,
        # Those of features that are not known would never be used.
        checkpoints=growing if features.key else None,
        without=kept,
        progress=progress,
    )
    # One at a time: all of them together need more memory than to grow any one.
    for name, forest in forests:
        write_forest(forest, growing / name)
        grown.append(name)
        del forest
    for name in grown:
        (growing / name).replace(folder / name)
    write_about(folder, [*kept, *grown], about, wanted)
    shutil.rmtree(growing, ignore_errors=True)
    return _load(folder, about, progress)


def _find_kept(folder: Path, wanted: Identity, only_system: bool) -> list[str] | None:
    """Files of a folder that need not be made again; None where none has to be made."""
    found = made_from.read(folder / ABOUT)
    if not FORESTS.is_same(found and _of_classes(found), _of_classes(wanted)):
        return []
    about = read_about(folder)
    lattices = replace(FORESTS, name="forests of lattices")
    same = lattices.is_same(found, {"settings": wanted["settings"]})
    if same and (only_system or len(about["files"]) > 1):
        return None
    # What differs, or is not there yet, are other forests than these.
    names = [f"{name}.skops" for name in about["files"] if not name.startswith("lattice-")]
    return [name for name in names if _is_whole(folder / name, about["sha256"])]


def _load(folder: Path, about: dict[str, object], progress: bool) -> Hierarchy:
    hierarchy = load_hierarchy(folder, in_turn=True, progress=progress)
    # Without the files' names and checksums, which say nothing of how they were made.
    return replace(hierarchy, about=about)


def _is_whole(path: Path, digests: Mapping[str, str]) -> bool:
    return path.exists() and file_sha256(path) == digests.get(path.stem)


def _of_classes(identity: Identity) -> Identity:
    """The part of an identity that forests which tell classes have."""
    settings = identity.get("settings", {})
    own = {name: value for name, value in settings.items() if not name.startswith("lattice")}
    return {**identity, "settings": own}


def _grow_forests(
    features: Features,
    labels: pd.DataFrame,
    identity: Identity,
    settings: ForestSettings,
    *,
    only_system: bool,
    checkpoints: Path | None,
    without: Collection[str],
    progress: bool,
) -> Iterator[tuple[str, Forest]]:
    """Grow the forests on the training part, one after another; gives their files' names too."""
    plan = [job for job in _forest_plan(labels, settings) if not (only_system and job[1])]
    if not len(plan[0][2]):
        raise UserError("split: expected training patterns that are not triclinic, found none")
    plan = [job for job in plan if forest_file(*job[:2]) not in without]
    untrained = [new_forest(kind, settings) for kind, _, _ in plan]
    total = sum(forest.n_estimators for forest in untrained)
    rows_before, vectors = np.empty(0), np.empty(0)
    bar = tqdm(total=total, desc="trees grown", unit="trees", disable=not progress)
    count = TreeCount(bar.update)
    with bar, tree_workers(settings.cluster, settings.jobs, count.early):
        while plan:
            kind, system, rows = plan.pop(0)
            bar.set_postfix_str(f"{kind} {system}".strip())
            checkpoint = None
            if checkpoints:
                origin = identity if kind == "lattice" else _of_classes(identity)
                checkpoint = Checkpoint(checkpoints / f"{kind}-{system}".strip("-"), origin)
            target = labels[list(LATTICE) if kind == "lattice" else kind].to_numpy()[rows]
            if not np.array_equal(rows, rows_before):
                del vectors
                vectors = features.take(labels.index.to_numpy()[rows], order="F")
                if settings.coarse_features:
                    coarsen(vectors)
                rows_before = rows
            # Taken from the list, so that no forest stays longer than whoever asked for it needs.
            forest = fit_forest(untrained.pop(0), vectors, target, count, checkpoint)
            yield forest_file(kind, system), forest
            del forest


def _describe(labels: pd.DataFrame, settings: ForestSettings) -> dict[str, object]:
    """How forests are made, for readers: versions, settings, a summary of the training data."""
    return {
        "ediff_utils": __version__,
        **_versions(),
        "settings": _plain(settings),
        "training": {
            "materials": int(labels["material_id"].nunique()),
            "patterns": len(labels),
            "systems": labels["crystal_system"].value_counts().sort_index().to_dict(),
        },
    }


def _identify(
    features: Features, labels: pd.DataFrame, settings: ForestSettings
) -> dict[str, dict]:
    """What forests are made from."""
    table_1 = {
        kind: [table[name] for name in ("trees", "depth")]
        for kind, table in HYPERPARAMETERS.items()
    }
    materials = labels.drop(columns="pattern").drop_duplicates("material_id")
    text = materials.sort_values("material_id").to_csv(index=False)
    inputs = {"features": features.key, "labels": hashlib.sha256(text.encode()).hexdigest()}
    return FORESTS.identify(_plain(settings) | table_1, inputs, packages=_versions())


def _versions() -> dict[str, str]:
    """Of what grows the trees and writes them."""
    return {
        "python": platform.python_version(),
        "scikit_learn": sklearn.__version__,
        "skops": skops.__version__,
    }


def _plain(settings: ForestSettings) -> dict[str, object]:
    """Settings that are properties of the forests."""
    return settings.model_dump(mode="json", exclude=_NOT_OF_FORESTS, exclude_none=True)

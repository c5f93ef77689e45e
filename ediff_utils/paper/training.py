"""Training: the forests of table 1 grown on the training part of the materials.

Trees, their depth and all features in every split are table 1 of Gleason et al. 2024. The trees are
grown by :mod:`ediff_utils.forest`, or by scikit-learn.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

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
from ediff_utils.forest.binning import draw_sample, find_cuts, to_bins
from ediff_utils.forest.grower import grow_trees
from ediff_utils.forest.trees import to_forest, to_tree
from ediff_utils.paper.checkpoints import Checkpoint, TreeCount, tree_workers
from ediff_utils.paper.feature_files import Features
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
#: Patterns that become bytes at once.
_BLOCK = 20_000
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


class Bins(NamedTuple):
    """Vectors of patterns as bytes, for :func:`ediff_utils.forest.grower.grow_trees`.

    Parameters
    ----------
    columns : ndarray of uint8, shape (n_features, n)
    cuts : ndarray, shape (n_features, 255)
    """

    columns: np.ndarray
    cuts: np.ndarray


def new_forest(kind: str, settings: ForestSettings) -> Forest:
    """An untrained forest with the hyperparameters of table 1, all features in every split.

    Of its trees there are ``tree_fraction``.
    """
    table = HYPERPARAMETERS[kind]
    return (RandomForestRegressor if kind == "lattice" else RandomForestClassifier)(
        n_estimators=max(1, round(table["trees"] * settings.tree_fraction)),
        max_depth=table["depth"],
        max_features=1.0,
        random_state=settings.seed,
        n_jobs=-1 if settings.cluster else settings.jobs,
    )


def prepare_vectors(
    features: Features, rows: np.ndarray, settings: ForestSettings
) -> Bins | np.ndarray:
    """Vectors of some rows, in the form in which :func:`fit_forest` learns from them.

    Bytes for our grower, whose cuts are chosen from these rows alone; float32, (n, n_features), for
    scikit-learn, in Fortran order: its trees ask for one feature of many patterns.
    """
    if settings.grower == "scikit-learn":
        return features.take(rows, order="F")
    cuts = find_cuts(features.take(rows[draw_sample(len(rows), settings.seed)]))
    blocks = (features.take(rows[i : i + _BLOCK]) for i in range(0, len(rows), _BLOCK))
    return Bins(to_bins(blocks, cuts, len(rows)), cuts)


def fit_forest(
    forest: Forest,
    vectors: Bins | np.ndarray,
    target: np.ndarray,
    step: Callable[[int], object],
    checkpoint: Checkpoint | None = None,
) -> Forest:
    """Grow a forest a few trees at a time, which gives the same trees as all at once.

    ``vectors`` are those of :func:`prepare_vectors`; ``target`` has shape (n,) or (n, 3). ``step``
    is told how many trees have been added; ``checkpoint`` keeps the trees as they come, and has
    those of an earlier, stopped run.
    """
    if not isinstance(vectors, Bins):
        return _fit_theirs(forest, vectors, target, step, checkpoint)
    classes, codes = None, target
    if isinstance(forest, RandomForestClassifier):
        classes, codes = np.unique(target, return_inverse=True)
    options = {"n_classes": 0 if classes is None else len(classes)}
    options |= {"max_depth": forest.max_depth, "seed": forest.random_state}
    trees = checkpoint.load() if checkpoint else []
    step(len(trees))
    while len(trees) < forest.n_estimators:
        numbers = range(len(trees), min(len(trees) + _BATCH, forest.n_estimators))
        grown = grow_trees(vectors.columns, codes, numbers, **options)
        new = [to_tree(tree, vectors.cuts, regression=classes is None) for tree in grown]
        if checkpoint:
            checkpoint.save(len(trees), new)
        trees += new
        step(len(new))
    names = ("max_depth", "max_features", "random_state", "n_jobs")
    return to_forest(trees, classes, **{name: getattr(forest, name) for name in names})


def _fit_theirs(
    forest: Forest,
    features: np.ndarray,
    target: np.ndarray,
    step: Callable[[int], object],
    checkpoint: Checkpoint | None,
) -> Forest:
    """The same by scikit-learn's own ``fit``."""
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
    if not FORESTS.is_same(made_from.read(folder / ABOUT), wanted):
        return []
    about = read_about(folder)
    if only_system or len(about["files"]) > 1:
        return None
    whole = _is_whole(folder / "crystal_system.skops", about["sha256"])
    return ["crystal_system.skops"] if whole else []


def _load(folder: Path, about: dict[str, object], progress: bool) -> Hierarchy:
    hierarchy = load_hierarchy(folder, in_turn=True, progress=progress)
    # Without the files' names and checksums, which say nothing of how they were made.
    return replace(hierarchy, about=about)


def _is_whole(path: Path, digests: Mapping[str, str]) -> bool:
    return path.exists() and file_sha256(path) == digests.get(path.stem)


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
    rows_before, vectors = np.empty(0), None
    bar = tqdm(total=total, desc="trees grown", unit="trees", disable=not progress)
    count = TreeCount(bar.update)
    with bar, tree_workers(settings.cluster, settings.jobs, count.early):
        while plan:
            kind, system, rows = plan.pop(0)
            bar.set_postfix_str(f"{kind} {system}".strip())
            checkpoint = None
            if checkpoints:
                checkpoint = Checkpoint(checkpoints / f"{kind}-{system}".strip("-"), identity)
            target = labels[list(LATTICE) if kind == "lattice" else kind].to_numpy()[rows]
            # Space groups and lattices of a system are of the same patterns.
            if vectors is None or not np.array_equal(rows, rows_before):
                vectors = None
                vectors = prepare_vectors(features, labels.index.to_numpy()[rows], settings)
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

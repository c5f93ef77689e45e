"""One forest over what several patterns of a material have together, instead of a vote."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from ediff_utils.core.errors import UserError
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.paper.aggregation import pool_features
from ediff_utils.paper.checkpoints import TreeCount, tree_workers
from ediff_utils.paper.feature_files import Features
from ediff_utils.paper.labels import label_patterns
from ediff_utils.paper.predictions import choose_patterns
from ediff_utils.paper.training import fit_forest, new_forest


def compute_pooled(
    features: Features,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
    *,
    classes: tuple[str, ...],
    draws: int = 4,
    progress: bool = True,
) -> pd.DataFrame:
    """Train a crystal-system forest on pooled features, and ask it about the test materials.

    Parameters
    ----------
    features : Features
    crystals, split : DataFrame
    settings : ForestSettings
        ``patterns_per_prediction`` patterns are pooled; trees and depth as for single patterns. A
        pool is one sample, and there are few of them: every tree draws from all.
    classes : tuple of str
        Crystal systems; others are left out.
    draws : int
        So many pools of each training material, of patterns drawn anew.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        One row a test material: ``material_id, n_patterns, true_system, score_<system>, system,
        confidence``, the patterns being those of
        :func:`ediff_utils.paper.predictions.compute_aggregates`.

    Raises
    ------
    UserError
        No training or no test materials.
    """
    labels = label_patterns(features.index, crystals, split)
    usable = labels["crystal_system"].isin(classes)
    parts = {name: labels[usable & (labels["part"] == name)] for name in ("train", "test")}
    for name, part in parts.items():
        if not len(part):
            raise UserError(f"split: expected {name} patterns of the forests' crystal systems")
    n, seed = settings.patterns_per_prediction, settings.seed
    pools = [_pool(features, parts["train"], n, seed + draw) for draw in range(draws)]
    vectors = np.concatenate([vectors for vectors, _ in pools])
    target = pd.concat([table for _, table in pools])["true_system"].to_numpy()
    whole = settings.model_copy(update={"max_samples": 1.0})
    forest = new_forest("crystal_system", whole)
    forest = _fit(forest, vectors, target, whole, progress)
    vectors, table = _pool(features, parts["test"], n, seed)
    return _answer(forest, vectors, table)


def _pool(
    features: Features, labels: pd.DataFrame, n_patterns: int, seed: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Pooled vectors, one a material, and the materials."""
    rows = labels.index.to_numpy()
    chosen = choose_patterns(labels.reset_index(drop=True), n_patterns, seed)
    wanted = rows[np.concatenate(list(chosen.values()))]
    sizes = [len(members) for members in chosen.values()]
    groups = np.split(np.arange(len(wanted)), np.cumsum(sizes)[:-1])
    truth = labels.drop_duplicates("material_id").set_index("material_id")["crystal_system"]
    table = pd.DataFrame(
        {
            "material_id": list(chosen),
            "n_patterns": sizes,
            "true_system": truth[list(chosen)].to_numpy(),
        }
    )
    return pool_features(features.take(wanted), groups), table


def _fit(
    forest: RandomForestClassifier,
    vectors: np.ndarray,
    target: np.ndarray,
    settings: ForestSettings,
    progress: bool,
) -> RandomForestClassifier:
    bar = tqdm(
        total=forest.n_estimators, desc="trees on pools grown", unit="trees", disable=not progress
    )
    count = TreeCount(bar.update)
    with bar, tree_workers(settings.cluster, settings.jobs, count.early):
        return fit_forest(forest, np.asfortranarray(vectors), target, count)


def _answer(
    forest: RandomForestClassifier, vectors: np.ndarray, table: pd.DataFrame
) -> pd.DataFrame:
    scores = forest.predict_proba(vectors)
    order = [name for name in ALL_SYSTEMS if name in forest.classes_]
    scores = scores[:, [list(forest.classes_).index(name) for name in order]]
    best = scores.argmax(axis=1)
    return table.assign(
        **{f"score_{name}": scores[:, i] for i, name in enumerate(order)},
        system=np.array(order, dtype=object)[best],
        confidence=scores[np.arange(len(scores)), best],
    )

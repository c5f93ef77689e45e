"""One forest over what several patterns of a material have together, instead of figure 3's vote.

This goes beyond the paper: mean and maximum of each feature over the patterns are its features.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from ediff_utils.core.errors import UserError
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.paper.aggregation import draw_patterns
from ediff_utils.paper.checkpoints import TreeCount, tree_workers
from ediff_utils.paper.feature_files import Features, FeatureSet
from ediff_utils.paper.labels import label_patterns
from ediff_utils.paper.training import fit_forest, new_forest, prepare_vectors


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
    features, crystals, split
        A UserError where there are no training or no test materials.
    settings : ForestSettings
        ``patterns_per_prediction`` patterns are pooled; trees and depth as for single patterns.
    classes : tuple of str
        Crystal systems; others are left out.
    draws : int
        So many pools of each training material, of patterns drawn anew.

    Returns
    -------
    DataFrame
        One row a test material: ``material_id, n_patterns, true_system, score_<system>, system,
        confidence``, the patterns being those of
        :func:`ediff_utils.paper.predictions.compute_aggregates`.
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
    table = pd.concat([table for _, table in pools], ignore_index=True)
    pooled = prepare_vectors(FeatureSet(table, vectors), np.arange(len(vectors)), settings)
    target = table["true_system"].to_numpy()
    forest = new_forest("crystal_system", settings)
    what = {"desc": "trees on pools grown", "unit": "trees", "disable": not progress}
    bar = tqdm(total=forest.n_estimators, **what)
    count = TreeCount(bar.update)
    with bar, tree_workers(settings.cluster, settings.jobs, count.early):
        forest = fit_forest(forest, pooled, target, count)
    vectors, table = _pool(features, parts["test"], n, seed)
    return _answer(forest, vectors, table)


def _answer(
    forest: RandomForestClassifier, vectors: np.ndarray, table: pd.DataFrame
) -> pd.DataFrame:
    """The table of materials with the forest's scores, in the order of the systems."""
    order = [name for name in ALL_SYSTEMS if name in forest.classes_]
    scores = forest.predict_proba(vectors)[:, np.searchsorted(forest.classes_, order)]
    return table.assign(
        **{f"score_{name}": scores[:, i] for i, name in enumerate(order)},
        system=np.array(order, dtype=object)[scores.argmax(axis=1)],
        confidence=scores.max(axis=1),
    )


def _pool(
    features: Features, labels: pd.DataFrame, n_patterns: int, seed: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Pooled vectors, one a material, and the materials."""
    names, groups, turn = draw_patterns(labels["material_id"], seed)
    drawn = np.flatnonzero(turn < n_patterns)
    order = drawn[np.argsort(groups[drawn], kind="stable")]
    sizes = np.bincount(groups[drawn])
    vectors = features.take(labels.index.to_numpy()[order])
    truth = labels.drop_duplicates("material_id").set_index("material_id")["crystal_system"]
    table = pd.DataFrame(
        {"material_id": names, "n_patterns": sizes, "true_system": truth[names].to_numpy()}
    )
    return _pool_features(vectors, sizes), table


def _pool_features(vectors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Mean and maximum of each feature over the patterns of a group; (n_groups, 2 n_features).

    The vectors hold 533 magnitudes and then 533 arguments [radian] of coefficients. The arguments
    are pooled like any number: their mean and maximum do not know that an angle is periodic.
    """
    n_features = vectors.shape[1]
    pooled = np.empty((len(sizes), 2 * n_features), dtype=np.float32)
    # one group at a time: the vectors of all groups at once would be a second copy of gigabytes
    for i, own in enumerate(np.split(vectors, np.cumsum(sizes)[:-1])):
        pooled[i, :n_features] = own.mean(axis=0, dtype=float)
        pooled[i, n_features:] = own.max(axis=0)
    return pooled

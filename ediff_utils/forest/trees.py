"""Grown trees in scikit-learn's own layout, which its forests, and files of them, take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import NODE_DTYPE, Tree

from ediff_utils.forest.grower import Grown

DecisionTree: TypeAlias = DecisionTreeClassifier | DecisionTreeRegressor
Forest: TypeAlias = RandomForestClassifier | RandomForestRegressor


def to_tree(grown: Grown, cuts: np.ndarray, *, regression: bool) -> DecisionTree:
    """A fitted tree, which takes vectors.

    Parameters
    ----------
    grown : Grown
    cuts : ndarray, shape (n_features, 255)
        See :func:`ediff_utils.forest.binning.find_cuts`.
    regression : bool

    Returns
    -------
    DecisionTreeClassifier or DecisionTreeRegressor
        Its classes are numbered; a forest knows their names.
    """
    n_features, n_values = len(cuts), grown.values.shape[1]
    feature, last, left, right, patterns, depth = grown.nodes.T
    inner = feature >= 0
    nodes = np.zeros(len(feature), NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = left, right
    nodes["feature"] = feature
    nodes["threshold"] = -2.0
    # A pattern is in bin b or below where it is at most cut b.
    nodes["threshold"][inner] = cuts[feature[inner], last[inner]]
    nodes["impurity"] = grown.impurity
    nodes["n_node_samples"] = patterns
    nodes["weighted_n_node_samples"] = grown.weight
    # A regression has an output for each number, classes are one output.
    values = grown.values[:, :, None] if regression else grown.values[:, None, :]
    n_outputs, n_classes = values.shape[1:]
    tree = DecisionTreeRegressor() if regression else DecisionTreeClassifier()
    tree.tree_ = Tree(n_features, np.full(n_outputs, n_classes, np.intp), n_outputs)
    tree.tree_.__setstate__(
        {
            "max_depth": int(depth.max()),
            "node_count": len(nodes),
            "nodes": nodes,
            "values": np.ascontiguousarray(values),
        }
    )
    tree.n_features_in_ = tree.max_features_ = n_features
    tree.n_outputs_ = n_outputs
    if not regression:
        tree.classes_, tree.n_classes_ = np.arange(n_values), n_values
    return tree


def to_forest(
    trees: Sequence[DecisionTree], classes: np.ndarray | None = None, **parameters: object
) -> Forest:
    """A fitted forest.

    Parameters
    ----------
    trees : sequence of DecisionTreeClassifier or DecisionTreeRegressor
        See :func:`to_tree`.
    classes : ndarray, optional
        In the order of the trees' numbers; none for a regression.
    **parameters
        Of the forest, as scikit-learn has them.

    Returns
    -------
    RandomForestClassifier or RandomForestRegressor
    """
    kind = RandomForestRegressor if classes is None else RandomForestClassifier
    forest = kind(n_estimators=len(trees), **parameters)
    forest.estimators_ = list(trees)
    forest.estimator_ = type(trees[0])()
    forest.n_features_in_ = trees[0].n_features_in_
    forest.n_outputs_ = trees[0].n_outputs_
    if classes is not None:
        forest.classes_, forest.n_classes_ = classes, len(classes)
    return forest

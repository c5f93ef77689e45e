"""Boosted trees as arrays: read from LightGBM's text once, asked without LightGBM ever after.

A tree divides by ``value <= threshold``. Vectors are float32, and so are thresholds here: each is
the largest float32 that is not above LightGBM's own, which divides float32 values just as that
does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ediff_solve.predictor.kernels.leaves import add_leaves

#: LightGBM's flags of a division: by category, missing values to the left, how a value is missing.
_CATEGORY, _LEFT, _MISSING = 1, 2, 12
_NOT_A_NUMBER = 8


class Trees(NamedTuple):
    """Trees of a classifier, one a class and round, in the order of the rounds.

    A child is the number of a node of the same tree, or -1 less that of a leaf of the same tree.

    Parameters
    ----------
    leaves : ndarray of int16, shape (trees,)
        How many leaves each tree has; one more than nodes.
    feature : ndarray of int16, shape (nodes,)
    threshold : ndarray of float32, shape (nodes,)
    left, right : ndarray of int16, shape (nodes,)
    missing_left : ndarray of int8, shape (nodes,)
        Where a NaN goes: 1 left, 0 right; 2 as a zero does.
    value : ndarray of float32, shape (leaves,)
    """

    leaves: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray


def read_trees(text: str) -> Trees:
    """Trees from the text of a LightGBM model.

    Raises
    ------
    ValueError
        Divisions by category, or with zeros as missing values.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _READ}
    leaves = []
    for block in re.split(r"^Tree=\d+$", text, flags=re.MULTILINE)[1:]:
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        leaves.append(int(fields["num_leaves"]))
        for name, values in columns.items():
            values.append(np.array(fields.get(name, "").split(), dtype=float))
    whole = {name: np.concatenate([np.zeros(0), *values]) for name, values in columns.items()}
    kinds = whole["decision_type"].astype(int)
    if np.any(kinds & _CATEGORY) or not np.isin(kinds & _MISSING, (0, _NOT_A_NUMBER)).all():
        raise ValueError("trees: expected divisions of numbers whose zeros are zeros")
    missing = np.where(kinds & _MISSING, (kinds & _LEFT) // _LEFT, 2)
    return Trees(
        leaves=np.array(leaves, np.int16),
        feature=whole["split_feature"].astype(np.int16),
        threshold=_round_down(whole["threshold"]),
        left=whole["left_child"].astype(np.int16),
        right=whole["right_child"].astype(np.int16),
        missing_left=missing.astype(np.int8),
        value=whole["leaf_value"].astype(np.float32),
    )


_READ = (
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
)


def _round_down(numbers: np.ndarray) -> np.ndarray:
    nearest = numbers.astype(np.float32)
    return np.where(nearest > numbers, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def join_trees(first: Trees, second: Trees) -> Trees:
    """Trees of one classifier, whose sums add up."""
    pairs = zip(first, second, strict=True)
    return Trees(*(np.concatenate([a, b], dtype=a.dtype) for a, b in pairs))


def check_trees(arrays: Mapping[str, np.ndarray], n_features: int, n_classes: int) -> Trees:
    """Trees of arrays from a file, all of whose numbers lead somewhere.

    Raises
    ------
    ValueError
        They are not trees of so many features and classes.
    """
    trees = Trees(**{name: np.asarray(arrays[name]) for name in Trees._fields})
    nodes = trees.leaves.astype(int) - 1
    shapes = {len(a) for a in (*trees[1:4], trees.right, trees.missing_left)}
    whole = (
        all(a.ndim == 1 for a in trees)
        and shapes == {nodes.sum()}
        and len(trees.value) == nodes.sum() + len(nodes)
        and len(nodes) % n_classes == 0
        and np.all(nodes >= 0)
        and np.all((trees.feature >= 0) & (trees.feature < n_features))
    )
    if whole:
        most = np.repeat(nodes, nodes)
        # A child comes after its parent, so that every way ends at a leaf.
        own = np.arange(nodes.sum()) - np.repeat(np.cumsum(nodes) - nodes, nodes)
        for child in (trees.left.astype(int), trees.right.astype(int)):
            whole &= bool(np.all((child < most) & (child >= -1 - most)))
            whole &= bool(np.all((child < 0) | (child > own)))
    if not whole:
        raise ValueError("not trees")
    return trees


def sum_trees(trees: Trees, vectors: np.ndarray, n_classes: int) -> np.ndarray:
    """Sum of the leaves' values that each vector comes to, class by class.

    Parameters
    ----------
    trees : Trees
    vectors : ndarray, shape (n, n_features)
    n_classes : int

    Returns
    -------
    ndarray of float64, shape (n, n_classes)
    """
    sums = np.zeros((len(vectors), n_classes))
    add_leaves(np.ascontiguousarray(vectors, np.float32), *trees, sums)
    return sums

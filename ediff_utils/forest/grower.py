"""Trees of a random forest on features in bytes: a bootstrap each, all features in every split.

A tree is decided by the seed and its number in the forest, whatever else is grown beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import joblib
import numpy as np

from ediff_utils.core.errors import UserError
from ediff_utils.forest.kernels.growth import Space, Task, grow


@dataclass(frozen=True)
class Sizes:
    """Where one way of growing takes over from another; any give the same trees up to ties.

    Parameters
    ----------
    keep : int
        Above so many patterns for each number in a bin a node keeps its bins; at least 1.
    blocks : tuple of int
        Patterns of a node up to which its columns are copied, in descending order.
    """

    keep: int = 256
    blocks: tuple[int, ...] = (65536, 8192, 1024)


@dataclass(frozen=True)
class Grown:
    """A tree, node by node, a parent before its children.

    Parameters
    ----------
    nodes : ndarray of int32, shape (n, 6)
        Feature (-2 in a leaf), last bin of the left child, left and right child, patterns, depth.
    weight : ndarray, shape (n,)
    impurity : ndarray, shape (n,)
        Gini impurity, or mean squared error of the numbers.
    values : ndarray, shape (n, n_classes or n_numbers)
        Share of each class, or mean of each number.
    """

    nodes: np.ndarray
    weight: np.ndarray
    impurity: np.ndarray
    values: np.ndarray


def bootstrap(n: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n patterns is drawn in n draws."""
    return np.bincount(rng.integers(0, n, n), minlength=n)


def grow_trees(
    columns: np.ndarray,
    target: np.ndarray,
    numbers: Iterable[int],
    *,
    n_classes: int = 0,
    max_depth: int,
    seed: int,
) -> list[Grown]:
    """Grow trees side by side, in threads unless :func:`joblib.parallel_config` says otherwise.

    Parameters
    ----------
    columns : ndarray of uint8, shape (n_features, n)
        See :func:`ediff_utils.forest.binning.to_bins`.
    target, n_classes, max_depth
        See :func:`grow_tree`.
    numbers : iterable of int
        Which trees of the forest.
    seed : int
        Of the forest.

    Returns
    -------
    list of Grown
    """
    grow_one = joblib.delayed(_grow_numbered)
    jobs = (grow_one(columns, target, n_classes, max_depth, seed, number) for number in numbers)
    return joblib.Parallel(prefer="threads")(jobs)


def _grow_numbered(
    columns: np.ndarray, target: np.ndarray, n_classes: int, max_depth: int, seed: int, number: int
) -> Grown:
    rng = np.random.default_rng([seed, number])
    weights = bootstrap(columns.shape[1], rng)
    return grow_tree(columns, target, weights, n_classes=n_classes, max_depth=max_depth, rng=rng)


def grow_tree(
    columns: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    *,
    n_classes: int = 0,
    max_depth: int,
    rng: np.random.Generator,
    sizes: Sizes = Sizes(),
) -> Grown:
    """Grow one tree, until leaves are pure or the depth is reached.

    Parameters
    ----------
    columns : ndarray of uint8, shape (n_features, n)
    target : ndarray, shape (n,) or (n, n_numbers)
        Classes 0 .. n_classes - 1, or the numbers of a regression.
    weights : ndarray of int, shape (n,)
        How often each pattern counts.
    n_classes : int
        At most 256; none for a regression.
    max_depth : int
    rng : Generator
        Decides between divisions that are equally good.
    sizes : Sizes

    Returns
    -------
    Grown

    Raises
    ------
    UserError
        No pattern with a weight, or too many classes.
    """
    row = np.flatnonzero(weights).astype(np.int32)
    if not len(row):
        raise UserError("weights: expected a pattern that counts, found none")
    if n_classes > 256:
        raise UserError(f"target: expected at most 256 classes, got {n_classes}")
    mean = np.zeros(0)
    if n_classes:
        width, target = n_classes, target.astype(np.uint8)
    else:
        # About the mean, sums of squares lose least by rounding.
        mean = target.mean(axis=0)
        width, target = 1 + len(mean), np.column_stack([np.ones(len(target)), target - mean])
    # Bins are filled up to a multiple of four numbers.
    padding = -width % 4
    if not n_classes:
        target = np.pad(target, ((0, 0), (0, padding)))
    number = np.float32 if n_classes else np.float64
    width += padding
    task = Task(columns, target, weights.astype(number), max_depth, sizes.keep * width)
    nodes, sums = grow(task, _make_space(task, row, width, sizes.blocks, rng))
    squares, sums = sums[:, 0], sums[:, 1:]
    weight = sums.sum(axis=1) if n_classes else sums[:, 0]
    shares = sums / weight[:, None]
    impurity = np.maximum(squares / weight - (shares**2).sum(axis=1), 0)
    if n_classes:
        return Grown(nodes, weight, impurity, shares[:, :n_classes])
    return Grown(nodes, weight, impurity / len(mean), shares[:, 1 : 1 + len(mean)] + mean)


def _make_space(
    task: Task, row: np.ndarray, width: int, blocks: tuple[int, ...], rng: np.random.Generator
) -> Space:
    n, n_features, number = len(row), len(task.columns), task.weights.dtype
    # The smaller child of a node has at most half of its patterns and takes one more slot.
    slots = int(np.log2(n / task.keep)) + 2 if n > task.keep else 0
    size = np.array([n, *(block for block in blocks if block < n)])
    ends = np.cumsum(size[1:] * n_features)
    return Space(
        row=row,
        place=row.copy(),
        spare=np.empty((2, n), np.int32),
        code=np.empty(n, np.uint8),
        amount=np.empty(n if task.target.ndim == 1 else (n, width), number),
        total=np.empty(width),
        kept=np.empty((slots, n_features, 256, width), number),
        single=np.zeros((256, width), number),
        blocks=np.empty(ends[-1] if len(ends) else 0, np.uint8),
        size=size,
        offset=np.concatenate([[0], [0], ends[:-1]]) if len(ends) else np.zeros(1, int),
        features=np.arange(n_features, dtype=np.int32),
        state=rng.integers(1, 2**63, 1, dtype=np.uint64),
    )

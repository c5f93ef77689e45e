"""The best division of a node by a plain search, and a check of whole trees by it."""

from __future__ import annotations

import numpy as np

from ediff_utils.forest.grower import Grown


def as_numbers(target: np.ndarray, n_classes: int) -> np.ndarray:
    """What a division is judged by: one number a class, or those of a regression."""
    return np.eye(n_classes)[target] if n_classes else np.asarray(target, float)


def loss(numbers: np.ndarray, weights: np.ndarray) -> float:
    """Weighted squared distance to the mean, for classes the weight times the Gini impurity."""
    if not weights.sum():
        return 0.0
    mean = weights @ numbers / weights.sum()
    return float(weights @ ((numbers - mean) ** 2).sum(axis=1))


def least_loss(columns: np.ndarray, numbers: np.ndarray, weights: np.ndarray) -> float:
    """Loss of both children at the best of all divisions by all features; infinite if none."""
    # About the mean of the node, differences of squares lose little.
    numbers = numbers - weights @ numbers / weights.sum()
    place = (256 * np.arange(len(columns))[:, None] + columns).ravel()
    added = np.column_stack([weights, weights[:, None] * numbers]).T
    size = 256 * len(columns)
    sums = [np.bincount(place, np.tile(own, len(columns)), size) for own in added]
    bins = np.stack(sums, axis=-1).reshape(len(columns), 256, -1)
    left = np.cumsum(bins, axis=1)
    right = left[:, -1:] - left
    inside = (left[..., 0] > 0) & (right[..., 0] > 0)
    if not inside.any():
        return np.inf
    gained = [(side[inside][:, 1:] ** 2).sum(axis=1) / side[inside][:, 0] for side in (left, right)]
    return float(weights @ (numbers**2).sum(axis=1) - np.max(sum(gained)))


def node_rows(grown: Grown, columns: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Those of some patterns that come to each node."""
    found = [np.empty(0, int)] * len(grown.nodes)
    found[0] = rows
    for node, (feature, last, left, right, _, _) in enumerate(grown.nodes):
        if feature >= 0:
            below = columns[feature, found[node]] <= last
            found[left], found[right] = found[node][below], found[node][~below]
    return found


def check_tree(
    grown: Grown,
    columns: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    n_classes: int,
    max_depth: int,
) -> None:
    """Every node holds what it says, and is divided where a search over all features divides it."""
    numbers = as_numbers(target, n_classes)
    rows_of = node_rows(grown, columns, np.flatnonzero(weights))
    scale = max(1.0, float(np.abs(numbers).max()) ** 2) * weights.sum()
    assert grown.nodes[0, 5] == 0
    for node, (feature, last, left, right, n, depth) in enumerate(grown.nodes):
        rows = rows_of[node]
        own, weight = numbers[rows], weights[rows]
        assert len(rows) == n > 0
        assert grown.weight[node] == weight.sum()
        np.testing.assert_allclose(grown.values[node], weight @ own / weight.sum(), atol=1e-9)
        impurity = loss(own, weight) / weight.sum() / (1 if n_classes else numbers.shape[1])
        np.testing.assert_allclose(grown.impurity[node], impurity, atol=1e-9 * scale)
        least = least_loss(columns[:, rows], own, weight)
        if feature < 0:
            assert left == right == -1
            assert np.ptp(own, axis=0).max() == 0 or depth == max_depth or least == np.inf
            continue
        assert np.ptp(own, axis=0).max() > 0
        assert depth < max_depth
        assert grown.nodes[left, 5] == grown.nodes[right, 5] == depth + 1
        bins = columns[feature, rows]
        # Halfway between the bins on either side.
        assert last == (int(bins[bins <= last].max()) + int(bins[bins > last].min())) // 2
        children = [loss(numbers[rows_of[c]], weights[rows_of[c]]) for c in (left, right)]
        assert abs(sum(children) - least) <= 1e-11 * scale

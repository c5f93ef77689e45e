"""Trees are those of a plain search over all features, and of scikit-learn up to ties."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from brute_force import as_numbers, check_tree, loss, node_rows
from hypothesis import given
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ediff_utils.core.errors import UserError
from ediff_utils.forest.grower import Grown, Sizes, bootstrap, grow_tree, grow_trees
from ediff_utils.forest.kernels import growth

#: Which nodes keep their bins and which have their columns copied.
SIZES = {
    "as they are": Sizes(),
    "bins of nearly all nodes": Sizes(keep=1),
    "bins of large nodes, two copies": Sizes(keep=4, blocks=(500, 100)),
    "bins of none": Sizes(keep=10**6, blocks=()),
    "bins of none, copied again and again": Sizes(keep=10**6, blocks=(600, 300, 100, 50)),
}


def make_data(n: int, n_classes: int, seed: int = 0, n_features: int = 16):
    """Bytes of several kinds that tell something of a target."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 3))
    values = hidden[:, rng.integers(0, 3, n_features)] + rng.normal(size=(n, n_features))
    columns = np.clip(128 + 40 * values.T, 0, 255).astype(np.uint8)
    columns[1] = 7
    columns[2] //= 100
    columns[3, rng.random(n) < 0.8] = 0
    columns[4] = np.where(columns[4] > 128, 255, 0)
    if not n_classes:
        return columns, 5 + hidden
    edges = np.quantile(hidden[:, 0], np.linspace(0, 1, n_classes + 1)[1:-1])
    return columns, rng.permutation(n_classes)[np.searchsorted(edges, hidden[:, 0])]


def fit_reference(columns, target, weights, n_classes, max_depth):
    kind = DecisionTreeClassifier if n_classes else DecisionTreeRegressor
    tree = kind(max_depth=max_depth, random_state=0)
    return tree.fit(columns.T.astype(np.float32), target, sample_weight=weights)


def same(one: Grown, other: Grown) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("nodes", "weight", "impurity", "values")
    )


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("n_classes", "max_depth"), [(0, 9), (1, 9), (2, 40), (6, 40), (54, 9)])
def test_every_node_against_a_plain_search(sizes, n_classes, max_depth):
    columns, target = make_data(800, n_classes)
    weights = bootstrap(800, np.random.default_rng(1))
    grown = grow_tree(
        columns,
        target,
        weights,
        n_classes=n_classes,
        max_depth=max_depth,
        rng=np.random.default_rng(2),
        sizes=sizes,
    )
    assert len(grown.nodes) > 100 or n_classes == 1
    check_tree(grown, columns, target, weights, n_classes, max_depth)


def test_the_plain_search_finds_a_wrong_division():
    columns, target = make_data(300, 3)
    weights = np.ones(300, int)
    grown = grow_tree(
        columns, target, weights, n_classes=3, max_depth=9, rng=np.random.default_rng(0)
    )
    grown.nodes[0, 1] += 20
    with pytest.raises(AssertionError):
        check_tree(grown, columns, target, weights, 3, 9)


@pytest.mark.parametrize("n_numbers", [1, 2, 3, 4, 7])
def test_a_regression_of_any_number_of_numbers(n_numbers):
    columns, _ = make_data(400, 2)
    rng = np.random.default_rng(3)
    target = columns[5 : 5 + n_numbers].T / 10 + rng.normal(size=(400, n_numbers))
    weights = bootstrap(400, rng)
    grown = grow_tree(columns, target, weights, max_depth=30, rng=rng)
    check_tree(grown, columns, target, weights, 0, 30)


@pytest.mark.parametrize("n_classes", [0, 6, 40])
def test_same_divisions_as_scikit_learn_up_to_ties(n_classes):
    columns, target = make_data(3000, n_classes, seed=5)
    numbers = as_numbers(target, n_classes)
    agreed = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weights = bootstrap(3000, rng)
        grown = grow_tree(columns, target, weights, n_classes=n_classes, max_depth=12, rng=rng)
        theirs = fit_reference(columns, target, weights, n_classes, 12).tree_
        assert len(grown.nodes) == pytest.approx(theirs.node_count, rel=0.03)
        rows_of = node_rows(grown, columns, np.flatnonzero(weights))
        pairs = [(0, 0)]
        while pairs:
            mine, their = pairs.pop()
            rows = rows_of[mine]
            assert grown.nodes[mine, 4] == theirs.n_node_samples[their]
            np.testing.assert_allclose(grown.values[mine], theirs.value[their].ravel(), atol=1e-9)
            np.testing.assert_allclose(grown.impurity[mine], theirs.impurity[their], atol=1e-9)
            feature, _, left, right, _, _ = grown.nodes[mine]
            # Rounding leaves some of its pure nodes an impurity, which it divides further.
            if feature < 0:
                assert theirs.feature[their] < 0 or grown.impurity[mine] < 1e-9
                continue
            below = columns[theirs.feature[their], rows] <= theirs.threshold[their]
            if np.array_equal(np.sort(rows[below]), np.sort(rows_of[left])):
                children = theirs.children_left[their], theirs.children_right[their]
                pairs += zip((left, right), children, strict=True)
                agreed += 1
            else:
                both = [[rows[below], rows[~below]], [rows_of[left], rows_of[right]]]
                losses = [sum(loss(numbers[r], weights[r]) for r in parts) for parts in both]
                assert losses[0] == pytest.approx(losses[1], rel=1e-9, abs=1e-9)
    # After a tie the two trees have other nodes, which are not compared.
    assert agreed > 300


def test_as_right_as_scikit_learn():
    columns, target = make_data(6000, 6, seed=8)
    train, test = columns[:, :4000], columns[:, 4000:]
    right = np.zeros(2)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weights = bootstrap(4000, rng)
        grown = grow_tree(train, target[:4000], weights, n_classes=6, max_depth=40, rng=rng)
        leaves = node_rows(grown, test, np.arange(2000))
        for node, rows in enumerate(leaves):
            if grown.nodes[node, 0] < 0:
                right[0] += np.sum(grown.values[node].argmax() == target[4000:][rows])
        theirs = fit_reference(train, target[:4000], weights, 6, 40)
        right[1] += np.sum(theirs.predict(test.T.astype(np.float32)) == target[4000:])
    assert right[0] / right[1] == pytest.approx(1, abs=0.03)
    # Chance is a sixth.
    assert right[0] > 0.3 * 4 * 2000


@st.composite
def small_tasks(draw):
    n = draw(st.integers(1, 30))
    n_features = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_values = draw(st.sampled_from([1, 2, 3, 256]))
    columns = rng.integers(0, n_values, (n_features, n)).astype(np.uint8)
    # Duplicates with labels of their own.
    columns = columns[:, rng.integers(0, draw(st.integers(1, n)), n)]
    n_classes = draw(st.sampled_from([0, 1, 2, 5, 256]))
    used = draw(st.integers(1, max(1, n_classes)))
    target = rng.permutation(max(1, n_classes))[:used][rng.integers(0, used, n)]
    if not n_classes:
        target = rng.choice([0.0, 1.5, -1e3], (n, draw(st.integers(1, 4))))
    weights = rng.integers(0, draw(st.integers(1, 4)), n)
    weights[rng.integers(0, n)] = draw(st.integers(1, 200))
    return columns, target, weights, n_classes


@given(small_tasks(), st.integers(0, 6), st.sampled_from(list(SIZES.values())))
def test_small_and_degenerate_nodes(task, max_depth, sizes):
    columns, target, weights, n_classes = task
    rng = np.random.default_rng(0)
    grown = grow_tree(
        columns, target, weights, n_classes=n_classes, max_depth=max_depth, rng=rng, sizes=sizes
    )
    check_tree(grown, columns, target, weights, n_classes, max_depth)


def test_patterns_of_no_weight_are_as_if_they_were_not_there():
    columns, target = make_data(500, 6)
    weights = bootstrap(500, np.random.default_rng(0))
    kept = weights > 0
    options = {"n_classes": 6, "max_depth": 40}
    whole = grow_tree(columns, target, weights, **options, rng=np.random.default_rng(1))
    columns = np.ascontiguousarray(columns[:, kept])
    part = grow_tree(columns, target[kept], weights[kept], **options, rng=np.random.default_rng(1))
    assert same(whole, part)


@pytest.mark.parametrize("n_classes", [0, 6])
def test_same_trees_whatever_the_threads_and_wherever_it_was_stopped(n_classes):
    columns, target = make_data(1200, n_classes)
    options = {"n_classes": n_classes, "max_depth": 40, "seed": 3}
    with joblib.parallel_config("threading", n_jobs=1):
        alone = grow_trees(columns, target, range(5), **options)
    with joblib.parallel_config("threading", n_jobs=2):
        abreast = grow_trees(columns, target, range(5), **options)
        resumed = grow_trees(columns, target, range(3, 5), **options)
    assert all(map(same, alone, abreast))
    assert all(map(same, alone[3:], resumed))
    assert not same(alone[0], alone[1])
    other = grow_trees(columns, target, range(1), **options | {"seed": 4})
    assert not same(alone[0], other[0])


def test_the_compiler_reorders_no_sums():
    """Else a tree could depend on whether a process compiled the kernels or found them cached."""
    assert not any(
        kernel.targetoptions.get("fastmath")
        for kernel in vars(growth).values()
        if hasattr(kernel, "targetoptions")
    )


def test_errors():
    columns, target = make_data(20, 3)
    options = {"max_depth": 9, "rng": np.random.default_rng(0)}
    with pytest.raises(UserError, match="a pattern that counts"):
        grow_tree(columns, target, np.zeros(20, int), n_classes=3, **options)
    with pytest.raises(UserError, match="at most 256 classes, got 257"):
        grow_tree(columns, target, np.ones(20, int), n_classes=257, **options)

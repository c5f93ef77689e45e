"""Grown trees as scikit-learn's: the same leaves from vectors as from bytes, files, forests."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io
from brute_force import node_rows
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier

from ediff_utils.forest.binning import find_cuts, to_bins
from ediff_utils.forest.grower import grow_trees
from ediff_utils.forest.trees import to_forest, to_tree
from ediff_utils.paper.checkpoints import TRUSTED, Checkpoint

SYSTEMS = np.array(["cubic", "hexagonal", "monoclinic", "trigonal"])


def make_vectors(n: int, seed: int):
    """Vectors with many zeros, and what they tell."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 4, n)
    vectors = rng.normal(size=(n, 12)) + target[:, None] * rng.random(12)
    vectors[:, :6] = np.where(rng.random((n, 6)) < 0.6, 0, vectors[:, :6])
    return vectors.astype(np.float32), target


@pytest.fixture(scope="module")
def grown():
    vectors, target = make_vectors(2500, 0)
    cuts = find_cuts(vectors[:2000])
    columns = to_bins([vectors], cuts, 2500)
    lengths = np.column_stack([target, 2.0 * target, np.arange(2500) % 7])
    options = {"max_depth": 15, "seed": 0}
    classes = grow_trees(columns, target, range(6), n_classes=4, **options)
    return cuts, classes, grow_trees(columns, lengths, range(6), **options)


@pytest.mark.parametrize("regression", [False, True])
def test_vectors_reach_the_leaves_that_bytes_reach(grown, regression):
    cuts, *kinds = grown
    # Unseen ones, and some that lie on cuts.
    vectors, _ = make_vectors(1000, 1)
    vectors[:200] = cuts[:, 5:205].T
    columns = to_bins([vectors], cuts, 1000)
    for tree in kinds[regression]:
        leaves = to_tree(tree, cuts, regression=regression).apply(vectors)
        for node, rows in enumerate(node_rows(tree, columns, np.arange(1000))):
            if tree.nodes[node, 0] < 0:
                assert np.all(leaves[rows] == node)


@pytest.mark.parametrize("regression", [False, True])
def test_trees_say_what_a_node_holds(grown, regression):
    cuts, *kinds = grown
    vectors, _ = make_vectors(300, 2)
    for one in kinds[regression]:
        tree = to_tree(one, cuts, regression=regression)
        values = one.values[tree.apply(vectors)]
        answer = tree.predict(vectors) if regression else tree.predict_proba(vectors)
        np.testing.assert_array_equal(answer, values)
        assert tree.get_depth() == one.nodes[:, 5].max()
        assert tree.get_n_leaves() == np.sum(one.nodes[:, 0] < 0)
        assert np.isclose(tree.feature_importances_.sum(), 1)


def test_a_tree_is_laid_out_as_scikit_learn_lays_it_out(grown):
    cuts, classes, _ = grown
    vectors, target = make_vectors(2500, 0)
    mine = to_tree(classes[0], cuts, regression=False)
    theirs = DecisionTreeClassifier(max_depth=15).fit(vectors, target)
    ours, fitted = (tree.tree_.__getstate__() for tree in (mine, theirs))
    assert ours.keys() == fitted.keys()
    assert ours["nodes"].dtype == fitted["nodes"].dtype
    assert ours["values"].shape[1:] == fitted["values"].shape[1:]
    assert ours["values"].dtype == fitted["values"].dtype
    assert set(vars(theirs)) <= set(vars(mine))
    # Those of leaves.
    for name in ("left_child", "right_child", "feature", "threshold"):
        leaf = [state["nodes"][name][state["nodes"]["left_child"] < 0] for state in (ours, fitted)]
        assert len(set(leaf[0]) | set(leaf[1])) == 1


def test_forests(grown, tmp_path):
    cuts, classes, numbers = grown
    vectors, target = make_vectors(2500, 0)
    forests = [
        to_forest([to_tree(t, cuts, regression=False) for t in classes], SYSTEMS, max_depth=15),
        to_forest([to_tree(t, cuts, regression=True) for t in numbers], max_depth=15),
    ]
    assert np.mean(forests[0].predict(vectors) == SYSTEMS[target]) > 0.95
    assert np.abs(forests[1].predict(vectors)[:, 0] - target).mean() < 0.3
    kinds = RandomForestClassifier(2), RandomForestRegressor(2)
    for forest, kind, known in zip(
        forests, kinds, (SYSTEMS[target], np.eye(3)[target % 3]), strict=True
    ):
        fitted = kind.fit(vectors[:200], known[:200])
        # What only the bootstrap of a fit needs.
        of_fit = {"_n_samples", "_n_samples_bootstrap", "_sample_weight"}
        assert set(vars(fitted)) - of_fit <= set(vars(forest))
        path = tmp_path / "forest.skops"
        skops.io.dump(forest, path)
        loaded = skops.io.load(path, trusted=list(TRUSTED))
        np.testing.assert_array_equal(loaded.predict(vectors), forest.predict(vectors))


def test_trees_are_kept_in_checkpoints(grown, tmp_path):
    cuts, _, numbers = grown
    vectors, _ = make_vectors(100, 3)
    trees = [to_tree(tree, cuts, regression=True) for tree in numbers]
    identity = {"settings": {"seed": 0}}
    Checkpoint(tmp_path, identity).save(0, trees)
    loaded = Checkpoint(tmp_path, identity).load()
    assert len(loaded) == 6
    for one, other in zip(trees, loaded, strict=True):
        np.testing.assert_array_equal(one.predict(vectors), other.predict(vectors))

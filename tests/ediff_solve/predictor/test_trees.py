"""Trees as arrays say what LightGBM says of them."""

from __future__ import annotations

import numpy as np
import pytest

from ediff_solve.predictor.trees import check_trees, read_trees, sum_trees

lightgbm = pytest.importorskip("lightgbm", reason="boosters are grown by LightGBM")

CLASSES, FEATURES = 4, 9


@pytest.fixture(scope="module")
def grown():
    """A model whose features have missing values, many zeros, or neither."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(3000, FEATURES)).astype(np.float32)
    truth = (vectors[:, :2] > 0) @ [1, 2]
    vectors[rng.random(vectors.shape) < 0.3 * (np.arange(FEATURES) % 3 == 0)] = np.nan
    vectors[rng.random(vectors.shape) < 0.5 * (np.arange(FEATURES) % 3 == 1)] = 0
    own = {"objective": "multiclass", "num_class": CLASSES, "verbosity": -1}
    return lightgbm.train(own, lightgbm.Dataset(vectors, truth), num_boost_round=25)


@pytest.mark.parametrize("kind", ["as drawn", "missing", "zeros", "on thresholds", "above them"])
def test_sums_are_those_of_lightgbm(grown, kind):
    rng = np.random.default_rng(4)
    trees = read_trees(grown.model_to_string())
    vectors = rng.normal(size=(2000, FEATURES)).astype(np.float32)
    if kind == "missing":
        vectors[rng.random(vectors.shape) < 0.2] = np.nan
    elif kind == "zeros":
        vectors[rng.random(vectors.shape) < 0.5] = 0
    elif kind in ("on thresholds", "above them"):
        # Beside zero, at 1e-35, LightGBM rounds what it reads; no number comes near it.
        node = rng.choice(np.flatnonzero(np.abs(trees.threshold) > 1e-30), 20_000)
        vectors[rng.integers(0, 2000, 20_000), trees.feature[node]] = trees.threshold[node]
        if kind == "above them":
            vectors = np.nextafter(vectors, np.float32(np.inf))
    found = sum_trees(trees, vectors, CLASSES)
    np.testing.assert_allclose(found, grown.predict(vectors, raw_score=True), atol=1e-5)


def test_a_tree_of_one_leaf():
    vectors, truth = np.zeros((50, 2)), np.repeat([0, 1], 25)
    own = {"objective": "multiclass", "num_class": 2, "verbosity": -1}
    model = lightgbm.train(own, lightgbm.Dataset(vectors, truth), num_boost_round=3)
    trees = read_trees(model.model_to_string())
    assert not len(trees.feature)
    found = sum_trees(trees, vectors.astype(np.float32), 2)
    np.testing.assert_allclose(found, model.predict(vectors, raw_score=True), atol=1e-6)


def test_categories_are_refused():
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 5, (500, 1)).astype(float)
    own = {"objective": "binary", "verbosity": -1}
    data = lightgbm.Dataset(vectors, vectors[:, 0] % 2, categorical_feature=[0])
    with pytest.raises(ValueError, match="divisions of numbers"):
        read_trees(lightgbm.train(own, data, num_boost_round=2).model_to_string())


def test_what_leads_nowhere_is_refused(grown):
    """Whatever single number of the arrays is changed, a way still ends, or they are refused."""
    trees = read_trees(grown.model_to_string())
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        arrays = {name: array.copy() for name, array in trees._asdict().items()}
        name = rng.choice(["leaves", "feature", "left", "right"])
        arrays[name][rng.integers(len(arrays[name]))] = rng.integers(-200, 200)
        try:
            changed = check_trees(arrays, FEATURES, CLASSES)
        except ValueError:
            refused += 1
        else:
            assert np.isfinite(sum_trees(changed, np.zeros((3, FEATURES)), CLASSES)).all()
    assert refused > 200
    with pytest.raises(ValueError, match="not trees"):
        check_trees(trees._asdict(), FEATURES, CLASSES + 3)

"""Forests trained under one protocol and asked about another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_features import make_crystals, make_features

from ediff_solve.figures import protocols as figures
from ediff_solve.forests import protocols
from ediff_solve.forests.pooling import _pool_features, compute_pooled
from ediff_solve.forests.protocols import GRID, HEADLINES, MICROSCOPE, PROTOCOLS, Protocol
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper.feature_files import FeatureSet, turn
from ediff_utils.paper.features import N_ANGULAR, N_FEATURES, N_RADIAL, _to_vectors
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.predictions import compute_predictions
from ediff_utils.paper.training import new_forest

SETTINGS = ForestSettings(tree_fraction=0.2, jobs=1, patterns_per_prediction=3, test_size=0.5)


def patterns_of(crystals: pd.DataFrame, rotation: np.ndarray, seed: int) -> FeatureSet:
    """Coefficients whose arguments alone tell the system, turned by ``rotation`` [degree]."""
    n_each = len(rotation) // len(crystals)
    rng = np.random.default_rng(seed)
    index = crystals.loc[crystals.index.repeat(n_each), ["material_id"]].reset_index(drop=True)
    index["pattern"] = np.tile(np.arange(n_each), len(crystals))
    index["rotation"] = rotation.astype(np.float32)
    names = {name: i for i, name in enumerate(sorted(crystals["crystal_system"].unique()))}
    number = crystals["crystal_system"].map(names).to_numpy().repeat(n_each)
    phase = 0.35 * number[:, None] + rng.normal(scale=0.05, size=(len(index), N_ANGULAR))
    phase = phase + np.radians(rotation)[:, None] * np.arange(N_ANGULAR)
    coefficients = np.repeat(np.exp(1j * phase)[:, None, :], N_RADIAL, axis=1)
    return FeatureSet(index, _to_vectors(coefficients, "zero"))


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return make_crystals(84)


@pytest.fixture(scope="module")
def sources(crystals) -> dict[str, FeatureSet]:
    angles = np.random.default_rng(5).uniform(0, 360, 4 * len(crystals))
    return {
        "grid": patterns_of(crystals, np.zeros(4 * len(crystals)), seed=1),
        "random": patterns_of(crystals, angles, seed=2),
    }


@pytest.fixture(scope="module")
def split(crystals) -> pd.DataFrame:
    return make_split(crystals, SETTINGS)


@pytest.fixture(scope="module")
def crossed(sources, crystals, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    forests = protocols.train_protocols(sources, crystals, split, SETTINGS, folder, progress=False)
    return forests, protocols.compute_cross(forests, sources, crystals, split, SETTINGS)


def accuracy(cross: pd.DataFrame, train: Protocol, test: Protocol, patterns: str = "one") -> float:
    columns = ["train", "train_rotation", "test", "test_rotation", "patterns"]
    return cross.set_index(columns).loc[(*train, *test, patterns), "accuracy"]


def test_every_pair_is_there_once(crossed):
    _, cross = crossed
    assert len(cross) == 2 * len(PROTOCOLS) ** 2
    assert not cross.duplicated(cross.columns[:5].tolist()).any()
    assert (cross["low"] <= cross["accuracy"]).all()
    assert (cross["accuracy"] <= cross["high"]).all()
    # half of the materials that are not triclinic; one pattern counts patterns, ten materials
    sizes = cross.groupby("patterns")["n"].unique()
    assert len(sizes["one"]) == len(sizes["ten"]) == 1
    assert sizes["one"][0] == 4 * sizes["ten"][0]


def test_arguments_tell_only_where_the_rotation_is_fixed(crossed):
    """The synthetic patterns differ in their arguments alone, which a turn mixes up."""
    _, cross = crossed
    random_fixed, grid_free = Protocol("random", "fixed"), Protocol("grid", "free")
    # what is told by arguments can be told from either source, once x is fixed
    assert accuracy(cross, GRID, GRID) > 0.9
    assert accuracy(cross, GRID, random_fixed) > 0.9
    assert accuracy(cross, random_fixed, GRID) > 0.9
    # and not once it is free
    for test in (grid_free, MICROSCOPE):
        assert accuracy(cross, GRID, test) < 0.5


def test_accuracies_are_those_of_the_predictions(crossed, crystals, sources, split):
    forests, cross = crossed
    for train, test in HEADLINES.values():
        turned = turn(sources[test.orientations], test.rotation, SETTINGS.seed)
        if test in (MICROSCOPE, GRID):
            assert turned is sources[test.orientations]
        table = compute_predictions(forests[train], turned, crystals, split)
        expected = (table["system"] == table["true_system"]).mean()
        assert accuracy(cross, train, test) == pytest.approx(expected)


def test_the_summary_has_the_headlines(crossed):
    _, cross = crossed
    summary = protocols.summarise(cross)
    assert set(summary) == {
        "train_grid_test_grid",
        "train_random_test_random",
        "train_grid_test_random",
    }
    for name, (train, test) in HEADLINES.items():
        for patterns in ("one", "ten"):
            value = summary[name][patterns]
            assert value == accuracy(cross, train, test, patterns)
            low, high = summary[name]["interval"][patterns]
            assert low <= value <= high


def test_trained_forests_are_not_trained_again(crossed, sources, crystals, split, tmp_path):
    forests = crossed[0]
    again = protocols.train_protocols(
        sources, crystals, split, SETTINGS, tmp_path, trained=forests, progress=False
    )
    assert again == forests
    assert not any(tmp_path.iterdir())


def test_trained_forests_are_cut_to_the_trees_that_are_compared(
    crossed, sources, crystals, split, tmp_path
):
    forests = crossed[0]
    fewer = protocols.comparison_settings(forests[GRID], 0.5)
    cut = protocols.train_protocols(
        sources, crystals, split, fewer, tmp_path, trained=forests, progress=False
    )[GRID]
    n_trees = new_forest("crystal_system", fewer).n_estimators
    assert cut.n_trees == n_trees < forests[GRID].n_trees
    features = sources["grid"].take(np.arange(20))
    kept = np.array(
        [t.predict(features) for t in forests[GRID].system_forest.estimators_[:n_trees]]
    )
    names = forests[GRID].system_forest.classes_
    votes = np.stack([(names[kept.astype(int)] == s).sum(axis=0) for s in cut.classes], axis=1)
    np.testing.assert_array_equal(cut.system_votes(features), votes)


@pytest.mark.parametrize("n_trees", [0, -1, 10**6])
def test_trees_that_a_forest_does_not_have(crossed, n_trees):
    with pytest.raises(UserError, match="trees: expected 1 to"):
        crossed[0][GRID].systems_only(n_trees)


def test_relatives_stay_on_one_side(sources, crystals, tmp_path):
    cross = protocols.compute_prototype_split(sources, crystals, SETTINGS, tmp_path, progress=False)
    assert len(cross) == 2 * 4
    assert {path.name for path in tmp_path.iterdir()} == {"grid_fixed", "random_free"}
    assert accuracy(cross, GRID, GRID) > 0.9


def test_no_test_patterns(sources, split):
    with pytest.raises(UserError, match="patterns of test materials"):
        protocols.hold_out(sources["grid"], split.assign(part="train"))


def test_the_figure_shows_every_accuracy(crossed):
    _, cross = crossed
    fig = figures.figure_cross(cross, 3)
    one, ten, _ = fig.axes
    for ax, patterns in ((one, "one"), (ten, "ten")):
        texts = {text.get_text() for text in ax.texts}
        own = cross.loc[cross["patterns"] == patterns, "accuracy"]
        assert texts == {f"{100 * value:.1f} %" for value in own}
    assert ten.get_title() == "3 patterns"


# --- pooled features ------------------------------------------------------------------------------
def test_pooling_worked_by_hand():
    vectors = np.array([[1, -2], [3, 4], [-5, 6]], dtype=np.float32)
    pooled = _pool_features(vectors, np.array([2, 1]))
    np.testing.assert_array_equal(pooled, [[2, 1, 3, 4], [-5, 6, -5, 6]])
    assert pooled.dtype == np.float32


def test_pooled_features_tell_the_system(crystals, split):
    features = make_features(crystals)
    pooled = compute_pooled(
        features, crystals, split, SETTINGS, classes=SYSTEMS, draws=2, progress=False
    )
    test = split.loc[split["part"] == "test", "material_id"]
    truth = crystals.set_index("material_id")["crystal_system"]
    expected = [name for name in sorted(test) if truth[name] != "triclinic"]
    assert pooled["material_id"].tolist() == expected
    assert (pooled["true_system"].to_numpy() == truth[expected].to_numpy()).all()
    assert (pooled["n_patterns"] == 3).all()
    scores = pooled[[f"score_{name}" for name in SYSTEMS]].to_numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert (pooled["system"].to_numpy() == np.array(SYSTEMS)[scores.argmax(axis=1)]).all()
    assert (pooled["system"] == pooled["true_system"]).mean() > 0.6


def test_test_patterns_do_not_teach_the_pools(crystals, split):
    features = make_features(crystals)
    test = features.index["material_id"].isin(split.loc[split["part"] == "test", "material_id"])
    vectors = features.vectors.copy()
    vectors[test] = 3
    arguments = (crystals, split, SETTINGS)
    options = {"classes": SYSTEMS, "draws": 1, "progress": False}
    spoilt = compute_pooled(FeatureSet(features.index, vectors), *arguments, **options)
    assert spoilt.filter(like="score_").drop_duplicates().shape[0] == 1
    assert vectors.shape[1] == N_FEATURES


def test_nothing_to_pool(crystals, split):
    features = make_features(crystals)
    with pytest.raises(UserError, match="expected test patterns"):
        compute_pooled(
            features, crystals, split.assign(part="train"), SETTINGS, classes=SYSTEMS, draws=1
        )

"""The forests: how they are grown, asked, kept and loaded."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import shutil
import weakref
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.preprocessing import FunctionTransformer
from synthetic_features import make_crystals, make_features

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS
from ediff_utils.paper import published
from ediff_utils.paper.feature_files import FeatureSet
from ediff_utils.paper.labels import label_patterns, make_split
from ediff_utils.paper.models import (
    Hierarchy,
    forest_settings,
    load_hierarchy,
)
from ediff_utils.paper.training import (
    _forest_plan,
    fit_forest,
    new_forest,
    prepare_hierarchy,
    prepare_vectors,
)
from ediff_utils.paper.votes import difference_confidence, tree_votes

SETTINGS = ForestSettings(tree_fraction=0.125, jobs=1)


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return make_crystals()


@pytest.fixture(scope="module")
def features(crystals) -> FeatureSet:
    return make_features(crystals)


@pytest.fixture(scope="module")
def split(crystals) -> pd.DataFrame:
    return make_split(crystals, SETTINGS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of the forests, once :func:`hierarchy` is there."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def hierarchy(crystals, features, split, saved) -> Hierarchy:
    prepare_hierarchy(features, crystals, split, SETTINGS, saved, progress=False)
    return load_hierarchy(saved, progress=False)


@pytest.fixture
def copy(hierarchy, saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "models")


# --- the split ------------------------------------------------------------------------------------
@given(test_size=st.floats(0.1, 0.9), seed=st.integers(0, 2**31), n=st.integers(2, 60))
@settings(max_examples=40)
def test_split_is_a_partition_of_the_asked_size(test_size, seed, n):
    crystals = pd.DataFrame({"material_id": [f"m{i}" for i in range(n)], "prototype": "p"})
    chosen = ForestSettings(test_size=test_size, seed=seed)
    if np.ceil(test_size * n) >= n:
        with pytest.raises(UserError, match="leaves none to train on"):
            make_split(crystals, chosen)
        return
    split = make_split(crystals, chosen)
    assert split["material_id"].tolist() == crystals["material_id"].tolist()
    assert set(split["part"]) == {"train", "test"}
    assert (split["part"] == "test").sum() == np.ceil(test_size * n)


@given(seed=st.integers(0, 1000), order=st.permutations(range(40)))
@settings(max_examples=25)
@pytest.mark.parametrize("split_by", ["material", "prototype"])
def test_split_does_not_see_the_order_of_rows(split_by, seed, order):
    crystals = make_crystals(40)
    chosen = ForestSettings(seed=seed, split_by=split_by)
    before = make_split(crystals, chosen).set_index("material_id")["part"]
    after = make_split(crystals.iloc[list(order)], chosen).set_index("material_id")["part"]
    pd.testing.assert_series_equal(before.sort_index(), after.sort_index())


def test_split_hangs_on_the_seed(crystals):
    first, again = (make_split(crystals, SETTINGS)["part"].tolist() for _ in range(2))
    other = make_split(crystals, SETTINGS.model_copy(update={"seed": 1}))["part"].tolist()
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(5))
def test_prototypes_stay_together(crystals, seed):
    def divided(split: pd.DataFrame) -> int:
        """Number of prototypes that have materials on both sides."""
        sides = pd.DataFrame({"prototype": crystals["prototype"].to_numpy(), "part": split["part"]})
        return len(sides.drop_duplicates()) - crystals["prototype"].nunique()

    chosen = SETTINGS.model_copy(update={"split_by": "prototype", "seed": seed})
    assert divided(make_split(crystals, chosen)) == 0
    assert divided(make_split(crystals, SETTINGS.model_copy(update={"seed": seed}))) > 0


def test_nothing_to_split():
    crystals = pd.DataFrame({"material_id": ["a", "b"], "prototype": ["p", "p"]})
    with pytest.raises(UserError, match="at least two"):
        make_split(crystals.iloc[:1], SETTINGS)
    with pytest.raises(UserError, match="at least two"):
        make_split(crystals, SETTINGS.model_copy(update={"split_by": "prototype"}))


# --- votes ----------------------------------------------------------------------------------------
def test_votes_are_the_trees_own_predictions(hierarchy, features):
    forest = hierarchy.system_forest
    expected = np.zeros((len(features.vectors), len(forest.classes_)), int)
    for tree in forest.estimators_:
        for row, label in enumerate(tree.predict(features.vectors).astype(int)):
            expected[row, label] += 1
    np.testing.assert_array_equal(tree_votes(forest, features.vectors), expected)
    votes = hierarchy.system_votes(features.vectors)
    assert hierarchy.classes == SYSTEMS
    for column, name in enumerate(hierarchy.classes):
        np.testing.assert_array_equal(
            votes[:, column], expected[:, list(forest.classes_).index(name)]
        )
    assert np.all(votes.sum(axis=1) == hierarchy.n_trees)


def test_probabilities_are_those_of_scikit_learn(hierarchy, features):
    votes, probabilities = hierarchy.system_answers(features.vectors)
    np.testing.assert_array_equal(votes, hierarchy.system_votes(features.vectors))
    forest = hierarchy.system_forest
    expected = forest.predict_proba(features.vectors)
    order = [list(forest.classes_).index(name) for name in hierarchy.classes]
    np.testing.assert_allclose(probabilities, expected[:, order], atol=1e-6)


def test_space_group_is_the_most_voted_one(hierarchy, features):
    numbers, confidence = hierarchy.predict_space_group(features.vectors, "cubic")
    forest = hierarchy.space_group["cubic"]
    votes = np.array([tree.predict(features.vectors) for tree in forest.estimators_]).astype(int)
    for row in range(0, len(numbers), 7):
        counts = np.sort(np.bincount(votes[:, row], minlength=2))
        best = np.bincount(votes[:, row], minlength=len(forest.classes_)).argmax()
        assert numbers[row] == forest.classes_[best]
        assert confidence[row] == pytest.approx((counts[-1] - counts[-2]) / 16)


def test_lattice_is_the_median_of_the_trees(hierarchy, features):
    forest = hierarchy.lattice["tetragonal"]
    trees = np.array([tree.predict(features.vectors) for tree in forest.estimators_])
    assert trees.shape == (10, len(features.vectors), 3)
    lattice = hierarchy.predict_lattice(features.vectors, "tetragonal")
    np.testing.assert_array_equal(lattice, np.median(trees, axis=0))
    assert not np.allclose(lattice, trees.mean(axis=0))


@pytest.mark.parametrize("vote", published.FIGURE_3_VOTES, ids=lambda v: str(v.weight))
def test_the_weights_of_figure_3(vote):
    rest = vote.trees - vote.first - vote.second
    votes = np.array([rest - rest // 2, vote.first, rest // 2, vote.second])
    assert difference_confidence(votes) == pytest.approx(vote.weight, abs=1e-12)


@given(votes=st.lists(st.lists(st.integers(0, 80), min_size=4, max_size=4), min_size=1, max_size=6))
def test_difference_confidence(votes):
    confidence = difference_confidence(np.array(votes))
    for row, value in zip(votes, confidence, strict=True):
        first, second = sorted(row, reverse=True)[:2]
        assert value == pytest.approx((first - second) / max(1, sum(row)))
        assert 0 <= value <= 1


def test_difference_confidence_of_one_class():
    np.testing.assert_array_equal(difference_confidence(np.array([[80], [0]])), [1, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(hierarchy, features, value):
    vectors = features.vectors[:3].copy()
    vectors[1, 5] = value
    for ask in (hierarchy.system_votes, lambda v: hierarchy.predict_lattice(v, "cubic")):
        with pytest.raises(UserError, match="finite"):
            ask(vectors)
        with pytest.raises(UserError, match=r"\(n, 1066\), got \(3, 533\)"):
            ask(vectors[:, :533])


# --- growing --------------------------------------------------------------------------------------
@pytest.mark.parametrize("trees", [1, 8, 10, 17])
@pytest.mark.parametrize("kind", ["crystal_system", "lattice"])
def test_by_scikit_learn_in_batches_is_its_forest_at_once(features, crystals, kind, trees):
    labels = crystals.set_index("material_id").loc[features.index["material_id"]]
    columns = ["a", "b", "c"] if kind == "lattice" else "crystal_system"
    target = labels[columns].to_numpy()
    steps: list[int] = []
    theirs = SETTINGS.model_copy(update={"grower": "scikit-learn"})
    vectors = prepare_vectors(features, np.arange(len(target)), theirs)
    assert isinstance(vectors, np.ndarray)
    # Few features a split, or a hundred patterns would take a minute.
    how = {"n_estimators": trees, "random_state": 5, "max_features": 0.02}
    grown = new_forest(kind, SETTINGS).set_params(**how)
    grown = fit_forest(grown, vectors, target, steps.append)
    at_once = new_forest(kind, SETTINGS).set_params(**how)
    at_once.fit(features.vectors, target)
    assert sum(steps) == trees == len(grown.estimators_)
    assert not grown.warm_start
    for ours, theirs in zip(grown.estimators_, at_once.estimators_, strict=True):
        np.testing.assert_array_equal(ours.tree_.threshold, theirs.tree_.threshold)
        np.testing.assert_array_equal(ours.tree_.feature, theirs.tree_.feature)
        np.testing.assert_array_equal(ours.tree_.value, theirs.tree_.value)


@pytest.mark.parametrize("kind", ["crystal_system", "lattice"])
def test_our_trees_answer_as_scikit_learns(kind):
    """Of patterns that neither has seen, with noise enough that trees err."""
    crystals = make_crystals(60)
    features = make_features(crystals, n_patterns=4)
    noise = np.random.default_rng(3).normal(size=features.vectors.shape)
    features = FeatureSet(features.index, (features.vectors / 4 + noise).astype(np.float32))
    labels = crystals.set_index("material_id").loc[features.index["material_id"]]
    target = labels[["a", "b", "c"] if kind == "lattice" else "crystal_system"].to_numpy()
    rows = np.arange(0, len(target), 2)
    error = {}
    for grower in ("own", "scikit-learn"):
        chosen = SETTINGS.model_copy(update={"grower": grower, "tree_fraction": 0.5})
        vectors = prepare_vectors(features, rows, chosen)
        forest = fit_forest(new_forest(kind, chosen), vectors, target[rows], lambda n: None)
        found = forest.predict(features.vectors[1::2])
        wrong = np.abs(found - target[1::2]) if kind == "lattice" else found != target[1::2]
        error[grower] = wrong.mean()
    assert error["scikit-learn"] > 0
    assert error["own"] == pytest.approx(error["scikit-learn"], rel=0.25)


@pytest.mark.parametrize("grower", ["own", "scikit-learn"])
def test_the_grower_is_one_setting(crystals, features, split, tmp_path, grower, monkeypatch):
    fitted = []
    fit = RandomForestClassifier.fit
    monkeypatch.setattr(
        RandomForestClassifier, "fit", lambda *a, **k: fitted.append(a) or fit(*a, **k)
    )
    chosen = SETTINGS.model_copy(update={"grower": grower})
    found = prepare_hierarchy(
        features, crystals, split, chosen, tmp_path, only_system=True, progress=False
    )
    assert bool(fitted) == (grower == "scikit-learn")
    assert found.about["settings"]["grower"] == grower
    assert found.n_trees == 10


def test_cuts_are_of_the_training_rows_alone(features):
    rows = np.arange(0, len(features.index), 3)
    others = np.setdiff1d(np.arange(len(features.index)), rows)
    changed = features.vectors.copy()
    changed[others] += 100
    first = prepare_vectors(features, rows, SETTINGS)
    second = prepare_vectors(FeatureSet(features.index, changed), rows, SETTINGS)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_threads_do_not_change_a_forest(features, crystals, split, hierarchy, tmp_path, jobs):
    chosen = SETTINGS.model_copy(update={"jobs": jobs})
    found = prepare_hierarchy(features, crystals, split, chosen, tmp_path, progress=False)
    for ours, theirs in (
        (found.system_forest, hierarchy.system_forest),
        (found.lattice["cubic"], hierarchy.lattice["cubic"]),
    ):
        for a, b in zip(ours.estimators_, theirs.estimators_, strict=True):
            np.testing.assert_array_equal(a.tree_.threshold, b.tree_.threshold)
            np.testing.assert_array_equal(a.tree_.value, b.tree_.value)


@pytest.mark.parametrize("kind", ["crystal_system", "space_group", "lattice"])
def test_forests_have_the_hyperparameters_of_table_1(kind):
    forest = new_forest(kind, ForestSettings())
    table = published.HYPERPARAMETERS[kind]
    assert isinstance(
        forest, RandomForestRegressor if kind == "lattice" else RandomForestClassifier
    )
    assert forest.n_estimators == {"crystal_system": 80, "lattice": 80, "space_group": 128}[kind]
    assert forest.max_depth == {"crystal_system": 40, "lattice": 100, "space_group": 30}[kind]
    assert (forest.n_estimators, forest.max_depth) == (table["trees"], table["depth"])
    # 1.0 and not 1, which would be a single feature
    assert isinstance(forest.max_features, float)
    assert forest.max_features == 1.0


def test_settings_that_are_gone(hierarchy):
    about = {"settings": hierarchy.about["settings"] | {"max_features": 0.03, "coarse": True}}
    with pytest.raises(UserError, match=r"models\.json: made with coarse, max_features, .* again"):
        forest_settings(about)


def test_the_system_forest_is_kept_when_the_others_are_added(
    crystals, split, tmp_path, monkeypatch
):
    keyed = FeatureSet(make_features(crystals).index, make_features(crystals).vectors, key="k")
    options = {"progress": False}
    first = prepare_hierarchy(
        keyed, crystals, split, SETTINGS, tmp_path, only_system=True, **options
    )
    grown = []
    monkeypatch.setattr(
        "ediff_utils.paper.training.fit_forest",
        lambda forest, *rest: grown.append(forest) or fit_forest(forest, *rest),
    )
    found = prepare_hierarchy(keyed, crystals, split, SETTINGS, tmp_path, **options)
    assert len(grown) == len(found.lattice) + len(found.space_group) == 12
    np.testing.assert_array_equal(
        found.system_votes(keyed.vectors), first.system_votes(keyed.vectors)
    )
    grown.clear()
    # A file that is not the one that was written is no forest to keep.
    shutil.rmtree(tmp_path)
    prepare_hierarchy(keyed, crystals, split, SETTINGS, tmp_path, only_system=True, **options)
    (tmp_path / "crystal_system.skops").write_bytes(b"cut")
    grown.clear()
    prepare_hierarchy(keyed, crystals, split, SETTINGS, tmp_path, **options)
    assert len(grown) == 13
    # Other settings make all of them anew.
    grown.clear()
    other = SETTINGS.model_copy(update={"seed": 4})
    prepare_hierarchy(keyed, crystals, split, other, tmp_path, **options)
    assert len(grown) == 13


def test_thirteen_forests_without_triclinic(hierarchy):
    assert 1 + len(hierarchy.space_group) + len(hierarchy.lattice) == published.MODELS.value
    assert set(hierarchy.space_group) == set(hierarchy.lattice) == set(SYSTEMS)
    assert "triclinic" not in hierarchy.system_forest.classes_


def test_triclinic_by_option(crystals, features, split, tmp_path):
    chosen = SETTINGS.model_copy(update={"include_triclinic": True})
    seven = prepare_hierarchy(features, crystals, split, chosen, tmp_path, progress=False)
    assert seven.classes == ALL_SYSTEMS
    assert set(seven.space_group) == set(seven.lattice) == set(ALL_SYSTEMS)


def test_only_the_crystal_system(crystals, features, split, hierarchy, tmp_path):
    lone = prepare_hierarchy(
        features, crystals, split, SETTINGS, tmp_path, only_system=True, progress=False
    )
    assert not lone.space_group
    assert not lone.lattice
    np.testing.assert_array_equal(
        lone.system_votes(features.vectors), hierarchy.system_votes(features.vectors)
    )


def test_each_forest_is_told_its_own_patterns(crystals, features, split):
    labels = label_patterns(features.index, crystals, split)
    plan = {(kind, system): rows for kind, system, rows in _forest_plan(labels, SETTINGS)}
    assert len(plan) == 13
    everything = plan["crystal_system", ""]
    assert set(labels["crystal_system"].iloc[everything]) == set(SYSTEMS)
    assert len(everything) == (labels["crystal_system"] != "triclinic").sum()
    for system in SYSTEMS:
        rows = plan["space_group", system]
        np.testing.assert_array_equal(rows, np.flatnonzero(labels["crystal_system"] == system))
        np.testing.assert_array_equal(rows, plan["lattice", system])


def test_test_patterns_do_not_teach(crystals, features, split, hierarchy, tmp_path):
    """Other vectors in the test part change nothing about the forests."""
    vectors = features.vectors.copy()
    test = set(split.loc[split["part"] == "test", "material_id"])
    vectors[features.index["material_id"].isin(test)] = 7
    again = prepare_hierarchy(
        FeatureSet(features.index, vectors), crystals, split, SETTINGS, tmp_path, progress=False
    )
    np.testing.assert_array_equal(
        again.system_votes(features.vectors), hierarchy.system_votes(features.vectors)
    )
    assert again.about.items() <= hierarchy.about.items()
    assert hierarchy.about["training"]["materials"] == (split["part"] == "train").sum()


def test_labels_of_a_material_that_is_nowhere(crystals, features, split):
    for tables in ((crystals.iloc[1:], split), (crystals, split.iloc[1:])):
        with pytest.raises(UserError, match="m-000 is not in the tables"):
            label_patterns(features.index, *tables)


# --- keeping --------------------------------------------------------------------------------------
@pytest.mark.parametrize("in_turn", [False, True])
def test_saved_and_loaded_forests_say_the_same(hierarchy, saved, features, in_turn):
    loaded = load_hierarchy(saved, in_turn=in_turn, progress=False)
    assert loaded.classes == hierarchy.classes
    np.testing.assert_array_equal(
        loaded.system_votes(features.vectors), hierarchy.system_votes(features.vectors)
    )
    for system in SYSTEMS:
        np.testing.assert_array_equal(
            loaded.space_group_votes(features.vectors, system),
            hierarchy.space_group_votes(features.vectors, system),
        )
        np.testing.assert_array_equal(
            loaded.predict_lattice(features.vectors, system),
            hierarchy.predict_lattice(features.vectors, system),
        )
    assert loaded.about["settings"] == hierarchy.about["settings"]
    alone = load_hierarchy(saved, only_system=True, progress=False)
    assert not alone.space_group
    assert not alone.lattice
    np.testing.assert_array_equal(
        alone.system_votes(features.vectors), hierarchy.system_votes(features.vectors)
    )


def test_files_are_no_pickles(hierarchy, saved):
    files = sorted(saved.glob("*.skops"))
    assert len(files) == published.MODELS.value
    assert {p.name for p in saved.iterdir()} == {"models.json", *(p.name for p in files)}
    for path in files:
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            assert "schema.json" in archive.namelist()
            assert not [n for n in archive.namelist() if n.endswith((".pkl", ".pickle"))]


def refused(folder) -> str:
    with pytest.raises(UserError) as caught:
        load_hierarchy(folder, progress=False)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("keep", [0, 10, 1000, 0.5, -1])
def test_a_truncated_forest(copy, keep, listed):
    path = copy / "crystal_system.skops"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    if listed:
        list_again(copy, "crystal_system")
    assert "crystal_system.skops: cannot be loaded as a forest" in refused(copy)


def test_a_forest_with_a_flipped_byte(copy):
    path = copy / "crystal_system.skops"
    data = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(data), 25):
        spoilt = bytearray(data)
        spoilt[position] ^= 0xFF
        path.write_bytes(spoilt)
        assert "crystal_system.skops: cannot be loaded as a forest" in refused(copy)
    path.write_bytes(data)
    assert load_hierarchy(copy, progress=False).n_trees == 10


def list_again(folder, name: str) -> None:
    """Enter a file that was exchanged into the list, as somebody who means harm would."""
    about = json.loads((folder / "models.json").read_text())
    digest = hashlib.sha256((folder / f"{name}.skops").read_bytes()).hexdigest()
    about["sha256"][name] = digest
    (folder / "models.json").write_text(json.dumps(about))


def test_a_foreign_estimator(copy, features):
    other = ExtraTreesClassifier(3).fit(features.vectors, np.arange(len(features.vectors)) % 3)
    skops.io.dump(other, copy / "crystal_system.skops")
    assert "not the file that models.json lists" in refused(copy)
    list_again(copy, "crystal_system")
    assert "expected a RandomForestClassifier, found ExtraTreesClassifier" in refused(copy)


def test_a_forest_of_another_kind(copy):
    shutil.copy(copy / "lattice-cubic.skops", copy / "crystal_system.skops")
    list_again(copy, "crystal_system")
    assert "expected a RandomForestClassifier, found RandomForestRegressor" in refused(copy)


def test_a_forest_of_other_features(copy):
    other = RandomForestClassifier(3).fit(np.eye(6), np.arange(6) % 2)
    skops.io.dump(other, copy / "crystal_system.skops")
    list_again(copy, "crystal_system")
    assert "trained on 1066 features" in refused(copy)


class Trap:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_not_run(copy, tmp_path):
    trap = tmp_path / "sprung"
    (copy / "crystal_system.skops").write_bytes(pickle.dumps(Trap(str(trap))))
    list_again(copy, "crystal_system")
    assert "cannot be loaded as a forest" in refused(copy)
    skops.io.dump(FunctionTransformer(os.mkdir), copy / "crystal_system.skops")
    list_again(copy, "crystal_system")
    assert "cannot be loaded as a forest" in refused(copy)
    assert not trap.exists()


def test_a_forest_that_is_gone(copy):
    (copy / "lattice-cubic.skops").unlink()
    assert "lattice-cubic.skops: not there" in refused(copy)


def test_another_version_of_scikit_learn(copy):
    path = copy / "models.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"scikit_learn": "1.2.1"}))
    assert "made with scikit-learn 1.2.1" in refused(copy)


_REST = '"scikit_learn": "1", "settings": {}, "training": {}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"files": []}',
        '{"files": 3, "scikit_learn": "1"}',
        '{"files": ["lattice-cubic"], "scikit_learn": "1"}',
        '{"files": ["crystal_system"], "sha256": {}, ' + _REST + "}",
        '{"files": ["crystal_system"], "sha256": 3, ' + _REST + "}",
    ],
)
def test_a_list_of_models_that_is_none(copy, text):
    (copy / "models.json").write_text(text)
    assert "models.json: not a list of models" in refused(copy)


def test_no_models(tmp_path):
    assert "models.json: not there; it is made by notebook 03" in refused(tmp_path)


def test_forests_read_in_turn_are_not_all_kept(hierarchy, saved):
    loaded = load_hierarchy(saved, in_turn=True, progress=False)
    assert set(loaded.space_group) == set(SYSTEMS)
    assert len(loaded.lattice) == len(SYSTEMS)
    first = loaded.space_group["cubic"]
    assert loaded.space_group["cubic"] is first
    seen = weakref.ref(first)
    del first
    loaded.lattice["cubic"]
    assert seen() is not None
    loaded.space_group["hexagonal"]
    gc.collect()
    assert seen() is None
    (saved / "lattice-cubic.skops").rename(saved / "away")
    try:
        loaded.lattice["hexagonal"]
        with pytest.raises(UserError, match=r"lattice-cubic\.skops"):
            loaded.lattice["cubic"]
    finally:
        (saved / "away").rename(saved / "lattice-cubic.skops")

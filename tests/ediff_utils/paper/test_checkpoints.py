"""A training that is stopped goes on where it was, and gives the same forests."""

from __future__ import annotations

import json

import numpy as np
import pytest
from other_code import edit
from synthetic_features import make_crystals, make_features

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper import training
from ediff_utils.paper.checkpoints import Checkpoint, TreeCount, tree_workers
from ediff_utils.paper.feature_files import FeatureSet
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.models import Hierarchy, load_hierarchy
from ediff_utils.paper.training import fit_forest, new_forest, prepare_hierarchy, prepare_vectors

SETTINGS = ForestSettings(tree_fraction=0.125, jobs=1)
THEIRS = SETTINGS.model_copy(update={"grower": "scikit-learn"})
#: What trees are made from.
ONE = {"settings": {"a": 1}}


@pytest.fixture(scope="module")
def data():
    crystals = make_crystals()
    features = make_features(crystals)
    return (
        FeatureSet(features.index, features.vectors, "key"),
        crystals,
        make_split(crystals, SETTINGS),
    )


def vectors_of(features, settings=SETTINGS):
    return prepare_vectors(features, np.arange(len(features.index)), settings)


class Stopped(Exception):
    pass


def stop_after(n_trees: int):
    """A step that fails once so many trees are grown."""
    left = [n_trees]

    def step(n: int) -> None:
        left[0] -= n
        if left[0] <= 0:
            raise Stopped

    return step


def same_trees(ours, theirs) -> bool:
    return len(ours.estimators_) == len(theirs.estimators_) and all(
        np.array_equal(a.tree_.threshold, b.tree_.threshold)
        and np.array_equal(a.tree_.feature, b.tree_.feature)
        and np.array_equal(a.tree_.value, b.tree_.value)
        for a, b in zip(ours.estimators_, theirs.estimators_, strict=True)
    )


@pytest.mark.parametrize("stop", [1, 9, 17, 24])
@pytest.mark.parametrize("kind", ["crystal_system", "lattice"])
@pytest.mark.parametrize("settings", [SETTINGS, THEIRS], ids=["own", "scikit-learn"])
def test_a_forest_goes_on_where_it_was(data, tmp_path, kind, stop, settings):
    features, crystals, _ = data
    vectors = vectors_of(features, settings)
    labels = crystals.set_index("material_id").loc[features.index["material_id"]]
    target = labels[["a", "b", "c"] if kind == "lattice" else kind].to_numpy()
    forest = new_forest(kind, SETTINGS).set_params(n_estimators=24)
    expected = fit_forest(forest, vectors, target, lambda n: None)
    with pytest.raises(Stopped):
        fit_forest(
            new_forest(kind, SETTINGS).set_params(n_estimators=24),
            vectors,
            target,
            stop_after(stop),
            Checkpoint(tmp_path, ONE),
        )
    steps: list[int] = []
    forest = new_forest(kind, SETTINGS).set_params(n_estimators=24)
    checkpoint = Checkpoint(tmp_path, ONE)
    grown = fit_forest(forest, vectors, target, steps.append, checkpoint)
    # the first step is what was there
    assert steps[0] >= stop
    assert sum(steps) == 24
    assert same_trees(grown, expected)
    np.testing.assert_array_equal(
        grown.predict(features.vectors), expected.predict(features.vectors)
    )


def test_trees_of_another_training_are_thrown_away(tmp_path, data, capsys):
    features, crystals, _ = data
    target = crystals.set_index("material_id").loc[features.index["material_id"], "crystal_system"]
    forest = new_forest("crystal_system", SETTINGS)
    fit_forest(forest, vectors_of(features), target, lambda n: None, Checkpoint(tmp_path, ONE))
    assert len(Checkpoint(tmp_path, ONE).load()) == 10
    assert capsys.readouterr().err == ""
    assert Checkpoint(tmp_path, {"settings": {"a": 2}}).load() == []
    line = f"trees of {tmp_path.name}: made again, since settings differ: a\n"
    assert capsys.readouterr().err == line
    assert Checkpoint(tmp_path, ONE).load() == []


def test_damaged_trees_are_grown_again(tmp_path, data):
    features, crystals, _ = data
    target = crystals.set_index("material_id").loc[features.index["material_id"], "crystal_system"]
    forest = new_forest("crystal_system", SETTINGS).set_params(n_estimators=24)
    expected = fit_forest(
        forest, vectors_of(features), target, lambda n: None, Checkpoint(tmp_path, ONE)
    )
    path = tmp_path / "trees-0008.skops"
    path.write_bytes(path.read_bytes()[:-40])
    steps: list[int] = []
    forest = new_forest("crystal_system", SETTINGS).set_params(n_estimators=24)
    grown = fit_forest(
        forest, vectors_of(features), target, steps.append, Checkpoint(tmp_path, ONE)
    )
    # those before the damaged file are there, the batch after it is not taken without it
    assert steps == [8, 8, 8]
    assert same_trees(grown, expected)


def forests_of(hierarchy: Hierarchy) -> list:
    return [hierarchy.system_forest, *hierarchy.space_group.values(), *hierarchy.lattice.values()]


def test_the_hierarchy_goes_on_where_it_was(data, tmp_path, monkeypatch):
    expected = prepare_hierarchy(*data, SETTINGS, tmp_path / "a", progress=False)
    calls = []

    def fail_at_the_sixth(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise Stopped
        return fit_forest(*arguments)

    monkeypatch.setattr(training, "fit_forest", fail_at_the_sixth)
    with pytest.raises(Stopped):
        prepare_hierarchy(*data, SETTINGS, tmp_path / "b", progress=False)
    folder = tmp_path / "b" / "growing"
    grown = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert len(grown) == 6
    # Whole forests are on disk, and no longer in memory.
    assert len(list(folder.glob("*.skops"))) == 5
    assert "crystal_system" in grown
    assert not (tmp_path / "b" / "models.json").exists()
    monkeypatch.undo()
    found = prepare_hierarchy(*data, SETTINGS, tmp_path / "b", progress=False)
    assert found.about == expected.about
    for ours, theirs in zip(forests_of(found), forests_of(expected), strict=True):
        assert same_trees(ours, theirs)
    assert not (tmp_path / "b" / "growing").exists()
    about = [json_of(tmp_path / name) for name in "ab"]
    assert about[0]["sha256"].keys() == about[1]["sha256"].keys()


def test_a_finished_training_is_loaded(data, tmp_path, monkeypatch, capsys):
    features, crystals, split = data
    first = prepare_hierarchy(*data, SETTINGS, tmp_path, progress=False)
    trained = []
    grow = training._grow_forests
    monkeypatch.setattr(
        training, "_grow_forests", lambda *a, **k: trained.append(a) or grow(*a, **k)
    )
    again = prepare_hierarchy(*data, SETTINGS, tmp_path, progress=False)
    assert trained == []
    assert same_trees(again.system_forest, first.system_forest)
    jobs = SETTINGS.model_copy(update={"jobs": 2})
    prepare_hierarchy(*data, jobs, tmp_path, progress=False)
    assert trained == []
    other = SETTINGS.model_copy(update={"seed": 1})
    prepare_hierarchy(*data, other, tmp_path, progress=False)
    moved = FeatureSet(features.index, features.vectors, "another key")
    prepare_hierarchy(moved, crystals, split, SETTINGS, tmp_path, progress=False)
    unknown = FeatureSet(features.index, features.vectors)
    prepare_hierarchy(unknown, crystals, split, SETTINGS, tmp_path, progress=False)
    assert len(trained) == 3
    prepare_hierarchy(unknown, crystals, split, SETTINGS, tmp_path, progress=False)
    relabelled = crystals.assign(space_group=crystals["space_group"] + 1)
    prepare_hierarchy(*data, SETTINGS, tmp_path, progress=False)
    prepare_hierarchy(features, relabelled, split, SETTINGS, tmp_path, progress=False)
    assert capsys.readouterr().err.splitlines() == [
        f"forests: made again, since {reason}"
        for reason in (
            "settings differ: seed",
            "settings differ: seed; features are others",
            "features are others",
            "features are not known",
            "features are others",
            "labels are others",
        )
    ]


def test_forests_of_other_code_are_grown_again(data, tmp_path, monkeypatch, capsys):
    """So are the trees of a training that was stopped before the code was edited."""
    first = prepare_hierarchy(*data, SETTINGS, tmp_path, only_system=True, progress=False)
    (tmp_path / "growing").mkdir()
    identity = json_of(tmp_path)["made_from"]
    Checkpoint(tmp_path / "growing" / "crystal_system", identity)
    edit(monkeypatch, "ediff_utils.paper.features")
    load_hierarchy(tmp_path, only_system=True, progress=False)
    again = prepare_hierarchy(*data, SETTINGS, tmp_path, only_system=True, progress=False)
    assert capsys.readouterr().err.splitlines() == [
        "forests: read as they are, though ediff_utils.paper.features has changed",
        "forests: made again, since ediff_utils.paper.features has changed",
        "trees of crystal_system: made again, since ediff_utils.paper.features has changed",
    ]
    assert same_trees(again.system_forest, first.system_forest)
    prepare_hierarchy(*data, SETTINGS, tmp_path, only_system=True, progress=False)
    assert capsys.readouterr().err == ""


def json_of(folder) -> dict:
    return json.loads((folder / "models.json").read_text())


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("settings", [SETTINGS, THEIRS], ids=["own", "scikit-learn"])
def test_progress_is_told_tree_by_tree(data, jobs, settings):
    features, crystals, _ = data
    vectors = vectors_of(features, settings)
    target = crystals.set_index("material_id").loc[features.index["material_id"], "crystal_system"]
    steps: list[int] = []
    count = TreeCount(steps.append)
    forest = new_forest("crystal_system", settings).set_params(n_estimators=18, n_jobs=jobs)
    with tree_workers("", jobs, count.early):
        fit_forest(forest, vectors, target, count)
    assert sum(steps) == 18
    # one thread alone is no pool, and tells of whole batches
    assert [n for n in steps if n] == ([1] * 18 if jobs == 2 else [8, 8, 2])


@pytest.mark.parametrize(
    ("settings", "task"), [(SETTINGS, "_grow_numbered"), (THEIRS, "build_trees")]
)
def test_on_a_dask_cluster(data, tmp_path, settings, task):
    distributed = pytest.importorskip("distributed")
    here = prepare_hierarchy(*data, settings, tmp_path / "a", only_system=True, progress=False)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        on_cluster = settings.model_copy(update={"cluster": cluster.scheduler_address})
        there = prepare_hierarchy(
            *data, on_cluster, tmp_path / "b", only_system=True, progress=False
        )
        assert any(task in name for name in cluster.scheduler.task_prefixes)
    assert same_trees(there.system_forest, here.system_forest)
    assert there.about == here.about


def test_no_cluster_there(data, tmp_path):
    pytest.importorskip("distributed")
    settings = SETTINGS.model_copy(update={"cluster": "nonsense://1"})
    with pytest.raises(UserError, match="cluster: no Dask scheduler at nonsense"):
        prepare_hierarchy(*data, settings, tmp_path, only_system=True, progress=False)

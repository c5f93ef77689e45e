"""Predictions of single patterns and of materials, some of them worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_features import make_crystals, make_features

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper.aggregation import aggregate_votes, draw_patterns
from ediff_utils.paper.feature_files import FeatureSet
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.models import Hierarchy
from ediff_utils.paper.predictions import (
    compute_aggregates,
    compute_predictions,
    read_table,
    write_table,
)
from ediff_utils.paper.training import prepare_hierarchy

SETTINGS = ForestSettings(tree_fraction=0.125, jobs=1)


@pytest.fixture(scope="module")
def tables():
    """Weakly informative features, so that forests err and tie."""
    crystals = make_crystals(105)
    features = make_features(crystals, n_patterns=6)
    noise = np.random.default_rng(9).normal(size=features.vectors.shape)
    features = FeatureSet(features.index, (features.vectors / 5 + noise).astype(np.float32))
    return crystals, features, make_split(crystals, SETTINGS)


@pytest.fixture(scope="module")
def hierarchy(tables, tmp_path_factory) -> Hierarchy:
    crystals, features, split = tables
    folder = tmp_path_factory.mktemp("models")
    return prepare_hierarchy(features, crystals, split, SETTINGS, folder, progress=False)


@pytest.fixture(scope="module")
def predictions(tables, hierarchy) -> pd.DataFrame:
    crystals, features, split = tables
    return compute_predictions(hierarchy, features, crystals, split)


@pytest.fixture(scope="module")
def aggregates(tables, hierarchy) -> pd.DataFrame:
    crystals, features, split = tables
    return compute_aggregates(
        hierarchy, features, crystals, split, n_patterns=4, seed=3, progress=False
    )


# --- single patterns ------------------------------------------------------------------------------
def test_every_test_pattern_once(tables, predictions):
    crystals, features, split = tables
    test = split.loc[split["part"] == "test", "material_id"]
    known = crystals.set_index("material_id")
    wanted = [m for m in test if known.loc[m, "crystal_system"] != "triclinic"]
    expected = features.index[features.index["material_id"].isin(wanted)].reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions[["material_id", "pattern"]], expected)
    truth = known.loc[predictions["material_id"]]
    assert predictions["true_system"].tolist() == truth["crystal_system"].tolist()
    assert predictions["true_space_group"].tolist() == truth["space_group"].tolist()
    for axis in "abc":
        assert predictions[f"true_{axis}"].tolist() == truth[axis].tolist()


def vectors_of(features: FeatureSet, table: pd.DataFrame, rows: list[int]) -> np.ndarray:
    keys = pd.MultiIndex.from_frame(features.index)
    wanted = pd.MultiIndex.from_frame(table.iloc[rows][["material_id", "pattern"]])
    return features.vectors[keys.get_indexer(wanted)]


def asked_by_hand(forest, vector: np.ndarray):
    """Class and confidence of one vector by the trees' own predictions."""
    labels = [int(tree.predict(vector[None])[0]) for tree in forest.estimators_]
    votes = np.bincount(labels, minlength=len(forest.classes_))
    first, second = np.sort(votes)[::-1][:2]
    return votes, forest.classes_[votes.argmax()], (first - second) / len(labels)


def test_rows_by_hand(tables, hierarchy, predictions):
    """A right row and a wrong one: each goes to the forests of the system that it was given."""
    right = predictions["system"] == predictions["true_system"]
    rows = [*np.flatnonzero(right)[:3], *np.flatnonzero(~right)[:3]]
    assert len(rows) == 6
    vectors = vectors_of(tables[1], predictions, rows)
    for number, vector in zip(rows, vectors, strict=True):
        row = predictions.iloc[number]
        votes, _, confidence = asked_by_hand(hierarchy.system_forest, vector)
        by_name = dict(zip(hierarchy.system_forest.classes_, votes, strict=True))
        assert {s: row[f"votes_{s}"] for s in SYSTEMS} == by_name
        # in a tie the system that stands first in the list of systems
        assert row["system"] == next(s for s in SYSTEMS if by_name[s] == votes.max())
        assert row["n_trees"] == 10 == votes.sum()
        assert row["vote_share"] == pytest.approx(votes.max() / 10)
        assert row["confidence"] == pytest.approx(confidence)
        for system, suffix in ((row["system"], ""), (row["true_system"], "_given")):
            _, group, confidence = asked_by_hand(hierarchy.space_group[system], vector)
            assert row[f"space_group{suffix}"] == group
            if not suffix:
                assert row["space_group_confidence"] == pytest.approx(confidence)
            trees = [t.predict(vector[None])[0] for t in hierarchy.lattice[system].estimators_]
            lattice = row[[f"{axis}{suffix}" for axis in "abc"]].to_numpy(dtype=float)
            np.testing.assert_array_equal(lattice, np.median(trees, axis=0))


def test_types_of_the_columns(predictions, aggregates):
    for table in (predictions, aggregates):
        for name in ("space_group", "space_group_given", "true_space_group"):
            assert table[name].dtype.kind == "i", name
        for name in ("a", "b", "c", "a_given", "confidence", "space_group_confidence"):
            assert table[name].dtype == float, name
        assert not table.isna().any().any()


def test_triclinic_by_option(tables, tmp_path):
    crystals, features, split = tables
    chosen = SETTINGS.model_copy(update={"include_triclinic": True})
    seven = prepare_hierarchy(features, crystals, split, chosen, tmp_path, progress=False)
    table = compute_predictions(seven, features, crystals, split)
    assert "votes_triclinic" in table
    assert "triclinic" in set(table["true_system"])
    assert len(table) == 6 * (split["part"] == "test").sum()
    votes = table[[f"votes_{s}" for s in seven.classes]].sum(axis=1)
    assert (votes == table["n_trees"]).all()


def test_no_triclinic_by_default(predictions, aggregates):
    assert "votes_triclinic" not in predictions
    assert "weight_triclinic" not in aggregates
    for table in (predictions, aggregates):
        assert set(table["true_system"]) <= set(SYSTEMS)
        assert set(table["system"]) <= set(SYSTEMS)


def test_the_crystal_system_alone(tables, hierarchy, predictions, aggregates):
    crystals, features, split = tables
    lone = hierarchy.systems_only()
    table = compute_predictions(lone, features, crystals, split)
    pd.testing.assert_frame_equal(table, predictions[table.columns])
    assert "space_group" not in table
    both = compute_aggregates(lone, features, crystals, split, n_patterns=4, seed=3, progress=False)
    pd.testing.assert_frame_equal(both, aggregates[both.columns])
    assert "a" not in both


def test_no_test_patterns(tables, hierarchy):
    crystals, features, split = tables
    with pytest.raises(UserError, match="found none"):
        compute_predictions(hierarchy, features, crystals, split.assign(part="train"))


# --- several patterns -----------------------------------------------------------------------------
def test_materials_by_hand(tables, hierarchy, predictions, aggregates):
    names, groups, turn = draw_patterns(predictions["material_id"], 3)
    assert aggregates["material_id"].tolist() == sorted(set(predictions["material_id"])) == [*names]
    changed = 0
    for number in range(len(aggregates)):
        row = aggregates.iloc[number]
        members = np.flatnonzero((groups == number) & (turn < 4))
        assert row["n_patterns"] == len(members) == 4
        weights = dict.fromkeys(SYSTEMS, 0.0)
        for _, single in predictions.iloc[members].iterrows():
            weights[single["system"]] += single["confidence"]
        if not any(weights.values()):
            continue
        assert {s: row[f"weight_{s}"] for s in SYSTEMS} == pytest.approx(weights)
        assert row["system"] == max(SYSTEMS, key=weights.get)
        assert row["confidence"] == pytest.approx(weights[row["system"]] / sum(weights.values()))
        changed += bool((predictions.iloc[members]["system"] != row["system"]).any())
        if number > 5:
            continue
        vectors = vectors_of(tables[1], predictions, members)
        for system, suffix in ((row["system"], ""), (row["true_system"], "_given")):
            lattice = hierarchy.predict_lattice(vectors, system)
            np.testing.assert_array_equal(
                row[[f"{axis}{suffix}" for axis in "abc"]].to_numpy(dtype=float),
                np.median(lattice, axis=0),
            )
            forest = hierarchy.space_group[system]
            votes = np.array([asked_by_hand(forest, v)[0] for v in vectors])
            (summed,) = aggregate_votes(votes)
            assert row[f"space_group{suffix}"] == forest.classes_[summed.argmax()]
            if not suffix:
                share = summed.max() / summed.sum()
                assert row["space_group_confidence"] == pytest.approx(share)
    # patterns of one material disagreed, or there was nothing to aggregate
    assert changed > 3


def test_one_pattern_aggregates_to_itself(tables, hierarchy, predictions):
    crystals, features, split = tables
    table = compute_aggregates(
        hierarchy, features, crystals, split, n_patterns=1, seed=0, progress=False
    )
    single = predictions[draw_patterns(predictions["material_id"], 0)[2] == 0]
    single = single.sort_values("material_id").reset_index(drop=True)
    for name in ("system", "space_group", "a", "b", "c", "space_group_given", "a_given"):
        assert table[name].tolist() == single[name].tolist(), name
    led = single["confidence"] > 0
    assert (table["confidence"][led] == 1).all()


def test_more_patterns_than_there_are(tables, hierarchy):
    crystals, features, split = tables
    table = compute_aggregates(hierarchy, features, crystals, split, n_patterns=50, progress=False)
    assert (table["n_patterns"] == 6).all()


def test_the_draw_hangs_on_the_seed(tables, hierarchy, aggregates):
    crystals, features, split = tables
    again, other = (
        compute_aggregates(
            hierarchy, features, crystals, split, n_patterns=4, seed=seed, progress=False
        )
        for seed in (3, 4)
    )
    pd.testing.assert_frame_equal(again, aggregates)
    assert not other["confidence"].equals(aggregates["confidence"])


# --- files ----------------------------------------------------------------------------------------
def test_tables_come_back(predictions, tmp_path):
    path = tmp_path / "deep" / "predictions.parquet"
    write_table(predictions, path)
    pd.testing.assert_frame_equal(read_table(path, "notebook 03"), predictions)
    with pytest.raises(UserError, match="column colour missing"):
        read_table(path, "notebook 03", ("material_id", "colour"))


@pytest.mark.parametrize("fault", ["missing", "text", "truncated", "empty"])
def test_a_table_that_is_none(predictions, tmp_path, fault):
    path = tmp_path / "predictions.parquet"
    if fault == "text":
        path.write_text("material_id\n")
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "truncated":
        write_table(predictions, path)
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError) as caught:
        read_table(path, "notebook 03")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)

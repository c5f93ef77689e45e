"""What the accuracy on the grid is made of: the changes of the vectors, and the table of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ediff_solve.figures import ablation as figures
from ediff_solve.forests import ablation
from ediff_solve.forests.ablation import CHANGES
from ediff_utils.bloch.dataset import reading, writing
from ediff_utils.core import paths
from ediff_utils.core.settings import (
    CrystalSettings,
    FeatureSettings,
    ForestSettings,
    SimulationSettings,
)
from ediff_utils.crystals.sources import prepare_crystals
from ediff_utils.paper import feature_files
from ediff_utils.paper.feature_files import AlteredFeatures, FeatureSet, build_features, turn
from ediff_utils.paper.features import N_ANGULAR, N_FEATURES, N_RADIAL
from ediff_utils.paper.labels import make_split

HALF = N_FEATURES // 2
SETTINGS = ForestSettings(tree_fraction=0.1, patterns_per_prediction=3, jobs=1, test_size=0.4)


def some_vectors(n: int, seed: int) -> np.ndarray:
    """Rings of one strength, coefficients of all sizes below it."""
    rng = np.random.default_rng(seed)
    magnitude = 10 ** rng.uniform(-6, 0, (n, N_RADIAL, N_ANGULAR))
    magnitude[:, :, 0] = 1
    argument = rng.uniform(-np.pi, np.pi, magnitude.shape)
    argument[:, :, 0] = 0
    both = [magnitude.reshape(n, -1), argument.reshape(n, -1)]
    return np.concatenate(both, axis=1).astype(np.float32)


def test_weak_coefficients_drown_and_strong_ones_stay():
    vectors = some_vectors(40, 0)
    before = vectors.copy()
    noisy = ablation.drown_weak(vectors, np.arange(1, 41))
    np.testing.assert_array_equal(vectors, before)
    weak = vectors[:, :HALF] < 0.003
    assert 0.3 < weak.mean() < 0.7
    for part in (slice(0, HALF), slice(HALF, None)):
        np.testing.assert_array_equal(noisy[:, part][~weak], vectors[:, part][~weak])
        assert np.all(noisy[:, part][weak] != vectors[:, part][weak])
    drowned = noisy[:, :HALF][weak] * np.exp(1j * noisy[:, HALF:][weak])
    assert np.sqrt(np.mean(np.abs(drowned) ** 2)) == pytest.approx(0.003, rel=0.02)
    assert abs(np.mean(drowned)) < 1e-4


def test_empty_rings_stay_empty():
    vectors = np.zeros((3, N_FEATURES), np.float32)
    np.testing.assert_array_equal(ablation.drown_weak(vectors, np.arange(3)), vectors)


def test_magnitudes_alone_are_the_same_however_the_pattern_is_turned():
    vectors = some_vectors(6, 2)
    index = pd.DataFrame({"material_id": list("aabbcc"), "pattern": 0, "rotation": 0.0})
    fixed = FeatureSet(index, vectors, "key")
    free = turn(fixed, "free", seed=3)
    rows = np.arange(6)
    assert np.abs(free.take(rows) - vectors).max() > 1
    own, turned = (AlteredFeatures(f, ablation.keep_magnitudes, "m") for f in (fixed, free))
    np.testing.assert_array_equal(own.take(rows), turned.take(rows))
    assert not own.take(rows)[:, HALF:].any()
    assert own.key == "key m"
    assert AlteredFeatures(FeatureSet(index, vectors), ablation.keep_magnitudes, "m").key == ""


@given(trigonal=st.integers(0, 300), others=st.integers(1, 300), triclinic=st.integers(0, 50))
@settings(max_examples=40)
def test_trigonal_crystals_become_as_rare_as_the_papers(trigonal, others, triclinic):
    systems = ["trigonal"] * trigonal + ["cubic"] * others + ["triclinic"] * triclinic
    left = ablation.thin_trigonal(pd.DataFrame({"crystal_system": systems}), seed=0)
    counts = left["crystal_system"].value_counts()
    kept = counts.get("trigonal", 0)
    assert (counts["cubic"], counts.get("triclinic", 0)) == (others, triclinic)
    # 0.2 of 3.4 million
    wanted = others * 0.2 / 3.2
    assert kept == trigonal if trigonal < wanted else abs(kept - wanted) <= 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sixty crystals of the embedded source, four axes each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", tmp_path_factory.mktemp("runs"))
        own = paths.Run("small")
        crystals = prepare_crystals(CrystalSettings(max_crystals=60, max_volume=80), own).table
        simulation = SimulationSettings(orientations=4, q_max=1.0, jobs=1)
        writing.simulate_dataset(crystals, simulation, own.patterns, progress=False)
        build_features(own.patterns, FeatureSettings(), own.features, progress=False)
        yield own, crystals, make_split(crystals, SETTINGS)


@pytest.fixture(scope="module")
def table(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    return folder, ablation.compute_ablation(*run, SETTINGS, folder, progress=False)


def test_every_change_has_both_rows(run, table):
    _, rows = table
    assert rows["change"].tolist() == [change for change in CHANGES for _ in range(2)]
    assert rows["patterns"].tolist() == ["one", "ten"] * len(CHANGES)
    assert rows["accuracy"].between(rows["low"], rows["high"]).all()
    assert rows["accuracy"].between(0.1, 1).all()
    _, crystals, split = run
    n = crystals["crystal_system"].ne("triclinic") & split["part"].eq("test").to_numpy()
    same = rows[~rows["change"].isin(["shares", "prototype"])]
    assert set(same["n_materials"]) == {n.sum()}
    # No two changes ask the same forest.
    assert rows[rows["patterns"] == "one"]["accuracy"].nunique() > len(CHANGES) / 2


def test_what_is_there_is_used_again(run, table, monkeypatch):
    folder, rows = table
    monkeypatch.setattr("ediff_utils.paper.training._grow_forests", None)
    monkeypatch.setattr("ediff_utils.bloch.dataset.table.pattern_table", None)
    again = ablation.compute_ablation(*run, SETTINGS, folder, progress=False)
    pd.testing.assert_frame_equal(again, rows)


def test_axes_are_tilted_by_as_much_as_is_asked_for(run, table):
    own, _, _ = run
    columns = ["material_id", "pattern", "zone_axis_cartesian"]
    exact = reading.read_patterns(own.patterns, columns=columns)
    for angle in (0.1, 1.0):
        tilted = reading.read_patterns(table[0] / f"tilt_{angle:g}_patterns", columns=columns)
        axes = [np.stack(t["zone_axis_cartesian"]).astype(float) for t in (exact, tilted)]
        sine = np.linalg.norm(np.cross(*axes), axis=1)
        np.testing.assert_allclose(np.degrees(np.arcsin(sine)), angle, rtol=1e-3)


def test_the_changes_are_of_the_vectors(run, table):
    own, crystals, _ = run
    base = feature_files.read_features(own.features).vectors
    for change in CHANGES:
        vectors = ablation._change_vectors(own, change, crystals, table[0], 0, progress=False)
        found = vectors.take(np.arange(len(base)))
        assert (change in ("ours", "shares", "prototype")) == np.array_equal(found, base)


def test_fewer_crystals(run, tmp_path):
    rows = ablation.compute_ablation(
        *run, SETTINGS, tmp_path, changes=["magnitudes"], n_crystals=40, progress=False
    )
    assert rows["n_materials"].max() < 40


def test_table_and_figure_for_readers(table):
    rows = table[1]
    shown = ablation.tabulate(rows)
    assert shown["vectors"].tolist() == list(CHANGES.values())
    accuracy = rows.set_index(["change", "patterns"])["accuracy"]
    plain = accuracy["plain", "ten"]
    assert shown["ten patterns"][1] == f"{100 * plain:.1f} %"
    assert shown["lost, ten"][1] == f"{100 * (accuracy['ours', 'ten'] - plain):.1f}"
    (ax,) = figures.figure_ablation(rows, 3).axes
    assert len(ax.get_yticks()) == len(CHANGES)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "one pattern",
        "3 patterns",
    ]

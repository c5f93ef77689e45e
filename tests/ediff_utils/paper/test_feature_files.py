"""Files of features: written block by block, read by rows, turned on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from other_code import edit
from sample_crystals import make_crystal, make_structure

from ediff_utils.bloch.dataset import writing as dataset_stage
from ediff_utils.bloch.dataset.table import SCHEMA
from ediff_utils.bloch.orientations import lattice_fixed_orientation, random_orientations
from ediff_utils.bloch.simulation import simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import FeatureSettings, SimulationSettings
from ediff_utils.crystals.symmetry import standardise
from ediff_utils.paper import feature_files
from ediff_utils.paper.feature_files import (
    FeatureSet,
    build_features,
    keep_materials,
    read_features,
    read_settings,
    turn,
)
from ediff_utils.paper.features import N_FEATURES, compute_features, to_coefficients


@pytest.fixture
def dataset(tmp_path):
    """Three patterns of gold at two thicknesses, in two parts."""
    crystal = make_crystal("gold")
    orientations = random_orientations(3, np.random.default_rng(0))
    settings_ = SimulationSettings(thicknesses=(100.0, 200.0), q_max=1.2)
    simulated = simulate(crystal, orientations, settings_)
    folder = tmp_path / "patterns"
    folder.mkdir()
    for number, patterns in enumerate(simulated):
        rows = [
            {
                "material_id": f"gold-{number}",
                "pattern": number,
                "zone_axis_cartesian": orientations[number][:, 2],
                "zone_axis_lattice": orientations[number][:, 2],
                "rotation": 0.0,
                "thickness": p.thickness,
                "direct_beam": p.direct_beam,
                "qx": p.qx,
                "qy": p.qy,
                "intensity": p.intensity,
                **dict(zip("hkl", p.hkl.T, strict=True)),
            }
            for p in patterns
        ]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, folder / f"part-{number:05d}.parquet")
    return folder, simulated


def test_no_thickness_takes_the_patterns_of_all(dataset, tmp_path):
    folder, simulated = dataset
    every = build_features(folder, FeatureSettings(thickness=None), tmp_path / "every.parquet")
    assert len(every.vectors) == sum(len(patterns) for patterns in simulated) == 6
    one = build_features(folder, FeatureSettings(thickness=100.0), tmp_path / "one.parquet")
    np.testing.assert_array_equal(every.vectors[::2], one.vectors)


@pytest.mark.parametrize("normalisation", ["scattered", "incident"])
def test_build_and_read_again(dataset, tmp_path, normalisation):
    folder, simulated = dataset
    path = tmp_path / "features.parquet"
    wanted = FeatureSettings(thickness=200.0, normalisation=normalisation)
    built = build_features(folder, wanted, path)
    read = read_features(path)
    np.testing.assert_array_equal(built.vectors, read.vectors)
    pd.testing.assert_frame_equal(built.index, read.index)
    assert read.index["material_id"].tolist() == ["gold-0", "gold-1", "gold-2"]
    assert read.index["pattern"].tolist() == [0, 1, 2]
    assert read_settings(path) == wanted
    for vector, patterns in zip(read.vectors, simulated, strict=True):
        p = patterns[1]
        direct = compute_features(p.qx, p.qy, p.intensity, np.array([0, len(p.qx)]), normalisation)
        np.testing.assert_allclose(vector[:533], direct[0, :533], atol=1e-5)
    total = read.vectors[:, :533].reshape(-1, 41, 13)[:, :, 0].sum(axis=1)
    scattered = [patterns[1].intensity.sum() for patterns in simulated]
    np.testing.assert_allclose(total, 1 if normalisation == "scattered" else scattered, rtol=1e-4)


def test_a_thickness_that_was_not_simulated(dataset, tmp_path):
    with pytest.raises(UserError, match="no patterns of thickness 150"):
        build_features(dataset[0], FeatureSettings(thickness=150.0), tmp_path / "features.parquet")
    assert not (tmp_path / "features.parquet").exists()


def two_rows(n_features: int) -> pa.Table:
    flat = pa.array(np.zeros(2 * n_features, np.float32))
    lists = pa.FixedSizeListArray.from_arrays(flat, n_features)
    index = {"material_id": ["x", "x"], "pattern": [0, 1], "rotation": [0.0, 0.0]}
    return pa.table(index | {"features": lists})


@pytest.mark.parametrize("kind", ["missing", "text", "other columns", "short lists", "truncated"])
def test_a_file_that_is_no_table_of_features(dataset, tmp_path, kind):
    path = tmp_path / "features.parquet"
    if kind == "text":
        path.write_text("features\n1\n")
    elif kind == "other columns":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif kind == "short lists":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(10, np.float32)), 5)
        pq.write_table(
            pa.table(
                {
                    "material_id": ["x"] * 2,
                    "pattern": [0, 1],
                    "rotation": [0.0, 0.0],
                    "features": flat,
                }
            ),
            path,
        )
    elif kind == "truncated":
        build_features(dataset[0], FeatureSettings(thickness=200.0), path)
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError) as caught:
        read_features(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", feature_files.INDEX)
def test_a_table_of_features_without_an_index(tmp_path, column):
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * 1066, np.float32)), 1066)
    table = pa.table(
        {"material_id": ["x"] * 2, "pattern": [0, 1], "rotation": [0.0, 0.0], "features": flat}
    )
    path = tmp_path / "features.parquet"
    pq.write_table(table.drop_columns(column), path)
    with pytest.raises(UserError, match=f"column {column} missing; expected a table of features"):
        read_features(path)


# --- blocks and rows ------------------------------------------------------------------------------
def test_blocks_do_not_show(dataset, tmp_path, monkeypatch):
    settings = FeatureSettings(thickness=None)
    whole = build_features(dataset[0], settings, tmp_path / "whole.parquet")
    monkeypatch.setattr(feature_files, "_BLOCK", 4)
    blocks = build_features(dataset[0], settings, tmp_path / "blocks.parquet")
    assert pq.ParquetFile(blocks.path).num_row_groups == 2
    np.testing.assert_array_equal(blocks.vectors, whole.vectors)
    pd.testing.assert_frame_equal(blocks.index, whole.index)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [[], [0], [5, 0, 3], [2, 2, 1], [0, 1, 2, 3, 4, 5]])
def test_rows_come_as_asked(dataset, tmp_path, monkeypatch, rows, order):
    monkeypatch.setattr(feature_files, "_BLOCK", 4)
    path = tmp_path / "features.parquet"
    file = build_features(dataset[0], FeatureSettings(thickness=None), path)
    rows = np.array(rows, dtype=int)
    taken = file.take(rows, order)
    assert taken.dtype == np.float32
    assert taken.flags.f_contiguous if order == "F" else taken.flags.c_contiguous
    np.testing.assert_array_equal(taken, file.vectors[rows])
    in_memory = FeatureSet(file.index, file.vectors)
    np.testing.assert_array_equal(in_memory.take(rows, order), taken)


def test_half_precision(dataset, tmp_path):
    single = build_features(dataset[0], FeatureSettings(thickness=100.0), tmp_path / "a.parquet")
    settings = FeatureSettings(thickness=100.0, precision="float16")
    half = build_features(dataset[0], settings, tmp_path / "b.parquet")
    assert half.vectors.dtype == np.float32
    assert pq.read_schema(half.path).field("features").type.value_type == pa.float16()
    assert np.abs(half.vectors - single.vectors).max() > 0
    # 11 bits, of arguments up to pi and of magnitudes up to 1
    np.testing.assert_allclose(half.vectors, single.vectors, rtol=2.0**-11, atol=2.0**-24)


# --- what it was made from ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Two crystals in random orientations, with a manifest."""
    folder = tmp_path_factory.mktemp("random")
    names = ("gold", "silicon")
    crystals = pd.DataFrame(
        [standardise(make_structure(name), 0.01) | {"material_id": name} for name in names]
    )
    settings = SimulationSettings(sampling="random", orientations=5, q_max=1.2, jobs=1)
    dataset_stage.simulate_dataset(crystals, settings, folder / "patterns", progress=False)
    return folder / "patterns"


def test_features_are_made_once(simulated, tmp_path):
    path = tmp_path / "features.parquet"
    first = build_features(simulated, FeatureSettings(), path, progress=False)
    stamp = path.stat().st_mtime_ns
    again = build_features(simulated, FeatureSettings(), path, progress=False)
    assert path.stat().st_mtime_ns == stamp
    assert first.key == again.key != ""
    other = build_features(
        simulated, FeatureSettings(normalisation="incident"), path, progress=False
    )
    assert path.stat().st_mtime_ns != stamp
    assert other.key not in ("", first.key)


def test_features_of_other_code_are_made_again(simulated, tmp_path, monkeypatch, capsys):
    path = tmp_path / "features.parquet"
    first = build_features(simulated, FeatureSettings(), path, progress=False)
    content = path.read_bytes()
    edit(monkeypatch, "ediff_utils.paper.features")
    # Whoever only reads them is told.
    assert read_features(path).key == first.key
    line = "features: read as they are, though ediff_utils.paper.features has changed\n"
    assert capsys.readouterr().err == line
    monkeypatch.setenv("EDIFF_OLD_CODE", "use")
    kept = build_features(simulated, FeatureSettings(), path, progress=False)
    assert kept.key == first.key
    assert path.read_bytes() == content
    monkeypatch.delenv("EDIFF_OLD_CODE")
    capsys.readouterr()
    again = build_features(simulated, FeatureSettings(), path, progress=False)
    assert again.key != first.key
    line = "features: made again, since ediff_utils.paper.features has changed\n"
    assert capsys.readouterr().err == line
    np.testing.assert_array_equal(again.vectors, first.vectors)
    build_features(simulated, FeatureSettings(normalisation="incident"), path, progress=False)
    line = "features: made again, since settings differ: normalisation\n"
    assert capsys.readouterr().err == line


def test_features_of_other_patterns_are_made_again(dataset, tmp_path, capsys):
    folder, _ = dataset
    path = tmp_path / "features.parquet"
    first = build_features(folder, FeatureSettings(), path, progress=False)
    stamp = path.stat().st_mtime_ns
    assert build_features(folder, FeatureSettings(), path, progress=False).key == first.key
    assert path.stat().st_mtime_ns == stamp
    (folder / "part-00002.parquet").unlink()
    again = build_features(folder, FeatureSettings(), path, progress=False)
    assert len(again.index) == 2
    assert capsys.readouterr().err == "features: made again, since patterns are others\n"


def test_rotation_is_taken_back(simulated, tmp_path):
    """Random patterns with x fixed to the lattice are those simulated so in the first place."""
    free = build_features(simulated, FeatureSettings(), tmp_path / "f.parquet", progress=False)
    fixed = turn(free, "fixed", seed=0)
    assert turn(free, "free", seed=0) is free
    table = pq.read_table(simulated / "part-00000.parquet").to_pylist()
    rows = [i for i, row in enumerate(table) if row["material_id"] == "gold"]
    zone_axes = [table[i]["zone_axis_cartesian"] for i in rows]
    orientations = lattice_fixed_orientation(np.array(zone_axes))
    settings = SimulationSettings(q_max=1.2)
    for row, (pattern,) in zip(
        rows, simulate(make_crystal("gold"), orientations, settings), strict=True
    ):
        spots = pattern.qx, pattern.qy, pattern.intensity, np.array([0, len(pattern.qx)])
        expected = to_coefficients(compute_features(*spots))
        found = to_coefficients(fixed.take(np.array([row])))
        np.testing.assert_allclose(found, expected, atol=1e-4)
        unturned = to_coefficients(free.take(np.array([row])))
        assert np.abs(unturned - expected).max() > 1e-3


def test_rotation_is_set_free(dataset, tmp_path):
    path = tmp_path / "features.parquet"
    fixed = build_features(dataset[0], FeatureSettings(thickness=None), path)
    assert turn(fixed, "fixed", seed=0) is fixed
    free = turn(FeatureSet(fixed.index, fixed.vectors, "key"), "free", seed=3)
    assert free.key == "key free 3"
    rows = np.array([4, 1])
    np.testing.assert_array_equal(
        free.take(rows)[:, : N_FEATURES // 2], fixed.take(rows)[:, : N_FEATURES // 2]
    )
    assert np.abs(free.take(rows) - fixed.take(rows)).max() > 0.1
    np.testing.assert_array_equal(free.take(rows), turn(fixed, "free", seed=3).take(rows))
    assert np.abs(free.take(rows) - turn(fixed, "free", seed=4).take(rows)).max() > 0.1


def test_the_grid_has_no_rotation(tmp_path):
    """In files it comes as 0 or, from below, as 360 degrees."""
    crystals = pd.DataFrame([standardise(make_structure("zinc blende"), 0.01)])
    crystals["material_id"] = "zinc blende"
    settings = SimulationSettings(sampling="grid", orientations=30, q_max=0.9, jobs=1)
    dataset_stage.simulate_dataset(crystals, settings, tmp_path / "patterns", progress=False)
    grid = build_features(
        tmp_path / "patterns", FeatureSettings(), tmp_path / "f.parquet", progress=False
    )
    assert turn(grid, "fixed", seed=0) is grid
    free = turn(grid, "free", seed=0)
    assert np.abs(free.take(np.arange(30)) - grid.vectors).max() > 1


def test_some_materials():
    index = pd.DataFrame({"material_id": list("aabbc"), "pattern": [0, 1, 0, 1, 0]})
    vectors = np.arange(5 * N_FEATURES, dtype=np.float32).reshape(5, -1)
    features = FeatureSet(index, vectors, "key")
    matched = keep_materials(features, {"c", "a", "d"})
    assert matched.index["material_id"].tolist() == ["a", "a", "c"]
    np.testing.assert_array_equal(matched.take(np.array([2, 0])), vectors[[4, 0]])
    assert matched.key.startswith("key ")
    fewer = keep_materials(features, {"c"})
    assert fewer.key != matched.key
    # nothing is left out
    assert keep_materials(features, {"a", "b", "c", "e"}) is features
    assert keep_materials(matched, {"a", "c"}) is matched


def test_a_rotation_that_is_not_known():
    index = pd.DataFrame({"material_id": ["a"], "pattern": [0]})
    with pytest.raises(UserError, match="'rotation' is missing"):
        turn(FeatureSet(index, np.zeros((1, N_FEATURES), np.float32)), "free", seed=0)


def test_position_noise_moves_every_spot_and_is_the_same_each_time(dataset, tmp_path):
    folder, _ = dataset
    plain = build_features(folder, FeatureSettings(), tmp_path / "a.parquet", progress=False)
    noisy = FeatureSettings(position_noise=0.001)
    first, again = (
        build_features(folder, noisy, tmp_path / name, progress=False) for name in ("b", "c")
    )
    np.testing.assert_array_equal(first.vectors, again.vectors)
    half = N_FEATURES // 2
    sums = (v.vectors[:, :half:13].sum(axis=1) for v in (plain, first))
    # Rings share a spot's intensity between them, wherever it is, up to the outermost.
    np.testing.assert_allclose(*sums, rtol=0.01)
    assert np.all(np.abs(first.vectors - plain.vectors)[:, :half].max(axis=1) > 1e-4)


def test_round_off_is_kept_where_asked_for(tmp_path):
    crystals = pd.DataFrame([standardise(make_structure("zinc blende"), 0.01)])
    crystals["material_id"] = "zinc blende"
    settings = SimulationSettings(sampling="grid", orientations=4, q_max=0.9, jobs=1)
    dataset_stage.simulate_dataset(crystals, settings, tmp_path / "patterns", progress=False)
    zero, kept = (
        build_features(
            tmp_path / "patterns", FeatureSettings(round_off=how), tmp_path / how, progress=False
        ).vectors
        for how in ("zero", "kept")
    )
    half = N_FEATURES // 2
    np.testing.assert_array_equal(zero[:, :half], kept[:, :half])
    # The first axes of the grid are corners of the sector, with rotation axes along the beam.
    assert np.count_nonzero(kept[:, half:]) > 1.2 * np.count_nonzero(zero[:, half:])

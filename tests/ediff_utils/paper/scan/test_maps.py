"""The gold scan and the maps made of it."""

import json

import numpy as np
import pandas as pd
import pytest
from gold_scans import FINE, find_lists, small_settings
from scan_fakes import FakeHierarchy, lists_of

from ediff_solve.gold_scan.crystal import GOLD_LATTICE, compute_gold_features, gold_crystal
from ediff_solve.gold_scan.render import prepare_gold_scan
from ediff_utils.bloch.simulation import simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings, ScanSettings, SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.paper.feature_files import FeatureSet
from ediff_utils.paper.scan.bragg import build_bragg_lists
from ediff_utils.paper.scan.maps import (
    _filter_votes,
    compute_scan_features,
    compute_scan_maps,
)
from ediff_utils.paper.scan.summary import (
    compute_examples,
    compute_particle_systems,
    compute_pca,
    compute_scan_summary,
    compute_system_shares,
)
from ediff_utils.paper.training import prepare_hierarchy


def test_gold_is_a_primitive_face_centred_cell():
    crystal = gold_crystal()
    assert crystal.volume == pytest.approx(GOLD_LATTICE**3 / 4)
    miller = crystal.reciprocal_lattice @ crystal.conventional_lattice.T
    np.testing.assert_allclose(miller, np.rint(miller), atol=1e-12)
    # h, k, l all odd or all even
    assert np.all(np.ptp(np.abs(np.rint(miller)) % 2, axis=1) == 0)


def test_filter_removes_a_lone_pixel_and_keeps_an_edge():
    fractions = np.zeros((9, 9, 2))
    fractions[:, :4, 0] = fractions[:, 4:, 1] = 0.75
    fractions[:, :4, 1] = fractions[:, 4:, 0] = 0.25
    edge = fractions.copy()
    fractions[4, 1] = [0.0, 1.0]
    np.testing.assert_array_equal(_filter_votes(fractions, 5), edge)


def test_filter_looks_past_the_support():
    fractions = np.full((5, 5, 1), np.nan)
    fractions[2, 1:4, 0] = [0.1, 0.7, 0.3]
    filtered = _filter_votes(fractions, 5)
    np.testing.assert_array_equal(np.isnan(filtered), np.isnan(fractions))
    np.testing.assert_allclose(filtered[2, 1:4, 0], 0.3)
    np.testing.assert_array_equal(_filter_votes(fractions, 1), fractions)


def test_filter_does_not_depend_on_the_order_of_the_classes():
    rng = np.random.default_rng(0)
    fractions = rng.dirichlet(np.ones(4), size=(8, 8))
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(
        _filter_votes(fractions, 5)[..., order],
        _filter_votes(fractions[..., order], 5),
    )


def test_filter_is_the_median_of_numpy():
    rng = np.random.default_rng(1)
    fractions = rng.random((6, 7, 2))
    assert _filter_votes(fractions, 5)[3, 3, 1] == np.median(fractions[1:6, 1:6, 1])
    assert _filter_votes(fractions, 5)[0, 0, 0] == np.median(fractions[:3, :3, 0])


def test_filter_needs_a_middle():
    with pytest.raises(UserError, match="median_size: expected an odd number of pixels, got 4"):
        _filter_votes(np.zeros((3, 3, 2)), 4)


def two_halves() -> np.ndarray:
    systems = np.full((10, 12), "", dtype=object)
    systems[1:9, 1:6] = "cubic"
    systems[1:9, 6:11] = "hexagonal"
    systems[4, 3] = "monoclinic"
    return systems


def test_maps_of_a_known_scan():
    systems = two_halves()
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(), ScanSettings())
    raw = maps["system_raw"].to_numpy().reshape(systems.shape)
    filtered = maps["system"].to_numpy().reshape(systems.shape)

    np.testing.assert_array_equal(raw == None, systems == "")  # noqa: E711
    np.testing.assert_array_equal(raw[systems != ""], systems[systems != ""])
    assert filtered[4, 3] == "cubic"
    expected = np.where(systems == "monoclinic", "cubic", systems)
    np.testing.assert_array_equal(filtered[systems != ""], expected[systems != ""])

    assert len(maps) == systems.size
    assert list(maps.columns[:4]) == ["x", "y", "n_spots", "dark_field"]
    middle = maps[(maps["x"] == 2) & (maps["y"] == 2)].iloc[0]
    assert middle["n_spots"] == 6
    assert middle["dark_field"] == pytest.approx(0.06)
    assert (middle["probability_cubic"], middle["probability_hexagonal"]) == (0.75, 0.25)
    assert middle["confidence"] == pytest.approx(0.5)
    hexagonal = maps[(maps["x"] == 2) & (maps["y"] == 9)].iloc[0]
    assert hexagonal["a_cubic"] == pytest.approx(4.01)
    assert (middle["space_group"], hexagonal["space_group"]) == (225, 194)
    assert hexagonal[["a", "b", "c"]].tolist() == pytest.approx([3.01, 3.51, 4.01])
    empty = maps[(maps["x"] == 0) & (maps["y"] == 0)].iloc[0]
    assert empty["space_group"] == 0
    assert empty[["probability_cubic", "confidence", "a_cubic", "a", "b", "c"]].isna().all()


def test_pixels_of_low_confidence_stay_empty():
    systems = np.full((6, 6), "cubic", dtype=object)
    sure = compute_scan_maps(lists_of(systems), FakeHierarchy(doubters=39), ScanSettings())
    assert sure["system"].eq("cubic").all()
    tied = compute_scan_maps(lists_of(systems), FakeHierarchy(doubters=40), ScanSettings())
    assert tied["confidence"].eq(0).all()
    assert tied["system"].isna().all()
    assert tied["system_raw"].notna().all()
    assert tied["a_cubic"].isna().all()
    strict = ScanSettings(min_confidence=0.6)
    assert compute_scan_maps(lists_of(systems), FakeHierarchy(), strict)["system"].isna().all()


def test_positions_with_few_spots_are_dropped():
    systems = np.full((3, 3), "cubic", dtype=object)
    lists = lists_of(systems, n_spots=5)
    lists = lists.keep_spots(~((np.repeat(lists.x, lists.n_spots) == 1) & (lists.qy == 0)))
    maps = compute_scan_maps(lists, FakeHierarchy(), ScanSettings())
    assert maps.loc[maps["x"] == 1, "n_spots"].eq(4).all()
    assert maps.loc[maps["x"] == 1, "system_raw"].isna().all()
    assert maps.loc[maps["x"] != 1, "system_raw"].eq("cubic").all()
    with pytest.raises(UserError, match=r"min_spots: no probe position has 9 spots.*most is 5"):
        compute_scan_features(lists, 9)


def test_shares_count_pixels_and_weigh_them():
    maps = pd.DataFrame(
        {
            "system": ["cubic", "cubic", "cubic", "hexagonal", None],
            "confidence": [0.1, 0.1, 0.2, 0.4, 0.9],
        }
    )
    shares = compute_system_shares(maps)
    assert shares["system"].tolist() == ["cubic", "hexagonal"]
    assert shares["pixels"].tolist() == [3, 1]
    assert shares["share"].tolist() == pytest.approx([0.75, 0.25])
    assert shares["weighted_share"].tolist() == pytest.approx([0.5, 0.5])


def with_particles(maps: pd.DataFrame, systems: np.ndarray) -> pd.DataFrame:
    """Two particles side by side, 1 and 2."""
    columns = np.indices(systems.shape)[1]
    return maps.assign(particle=np.where(systems == "", 0, 1 + (columns >= 6)).ravel())


def test_summary_counts_what_the_map_shows():
    systems = two_halves()
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(), ScanSettings())
    particles = compute_particle_systems(with_particles(maps, systems))
    summary = compute_scan_summary(maps, particles, true_a=4.08)
    assert (summary["positions"], summary["with_pattern"], summary["predicted"]) == (120, 80, 80)
    assert summary["share"] == {"cubic": 0.5, "hexagonal": 0.5}
    assert sum(summary["weighted_share"].values()) == pytest.approx(1)
    assert summary["median_a_cubic"] == pytest.approx(maps["a_cubic"].median())
    assert summary["true_a"] == 4.08
    assert summary["particles_aggregated"] == {"cubic": 1, "hexagonal": 1}
    json.dumps(summary)


def test_summary_of_a_map_without_predictions():
    systems = np.full((3, 3), "cubic", dtype=object)
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(doubters=40), ScanSettings())
    none = compute_particle_systems(maps.assign(particle=0))
    summary = compute_scan_summary(maps, none)
    assert summary["predicted"] == 0
    assert summary["share"] == summary["particles_brightest"] == {}
    assert summary["median_a_cubic"] is None


def test_a_particle_takes_its_brightest_pattern_or_all():
    systems = np.full((3, 3), "cubic", dtype=object)
    systems[1, 1] = "hexagonal"
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(), ScanSettings())
    maps.loc[(maps["x"] == 1) & (maps["y"] == 1), "dark_field"] = 9.0
    particles = compute_particle_systems(with_particles(maps, systems))
    assert particles.to_dict("records") == [
        {"particle": 1, "n_patterns": 9, "brightest": "hexagonal", "aggregated": "cubic"}
    ]


def test_examples_are_confident_and_typical():
    systems = two_halves()
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(), ScanSettings())
    maps.loc[(maps["x"] == 3) & (maps["y"] == 8), "confidence"] = 0.99
    examples = compute_examples(maps)
    assert set(examples["system"]) == {"cubic", "hexagonal"}
    assert (examples["system"] == examples["system_raw"]).all()
    hexagonal = examples[examples["system"] == "hexagonal"].iloc[0]
    assert (hexagonal["x"], hexagonal["y"]) == (3, 8)
    assert len(compute_examples(maps, n_systems=1)) == 1


def test_principal_components_separate_what_differs():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(30, 20))
    high = rng.normal(size=(20, 20))
    high[:, 3] += 50
    components = compute_pca(low, high)
    assert components["source"].value_counts().to_dict() == {"scan": 30, "simulated": 20}
    scan = components.loc[components["source"] == "scan", "pc1"]
    simulated = components.loc[components["source"] == "simulated", "pc1"]
    assert abs(scan.mean() - simulated.mean()) == pytest.approx(50, rel=0.05)
    assert components[["pc1", "pc2"]].mean().abs().max() < 1e-9
    with pytest.raises(UserError, match="two vectors or more"):
        compute_pca(low[:1], low[:0])


def magnesium_like(a: float) -> Crystal:
    lattice = a * np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.6]])
    sites = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return Crystal(f"hcp-{a}", lattice, np.array([12, 12]), sites, lattice)


def test_forests_trained_on_simulated_crystals_find_gold(tmp_path):
    """A hierarchy of fcc gold and an hcp metal, through every step on the simulated scan."""
    from ediff_utils.bloch.orientations import random_orientations

    vectors = [compute_gold_features(60, thickness=t, seed=int(t)) for t in (60.0, 120.0)]
    orientations = random_orientations(120, np.random.default_rng(5))
    patterns = simulate(magnesium_like(3.2), orientations, SimulationSettings())
    spots = [p[0] for p in patterns]
    joined = build_bragg_lists(
        np.repeat(np.arange(120), [len(p.qx) for p in spots]),
        np.zeros(sum(len(p.qx) for p in spots), dtype=int),
        *(np.concatenate([getattr(p, name) for p in spots]) for name in ("qx", "qy", "intensity")),
    )
    _, hexagonal = compute_scan_features(joined, 1)
    ids = ["Au"] * 120 + ["Mg"] * len(hexagonal)
    index = pd.DataFrame({"material_id": ids, "pattern": np.arange(len(ids))})
    crystals = pd.DataFrame(
        {
            "material_id": ["Au", "Mg"],
            "crystal_system": ["cubic", "hexagonal"],
            "space_group": [225, 194],
            "a": [GOLD_LATTICE, 3.2],
            "b": [GOLD_LATTICE, 3.2],
            "c": [GOLD_LATTICE, 5.12],
        }
    )
    split = pd.DataFrame({"material_id": ["Au", "Mg"], "part": "train"})
    forests = ForestSettings(tree_fraction=0.25, jobs=1)
    features = FeatureSet(index, np.concatenate([*vectors, hexagonal]))
    hierarchy = prepare_hierarchy(features, crystals, split, forests, tmp_path, progress=False)

    how = small_settings(scan_size=16, twinned=0, overlapping=0, **FINE)
    scan = prepare_gold_scan(how)
    lists = find_lists(scan)
    maps = compute_scan_maps(lists, hierarchy, ScanSettings())
    called = maps[maps["system"].notna()]
    assert len(called) > 20
    assert (called["system"] == "cubic").mean() > 0.8
    assert called["a_cubic"].median() == pytest.approx(GOLD_LATTICE)
    cubic = called[called["system"] == "cubic"]
    np.testing.assert_allclose(cubic["c"], GOLD_LATTICE)
    assert (cubic["space_group"] == 225).all()

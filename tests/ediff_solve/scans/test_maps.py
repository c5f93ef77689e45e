"""Particles, the predictor's maps, their files and their report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from gold_scans import FINE, find_lists, small_settings
from orix import io
from scan_fakes import FakeHierarchy, lists_of

from ediff_solve.gold_scan.render import prepare_gold_scan
from ediff_solve.gold_scan.truth import compute_domains, compute_positions
from ediff_solve.scans.answers import Answers
from ediff_solve.scans.files import to_crystal_map, write_crystal_maps
from ediff_solve.scans.intake import count_spots
from ediff_solve.scans.kernels.likeness import _explained
from ediff_solve.scans.particles import segment_particles
from ediff_solve.scans.report import compare_with_truth, summarise
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Preset, ScanSettings, check
from ediff_utils.paper.results import to_plain
from ediff_utils.paper.scan.bragg import build_bragg_lists
from ediff_utils.paper.scan.maps import compute_scan_maps


# --- particles ------------------------------------------------------------------------------------
def square(angle: float, intensity: float = 1.0) -> np.ndarray:
    """Eight spots of a square lattice turned by an angle; qx, qy, intensity."""
    turn = np.radians(angle)
    h, k = (v.ravel() for v in np.mgrid[-1:2, -1:2])
    own = (h != 0) | (k != 0)
    qx = 0.4 * (h * np.cos(turn) - k * np.sin(turn))[own]
    qy = 0.4 * (h * np.sin(turn) + k * np.cos(turn))[own]
    return np.stack([qx, qy, np.full(own.sum(), intensity)])


def lists_from(patterns: dict[tuple[int, int], np.ndarray], shape: tuple[int, int]):
    x, y = (
        np.repeat([p[k] for p in patterns], [v.shape[1] for v in patterns.values()]) for k in (0, 1)
    )
    return build_bragg_lists(x, y, *np.concatenate(list(patterns.values()), axis=1), shape=shape)


def two_grains_that_overlap():
    """Columns 0 to 3 show one grain, 5 to 8 another, column 4 both, the left one stronger."""
    patterns = {}
    for x in range(4):
        for y in range(9):
            left, right = square(0), square(30)
            own = {True: left, False: right}[y < 4]
            if y == 4:
                own = np.concatenate([square(0, 4.0), right], axis=1)
            patterns[x, y] = own
    return lists_from(patterns, (4, 10))


def test_particles_end_where_spots_change():
    labels = segment_particles(two_grains_that_overlap())
    assert labels.shape == (4, 10)
    assert (labels[:, 9] == 0).all()
    left, right = labels[0, 0], labels[0, 8]
    assert {left, right} == {1, 2}
    # The overlap goes to the grain that explains more of it, and the two do not run together.
    np.testing.assert_array_equal(labels[:, :5], left)
    np.testing.assert_array_equal(labels[:, 5:9], right)
    assert left == 1, "the larger one comes first"


def test_particles_leave_out_rims_and_weak_positions():
    patterns = {(0, 0): square(0), (0, 1): square(0), (2, 2): square(10)}
    lists = lists_from(patterns, (4, 4))
    assert (segment_particles(lists) == 0).all()
    assert (segment_particles(lists, min_pixels=2) > 0).sum() == 2
    assert (segment_particles(lists, min_spots=9, min_pixels=1) == 0).all()
    with pytest.raises(UserError, match=r"^tolerance, least"):
        segment_particles(lists, least=1.5)


def test_particles_keep_together_where_intensities_change():
    """Thickness fringes: a spot comes and goes, the places stay."""
    rng = np.random.default_rng(0)
    patterns = {}
    for place in np.ndindex(5, 5):
        own = square(20)
        own[2] = rng.exponential(size=8) + 0.05
        own[:2] += rng.normal(0, 0.003, (2, 8))
        patterns[place] = own[:, rng.permutation(8)[:7]]
    assert (segment_particles(lists_from(patterns, (5, 5))) == 1).all()


def test_explained_is_a_share_of_the_weight():
    offsets = np.array([0, 2, 5])
    qx, qy = np.array([0.1, 0.5, 0.1, 0.7, 0.52]), np.zeros(5)
    weight = np.array([3.0, 1.0, 1.0, 1.0, 2.0])
    assert _explained(0, 1, (offsets, qx, qy, weight, 0.01)) == 0.75
    assert _explained(0, 1, (offsets, qx, qy, weight, 0.03)) == 1
    assert _explained(1, 0, (offsets, qx, qy, weight, 0.03)) == 0.75


# --- settings -------------------------------------------------------------------------------------
def test_frames_or_lists_but_not_both():
    for kind in (ScanSettings, Preset):
        with pytest.raises(UserError, match=r"^scan_file, bragg_file: expected one of them"):
            check(kind, scan_file="a.hspy", bragg_file="b.csv")


# --- the predictor on a scan ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def gold():
    scan = prepare_gold_scan(small_settings(seed=3, **FINE))
    return find_lists(scan), compute_positions(scan), compute_domains(scan)


@pytest.fixture(scope="module")
def predictor():
    from predictor_world import CARD, make_world

    from ediff_solve.predictor.answering import Predictor
    from ediff_solve.predictor.training.boosting import BoostingSettings
    from ediff_solve.predictor.training.fitting import train_predictor

    groups = {"cF": 225, "hP": 194, "oP": 47}
    boosting = BoostingSettings(rounds=6, group_rounds=2, min_data_in_leaf=2, jobs=1)
    return Predictor(train_predictor(*make_world(groups, 6), boosting), CARD)


def check_filling(maps, settings):
    """Positions without answers of their own get them from their grain, and others stay."""
    from ediff_solve.scans.filling import fill_from_grains

    place = maps[(maps["particle"] == 1) & maps["system"].notna()].index[0]
    hollow = maps.copy()
    columns = [name for name in maps if name.startswith("probability_")]
    hollow.loc[place, [*columns, "a", "b", "c", "confidence"]] = np.nan
    hollow.loc[place, ["system", "system_raw"]] = None
    filled = fill_from_grains(hollow, settings)
    assert filled.loc[place, "filled"]
    assert filled.loc[place, "system"] in set(maps.loc[maps["particle"] == 1, "system"])
    assert filled.loc[place, ["a", "b", "c", "confidence"]].notna().all()
    assert filled.loc[place, "system_raw"] is None
    assert not filled.loc[maps["particle"] == 0, "filled"].any()
    same = ~filled["filled"]
    pd.testing.assert_frame_equal(filled.loc[same, hollow.columns], hollow[same])
    # a pixel alone in its grain has nobody to ask
    hollow["particle"] = 0
    hollow.loc[place, "particle"] = 1
    assert not fill_from_grains(hollow, settings)["filled"].any()


def test_predictor_maps_a_scan(gold, predictor):
    from ediff_solve.scans.maps import compute_predictor_maps, compute_predictor_particles

    lists, positions, domains = gold
    settings = ScanSettings(jobs=1, median_size=3)
    maps = compute_predictor_maps(lists, predictor, settings)
    assert len(maps) == np.prod(lists.shape)
    enough = count_spots(lists).ravel() >= settings.min_spots
    assert not maps.loc[~enough, "system_raw"].notna().any()
    assert maps.loc[enough, "system_raw"].notna().mean() > 0.8
    called = maps[maps["system"].notna()]
    names = [name for name in maps if name.startswith("probability_")]
    np.testing.assert_allclose(called[names].sum(axis=1), 1, atol=1e-6)
    assert called["space_group"].between(1, 230).all()
    assert called[["a", "b", "c", "indexed"]].notna().all(axis=None)
    assert maps["two_grains"].equals(maps["one_grain"] < predictor.card["least_indexed"]["single"])
    # One pattern asked alone says the same of its system, where its lattice is one grain's.
    one = called[called["one_grain"] == called["indexed"]]
    row = one.sort_values("n_spots").iloc[-1]
    place = np.flatnonzero((lists.x == row["x"]) & (lists.y == row["y"]))[0]
    answer = predictor.predict([lists.spots(place)])
    assert answer.system == row["system_raw"]
    assert answer.indexed == pytest.approx(row["indexed"], rel=1e-6)
    assert answer.lattice.parameters[0] == pytest.approx(row["a"], rel=1e-5)

    labels = segment_particles(lists)
    maps["particle"] = labels.ravel()
    check_filling(maps, settings)
    found = compute_predictor_particles(lists, labels, maps, predictor, settings)
    assert found["particle"].tolist() == list(range(1, labels.max() + 1))
    assert found["aggregated"].notna().mean() > 0.8
    told = found[found["aggregated"].notna()]
    assert told["confidence"].between(0, 1).all()
    answers = Answers(maps, found, {"predictor": 1.0}, "")
    report = compare_with_truth(maps, found, answers, (positions, domains), 4.0782)
    out = to_plain(summarise(report, None, {"forests": 1.0} | answers.seconds))
    json.dumps(out)
    assert set(out["pixel_accuracy_single_domain"]) == {"forests", "predictor"}
    assert 0 <= out["flags"]["flagged"] <= 1


# --- files ----------------------------------------------------------------------------------------
@pytest.fixture
def mapped():
    systems = np.full((4, 6), "", dtype=object)
    systems[:, :2], systems[:2, 3:5] = "cubic", "hexagonal"
    maps = compute_scan_maps(lists_of(systems), FakeHierarchy(), ScanSettings(median_size=1))
    return maps.assign(particle=np.where(maps["system"].isna(), 0, 1))


@pytest.mark.parametrize("only", [None, "cubic"])
def test_orix_reads_the_maps_back(tmp_path, mapped, only):
    if only:
        mapped.loc[mapped["system"] != only, "system"] = None
    files = write_crystal_maps(mapped, tmp_path, "maps", step=21.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.ang", "maps.h5"]
    empty = mapped["system"].isna().to_numpy()
    for ending, unit, factor in (("h5", "nm", 0.1), ("ang", "um", 1e-4)):
        back = io.load(str(files[ending]))
        assert back.shape == (4, 6)
        assert back.scan_unit == unit
        np.testing.assert_array_equal(back.phase_id == -1, empty)
        np.testing.assert_array_equal(back.is_indexed, ~empty)
        for system in ("cubic", "hexagonal"):
            own = (mapped["system"] == system).to_numpy()
            if own.any():
                (phase,) = set(back.phase_id[own])
                assert back.phases[phase].name == system
        np.testing.assert_allclose(back.x, mapped["y"] * 21.0 * factor, atol=1e-5)
        np.testing.assert_allclose(back.y, mapped["x"] * 21.0 * factor, atol=1e-5)
        wanted = mapped["probability_cubic"].to_numpy()
        np.testing.assert_allclose(
            back.prop["probability_cubic"][~empty], wanted[~empty], atol=1e-5
        )
    h5 = io.load(str(files["h5"]))
    np.testing.assert_array_equal(h5.prop["space_group"], mapped["space_group"])
    np.testing.assert_allclose(h5.prop["a"][~empty], mapped["a"][~empty])


def test_a_map_that_claims_nothing(tmp_path, mapped):
    """Readers of .ang need a phase: an earlier file does not stay beside the new map."""
    write_crystal_maps(mapped, tmp_path, "maps", step=21.0)
    files = write_crystal_maps(mapped.assign(system=None), tmp_path, "maps", step=21.0)
    assert [p.name for p in tmp_path.iterdir()] == ["maps.h5"]
    assert (io.load(str(files["h5"])).phase_id == -1).all()


def test_a_map_that_cannot_be_written_leaves_nothing(tmp_path, mapped, monkeypatch):
    from ediff_solve.scans import files as scan_files

    def fail(name, *_args, **_options):
        with open(name, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_files.io, "save", fail)
    with pytest.raises(UserError, match="No space left"):
        write_crystal_maps(mapped, tmp_path, "maps", step=21.0)
    assert not list(tmp_path.iterdir())


def test_phases_are_the_systems_that_occur(mapped):
    found = to_crystal_map(mapped, 21.0)
    assert set(found.phases.names) == {"not_indexed", "cubic", "hexagonal"}
    assert found.phases["cubic"].point_group.name == "m-3m"


def test_a_scan_without_truth_is_not_scored():
    nothing = pd.DataFrame()
    report = compare_with_truth(nothing, nothing, Answers(None, None, {}, ""), None, None)
    out = summarise(report, None, {"forests": 2.0})
    assert set(out) == {"map_seconds", "peak_gib"}
    assert out["peak_gib"] > 0.01

"""How maps and detectors are held against the truth of the simulated scan."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gold_scans import FINE, small_settings

from ediff_solve.gold_scan import detection
from ediff_solve.gold_scan.render import FramePainter, prepare_gold_scan
from ediff_solve.gold_scan.scores import (
    _match_particles,
    compute_confusion,
    compute_flags,
    compute_stages,
    summarise_flags,
)
from ediff_solve.gold_scan.truth import compute_positions
from ediff_utils.paper.scan.summary import compute_particle_systems

CUBIC_A = 4.0


# --- maps and particles ---------------------------------------------------------------------------
def truth_of(maps: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Particle 1 is single, particle 2 twinned; the last column of each overlaps."""
    positions = maps[["x", "y"]].copy()
    y = positions["y"]
    positions["particle"] = np.select([y < 4, (y >= 5) & (y < 9)], [1, 2], 0)
    positions["domain"] = positions["particle"]
    positions["overlapping"] = y.isin([3, 5])
    positions["twinned"] = positions["particle"] == 2
    positions["n_domains"] = (positions["particle"] > 0) * (1 + positions["twinned"])
    positions["n_domains"] += positions["overlapping"] & ~positions["twinned"]
    positions["single"] = positions["n_domains"] == 1
    domains = pd.DataFrame({"particle": [1, 2, 2], "kind": ["single", "lamellar", "lamellar"]})
    return positions, domains


def scored() -> pd.DataFrame:
    x, y = (v.ravel() for v in np.indices((4, 10)))
    maps = pd.DataFrame({"x": x, "y": y, "dark_field": 1.0})
    maps["particle"] = np.select([y < 4, (y >= 5) & (y < 9)], [7, 8], 0)
    maps["system_raw"] = np.where(maps["particle"] > 0, "cubic", None)
    maps.loc[maps["x"] == 0, "system_raw"] = np.where(maps["particle"] > 0, "hexagonal", None)[
        x == 0
    ]
    maps["system"] = maps["system_raw"].where(maps["x"] != 3, None)
    maps["probability_cubic"] = (maps["system_raw"] == "cubic") * 1.0
    maps["probability_hexagonal"] = (maps["system_raw"] == "hexagonal") * 1.0
    maps["a_cubic"] = np.where(maps["system"].isna(), np.nan, CUBIC_A + 0.1 * maps["x"])
    return maps


def test_stages_count_what_is_called_cubic():
    maps = scored()
    positions, domains = truth_of(maps)
    particles = compute_particle_systems(maps)
    stages = compute_stages(maps, particles, positions, domains, CUBIC_A)
    by = stages.set_index(["stage", "kind"])
    assert by.loc[("pixel", "single"), "n"] == 12
    assert by.loc[("pixel", "single"), "right"] == pytest.approx(9 / 12)
    # the last row is left empty by the filter
    assert by.loc[("filtered pixel", "single"), "n"] == 12
    assert by.loc[("filtered pixel", "single"), "answered"] == pytest.approx(9 / 12)
    assert by.loc[("filtered pixel", "single"), "cubic"] == pytest.approx(6 / 12)
    assert by.loc[("filtered pixel", "single"), "right"] == pytest.approx(6 / 9)
    assert by.loc[("filtered pixel", "single"), "median_a"] == pytest.approx(CUBIC_A + 0.1)
    assert by.loc[("filtered pixel", "single"), "median_error"] == pytest.approx(0.1)
    assert by.loc[("pixel", "overlapping"), "n"] == 8
    assert by.loc[("particle, together", "single"), "right"] == 1
    assert by.loc[("particle, together", "twinned"), "n"] == 1


def test_a_region_is_the_particle_that_has_most_of_it():
    maps = scored()
    positions, domains = truth_of(maps)
    found = _match_particles(maps, positions, domains).set_index("particle")
    assert found.loc[7, "true_particle"] == 1
    assert found.loc[8, "kind"] == "lamellar"
    assert (found["purity"] == 1).all()
    maps["particle"] = 1
    both = _match_particles(maps, positions, domains)
    assert both["purity"].tolist() == [0.4]
    assert both["kind"].tolist() == ["none"]


def test_confusion_counts_every_position_of_a_kind():
    maps = scored()
    positions, _ = truth_of(maps)
    counts = compute_confusion(maps, positions)
    assert list(counts.columns) == ["cubic", "hexagonal", "none"]
    assert counts.loc["single"].tolist() == [6, 3, 3]
    assert counts.loc["bare film"].tolist() == [0, 0, 8]
    assert counts.loc["twinned"].sum() == 16


def test_flags_trade_hits_for_false_alarms():
    maps = scored()
    positions, _ = truth_of(maps)
    several = (positions["twinned"] | positions["overlapping"]).to_numpy()
    rng = np.random.default_rng(0)
    maps["unexplained"] = np.where(several, rng.integers(4, 12, 40), rng.integers(0, 5, 40))
    maps.loc[positions["n_domains"] == 0, "unexplained"] = np.nan
    maps["two_grains"] = maps["unexplained"] > 3
    curve = compute_flags(maps, positions)
    assert curve["false_alarms"].is_monotonic_increasing
    assert curve.iloc[-1][["false_alarms", "flagged"]].tolist() == [1, 1]
    for row in curve.itertuples():
        own = maps["unexplained"] > row.threshold
        bare = positions["n_domains"] == 0
        assert row.flagged == pytest.approx(own[several].mean())
        assert row.false_alarms == pytest.approx(own[~several & ~bare].mean())
    found = summarise_flags(curve, maps, positions)
    assert found["flagged_at_false_alarms"] >= 0.8
    assert found["flagged"] == pytest.approx(maps.loc[several, "two_grains"].mean())
    maps["unexplained"] = np.nan
    assert summarise_flags(compute_flags(maps, positions), maps, positions)["flagged"] is None


# --- detection ------------------------------------------------------------------------------------
def test_score_of_spots():
    truth = [np.array([[10.0, 10, 50], [20, 20, 50], [30, 30, 5], [40, 40, 0.5]])]
    beams = np.array([[0.0, 0]])
    found = [np.array([[10.3, 10.4], [30, 30.0], [40, 40], [0.5, 0], [20.9, 20], [19.5, 20]])]
    got = detection._score_spots(found, truth, beams)
    # of the two that are wanted both are found; one of those near 20 is too many, 40 is too weak
    assert detection.WANTED > 5 > detection.ALLOWED > 0.5
    assert got["recall"] == 1
    assert got["precision"] == pytest.approx(3 / 5)
    assert got["rms"] == pytest.approx(np.sqrt((0.25 + 0.81 + 0.25) / 3))
    off = detection._distances_found(found, truth, beams)
    assert off == pytest.approx([0.5, 0.5])
    assert np.isnan(detection._distances_found([np.empty((0, 2))], truth, beams)).tolist() == [
        True,
        True,
    ]
    none = detection._score_spots([np.empty((0, 2))], truth, beams)
    assert none["recall"] == 0
    assert np.isnan(none["precision"])


def test_true_spots_are_where_frames_show_them():
    scan = prepare_gold_scan(small_settings(seed=3, **FINE))
    best = compute_positions(scan).sort_values("scattered").iloc[-1]
    place = int(best["x"]), int(best["y"])
    number = place[0] * scan.settings.scan_size + place[1]
    (spots,) = detection._true_spots(scan, np.array([number]))
    frame = FramePainter(scan).frames(place[0], slice(place[1], place[1] + 1))[0].astype(float)
    hot = scan.microscope.hot
    frame[hot[:, 0], hot[:, 1]] = 0
    strong = spots[spots[:, 2] > 100]
    assert len(strong) >= 3
    rows, columns = np.indices(frame.shape)
    for x, y, electrons in strong:
        near = np.hypot(rows - x, columns - y) < 3.5
        assert frame[near].sum() > 0.7 * electrons
        centre = (
            np.average(rows[near], weights=frame[near]),
            np.average(columns[near], weights=frame[near]),
        )
        assert np.hypot(centre[0] - x, centre[1] - y) < 1

"""Spots in frames of few electrons: what is asked for is held, on frames of known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from scipy.stats import norm

from ediff_solve.figures.spots import figure_spots
from ediff_solve.frames.counting.centre import Gap, find_centre, find_gap
from ediff_solve.frames.counting.detection import (
    SpotSettings,
    compute_camera,
    count_maxima,
    find_frame_spots,
    find_threshold,
)
from ediff_solve.frames.counting.masks import find_bad_pixels, find_pedestal
from ediff_solve.frames.counting.series import find_spots
from ediff_solve.frames.counting.simulated import DEFECTS, simulate_frames
from ediff_solve.frames.kernels.counting import significance
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import ROOT

#: Spots are the same within so many pixels; those of so many electrons must be found.
NEAR, BRIGHT = 3.0, 40.0


def judge(sim, found):
    """Share of the bright spots found, and of the found ones that are spots."""
    seen = wanted = false = total = 0
    for one, places in zip(found.frames, sim.places, strict=True):
        off = np.hypot(*(one.spots[:, None, :2] - places[None, :, :2]).transpose(2, 0, 1))
        bright = places[:, 2] >= BRIGHT
        wanted += bright.sum()
        total += len(one.spots)
        if off.size:
            seen += (off.min(axis=0)[bright] < NEAR).sum()
            false += (off.min(axis=1) >= NEAR).sum()
    return seen / wanted, 1 - false / max(total, 1)


@pytest.mark.parametrize("defect", DEFECTS)
def test_spots_are_found_whatever_is_wrong(defect):
    sim = simulate_frames(12, 192, defects=(defect,), seed=3)
    beam = tuple(sim.centres.mean(axis=0) + 5) if defect == "stop" else None
    found = find_spots(sim.frames, SpotSettings(sigma=None), beam=beam)
    recall, precision = judge(sim, found)
    assert recall > 0.85
    assert precision > 0.9


def test_positions_and_width_are_right():
    sim = simulate_frames(8, 192, electrons=200, seed=1)
    found = find_spots(sim.frames)
    assert found.sigma == pytest.approx(1.5, abs=0.15)
    off = []
    for one, places in zip(found.frames, sim.places, strict=True):
        for spot in one.spots:
            d = places[:, :2] - spot[:2]
            k = np.hypot(*d.T).argmin()
            if np.hypot(*d[k]) < NEAR and places[k, 2] > 100:
                off.append([*d[k], spot[2] / places[k, 2] - 1, (spot[2] - places[k, 2]) / spot[3]])
    off = np.array(off)
    assert len(off) > 30
    assert np.sqrt(np.mean(off[:, :2] ** 2)) < 0.3
    assert abs(np.median(off[:, 2])) < 0.1
    # Errors of intensities are what they are said to be.
    assert 0.5 < np.std(off[:, 3]) < 1.6


@pytest.mark.parametrize("asked", [0.1, 2.0])
def test_the_rate_of_false_alarms_is_kept_on_noise(asked):
    sim = simulate_frames(40, 192, spots=0, seed=5)
    found = find_spots(sim.frames, SpotSettings(sigma=1.5, false_alarms=asked), look_for_gap=False)
    n = sum(len(f.spots) for f in found.frames)
    assert n <= 40 * asked + 3 * np.sqrt(40 * asked)
    assert len(found.empty) >= 39
    if asked > 1:
        assert n > 0.3 * 40 * asked


@pytest.mark.parametrize("z", [4.0, 5.0])
def test_maxima_of_smoothed_noise_are_counted(z):
    from scipy.ndimage import gaussian_filter, maximum_filter

    rng = np.random.default_rng(0)
    n, size, sigma = 60, 256, 2.0
    seen = 0
    for _ in range(n):
        field = gaussian_filter(rng.normal(size=(size, size)), sigma, mode="wrap")
        field /= 1 / np.sqrt(4 * np.pi * sigma**2)
        seen += ((field == maximum_filter(field, 3)) & (field > z)).sum()
    expected = n * count_maxima(z, size**2, sigma)
    assert abs(seen - expected) < 4 * np.sqrt(expected) + 0.15 * expected
    assert find_threshold(count_maxima(z, size**2, sigma), size**2, sigma) == pytest.approx(z)


@given(st.floats(0.5, 200), st.floats(0, 400))
@settings(max_examples=100, deadline=None)
def test_significance_is_that_of_poisson_counts(mean, k):
    """Signed, zero at the mean, and never more than counts over their standard deviation."""
    z = significance(k, mean, mean)
    assert np.sign(z) == np.sign(k - mean) or z == pytest.approx(0, abs=1e-6)
    if k > mean:
        assert z <= (k - mean) / np.sqrt(mean) + 1e-9


def test_significance_beside_the_exact_tail():
    from scipy.stats import poisson

    for mean, k in ((1, 9), (5, 20), (50, 90)):
        exact = norm.isf(poisson.sf(k - 1, mean))
        assert significance(k, mean, mean) == pytest.approx(exact, abs=0.35)


def test_q_zero_is_found_beside_a_streaked_blob():
    sim = simulate_frames(12, 192, defects=("streak",), seed=7)
    found = find_spots(sim.frames, SpotSettings(sigma=1.5))
    assert found.centre.credible
    blob = np.array([f.beam for f in found.frames]) - sim.centres
    off = found.origins - sim.centres
    assert np.sqrt(np.mean(off**2)) < 0.35
    assert np.sqrt(np.mean(blob**2)) > 3 * np.sqrt(np.mean(off**2))


def test_a_gap_is_found_by_friedel_pairs_and_none_is_not():
    widths = []
    for width in (0, 2):
        sim = simulate_frames(30, 256, defects=("gap",) if width else (), gap=width, seed=2)
        found = find_spots(sim.frames, SpotSettings(sigma=1.5))
        widths.append(0 if found.gap is None else found.gap.rows)
        if width:
            given = find_spots(sim.frames, SpotSettings(sigma=1.5), gap=Gap(127.5, 127.5, 2, 2))
            assert given.centre.weight >= found.centre.weight - 1
    assert widths == [0, pytest.approx(2, abs=0.5)]


def test_centre_of_exact_pairs_and_of_none():
    rng = np.random.default_rng(0)
    places = []
    for _ in range(6):
        half = rng.uniform(-100, 100, (4, 2))
        places.append(np.concatenate([half, -half]) + (1.2, -2.1))
    found = find_centre(places)
    assert found.credible
    assert found.offset == pytest.approx((1.2, -2.1), abs=0.05)
    lonely = find_centre([rng.uniform(-100, 100, (6, 2)) for _ in range(6)])
    assert not lonely.credible
    assert (lonely.offset == 0).all()
    assert find_gap(places, [np.zeros(2)] * 6, (256, 256)) is None


def test_a_beam_stop_needs_pairs_or_a_guess():
    sim = simulate_frames(12, 192, defects=("stop",), seed=1)
    found = find_spots(sim.frames, SpotSettings(sigma=1.5))
    # No frame shows its own beam, which wanders by a pixel.
    assert np.abs((found.origins - sim.centres).mean(axis=0)).max() < 1
    sim = simulate_frames(4, 192, defects=("stop",), spots=0, seed=1)
    with pytest.raises(UserError, match="beam: no direct beam is seen"):
        find_spots(sim.frames, SpotSettings(sigma=1.5))


def test_bad_pixels_and_pedestals():
    rng = np.random.default_rng(0)
    frames = rng.poisson(20, (10, 64, 64)).astype(np.uint16)
    frames[:, 10, 20], frames[:, 30], frames[3, 50, 50] = 900, 0, 5000
    bad = find_bad_pixels(frames)
    assert bad[10, 20]
    assert bad[30].all()
    assert bad.sum() == 65
    assert not find_bad_pixels(frames[:2]).any()
    assert find_pedestal(frames) == 0
    assert find_pedestal(rng.normal(0, 3, (2, 64, 64)).astype(np.float32)) == pytest.approx(9, 0.2)


def test_spots_that_never_move_are_left_out():
    sim = simulate_frames(12, 192, seed=4)
    rows, columns = np.indices((192, 192))
    fixed = 8 * np.exp(-((rows - 60) ** 2 + (columns - 140) ** 2) / 4.5)
    frames = sim.frames + np.random.default_rng(1).poisson(fixed, sim.frames.shape).astype("u2")
    found = find_spots(frames, SpotSettings(sigma=1.5))
    assert found.fixed >= 6
    for one in found.frames:
        assert (np.hypot(one.spots[:, 0] - 60, one.spots[:, 1] - 140) > 2.5).all()
    still = np.repeat(sim.frames[:1], 9, axis=0)
    assert find_spots(still, SpotSettings(sigma=1.5)).fixed == 0


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 16, 64), np.uint16), "expected 32 or more each way"),
        (np.zeros(5), "expected a stack of frames"),
        (np.full((2, 64, 64), "a"), "expected a stack of frames"),
    ],
)
def test_what_is_no_stack_of_frames_is_refused(frames, message):
    with pytest.raises(UserError, match=message):
        find_spots(frames)


def test_a_mask_hides_what_is_under_it():
    sim = simulate_frames(3, 128, electrons=300, seed=2)
    mask = np.zeros((128, 128), bool)
    mask[:, :60] = True
    found = find_spots(sim.frames, SpotSettings(sigma=1.5), mask=mask, beam=(68, 58))
    assert all((f.spots[:, 1] > 57).all() for f in found.frames)
    with pytest.raises(UserError, match="mask: shape"):
        find_spots(sim.frames, mask=mask[:5])


def test_values_that_are_none_and_odd_scales_do_not_matter():
    sim = simulate_frames(2, 128, electrons=300, seed=2)
    camera, how = compute_camera(np.zeros((128, 128), bool), 1.5), SpotSettings(sigma=1.5)
    plain = find_frame_spots(sim.frames[0], camera, how)
    scaled = find_frame_spots(7.3 * sim.frames[0].astype(float), camera, how)
    assert scaled.gain == pytest.approx(7.3 * plain.gain, rel=0.01)
    assert len(scaled.spots) == len(plain.spots)
    holes = sim.frames[0].astype(float)
    holes[5, 5:9], holes[100, 100] = np.nan, -1
    assert len(find_frame_spots(holes, camera, how).spots) == len(plain.spots)


def test_the_figure_shows_frames_and_background():
    sim = simulate_frames(7, 96, seed=2)
    found = find_spots(sim.frames, SpotSettings(sigma=1.5))
    figure = figure_spots(sim.frames, found)
    try:
        drawn = [ax for ax in figure.axes if ax.get_visible()]
        assert len(drawn) == 6
        rings = drawn[0].lines[1]
        assert len(rings.get_xdata()) == len(found.frames[0].spots)
        assert drawn[-1].get_title(loc="left") == "Background and bad pixels"
    finally:
        plt.close(figure)


def test_the_benchmark_is_what_the_docs_say():
    """No defect is found worse than by py4DSTEM at its best settings for these frames."""
    if not (ROOT / "benchmarks").exists():
        pytest.skip("outside a checkout there are no benchmarks")
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text())["spots"]
    assert list(rows) == [*DEFECTS, "all"]
    text = (ROOT / "docs" / "spots.md").read_text(encoding="utf-8")
    for defect, row in rows.items():
        shown = " | ".join(f"{value:.1%}" for value in row.values())
        assert f"| {defect} | {shown} |" in text
        assert row["recall"] >= row["recall_py4dstem"]
        assert row["precision"] >= row["precision_py4dstem"]

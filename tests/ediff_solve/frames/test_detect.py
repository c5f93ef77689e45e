"""Bragg disks in frames: against plain numpy, and against what was put into them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d, gaussian_filter, maximum_filter
from scipy.optimize import least_squares

from ediff_solve.frames.detect import (
    DetectionSettings,
    compute_band,
    compute_detector,
    detect_spots,
)
from ediff_solve.frames.disks import compute_profile
from ediff_solve.frames.kernels import band_pass
from ediff_solve.frames.kernels import spots as kernels
from ediff_solve.frames.noise import compute_noise, compute_offset
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import check

SETTINGS = DetectionSettings(radius=3.0, blur=0.7)


def disk_at(shape, x, y, radius=3.0, blur=0.7, fine=8):
    """A blurred disk of sum 1 that is integrated over pixels."""
    rows, columns = (
        (np.arange(n * fine) + 0.5) / fine - 0.5 - centre
        for n, centre in zip(shape, (x, y), strict=True)
    )
    disk = (np.hypot(rows[:, None], columns[None]) <= radius).astype(float)
    disk = gaussian_filter(disk, blur * fine)
    disk = disk.reshape(shape[0], fine, shape[1], fine).sum(axis=(1, 3))
    return disk / disk.sum()


PLACES = np.array([[20.3, 30.7, 3000.0], [44.6, 12.2, 800.0], [40.0, 45.5, 300.0], [50, 58, 2e4]])


@pytest.fixture(scope="module")
def expected():
    """A frame's expected counts: four disks on a background that falls off."""
    frame = 2 * np.exp(-np.hypot(*np.indices((64, 70))) / 60)
    return frame + sum(c * disk_at((64, 70), x, y) for x, y, c in PLACES)


@pytest.fixture(scope="module")
def frames(expected):
    return np.random.default_rng(0).poisson(expected, (40, 64, 70)).astype(np.uint16)


def detector_of(frames, settings=SETTINGS):
    return compute_detector(settings, compute_noise(frames, settings))


# --- against plain numpy --------------------------------------------------------------------------
def slow_band_pass(frame, narrow, wide):
    full = [np.concatenate([half[:0:-1], half]) for half in (narrow, wide)]

    def smooth(image, weights):
        image = correlate1d(image, weights, axis=0, mode="nearest")
        return correlate1d(image, weights, axis=1, mode="nearest")

    frame = frame.astype(float)
    height, width = frame.shape
    padded = np.pad(frame, ((0, height % 2), (0, width % 2)), mode="edge")
    small = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    small = np.pad(smooth(small, full[1]), 1, mode="edge")
    for axis, n in ((0, height), (1, width)):
        place = np.arange(n) / 2 + 0.75
        low = np.floor(place).astype(int)
        part = np.expand_dims(place - low, 1 - axis)
        small = np.take(small, low, axis) * (1 - part) + np.take(small, low + 1, axis) * part
    return smooth(frame, full[0]) - small, small


@given(
    height=st.integers(9, 40),
    width=st.integers(9, 40),
    radius=st.floats(0.5, 6),
    seed=st.integers(0, 1000),
)
def test_band_pass_against_scipy(height, width, radius, seed):
    frame = np.random.default_rng(seed).poisson(5, (height, width)).astype(np.float32)
    narrow, wide, _ = compute_band(DetectionSettings(radius=radius))
    fast = band_pass.band_pass(frame, narrow, wide)
    for got, want in zip(fast, slow_band_pass(frame, narrow, wide), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5 * frame.max())


def test_maxima_against_scipy(frames):
    d = detector_of(frames)
    for frame in frames[:5]:
        response, background = band_pass.band_pass(frame.astype(np.float32), d.narrow, d.wide)
        room = np.empty((frame.size, 2), np.int64), np.empty(frame.size, np.float32)
        fast = band_pass.find_maxima(response, background, d.noise, 4.0, d.spacing, d.edge, *room)
        sigma = np.sqrt(d.noise[0] + d.noise[1] * np.maximum(background, 0))
        high = (response == maximum_filter(response, 3)) & (response > 4 * sigma)
        edge = np.zeros_like(high)
        edge[d.edge : -d.edge, d.edge : -d.edge] = True
        slow: list[np.ndarray] = []
        for place in sorted(np.argwhere(high & edge), key=lambda p: -response[tuple(p)]):
            if all(np.hypot(*(place - other)) >= d.spacing for other in slow):
                slow.append(place)
        np.testing.assert_array_equal(fast, slow)


def test_fit_against_scipy(frames):
    """The same minimum as a general least-squares solver finds, to a few thousandths of a pixel."""
    d = detector_of(frames)
    profile = compute_profile(3.0, 0.7)
    half = int(np.sqrt(d.bank.shape[3])) // 2
    base = 1.0
    for frame in frames[:4].astype(np.float32):
        for x, y, _ in PLACES[:2]:
            row, column = round(x), round(y)
            got = kernels._fit_spot(frame, row, column, base, 50.0, d.bank, d.variance)
            i, j = (round(v) for v in got)
            p, q = np.mgrid[i - half : i + half + 1, j - half : j + half + 1]
            values = frame[p, q] - base

            def model(u, p=p, q=q):
                return np.interp(np.hypot(p - u[0], q - u[1]), np.arange(len(profile)) / 8, profile)

            sigma = np.sqrt(d.variance[0] + d.variance[1] * (base + values.max() * model(got)))

            def off(u, values=values, model=model, sigma=sigma):
                return ((u[2] * model(u) - values) / sigma).ravel()

            want = least_squares(off, [*got, values.max()]).x[:2]
            np.testing.assert_allclose(got, want, atol=0.02)


def test_aperture_sum_against_numpy(frames):
    frame = frames[0].astype(np.float32)
    for x, y in ((20.3, 30.7), (1.2, 68.9)):
        inside = np.hypot(*(np.indices(frame.shape) - np.array([x, y])[:, None, None])) <= 4.3
        want = np.sum(frame[inside] - 0.7)
        assert kernels._aperture_sum(frame, x, y, 0.7, 4.3) == pytest.approx(want, rel=1e-6)


def test_threads_and_types_change_nothing(frames):
    d = detector_of(frames)
    one, offsets = detect_spots(frames, d, threads=1)
    for other in (frames.astype(np.int32), frames.astype(np.float64), np.asfortranarray(frames)):
        many, same = detect_spots(other, d, threads=3)
        np.testing.assert_array_equal(one, many)
        np.testing.assert_array_equal(offsets, same)


# --- against the truth ----------------------------------------------------------------------------
def test_finds_what_is_there_and_nothing_else(frames):
    spots, offsets = detect_spots(frames, detector_of(frames))
    extra = 0
    off, sums = [], []
    for own in np.split(spots, offsets[1:-1]):
        distance = np.hypot(own[:, :1] - PLACES[:, 0], own[:, 1:2] - PLACES[:, 1])
        assert np.all(distance.min(axis=0) < 1)
        extra += len(own) - len(PLACES)
        nearest = own[distance.argmin(axis=0)]
        off.append(nearest[:, :2] - PLACES[:, :2])
        sums.append(nearest[:, 2])
    assert extra <= 0.2 * len(frames)
    # A flat disk's centroid would have radius / 2 / sqrt(counts) without any background.
    rms = np.sqrt(np.mean(np.square(off), axis=(0, 2)))
    assert np.all(rms < 2 * 1.5 / np.sqrt(PLACES[:, 2]))
    np.testing.assert_allclose(np.mean(off, axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.mean(sums, axis=0), PLACES[:, 2], rtol=0.04)


@given(x=st.floats(25, 30), y=st.floats(25, 30))
def test_position_without_noise(x, y):
    frame = 1 + 1e4 * disk_at((56, 56), x, y)
    settings = DetectionSettings(radius=3.0, blur=0.7, gain=1.0, read_noise=0.0)
    found, _ = detect_spots(frame[None], compute_detector(settings, compute_noise(frame, settings)))
    np.testing.assert_allclose(found[0, :2], [x, y], atol=0.02)
    assert found[0, 2] == pytest.approx(1e4, rel=0.02)


def test_measured_noise_is_that_of_the_counts():
    """Poisson counts of gain 3 and read-out noise of 2, by themselves: no spots."""
    rng = np.random.default_rng(1)
    level = np.broadcast_to(np.linspace(1, 40, 96), (40, 96, 96))
    counts = 3 * rng.poisson(level) + rng.normal(0, 2, level.shape)
    narrow, wide, power = compute_band(SETTINGS)
    measured = compute_noise(counts, SETTINGS)
    given_ = compute_noise(counts, SETTINGS.model_copy(update={"gain": 3.0, "read_noise": 2.0}))
    # Beside read-out noise and counts, what the tail of Poisson counts needs: little here.
    assert given_[1] == pytest.approx(3 * power)
    assert 4 * power < given_[0] < 4.5 * power
    for background in (30, 100):
        got, want = (n[0] + n[1] * background for n in (measured, given_))
        assert got == pytest.approx(want, rel=0.1)
    response = np.array(
        [band_pass.band_pass(f.astype(np.float32), narrow, wide)[0] for f in counts]
    )
    # Pixels that are repeated beyond the edge weigh more.
    response = response[:, 16:-16, 16:-16]
    # Some 40 pixels hang together: 4,000 samples, whose variance is good to 2.2 %.
    assert response.var() == pytest.approx(given_[0] + given_[1] * 3 * level.mean(), rel=0.07)


def test_noise_alone_gives_few_spots():
    frames = np.random.default_rng(2).poisson(3.0, (20, 128, 128))
    spots, _ = detect_spots(frames, detector_of(frames))
    assert len(spots) < 20
    loose = DetectionSettings(radius=3.0, blur=0.7, threshold=2.5)
    assert len(detect_spots(frames, detector_of(frames, loose))[0]) > 200


def test_the_strongest_are_kept(frames):
    d = detector_of(frames, SETTINGS.model_copy(update={"max_spots": 2}))
    spots, offsets = detect_spots(frames, d)
    assert np.all(np.diff(offsets) == 2)
    first = spots[offsets[:-1], :2] - PLACES[3, :2]
    assert np.abs(first).max() < 0.5


def test_a_template_takes_the_flat_disk_s_place():
    template = np.random.default_rng(0).poisson(1 + 1e6 * disk_at((48, 48), 22.4, 25.1))
    flat, measured = compute_profile(3.0, 0.7), compute_profile(3.0, 0.7, template)
    radii = np.arange(len(flat)) / 8
    inside = radii < 6
    np.testing.assert_allclose(measured[inside], flat[inside], atol=0.06)


# --- what cannot be -------------------------------------------------------------------------------
def test_no_frames_no_spots(frames):
    spots, offsets = detect_spots(frames[:0], detector_of(frames))
    assert spots.shape == (0, 4)
    np.testing.assert_array_equal(offsets, [0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((64, 70)), "frames: expected a stack"),
        (np.zeros((2, 64, 70), complex), "frames: expected a stack"),
        (np.zeros((2, 5, 70)), "frames: 5 x 70 pixels; expected at least 9"),
        (np.full((2, 64, 70), np.nan), "frames: a value is not finite"),
    ],
)
def test_stacks_that_are_none(frames, wrong, message):
    with pytest.raises(UserError, match=f"^{message}"):
        detect_spots(wrong, detector_of(frames))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0}, "radius: "),
        ({"radius": 3, "threshold": float("nan")}, "threshold: "),
        ({"radius": 3, "gain": 1.0}, "gain, read_noise: expected both"),
        ({"radius": 3, "gain": 0.0, "read_noise": 0.0}, "gain, read_noise: expected one"),
    ],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(UserError, match=f"^{message}"):
        check(DetectionSettings, **wrong)


def test_blank_frames_have_no_noise():
    with pytest.raises(UserError, match=r"^frames: no noise in them, all blank"):
        compute_noise(np.zeros((3, 40, 40)), SETTINGS)


@pytest.mark.parametrize("template", [np.zeros((30, 30)), np.ones(30), np.full((30, 30), np.nan)])
def test_templates_that_are_none(template):
    with pytest.raises(UserError, match=r"^template: expected"):
        compute_profile(3.0, 0.7, template)


def test_few_counts_give_few_spots():
    """Next to no electrons, where most pixels are zero: the tail is Poisson's, not a normal one."""
    rng = np.random.default_rng(2)
    for mean in (0.003, 0.03, 0.3):
        counts = rng.poisson(mean, (60, 128, 128)).astype(np.uint16)
        found, _ = detect_spots(counts, detector_of(counts))
        assert len(found) < 30


def test_rings_that_all_frames_show_are_no_spots():
    """A film's ring, no wider than a disk, with spots on it and beside it."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((128, 128)) - 64.0
    radius = np.hypot(rows, columns)
    ring = 0.2 + 6 * np.exp(-0.5 * ((radius - 38) / 2.5) ** 2)
    ring += 500 * (radius < 3)
    places = [(64 + 38, 64), (64, 64 - 25)]
    spots = sum(
        60 * np.exp(-0.5 * (np.hypot(rows + 64 - x, columns + 64 - y) / 1.8) ** 2)
        for x, y in places
    )
    bare, filled = rng.poisson(ring, (20, 128, 128)), rng.poisson(ring + spots, (10, 128, 128))
    frames = np.concatenate([bare, filled]).astype(np.uint16)
    offset = compute_offset(frames, SETTINGS, (64.0, 64.0))
    plain = detector_of(frames)
    noise = compute_noise(frames, SETTINGS, offset)
    detector = compute_detector(SETTINGS, noise, offset=offset)
    n_plain, n_without = (
        len(detect_spots(bare.astype(np.uint16), d)[0]) for d in (plain, detector)
    )
    # the direct beam is in each of them
    assert n_without < 30 < n_plain
    found, offsets = detect_spots(filled.astype(np.uint16), detector)
    for k in range(10):
        own = found[offsets[k] : offsets[k + 1], :2]
        for place in places:
            assert np.hypot(*(own - place).T).min() < 0.7

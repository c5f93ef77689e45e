"""Scans of frames: files of several formats read back, calibration recovered, mistakes named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from frame_files import signal_of, write_emd, write_hspy, write_mrc

from ediff_solve.frames.calibrate import (
    choose_origins,
    compute_beam,
    compute_calibration,
    compute_disk_radius,
    compute_hot_pixels,
    fit_descan,
    replace_pixels,
)
from ediff_solve.frames.detect import DetectionSettings, compute_detector, detect_spots
from ediff_solve.frames.noise import compute_noise
from ediff_solve.frames.reading import open_frames
from ediff_solve.frames.rings import fit_ring
from ediff_solve.frames.stream import build_lists, calibrate_scan, compute_looks, detect_scan
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

SHAPE = (3, 4, 32, 32)
SETTINGS = DetectionSettings(radius=3.0, blur=0.7)


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).poisson(9, SHAPE).astype(np.uint8)


def all_frames(frames, block_bytes=3000):
    blocks = list(frames.blocks(block_bytes))
    numbers = np.concatenate([n for n, _ in blocks])
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    assert max(b.nbytes for _, b in blocks) <= block_bytes or all(len(b) == 1 for _, b in blocks)
    return np.concatenate([b for _, b in blocks]).reshape(frames.data.shape)


# --- formats --------------------------------------------------------------------------------------
def test_hspy(tmp_path, counts):
    frames = open_frames(write_hspy(tmp_path / "scan.hspy", counts))
    assert (frames.scan_shape, frames.detector_shape) == (SHAPE[:2], SHAPE[2:])
    assert (frames.step, frames.pixel_size) == (5.0, 0.05)
    np.testing.assert_array_equal(all_frames(frames), counts)


def test_zspy(tmp_path, counts):
    pytest.importorskip("zarr")
    from rsciio.zspy import file_writer

    file_writer(str(tmp_path / "scan.zspy"), signal_of(counts))
    np.testing.assert_array_equal(all_frames(open_frames(tmp_path / "scan.zspy")), counts)


def test_blockfile(tmp_path, counts):
    """Its detector is in cm: without a camera length nothing in reciprocal space."""
    pytest.importorskip("skimage")
    from rsciio.blockfile import file_writer

    units = ("nm", "nm", "cm", "cm")
    file_writer(str(tmp_path / "scan.blo"), signal_of(counts, units), navigator=None)
    frames = open_frames(tmp_path / "scan.blo")
    assert (frames.step, frames.pixel_size) == (5.0, None)
    np.testing.assert_array_equal(all_frames(frames), counts)


def test_mrc(tmp_path, counts):
    path = write_mrc(tmp_path / "scan.mrc", counts.reshape(12, 32, 32))
    with pytest.raises(UserError, match=r"scan\.mrc: a stack of 12 frames; give scan_shape"):
        open_frames(path, signal_axes=(1, 2))
    frames = open_frames(path, scan_shape=(3, 4), signal_axes=(1, 2))
    np.testing.assert_array_equal(all_frames(frames), counts)


def test_npy(tmp_path, counts):
    np.save(tmp_path / "scan.npy", counts)
    with pytest.raises(UserError, match=r"nothing tells which two axes .* as a rule \(2, 3\)"):
        open_frames(tmp_path / "scan.npy")
    frames = open_frames(tmp_path / "scan.npy", signal_axes=(2, 3))
    assert (frames.step, frames.pixel_size) == (None, None)
    np.testing.assert_array_equal(all_frames(frames), counts)


def test_emd_of_py4dstem(tmp_path, counts):
    frames = open_frames(write_emd(tmp_path / "scan.h5", counts))
    assert (frames.step, frames.pixel_size) == (20.0, 0.02)
    np.testing.assert_array_equal(all_frames(frames), counts)
    assert open_frames(write_emd(tmp_path / "raw.h5", counts, "pixels")).pixel_size is None
    with pytest.raises(UserError, match="node: expected one DataCube, found none"):
        open_frames(tmp_path / "scan.h5", node="other")


def test_arina_as_py4dstem_reads_it(tmp_path, counts):
    from py4DSTEM.io.filereaders.read_arina import read_arina

    stack = counts.reshape(12, 32, 32).astype(np.uint16)
    for k, part in enumerate(np.split(stack, 2), start=1):
        with h5py.File(tmp_path / f"scan_data_00000{k}.h5", "w") as file:
            file["entry/data/data"] = part
    with h5py.File(tmp_path / "scan_master.h5", "w") as file:
        group = file.create_group("entry/data")
        for k in (1, 2):
            link = h5py.ExternalLink(f"scan_data_00000{k}.h5", "entry/data/data")
            group[f"data_00000{k}"] = link
    path = tmp_path / "scan_master.h5"
    frames = open_frames(path, scan_shape=(3, 4))
    np.testing.assert_array_equal(all_frames(frames), read_arina(str(path), scan_width=3).data)
    (tmp_path / "scan_data_000002.h5").unlink()
    with pytest.raises(UserError, match="the data file behind 'data_000002' is missing"):
        open_frames(path, scan_shape=(3, 4))


@pytest.mark.parametrize(
    ("units", "energy", "want"),
    [
        ("1/nm", None, 0.05),
        ("nm^-1", None, 0.05),
        ("1/Å", None, 0.5),
        ("A^-1", None, 0.5),
        ("mrad", 200.0, 0.5e-3 / wavelength(200e3)),
        ("mrad", None, None),
        ("px", 200.0, None),
        ("", None, None),
    ],
)
def test_units_of_the_detector(tmp_path, counts, units, energy, want):
    path = write_hspy(tmp_path / "a.hspy", counts, units=("", "", units, units), energy=energy)
    frames = open_frames(path)
    assert frames.step is None
    assert frames.pixel_size == (None if want is None else pytest.approx(want, rel=1e-12))


def test_a_step_along_one_axis_alone_is_none(tmp_path, counts):
    path = write_hspy(tmp_path / "a.hspy", counts, units=("nm", "", "1/nm", "1/nm"))
    assert open_frames(path).step is None


def test_energy_of_the_user(tmp_path, counts):
    path = write_hspy(tmp_path / "a.hspy", counts, units=("", "", "mrad", "mrad"))
    want = 0.5e-3 / wavelength(300e3)
    assert open_frames(path, energy=300e3).pixel_size == pytest.approx(want)


# --- files that are none --------------------------------------------------------------------------
def one_line(match, path, **options):
    with pytest.raises(UserError, match=match) as caught:
        open_frames(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_axes_that_are_exchanged(tmp_path, counts):
    swapped = np.moveaxis(np.tile(counts, (6, 5, 1, 1)), (0, 1), (2, 3))
    units = ("1/nm", "1/nm", "nm", "nm")
    path = write_hspy(tmp_path / "a.hspy", swapped, units=units)
    one_line("scan and detector are exchanged; give signal_axes", path)
    frames = open_frames(path, signal_axes=(0, 1))
    assert (frames.step, frames.pixel_size) == (5.0, 0.05)
    np.testing.assert_array_equal(frames.read(slice(0, 3), slice(0, 4))[0], counts[0, 0])
    # Marked as they should be, any order is as good as another.
    path = write_hspy(tmp_path / "b.hspy", swapped, units=units, navigate=(0, 0, 1, 1))
    assert open_frames(path).detector_shape == (32, 32)


def test_axes_that_are_exchanged_without_units(tmp_path, counts):
    np.save(tmp_path / "a.npy", counts)
    one_line("frames of 3 x 4 pixels, .* exchanged", tmp_path / "a.npy", signal_axes=(0, 1))


def test_one_probe_position(tmp_path, counts):
    path = write_mrc(tmp_path / "a.mrc", counts[:1, 0])
    one_line("a scan of one probe position", path, signal_axes=(1, 2), scan_shape=(1, 1))
    np.save(tmp_path / "a.npy", counts[0, 0])
    one_line("a scan of one probe position", tmp_path / "a.npy", signal_axes=(0, 1))
    path = write_hspy(tmp_path / "a.hspy", counts[:1, :1])
    one_line("a scan of one probe position", path)
    one_line("a scan of one probe position", write_emd(tmp_path / "a.h5", counts[:1, :1]))


def test_blank_frames(tmp_path, counts):
    blank = np.zeros((20, 5, 32, 32), np.uint8)
    one_line("all frames are blank", write_hspy(tmp_path / "a.hspy", blank))
    blank[7, 3, 4, 5] = 1
    assert open_frames(write_hspy(tmp_path / "b.hspy", blank)).scan_shape == (20, 5)


@pytest.mark.parametrize("name", ["a.hspy", "a.h5"])
def test_hdf5_cut_short_or_empty(tmp_path, counts, name):
    path = (write_hspy if name == "a.hspy" else write_emd)(tmp_path / name, counts)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    one_line("cut short", path)
    path.write_bytes(b"")
    one_line("the file is empty", path)
    path.write_bytes(b"no HDF5 at all" * 100)
    one_line("cut short", path)
    h5py.File(path, "w").close()
    one_line("HDF5 without anything|cut short|found 0", path)


def test_a_shape_that_lies(tmp_path, counts):
    path = write_mrc(tmp_path / "a.mrc", counts.reshape(12, 32, 32))
    header = np.frombuffer(path.read_bytes()[:1024], "<i4").copy()
    header[2] = header[9] = 400
    path.write_bytes(header.tobytes() + path.read_bytes()[1024:])
    one_line("cut short", path, signal_axes=(1, 2), scan_shape=(20, 20))


def test_a_blockfile_that_ends_early(tmp_path, counts):
    pytest.importorskip("skimage")
    from rsciio.blockfile import file_writer

    path = tmp_path / "a.blo"
    file_writer(str(path), signal_of(counts, ("nm", "nm", "cm", "cm")), navigator=None)
    path.write_bytes(path.read_bytes()[:-2000])
    one_line("cut short", path)


def test_mistakes_about_files(tmp_path, counts):
    one_line("no such file", tmp_path / "none.hspy")
    (tmp_path / "a.txt").write_text("frames")
    one_line(r"'\.txt'\) are not known", tmp_path / "a.txt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = counts
    one_line(r"'\.h5'\) are not known", tmp_path / "a.h5")
    np.save(tmp_path / "a.npy", counts)
    one_line("whose product is 12", tmp_path / "a.npy", signal_axes=(2, 3), scan_shape=(5, 3))
    with pytest.raises(UserError, match=r"^signal_axes: expected two different"):
        open_frames(tmp_path / "a.npy", signal_axes=(3, 3))


# --- calibration ----------------------------------------------------------------------------------
def disk(shape, x, y, radius=3.0):
    """A disk with a soft rim, of middle 1."""
    distance = np.hypot(*(np.indices(shape) - np.array([x, y])[:, None, None]))
    return 1 / (1 + np.exp((distance - radius) / 0.4))


def test_hot_pixels_found_and_replaced():
    rng = np.random.default_rng(0)
    frames = rng.poisson(3 + 50 * disk((48, 48), 20, 30), (60, 48, 48))
    hot = np.zeros((48, 48), bool)
    hot[[5, 5, 40, 0, 20], [7, 8, 11, 0, 30]] = True
    frames[:, hot] += rng.poisson(80, (60, 5))
    frames[3, 12, 12] = 9000  # a cosmic ray
    found = compute_hot_pixels(frames.mean(axis=0), np.median(frames, axis=0))
    np.testing.assert_array_equal(found, hot)
    clean = replace_pixels(frames, hot)
    np.testing.assert_array_equal(clean[:, ~hot], frames[:, ~hot])
    assert clean[4, 40, 11] == int(np.median(np.delete(frames[4, 39:42, 10:13].ravel(), 4)))
    assert clean[:, 5, 7].mean() == pytest.approx(3, abs=0.6)
    assert replace_pixels(frames, np.zeros_like(hot)) is frames
    with pytest.raises(UserError, match=r"^mask: every pixel"):
        replace_pixels(frames, np.ones_like(hot))
    with pytest.raises(UserError, match=r"^mask: expected shape"):
        replace_pixels(frames, hot[1:])


@pytest.fixture(scope="module")
def scan():
    """Frames of a square lattice whose centre wanders, and the centres; shape (6, 5, 80, 80)."""
    rng = np.random.default_rng(3)
    u, v = np.indices((6, 5))
    centres = np.stack([39 + 0.8 * u - 0.3 * v, 41 - 0.5 * u + 0.6 * v], axis=-1)
    frames = np.full((6, 5, 80, 80), 0.5)
    for place in np.ndindex(6, 5):
        for h in (-1, 0, 1):
            for k in (-1, 0, 1):
                strength = 300 if h == k == 0 else 30
                where = centres[place] + np.array([16.0 * h + 6 * k, 16.0 * k - 6 * h])
                frames[place] += strength * disk((80, 80), *where)
    return rng.poisson(frames).astype(np.uint16), centres


def test_origins_and_descan(scan):
    frames, centres = scan
    flat = frames.reshape(-1, 80, 80)
    detector = compute_detector(SETTINGS, compute_noise(flat, SETTINGS))
    guess = compute_beam(flat.mean(axis=0), detector)
    assert np.hypot(*(np.array(guess) - centres.mean(axis=(0, 1)))) < 2
    spots = detect_spots(flat, detector, threads=1)
    found = choose_origins(*spots, guess, 10).reshape(centres.shape)
    np.testing.assert_allclose(found, centres, atol=0.1)
    found[2, 2], found[4, 1] = np.nan, [60, 10]
    np.testing.assert_allclose(fit_descan(found), centres, atol=0.03)
    np.testing.assert_allclose(fit_descan(found, 2), centres, atol=0.1)
    assert np.ptp(fit_descan(found, 0), axis=(0, 1)).max() < 1e-9
    line = fit_descan(found[:1])
    np.testing.assert_allclose(line, centres[:1], atol=0.1)
    nowhere = choose_origins(*spots, (8.0, 8.0), 3)
    assert np.isnan(nowhere).all()
    with pytest.raises(UserError, match=r"^origin: the direct beam was found in 0 frames"):
        fit_descan(nowhere.reshape(centres.shape))
    with pytest.raises(UserError, match=r"^order: expected 0, 1, 2 or 3, got 7"):
        fit_descan(found, 7)


def test_calibration_that_is_missing_is_not_guessed():
    origins = np.full((2, 2, 2), 5.0)
    with pytest.raises(UserError, match=r"^pixel_size: .* give it in 1/angstrom, or a ring"):
        compute_calibration(origins)
    with pytest.raises(UserError, match=r"^ring_radius: expected the ring too"):
        compute_calibration(origins, ring_radius=0.4)
    with pytest.raises(UserError, match=r"^pixel_size: expected 1/angstrom above 0"):
        compute_calibration(origins, pixel_size=-1)
    with pytest.raises(UserError, match=r"^origins: expected a row and column for every"):
        compute_calibration(origins * np.nan, pixel_size=0.01)


# --- the whole way --------------------------------------------------------------------------------
def test_from_a_file_to_bragg_lists(tmp_path, scan):
    data, centres = scan
    frames = open_frames(write_hspy(tmp_path / "scan.hspy", data))
    looks = compute_looks(frames, SETTINGS)
    assert not looks.hot.any()
    assert looks.saturated == 0
    detected = detect_scan(frames, looks, block_bytes=4 * 80 * 80 * 2)
    calibration, ring = calibrate_scan(detected, pixel_size=frames.pixel_size, order=1)
    assert ring is None
    np.testing.assert_allclose(calibration.origins, centres, atol=0.1)
    lists = build_lists(detected, calibration)
    assert lists.shape == (6, 5)
    assert len(lists) == 30
    assert np.mean(lists.n_spots == 8) > 0.8
    want = 0.05 * np.array(
        [[16 * h + 6 * k, 16 * k - 6 * h] for h in (-1, 0, 1) for k in (-1, 0, 1)]
    )
    distance = np.hypot(lists.qx[:, None] - want[:, 0], lists.qy[:, None] - want[:, 1])
    assert np.mean(distance.min(axis=1) < 0.4 * 0.05) > 0.98
    assert np.hypot(lists.qx, lists.qy).min() > 0.5
    # Another block size, and as many threads as there are cores: the same.
    again = detect_scan(frames, looks)
    np.testing.assert_array_equal(again.x, detected.x)
    np.testing.assert_array_equal(again.dark_field, detected.dark_field)
    with pytest.raises(UserError, match=r"calibration: origins for a scan of \(1, 5\)"):
        build_lists(detected, compute_calibration(centres[:1], pixel_size=0.05))
    with pytest.raises(UserError, match="no spots besides the direct beam"):
        build_lists(detected, calibration, direct_beam_radius=9)


def test_dark_field_is_the_sum_over_a_ring(tmp_path, scan):
    data, _ = scan
    frames = open_frames(write_hspy(tmp_path / "scan.hspy", data))
    detected = detect_scan(frames, compute_looks(frames, SETTINGS), dark_field=(9.5, 25.0))
    rows, columns = np.indices((80, 80))
    for place in np.ndindex(6, 5):
        distance = np.hypot(*(np.stack([rows, columns]) - detected.origins[place][:, None, None]))
        inside = (distance >= 9.5) & (distance < 25.0)
        assert detected.dark_field[place] == data[place][inside].sum()


def test_a_ring_of_the_scan_gives_pixel_size_and_ellipse(tmp_path, scan):
    """Grains of four-fold spots, each turned by 13 degrees more: the ring's radius is 17 pixels."""
    rng = np.random.default_rng(4)
    data = np.full((3, 4, 80, 80), 0.5)
    for number, place in enumerate(np.ndindex(3, 4)):
        data[place] += 300 * disk((80, 80), 40, 39)
        for angle in np.radians(13 * number + np.array([0, 90, 180, 270])):
            data[place] += 60 * disk((80, 80), 40 + 17 * np.cos(angle), 39 + 17 * np.sin(angle))
    path = write_hspy(tmp_path / "turned.hspy", rng.poisson(data).astype(np.uint16))
    frames = open_frames(path)
    detected = detect_scan(frames, compute_looks(frames, SETTINGS))
    radius = 0.4
    calibration, ring = calibrate_scan(detected, pixel_size=0.024, ring_radius=radius)
    assert ring.radius == pytest.approx(17, abs=0.05)
    assert calibration.ellipticity < 0.006
    assert calibration.pixel_size == pytest.approx(radius / 17, rel=0.003)
    known, _ = calibrate_scan(detected, ring_radius=radius, ring_window=(15, 19))
    assert known.pixel_size == pytest.approx(calibration.pixel_size, rel=1e-3)
    for options, match in (
        ({}, "pixel_size: the file has none in units that are known; give it"),
        ({"ring_radius": radius}, "or ring_window, the radii in pixels"),
        ({"ring_radius": radius, "ring_window": (27, 30)}, r"ring: \d+ spots between 27 and 30"),
    ):
        with pytest.raises(UserError, match=match):
            calibrate_scan(detected, **options)
    # One grain of four-fold spots fits many an ellipse.
    frames = open_frames(write_hspy(tmp_path / "scan.hspy", scan[0]))
    detected = detect_scan(frames, compute_looks(frames, SETTINGS))
    with pytest.raises(UserError, match="in too few directions for an ellipse"):
        calibrate_scan(detected, ring_radius=radius, ring_window=(15, 19))


@pytest.mark.parametrize("rotation", [0.0, 30.0, -75.0])
def test_rotation_of_the_detector_is_from_x_towards_y(rotation):
    """A vector along the scan's x falls on the detector turned by the angle towards columns."""
    turn = np.radians(rotation)
    place = 40 + 10 * np.array([[np.cos(turn)], [np.sin(turn)]])
    known = compute_calibration(np.full((1, 1, 2), 40.0), pixel_size=0.05, rotation=rotation)
    np.testing.assert_allclose(known.apply(*place, np.zeros(1, int)), [[0.5], [0]], atol=1e-12)


@pytest.mark.parametrize(("ellipticity", "axis"), [(0.0, 0.0), (0.03, 70.0), (0.06, 150.0)])
def test_ring_of_spots(ellipticity, axis):
    rng = np.random.default_rng(1)
    phi = rng.uniform(0, 2 * np.pi, 400)
    turn = np.radians(axis)
    along = 30 * np.cos(phi) * (1 + ellipticity / 2)
    across = 30 * np.sin(phi) * (1 - ellipticity / 2)
    x = along * np.cos(turn) - across * np.sin(turn) + rng.normal(0, 0.1, 400)
    y = along * np.sin(turn) + across * np.cos(turn) + rng.normal(0, 0.1, 400)
    # Spots of another grain's rings, and noise, are not part of it.
    stray = rng.uniform(-60, 60, (2, 200))
    x, y = np.append(x, stray[0]), np.append(y, stray[1])
    ring = fit_ring(x, y, 27.5, 32.5)
    assert ring.radius == pytest.approx(30, abs=0.03)
    assert ring.ellipticity == pytest.approx(ellipticity, abs=0.002)
    known = compute_calibration(np.full((1, 1, 2), 80.0), ring=ring, ring_radius=0.468)
    assert known.pixel_size == pytest.approx(0.468 / 30, rel=1e-3)
    if ellipticity:
        assert abs((ring.axis - axis + 90) % 180 - 90) < 3
        # What the ellipse draws at its vertices is a circle again.
        for angle, length in ((turn, 1 + ellipticity / 2), (turn + np.pi / 2, 1 - ellipticity / 2)):
            x, y = 80 + 30 * length * np.array([[np.cos(angle)], [np.sin(angle)]])
            q_both = known.apply(x, y, np.zeros(1, int))
            assert np.hypot(*q_both)[0] == pytest.approx(0.468, rel=0.005)


def test_a_ring_needs_spots_all_around():
    phi = np.linspace(-0.2, 0.2, 100)
    for x, y in (
        (30 * np.cos(phi), 30 * np.sin(phi)),
        (30 * np.cos(phi[:5]), 30 * np.sin(phi[:5])),
    ):
        with pytest.raises(
            UserError, match=r"^ring: \d+ spots between 27 and 33 pixels, too few or"
        ):
            fit_ring(x, y, 27, 33)
    with pytest.raises(UserError, match=r"^ring: expected radii 0 < inner < outer"):
        fit_ring(x, y, 33, 27)


@pytest.mark.parametrize("radius", [1.2, 2.1, 4.0, 9.0])
def test_radius_of_the_disks_is_the_direct_beams(radius):
    rng = np.random.default_rng(0)
    frames = [
        200 * disk((96, 96), *(48 + rng.uniform(-3, 3, 2)), radius)
        + 60 * disk((96, 96), 20, 70, radius)
        for _ in range(8)
    ]
    found = compute_disk_radius(rng.poisson(frames))
    # The rim is soft, and pixels blur: small disks look larger.
    assert found == pytest.approx(radius, abs=0.4)


def test_saturated_frames(tmp_path, scan):
    data = np.minimum(scan[0], 255).astype(np.uint8)
    frames = open_frames(write_hspy(tmp_path / "some.hspy", data))
    # The direct beam alone is at the ceiling, as it is in many a blockfile.
    assert 0 < compute_looks(frames).saturated < 0.01
    data = np.minimum(30 * data.astype(int), 255).astype(np.uint8)
    frames = open_frames(write_hspy(tmp_path / "all.hspy", data))
    with pytest.raises(UserError, match=r"all\.hspy: saturated: \d+% of the pixels are at .* 255"):
        compute_looks(frames)


def test_frames_with_a_value_that_is_not_finite(tmp_path, scan):
    data = scan[0].astype(np.float32)
    data[3, 2, 10, 10] = np.nan
    frames = open_frames(write_hspy(tmp_path / "nan.hspy", data))
    with pytest.raises(UserError, match=r"nan\.hspy: a value is not finite"):
        compute_looks(frames, SETTINGS)


def test_a_frame_past_the_sample_that_is_not_finite(tmp_path, scan):
    """The sample does not see all frames of a large scan; the whole reading does."""
    data = scan[0].astype(np.float32)
    frames = open_frames(write_hspy(tmp_path / "good.hspy", data))
    looks = compute_looks(frames, SETTINGS)
    data[3, 2, 10, 10] = np.inf
    frames = open_frames(write_hspy(tmp_path / "bad.hspy", data))
    with pytest.raises(UserError, match=r"bad\.hspy: .*not finite"):
        detect_scan(frames, looks)


def old_cube(path, version):
    """A DataCube of py4DSTEM 0.13, by the writers it has kept, or as 0.12 laid it out."""
    from py4DSTEM.io.legacy.legacy13 import Calibration, DataCube

    data = np.random.default_rng(0).poisson(3, (3, 4, 32, 32)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        if version == 13:
            root = file.create_group("root")
            root.attrs.update({"emd_group_type": "root", "version_major": 0, "version_minor": 13})
            DataCube(data=data, name="cube").to_h5(root)
            calibration = Calibration(name="calibration")
            calibration._params.update({"Q_pixel_size": 0.02, "Q_pixel_units": "A^-1"})
            calibration._params.update({"R_pixel_size": 0.5, "R_pixel_units": "nm"})
            calibration.to_h5(root)
        else:
            top = file.create_group("4DSTEM_experiment")
            top.attrs.update({"emd_group_type": 2, "version_major": 0, "version_minor": 12})
            top.create_dataset("data/datacubes/datacube_0/data", data=data)
    return data


@pytest.mark.parametrize("version", [12, 13])
def test_datacubes_of_older_versions(tmp_path, version):
    data = old_cube(tmp_path / "old.h5", version)
    frames = open_frames(tmp_path / "old.h5")
    assert np.array_equal(frames.read(slice(None)), data.reshape(12, 32, 32))
    known = (5.0, 0.02) if version == 13 else (None, None)
    assert (frames.step, frames.pixel_size) == known

"""Scans of frames: files of several formats read back, calibration recovered, mistakes named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ediff_utils.errors import UserError
from ediff_utils.frames.calibrate import (
    compute_beam,
    compute_calibration,
    compute_hot_pixels,
    compute_origins,
    compute_ring,
    fit_descan,
    replace_pixels,
)
from ediff_utils.frames.detect import DetectionSettings, compute_detector, compute_noise
from ediff_utils.frames.reading import open_frames
from ediff_utils.frames.stream import compute_looks, detect_scan, find_origins
from ediff_utils.scattering import wavelength

SHAPE = (3, 4, 32, 32)
SETTINGS = DetectionSettings(radius=3.0, blur=0.7)


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).poisson(9, SHAPE).astype(np.uint8)


def signal_of(data, units=("nm", "nm", "1/nm", "1/nm"), navigate=(1, 1, 0, 0), energy=None):
    axes = [
        {
            "name": name,
            "size": n,
            "index_in_array": k,
            "scale": 0.5,
            "offset": 0.0,
            "units": units[k],
            "navigate": bool(navigate[k]),
        }
        for k, (name, n) in enumerate(zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    ]
    metadata = {"General": {"title": ""}, "Signal": {"signal_type": "electron_diffraction"}}
    if energy:
        metadata["Acquisition_instrument"] = {"TEM": {"beam_energy": energy}}
    return {
        "data": data,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "none", "package_version": "0"},
        "learning_results": {},
        "models": None,
        "tmp_parameters": {},
    }


def write_hspy(path, data, **options):
    from rsciio.hspy import file_writer

    file_writer(str(path), signal_of(data, **options))
    return path


def write_mrc(path, stack):
    """MRC 2014: a header of 1,024 bytes, columns fastest; mode 6 is uint16."""
    header = np.zeros(256, "<i4")
    header[:4] = *stack.shape[::-1], 6
    header[7:10] = stack.shape[::-1]
    header[16:19] = 1, 2, 3
    header[52] = int.from_bytes(b"MAP ", "little")
    header[53] = 0x4444
    path.write_bytes(header.tobytes() + stack.astype("<u2").tobytes())
    return path


def write_emd(path, data, units="A^-1"):
    import py4DSTEM

    cube = py4DSTEM.DataCube(data)
    cube.calibration.set_Q_pixel_size(0.02)
    cube.calibration.set_Q_pixel_units(units)
    cube.calibration.set_R_pixel_size(2.0)
    cube.calibration.set_R_pixel_units("nm")
    py4DSTEM.save(str(path), cube, mode="o")
    return path


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
    found = compute_origins(flat, detector, guess, 10).reshape(centres.shape)
    np.testing.assert_allclose(found, centres, atol=0.1)
    found[2, 2], found[4, 1] = np.nan, [60, 10]
    np.testing.assert_allclose(fit_descan(found), centres, atol=0.03)
    np.testing.assert_allclose(fit_descan(found, 2), centres, atol=0.1)
    assert np.ptp(fit_descan(found, 0), axis=(0, 1)).max() < 1e-9
    line = fit_descan(found[:1])
    np.testing.assert_allclose(line, centres[:1], atol=0.1)
    nowhere = compute_origins(flat, detector, (8.0, 8.0), 3)
    assert np.isnan(nowhere).all()
    with pytest.raises(UserError, match=r"^origin: the direct beam was found in 0 frames"):
        fit_descan(nowhere.reshape(centres.shape))
    with pytest.raises(UserError, match=r"^order: expected 0, 1, 2 or 3, got 7"):
        fit_descan(found, 7)


@pytest.mark.parametrize(("ellipticity", "axis"), [(0.0, 0.0), (0.04, 25.0), (0.1, 140.0)])
def test_ring(ellipticity, axis):
    """An ellipse that is known, with its pixel size, under a background and noise."""
    p, q = np.indices((160, 170)) - np.array([81.3, 83.9])[:, None, None]
    turn = np.radians(axis)
    along, across = p * np.cos(turn) + q * np.sin(turn), q * np.cos(turn) - p * np.sin(turn)
    stretched = np.hypot(along / (1 + ellipticity / 2), across / (1 - ellipticity / 2))
    image = 400 * np.exp(-np.hypot(p, q) / 25) + 30 * np.exp(-0.5 * ((stretched - 52) / 3) ** 2)
    image = np.random.default_rng(0).poisson(100 * image) / 100
    ring = compute_ring(image, (81, 84), 38, 66)
    assert ring.radius == pytest.approx(52, abs=0.2)
    assert ring.ellipticity == pytest.approx(ellipticity, abs=0.003)
    np.testing.assert_allclose(ring.centre, [81.3, 83.9], atol=0.2)
    if ellipticity:
        assert abs((ring.axis - axis + 90) % 180 - 90) < 3
    known = compute_calibration(np.full((1, 1, 2), 80.0), ring=ring, ring_radius=0.468)
    assert known.pixel_size == pytest.approx(0.468 / 52, rel=0.004)
    if ellipticity:
        # What the ellipse draws at its vertices is a circle again.
        for angle, length in ((turn, 1 + ellipticity / 2), (turn + np.pi / 2, 1 - ellipticity / 2)):
            x, y = 80 + 52 * length * np.array([[np.cos(angle)], [np.sin(angle)]])
            q_both = known.apply(x, y, np.zeros(1, int))
            assert np.hypot(*q_both)[0] == pytest.approx(0.468, rel=0.005)


def test_rings_that_are_none():
    smooth = np.exp(-np.hypot(*(np.indices((90, 90)) - 45)) / 20)
    with pytest.raises(UserError, match=r"^ring: no ring between 10 and 30 pixels"):
        compute_ring(smooth, (45, 45), 10, 30)
    with pytest.raises(UserError, match="half of it is off the frame"):
        compute_ring(smooth, (45, 45), 40, 80)
    with pytest.raises(UserError, match=r"^ring: expected radii 0 < inner < outer"):
        compute_ring(smooth, (45, 45), 30, 10)


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
    origins = fit_descan(find_origins(frames, looks))
    np.testing.assert_allclose(origins, centres, atol=0.1)
    calibration = compute_calibration(origins, pixel_size=frames.pixel_size)
    lists = detect_scan(frames, looks, calibration, block_bytes=4 * 80 * 80 * 2)
    assert lists.shape == (6, 5)
    assert len(lists) == 30
    assert np.mean(lists.n_spots == 8) > 0.8
    want = 0.05 * np.array(
        [[16 * h + 6 * k, 16 * k - 6 * h] for h in (-1, 0, 1) for k in (-1, 0, 1)]
    )
    distance = np.hypot(lists.qx[:, None] - want[:, 0], lists.qy[:, None] - want[:, 1])
    assert np.mean(distance.min(axis=1) < 0.4 * 0.05) > 0.98
    assert np.hypot(lists.qx, lists.qy).min() > 0.5
    again = detect_scan(frames, looks, calibration)
    np.testing.assert_array_equal(again.qx, lists.qx)
    with pytest.raises(UserError, match=r"^calibration: origins for a scan of \(1, 5\)"):
        detect_scan(frames, looks, compute_calibration(origins[:1], pixel_size=0.05))
    with pytest.raises(UserError, match="no spots besides the direct beam"):
        detect_scan(frames, looks, calibration, direct_beam_radius=9)

"""Frames that are no scan: files by their own programs' writers, or by the documented layout."""

from __future__ import annotations

import json

import fabio
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from fabio.adscimage import AdscImage
from fabio.cbfimage import CbfImage
from frame_files import write_hspy, write_mrc
from PIL import Image

from ediff_solve import find_in_files, open_series
from ediff_solve.__main__ import main
from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.frames.counting.simulated import simulate_frames
from ediff_solve.frames.pictures import energy_of
from ediff_solve.frames.spot_lists import read_known
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Pixel and distance [mm], wavelength [angstrom] of 200 kV electrons.
PIXEL, DISTANCE, LENGTH = 0.055, 436.1, 0.02508


@pytest.fixture(scope="module")
def sim():
    return simulate_frames(4, 96, electrons=200, seed=3)


def smv_header(number):
    told = {"PIXEL_SIZE": PIXEL, "DISTANCE": DISTANCE, "WAVELENGTH": LENGTH}
    told |= {"OSC_START": -10 + 0.5 * number, "OSC_RANGE": 0.5, "PHI": -10 + 0.5 * number}
    return {name: str(value) for name, value in told.items()}


def cbf_header(number):
    lines = [
        "# Pixel_size 55e-6 m x 55e-6 m",
        f"# Detector_distance {1e-3 * DISTANCE} m",
        f"# Wavelength {LENGTH} A",
        f"# Start_angle {-10 + 0.5 * number} deg.",
        "# Angle_increment 0.5 deg.",
    ]
    return {
        "_array_data.header_convention": "PILATUS_1.2",
        "_array_data.header_contents": "\n".join(lines),
    }


def test_a_stack_of_tiff(tmp_path, sim):
    tifffile.imwrite(tmp_path / "stack.tif", sim.frames)
    series = open_series(tmp_path / "stack.tif")
    assert np.array_equal(series.frames, sim.frames)
    assert (series.pixel_size, series.energy, series.alpha) == (None, None, None)
    assert "4 frames of 96 x 96 pixels, uint16, pixel size not in the file" in series.describe()


def test_folders_and_patterns_go_by_number(tmp_path, sim):
    folder = tmp_path / "diff"
    folder.mkdir()
    for n, frame in enumerate(sim.frames):
        tifffile.imwrite(folder / f"frame_{5 * n}.tiff", frame)
    (folder / "notes.txt").write_text("not a frame")
    assert np.array_equal(open_series(folder).frames, sim.frames)
    assert np.array_equal(open_series(str(folder / "*.tiff")).frames, sim.frames)
    files = [folder / "frame_15.tiff", folder / "frame_0.tiff"]
    assert np.array_equal(open_series(files).frames, sim.frames[[3, 0]])
    tifffile.imwrite(folder / "odd.png", sim.frames[0], photometric="minisblack")
    with pytest.raises(UserError, match=r"frames of several kinds \(.png, .tiff\)"):
        open_series(folder)


@pytest.mark.parametrize("ending", ["img", "cbf"])
def test_headers_of_smv_and_cbf_tell_pixel_energy_and_angle(tmp_path, sim, ending):
    for n, frame in enumerate(sim.frames):
        path = tmp_path / f"a_{n:04d}.{ending}"
        if ending == "img":
            AdscImage(data=frame, header=smv_header(n)).write(path)
        else:
            CbfImage(data=frame.astype(np.int32), header=cbf_header(n)).write(path)
    assert np.array_equal(fabio.open(str(path)).data, sim.frames[-1])
    series = open_series(tmp_path)
    assert np.array_equal(series.frames, sim.frames)
    assert series.pixel_size == pytest.approx(PIXEL / (DISTANCE * LENGTH))
    assert series.energy == pytest.approx(200e3, rel=1e-3)
    assert series.alpha == pytest.approx(-9.75 + 0.5 * np.arange(4))
    assert "alpha -9.75 to -8.25 degrees" in series.describe()


def test_energy_and_wavelength_go_together():
    for energy in (60e3, 200e3, 300e3):
        assert energy_of(wavelength(energy)) == pytest.approx(energy)


def test_mrc_and_npy(tmp_path, sim):
    write_mrc(tmp_path / "movie.mrc", sim.frames)
    np.save(tmp_path / "movie.npy", sim.frames)
    assert np.array_equal(open_series(tmp_path / "movie.mrc").frames, sim.frames)
    assert np.array_equal(open_series(tmp_path / "movie.npy").frames, sim.frames)


def test_one_picture_of_colours_and_of_floats(tmp_path, sim):
    grey = np.clip(sim.frames[0], 0, 255).astype(np.uint8)
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "a.png")
    read = open_series(tmp_path / "a.png").frames
    assert read.shape == (1, 96, 96)
    assert np.allclose(read[0], grey, atol=1e-3)
    tifffile.imwrite(tmp_path / "b.tif", sim.frames[0].astype(np.float32))
    assert np.array_equal(open_series(tmp_path / "b.tif").frames[0], sim.frames[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", b"", "the file is empty"),
        ("a.tif", b"II*\0nonsense and more of it", "damaged or cut short"),
        ("a.cbf", b"###CBF: VERSION 1.5\nnothing", "damaged or cut short"),
        ("a.png", b"\x89PNG\r\n", "damaged or cut short"),
        ("a.xyz", b"1", "not known"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_series(tmp_path / name)


def test_what_is_not_there_or_does_not_fit(tmp_path, sim):
    with pytest.raises(UserError, match="no such file"):
        open_series(tmp_path / "none.tif")
    with pytest.raises(UserError, match="no file fits"):
        open_series(str(tmp_path / "*.tif"))
    with pytest.raises(UserError, match="no frames in this folder"):
        open_series(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", sim.frames[0])
    tifffile.imwrite(tmp_path / "b.tif", sim.frames[0, :50])
    with pytest.raises(UserError, match=r"b\.tif: frames of 50 x 96 pixels, expected 96 x 96"):
        open_series(tmp_path)
    np.save(tmp_path / "c.npy", np.zeros((3, 40, 40)))
    with pytest.raises(UserError, match="all frames are blank"):
        open_series(tmp_path / "c.npy")


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_writes_spots_that_are_read_again(tmp_path, sim):
    tifffile.imwrite(tmp_path / "stack.tif", sim.frames)
    out, drawn = tmp_path / "spots.parquet", tmp_path / "spots.png"
    common = ("spots", tmp_path / "stack.tif", "--sigma", 1.5)
    text = run(*common, "--pixel-size", 0.01, "--energy", 200, "--alpha", -10, 2, "--tilt-axis", 30,
               "-o", out, "--figure", drawn)  # fmt: skip
    assert "4 frames of 96 x 96 pixels" in text
    assert "Friedel pairs" in text
    assert drawn.stat().st_size > 10_000
    table = pd.read_parquet(out)
    assert read_known(out)["energy"] == pytest.approx(200e3)
    assert read_known(out)["tilt_axis"] == 30
    assert set(table["alpha"]) <= {-10.0, -8.0, -6.0, -4.0}
    lists = read_bragg_lists(out)
    assert lists.n_spots.sum() == len(table)
    for n, centre in enumerate(sim.centres):
        own = table[table["frame"] == n]
        where = own[["detector_row", "detector_column"]].to_numpy() - centre
        # q = 0 is the beam's to within half a pixel.
        assert np.abs(own[["qx", "qy"]].to_numpy() / 0.01 - where).max() < 0.6
    run(*common, "--pixel-size", 0.01, "-o", tmp_path / "spots.csv")
    assert len(pd.read_csv(tmp_path / "spots.csv")) == len(table)


def test_the_command_says_what_is_missing(tmp_path, sim):
    tifffile.imwrite(tmp_path / "stack.tif", sim.frames)
    text = run("spots", tmp_path / "stack.tif", "-o", tmp_path / "a.parquet", code=2)
    assert "pixel_size: the file has none in units that are known" in text
    # Without an output the pixel size is not needed.
    assert "a frame" in run("spots", tmp_path / "stack.tif", "--sigma", 1.5)
    noise = simulate_frames(3, 96, spots=0).frames
    tifffile.imwrite(tmp_path / "noise.tif", noise)
    text = run("spots", tmp_path / "noise.tif", "--sigma", 1.5)
    assert "no crystal       3 of 3 frames: 0, 1, 2" in text
    text = run("spots", tmp_path / "noise.tif", "--pixel-size", 0.01, "-o", "a.csv", code=2)
    assert "no crystal: none of 3 frames has 3 spots or more" in text


def test_the_same_from_python(tmp_path, sim):
    tifffile.imwrite(tmp_path / "stack.tif", sim.frames)
    done = find_in_files([tmp_path / "stack.tif"], pixel_size=0.01, sigma=1.5)
    assert len(done.spots) == sum(len(f.spots) for f in done.found.frames)
    assert json.dumps(dict(done.spots.known))
    given = find_in_files([tmp_path / "stack.tif"], pixel_size=0.01, sigma=1.5, gap=3)
    assert given.found.gap.rows == 3


def test_a_scan_is_told_where_it_belongs(tmp_path):
    write_hspy(tmp_path / "scan.hspy", np.ones((3, 4, 32, 32), np.uint16))
    with pytest.raises(UserError, match=r"a scan of 3 x 4 positions; expected.*'ediff maps'"):
        open_series(tmp_path / "scan.hspy")

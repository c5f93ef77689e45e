"""Scale and ellipse from rings of a known sample, on drawn rings of known scale."""

from __future__ import annotations

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

from ediff_solve import calibrate_rings, read_calibration
from ediff_solve.__main__ import main
from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.frames.counting.simulated import simulate_frames
from ediff_solve.frames.finding import recalibrated
from ediff_solve.frames.powder import find_crystal, list_rings
from ediff_solve.frames.reading import Frames
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ScanSettings

#: Scale [1/angstrom], ellipticity, its axis [degree] and centre [pixel] of the drawn picture.
SIZE, ELLIPTICITY, AXIS, CENTRE = 0.0102, 0.03, 122.0, (127.3, 126.1)


def draw(noise=0.02, rings=True, seed=0):
    u, v = (a - c for a, c in zip(np.indices((256, 256)), CENTRE, strict=True))
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    circle = radius / (1 + ELLIPTICITY / 2 * np.cos(2 * (angle - np.radians(AXIS))))
    picture = 60 * np.exp(-0.5 * (radius / 4) ** 2) + 0.5 * np.exp(-radius / 30) + 0.02
    if rings:
        for ring in list_rings(find_crystal("gold")):
            off = circle - ring["q"] / SIZE
            picture += 0.06 * ring["weight"] * np.exp(-radius / 60 - 0.5 * (off / 2) ** 2)
    grain = np.random.default_rng(seed).normal(size=picture.shape)
    return (picture * (1 + noise * grain)).astype(np.float32)


def test_rings_of_gold_are_those_of_a_face_centred_lattice():
    rings = list_rings(find_crystal("gold"))
    assert [ring["hkl"] for ring in rings[:4]] == ["1 1 1", "2 0 0", "2 2 0", "3 1 1"]
    # Spacings of Swanson and Tatge, NBS Circular 539 I (1953): 2.355, 2.039, 1.442, 1.230 angstrom.
    spacings = [1 / ring["q"] for ring in rings[:4]]
    assert spacings == pytest.approx([2.355, 2.039, 1.442, 1.230], abs=1e-3)
    assert rings[0]["weight"] == 1


@pytest.mark.parametrize("pixel_size", [None, 0.0115])
def test_scale_and_ellipse_come_back(pixel_size):
    found = calibrate_rings(draw(), find_crystal("gold"), pixel_size=pixel_size)
    assert found.pixel_size == pytest.approx(SIZE, rel=0.003)
    assert found.ellipticity == pytest.approx(ELLIPTICITY, abs=0.004)
    assert found.axis == pytest.approx(AXIS, abs=5)
    assert found.centre == pytest.approx(CENTRE, abs=0.3)
    assert len(found.rings) >= 3
    sizes = [ring["pixel_size"] for ring in found.rings]
    assert sizes == pytest.approx([SIZE] * len(sizes), rel=0.01)


def test_a_picture_without_rings_is_refused():
    with pytest.raises(UserError, match="no rings of gold are seen"):
        calibrate_rings(draw(rings=False), find_crystal("gold"))


def test_the_crystal_of_a_cif(tmp_path):
    cif = """data_au\n_cell_length_a 4.0782\n_cell_length_b 4.0782\n_cell_length_c 4.0782
_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_label\n_atom_site_type_symbol
_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nAu1 Au 0 0 0\n"""
    (tmp_path / "gold.cif").write_text(cif)
    own, named = (list_rings(find_crystal(n)) for n in (str(tmp_path / "gold.cif"), "gold"))
    assert [r["hkl"] for r in own] == [r["hkl"] for r in named]
    assert [r["q"] for r in own] == pytest.approx([r["q"] for r in named])
    with pytest.raises(UserError, match="expected a CIF or one of gold"):
        find_crystal("unobtainium")


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == code, done.output + str(done.exception)
    return done.output


def test_the_command_and_the_files_that_take_its_result(tmp_path):
    tifffile.imwrite(tmp_path / "gold.tif", draw())
    camera, drawn = tmp_path / "camera.json", tmp_path / "rings.png"
    text = run("calibrate", "rings", tmp_path / "gold.tif", "-o", camera, "--figure", drawn)
    assert "rings of gold" in text
    assert drawn.stat().st_size > 10_000
    known = read_calibration(camera)
    assert known.pixel_size == pytest.approx(SIZE, rel=0.003)

    sim = simulate_frames(4, 96, electrons=200, seed=3)
    tifffile.imwrite(tmp_path / "stack.tif", sim.frames)
    common = ("spots", tmp_path / "stack.tif", "--sigma", 1.5)
    run(*common, "--calibration", camera, "-o", tmp_path / "mended.parquet")
    run(*common, "--pixel-size", 0.02, "-o", tmp_path / "plain.parquet")
    mended, plain = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("mended", "plain"))
    # Along the ellipse's long axis what was drawn too long is shortened.
    angle = np.arctan2(plain["qy"], plain["qx"])
    ratio = np.hypot(mended["qx"], mended["qy"]) / np.hypot(plain["qx"], plain["qy"])
    expected = 1 - known.ellipticity / 2 * np.cos(2 * (angle - np.radians(known.axis)))
    assert ratio.to_numpy() == pytest.approx(expected * known.pixel_size / 0.02, rel=1e-3)
    # The same later, of spots that were listed without it.
    with recalibrated(tmp_path / "plain.parquet", camera) as path:
        later = read_bragg_lists(path)
    assert later.qx == pytest.approx(read_bragg_lists(tmp_path / "mended.parquet").qx)
    with (
        pytest.raises(UserError, match=r"calibration: expected a \.parquet of 'ediff spots'"),
        recalibrated(tmp_path / "mended.parquet", camera),
    ):
        pass


def test_a_scan_takes_it_where_nothing_else_is_said(tmp_path):
    from ediff_solve.frames.stream import Detected
    from ediff_solve.scans.intake import calibrate

    found = replace(calibrate_rings(draw(), find_crystal("gold")), ellipticity=0.05)
    origins = np.full((3, 4, 2), 30.0)
    spots = np.arange(12), np.full(12, 40.0), np.full(12, 30.0), np.ones(12)
    detected = Detected("scan", *spots, origins, np.ones((3, 4)), 3.0)
    frames = Frames(tmp_path, da.zeros((3, 4, 64, 64)), None, None)
    settings = ScanSettings(scan_file="scan.hspy")
    calibration, ring = calibrate(frames, detected, settings, found)
    assert ring is None
    assert calibration.pixel_size == found.pixel_size
    assert (calibration.ellipticity, calibration.axis) == (0.05, found.axis)
    own = ScanSettings(scan_file="scan.hspy", pixel_size=0.02)
    assert calibrate(frames, detected, own, found)[0].pixel_size == 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_size": -1}, "expected above 0"),
        ({"pixel_size": None}, "not a calibration"),
        ({"centre": [1]}, "not a calibration"),
    ],
)
def test_a_file_that_is_no_calibration_is_named(tmp_path, change, message):
    good = {"pixel_size": 0.01, "ellipticity": 0.02, "axis": 10, "centre": [1, 2], "rings": [],
            "contrast": 9, "sample": "gold", "source": ""}  # fmt: skip
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(good))
    assert read_calibration(path).axis == 10
    path.write_text(json.dumps(good | change))
    with pytest.raises(UserError, match=message):
        read_calibration(path)
    with pytest.raises(UserError, match="no such file"):
        read_calibration(tmp_path / "none.json")

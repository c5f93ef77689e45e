"""Spot lists of other programs, by their documented layout; one crystal's reflections in each."""

from __future__ import annotations

import json
import re
from importlib import import_module

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from ediff_solve import read_bragg_lists, read_spot_list
from ediff_solve.__main__ import main
from ediff_solve.frames.finding import find_energy
from ediff_solve.frames.lists.reading import holds_spots
from ediff_solve.frames.spot_lists import read_known
from ediff_utils.core.errors import UserError

#: Electrons of 200 kV [angstrom], pixel and camera length [mm], centre [pixel].
LENGTH, PIXEL, DISTANCE, CENTRE = 0.025079, 0.055, 436.0, (257.4, 254.6)
#: A rotation of half a degree an image about an axis in the plane; the crystal's cell [angstrom].
AXIS, START, STEP = np.array([0.8, -0.6, 0.0]), -10.0, 0.5
CELL = np.diag([5.0, 6.5, 9.0])


def rotation(degrees):
    cross = np.cross(np.eye(3), -AXIS)
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def reflect():
    """hkl, image, angle, place on the screen [1/angstrom along x right, y down] and intensity.

    Those that cross Ewald's sphere in each image: k along z, all vectors in the laboratory.
    """
    k = np.array([0, 0, 1 / LENGTH])
    hkl = np.stack(np.meshgrid(*(np.arange(-5, 6),) * 3, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[np.any(hkl != 0, axis=1)]
    rows = []
    for image in range(30):
        g = hkl @ np.linalg.inv(CELL).T @ rotation(START + STEP * (image + 0.5)).T
        error = np.abs(np.linalg.norm(k + g, axis=1) * LENGTH - 1) / LENGTH
        near = (error < 0.004) & (np.linalg.norm(g, axis=1) < 0.9)
        for one, vector in zip(hkl[near], g[near], strict=True):
            rows.append([*one, image, *vector, 100 + 3 * one[0] + image])
    return np.array(rows)


TRUE = reflect()
HKL, IMAGE, G, INTENSITY = TRUE[:, :3], TRUE[:, 3].astype(int), TRUE[:, 4:7], TRUE[:, 7]
#: Columns and rows on the camera [pixel].
OUT = np.array([0, 0, 1 / LENGTH]) + G
SCREEN = DISTANCE / PIXEL * OUT[:, :2] / OUT[:, 2:] + np.array(CENTRE)


def check(spots, tolerance=2e-4):
    """Rows down the picture are qx and columns to the right qy, as everywhere here."""
    assert len(spots) == len(TRUE)
    assert np.array_equal(spots.frame, IMAGE - IMAGE.min())
    assert np.abs(spots.qx - G[:, 1]).max() < tolerance
    assert np.abs(spots.qy - G[:, 0]).max() < tolerance
    assert spots.intensity == pytest.approx(INTENSITY)
    assert spots.more["alpha"] == pytest.approx(START + STEP * (IMAGE + 0.5))


def tilt_axis():
    """From qx, down, towards qy, to the right [degree]."""
    return np.degrees(np.arctan2(AXIS[0], AXIS[1]))


def write_dials(folder, panels=1, old_scan=True):
    z = IMAGE + 0.5
    columns = {
        "xyzobs.px.value": ["vec3<double>", np.column_stack([SCREEN, z])],
        "intensity.sum.value": ["double", INTENSITY],
        "panel": ["std::size_t", np.zeros(len(z), np.uint64)],
        "id": ["int", np.zeros(len(z), np.int32)],
        "flags": ["std::size_t", np.full(len(z), 32, np.uint64)],
        "shoebox": ["Shoebox<>", None],
    }
    if panels == 2:
        right = SCREEN[:, 0] >= 256
        columns["panel"][1] = right.astype(np.uint64)
        columns["xyzobs.px.value"][1][right, 0] -= 256
    data = {
        name: [kind, [len(z), b"" if v is None else np.ascontiguousarray(v).tobytes()]]
        for name, (kind, v) in columns.items()
    }
    table = ["dials::af::reflection_table", 1, {"identifiers": {}, "nrows": len(z), "data": data}]
    (folder / "strong.refl").write_bytes(msgpack.packb(table))
    # The panels are told in the frame of the detector, which looks at the sample from below.
    corner = [-CENTRE[0] * PIXEL, -CENTRE[1] * PIXEL, 0]
    panel = {"fast_axis": [1, 0, 0], "slow_axis": [0, 1, 0], "pixel_size": [PIXEL, PIXEL]}
    listed = [panel | {"origin": corner}]
    if panels == 2:
        listed.append(panel | {"origin": [corner[0] + 256 * PIXEL, *corner[1:]]})
    hierarchy = {
        "fast_axis": [1, 0, 0], "slow_axis": [0, 1, 0], "origin": [0, 0, DISTANCE],
        "children": [{"panel": n} for n in range(panels)],
    }  # fmt: skip
    scan = {"image_range": [1, 30], "oscillation": [START, STEP]}
    if not old_scan:
        starts = (START + STEP * np.arange(30)).tolist()
        scan = {"image_range": [1, 30], "properties": {"oscillation": starts}}
    experiments = {
        "__id__": "ExperimentList",
        "experiment": [{"beam": 0, "detector": 0, "goniometer": 0, "scan": 0, "imageset": 0}],
        "beam": [{"direction": [0, 0, -1], "wavelength": LENGTH}],
        "detector": [{"panels": listed, "hierarchy": hierarchy}],
        "goniometer": [{"rotation_axis": AXIS.tolist()}],
        "scan": [scan],
    }
    (folder / "strong.expt").write_text(json.dumps(experiments))
    return folder / "strong.refl"


XPARM = """ XPARM.XDS    VERSION Jun 30, 2024  BUILT=20241002
     1      {start:9.4f}    {step:.4f}  {axis[0]:.6f} {axis[1]:.6f} {axis[2]:.6f}
       {length:.6f}       0.000000       0.000000      {k:.6f}
     4      5.0000      6.5000      9.0000  90.000  90.000  90.000
       5.000000       0.000000       0.000000
       0.000000       6.500000       0.000000
       0.000000       0.000000       9.000000
         1       512       512    {pixel:.6f}    {pixel:.6f}
     {centre[0]:.6f}     {centre[1]:.6f}     {distance:.6f}
       1.000000       0.000000       0.000000
       0.000000       1.000000       0.000000
       0.000000       0.000000       1.000000
"""
XDS_INP = """ JOB= XYCORR INIT COLSPOT IDXREF ! and more
 ORGX= {centre[0]} ORGY= {centre[1]}
 DETECTOR_DISTANCE= {distance}
 NX= 512 NY= 512  QX= {pixel} QY= {pixel}
 X-RAY_WAVELENGTH= {length}
 STARTING_ANGLE= {start}
 OSCILLATION_RANGE= {step}
 ROTATION_AXIS= {axis[0]} {axis[1]} {axis[2]}
 INCIDENT_BEAM_DIRECTION= 0 0 1
"""


def write_xds(folder, geometry="XPARM.XDS"):
    lines = [
        f" {x:9.3f} {y:9.3f} {n + 0.5:9.3f} {i:10.0f} 0 0 0"
        for (x, y), n, i in zip(SCREEN, IMAGE, INTENSITY, strict=True)
    ]
    (folder / "SPOT.XDS").write_text("\n".join(lines) + "\n")
    told = {"start": START, "step": STEP, "axis": AXIS, "length": LENGTH, "k": 1 / LENGTH}
    told |= {"pixel": PIXEL, "centre": CENTRE, "distance": DISTANCE}
    text = XPARM if geometry == "XPARM.XDS" else XDS_INP
    (folder / geometry).write_text(text.format(**told))
    return folder / "SPOT.XDS"


def write_pts(folder, centres=False):
    angles = START + STEP * (np.arange(30) + 0.5)
    images = "\n".join(f"tiff\\{n + 1:05d}.tiff {a:9.4f} 0.0 0.0 1.0 0 0 0 1"
                       for n, a in enumerate(angles))  # fmt: skip
    scale = PIXEL / (DISTANCE * LENGTH)
    centre = "" if centres else "center {} {}".format(*CENTRE)
    (folder / "scan.pts").write_text(
        f"lambda {LENGTH:.6f}\ngeometry continuous\nomega  36.87\nphi  0.25\n"
        f"Aperpixel    {scale:.9f}\n{centre}\nbeamstop no\n\nimagelist\n{images}\nendimagelist\n"
    )
    if centres:
        (folder / "scan.cenloc").write_text("\n".join("{} {} 0 0".format(*CENTRE) for _ in angles))
    peaks = [
        f"0 0 0 {i:.1f} 10 {x:.4f} {y:.4f} {x:.2f} {y:.2f} {angles[n]:.4f} {i:.1f} {n + 1}"
        for (x, y), n, i in zip(SCREEN, IMAGE, INTENSITY, strict=True)
    ]
    (folder / "scan.rpl").write_text("\n".join(peaks) + "\n")
    return folder / "scan.pts"


def write_zones(folder, name="scan.cif_pets", measured="_refln_intensity_meas"):
    zones, angles = np.unique(IMAGE), START + STEP * (np.unique(IMAGE) + 0.5)
    rows = []
    for n, angle in zip(zones, angles, strict=True):
        # The beam's direction in the crystal, as coefficients of its axes.
        uvw = np.linalg.inv(CELL) @ (rotation(angle).T @ np.array([0, 0, 1.0]))
        uvw /= np.abs(uvw).max()
        rows.append("{} {:.5f} {:.5f} {:.5f} 0 {:.4f} 0 0 1".format(n + 1, *uvw, angle))
    kinds = ["id", "u", "v", "w", "precession_angle", "alpha", "beta", "omega", "scale"]
    lines = ["data_zones", "_cell_length_a 5.0", "_cell_length_b 6.5(2)", "_cell_length_c 9.0"]
    lines += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    lines += [f"_diffrn_radiation_wavelength {LENGTH}", "loop_"]
    lines += [f"_diffrn_zone_axis_{kind}" for kind in kinds] + rows + ["loop_"]
    lines += [f"_refln_index_{axis}" for axis in "hkl"] + [measured, "_refln_zone_axis_id"]
    lines += ["{:.0f} {:.0f} {:.0f} {:.2f} {}".format(*h, i, n + 1)
              for h, i, n in zip(HKL, INTENSITY, IMAGE, strict=True)]  # fmt: skip
    lines += ["1 0 0 -3.5 1"]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("old_scan", [True, False])
def test_dials_by_the_panels_geometry(tmp_path, panels, old_scan):
    spots = read_spot_list(write_dials(tmp_path, panels, old_scan))
    check(spots)
    assert spots.known["tilt_axis"] == pytest.approx(tilt_axis())
    assert spots.known["energy"] == pytest.approx(200e3, rel=1e-3)
    assert "DIALS reflection table of 1 experiment, " in spots.source
    assert "tilt axis 126.9 degrees from qx towards qy" in spots.source


@pytest.mark.parametrize("geometry", ["XPARM.XDS", "XDS.INP"])
def test_xds_by_either_of_its_files(tmp_path, geometry):
    spots = read_spot_list(write_xds(tmp_path, geometry))
    check(spots)
    assert spots.known["tilt_axis"] == pytest.approx(tilt_axis())
    assert spots.known["pixel_size"] == pytest.approx(PIXEL / (DISTANCE * LENGTH))


@pytest.mark.parametrize("centres", [False, True])
def test_peaks_of_pets(tmp_path, centres):
    spots = read_spot_list(write_pts(tmp_path, centres))
    # PETS2 takes the screen for flat in reciprocal space.
    check(spots, 2e-3)
    # Omega counts from the right, upwards: 0.8 to the right and 0.6 up.
    assert spots.known["tilt_axis"] == pytest.approx(tilt_axis(), abs=0.01)


@pytest.mark.parametrize(
    ("name", "measured"),
    [("scan.cif_pets", "_refln_intensity_meas"), ("jana.cif", "_refln_F_squared_meas")],
)
def test_zones_of_pets_and_jana(tmp_path, name, measured):
    spots = read_spot_list(write_zones(tmp_path, name, measured))
    assert len(spots) == len(TRUE)
    assert spots.more["alpha"] == pytest.approx(START + STEP * (IMAGE + 0.5), abs=1e-3)
    # Up to one turn in the plane, the same of all zones, places are those on the screen.
    true, found = G[:, 0] + 1j * G[:, 1], spots.qx + 1j * spots.qy
    turn = max((np.vdot(true, found), np.vdot(true.conj(), found)), key=abs)
    mirrored = abs(np.vdot(true.conj(), found)) > abs(np.vdot(true, found))
    assert not mirrored  # looking along the beam, x to the right is followed by y down
    assert np.abs(found - turn / abs(turn) * true).max() < 2e-3


def vectors(shape, units, scales=(0.01, 0.01)):
    """Signal of HyperSpy with pyxem's vectors: rows, columns and intensity, calibrated."""
    data = np.empty(shape, object)
    for n, place in enumerate(np.ndindex(*shape)):
        own = n == IMAGE
        columns = [G[own, 1], G[own, 0], INTENSITY[own]]
        data[place] = np.column_stack(columns)
    told = {"column_names": ["ky", "kx", "intensity"], "units": list(units), "scales": list(scales)}
    axes = [
        {"size": n, "name": name, "units": "nm", "scale": 1.0, "offset": 0.0, "navigate": True,
         "_type": "UniformDataAxis", "is_binned": False}
        for n, name in zip(shape, "yx", strict=True)
    ]  # fmt: skip
    metadata = {"General": {"title": ""}, "Signal": {"signal_type": "diffraction_vectors"}}
    return {
        "data": data, "axes": axes, "metadata": metadata | {"VectorMetadata": told},
        "original_metadata": {}, "attributes": {"_lazy": False, "ragged": True},
        "package_info": {"package": "pyxem", "package_version": "0.21"},
        "learning_results": {}, "models": {},
        "ragged": True, "tmp_parameters": {},
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".hspy", ".zspy"])
def test_vectors_of_pyxem(tmp_path, ending):
    if ending == ".zspy":
        pytest.importorskip("zarr")
    path = tmp_path / f"vectors{ending}"
    import_module(f"rsciio{ending}").file_writer(
        str(path), vectors((5, 6), ("$A^{-1}$", "$A^{-1}$", "a.u."))
    )
    assert holds_spots(path)
    spots = read_spot_list(path)
    assert spots.qx == pytest.approx(G[:, 1])
    assert spots.intensity == pytest.approx(INTENSITY)
    lists = read_bragg_lists(path)
    assert lists.shape == (5, 6)
    assert lists.n_spots.sum() == len(TRUE)


def test_vectors_without_units_need_a_pixel_size(tmp_path):
    from rsciio.hspy import file_writer

    path = tmp_path / "vectors.hspy"
    file_writer(str(path), vectors((5, 6), ("px", "px")))
    with pytest.raises(UserError, match="units 'px' of the vectors are not known; give pixel_size"):
        read_spot_list(path)
    spots = read_spot_list(path, pixel_size=0.02)
    assert spots.qx == pytest.approx(2 * G[:, 1])


WRITERS = [write_dials, write_xds, write_pts, write_zones]


@pytest.mark.parametrize("write", WRITERS)
def test_the_command_says_what_was_read_and_converts(tmp_path, write):
    path = write(tmp_path)
    done = CliRunner().invoke(main, ["spots", str(path), "-o", str(tmp_path / "spots.parquet")])
    assert done.exit_code == 0, done.output
    assert f"{len(TRUE)} spots in 30 patterns, 200 kV, alpha -9.75 to 4.75 degrees" in done.output
    known = read_known(tmp_path / "spots.parquet")
    assert known["energy"] == pytest.approx(200e3, rel=1e-3)
    assert np.isfinite(known["tilt_axis"])
    direct, converted = (read_bragg_lists(p) for p in (path, tmp_path / "spots.parquet"))
    assert direct.qx == pytest.approx(converted.qx)
    assert len(direct) == 30


@pytest.mark.parametrize(
    ("write", "missing", "message"),
    [
        (write_dials, "strong.expt", "strong.expt: no such file; the geometry of strong.refl"),
        (write_xds, "XPARM.XDS", "expected its geometry beside it: GXPARM.XDS, XPARM.XDS, XDS.INP"),
        (write_pts, "scan.rpl", "scan.rpl: no such file; the peaks of scan.pts"),
    ],
)
def test_what_lies_beside_is_asked_for(tmp_path, write, missing, message):
    path = write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=re.escape(message)):
        read_spot_list(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.refl", b"\x93\x01\x02", "not a reflection table of DIALS"),
        ("a.refl", b"gold", "not a reflection table of DIALS"),
        ("SPOT.XDS", b"one two\n", "not a SPOT.XDS"),
        ("a.pts", b"imagelist\n", "not a project of PETS2"),
        ("a.cif_pets", b"nothing {", "not a CIF"),
        ("a.cif", b"data_a\n_cell_length_a 5\n", "no zones in this CIF"),
        ("a.hspy", b"nothing", "not a file of HyperSpy, or damaged"),
    ],
)
def test_what_is_no_list_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_spot_list(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_bragg_lists(tmp_path / name)


def test_a_reflection_table_with_holes(tmp_path):
    path = write_dials(tmp_path)
    read = json.loads((tmp_path / "strong.expt").read_text())
    del read["beam"][0]["wavelength"]
    (tmp_path / "strong.expt").write_text(json.dumps(read))
    with pytest.raises(UserError, match=r"strong\.expt: experiment 0: geometry missing"):
        read_spot_list(path)
    table = msgpack.unpackb(path.read_bytes(), strict_map_key=False)
    del table[2]["data"]["intensity.sum.value"]
    path.write_bytes(msgpack.packb(table))
    write = json.loads(json.dumps(read))
    (tmp_path / "strong.expt").write_text(json.dumps(write))
    with pytest.raises(UserError, match=r"none of the columns intensity\.sum\.value"):
        read_spot_list(path)


def write_emd(path, calibrated):
    import py4DSTEM

    vectors = py4DSTEM.BraggVectors(Rshape=(5, 6), Qshape=(512, 512), name="braggvectors")
    kinds = [("qx", float), ("qy", float), ("intensity", float)]
    for n, place in enumerate(np.ndindex(5, 6)):
        own = n == IMAGE
        rows = [
            (CENTRE[1], CENTRE[0], 1e6),
            *zip(*SCREEN[own].T[::-1], INTENSITY[own], strict=True),
        ]
        vectors._v_uncal[place].add(np.array(rows, kinds))
    if calibrated:
        vectors.calibration.set_Q_pixel_size(PIXEL / (DISTANCE * LENGTH))
        vectors.calibration.set_Q_pixel_units("A^-1")
        vectors.calibration.set_origin((CENTRE[1], CENTRE[0]))
    py4DSTEM.save(path, vectors)
    return path


@pytest.mark.parametrize("calibrated", [True, False])
def test_lists_of_py4dstem_calibrated_and_raw(tmp_path, calibrated):
    path = write_emd(tmp_path / "lists.h5", calibrated)
    given = [] if calibrated else ["--pixel-size", str(PIXEL / (DISTANCE * LENGTH))]
    out = tmp_path / "spots.parquet"
    done = CliRunner().invoke(main, ["spots", str(path), *given, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "5 x 6 positions" in done.output
    lists = read_bragg_lists(out)
    assert lists.shape == (5, 6)
    assert lists.qx == pytest.approx(G[:, 1], abs=2e-3)
    assert lists.qy == pytest.approx(G[:, 0], abs=2e-3)
    if not calibrated:
        done = CliRunner().invoke(main, ["spots", str(path)])
        assert done.exit_code == 2
        assert "pixel size is not calibrated" in done.output


@pytest.mark.parametrize("write", WRITERS)
def test_the_energy_is_told_to_the_predictor(tmp_path, write):
    path = write(tmp_path)
    assert find_energy(path) == pytest.approx(200e3, rel=1e-3)
    read_spot_list(path).write(tmp_path / "spots.parquet")
    assert find_energy(tmp_path / "spots.parquet") == pytest.approx(200e3, rel=1e-3)
    read_spot_list(path).write(tmp_path / "spots.csv")
    assert find_energy(tmp_path / "spots.csv") is None


@pytest.mark.parametrize("write", WRITERS)
def test_damaged_files_end_in_one_line(tmp_path, write):
    path = write(tmp_path)
    whole = {p: p.read_bytes() for p in tmp_path.iterdir()}
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        hurt = list(whole)[rng.integers(len(whole))]
        content = bytearray(whole[hurt])
        if rng.random() < 0.4:
            del content[rng.integers(len(content)) :]
        else:
            first = rng.integers(min(len(content), 3000), size=4)
            for place in first:
                content[place] = rng.integers(256)
        hurt.write_bytes(content)
        try:
            read_spot_list(path)
        except UserError:
            refused += 1
        hurt.write_bytes(whole[hurt])
    assert refused > 5

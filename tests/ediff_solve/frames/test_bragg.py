"""Bragg lists in files: what is read is what was written, and mistakes are named."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ediff_solve.frames.bragg import build_checked_lists, read_bragg_lists, write_bragg_lists
from ediff_utils.core.errors import UserError
from ediff_utils.paper.scan.bragg import build_bragg_lists

SPOTS = pd.DataFrame(
    {
        "x": [2, 0, 0, 2],
        "y": [1, 3, 3, 0],
        "qx": [0.5, -0.25, 0.0, 1.5],
        "qy": [0.0, 0.75, 0.01, -1.0],
        "intensity": [4.0, 1.0, 100.0, 2.0],
    }
)
PIXEL = 0.02
FIELDS = [("qx", float), ("qy", float), ("intensity", float)]


def write_table(frame: pd.DataFrame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        np.savez(path, **{name: frame[name].to_numpy() for name in frame})
    return path


def rows_of(spots: pd.DataFrame, pixel: float = 1.0, origin: tuple = (0, 0)) -> np.ndarray:
    rows = np.zeros(len(spots), FIELDS)
    rows["qx"] = spots["qx"] / pixel + origin[0]
    rows["qy"] = spots["qy"] / pixel + origin[1]
    rows["intensity"] = spots["intensity"]
    return rows


def in_pixels(spots: pd.DataFrame) -> np.ndarray:
    return rows_of(spots, PIXEL, (32, 30))


def make_vectors(**calibration):
    import py4DSTEM

    vectors = py4DSTEM.BraggVectors((3, 4), (64, 64))
    for (x, y), spots in SPOTS.groupby(["x", "y"]):
        vectors._v_uncal[x, y].add(in_pixels(spots))
    for name, value in calibration.items():
        getattr(vectors.calibration, f"set_{name}")(value)
    return vectors


CALIBRATED = {"Q_pixel_size": PIXEL, "Q_pixel_units": "A^-1", "origin": (32.0, 30.0)}


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_tables_are_sorted_by_position_and_lose_the_direct_beam(tmp_path, ending):
    lists = read_bragg_lists(write_table(SPOTS, tmp_path / f"spots{ending}"))

    assert lists.shape == (3, 4)
    assert list(zip(lists.x, lists.y, strict=True)) == [(0, 3), (2, 0), (2, 1)]
    assert lists.n_spots.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(lists.qx, [-0.25, 1.5, 0.5])
    np.testing.assert_array_equal(lists.qy, [0.75, -1.0, 0.0])
    np.testing.assert_array_equal(lists.intensity, [1.0, 2.0, 4.0])


def test_direct_beam_can_be_kept(tmp_path):
    path = write_table(SPOTS, tmp_path / "spots.csv")
    assert len(read_bragg_lists(path, direct_beam_radius=-1).qx) == len(SPOTS)


def test_frames_become_positions_along_x(tmp_path):
    frames = SPOTS.rename(columns={"x": "frame"}).drop(columns="y")
    lists = read_bragg_lists(write_table(frames, tmp_path / "frames.csv"))
    assert lists.x.tolist() == [0, 2]
    assert lists.y.tolist() == [0, 0]
    assert lists.n_spots.tolist() == [1, 2]


def test_without_positions_there_is_one_pattern(tmp_path):
    pattern = SPOTS[["qx", "qy", "intensity"]]
    lists = read_bragg_lists(write_table(pattern, tmp_path / "one.npz"))
    assert lists.shape == (1, 1)
    assert lists.n_spots.tolist() == [3]


def test_bragg_vectors_beside_a_datacube(tmp_path):
    import py4DSTEM

    cube = py4DSTEM.DataCube(np.zeros((3, 4, 8, 8)))
    cube.calibration.set_Q_pixel_size(PIXEL)
    cube.calibration.set_Q_pixel_units("A^-1")
    cube.calibration.set_origin((32.0, 30.0))
    cube.attach(make_vectors())
    path = tmp_path / "cube.h5"
    py4DSTEM.save(path, cube)
    np.testing.assert_allclose(read_bragg_lists(path).qx, [-0.25, 1.5, 0.5], atol=1e-12)


def test_rotation_between_scan_and_diffraction_is_applied(tmp_path):
    import py4DSTEM

    path = tmp_path / "rotated.h5"
    py4DSTEM.save(path, make_vectors(**CALIBRATED, QR_rotation_degrees=90.0, QR_flip=False))
    lists = read_bragg_lists(path)
    np.testing.assert_allclose(lists.qx, [-0.75, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(lists.qy, [-0.25, 1.5, 0.5], atol=1e-12)


def bragg_vectors(path):
    import py4DSTEM

    py4DSTEM.save(path, make_vectors(**CALIBRATED))


def point_list_array(path):
    import py4DSTEM

    array = py4DSTEM.PointListArray(dtype=FIELDS, shape=(3, 4), name="peaks")
    for (x, y), spots in SPOTS.groupby(["x", "y"]):
        array[x, y].add(rows_of(spots))
    py4DSTEM.save(path, array)


def old_bragg_vectors(path):
    """A file of py4DSTEM 0.13, by the writers that it has kept from then."""
    from py4DSTEM.io.legacy.legacy13 import BraggVectors, Calibration

    vectors = BraggVectors(Rshape=(3, 4), Qshape=(64, 64), name="braggvectors")
    for (x, y), spots in SPOTS.groupby(["x", "y"]):
        vectors._v_uncal[x, y].add(in_pixels(spots))
    calibration = Calibration(name="calibration")
    known = {"Q_pixel_size": PIXEL, "Q_pixel_units": "A^-1", "qx0": 32.0, "qy0": 30.0}
    calibration._params.update(known)
    with h5py.File(path, "w") as file:
        root = file.create_group("root")
        root.attrs.update({"emd_group_type": "root", "version_major": 0, "version_minor": 13})
        vectors.to_h5(root)
        calibration.to_h5(root)


def old_point_list_array(path):
    """A file as py4DSTEM 0.12 laid it out, in 1/angstrom."""
    kinds = ("datacubes", "counted_datacubes", "diffractionslices", "realslices", "pointlists")
    with h5py.File(path, "w") as file:
        top = file.create_group("4DSTEM_experiment")
        top.attrs.update({"emd_group_type": 2, "version_major": 0, "version_minor": 12})
        for kind in (*kinds, "pointlistarrays", "coordinates"):
            top.create_group(f"data/{kind}")
        lists = h5py.vlen_dtype(np.dtype(FIELDS))
        data = top.create_dataset("data/pointlistarrays/peaks/data", (3, 4), lists)
        for (x, y), spots in SPOTS.groupby(["x", "y"]):
            data[x, y] = rows_of(spots)


WRITERS = [bragg_vectors, point_list_array, old_bragg_vectors, old_point_list_array]


@pytest.mark.parametrize("write", WRITERS)
def test_files_of_py4dstem_old_and_new(tmp_path, write):
    path = tmp_path / "lists.h5"
    write(path)
    lists = read_bragg_lists(path)
    table = read_bragg_lists(write_table(SPOTS, tmp_path / "spots.csv"))
    assert lists.shape == (3, 4)
    for name in ("x", "y", "offsets", "qx", "qy", "intensity"):
        np.testing.assert_allclose(getattr(lists, name), getattr(table, name), atol=1e-12)


def test_point_list_array_without_intensities(tmp_path):
    import py4DSTEM

    path = tmp_path / "peaks.h5"
    py4DSTEM.save(path, py4DSTEM.PointListArray(dtype=FIELDS[:2], shape=(2, 2), name="peaks"))
    with pytest.raises(UserError, match=r"peaks\.h5.*no field intensity; the fields there: qx, qy"):
        read_bragg_lists(path)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("Q_pixel_units", r"pixel size.*set_Q_pixel_size"), ("origin", r"direct beam.*set_origin")],
)
def test_bragg_vectors_need_their_calibration(tmp_path, missing, message):
    import py4DSTEM

    path = tmp_path / "vectors.h5"
    calibration = {name: value for name, value in CALIBRATED.items() if name != missing}
    py4DSTEM.save(path, make_vectors(**calibration))
    with pytest.raises(UserError, match=message):
        read_bragg_lists(path)


def test_one_of_several_lists_is_named(tmp_path):
    import emdfile
    import py4DSTEM

    root = emdfile.Root("scan")
    for name, qx in (("first", 0.5), ("second", 1.5)):
        array = py4DSTEM.PointListArray(dtype=FIELDS, shape=(1, 1), name=name)
        array[0, 0].add(np.array([(qx, 0.0, 1.0)], FIELDS))
        root.tree(array)
    path = tmp_path / "two.h5"
    py4DSTEM.save(path, root)
    with pytest.raises(UserError, match="node: holds several lists, name one of scan/first, scan/"):
        read_bragg_lists(path)
    with pytest.raises(UserError, match="node: no 'third'"):
        read_bragg_lists(path, node="third")
    assert read_bragg_lists(path, node="second").qx.tolist() == [1.5]


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_bragg_lists(tmp_path / "none.csv")
    for ending in (".csv", ".parquet", ".npz", ".h5"):
        empty = tmp_path / f"empty{ending}"
        empty.touch()
        with pytest.raises(UserError, match=f"empty{ending}: the file is empty"):
            read_bragg_lists(empty)
    for ending in (".parquet", ".npz", ".h5"):
        junk = tmp_path / f"junk{ending}"
        junk.write_bytes(b"these are not the spots you are looking for")
        with pytest.raises(UserError, match=f"junk{ending}: not an? "):
            read_bragg_lists(junk)
    (tmp_path / "spots.tif").write_bytes(b"II*")
    with pytest.raises(UserError, match=r"spots\.tif: unknown ending '\.tif', expected \.csv"):
        read_bragg_lists(tmp_path / "spots.tif")


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".h5"])
def test_truncated_files(tmp_path, ending):
    whole = tmp_path / f"whole{ending}"
    if ending == ".h5":
        bragg_vectors(whole)
    else:
        write_table(SPOTS, whole)
    cut = tmp_path / f"cut{ending}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match=f"cut{ending}: .*or cut short"):
        read_bragg_lists(cut)


def test_hdf5_that_py4dstem_did_not_write(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(UserError, match=r"other\.h5: HDF5, but not EMD"):
        read_bragg_lists(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qx": None}, "no column qx; the columns there: x, y, qy, intensity"),
        ({"y": None}, "no column y;"),
        ({"qx": [0.5, np.nan, 0.0, 1.5]}, "qx: spot 2 is nan"),
        ({"qy": [0.5, 0.1, np.inf, 1.5]}, "qy: spot 3 is inf"),
        ({"qx": ["a", "b", "c", "d"]}, "qx: expected numbers"),
        ({"intensity": [1.0, 1.0, 1.0, -2.0]}, "intensity: spot 4 has -2"),
        ({"intensity": [0.0, 0.0, 0.0, 0.0]}, "no spots"),
        ({"x": [0, 0, -1, 0]}, "x: spot 3 has -1, expected whole probe positions"),
        ({"y": [0, 0.5, 0, 0]}, "y: spot 2 has 0.5, expected whole"),
        ({"x": [0, 0, 0, 1e18]}, "x: spot 4 has 1e[+]18"),
        ({"x": [60000] * 4, "y": [60000] * 4}, "60001 x 60001 probe positions, too many"),
        ({"qx": [120.0, 80.0, 130.0, 90.0]}, "pixels.*expected 1/angstrom without 2 pi"),
        ({"qx": [0.0, 0.01, 0.0, 0.0], "qy": [0.0] * 4}, "no spots besides the direct beam"),
    ],
)
def test_values_that_no_list_has(tmp_path, change, message):
    frame = SPOTS.copy()
    for name, values in change.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    path = write_table(frame, tmp_path / "spots.csv")
    with pytest.raises(UserError, match=rf"spots\.csv: .*{message}"):
        read_bragg_lists(path)


def test_a_header_without_rows(tmp_path):
    (tmp_path / "header.csv").write_text("x,y,qx,qy,intensity\n")
    with pytest.raises(UserError, match="no spots"):
        read_bragg_lists(tmp_path / "header.csv")


def test_archive_with_columns_of_different_lengths(tmp_path):
    np.savez(tmp_path / "uneven.npz", qx=np.zeros(3), qy=np.zeros(2), intensity=np.ones(3))
    with pytest.raises(UserError, match="columns of different lengths"):
        read_bragg_lists(tmp_path / "uneven.npz")
    np.savez(tmp_path / "square.npz", qx=np.zeros((2, 2)), qy=np.zeros(2), intensity=np.ones(2))
    with pytest.raises(UserError, match=r"qx: expected one number a spot, got shape \(2, 2\)"):
        read_bragg_lists(tmp_path / "square.npz")


@given(arrays(float, (9, 5), elements=st.floats(0.1, 1.9)))
@settings(max_examples=30, deadline=None)
def test_written_lists_come_back(tmp_path_factory, values):
    lists = build_bragg_lists(*np.floor(4 * values[:, :2]).T, *values[:, 2:].T, shape=(8, 9))
    path = tmp_path_factory.mktemp("round") / "lists.parquet"
    write_bragg_lists(lists, path)
    back = read_bragg_lists(path, direct_beam_radius=-1)
    assert back.shape == (8, 9)
    for name in ("x", "y", "offsets", "qx", "qy", "intensity"):
        np.testing.assert_array_equal(getattr(back, name), getattr(lists, name))
    assert [file.name for file in path.parent.iterdir()] == ["lists.parquet"]


def test_positions_beyond_the_scan():
    with pytest.raises(UserError, match="beyond the scan"):
        build_checked_lists([5], [0], [0.5], [0.5], [1.0], shape=(5, 5))


# --- columns --------------------------------------------------------------------------------------
FOUR = {"qx": [0.1, 0.2, 0.3, 0.4], "qy": [0.5] * 4, "intensity": [1.0] * 4}


def read_columns(tmp_path, **columns):
    path = tmp_path / "spots.csv"
    pd.DataFrame(columns | FOUR).to_csv(path, index=False)
    return read_bragg_lists(path)


@pytest.mark.parametrize(
    "name", ["frame", "Frame", "FRAME", "image", "Image No", "pattern_id", "frame number"]
)
def test_frames_by_other_names(tmp_path, name):
    lists = read_columns(tmp_path, **{name: [0, 0, 1, 2]})
    assert lists.x.tolist() == [0, 1, 2]
    assert lists.n_spots.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("x", "y"), [("Rx", "Ry"), ("X", "Y"), ("scan_x", "scan_y"), ("row", "column")]
)
def test_positions_by_other_names(tmp_path, x, y):
    lists = read_columns(tmp_path, **{x: [0, 0, 1, 1], y: [0, 0, 0, 2]})
    assert list(zip(lists.x.tolist(), lists.y.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 2)]


@pytest.mark.parametrize(
    "name", ["stack_no", "slice", "probe", "imgs", "scan", "position", "frame_time"]
)
def test_a_column_that_is_not_understood_is_named(tmp_path, name):
    with pytest.raises(UserError, match=f"column {name}: not understood; expected frame, or x and"):
        read_columns(tmp_path, **{name: [0, 0, 1, 2]})


def test_two_columns_of_frames(tmp_path):
    with pytest.raises(UserError, match="columns frame and Image: both are the frame"):
        read_columns(tmp_path, frame=[0, 0, 1, 2], Image=[0, 0, 1, 2])


def test_half_a_frame(tmp_path):
    with pytest.raises(UserError, match=r"frame: spot 3 has 1\.5"):
        read_columns(tmp_path, frame=[0, 0, 1.5, 2])


@pytest.mark.parametrize("name", ["h", "sigma", "alpha", "d", "label"])
def test_other_columns_do_not_matter(tmp_path, name):
    assert len(read_columns(tmp_path, **{name: [0, 0, 1, 2]})) == 1

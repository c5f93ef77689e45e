"""Files that something happened to are read, or refused in one line; nothing crashes or hangs."""

from __future__ import annotations

import io
import random
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
from frame_files import write_emd, write_hspy, write_mrc

from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.frames.hdf5 import check_hdf5
from ediff_solve.frames.reading import open_frames
from ediff_utils.core.errors import UserError

COLUMNS = {
    "x": [0, 0, 1, 1],
    "y": [0, 1, 0, 1],
    "qx": [0.1, 0.2, 0.3, 0.4],
    "qy": [0.5, 0.1, 0.2, 0.3],
    "intensity": [1.0, 2.0, 3.0, 4.0],
}
#: What stands where something else is expected.
VALUES = ["x", "", np.nan, -1, 10**6, np.zeros(0), np.zeros((2, 2)), "BraggVectors", "DataCube", 0]


def flip(data: bytes, rng: random.Random) -> bytes:
    """The same cut short, or with a few bytes changed."""
    if rng.random() < 0.3:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 5, 20])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def refuse(read, path) -> str:
    """What is said of a file; empty where it is read."""
    told = ""
    try:
        read(path)
    except UserError as error:
        told = str(error)
    assert "\n" not in told
    assert not told or str(path) in told
    return told


def archive(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npz():
    return archive(**{name: np.array(values) for name, values in COLUMNS.items()})


def parquet():
    file = io.BytesIO()
    pd.DataFrame(COLUMNS).to_parquet(file)
    return file.getvalue()


def csv():
    return pd.DataFrame(COLUMNS).to_csv(index=False).encode()


@pytest.mark.parametrize("make", [npz, parquet, csv])
def test_bytes_of_lists(tmp_path, make):
    rng, good = random.Random(0), make()
    path = tmp_path / f"spots.{make.__name__}"
    told = set()
    for _ in range(300):
        path.write_bytes(flip(good, rng))
        told.add(refuse(read_bragg_lists, path).split(": ")[-1][:20])
    assert len(told) > 1


class TestArchives:
    def whole(self, tmp_path, change):
        data = bytearray(npz())
        change(data)
        (tmp_path / "a.npz").write_bytes(data)
        return refuse(read_bragg_lists, tmp_path / "a.npz")

    @staticmethod
    def mark(data, local, central, value):
        for start, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
            place = data.find(start)
            while place >= 0:
                data[place + offset] = value
                place = data.find(start, place + 4)

    def test_encrypted(self, tmp_path):
        assert "encrypted" in self.whole(tmp_path, lambda data: self.mark(data, 6, 8, 1))

    @pytest.mark.parametrize("method", [1, 6, 97, 99])
    def test_compressions_that_are_not_known(self, tmp_path, method):
        told = self.whole(tmp_path, lambda data: self.mark(data, 8, 10, method))
        assert "compression method is not supported" in told

    def test_objects(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(archive(x=np.array([{}], dtype=object)))
        assert "not an NPZ archive of arrays" in refuse(read_bragg_lists, tmp_path / "a.npz")

    @pytest.mark.parametrize("size", [10**7, 10**12, 2**61])
    def test_arrays_larger_than_their_file(self, tmp_path, size):
        head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size},), }}"
        head = head.ljust(117) + "\n"
        raw = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            for name in COLUMNS:
                file.writestr(f"{name}.npy", raw)
        assert "says that it has" in refuse(read_bragg_lists, tmp_path / "a.npz")


def damage(path, rng: random.Random) -> None:
    """Change one thing in the structure of an HDF5 file."""
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        item, kind = file[name], rng.randrange(5)
        parent, leaf = item.parent, name.rpartition("/")[2]
        if kind == 0:
            del parent[leaf]
        elif kind == 1 and len(item.attrs):
            item.attrs[rng.choice(list(item.attrs))] = rng.choice(VALUES)
        elif kind == 2 and len(item.attrs):
            del item.attrs[rng.choice(list(item.attrs))]
        elif kind == 3 and isinstance(item, h5py.Dataset):
            kept = dict(item.attrs)
            del parent[leaf]
            parent.create_dataset(leaf, data=rng.choice(VALUES)).attrs.update(kept)
        else:
            parent.move(leaf, f"{leaf}_{rng.randrange(9)}")


def write_lists(path):
    py4DSTEM = pytest.importorskip("py4DSTEM")
    vectors = py4DSTEM.BraggVectors((3, 4), (64, 64))
    for x, y in np.ndindex(3, 4):
        spots = ([20.0, 40.0], [30.0, 33.0], [1.0, 5.0])
        vectors._v_uncal[x, y].add_data_by_field([np.array(v) for v in spots])
    vectors.calibration.set_Q_pixel_size(0.02)
    vectors.calibration.set_Q_pixel_units("A^-1")
    vectors.calibration.set_origin((32.0, 32.0))
    py4DSTEM.save(str(path), vectors, mode="o")
    return path


def read_frames(path):
    open_frames(path).sample(20)


@pytest.mark.parametrize("kind", ["lists", "cube", "hyperspy"])
def test_structures_of_hdf5(tmp_path, kind, monkeypatch):
    # What HDF5 itself crashes on is another test's; here it would take a process a file.
    for module in ("emd", "formats"):
        monkeypatch.setattr(f"ediff_solve.frames.{module}.check_hdf5", lambda path: None)
    counts = np.random.default_rng(0).poisson(5, (3, 4, 16, 16)).astype(np.uint16)
    if kind == "lists":
        good, read = write_lists(tmp_path / "good.h5"), read_bragg_lists
    elif kind == "cube":
        good, read = write_emd(tmp_path / "good.h5", counts), read_frames
    else:
        good, read = write_hspy(tmp_path / "good.hspy", counts), read_frames
    assert not refuse(read, good)
    data, rng, told = good.read_bytes(), random.Random(1), set()
    for n in range(120):
        path = tmp_path / f"{n}{good.suffix}"
        path.write_bytes(data)
        damage(path, rng)
        told.add(refuse(read, path)[len(str(path)) :][:25])
    assert len(told) > 1


def test_bytes_of_mrc(tmp_path):
    good = write_mrc(tmp_path / "good.mrc", np.ones((12, 16, 16), np.uint16)).read_bytes()
    rng, path = random.Random(2), tmp_path / "a.mrc"
    for _ in range(100):
        path.write_bytes(flip(good, rng))
        refuse(lambda own: open_frames(own, scan_shape=(3, 4)).sample(20), path)


class TestHdf5Itself:
    def test_a_file_that_is_whole(self, tmp_path):
        check_hdf5(write_hspy(tmp_path / "a.hspy", np.ones((3, 4, 16, 16), np.uint16)))

    def test_a_crash(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ediff_solve.frames.hdf5._PROBE", "import os; os.abort()")
        (tmp_path / "a.h5").write_bytes(b"anything")
        for read in (read_bragg_lists, open_frames):
            assert refuse(read, tmp_path / "a.h5").endswith("a.h5: damaged: HDF5 crashes on it")

    def test_no_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ediff_solve.frames.hdf5._PROBE", "while True: pass")
        monkeypatch.setattr("ediff_solve.frames.hdf5.PATIENCE", 0.5)
        (tmp_path / "a.h5").write_bytes(b"anything")
        assert "does not come to an end" in refuse(read_bragg_lists, tmp_path / "a.h5")

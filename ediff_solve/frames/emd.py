"""Bragg lists in the files of py4DSTEM, of 0.14 (EMD 1.0) and older, read by py4DSTEM itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ediff_solve.frames.hdf5 import check_hdf5
from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError, import_extra

#: How the calibrations of py4DSTEM and its users spell 1/angstrom.
INVERSE_ANGSTROM = ("A^-1", "Å^-1", "1/A", "1/Å", "A-1")
_CLASSES = ("BraggVectors", "PointListArray")
_FIELDS = ("qx", "qy", "intensity")
#: Where files of 0.12 and older keep their lists.
_OLD = "/data/pointlistarrays"


def read_emd(path: Path, node: str | None) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    """Spots of a ``BraggVectors`` or ``PointListArray`` of py4DSTEM, and the shape of the scan.

    ``node`` is the name or path of the one to read where the file holds more. Columns are x, y, qx,
    qy, intensity, shape (n_spots,).
    """
    check_hdf5(path)
    where = _choose(path, node)
    import_extra("py4DSTEM")
    try:
        return _read(path, where)
    except UserError:
        raise
    # Of damaged or foreign metadata, emdfile and py4DSTEM say so in any way that there is.
    except Exception as error:
        raise UserError(f"{path}: {where}: cannot be read by py4DSTEM: {error}") from None


def _read(path: Path, where: str) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    py4DSTEM = import_extra("py4DSTEM")
    group, _, name = where.rpartition("/")
    # before 0.13 a list is named, not pointed at
    place = {"data_id": name} if group.endswith(_OLD) else {"datapath": where, "tree": False}
    with warnings.catch_warnings():
        # of groups that a file of 0.13 has no class for, beside the lists
        warnings.filterwarnings("ignore", "Can't determine class type", UserWarning)
        stored = py4DSTEM.read(path, **place)
    if isinstance(stored, py4DSTEM.BraggVectors):
        _calibrate(stored, f"{path}: {where}")
        # of a file of 0.13 these would still look at the empty lists that it began with
        stored._set_raw_vector_getter()
        stored._set_cal_vector_getter()
        lists, source = stored.cal, stored.raw[0, 0].data
    else:
        lists, source = stored, stored[0, 0].data
    missing = [name for name in _FIELDS if name not in (source.dtype.names or ())]
    if missing:
        there = ", ".join(source.dtype.names or ()) or "none"
        raise UserError(
            f"{path}: {where}: no field {', '.join(missing)}; the fields there: {there}"
        )
    nx, ny = (int(n) for n in stored.shape)
    return _flatten(lists, (nx, ny)), (nx, ny)


def read_raw_emd(path: Path, node: str | None, pixel_size: float) -> SpotList:
    """Spots of ``BraggVectors`` as they were found, in pixels, by a pixel size [1/angstrom].

    Their centre is the file's, or the median of the strongest spot of each position: the direct
    beam. No other calibration is applied.
    """
    check_hdf5(path)
    where = _choose(path, node)
    py4DSTEM = import_extra("py4DSTEM")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Can't determine class type", UserWarning)
        stored = py4DSTEM.read(path, datapath=where, tree=False)
    if not isinstance(stored, py4DSTEM.BraggVectors):
        raise UserError(f"{path}: {where}: no BraggVectors, whose spots are in pixels")
    nx, ny = (int(n) for n in stored.shape)
    stored._set_raw_vector_getter()
    table = _flatten(stored.raw, (nx, ny))
    frame = table["x"] * ny + table["y"]
    origin = stored.calibration.get_origin()
    if origin is None:
        order = np.lexsort((-table["intensity"], frame))
        first = order[np.unique(frame[order], return_index=True)[1]]
        row, column = (np.median(table[name][first]) for name in ("qx", "qy"))
    else:
        row, column = (np.broadcast_to(o, (nx, ny)).ravel()[frame] for o in origin[:2])
    qx, qy = pixel_size * (table["qx"] - row), pixel_size * (table["qy"] - column)
    known = {"scan_shape": [nx, ny], "frames": nx * ny, "pixel_size": pixel_size}
    source = (
        f"{path}: BraggVectors of py4DSTEM in pixels, {len(frame)} spots, {nx} x {ny} positions"
    )
    return SpotList(frame, qx, qy, table["intensity"], source, known=known).sort()


def _flatten(lists: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    spots = {position: lists[position].data for position in np.ndindex(*shape)}
    counts = [len(data) for data in spots.values()]
    columns = {name: np.concatenate([d[name] for d in spots.values()]) for name in _FIELDS}
    x, y = np.repeat(np.array(list(spots)), counts, axis=0).T
    return {"x": x, "y": y, **columns}


def holds_lists(path: Path) -> bool:
    """Whether a file is HDF5 with Bragg lists in it, rather than frames alone."""
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return bool(_find_lists(file))
    except Exception:  # a file that reading it will say more of
        return False


def _find_lists(file: h5py.File) -> list[str]:
    found: list[str] = []

    def collect(name: str, item: h5py.HLObject) -> None:
        # the PointListArray inside a BraggVectors holds its raw pixels
        inside = any(name.startswith(f"{outer}/") for outer in found)
        kind = item.attrs.get("python_class", item.attrs.get("py4dstem_class"))
        old = name.rpartition("/")[0].endswith(_OLD)
        if (kind in _CLASSES or old) and not inside:
            found.append(name)

    file.visititems(collect)
    return found


def _choose(path: Path, node: str | None) -> str:
    """Return the path inside the file of what holds the spots."""
    try:
        with h5py.File(path, "r") as file:
            if not any("emd_group_type" in item.attrs for item in file.values()):
                raise UserError(f"{path}: HDF5, but not EMD; expected a file saved by py4DSTEM")
            found = _find_lists(file)
    except UserError:
        raise
    # Damaged attributes and links end in whatever h5py runs into.
    except Exception as error:
        raise UserError(f"{path}: not an HDF5 file, or cut short: {error}") from None
    names = ", ".join(found)
    if not found:
        raise UserError(f"{path}: holds neither BraggVectors nor a PointListArray")
    if node is not None:
        found = [name for name in found if node in (name, name.split("/")[-1])]
        if not found:
            raise UserError(f"{path}: node: no '{node}'; the file holds {names}")
    if len(found) > 1:
        raise UserError(f"{path}: node: holds several lists, name one of {names}")
    return found[0]


def _calibrate(vectors: Any, where: str) -> None:
    """Switch on every calibration that the file holds; centre and pixel size must be there."""
    calibration = vectors.calibration
    units = calibration.get_Q_pixel_units()
    if units not in INVERSE_ANGSTROM:
        raise UserError(
            f"{where}: the pixel size is not calibrated in 1/angstrom (units are '{units}'); set "
            f"it with .calibration.set_Q_pixel_size(...) and .set_Q_pixel_units('A^-1'), save again"
        )
    if calibration.get_origin() is None:
        raise UserError(
            f"{where}: the position of the direct beam is missing; set it with "
            f".calibration.set_origin((qx0, qy0)) and save again"
        )
    vectors.setcal()

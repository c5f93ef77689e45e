"""Bragg lists in the files of py4DSTEM (EMD 1.0), read by py4DSTEM itself."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ediff_utils.core.errors import UserError

#: How the calibrations of py4DSTEM and its users spell 1/angstrom.
INVERSE_ANGSTROM = ("A^-1", "Å^-1", "1/A", "1/Å", "A-1")
_CLASSES = ("BraggVectors", "PointListArray")
_FIELDS = ("qx", "qy", "intensity")


def read_emd(path: Path, node: str | None) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    """Read the spots of a ``BraggVectors`` or ``PointListArray``.

    Parameters
    ----------
    path : Path
        An EMD 1.0 file.
    node : str, optional
        Name or path of the one to read where the file holds more.

    Returns
    -------
    dict of ndarray
        Columns x, y, qx, qy, intensity, one entry a spot.
    tuple of int
        Shape of the scan.

    Raises
    ------
    UserError
        Not such a file, nothing to read in it, or no calibration.
    """
    where = _choose(path, node)
    import py4DSTEM

    try:
        stored = py4DSTEM.read(path, datapath=where, tree=False)
    except (OSError, KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"{path}: {where}: cannot be read by py4DSTEM: {error}") from None
    if isinstance(stored, py4DSTEM.BraggVectors):
        _calibrate(stored, f"{path}: {where}")
        lists, source = stored.cal, stored.raw[0, 0].data
    else:
        lists, source = stored, stored[0, 0].data
    missing = [name for name in _FIELDS if name not in (source.dtype.names or ())]
    if missing:
        there = ", ".join(source.dtype.names or ()) or "none"
        raise UserError(
            f"{path}: {where}: no field {', '.join(missing)}; the fields there: {there}"
        )
    return _flatten(lists, stored.shape), tuple(int(n) for n in stored.shape)


def _flatten(lists: object, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    spots = {position: lists[position].data for position in np.ndindex(*shape)}
    counts = [len(data) for data in spots.values()]
    columns = {name: np.concatenate([d[name] for d in spots.values()]) for name in _FIELDS}
    x, y = np.repeat(np.array(list(spots)), counts, axis=0).T
    return {"x": x, "y": y, **columns}


def _choose(path: Path, node: str | None) -> str:
    """Return the path inside the file of what holds the spots."""
    found: list[str] = []

    def collect(name: str, item: h5py.HLObject) -> None:
        # the PointListArray inside a BraggVectors holds its raw pixels
        inside = any(name.startswith(f"{outer}/") for outer in found)
        if item.attrs.get("python_class") in _CLASSES and not inside:
            found.append(name)

    try:
        with h5py.File(path, "r") as file:
            if not any("emd_group_type" in item.attrs for item in file.values()):
                raise UserError(
                    f"{path}: HDF5, but not EMD 1.0; expected a file saved by py4DSTEM 0.14"
                )
            file.visititems(collect)
    except (OSError, RuntimeError) as error:
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


def _calibrate(vectors: object, where: str) -> None:
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

"""PETS2: peaks of a project (.pts with its .rpl), and zones in a CIF, as PETS2 and Jana write them.

Peaks are as they were measured. Zones hold indexed reflections, whose places follow from the cell:
they are projected along the zone axis, and all zones of a tilt series alike turned in the plane.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from ediff_solve.frames.pictures import energy_of
from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError

#: Columns of .rpl and .cenloc that are needed.
_INTENSITY, _COLUMN, _ROW, _ALPHA, _FRAME = 3, 5, 6, 9, 11
_ZONE, _REFLECTION = "_diffrn_zone_axis_", "_refln_"
_MEASURED = ("intensity_meas", "F_squared_meas")


def read_pts(path: Path) -> SpotList:
    """Peaks of a project of PETS2: its ``.rpl``, by centre, scale and angles of the ``.pts``.

    Rows of the pictures are qx, columns qy. ``omega``, from the picture's right upwards, becomes
    the direction of the tilt axis from qx towards qy.
    """
    text = path.read_text(errors="replace")
    keys = {k.lower(): v for k, v in re.findall(r"(?m)^\s*([A-Za-z/]+)[ \t]+([^#\n]*)", text)}
    if "imagelist" not in text or "aperpixel" not in keys:
        raise UserError(f"{path}: not a project of PETS2: no image list or no Aperpixel in it")
    try:
        size = float(keys["aperpixel"].split()[0])
        length = float(keys["lambda"].split()[0])
        omega = float(keys.get("omega", "nan").split()[0])
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path}: lambda, omega, Aperpixel: expected numbers: {error}") from None
    peaks = _read_numbers(path.with_suffix(".rpl"), path, 12)
    frame = peaks[:, _FRAME].astype(np.int64)
    centre = _find_centres(path, keys, frame)
    known: dict[str, Any] = {"energy": energy_of(length), "pixel_size": size}
    if np.isfinite(omega):
        known["tilt_axis"] = (omega + 90 + 180) % 360 - 180
    return SpotList(
        frame - frame.min(),
        size * (peaks[:, _ROW] - centre[:, 1]),
        size * (peaks[:, _COLUMN] - centre[:, 0]),
        peaks[:, _INTENSITY],
        "peaks of PETS2",
        {"alpha": peaks[:, _ALPHA]},
        known | {"frames": int(frame.max() - frame.min()) + 1},
    ).sort()


def _read_numbers(path: Path, project: Path, columns: int) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: no such file; the peaks of {project.name} are in it")
    try:
        table = np.loadtxt(path, ndmin=2)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a table of PETS2: {error}") from None
    if table.shape[1] < columns:
        raise UserError(f"{path}: {table.shape[1]} columns, expected {columns}")
    return table


def _find_centres(path: Path, keys: dict[str, str], frame: np.ndarray) -> np.ndarray:
    """Column and row of the centre of each peak's frame, refined where that is there [pixel]."""
    beside = path.with_suffix(".cenloc")
    if beside.is_file():
        table = _read_numbers(beside, path, 2)
        if frame.min() >= 1 and frame.max() <= len(table):
            return table[frame - 1, :2]
    try:
        centre = [float(v) for v in keys["center"].split()[:2]]
        return np.tile(centre, (len(frame), 1))
    except (KeyError, ValueError):
        raise UserError(
            f"{path}: center: expected the column and row of the direct beam, or {beside.name}"
        ) from None


def holds_zones(path: Path) -> bool:
    """Whether a CIF has zones of electron diffraction in it."""
    try:
        return (_ZONE + "id").encode() in path.read_bytes()
    except OSError:
        return False


def read_zones(path: Path) -> SpotList:
    """Reflections of the zones in a ``.cif_pets``, or in a CIF of Jana.

    A pattern a zone. Places are g = B hkl, across the zone axis; qx is along what all zone axes of
    the series are across, the tilt axis, and qy so that (qx, qy, zone axis) are right-handed.
    """
    try:
        document = gemmi.cif.read(str(path))
        blocks = [b for b in document if b.find_values(_ZONE + "id")]
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: not a CIF: {error}") from None
    if not blocks:
        raise UserError(f"{path}: no zones in this CIF ({_ZONE}id), as PETS2 and Jana write")
    block = blocks[0]
    numbers = gemmi.cif.as_number
    try:
        cell = gemmi.UnitCell(
            *(numbers(block.find_value(f"_cell_length_{n}")) for n in "abc"),
            *(numbers(block.find_value(f"_cell_angle_{n}")) for n in ("alpha", "beta", "gamma")),
        )
        zones = _loop(block, _ZONE, ["id", "u", "v", "w"])
        measured = next(n for n in _MEASURED if block.find_values(_REFLECTION + n))
        names = ["index_h", "index_k", "index_l", measured, "zone_axis_id"]
        reflections = _loop(block, _REFLECTION, names)
    except (StopIteration, TypeError, ValueError) as error:
        raise UserError(f"{path}: cell, zones or reflections are incomplete: {error}") from None
    numbered = {int(z): k for k, z in enumerate(zones[:, 0])}
    frame = np.array([numbered.get(int(z), -1) for z in reflections[:, 4]])
    seen = (frame >= 0) & (reflections[:, 3] > 0)
    frame, reflections = frame[seen], reflections[seen]
    if not len(frame):
        raise UserError(f"{path}: no reflection of its zones has an intensity above 0")
    direct = np.array(cell.orth.mat.tolist())
    down, right = _planes(zones[:, 1:4] @ direct.T)
    g = reflections[:, :3] @ np.linalg.inv(direct)
    qx, qy = (np.sum(g * axes[frame], axis=1) for axes in (down, right))
    more: dict[str, np.ndarray] = {}
    known: dict[str, Any] = {"frames": len(zones), "tilt_axis": 0.0}
    alphas = block.find_values(_ZONE + "alpha")
    if alphas:
        more["alpha"] = np.array([numbers(v) for v in alphas])[frame]
    length = block.find_value("_diffrn_radiation_wavelength")
    if length and numbers(length) > 0:
        known["energy"] = energy_of(numbers(length))
    source = f"reflections of {len(zones)} zones"
    return SpotList(frame, qx, qy, reflections[:, 3], source, more, known).sort()


def _loop(block: gemmi.cif.Block, prefix: str, names: list[str]) -> np.ndarray:
    columns = [[gemmi.cif.as_number(v) for v in block.find_values(prefix + n)] for n in names]
    table = np.array(columns, float).T
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"{prefix}{names[0]} ...")
    return table


def _planes(axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two directions across each zone axis; shape (n, 3) each."""
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    tilt = np.linalg.svd(axes)[2][-1]
    down = tilt - (axes @ tilt)[:, None] * axes
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    return down, np.cross(axes, down)

"""Spots of XDS (SPOT.XDS), by the geometry in GXPARM.XDS, XPARM.XDS or XDS.INP beside it.

A line of SPOT.XDS is column, row and image of a spot, its intensity, and more that is not needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ediff_solve.frames.lists.geometry import project, tilt_direction
from ediff_solve.frames.pictures import energy_of
from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError

_BESIDE = ("GXPARM.XDS", "XPARM.XDS", "XDS.INP")


@dataclass(frozen=True)
class _Geometry:
    """Lengths in mm; see XDS's documentation of XPARM.XDS."""

    start: float
    phi: float
    step: float
    axis: np.ndarray
    wavelength: float
    beam: np.ndarray
    pixel: tuple[float, float]
    origin: tuple[float, float]
    distance: float
    x: np.ndarray
    y: np.ndarray


def read_xds(path: Path) -> SpotList:
    """Read a SPOT.XDS; images are patterns, qx is along the detector's Y and qy along its X axis.

    ``alpha`` is the angle in the middle of each image.
    """
    try:
        table = np.loadtxt(path, ndmin=2, usecols=(0, 1, 2, 3))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a SPOT.XDS of XDS: {error}") from None
    if not len(table):
        raise UserError(f"{path}: no spots in it")
    g = _find_geometry(path)
    u = (table[:, 0] - g.origin[0]) * g.pixel[0]
    v = (table[:, 1] - g.origin[1]) * g.pixel[1]
    normal = np.cross(g.x, g.y)
    places = u[:, None] * g.x + v[:, None] * g.y + g.distance * normal
    qx, qy = project(places, g.beam, g.wavelength, g.y, g.x)
    image = np.floor(table[:, 2]).astype(np.int64)
    alpha = g.phi + g.step * (image - (g.start - 1) + 0.5)
    known = {
        "energy": energy_of(g.wavelength),
        "pixel_size": g.pixel[0] / (abs(g.distance) * g.wavelength),
        "tilt_axis": tilt_direction(g.axis, g.beam, g.y, g.x),
        "frames": int(image.max()) + 1,
    }
    frame = image - image.min()
    found = SpotList(frame, qx, qy, table[:, 3], "spots of XDS", {"alpha": alpha}, known)
    return found.sort()


def _find_geometry(path: Path) -> _Geometry:
    for name in _BESIDE:
        beside = path.with_name(name)
        if not beside.is_file():
            continue
        text = beside.read_text(errors="replace")
        try:
            return _read_input(text) if name.endswith("INP") else _read_parameters(text)
        except (ValueError, IndexError, KeyError) as error:
            raise UserError(f"{beside}: not what XDS writes, or incomplete: {error}") from None
    raise UserError(f"{path}: expected its geometry beside it: {', '.join(_BESIDE)}")


def _read_parameters(text: str) -> _Geometry:
    lines = [[float(v) for v in line.split()] for line in text.splitlines()[1:]]
    rows = [line for line in lines if line]
    return _Geometry(
        start=rows[0][0],
        phi=rows[0][1],
        step=rows[0][2],
        axis=np.array(rows[0][3:6]),
        wavelength=abs(rows[1][0]),
        beam=np.array(rows[1][1:4]),
        pixel=(rows[6][3], rows[6][4]),
        origin=(rows[7][0], rows[7][1]),
        distance=rows[7][2],
        x=np.array(rows[8]),
        y=np.array(rows[9]),
    )


def _read_input(text: str) -> _Geometry:
    text = re.sub(r"!.*", "", text)

    def numbers(name: str, default: tuple[float, ...] | None = None) -> list[float]:
        found = re.search(rf"(?<![\w-]){re.escape(name)}\s*=\s*([-+.\deE \t]+)", text)
        if found is None:
            if default is None:
                raise KeyError(name)
            return list(default)
        return [float(v) for v in found[1].split()]

    return _Geometry(
        numbers("STARTING_FRAME", (1,))[0],
        numbers("STARTING_ANGLE", (0,))[0],
        numbers("OSCILLATION_RANGE")[0],
        axis=np.array(numbers("ROTATION_AXIS")),
        wavelength=abs(numbers("X-RAY_WAVELENGTH")[0]),
        beam=np.array(numbers("INCIDENT_BEAM_DIRECTION", (0, 0, 1))),
        pixel=(numbers("QX")[0], numbers("QY")[0]),
        origin=(numbers("ORGX")[0], numbers("ORGY")[0]),
        distance=numbers("DETECTOR_DISTANCE")[0],
        x=np.array(numbers("DIRECTION_OF_DETECTOR_X-AXIS", (1, 0, 0))),
        y=np.array(numbers("DIRECTION_OF_DETECTOR_Y-AXIS", (0, 1, 0))),
    )

"""Reflection tables of DIALS (.refl, msgpack) with their experiments (.expt, JSON).

The layout is that of ``dials/array_family/reflection_table_msgpack_adapter.h``: a list of the name
"dials::af::reflection_table", the version, and a map with ``nrows`` and, for each column, its type
and its bytes, little-endian.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from ediff_solve.frames.lists.geometry import project, tilt_direction
from ediff_solve.frames.pictures import energy_of
from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError

_NAME = "dials::af::reflection_table"
_TYPES = {
    "double": ("<f8", 1), "float": ("<f4", 1), "int": ("<i4", 1), "std::size_t": ("<u8", 1),
    "vec3<double>": ("<f8", 3), "bool": ("?", 1), "cctbx::miller::index<>": ("<i4", 3),
}  # fmt: skip
#: Where a spot was seen, and how strong it is: the first of these that is there.
_PLACES = ("xyzobs.px.value", "xyzcal.px")
_INTENSITIES = ("intensity.sum.value", "intensity.prf.value")


def read_dials(path: Path) -> SpotList:
    """Spots of a ``.refl``, by the geometry of the ``.expt`` of the same name beside it.

    Every image of every experiment is a pattern; qx and qy are across the beam, along the
    detector's slow and fast axis. ``alpha`` is the angle in the middle of each image.
    """
    columns = _read_table(path)
    experiments = _read_experiments(path)
    place = _column(path, columns, _PLACES)
    intensity = _column(path, columns, _INTENSITIES)
    if not np.all(np.isfinite(place) & (np.abs(place) < 1e9)):
        raise UserError(f"{path}: a spot's place is no number of pixels")
    n = len(place)
    panel = columns.get("panel", np.zeros(n, np.int64)).astype(np.int64)
    owner = columns.get("id", np.zeros(n, np.int64)).astype(np.int64)
    qx, qy, alpha, frame = (np.full(n, np.nan) for _ in range(4))
    first = 0
    known: dict[str, Any] = {}
    for number in np.unique(owner):
        own = owner == number
        try:
            told = _Experiment(experiments, int(max(number, 0)))
            where = told.place(place[own], panel[own])
            axes = told.down, told.right
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(
                f"{path.with_suffix('.expt')}: experiment {number}: geometry missing: {error!r}"
            ) from None
        qx[own], qy[own] = project(where, told.beam, told.wavelength, *axes)
        images = np.floor(place[own, 2]).astype(np.int64)
        alpha[own] = told.angle(images)
        frame[own] = images - images.min() + first
        first = int(frame[own].max()) + 1
        known = {"energy": energy_of(told.wavelength)}
        if told.axis is not None:
            known["tilt_axis"] = tilt_direction(told.axis, told.beam, *axes)
    more = {"alpha": alpha} if np.isfinite(alpha).all() else {}
    many = len(np.unique(owner))
    source = f"DIALS reflection table of {many} experiment{'s' if many > 1 else ''}"
    return SpotList(frame, qx, qy, intensity, source, more, known | {"frames": first}).sort()


def _read_table(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        name, version, table = msgpack.unpackb(content, raw=False, strict_map_key=False)
        if name != _NAME or version not in (1, 2):
            raise ValueError(f"{name} of version {version}")
        columns = {}
        for key, (kind, (rows, raw)) in table["data"].items():
            if kind in _TYPES:
                dtype, width = _TYPES[kind]
                values = np.frombuffer(raw, dtype)
                columns[key] = values.reshape(rows, width) if width > 1 else values
        return columns
    # Other files end in whatever msgpack runs into.
    except Exception as error:
        raise UserError(
            f"{path}: not a reflection table of DIALS in msgpack, or cut short: {error}"
        ) from None


def _column(path: Path, columns: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if name in columns:
            return columns[name]
    raise UserError(f"{path}: none of the columns {', '.join(names)}; there: {', '.join(columns)}")


def _read_experiments(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".expt")
    if not beside.is_file():
        raise UserError(f"{beside}: no such file; the geometry of {path.name} is in it")
    try:
        read = json.loads(beside.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"{beside}: not an experiment list of DIALS: {error}") from None
    if not isinstance(read, dict) or not read.get("experiment"):
        raise UserError(f"{beside}: not an experiment list of DIALS: no 'experiment' in it")
    return read


class _Experiment:
    """Geometry of one experiment, as dxtbx writes it: lengths in mm, electrons along -direction."""

    def __init__(self, read: dict[str, Any], number: int) -> None:
        links = read["experiment"][number]
        beam = read["beam"][links["beam"]]
        self.beam = -np.array(beam["direction"], float)
        self.wavelength = float(beam["wavelength"])
        detector = read["detector"][links["detector"]]
        self.panels = _resolve_panels(detector)
        self.right, self.down = self.panels[0][0], self.panels[0][1]
        axis = links.get("goniometer")
        gonio = read.get("goniometer", [])[axis] if axis is not None else None
        self.axis = None
        if gonio and "rotation_axis" in gonio:
            self.axis = np.array(gonio["rotation_axis"], float)
        scan = links.get("scan")
        self.scan = read["scan"][scan] if scan is not None and read.get("scan") else None

    def place(self, pixels: np.ndarray, panel: np.ndarray) -> np.ndarray:
        """Places in the laboratory [mm] of pixels (fast, slow) on panels."""
        out = np.empty((len(pixels), 3))
        for number in np.unique(panel):
            fast, slow, origin, size = self.panels[int(number)]
            own = panel == number
            u, v = pixels[own, 0] * size[0], pixels[own, 1] * size[1]
            out[own] = origin + u[:, None] * fast + v[:, None] * slow
        return out

    def angle(self, images: np.ndarray) -> np.ndarray:
        """Angle in the middle of images, numbers from 0 [degree]; NaN where there is no scan."""
        if self.scan is None:
            return np.full(len(images), np.nan)
        first = self.scan["image_range"][0] - 1
        told = self.scan.get("properties", {}).get("oscillation")
        if told:
            # Newer files have the start of every image.
            step = told[1] - told[0] if len(told) > 1 else self.scan.get("oscillation_width", 0)
            start = told[0]
        else:
            start, step = self.scan["oscillation"]
        return start + step * (images - first + 0.5)


_Panel = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _resolve_panels(detector: dict[str, Any]) -> list[_Panel]:
    """Fast and slow axis, origin and pixel of each panel, out of the frames that hold it."""
    own = [
        (
            np.array(p["fast_axis"], float),
            np.array(p["slow_axis"], float),
            np.array(p["origin"], float),
            np.array(p["pixel_size"], float),
        )
        for p in detector["panels"]
    ]

    def walk(node: dict[str, Any], turn: np.ndarray, shift: np.ndarray) -> None:
        if "panel" in node:
            fast, slow, origin, size = own[node["panel"]]
            own[node["panel"]] = (turn @ fast, turn @ slow, turn @ origin + shift, size)
            return
        if "fast_axis" in node:
            fast, slow = np.array(node["fast_axis"], float), np.array(node["slow_axis"], float)
            inner = np.column_stack([fast, slow, np.cross(fast, slow)])
            shift = turn @ np.array(node["origin"], float) + shift
            turn = turn @ inner
        for child in node.get("children", []):
            walk(child, turn, shift)

    if detector.get("hierarchy"):
        walk(detector["hierarchy"], np.eye(3), np.zeros(3))
    return own

"""Spots of a series of frames in reciprocal space, with what is known of the experiment.

Spots count from q = 0 along the detector's rows (qx, down the picture) and columns (qy, to the
right), looking along the beam's way as the file has its frames, in 1/angstrom without 2 pi.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ediff_solve.detector.effects import distortion
from ediff_solve.frames.counting.series import SeriesSpots
from ediff_solve.frames.pictures import Series
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write

#: Where a Parquet file keeps what is known of the experiment.
_KEY = b"ediff_spots"
#: And where the shape of a scan; see :func:`ediff_solve.frames.bragg.write_bragg_lists`.
SCAN_SHAPE = b"scan_shape"


@dataclass(frozen=True)
class SpotList:
    """Spots of patterns, flat, sorted by frame.

    Attributes
    ----------
    frame : ndarray of int64, shape (n_spots,)
        Number of the pattern, from 0.
    qx, qy : ndarray, shape (n_spots,)
        [1/angstrom, without 2 pi]
    intensity : ndarray, shape (n_spots,)
        In any one unit.
    source : str
        One line: what was read, or found in what.
    more : mapping of str to ndarray
        Other columns, such as ``alpha``, the goniometer angle of a spot's frame [degree].
    known : mapping of str to number
        What is known of the experiment: ``energy`` [eV], ``pixel_size`` [1/angstrom],
        ``tilt_axis``, its direction from qx towards qy [degree], ``frames``, how many there are.
    """

    frame: np.ndarray
    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    source: str = ""
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    def take(self, chosen: np.ndarray, source: str | None = None) -> SpotList:
        """Return the spots of a mask or of places, all columns alike."""
        return SpotList(
            self.frame[chosen].astype(np.int64),
            self.qx[chosen],
            self.qy[chosen],
            self.intensity[chosen],
            self.source if source is None else source,
            {name: values[chosen] for name, values in self.more.items()},
            self.known,
        )

    def sort(self) -> SpotList:
        """Return the spots by frame, those of one in the order they have."""
        return self.take(np.argsort(self.frame, kind="stable"))

    def __len__(self) -> int:
        """Return the number of spots."""
        return len(self.frame)

    def columns(self) -> dict[str, np.ndarray]:
        """All columns, by their names in a table."""
        own = {name: getattr(self, name) for name in ("frame", "qx", "qy", "intensity")}
        return own | dict(self.more)

    def as_positions(self) -> tuple[dict[str, np.ndarray], tuple[int, int] | None]:
        """Columns with probe positions, and the scan's shape; frames where there was no scan."""
        columns = {name: getattr(self, name) for name in ("qx", "qy", "intensity")}
        if "scan_shape" not in self.known:
            return columns | {"frame": self.frame}, None
        nx, ny = self.known["scan_shape"]
        x, y = np.divmod(self.frame, ny)
        return columns | {"x": x, "y": y}, (nx, ny)

    def write(self, path: str | Path) -> Path:
        """Write a table, ``.parquet`` or ``.csv``, that ``ediff predict`` reads.

        The file is replaced in one step. Only Parquet keeps what is known of the experiment.
        """
        path = Path(path)
        if path.suffix.lower() not in (".parquet", ".csv"):
            raise UserError(f"{path}: unknown ending '{path.suffix}', expected .parquet or .csv")
        columns = self.columns()
        kept: dict[bytes, bytes] = {}
        if "scan_shape" in self.known:
            # As Bragg lists of a scan are kept, so that maps are made of them.
            nx, ny = self.known["scan_shape"]
            columns["x"], columns["y"] = np.divmod(columns.pop("frame"), ny)
            kept[SCAN_SHAPE] = f"{nx},{ny}".encode()
        table = pa.table(columns)
        with atomic_write(path) as partial:
            if path.suffix.lower() == ".csv":
                pyarrow.csv.write_csv(table, partial)
            else:
                kept[_KEY] = json.dumps({"source": self.source, **self.known}).encode()
                pq.write_table(table.replace_schema_metadata(kept), partial)
        return path


def read_known(path: str | Path) -> dict[str, Any]:
    """What a Parquet file of spots tells of its experiment; empty where it does not."""
    try:
        stored = (pq.read_schema(path).metadata or {}).get(_KEY)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet table, or cut short: {error}") from None
    return {} if stored is None else json.loads(stored)


def correct_ellipse(
    u: np.ndarray, v: np.ndarray, ellipticity: float, axis: float
) -> tuple[np.ndarray, np.ndarray]:
    """Make rows and columns from the centre those of a camera without an ellipse.

    See :class:`ediff_solve.frames.rings.Ring`; the mean axis keeps its length.
    """
    xx, xy, yy = distortion(np.ones(1), np.array([ellipticity]), np.array([axis]))[0]
    scale = 1 / (xx * yy - xy * xy)
    return scale * (yy * u - xy * v), scale * (xx * v - xy * u)


def build_spot_list(
    series: Series,
    found: SeriesSpots,
    *,
    pixel_size: float | None = None,
    ellipticity: float = 0.0,
    axis: float = 0.0,
    energy: float | None = None,
    tilt_axis: float | None = None,
) -> SpotList:
    """Spots in pixels to a list in reciprocal space.

    Parameters
    ----------
    series : Series
    found : SeriesSpots
    pixel_size : float, optional
        By default the file's [1/angstrom].
    ellipticity, axis : float
        Of the pattern; see :class:`ediff_solve.frames.rings.Ring`.
    energy : float, optional
        By default the file's [eV].
    tilt_axis : float, optional
        Direction of the goniometer's axis, from qx towards qy [degree].

    Returns
    -------
    SpotList
        Frames that hold no crystal are left out. Beside the spots: the intensity's standard error,
        significance, row and column on the detector as in the file, and ``alpha`` where it is
        known.

    Raises
    ------
    UserError
        The pixel size is not known, or no frame holds a crystal.
    """
    size = pixel_size or series.pixel_size
    if size is None:
        raise UserError(
            f"{series.name}: pixel_size: the file has none in units that are known; give it in "
            "1/angstrom"
        )
    if not (np.isfinite(size) and size > 0):
        raise UserError(f"pixel_size: expected 1/angstrom above 0, got {size:g}")
    empty = set(found.empty.tolist())
    kept = [n for n in range(len(found.frames)) if n not in empty]
    if not kept:
        raise UserError(
            f"{series.name}: no crystal: none of {len(found.frames)} frames has {found.fewest} "
            "spots or more that noise would not show"
        )
    places = found.places()
    raw = np.concatenate([found.frames[n].spots for n in kept])
    frame = np.repeat(kept, [len(found.frames[n].spots) for n in kept])
    every = np.concatenate([places[n] for n in kept])
    u, v = correct_ellipse(every[:, 0], every[:, 1], ellipticity, axis)
    more = {
        "intensity_error": raw[:, 3],
        "significance": raw[:, 4],
        "detector_row": raw[:, 0],
        "detector_column": raw[:, 1],
    }
    if series.alpha is not None:
        more["alpha"] = series.alpha[frame]
    bright = raw[:, 2] > 0
    known = {
        "energy": energy or series.energy,
        "pixel_size": float(size),
        "ellipticity": ellipticity or None,
        "ellipse_axis": axis if ellipticity else None,
        "tilt_axis": tilt_axis,
        "frames": len(found.frames),
    }
    return SpotList(
        frame[bright].astype(np.int64),
        size * u[bright],
        size * v[bright],
        raw[bright, 2],
        series.describe(),
        {name: values[bright] for name, values in more.items()},
        {name: value for name, value in known.items() if value is not None},
    )


def format_found(series: Series, found: SeriesSpots, spots: SpotList | None = None) -> str:
    """Lines that say what was read and what was found in it."""
    n, total = len(found.frames), sum(len(f.spots) for f in found.frames)
    gains = [f.gain for f in found.frames]
    offset = np.round(found.centre.offset, 2)
    where = (
        f"{offset[0]:+.2f} rows, {offset[1]:+.2f} columns from the direct beam, by "
        f"{found.centre.weight:.0f} Friedel pairs above chance"
        if found.centre.credible
        else "at the direct beam's blob: too few Friedel pairs to tell better"
    )
    lines = [
        series.describe(),
        f"{'spots':16} {total}, {total / n:.1f} a frame; width {found.sigma:.2f} pixels",
        f"{'noise':16} variance {np.median(gains):.3g} x mean; {int(found.bad.sum())} bad pixels",
        f"{'q = 0':16} {where}",
    ]
    if found.gap is not None:
        gap = found.gap
        lines.append(
            f"{'gap':16} {gap.rows:g} rows at {gap.row:g}, {gap.columns:g} columns at "
            f"{gap.column:g}, missing in the file, put in"
        )
    if found.fixed:
        lines.append(f"{'left out':16} {found.fixed} spots that never move")
    empty = found.empty
    if len(empty):
        named = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
        lines.append(f"{'no crystal':16} {len(empty)} of {n} frames: {named}")
    if spots is not None:
        reach = float(np.hypot(spots.qx, spots.qy).max())
        lines.append(
            f"{'reach':16} {reach:.2f} 1/angstrom; qx down the picture, qy to the right, no 2 pi"
        )
    return "\n".join(lines)

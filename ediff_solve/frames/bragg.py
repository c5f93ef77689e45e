"""Bragg lists of users' spots, checked, and in files: CSV, Parquet, NPZ and py4DSTEM's HDF5."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write
from ediff_utils.paper.scan.bragg import (
    BraggLists,
    build_bragg_lists,
)

#: Spots closer to the origin are the direct beam [1/angstrom]; the first reflection of a cell of
#: 50 angstrom lies there, far above any lattice of this project.
DIRECT_BEAM_RADIUS = 0.02
#: No pattern has half of its spots beyond this [1/angstrom]: 79 mrad at 300 kV. Pixels, 1/nm and
#: coordinates multiplied by 2 pi as a rule do.
MAX_MEDIAN_Q = 4.0
#: More probe positions than any camera writes: a column mistaken for positions, not a scan.
MAX_POSITIONS = 2**26

_SPOT_COLUMNS = ("qx", "qy", "intensity")
_EMD_ENDINGS = (".h5", ".hdf5", ".emd")
#: Of files that hold spots and nothing else.
LIST_ENDINGS = (".csv", ".parquet", ".npz")
#: Of other programs' lists; see :func:`ediff_solve.frames.lists.reading.read_spot_list`.
OTHER_ENDINGS = (".refl", ".pts", ".cif_pets", ".cif", ".xds", ".hspy", ".zspy")
_ENDINGS = (*LIST_ENDINGS, *_EMD_ENDINGS, *OTHER_ENDINGS)
#: No archive holds more than so many times its own size: that is deflate's limit.
_MOST_DEFLATED = 1032
_SHAPE_KEY = b"scan_shape"
#: What columns are called, in letters alone; and names that are about patterns, of whatever kind.
_NAMES = {
    "x": ("x", "rx", "scanx", "probex", "posx", "positionx", "xscan", "row", "rowindex"),
    "y": ("y", "ry", "scany", "probey", "posy", "positiony", "yscan", "column", "columnindex"),
    "frame": (
        ("frame", "frames", "frameindex", "frameid", "frameno", "framenumber")
        + ("image", "imageindex", "imageid", "imageno", "imagenumber")
        + ("pattern", "patternindex", "patternid", "patternno", "patternnumber")
    ),
    "qx": ("qx",),
    "qy": ("qy",),
    "intensity": ("intensity",),
}
_PLACE = re.compile(r"frame|image|img|pattern|scan|probe|position|slice|stack|^r[xy]|^[xy]$|^pos")


def _numbers(values: object, name: str, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"{where}{name}: expected one number a spot, got shape {array.shape}")
    if array.dtype.kind not in "iufbO":
        raise UserError(f"{where}{name}: expected numbers, got {array.dtype.name}")
    try:
        array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}{name}: expected numbers: {error}") from None
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise UserError(f"{where}{name}: spot {bad[0] + 1} is {array[bad[0]]}, expected a number")
    return array


def _positions(values: object, name: str, where: str) -> np.ndarray:
    array = _numbers(values, name, where)
    bad = np.flatnonzero((array < 0) | (array != np.round(array)) | (array >= MAX_POSITIONS))
    if bad.size:
        raise UserError(
            f"{where}{name}: spot {bad[0] + 1} has {array[bad[0]]:g}, "
            f"expected whole probe positions counted from 0, below {MAX_POSITIONS}"
        )
    return array.astype(np.int64)


def build_checked_lists(
    x: object,
    y: object,
    qx: object,
    qy: object,
    intensity: object,
    *,
    shape: tuple[int, int] | None = None,
    radius: float = DIRECT_BEAM_RADIUS,
    where: str = "",
) -> BraggLists:
    """Check spots and build lists of them, without the direct beam.

    See :func:`ediff_utils.paper.scan.bragg.build_bragg_lists`. A UserError tells, after ``where``,
    as a rule the file, of a value that is no number, not finite or out of its range, of coordinates
    that cannot be in 1/angstrom, and of no spots but those within ``radius`` of the origin, the
    direct beam, which are dropped [1/angstrom].
    """
    columns = {"x": _positions(x, "x", where), "y": _positions(y, "y", where)}
    spots = zip(_SPOT_COLUMNS, (qx, qy, intensity), strict=True)
    columns |= {name: _numbers(values, name, where) for name, values in spots}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{where}columns of different lengths: {lengths}")
    if (bad := np.flatnonzero(columns["intensity"] < 0)).size:
        value = columns["intensity"][bad[0]]
        raise UserError(f"{where}intensity: spot {bad[0] + 1} has {value:g}, expected 0 or more")
    bright = columns["intensity"] > 0
    if not bright.any():
        raise UserError(f"{where}no spots: expected at least one of intensity above 0")
    _check_units(columns["qx"][bright], columns["qy"][bright], where)
    least = int(columns["x"][bright].max()) + 1, int(columns["y"][bright].max()) + 1
    shape = least if shape is None else (int(shape[0]), int(shape[1]))
    if least[0] > shape[0] or least[1] > shape[1]:
        raise UserError(f"{where}x, y: positions go to {least}, beyond the scan's {shape}")
    if shape[0] * shape[1] > MAX_POSITIONS:
        raise UserError(f"{where}x, y: a scan of {shape[0]} x {shape[1]} probe positions, too many")
    lists = drop_direct_beam(build_bragg_lists(**columns, shape=shape), radius)
    if len(lists) == 0:
        raise UserError(f"{where}no spots besides the direct beam")
    return lists


def _check_units(qx: np.ndarray, qy: np.ndarray, where: str) -> None:
    median = float(np.median(np.hypot(qx, qy)))
    if median > MAX_MEDIAN_Q:
        raise UserError(
            f"{where}qx, qy: half of the spots are farther out than {median:.3g}; this looks like "
            f"pixels, 1/nm or a factor 2 pi, expected 1/angstrom without 2 pi"
        )


def read_bragg_lists(
    path: str | Path,
    *,
    node: str | None = None,
    direct_beam_radius: float = DIRECT_BEAM_RADIUS,
) -> BraggLists:
    """Read Bragg lists and remove the direct beam.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.parquet`` or ``.npz`` with the columns ``qx``, ``qy``, ``intensity`` and either
        ``x`` and ``y``, or ``frame``, or none of them for a single pattern; or ``.h5`` as py4DSTEM
        writes it, with ``BraggVectors``, whose calibration is applied, or a ``PointListArray`` with
        the fields ``qx``, ``qy``, ``intensity`` in 1/angstrom (all that versions before 0.13 have);
        or a file of DIALS, XDS, PETS2, Jana or pyxem as
        :func:`ediff_solve.frames.lists.reading.read_spot_list` reads it.
    node : str, optional
        Name or path inside the ``.h5`` file; needed where it holds more than one.
    direct_beam_radius : float
        See :func:`drop_direct_beam`; a negative one keeps all.

    Returns
    -------
    BraggLists
        Frames are positions along x.

    Raises
    ------
    UserError
        The file is not there, cannot be read, lacks a column or calibration, or holds values that
        no list of spots has.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if not (path.is_file() or (path.is_dir() and ending == ".zspy")):
        raise UserError(f"{path}: no such file; expected Bragg lists ({', '.join(_ENDINGS)})")
    if ending not in _ENDINGS:
        raise UserError(f"{path}: unknown ending '{path.suffix}', expected {', '.join(_ENDINGS)}")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    table: Mapping[str, object]
    shape: tuple[int, int] | None
    if ending in _EMD_ENDINGS:
        # py4DSTEM takes seconds to import: only those who need it wait
        from ediff_solve.frames.emd import read_emd

        table, shape = read_emd(path, node)
    elif ending in OTHER_ENDINGS:
        from ediff_solve.frames.lists.reading import read_spot_list

        table, shape = read_spot_list(path).as_positions()
    else:
        table, shape = _READERS[ending](path)
    where = f"{path}: "
    columns = _with_positions(table, where)
    return build_checked_lists(**columns, shape=shape, radius=direct_beam_radius, where=where)


def _rename(table: Mapping[str, object], where: str) -> dict[str, object]:
    """Columns by their own names; a UserError where one seems to tell spots apart, but how?"""
    found: dict[str, object] = {}
    source: dict[str, str] = {}
    for name, values in table.items():
        plain = re.sub(r"[^a-z]", "", str(name).casefold())
        known = next((own for own, others in _NAMES.items() if plain in others), str(name))
        if known in found:
            raise UserError(f"{where}columns {source[known]} and {name}: both are the {known}")
        if known not in _NAMES and _PLACE.search(plain):
            raise UserError(
                f"{where}column {name}: not understood; expected frame, or x and y, for the "
                "pattern that a spot belongs to"
            )
        found[known], source[known] = values, str(name)
    return found


def _with_positions(table: Mapping[str, object], where: str) -> dict[str, object]:
    table = _rename(table, where)
    missing = [name for name in _SPOT_COLUMNS if name not in table]
    if ("x" in table) != ("y" in table):
        missing.append("y" if "x" in table else "x")
    if missing:
        there = ", ".join(map(str, table)) or "none"
        raise UserError(f"{where}no column {', '.join(missing)}; the columns there: {there}")
    zeros = np.zeros(len(np.atleast_1d(np.asarray(table["qx"]))), dtype=int)
    # Frames are positions along x.
    frame = _positions(table["frame"], "frame", where) if "frame" in table else zeros
    positions = {"x": table.get("x", frame), "y": table.get("y", zeros)}
    return positions | {name: table[name] for name in _SPOT_COLUMNS}


_Table = tuple[Mapping[str, object], tuple[int, int] | None]


def _read_csv(path: Path) -> _Table:
    try:
        with path.open(encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without a line, which pandas names
            names = [name.strip() for name in file.readline().split(",")]
            numbers = np.loadtxt(file, delimiter=",", comments=None, ndmin=2)
        if len(set(names)) == len(names) == numbers.shape[1]:
            return dict(zip(names, numbers.T, strict=True)), None
    except (ValueError, OSError):
        pass
    # Text, gaps and quotes are for pandas, whose import takes half a second.
    import pandas as pd

    try:
        frame = pd.read_csv(path, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a CSV table: {error}") from None
    return {str(name).strip(): frame[name].to_numpy() for name in frame.columns}, None


def _read_parquet(path: Path) -> _Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet table, or cut short: {error}") from None
    stored = (table.schema.metadata or {}).get(_SHAPE_KEY)
    shape = None
    if stored is not None:
        rows, columns = stored.decode().split(",")
        shape = (int(rows), int(columns))
    return {name: table[name].to_numpy() for name in table.column_names}, shape


def _read_npz(path: Path) -> _Table:
    try:
        _check_npz(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, None
    # Damaged archives end in whatever zip, its compressions and numpy run into.
    except Exception as error:
        raise UserError(f"{path}: not an NPZ archive of arrays, or cut short: {error}") from None


def _check_npz(path: Path) -> None:
    """Raise a ValueError for arrays that are larger than what the archive holds of them."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0
                if version != (1, 0):
                    read = np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            size = math.prod(shape) * dtype.itemsize
            if size > entry.file_size or entry.file_size > _MOST_DEFLATED * path.stat().st_size:
                raise ValueError(f"{entry.filename} says that it has {shape} numbers")


_READERS = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}


def write_bragg_lists(lists: BraggLists, path: str | Path) -> None:
    """Write a Parquet table that :func:`read_bragg_lists` gives back, save for a direct beam.

    Its columns are x, y, qx, qy, intensity, and the scan's shape stands beside them. The file is
    replaced in one step.
    """
    x, y = (np.repeat(values, lists.n_spots) for values in (lists.x, lists.y))
    columns = {"x": x, "y": y, "qx": lists.qx, "qy": lists.qy, "intensity": lists.intensity}
    table = pa.table(columns)
    table = table.replace_schema_metadata({_SHAPE_KEY: "{},{}".format(*lists.shape)})
    with atomic_write(Path(path)) as partial:
        pq.write_table(table, partial)


def drop_direct_beam(lists: BraggLists, radius: float = DIRECT_BEAM_RADIUS) -> BraggLists:
    """Remove the direct beam, the spots within ``radius`` of the origin [1/angstrom].

    Positions that had no other are left out.
    """
    return lists.keep_spots(np.hypot(lists.qx, lists.qy) > radius)

"""Lists of diffraction spots over a scan, which the paper's maps of gold start from (figure 7).

Conventions, those of py4DSTEM: ``x`` and ``qx`` run along the first array axis (rows, drawn
downwards), ``y`` and ``qy`` along the second one (columns, drawn to the right). Coordinates are in
1/angstrom without 2 pi and count from the direct beam; intensities may be in any one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ediff_utils.core.errors import UserError

#: Spots closer to the origin are the direct beam [1/angstrom]; the first reflection of a cell of
#: 50 angstrom lies there, far above any lattice of this project.
DIRECT_BEAM_RADIUS = 0.02
#: No pattern has half of its spots beyond this [1/angstrom]: 79 mrad at 300 kV. Pixels, 1/nm and
#: coordinates multiplied by 2 pi as a rule do.
MAX_MEDIAN_Q = 4.0
#: More probe positions than any camera writes: a column mistaken for positions, not a scan.
MAX_POSITIONS = 2**26

_SPOT_COLUMNS = ("qx", "qy", "intensity")


@dataclass(frozen=True)
class BraggLists:
    """The spots at every probe position of a scan, flat; made by :func:`build_bragg_lists`.

    Parameters
    ----------
    x, y : ndarray of int, shape (n,)
        Probe positions that have at least one spot, sorted by x, then y.
    offsets : ndarray of int, shape (n + 1,)
        Position i has the spots ``offsets[i]`` to ``offsets[i + 1] - 1``.
    qx, qy : ndarray, shape (n_spots,)
        Spot positions [1/angstrom].
    intensity : ndarray, shape (n_spots,)
        Spot intensities, above zero.
    shape : tuple of int
        Probe positions of the scan along x and y, those without spots included.
    n_dark : int
        Spots of intensity 0 that were left out.
    """

    x: np.ndarray
    y: np.ndarray
    offsets: np.ndarray
    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    shape: tuple[int, int]
    n_dark: int = 0

    def __len__(self) -> int:
        """Return the number of probe positions that have spots."""
        return len(self.x)

    @property
    def n_spots(self) -> np.ndarray:
        """Number of spots at each position; shape (n,)."""
        return np.diff(self.offsets)

    @property
    def total_intensity(self) -> np.ndarray:
        """Sum of the intensities at each position; shape (n,)."""
        return np.add.reduceat(self.intensity, self.offsets[:-1])

    def spots(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return qx, qy and intensity of the spots at one of the n positions."""
        part = slice(self.offsets[position], self.offsets[position + 1])
        return self.qx[part], self.qy[part], self.intensity[part]

    def keep_spots(self, mask: np.ndarray) -> BraggLists:
        """Return the lists with the spots of ``mask`` (bool, shape (n_spots,)) only."""
        x, y = (np.repeat(v, self.n_spots)[mask] for v in (self.x, self.y))
        spots = (v[mask] for v in (self.qx, self.qy, self.intensity))
        return replace(_group(x, y, *spots, shape=self.shape), n_dark=self.n_dark)

    def keep_positions(self, mask: np.ndarray) -> BraggLists:
        """Return the lists with the positions of ``mask`` (bool, shape (n,)) only."""
        return self.keep_spots(np.repeat(mask, self.n_spots))


def _group(
    x: np.ndarray,
    y: np.ndarray,
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    shape: tuple[int, int],
) -> BraggLists:
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    new = np.ones(len(x), dtype=bool)
    new[1:] = (np.diff(x) != 0) | (np.diff(y) != 0)
    starts = np.flatnonzero(new)
    offsets = np.append(starts, len(x))
    return BraggLists(x[starts], y[starts], offsets, qx[order], qy[order], intensity[order], shape)


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


def build_bragg_lists(
    x: object,
    y: object,
    qx: object,
    qy: object,
    intensity: object,
    *,
    shape: tuple[int, int] | None = None,
    where: str = "",
) -> BraggLists:
    """Check spots, sort them by probe position and leave out those of intensity 0.

    Parameters
    ----------
    x, y : array_like of int, shape (n_spots,)
        Probe position of each spot.
    qx, qy : array_like, shape (n_spots,)
        Spot positions [1/angstrom, without 2 pi].
    intensity : array_like, shape (n_spots,)
        Spot intensities in any one unit.
    shape : tuple of int, optional
        Size of the scan; as large as the positions ask for by default.
    where : str
        What stands before the field's name in an error, as a rule the file.

    Raises
    ------
    UserError
        A value that is no number, not finite or out of its range; no spots; coordinates that can
        not be in 1/angstrom.
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
    columns = {name: values[bright] for name, values in columns.items()}
    if not bright.any():
        raise UserError(f"{where}no spots: expected at least one of intensity above 0")
    _check_units(columns["qx"], columns["qy"], where)
    least = (int(columns["x"].max()) + 1, int(columns["y"].max()) + 1)
    shape = least if shape is None else (int(shape[0]), int(shape[1]))
    if least[0] > shape[0] or least[1] > shape[1]:
        raise UserError(f"{where}x, y: positions go to {least}, beyond the scan's {shape}")
    if shape[0] * shape[1] > MAX_POSITIONS:
        raise UserError(f"{where}x, y: a scan of {shape[0]} x {shape[1]} probe positions, too many")
    return replace(_group(**columns, shape=shape), n_dark=int((~bright).sum()))


def _check_units(qx: np.ndarray, qy: np.ndarray, where: str) -> None:
    median = float(np.median(np.hypot(qx, qy)))
    if median > MAX_MEDIAN_Q:
        raise UserError(
            f"{where}qx, qy: half of the spots are farther out than {median:.3g}; this looks like "
            f"pixels, 1/nm or a factor 2 pi, expected 1/angstrom without 2 pi"
        )


def drop_direct_beam(lists: BraggLists, radius: float = DIRECT_BEAM_RADIUS) -> BraggLists:
    """Remove the direct beam: the spots within ``radius`` of the origin.

    Parameters
    ----------
    lists : BraggLists
        Spots in 1/angstrom from the direct beam.
    radius : float
        Largest distance from the origin that is taken for the direct beam [1/angstrom].

    Returns
    -------
    BraggLists
        Without those spots, and without the positions that had no other.
    """
    return lists.keep_spots(np.hypot(lists.qx, lists.qy) > radius)

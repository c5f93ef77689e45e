"""Lists of diffraction spots over a scan, which the paper's maps of gold start from (figure 7).

Conventions, those of py4DSTEM: ``x`` and ``qx`` run along the first array axis (rows, drawn
downwards), ``y`` and ``qy`` along the second one (columns, drawn to the right). Coordinates are in
1/angstrom without 2 pi and count from the direct beam; intensities may be in any one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike


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
        return replace(build_bragg_lists(x, y, *spots, shape=self.shape), n_dark=self.n_dark)

    def keep_positions(self, mask: np.ndarray) -> BraggLists:
        """Return the lists with the positions of ``mask`` (bool, shape (n,)) only."""
        return self.keep_spots(np.repeat(mask, self.n_spots))


def build_bragg_lists(
    x: ArrayLike,
    y: ArrayLike,
    qx: ArrayLike,
    qy: ArrayLike,
    intensity: ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
) -> BraggLists:
    """Sort spots by probe position, x and y, and leave out those of intensity 0.

    All have shape (n_spots,); ``qx`` and ``qy`` are in 1/angstrom without 2 pi. ``shape`` is that
    of the scan, by default as large as the positions ask for.
    """
    bright = np.asarray(intensity) > 0
    places = np.array([np.asarray(values, np.int64)[bright] for values in (x, y)])
    order = np.lexsort(places[::-1])
    places = places[:, order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any(np.diff(places), axis=0)
    starts = np.flatnonzero(new)
    spots = [np.asarray(v, float)[bright][order] for v in (qx, qy, intensity)]
    return BraggLists(
        places[0, starts],
        places[1, starts],
        np.append(starts, len(order)),
        spots[0],
        spots[1],
        spots[2],
        shape=shape or (int(places[0].max()) + 1, int(places[1].max()) + 1),
        n_dark=int((~bright).sum()),
    )

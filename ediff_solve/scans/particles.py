"""Particles of a scan, told apart by their patterns: no truth and no threshold on brightness."""

from __future__ import annotations

import numpy as np

from ediff_solve.scans.kernels import likeness
from ediff_utils.core.errors import UserError
from ediff_utils.paper.scan.bragg import BraggLists

#: Spots of two patterns nearer than this are the same [1/angstrom].
TOLERANCE = 0.02
#: Share of a pattern that its region's first one has to explain.
LEAST_EXPLAINED = 0.6
#: Smaller regions are rims and noise, no particles [positions].
MIN_PIXELS = 3


def segment_particles(
    lists: BraggLists,
    min_spots: int = 5,
    *,
    tolerance: float = TOLERANCE,
    least: float = LEAST_EXPLAINED,
    min_pixels: int = MIN_PIXELS,
) -> np.ndarray:
    """Regions of the scan that are one grain each.

    A region starts at the pattern that is most like its neighbours, well inside a grain, and takes
    in what touches it and shows its spots. A twin's domains are regions of their own where they
    have spots of their own; of overlapping particles a position goes to the one that explains it.

    Parameters
    ----------
    lists : BraggLists
    min_spots : int
        Positions with fewer are in no region.
    tolerance : float
        Spots of two patterns nearer than this are the same [1/angstrom].
    least : float
        Share of a pattern, its spots weighted by the root of their intensities, that the region's
        first one has to explain.
    min_pixels : int
        Smaller regions are left out.

    Returns
    -------
    ndarray of int, shape (nx, ny)
        From 1, the largest region first; 0 where there is none.

    Raises
    ------
    UserError
        A number out of its range.
    """
    if not tolerance > 0 or not 0 < least <= 1:
        raise UserError("tolerance, least: expected above 0, and above 0 and up to 1")
    kept = lists.keep_positions(lists.n_spots >= min_spots)
    index = np.full(lists.shape, -1)
    index[kept.x, kept.y] = np.arange(len(kept))
    spots = (
        kept.offsets.astype(np.int64),
        np.ascontiguousarray(kept.qx, float),
        np.ascontiguousarray(kept.qy, float),
        np.sqrt(np.ascontiguousarray(kept.intensity, float)),
        float(tolerance),
    )
    like = likeness.neighbour_likeness(index, spots)
    first = np.lexsort((-kept.total_intensity, -like))
    order = np.column_stack([kept.x, kept.y])[first].astype(np.int64)
    labels = likeness.grow_regions(index, order, spots, float(least))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    ranked = np.argsort(-sizes, kind="stable")
    ranked = ranked[sizes[ranked] >= max(min_pixels, 1)]
    renumbered = np.zeros(len(sizes), np.int64)
    renumbered[ranked] = np.arange(1, len(ranked) + 1)
    return renumbered[labels]

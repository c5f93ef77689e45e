"""A 4D-STEM scan: maps of what the forests say, figures 7 and S10.

The steps are those of "Experimental Electron Diffraction Patterns": positions with few
spots are dropped, the crystal system is predicted, filtered in a 5 x 5 window, left empty where the
confidence is low, and the lattice is predicted by the cubic forests and by those of the system.
Positions follow :mod:`ediff_utils.paper.scan.bragg`: x counts rows, y columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.features import compute_features
from ediff_utils.paper.scan.bragg import BraggLists
from ediff_utils.paper.votes import lead

if TYPE_CHECKING:
    from ediff_utils.paper.models import Hierarchy

#: Positions filtered at once: bounds the memory of a large scan.
_CHUNK = 50_000


def compute_scan_features(
    lists: BraggLists, min_spots: int, normalisation: str = "scattered"
) -> tuple[BraggLists, np.ndarray]:
    """Drop the positions with few spots and turn the others into vectors.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam.
    min_spots : int
        Fewest spots that make a pattern.
    normalisation : str
        See :func:`ediff_utils.paper.features.compute_features`.

    Returns
    -------
    BraggLists, and ndarray of shape (n, n_features)
        What is left, n positions.

    Raises
    ------
    UserError
        No position has that many spots.
    """
    kept = lists.keep_positions(lists.n_spots >= min_spots)
    if len(kept) == 0:
        raise UserError(
            f"min_spots: no probe position has {min_spots} spots or more, "
            f"the most is {lists.n_spots.max()}"
        )
    spots = kept.qx, kept.qy, kept.intensity, kept.offsets
    return kept, compute_features(*spots, normalisation)


def _filter_votes(fractions: np.ndarray, size: int) -> np.ndarray:
    """Median filter of the vote fractions, (nx, ny, n_classes), NaN where there is no pattern.

    Crystal systems have no order, so the median of their codes would depend on how the codes were
    dealt out: between pixels called the first and the fifth class it finds the third. Here each
    class's fraction of the votes is filtered by itself, and the class that leads afterwards is the
    prediction. Like any median it removes lone pixels and keeps the edges of particles. Support
    never turns into crystal: NaN stays, and has no say in an odd window of ``size``.
    """
    if size % 2 == 0:
        raise UserError(f"median_size: expected an odd number of pixels, got {size}")
    half = size // 2
    padded = np.pad(fractions, ((half, half), (half, half), (0, 0)), constant_values=np.nan)
    # the stub knows one axis only
    windows = sliding_window_view(padded, (size, size), axis=(0, 1))  # type: ignore[call-overload]
    x, y = np.nonzero(~np.isnan(fractions[..., 0]))
    filtered = np.full_like(fractions, np.nan)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        filtered[x[part], y[part]] = np.nanmedian(windows[x[part], y[part]], axis=(2, 3))
    return filtered


def build_maps(
    lists: BraggLists,
    kept: BraggLists,
    classes: Sequence[str],
    probabilities: np.ndarray,
    settings: ScanSettings,
) -> pd.DataFrame:
    """Crystal systems of a scan from probabilities at each position: filtered, and left empty.

    ``lists`` are of all positions, ``kept`` of those n that have an answer: ``probabilities``, (n,
    n_classes). ``median_size`` and ``min_confidence`` of the settings are used. A row a position of
    the scan, those without spots included, by x, then y: x, y, n_spots, dark_field (sum of the
    spots' intensities), probability_<system> (NaN without an answer), system_raw (the likeliest),
    system (after the filter; None where empty), confidence (lead of the first over the second class
    after the filter); space_group (0), a_cubic, a, b, c (NaN) [angstrom], to be filled.
    """
    maps = _empty_maps(lists, classes)
    rows = kept.x * lists.shape[1] + kept.y
    names = np.array(classes, dtype=object)
    everywhere = np.full((*lists.shape, len(names)), np.nan)
    everywhere[kept.x, kept.y] = probabilities
    filtered = _filter_votes(everywhere, settings.median_size)[kept.x, kept.y]
    best, confidence = lead(filtered)
    maps.loc[rows, [f"probability_{name}" for name in names]] = probabilities
    maps.loc[rows, "system_raw"] = names[probabilities.argmax(axis=1)]
    called = names[best]
    called[~(confidence >= settings.min_confidence)] = None
    maps.loc[rows, "system"] = called
    maps.loc[rows, "confidence"] = confidence
    return maps


def _empty_maps(lists: BraggLists, classes: Sequence[str]) -> pd.DataFrame:
    """Maps without an answer anywhere."""
    x, y = (axis.ravel() for axis in np.indices(lists.shape))
    rows = lists.x * lists.shape[1] + lists.y
    n_spots, dark_field = np.zeros(len(x), dtype=np.int64), np.zeros(len(x))
    n_spots[rows], dark_field[rows] = lists.n_spots, lists.total_intensity
    columns = {"x": x, "y": y, "n_spots": n_spots, "dark_field": dark_field}
    columns |= dict.fromkeys([f"probability_{name}" for name in classes], np.nan)
    columns |= {"confidence": np.nan, "space_group": 0}
    columns |= dict.fromkeys(("a_cubic", "a", "b", "c"), np.nan)
    maps = pd.DataFrame(columns)
    for name in ("system", "system_raw"):
        maps.insert(4 + len(classes), name, np.full(len(maps), None, dtype=object))
    return maps


def compute_scan_maps(
    lists: BraggLists,
    hierarchy: Hierarchy,
    settings: ScanSettings,
    normalisation: str = "scattered",
) -> pd.DataFrame:
    """Crystal system, space group and lattice at every probe position, by the forests.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam.
    hierarchy : Hierarchy
        The forests.
    settings : ScanSettings
        ``min_spots``, ``median_size`` and ``min_confidence`` are used.
    normalisation : str
        The one that the forests were trained with.

    Returns
    -------
    DataFrame
        See :func:`build_maps`; probabilities are fractions of the trees. a_cubic is by the cubic
        forests, space_group (0 where empty), a, b and c by those of ``system`` [angstrom].
    """
    kept, features = compute_scan_features(lists, settings.min_spots, normalisation)
    fractions = hierarchy.system_votes(features) / hierarchy.n_trees
    maps = build_maps(lists, kept, hierarchy.classes, fractions, settings)
    rows = kept.x * lists.shape[1] + kept.y
    system = maps.loc[rows, "system"].to_numpy()
    sure = ~pd.isna(system)
    if sure.any() and "cubic" in hierarchy.classes:
        cubic = hierarchy.predict_lattice(features[sure], "cubic")
        maps.loc[rows[sure], "a_cubic"] = cubic[:, 0]
    for name in sorted(set(system[sure])):
        own = system == name
        maps.loc[rows[own], ["a", "b", "c"]] = hierarchy.predict_lattice(features[own], name)
        groups, _ = hierarchy.predict_space_group(features[own], name)
        maps.loc[rows[own], "space_group"] = groups
    return maps

"""Spots of a scan to grains: spots that come and go together belong together.

A spot that neighbouring positions share is one *track*; tracks that are seen at the same positions
are one grain. Its pattern has fewer stray spots than a position's, none of overlapping grains, and
places that are means over many positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ediff_solve.phases.kernels.linking import link_spots

#: Fewest positions of a track, and tracks of a grain.
FEWEST_POSITIONS, FEWEST_TRACKS = 3, 6
#: Overlap (Jaccard) of the positions of two tracks that starts a grain; and of a track's with the
#: grain's that makes it part of it.
START, JOIN = 0.5, 0.35
#: A grain is where this share of its tracks is.
PRESENT = 0.5
#: Positions that are neighbours: the diagonal ones too.
NEIGHBOURS = 1.5


@dataclass(frozen=True)
class GrainPattern:
    """One grain's spots, and where it is seen.

    Parameters
    ----------
    spots : ndarray, shape (n, 3)
        qx, qy [1/angstrom] and mean intensity, strongest first.
    positions : ndarray of int, shape (m,)
        Numbers of the scan's positions.
    """

    spots: np.ndarray
    positions: np.ndarray


def find_tracks(
    places: np.ndarray, patterns: list[np.ndarray], tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connect spots of neighbouring positions that are nearest to each other.

    Parameters
    ----------
    places : ndarray of int, shape (positions, 2)
    patterns : list of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of each position.
    tolerance : float
        Farthest that a spot may move from one position to the next [1/angstrom].

    Returns
    -------
    track, owner : ndarray of int, shape (spots,)
        Track and position of each spot, positions one after the other.
    spots : ndarray, shape (tracks, 3)
        Mean qx, qy, weighed by the root of the intensity, and mean intensity.
    """
    offsets = np.cumsum([0, *map(len, patterns)])
    owner = np.repeat(np.arange(len(patterns)), np.diff(offsets))
    flat = np.concatenate(patterns)
    pairs = cKDTree(places).query_pairs(NEIGHBOURS, output_type="ndarray")
    x, y = (np.ascontiguousarray(flat[:, k]) for k in (0, 1))
    ends = link_spots(x, y, offsets, pairs.reshape(-1, 2), tolerance)
    graph = coo_matrix((np.ones(len(ends[0])), ends), shape=(len(flat), len(flat)))
    _, track = connected_components(graph, directed=False)
    weight = np.sqrt(flat[:, 2])
    total = np.bincount(track, weight)
    mean = [np.bincount(track, weight * flat[:, k]) / total for k in (0, 1)]
    strength = np.bincount(track, flat[:, 2]) / np.bincount(track)
    return track, owner, np.column_stack([*mean, strength])


def find_grains(
    places: np.ndarray, patterns: list[np.ndarray], tolerance: float = 0.01
) -> list[GrainPattern]:
    """Grains of a scan, those of most spots first; see :func:`find_tracks`."""
    track, owner, spots = find_tracks(places, patterns, tolerance)
    seen = coo_matrix((np.ones(len(track)), (track, owner)), shape=(len(spots), len(patterns)))
    table = seen.tocsr()
    table.data[:] = 1
    size = np.asarray(table.sum(axis=1)).ravel()
    kept = np.flatnonzero(size >= FEWEST_POSITIONS)
    table, size, spots = table[kept], size[kept], spots[kept]
    groups = _group(table, size)
    grains = []
    for members, where in groups:
        own = spots[members]
        own = _one_each(own[np.argsort(-own[:, 2], kind="stable")], tolerance)
        grains.append(GrainPattern(own, where))
    return sorted(grains, key=lambda g: -len(g.spots))


def _group(seen: csr_matrix, size: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tracks and positions of each grain, from a table of tracks by positions."""
    both = (seen @ seen.T).tocoo()
    jaccard = both.data / (size[both.row] + size[both.col] - both.data)
    near = jaccard >= START
    ends = both.row[near], both.col[near]
    overlaps = coo_matrix((jaccard[near], ends), shape=both.shape).tocsr()
    free = np.ones(len(size), bool)
    support = np.asarray(overlaps.sum(axis=1)).ravel()
    groups = []
    while free.any():
        seed = int(np.argmax(np.where(free, support, -1)))
        members = overlaps[seed].indices
        members = np.sort(members[free[members]])
        if len(members) < FEWEST_TRACKS:
            break
        here = np.zeros(seen.shape[1], bool)
        for _ in range(2):
            here = np.asarray(seen[members].mean(axis=0)).ravel() >= PRESENT
            common = seen @ here.astype(float)
            overlap = common / np.maximum(size + here.sum() - common, 1)
            joined = np.flatnonzero((overlap >= JOIN) & free)
            if len(joined) >= FEWEST_TRACKS:
                members = joined
        gone = np.union1d(members, [seed])
        free[gone] = False
        support -= np.asarray(overlaps[:, gone].sum(axis=1)).ravel()
        groups.append((members, np.flatnonzero(here)))
    return groups


def _one_each(spots: np.ndarray, distance: float) -> np.ndarray:
    """Spots without the weaker of two that are nearer than a distance; strongest first."""
    kept = np.ones(len(spots), bool)
    for n in range(len(spots)):
        if kept[n]:
            kept[n + 1 :] &= np.hypot(*(spots[n + 1 :, :2] - spots[n, :2]).T) > distance
    return spots[kept]


def find_centre(patterns: list[np.ndarray], reach: float = 0.04, blur: float = 0.004) -> np.ndarray:
    """Where the direct beam lies, by the middles of pairs of spots of all patterns.

    Opposite spots gather there; other pairs make a smooth background. Shape (2,) [1/angstrom];
    zeros where fewer than twenty middles lie within ``reach`` of the origin.
    """
    near = [np.empty((0, 2))]
    for spots in patterns:
        i, j = np.triu_indices(len(spots), 1)
        middle = (spots[i, :2] + spots[j, :2]) / 2
        near.append(middle[np.hypot(*middle.T) < reach])
    middles = np.concatenate(near)
    if len(middles) < 20:
        return np.zeros(2)
    tree = cKDTree(middles)
    number = tree.query_ball_point(middles, blur, return_length=True)
    centre = middles[int(np.argmax(number))]
    for _ in range(5):
        centre = middles[tree.query_ball_point(centre, blur)].mean(axis=0)
    return centre

"""A scan's phases from its Bragg lists: nets where one orientation prevails, else unit cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ediff_solve.phases.assigning import TOLERANCE, assign_positions
from ediff_solve.phases.discovery import FEWEST_SPOTS, Discovered, discover_phases
from ediff_solve.phases.grains import GrainPattern, find_grains
from ediff_solve.phases.nets import Net, Prevailing, compare_far_positions, find_net, find_peaks
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.paper.scan.bragg import BraggLists

#: How far a spot moves from a position to the next is measured; it is taken to be between these
#: [1/angstrom], and so many times the median.
MOVES, TIMES_MEDIAN = (0.01, 0.02), 2.5


@dataclass(frozen=True)
class ScanPhases:
    """What is told of a scan.

    Parameters
    ----------
    lists : BraggLists
    grains : list of GrainPattern
        Their positions are numbers in ``lists``.
    prevailing : Prevailing
        Whether one orientation prevails.
    net : Net or None
        Where it does; then no cell is looked for: the third axis is not seen.
    discovered : Discovered
    positions : DataFrame
        See :func:`ediff_solve.phases.assigning.assign_positions`.
    tolerance : float
        How far spots move from a position to the next, at most [1/angstrom].
    """

    lists: BraggLists
    grains: list[GrainPattern]
    prevailing: Prevailing
    net: Net | None
    discovered: Discovered
    positions: pd.DataFrame
    tolerance: float


def position_spots(lists: BraggLists) -> list[np.ndarray]:
    """qx, qy [1/angstrom] and intensity of each position, strongest first; shape (n, 3) each."""
    spots = [np.column_stack(lists.spots(n)) for n in range(len(lists))]
    return [s[np.argsort(-s[:, 2], kind="stable")] for s in spots]


def measure_moves(places: np.ndarray, patterns: list[np.ndarray]) -> float:
    """How far a spot moves from a position to its neighbour [1/angstrom], for tracks to follow.

    A multiple of the median distance of spots that are nearest to each other in neighbouring
    positions; the half that is stronger.
    """
    moves = [np.empty(0)]
    pairs = sorted(cKDTree(places).query_pairs(1.0))
    for a, b in pairs[:: max(1, len(pairs) // 400)]:
        strong = [s[: max(3, len(s) // 2), :2] for s in (patterns[a], patterns[b])]
        distance = cKDTree(strong[1]).query(strong[0], distance_upper_bound=2 * MOVES[1])[0]
        moves.append(distance[np.isfinite(distance)])
    found = np.concatenate(moves)
    return float(np.clip(TIMES_MEDIAN * np.median(found), *MOVES)) if len(found) else MOVES[0]


def find_phases(lists: BraggLists, energy: float = 300e3, seed: int = 0) -> ScanPhases:
    """Find the phases of a scan, and where they are.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam [1/angstrom].
    energy : float
        Of the electrons [eV].
    seed : int
        Of the decoys.

    Returns
    -------
    ScanPhases
    """
    places = np.column_stack([lists.x, lists.y])
    patterns = position_spots(lists)
    tolerance = measure_moves(places, patterns)
    prevailing = compare_far_positions(places, patterns, seed)
    net = find_net(patterns) if prevailing.prevails else None
    grains: list[GrainPattern] = []
    if net is None:
        grains = find_grains(places, patterns, tolerance)
        grains = [g for g in grains if len(g.spots) >= FEWEST_SPOTS]
    discovered = discover_phases([g.spots for g in grains], energy, seed=seed)
    reach = (max(TOLERANCE[0], 0.8 * tolerance), TOLERANCE[1])
    half = wavelength(energy) / 2
    positions = assign_positions(patterns, discovered.phases, discovered.distortion, half, reach)
    return ScanPhases(lists, grains, prevailing, net, discovered, positions, tolerance)


def map_net(found: ScanPhases, net: Net) -> tuple[np.ndarray, list[np.ndarray]]:
    """Peaks of a scan's spots, shape (n, 3), and how many spots of each of a net's weak rows.

    The latter are maps, shape (nx, ny), of the sub-nets of which ``is_weak`` says so.
    """
    images = []
    for sub in net.sub_nets:
        if sub.is_weak:
            image = np.zeros(found.lists.shape, int)
            image[found.lists.x, found.lists.y] = sub.seen
            images.append(image)
    return find_peaks(position_spots(found.lists)), images

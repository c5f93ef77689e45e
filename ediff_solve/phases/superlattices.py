"""Larger cells of an accepted phase, of index 2 and 3, by the spots that it leaves.

Spots of a superlattice may be few: one in twenty of all spots is enough where chance would put one
in a thousand onto its points. Asking all spots would miss it, as the larger cell makes every spot
cheaper for chance.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ediff_solve.lattice.kernels.fitting import reduce_basis
from ediff_solve.phases.judging import Judged, distances
from ediff_solve.phases.orienting import SLAB

#: Gain [logarithm] that makes a superlattice believed, spots that it has at least, and the share
#: of the spots that the smaller cell leaves.
BELIEVED, FEWEST, LEAST_SHARE = 15.0, 8, 0.15
#: A superlattice's spots are in so many patterns at least.
FEWEST_PATTERNS = 3
#: Spots of neighbouring rows that overlap are pushed aside: nearer to a point of the smaller cell
#: than this they are its own [1/angstrom].
BESIDE = 0.015


def find_changes(index: int) -> list[np.ndarray]:
    """Rows that span each sublattice of prime index of a direct lattice; shape (3, 3) each.

    Hermite normal forms of the index (Santoro and Mighell 1972, Acta Cryst. A28, 284).
    """
    found = []
    for place in range(3):
        for above in product(range(index), repeat=place):
            change = np.eye(3)
            change[place, place] = index
            change[place, :place] = 0
            change[:place, place] = above
            found.append(change)
    return found


def find_superlattice(judged: Judged) -> np.ndarray | None:
    """The reciprocal basis of a larger cell, reduced [1/angstrom]; None where nothing tells of one.

    Among the spots that the cell leaves in the patterns that it clearly explains, those on points
    of the larger cell are counted against chance.
    """
    left = []
    for p in judged.clear:
        own = judged.stack.part(int(p))
        vectors, reach = judged.stack.vectors[own], judged.stack.reach[own]
        basis = judged.oriented.bases[p]
        rest = ~judged.oriented.explained[own] & (distances(basis, vectors)[0] > BESIDE)
        left.append((basis, vectors[rest], reach[rest]))
    total = sum(len(v) for _, v, _ in left)
    if total < FEWEST:
        return None
    best, best_gain = None, BELIEVED
    for index in (2, 3):
        for change in find_changes(index):
            gain = _compute_gain(left, change, index)
            if gain > best_gain:
                best, best_gain = change, gain
    if best is None:
        return None
    larger = np.linalg.inv(best).T @ judged.reciprocal
    reduce_basis(larger)
    return larger


def _compute_gain(
    left: list[tuple[np.ndarray, np.ndarray, np.ndarray]], change: np.ndarray, index: int
) -> float:
    """Logarithm of how much likelier spots that are left over are by a superlattice."""
    finer = np.linalg.inv(change).T
    hits, chances = [], []
    for basis, vectors, reach in left:
        plane, along = distances(finer @ basis, vectors)
        hits.append((plane < reach) & (along < SLAB))
        density = (index - 1) / abs(np.linalg.det(basis))
        chances.append(np.minimum(density * np.pi * reach**2 * 2 * SLAB, 0.9))
    hit, chance = np.concatenate(hits), np.concatenate(chances).mean()
    k, n = int(hit.sum()), len(hit)
    share = k / n
    if k < FEWEST or share < max(LEAST_SHARE, chance):
        return 0.0
    if sum(h.any() for h in hits) < FEWEST_PATTERNS:
        return 0.0
    share = min(share, 1 - 1e-6)
    return float(k * np.log(share / chance) + (n - k) * np.log((1 - share) / (1 - chance)))

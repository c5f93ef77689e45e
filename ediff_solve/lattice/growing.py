"""From a base and its matches to the refined lattice of all patterns that it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ediff_solve.lattice.kernels.fitting import FEWEST_SPOTS, STRAY_COST, divide_out, reduce_basis
from ediff_solve.lattice.kernels.search import REACH, SHARPEST
from ediff_solve.lattice.matching import find_orientations
from ediff_solve.lattice.refine import Free, JointFit, Spots, refine, reindex
from ediff_solve.lattice.single import plausible

#: The spots of a pattern that the cell has oriented are first indexed up to this distance, or up to
#: that of so many spots [1/angstrom].
INNER, FEWEST_INNER = 0.9, 8
#: Largest distance of a spot from its point in the plane, and in the first of these rounds
#: [1/angstrom].
WIDEST, WIDEST_AT_FIRST = 0.010, 0.015
#: It is taken to be no smaller [1/angstrom] until the last round, which leaves out what is near a
#: point by chance.
NARROWEST = 0.001
#: A pattern whose residuals are so many times the median pattern's was matched wrongly, unless they
#: are smaller than the second number [1/angstrom]; rounds in which such patterns are dropped.
MISFIT, SMALLEST_MISFIT, MOST_DROPS = 2.5, 0.001, 4
#: A pattern is explained where so many of its spots are indexed; more than chance indexes.
EXPLAINED = 0.5
#: Where more than this share of the spots is indexed no superlattice is looked for; the gain that
#: makes one believed, and how often one is looked for.
COMPLETE, WORTH_ENLARGING, MOST_ENLARGEMENTS = 0.98, 25.0, 3
#: It must index this share of them; one of index 4 does so in two steps.
WORTH_SHARE = 0.3
#: Mean square of the residuals in the plane, in variances, of the spots that it indexes beyond the
#: old ones: 2 for its own spots, 6 for spots that lie anywhere within reach.
OWN_SPOTS, CHANCE_SPOTS = 2.0, 4.0
#: Rounds of orienting patterns that are left over; those of which less than this share is indexed
#: are oriented anew.
MOST_COMPLETIONS, WELL_EXPLAINED = 3, 0.8
#: Chance indexes a spot with density times area; so many times that is not chance.
OVER_CHANCE = 2.0


def settle(fit: JointFit, spots: Sequence[Spots], slab: float, free: Free) -> JointFit | None:
    """Refine with the indices that the patterns' own lattices gave, drop misfits, index anew."""
    for _ in range(MOST_DROPS):
        fit = refine(fit, spots, free)
        misfits = {p: _misfit(fit, p, spots[p]) for p in fit.hkl}
        limit = max(MISFIT * float(np.median(list(misfits.values()))), SMALLEST_MISFIT)
        good = [p for p in misfits if misfits[p] <= limit]
        if len(good) == len(misfits):
            break
        fit = fit.only(good)
    grown = _grow(fit, spots, slab, free)
    if grown is None:
        return None
    grown = _only_explained(grown, spots)
    return grown if grown.rotations and plausible(grown.reciprocal) else None


def _squares(fit: JointFit, p: int, spots: Spots, used: np.ndarray) -> np.ndarray:
    """Squares of the residuals in the plane of some spots of a pattern [1/angstrom^2]."""
    v = fit.hkl[p][used, :3] @ fit.reciprocal @ fit.rotations[p]
    left = (fit.undistorted(p, spots).vectors[used] - v)[:, :2]
    return (left**2).sum(axis=1)


def _misfit(fit: JointFit, p: int, spots: Spots) -> float:
    """Root of the median square of a pattern's residuals in the plane [1/angstrom]."""
    return float(np.sqrt(np.median(_squares(fit, p, spots, fit.hkl[p][:, 3] > 0))))


def complete(
    fit: JointFit,
    spots: Sequence[Spots],
    orders: Sequence[np.ndarray],
    slab: float,
    free: Free,
) -> JointFit:
    """Orient the patterns that are left over or badly explained, and refine with them."""
    for _ in range(MOST_COMPLETIONS):
        well = [p for p in fit.hkl if fit.indexed(p) >= WELL_EXPLAINED * spots[p].x.size]
        if len(well) == len(spots):
            break
        core = fit.only(well) if well else fit
        added = _orient_rest(core, spots, orders, slab)
        if added.rotations.keys() == core.rotations.keys():
            break
        # From inner spots outwards: a cell that few patterns settled may be off by some per cent.
        grown = _grow(added, spots, slab, free, reaches=(INNER, np.inf, np.inf))
        grown = None if grown is None else _only_explained(grown, spots)
        if grown is None or grown.total <= fit.total:
            break
        fit = grown
    return fit


def _grow(
    fit: JointFit,
    spots: Sequence[Spots],
    slab: float,
    free: Free,
    reaches: tuple[float, ...] = (np.inf, np.inf),
) -> JointFit | None:
    """Index and refine in turn, from the inner spots outwards."""
    for n, reach in enumerate(reaches):
        last = n == len(reaches) - 1
        within = _within(fit, SHARPEST if last else NARROWEST)
        # From two spots an orientation is rough.
        within = WIDEST_AT_FIRST if np.isfinite(reach) else within
        indexed = reindex(fit, spots, within, slab, reach)
        if not indexed.total:
            return None
        fit = refine(indexed, spots, free)
        if n == len(reaches) - 2 and free.cell:
            fit = _divided(fit)
    return fit


def _within(fit: JointFit, least: float) -> float:
    """How far a spot may lie from its point in the plane [1/angstrom]."""
    return min(max(REACH * fit.position_error, least), WIDEST)


def _divided(fit: JointFit) -> JointFit:
    """The sublattice, where the indices of all spots obey a condition modulo 2 or 3."""
    reciprocal = fit.reciprocal.copy()
    if divide_out(np.concatenate(list(fit.hkl.values())), reciprocal):
        reduce_basis(reciprocal)
        return replace(fit, reciprocal=reciprocal)
    return fit


def _chance(fit: JointFit) -> float:
    """Share of random spots that a pattern of this lattice would index."""
    area = np.pi * _within(fit, NARROWEST) ** 2
    return min(2 * REACH * fit.spread / abs(np.linalg.det(fit.reciprocal)) * area, 1.0)


def _only_explained(fit: JointFit, spots: Sequence[Spots]) -> JointFit:
    least = max(EXPLAINED, OVER_CHANCE * _chance(fit))
    return fit.only([p for p in fit.hkl if fit.indexed(p) >= least * spots[p].x.size])


def _orient_rest(
    fit: JointFit, spots: Sequence[Spots], orders: Sequence[np.ndarray], slab: float
) -> JointFit:
    """Patterns that the lattice has not explained yet, oriented by it."""
    rotations, scales, centres = dict(fit.rotations), dict(fit.scales), dict(fit.centres)
    for p, pattern in enumerate(spots):
        if p in rotations or pattern.x.size < FEWEST_SPOTS:
            continue
        best = 0
        inner = np.sort(np.hypot(pattern.x, pattern.y))[min(FEWEST_INNER, pattern.x.size) - 1]
        reaches = (max(INNER, 1.001 * float(inner)), np.inf, np.inf)
        start = replace(fit, scales={p: 1.0}, centres={p: np.zeros(2)}, hkl={})
        for rotation in find_orientations(fit.reciprocal, start.undistorted(p, pattern), orders[p]):
            alone = replace(start, rotations={p: rotation})
            grown = _grow(alone, spots, slab, Free(cell=False), reaches=reaches)
            if grown is not None and grown.indexed(p) > best:
                best = grown.indexed(p)
                rotations[p], scales[p], centres[p] = grown.rotations[p], 1.0, np.zeros(2)
    return replace(fit, rotations=rotations, scales=scales, centres=centres)


def gain(fit: JointFit, spots: Sequence[Spots], stray_cost: float = STRAY_COST) -> float:
    """Gain in the logarithm of the likelihood, as for one pattern, over all patterns."""
    sigma = max(fit.position_error, SHARPEST)
    volume = 1 / abs(np.linalg.det(fit.reciprocal))
    best = -np.log((2 * np.pi) ** 1.5 * volume * sigma**2 * fit.spread)
    # The squares of an indexed spot's three residuals over their variances are one each on average.
    indexed = fit.total
    total = sum(s.x.size for s in spots)
    parameters = 6 + 3 * len(fit.hkl)
    value = indexed * (best - 1.5) - (total - indexed) * stray_cost
    return float(value - 0.5 * parameters * np.log(total))


def enlarge(fit: JointFit, spots: Sequence[Spots], slab: float, free: Free) -> JointFit:
    """A superlattice of index 2 or 3 where spots that are left over tell of one.

    Superlattice spots may be rare. With the share f of the spots in the old lattice, one in p of
    the new one's points, the old ones' likelihood is p f times what equal points would give.
    Peaks that are none gather along rows of the lattice, but not on its points.
    """
    for _ in range(MOST_ENLARGEMENTS):
        total = sum(spots[p].x.size for p in fit.hkl)
        indexed = fit.total
        if indexed > COMPLETE * total:
            break
        best, best_gain = None, gain(fit, spots, 0.0) + WORTH_ENLARGING
        within = _within(fit, NARROWEST)
        for index, change in _SUBLATTICES:
            # A sublattice of the direct lattice is a superlattice of the reciprocal one.
            larger = replace(fit, reciprocal=np.linalg.inv(change).T @ fit.reciprocal)
            larger = reindex(larger, spots, within, slab)
            more = larger.total
            # Chance finds places for some of the rest, a true superlattice for most of it.
            if more - indexed < WORTH_SHARE * (total - indexed):
                continue
            # Within its own tolerance it may lose a pattern of few indexed spots.
            added = [_added(fit, larger, p, spots[p]) for p in fit.hkl if p in larger.hkl]
            added = np.concatenate(added)
            if added.mean() > CHANCE_SPOTS:
                continue
            share = indexed / more
            unequal = indexed * np.log(share * index)
            unequal += (more - indexed) * np.log((1 - share) * index / (index - 1))
            value = gain(larger, spots, 0.0) + unequal - (added - OWN_SPOTS).sum() / 2
            if value > best_gain:
                best, best_gain = larger, value
        if best is None:
            break
        reciprocal = best.reciprocal.copy()
        reduce_basis(reciprocal)
        grown = _grow(replace(best, reciprocal=reciprocal), spots, slab, free)
        if grown is None:
            break
        fit = grown
    return fit


def _added(fit: JointFit, larger: JointFit, p: int, spots: Spots) -> np.ndarray:
    """Squares of the residuals in the plane, in variances, of spots that one fit alone indexes."""
    new = (larger.hkl[p][:, 3] > 0) & (fit.hkl[p][:, 3] == 0)
    return _squares(larger, p, spots, new) / max(fit.position_error, SHARPEST) ** 2


def _sublattices() -> list[tuple[int, np.ndarray]]:
    """Index, and rows that span it, of every sublattice of index 2 or 3."""
    found: dict[bytes, tuple[int, np.ndarray]] = {}
    for p in (2, 3):
        for condition in product(range(p), repeat=3):
            if not any(condition):
                continue
            last = max(k for k in range(3) if condition[k])
            scaled = np.array(condition) * (1 if condition[last] == 1 else p - 1) % p
            change = np.eye(3)
            change[:, last] -= scaled
            change[last] = 0
            change[last, last] = p
            found.setdefault(change.tobytes(), (p, change))
    return list(found.values())


_SUBLATTICES = _sublattices()

"""The lattice of a crystal from several patterns of it.

Each pattern alone gives lattices whose scale along the beam is uncertain. For one of them as base,
the metric of each other pattern's lattice is looked for among the base's; every match says what the
base's scale is, and the scale that most patterns agree on makes the base a lattice in three
dimensions. Its cell and all orientations are then refined against all spots, patterns that did not
match are oriented by the cell, and the base that explains the spots best is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.bravais import BravaisLattice, find_bravais
from ediff_solve.lattice.growing import complete, enlarge, gain, settle
from ediff_solve.lattice.kernels.centre import find_centre
from ediff_solve.lattice.matching import Match, match_lattices, rotation_between
from ediff_solve.lattice.refine import Free, JointFit, Spots
from ediff_solve.lattice.single import (
    SLAB,
    SLAB_SPREAD,
    LatticeCandidate,
    check_spots,
    solve_pattern,
)
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Bases that are tried; candidates of a pattern that may be one, or are matched with one.
N_BASES, N_PER_PATTERN, N_OTHERS = 24, 4, 6
#: A pattern's further candidates are not asked where one matches with this chi-square; a base that
#: this share of the patterns supports is tried before others are looked at.
CLEAR_MATCH, ENOUGH_SUPPORT = 4.0, 0.6
#: Two matches agree on the base's scale within about this [logarithm].
SCALE_WIDTH = 0.02
#: A match weighs exp(-chi-square over this): twice that of a normal error, as errors are rough.
CHI_SOFTNESS = 4.0
#: Lattices whose volumes differ by less than this are one.
SAME_VOLUME = 0.01
#: A base that indexes this share of all patterns' spots needs no rival.
SURE = 0.75
#: Lattices, best first, for which the patterns left over are oriented.
MOST_COMPLETED = 3


@dataclass(frozen=True)
class JointLattice:
    """The lattice that several patterns share.

    Parameters
    ----------
    bravais : BravaisLattice
        Its symbol, Niggli and conventional cell, with uncertainties.
    reciprocal : ndarray, shape (3, 3)
        Rows are the reduced reciprocal basis vectors in the crystal's frame, before symmetry is
        imposed [1/angstrom].
    orientations : ndarray, shape (patterns, 3, 3)
        Columns are the pattern's axes in the crystal's frame, g_pattern = g @ R; NaN for a pattern
        that the lattice does not explain. Where a pattern shows no curvature, its mirror image
        through the plane fits as well.
    scales : ndarray, shape (patterns,)
        Camera-length scale of each pattern against the mean; ones unless they were refined.
    hkl : tuple of ndarray of int, shape (n, 3)
        Indices of each pattern's spots in ``reciprocal``; zero where it has none.
    fractions : ndarray, shape (patterns,)
        Share of each pattern's spots that are indexed.
    position_error : float
        Standard deviation of a coordinate of a spot [1/angstrom].
    gain : float
        Logarithm of how much likelier the spots are than at random.
    centres : ndarray, shape (patterns, 2)
        Where each pattern's centre lies [1/angstrom]; zeros unless it was looked for.
    ellipse : ndarray, shape (2,)
        Entries of E = ((e1, e2), (e2, -e1)): measured positions are (1 + E) times the true ones.
    """

    bravais: BravaisLattice
    reciprocal: np.ndarray
    orientations: np.ndarray
    scales: np.ndarray
    hkl: tuple[np.ndarray, ...]
    fractions: np.ndarray
    position_error: float
    gain: float
    centres: np.ndarray
    ellipse: np.ndarray


def solve_patterns(
    patterns: Sequence[tuple],
    energy: float = 300e3,
    slab: float = SLAB,
    slab_spread: float = SLAB_SPREAD,
    free_scales: bool = False,
    free_distortion: bool = False,
    candidates: Sequence[list[LatticeCandidate]] | None = None,
) -> list[JointLattice]:
    """Lattices that several patterns of one crystal share, best first.

    Parameters
    ----------
    patterns : sequence of tuple of ndarray
        (qx, qy) or (qx, qy, intensity) of each, without the direct beam [1/angstrom].
    energy, slab, slab_spread
        See :func:`ediff_solve.lattice.single.solve_pattern`.
    free_scales : bool
        Refine the camera-length scale of each pattern too.
    free_distortion : bool
        Refine an ellipse that all patterns share, and each pattern's centre, which is looked for
        beforehand.
    candidates : sequence of list of LatticeCandidate, optional
        Of each pattern, where they are known already.

    Returns
    -------
    list of JointLattice
        Empty where nothing can be told: no lattice makes the spots likelier than chance does.

    Raises
    ------
    UserError
        No patterns, or spots that are not finite.
    """
    if not len(patterns):
        raise UserError("patterns: expected at least one")
    checked = [check_spots(p[0], p[1], p[2] if len(p) > 2 else None) for p in patterns]
    free = Free(free_scales, free_distortion)
    shifts = np.zeros((len(checked), 2))
    if free_distortion:
        shifts = np.array([find_centre(x, y)[0] for x, y, _ in checked])
        checked = [(x - c[0], y - c[1], i) for (x, y, i), c in zip(checked, shifts, strict=True)]
    if candidates is None:
        candidates = [solve_pattern(*p, energy, N_OTHERS, slab, slab_spread) for p in checked]
    half = wavelength(energy) / 2
    spots = [Spots(x, y, half) for x, y, _ in checked]
    orders = [np.lexsort((s.height, -p[2])) for s, p in zip(spots, checked, strict=True)]
    found = _settled(candidates, spots, slab, free)
    found.sort(key=lambda pair: -pair[0])
    if found:
        # A lattice that many patterns back already leaves the others no chance.
        sure = found[0][1].total > SURE * sum(s.x.size for s in spots)
        for n in range(1 if sure else min(MOST_COMPLETED, len(found))):
            fit = complete(found[n][1], spots, orders, slab, free)
            found[n] = (gain(fit, spots), fit)
        found.sort(key=lambda pair: -pair[0])
        best = enlarge(found[0][1], spots, slab, free)
        found[0] = (gain(best, spots), best)
    lattices = [
        _joint_lattice(fit, value, spots, shifts) for value, fit in _distinct(found) if value > 0
    ]
    return [one for one in lattices if one is not None]


def _settled(
    candidates: Sequence[list[LatticeCandidate]],
    spots: Sequence[Spots],
    slab: float,
    free: Free,
) -> list[tuple[float, JointFit]]:
    """Refined bases with their gains, up to one that leaves nothing to be wished for."""
    total = sum(s.x.size for s in spots)
    found: list[tuple[float, JointFit]] = []
    for start in _starts(candidates, free.distortion):
        fit = settle(start, spots, slab, free)
        if fit is not None:
            found.append((gain(fit, spots), fit))
            if fit.total > SURE * total:
                break
    return found


def _starts(candidates: Sequence[list[LatticeCandidate]], distorted: bool) -> Iterator[JointFit]:
    """Bases to refine: those that many patterns support at once, then the best of the others."""
    pool = [(c, p) for p, each in enumerate(candidates) for c in each[:N_PER_PATTERN]]
    pool.sort(key=lambda pair: -pair[0].gain * pair[0].fraction)
    waiting: list[tuple[float, JointFit]] = []
    for base, p in pool:
        rank, start = find_consensus(p, base, candidates, distorted)
        if len(start.rotations) < ENOUGH_SUPPORT * len(candidates):
            waiting.append((rank, start))
        else:
            yield start
    waiting.sort(key=lambda start: -start[0])
    yield from (start for _, start in waiting[:N_BASES])


def _distinct(found: list[tuple[float, JointFit]]) -> list[tuple[float, JointFit]]:
    kept: list[tuple[float, JointFit]] = []
    for value, fit in found:
        volume = abs(np.linalg.det(fit.reciprocal))
        if all(abs(abs(np.linalg.det(f.reciprocal)) / volume - 1) > SAME_VOLUME for _, f in kept):
            kept.append((value, fit))
    return kept


def find_consensus(
    number: int,
    base: LatticeCandidate,
    candidates: Sequence[list[LatticeCandidate]],
    distorted: bool,
) -> tuple[float, JointFit]:
    """How many patterns support a base, and the base at the scale that they agree on.

    The patterns that agree are oriented by their matches.
    """
    votes: list[tuple[int, LatticeCandidate, Match]] = []
    for p, each in enumerate(candidates):
        for other in each[:N_OTHERS] if p != number else ():
            matches = match_lattices(base, other, distorted)
            votes += [(p, other, match) for match in matches]
            if matches and matches[0].chi_square < CLEAR_MATCH:
                break
    agreed: dict[int, tuple[LatticeCandidate, Match]] = {}
    factor, supporters = 1.0, 0.0
    if votes:
        scales = np.array([m.log_scale for _, _, m in votes])
        weights = np.exp(-np.array([m.chi_square for _, _, m in votes]) / CHI_SOFTNESS)
        owners = np.array([p for p, _, _ in votes])
        near = np.exp(-0.5 * ((scales[:, None] - scales) / SCALE_WIDTH) ** 2) * weights
        # Each pattern has one voice: its best match near the scale in question.
        support = sum(near[:, owners == p].max(axis=1) for p in np.unique(owners))
        best = int(np.argmax(support))
        supporters = float(support[best])
        chosen = np.exp(-0.5 * ((scales - scales[best]) / SCALE_WIDTH) ** 2) * weights
        factor = float(np.exp(np.average(scales, weights=chosen)))
        for v in np.argsort(chosen):
            if abs(scales[v] - scales[best]) < 3 * SCALE_WIDTH:
                agreed[votes[v][0]] = votes[v][1:]
    reciprocal = base.scaled(factor).reciprocal
    rotations, hkl = {number: np.eye(3)}, {number: _with_flag(base.hkl, base.indexed)}
    for p, (other, match) in agreed.items():
        scaled = other.scaled(float(np.exp(match.other_log_scale))).reciprocal
        basis = np.linalg.inv(match.indices) @ scaled
        rotations[p], sign = rotation_between(reciprocal, basis)
        hkl[p] = _with_flag(sign * other.hkl @ match.indices, other.indexed)
    # Among bases with the same support the one whose own pattern says more goes first.
    rank = supporters + base.fraction * base.gain / (1 + base.gain)
    return rank, JointFit(
        reciprocal=reciprocal,
        rotations=rotations,
        scales=dict.fromkeys(rotations, 1.0),
        hkl=hkl,
        position_error=base.position_error,
        spread=SLAB_SPREAD,
        covariance=np.zeros((6, 6)),
        centres={p: np.zeros(2) for p in rotations},
        ellipse=np.zeros(2),
    )


def _with_flag(hkl: np.ndarray, indexed: np.ndarray) -> np.ndarray:
    return np.column_stack([hkl, indexed]).astype(np.int64)


def _joint_lattice(
    fit: JointFit, value: float, spots: Sequence[Spots], shifts: np.ndarray
) -> JointLattice | None:
    """What is told of a fit; nothing of one whose cell cannot be reduced."""
    direct = np.linalg.inv(fit.reciprocal).T
    try:
        bravais = find_bravais(direct, fit.metric_covariance())
    except UserError:
        return None
    orientations = np.full((len(spots), 3, 3), np.nan)
    scales, fractions = np.ones(len(spots)), np.zeros(len(spots))
    hkl = [np.zeros((s.x.size, 3), np.int64) for s in spots]
    centres = shifts.copy()
    for p, rotation in fit.rotations.items():
        centres[p] += fit.centres[p]
        orientations[p], scales[p] = rotation, fit.scales[p]
        fractions[p] = fit.indexed(p) / max(spots[p].x.size, 1)
        hkl[p] = fit.hkl[p][:, :3] * fit.hkl[p][:, 3:]
    return JointLattice(
        bravais=bravais,
        reciprocal=fit.reciprocal,
        orientations=orientations,
        scales=scales,
        hkl=tuple(hkl),
        fractions=fractions,
        position_error=fit.position_error,
        gain=value,
        centres=centres,
        ellipse=fit.ellipse,
    )

"""A cell refined over the patterns that it explains, and made as symmetric as they allow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ediff_solve.lattice.bravais import BravaisLattice, find_bravais, niggli_cell
from ediff_solve.lattice.growing import enlarge
from ediff_solve.lattice.kernels.fitting import divide_out, reduce_basis
from ediff_solve.lattice.refine import Free, JointFit, Spots, refine, reindex
from ediff_solve.phases.judging import PATTERN_GAIN, Judged, View, judge
from ediff_solve.phases.orienting import LOOSE, SLAB, TIGHT
from ediff_utils.core.errors import UserError

#: Primitive cells that are looked for [cubic angstrom], their shortest and longest axis [angstrom].
VOLUMES, AXES = (10.0, 800.0), (1.8, 35.0)
#: Rounds of orienting and refining at most, and those with loose tolerances.
ROUNDS, LOOSE_ROUNDS = 5, 2
#: In each round spots are indexed within the first [1/angstrom], up to the second from the centre.
STEPS = ((0.014, 0.6), (0.012, 0.9), (0.010, np.inf), (0.008, np.inf))
#: A further round is worth this part of the value.
WORTH = 1.005
#: Errors that a fit begins with, in the plane and along the beam [1/angstrom].
FIRST_ERRORS = (0.004, 0.018)
#: Metrics are symmetrised within these parts; a higher symmetry is kept if it keeps so much value.
SYMMETRISE, KEEP = (0.015, 0.03, 0.05), 0.9


@dataclass(frozen=True)
class Refined:
    """A cell, the distortion that goes with it, and its worth."""

    fit: JointFit
    distortion: np.ndarray
    judged: Judged


def is_allowed(reciprocal: np.ndarray) -> bool:
    """Whether a cell, rows of its reciprocal basis [1/angstrom], is one that is looked for."""
    try:
        cell = niggli_cell(np.linalg.inv(reciprocal).T)
    except (UserError, np.linalg.LinAlgError):
        return False
    volume = abs(np.linalg.det(cell))
    axes = np.linalg.norm(cell, axis=1)
    fits = VOLUMES[0] < volume < VOLUMES[1] and axes.min() > AXES[0] and axes.max() < AXES[1]
    return bool(fits)


def as_spots(patterns: list[np.ndarray], half: float) -> list[Spots]:
    """Patterns as the least squares of :mod:`ediff_solve.lattice` take them."""
    return [Spots(p[:, 0].copy(), p[:, 1].copy(), half) for p in patterns]


def refine_cell(reciprocal: np.ndarray, view: View, distorted: bool = False) -> Refined | None:
    """Refine a cell and orientations over the patterns that it explains.

    Where ``distorted`` is set the scan's ellipse and centre are refined too, in the last rounds.
    That is for the first phase, which has most spots: patterns of few spots, each with an
    orientation of its own, would bend it. None where nothing is explained.
    """
    best: Refined | None = None
    spots = as_spots(view.patterns, view.half)
    for n in range(ROUNDS):
        free = Free(False, distorted and n >= LOOSE_ROUNDS)
        judged = judge(reciprocal, view, LOOSE if n < LOOSE_ROUNDS else TIGHT)
        fit = _refit(judged, spots, view.distortion, free)
        if fit is None:
            break
        fit = _divided(fit)
        if not is_allowed(fit.reciprocal):
            break
        if n > 0:
            fit = _enlarged(fit, spots, free)
        reciprocal = fit.reciprocal
        if free.distortion:
            centre = np.median(list(fit.centres.values()), axis=0)
            view = view.distorted(np.concatenate([fit.ellipse, centre]))
        found = Refined(fit, view.distortion, judge(reciprocal, view))
        old = None if best is None else best.judged.value
        if old is not None and n > LOOSE_ROUNDS and found.judged.value < WORTH * old:
            break
        if old is None or found.judged.value >= old:
            best = found
    return best


def _refit(
    judged: Judged, spots: list[Spots], distortion: np.ndarray, free: Free
) -> JointFit | None:
    """Least squares over what is clearly explained; None where that is fewer than two patterns."""
    good = judged.clear
    if len(good) < 2:
        good = np.flatnonzero(judged.gains > PATTERN_GAIN)
    if len(good) < 2:
        return None
    rotations = {int(p): judged.rotation(int(p)) for p in good}
    fit = JointFit(
        reciprocal=judged.reciprocal,
        rotations=rotations,
        scales=dict.fromkeys(rotations, 1.0),
        hkl={},
        position_error=FIRST_ERRORS[0],
        spread=FIRST_ERRORS[1],
        covariance=np.zeros((6, 6)),
        centres={p: distortion[2:].copy() for p in rotations},
        ellipse=distortion[:2].copy(),
    )
    for within, reach in STEPS:
        fit = reindex(fit, spots, within, SLAB, reach)
        if not fit.total or len(fit.rotations) < 2:
            return None
        fit = refine(fit, spots, free)
    return fit


def _divided(fit: JointFit) -> JointFit:
    """The sublattice, where the indices of all spots obey a condition modulo 2 or 3."""
    reciprocal = fit.reciprocal.copy()
    if divide_out(np.concatenate(list(fit.hkl.values())), reciprocal):
        reduce_basis(reciprocal)
        return replace(fit, reciprocal=reciprocal)
    return fit


def _enlarged(fit: JointFit, spots: list[Spots], free: Free) -> JointFit:
    try:
        larger = enlarge(fit, spots, SLAB, free)
    except UserError:
        return fit
    return larger if is_allowed(larger.reciprocal) else fit


def symmetrise(
    best: Refined, view: View, distorted: bool = False
) -> tuple[Refined, BravaisLattice]:
    """Start again from cells of higher symmetry; they win where they explain nearly as much.

    Also the Bravais lattice of the highest symmetry whose exact cell explains nearly as much.
    """
    for tolerance in SYMMETRISE:
        lattice = find_bravais(np.linalg.inv(best.fit.reciprocal).T, tolerance=tolerance)
        start = np.linalg.inv(lattice.niggli).T
        other = refine_cell(start, view.distorted(best.distortion), distorted)
        if other is not None and other.judged.value > KEEP * best.judged.value:
            best = other
    return best, find_symmetry(best, view)


def find_symmetry(refined: Refined, view: View) -> BravaisLattice:
    """Bravais lattice of the highest symmetry that costs a cell little of its value."""
    direct = np.linalg.inv(refined.fit.reciprocal).T
    covariance = refined.fit.metric_covariance()
    chosen = find_bravais(direct, covariance)
    own = view.distorted(refined.distortion)
    for tolerance in SYMMETRISE:
        lattice = find_bravais(direct, covariance, tolerance=tolerance)
        if lattice.symbol == chosen.symbol:
            continue
        value = judge(np.linalg.inv(lattice.niggli).T, own).value
        if value > KEEP * refined.judged.value:
            chosen = lattice
    return chosen

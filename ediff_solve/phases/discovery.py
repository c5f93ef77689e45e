"""Unit cells that together explain the grains of a scan, one phase after the other.

Candidates of the single-pattern solver; their scale along the beam, by what the other grains say;
refinement of cell, ellipse and orientations; what decoys explain; explained spots go; again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.bravais import BravaisLattice, same_lattice
from ediff_solve.lattice.growing import settle
from ediff_solve.lattice.joint import find_consensus
from ediff_solve.lattice.refine import Free
from ediff_solve.lattice.single import solve_pattern
from ediff_solve.phases.grains import find_centre
from ediff_solve.phases.judging import (
    PATTERN_GAIN,
    Judged,
    Null,
    View,
    distances,
    judge,
    judge_decoys,
    make_decoys,
)
from ediff_solve.phases.orienting import LOOSE, SLAB, orient_cell, stack_patterns
from ediff_solve.phases.refining import (
    Refined,
    as_spots,
    find_symmetry,
    is_allowed,
    refine_cell,
    symmetrise,
)
from ediff_solve.phases.superlattices import find_superlattice
from ediff_solve.phases.twinning import find_untwinned
from ediff_utils.bloch.scattering import wavelength

#: Fewest spots of a grain that is asked.
FEWEST_SPOTS = 8
#: Candidates of a pattern; those that may be a base; cells that all patterns are asked about; those
#: that are refined, and that are held against decoys.
N_CANDIDATES, N_BASES, N_ASKED, N_REFINED, N_FINAL = 4, 3, 24, 6, 3
#: Decoys of those, and of a phase that is to be accepted.
FEW_DECOYS, N_DECOYS = 3, 8
#: A phase has this gain beyond its decoys' in each pattern, and so many times the best decoy's.
PHASE_GAIN, DECOY_RATIO = 40.0, 4.0
#: And so many patterns, in so many directions of the beam, or they are too few.
FEWEST_PATTERNS, FEWEST_DIRECTIONS = 4, 2
#: Of fewer than these, or less times the best decoy's gain, nothing is said.
LEAST_TOLD, TOLD_RATIO = 3, 8.0
#: Spots that go with a phase: so near to a point in the plane and along the beam [1/angstrom].
GO_PLANE, GO_SLAB = 0.013, 0.06
#: Grains of one phase in one pattern that go.
MOST_LAYERS = 3
#: Lattices that differ by no more are one.
SAME_CANDIDATE, SAME_PHASE = 0.02, 0.03
#: Phases at most, and those found a second time after which no more are looked for.
MOST_PHASES, MOST_REPEATS = 8, 3


@dataclass(frozen=True)
class Phase:
    """A unit cell that grains of a scan share.

    Parameters
    ----------
    bravais : BravaisLattice
        Its cells with uncertainties; a camera length that is off scales them all.
    reciprocal : ndarray, shape (3, 3)
        Rows are the reduced reciprocal basis in the crystal's frame [1/angstrom].
    gain, decoy_gain : float
        Logarithm of how much likelier the spots are than by chance, and that of the best decoy.
    explained, decoy_explained : float
        Share of the spots of its grains that it explains, and that the best decoy would.
    grains : ndarray of int, shape (n,)
        Numbers of its grains.
    bases : ndarray, shape (n, 3, 3)
        Reciprocal basis of each in the frame of its pattern, without distortion [1/angstrom].
    directions : int
        Of the beam in the crystal, apart from each other.
    enlarged : bool
        Whether weak spots of a superlattice made the cell larger.
    """

    bravais: BravaisLattice
    reciprocal: np.ndarray
    gain: float
    decoy_gain: float
    explained: float
    decoy_explained: float
    grains: np.ndarray
    bases: np.ndarray
    directions: int
    enlarged: bool = False


@dataclass(frozen=True)
class Discovered:
    """Phases of a scan, and one that would be, had it more grains.

    Parameters
    ----------
    phases : tuple of Phase
        Those of most gain first.
    too_few : Phase or None
        A cell that explains its grains far better than decoys do, but fewer than
        :data:`FEWEST_PATTERNS`, or from one direction.
    distortion : ndarray, shape (4,)
        Ellipse and centre of the scan; see :class:`ediff_solve.phases.judging.View`.
    left : list of ndarray, shape (n, 3)
        What nothing explains of each grain's spots.
    """

    phases: tuple[Phase, ...]
    too_few: Phase | None
    distortion: np.ndarray
    left: list[np.ndarray]


def discover_phases(
    patterns: list[np.ndarray], energy: float = 300e3, most: int = MOST_PHASES, seed: int = 0
) -> Discovered:
    """Find the phases of grains.

    Parameters
    ----------
    patterns : list of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of each grain, strongest first.
    energy : float
        Of the electrons [eV].
    most : int
        Phases at most.
    seed : int
        Of the decoys.

    Returns
    -------
    Discovered
    """
    rng = np.random.default_rng(seed)
    distortion = np.concatenate([np.zeros(2), find_centre(patterns)])
    view = View([np.array(p, float) for p in patterns], wavelength(energy) / 2, distortion)
    phases: list[Phase] = []
    too_few, repeats = None, 0
    while len(phases) < most and repeats < MOST_REPEATS:
        found = _find_true(view, energy, rng, not phases)
        if found is None:
            break
        phase, refined, null = found
        known = any(_same(phase, other) for other in phases)
        few = len(phase.grains) < FEWEST_PATTERNS or phase.directions < FEWEST_DIRECTIONS
        if few and not known:
            # Of two grains a cell of any shape is easily made.
            told = len(phase.grains) >= LEAST_TOLD
            sure = phase.gain > TOLD_RATIO * phase.decoy_gain
            too_few = phase if told and sure else None
            break
        view = _remove(refined, view.distorted(refined.distortion), null, phase.grains)
        if known:
            repeats += 1
        else:
            phases.append(phase)
    return Discovered(tuple(phases), too_few, view.distortion, view.patterns)


def _same(one: Phase, other: Phase) -> bool:
    return same_lattice(one.bravais.niggli, other.bravais.niggli, SAME_PHASE)


def _find_true(
    view: View, energy: float, rng: np.random.Generator, distorted: bool
) -> tuple[Phase, Refined, Null] | None:
    """The first cell that explains far more than its decoys do."""
    for best in _rank(view, energy, rng, distorted):
        found = _describe(best, view, rng, distorted)
        if _is_true(*found):
            return found
    return None


def _rank(view: View, energy: float, rng: np.random.Generator, distorted: bool) -> list[Refined]:
    """Cells that gain most, refined, by their gain beyond a few decoys'."""
    straight = view.straight()
    refined = []
    for reciprocal in _screen(straight, view.half, energy, rng):
        one = refine_cell(reciprocal, view, distorted)
        if one is not None:
            refined.append(one)
    refined.sort(key=lambda r: -r.judged.value)
    ranked = []
    for one in refined[:N_FINAL]:
        own = view.distorted(one.distortion)
        null = judge_decoys(one.fit.reciprocal, own, FEW_DECOYS, rng)
        ranked.append((float(null.beyond(one.judged.gains).sum()), one))
    ranked.sort(key=lambda pair: -pair[0])
    return [one for value, one in ranked if value > 0]


def _screen(
    patterns: list[np.ndarray], half: float, energy: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Cells that a few patterns agree on, those first that explain most of all patterns."""
    stack = stack_patterns(patterns, half, LOOSE)
    found: list[tuple[float, float, np.ndarray]] = []
    for reciprocal in _settle(patterns, half, energy):
        lattice = np.linalg.inv(reciprocal).T
        if any(same_lattice(np.linalg.inv(f[2]).T, lattice, SAME_CANDIDATE / 2) for f in found):
            continue
        cells = (reciprocal, make_decoys(reciprocal, 1, rng)[0])
        gains = [orient_cell(c, stack, n_seeds=6, most=1000).gains for c in cells]
        own, null = (float(np.maximum(g - PATTERN_GAIN, 0).sum()) for g in gains)
        found.append((own, null, reciprocal))
        if len(found) == N_ASKED:
            break
    if len(found) >= 3:
        # What a wrong cell gains grows with its volume: a power law through the decoys.
        volume = np.log([1 / abs(np.linalg.det(f[2])) for f in found])
        law = np.polyfit(volume, np.log([f[1] + 10 for f in found]), 1)
        chance = np.exp(np.polyval(law, volume))
        found = [(f[0] - c, *f[1:]) for f, c in zip(found, chance, strict=True)]
    found.sort(key=lambda f: -f[0])
    kept: list[np.ndarray] = []
    for _, _, reciprocal in found:
        lattice = np.linalg.inv(reciprocal).T
        if not any(same_lattice(np.linalg.inv(k).T, lattice, SAME_CANDIDATE) for k in kept):
            kept.append(reciprocal)
    return kept[:N_REFINED]


def _settle(patterns: list[np.ndarray], half: float, energy: float) -> Iterator[np.ndarray]:
    """Cells whose scale along the beam two patterns or more agree on, best backed first.

    A pattern's candidate leaves that scale open; every other candidate that has the same metric at
    some scale is a vote for it. Those that agree are refined together.
    """
    candidates = [
        solve_pattern(p[:, 0], p[:, 1], p[:, 2], energy, N_CANDIDATES)
        if len(p) >= FEWEST_SPOTS
        else []
        for p in patterns
    ]
    spots = as_spots(patterns, half)
    starts = [
        find_consensus(n, base, candidates, True)
        for n, each in enumerate(candidates)
        for base in each[:N_BASES]
    ]
    starts.sort(key=lambda start: -start[0])
    for _, start in starts:
        if len(start.rotations) < 2:
            continue
        fit = settle(start, spots, SLAB, Free(False, False))
        if fit is not None and is_allowed(fit.reciprocal):
            yield fit.reciprocal


def _describe(
    best: Refined, view: View, rng: np.random.Generator, distorted: bool
) -> tuple[Phase, Refined, Null]:
    """A cell of the symmetry that its patterns allow, enlarged where they ask for it."""
    best, bravais = symmetrise(best, view, distorted)
    smaller = find_untwinned(best.fit.reciprocal, view.distorted(best.distortion))
    if smaller is not None:
        again = refine_cell(smaller, view.distorted(best.distortion), distorted)
        if again is not None:
            best, bravais = symmetrise(again, view, distorted)
    enlarged = False
    while smaller is None and (larger := find_superlattice(best.judged)) is not None:
        if not is_allowed(larger):
            break
        own = view.distorted(best.distortion)
        grown = refine_cell(larger, own)
        if grown is None or len(grown.judged.clear) < 0.8 * len(best.judged.clear):
            break
        if abs(np.linalg.det(grown.fit.reciprocal) / np.linalg.det(larger)) > 1.5:
            break  # the spots were the smaller cell's
        best, enlarged = grown, True
        bravais = find_symmetry(best, own)
    own = view.distorted(best.distortion)
    null = judge_decoys(best.fit.reciprocal, own, N_DECOYS, rng)
    judged = best.judged
    beyond = null.beyond(judged.gains)
    good = np.array([p for p in judged.clear if beyond[p] > 0], int)
    top = int(np.argmax(null.values))
    phase = Phase(
        bravais=bravais,
        reciprocal=best.fit.reciprocal,
        gain=judged.value,
        decoy_gain=float(null.values[top]),
        explained=_share(judged, good),
        decoy_explained=float(null.shares[:, good].mean(axis=1).max()) if len(good) else 0.0,
        grains=good,
        bases=judged.oriented.bases[good],
        directions=judged.count_directions(good),
        enlarged=enlarged,
    )
    return phase, best, null


def _share(judged: Judged, patterns: np.ndarray) -> float:
    """Share of the spots of some patterns that is explained."""
    explained = judged.stack.sum(judged.oriented.explained)[patterns].sum()
    return float(explained / max(judged.stack.sizes[patterns].sum(), 1))


def _is_true(phase: Phase, refined: Refined, null: Null) -> bool:
    """Whether a cell explains far more than its decoys do."""
    beyond = null.beyond(refined.judged.gains).sum()
    return bool(beyond > PHASE_GAIN and phase.gain > DECOY_RATIO * phase.decoy_gain)


def _remove(refined: Refined, view: View, null: Null, good: np.ndarray) -> View:
    """The patterns without the spots of a phase, of several of its grains in one pattern too."""
    left = list(view.patterns)
    judged = refined.judged
    for _ in range(MOST_LAYERS):
        for p in good:
            own = judged.stack.vectors[judged.stack.part(int(p))]
            left[p] = left[p][~find_owned(judged.oriented.bases[p], own)]
        judged = judge(refined.fit.reciprocal, View(left, view.half, view.distortion))
        good = np.flatnonzero((null.beyond(judged.gains) > 0) & (judged.stack.sizes > 0))
        if not len(good):
            break
    return View(left, view.half, view.distortion)


def find_owned(basis: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Which spots, shape (n, 3), go with a grain of this reciprocal basis."""
    plane, along = distances(basis, vectors)
    return (plane < GO_PLANE) & (along < GO_SLAB)

"""From the spots of one pattern or of several patterns of a crystal to a vector of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice import (
    BravaisLattice,
    JointLattice,
    LatticeCandidate,
    cell_parameters,
    find_bravais,
    solve_pattern,
    solve_patterns,
    solve_sparse,
)
from ediff_solve.lattice.bravais import LARGEST_TOLERANCE, SYMBOLS, niggli_cell
from ediff_solve.lattice.kernels.centre import find_centre
from ediff_solve.lattice.kernels.two_folds import two_fold_obliquities
from ediff_solve.lattice.nets import Net, find_net
from ediff_solve.lattice.single import check_spots
from ediff_solve.predictor.evidence import absences, hypotheses, laue, zones
from ediff_solve.predictor.evidence.kernels import pattern
from ediff_solve.predictor.evidence.reflections import Reflections, merge
from ediff_solve.predictor.evidence.rings import N_ORDERS, N_RINGS, ring_magnitudes
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Patterns that the lattice is solved from at most, those with most spots.
MOST_PATTERNS = 20
#: Lattices of one pattern that are kept, for others to agree with.
N_CANDIDATES = 8
#: Every how many-th ring is looked at.
RING_STEP = 2
#: Added to a ring's total before others are divided by it.
NO_RING = 1e-6
#: Two-fold axes whose obliquities are looked at.
N_AXES = 9
#: What a cell's lengths and angles are called.
CELL = ("a", "b", "c", "alpha", "beta", "gamma")

_LATTICE = (
    *(f"two_fold_{k + 1}" for k in range(N_AXES)),
    *(f"niggli_{name}" for name in CELL),
    "log_volume",
    "bravais",
    *(f"conventional_{name}" for name in CELL),
    "distortion",
)
_SOLUTION = (
    "indexed",
    "position_error",
    "gain",
    "rival_gain",
    "rival_volume",
    "patterns",
    "oriented",
    "ellipse",
    "scale_error",
)
_REFLECTIONS = (
    "reflections",
    "spread",
    "skewness",
    "repeat",
    "repeats",
    "friedel",
    "friedel_pairs",
    "mean_index",
)
_RADIAL = tuple(
    f"{kind}_{ring}_{order}"
    for kind, first in (("ring", 0), ("ratio", 1))
    for ring in range(0, N_RINGS, RING_STEP)
    for order in range(first, N_ORDERS)
)
#: What each number of the vector is.
NAMES = (
    *_LATTICE,
    *_SOLUTION,
    *hypotheses.NAMES,
    *_REFLECTIONS,
    *laue.NAMES,
    *absences.NAMES,
    *(f"mean_{name}" for name in pattern.NAMES),
    *(f"most_{name}" for name in pattern.NAMES),
    *_RADIAL,
    *zones.NAMES,
)


@dataclass(frozen=True)
class CentredPattern:
    """Spots about their centre, strongest first.

    - ``spots``: qx, qy [1/angstrom] and intensity, shape (n,).
    - ``order``, int, shape (n,): which of the spots as they came each is.
    - ``centre``, shape (2,): as its Friedel pairs have it [1/angstrom].
    """

    spots: tuple[np.ndarray, np.ndarray, np.ndarray]
    order: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What patterns of one crystal say of it.

    - ``vector``, float32, shape (len(NAMES),): NaN where nothing can be said.
    - ``bravais``: None where no lattice explains the spots.
    - ``lattice``: of several patterns.
    - ``candidates``: of one pattern, best first; the first with the most symmetry that is believed.
    - ``used``, int: which patterns the lattice was solved from.
    - ``patterns``: those patterns.
    - ``rivals``: other lattices of several patterns, best first.
    - ``net``: of one pattern, that of the zone it is near, if it has one.
    - ``energy``: [eV]
    """

    vector: np.ndarray
    bravais: BravaisLattice | None
    lattice: JointLattice | None
    candidates: list[LatticeCandidate]
    used: np.ndarray
    patterns: list[CentredPattern]
    rivals: list[JointLattice]
    net: Net | None
    energy: float


@dataclass(frozen=True)
class _Indexed:
    """Spots that a lattice explains, in one list."""

    hkl: np.ndarray
    intensity: np.ndarray
    square: np.ndarray
    error: np.ndarray
    pattern: np.ndarray


def compute_evidence(
    patterns: Sequence[tuple],
    energy: float = 300e3,
    candidates: Sequence[list[LatticeCandidate]] | None = None,
) -> Evidence:
    """Solve the lattice of one crystal from its patterns, and gather what tells its symmetry.

    The patterns are qx, qy [1/angstrom] and intensity of each, without the direct beam, the energy
    that of the electrons [eV], the candidates those of each pattern, where :func:`solve_alone` has
    found them already. A UserError where there are no patterns, or spots that are not finite or of
    negative intensity.
    """
    if not len(patterns):
        raise UserError("patterns: expected at least one")
    centred = [_centred(*check_spots(*p)) for p in patterns]
    checked = [one.spots for one in centred]
    sizes = np.array([len(p[0]) for p in checked])
    used = np.sort(np.argsort(-sizes, kind="stable")[:MOST_PATTERNS])
    chosen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [checked[p] for p in used]
    if candidates is None:
        known = [solve_pattern(*s, energy=energy, n_candidates=N_CANDIDATES) for s in chosen]
    else:
        known = [candidates[int(p)] for p in used]
    if len(chosen) == 1:
        solved = _solve_one(chosen[0], known[0], energy)
    else:
        solved = _solve_several(chosen, known, energy)
    bravais, lattices, found, solution, scan, indexed = solved
    lattice = lattices[0] if lattices else None
    net = find_net(*chosen[0], energy) if len(chosen) == 1 else None
    parts = [
        _lattice_numbers(bravais, lattice, found),
        solution,
        scan,
        *_intensity_numbers(bravais, indexed),
        *_pattern_numbers(checked),
        _radial_numbers(checked),
        zones.zone_numbers(net, chosen[0], found[0] if found else None),
    ]
    vector = np.concatenate(parts).astype(np.float32)
    kept = [centred[p] for p in used]
    return Evidence(vector, bravais, lattice, found, used, kept, lattices[1:], net, energy)


def solve_alone(
    pattern: tuple, energy: float = 300e3, sparse: bool = False
) -> list[LatticeCandidate]:
    """Lattices of one pattern about its centre, as :func:`compute_evidence` looks for them.

    The pattern is qx, qy [1/angstrom] and intensity, the energy in eV. Where none is found,
    ``sparse`` looks again as :mod:`ediff_solve.lattice.sparse` does, and :func:`compute_evidence`
    on its own does not.
    """
    spots = _centred(*check_spots(*pattern)).spots
    found = solve_pattern(*spots, energy=energy, n_candidates=N_CANDIDATES)
    return found or (solve_sparse(*spots, energy=energy) if sparse else [])


def _centred(x: np.ndarray, y: np.ndarray, intensity: np.ndarray) -> CentredPattern:
    order = np.lexsort((x * x + y * y, -intensity))
    x, y, intensity = x[order], y[order], intensity[order]
    centre, _ = find_centre(x, y)
    return CentredPattern((x - centre[0], y - centre[1], intensity), order, centre)


def _solve_one(spots: tuple, candidates: list[LatticeCandidate], energy: float) -> tuple:
    solution = np.full(len(_SOLUTION), np.nan)
    candidates = [one for one in candidates if _can_be_reduced(one.lattice)]
    if not candidates:
        return None, [], [], solution, np.full(len(hypotheses.NAMES), np.nan), None
    scan, best = hypotheses.hypothesis_numbers(
        candidates[0], hypotheses.find_hypotheses(candidates[0])
    )
    bravais, best = next(
        ((cell, one) for one in (best, *candidates) if (cell := _cell_of(one)) is not None),
        (None, best),
    )
    if bravais is None:
        return None, [], [], solution, scan, None
    rival = candidates[1] if len(candidates) > 1 else None
    volume = abs(np.linalg.det(best.reciprocal))
    n = len(spots[0])
    solution[:] = (
        best.fraction,
        best.position_error,
        best.gain / n,
        rival.gain / n if rival else np.nan,
        np.log(abs(np.linalg.det(rival.reciprocal)) / volume) if rival else np.nan,
        1,
        1,
        np.nan,
        best.log_scale_error,
    )
    x, y, intensity = spots
    height = wavelength(energy) / 2 * (x * x + y * y)
    error = best.hkl @ best.reciprocal[:, 2] - height
    change = np.rint(best.reciprocal @ bravais.conventional.T)
    seen = best.indexed
    square = x * x + y * y
    indexed = _Indexed(
        hkl=(best.hkl @ change).astype(int)[seen],
        intensity=intensity[seen],
        square=square[seen],
        error=error[seen],
        pattern=np.zeros(int(seen.sum()), int),
    )
    return bravais, [], [best, *candidates[1:]], solution, scan, indexed


def _can_be_reduced(lattice: np.ndarray) -> bool:
    """Whether a lattice has a Niggli cell: one along the beam that is next to nothing has none."""
    try:
        niggli_cell(lattice)
    except UserError:
        return False
    return True


def _cell_of(candidate: LatticeCandidate) -> BravaisLattice | None:
    try:
        return find_bravais(candidate.lattice, tolerance=LARGEST_TOLERANCE)
    except UserError:
        return None


def _solve_several(
    patterns: list[tuple], candidates: list[list[LatticeCandidate]], energy: float
) -> tuple:
    found = solve_patterns(patterns, energy=energy, free_distortion=True, candidates=candidates)
    solution, scan = np.full(len(_SOLUTION), np.nan), np.full(len(hypotheses.NAMES), np.nan)
    if not found:
        return None, [], [], solution, scan, None
    best, rival = found[0], found[1] if len(found) > 1 else None
    n = sum(len(p[0]) for p in patterns)
    volume = abs(np.linalg.det(best.reciprocal))
    oriented = np.flatnonzero(np.isfinite(best.orientations[:, 0, 0]))
    solution[:] = (
        np.sum(best.fractions * [len(p[0]) for p in patterns]) / n,
        best.position_error,
        best.gain / n,
        rival.gain / n if rival else np.nan,
        np.log(abs(np.linalg.det(rival.reciprocal)) / volume) if rival else np.nan,
        len(patterns),
        len(oriented) / len(patterns),
        np.hypot(*best.ellipse),
        np.nanmax(best.bravais.errors[:3] / best.bravais.parameters[:3]),
    )
    change = np.rint(best.reciprocal @ best.bravais.conventional.T)
    half = wavelength(energy) / 2
    columns: list[tuple[np.ndarray, ...]] = []
    for p in oriented:
        hkl = best.hkl[p]
        seen = (hkl != 0).any(axis=1)
        g = hkl[seen] @ best.reciprocal @ best.orientations[p]
        square = (g[:, :2] ** 2).sum(axis=1)
        columns.append(
            ((hkl[seen] @ change).astype(int), patterns[p][2][seen], square)
            + (g[:, 2] - half * square, np.full(int(seen.sum()), len(columns)))
        )
    indexed = _Indexed(*(np.concatenate(c) for c in zip(*columns, strict=True)))
    return best.bravais, found, [], solution, scan, indexed


def _lattice_numbers(
    bravais: BravaisLattice | None,
    lattice: JointLattice | None,
    candidates: list[LatticeCandidate],
) -> np.ndarray:
    if bravais is None:
        return np.full(len(_LATTICE), np.nan)
    reciprocal = lattice.reciprocal if lattice else candidates[0].reciprocal
    return np.concatenate(
        [
            two_fold_obliquities(np.ascontiguousarray(np.linalg.inv(reciprocal).T), N_AXES),
            cell_parameters(bravais.niggli),
            [np.log(bravais.volume), list(SYMBOLS.values()).index(bravais.symbol)],
            bravais.parameters,
            [bravais.distortion],
        ]
    )


def _intensity_numbers(
    bravais: BravaisLattice | None, spots: _Indexed | None
) -> tuple[np.ndarray, ...]:
    """What intensities say: of the reflections, of the Laue class, and of absences."""
    merged: Reflections | None = None
    if bravais is not None and spots is not None:
        seen = (spots.hkl != 0).any(axis=1) & (spots.intensity > 0)
        if seen.sum() > 3:
            columns = (spots.hkl, spots.intensity, spots.square, spots.error, spots.pattern)
            merged = merge(*(c[seen] for c in columns))
    if bravais is None or merged is None:
        sizes = len(_REFLECTIONS), len(laue.NAMES), len(absences.NAMES)
        return tuple(np.full(size, np.nan) for size in sizes)
    numbers = [
        np.log(len(merged.hkl)),
        merged.spread,
        merged.skewness,
        merged.repeat,
        np.log1p(merged.n_repeats),
        merged.friedel,
        np.log1p(merged.n_friedel),
        np.abs(merged.hkl).mean(),
    ]
    return (
        np.array(numbers),
        laue.laue_scores(merged, bravais.symbol),
        absences.absence_scores(merged, bravais.symbol),
    )


def _pattern_numbers(patterns: list[tuple]) -> tuple[np.ndarray, ...]:
    """Means and largest values over the patterns of their symmetry in the plane."""
    found = np.array([pattern.pattern_symmetry(*p) for p in patterns if len(p[0])])
    if not found.size or np.isnan(found[:, 0]).all():
        return tuple(np.full(len(pattern.NAMES), np.nan) for _ in range(2))
    return np.nanmean(found, axis=0), np.nanmax(found, axis=0)


def _radial_numbers(patterns: list[tuple]) -> np.ndarray:
    """Means over the patterns of rings' magnitudes, and of angular orders in terms of order 0."""
    magnitude = ring_magnitudes(patterns)[:, ::RING_STEP].astype(float)
    ratio = magnitude[:, :, 1:] / (magnitude[:, :, :1] + NO_RING)
    return np.concatenate([magnitude.mean(axis=0).ravel(), ratio.mean(axis=0).ravel()])

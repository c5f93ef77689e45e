"""One position's spots, or all spots of a grain, to evidence of one grain alone.

In a scan two grains under one probe are common, and a grain's patterns all have one orientation: of
several of them its spots are known better, and more of its spots, but from no other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice import find_larger_twin
from ediff_solve.lattice.kernels.pooling import join_spots
from ediff_solve.predictor.evidence import NAMES, Evidence, compute_evidence, solve_alone
from ediff_solve.predictor.spot_checks import check_pattern

#: Share of a grain's patterns that a spot is seen in at least, or it is a neighbour's or noise.
#: Spots come and go with the thickness.
LEAST_SEEN = 1 / 3
_INDEXED = NAMES.index("indexed")


@dataclass(frozen=True)
class Grain:
    """What the spots of one place say of one grain."""

    vector: np.ndarray | None  # (len(NAMES),), evidence; None where no lattice explains the spots
    indexed: float = np.nan  # share of the spots that the lattice explains
    one_grain: float = np.nan  # and that one grain does: less where the lattice is that of twins


def solve_grain(pattern: tuple, energy: float = 300e3) -> Grain:
    """Evidence of the grain that explains most of a pattern, of twins the larger one alone.

    The pattern is qx, qy [1/angstrom] and intensity; the energy that of the electrons [eV].
    """
    checked = check_pattern(*pattern)
    found = _evidence(checked.spots, energy) if checked.usable else None
    if found is None:
        return Grain(None)
    indexed = float(found.vector[_INDEXED])
    part = find_larger_twin(found.candidates[0])
    if part is None:
        return Grain(found.vector, indexed, indexed)
    own = _evidence(tuple(column[part] for column in found.patterns[0].spots), energy)
    return Grain((own or found).vector, indexed, float(part.mean()))


def _evidence(spots: tuple, energy: float) -> Evidence | None:
    """None where no lattice explains the spots."""
    candidates = solve_alone(spots, energy, sparse=True)
    found = compute_evidence([spots], energy, [candidates]) if candidates else None
    return None if found is None or found.bravais is None else found


def pool_patterns(
    patterns: Sequence[tuple], tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pattern of all patterns of a grain: qx, qy [1/angstrom] and intensity, as of each.

    Spots nearer than the tolerance [1/angstrom] are the same one, if :data:`LEAST_SEEN` of the
    patterns have it, and two where there are three. Its place is the mean, the root of the
    intensity being the weight, its intensity the sum.
    """
    qx, qy, intensity = (np.concatenate(column) for column in zip(*patterns, strict=True))
    order = np.argsort(-intensity, kind="stable")
    qx, qy, intensity = qx[order], qy[order], intensity[order]
    group, places = join_spots(qx, qy, np.sqrt(np.maximum(intensity, 0)), tolerance)
    least = max(LEAST_SEEN * len(patterns), 2 if len(patterns) > 2 else 1)
    kept = np.bincount(group, minlength=len(places)) >= least
    total = np.bincount(group, weights=intensity, minlength=len(places))
    return places[kept, 0], places[kept, 1], total[kept]

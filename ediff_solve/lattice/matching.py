"""Which basis of one pattern's lattice is that of another's, and how a pattern is oriented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.kernels.metrics import match_metrics
from ediff_solve.lattice.kernels.orienting import SEED_LENGTH, search_orientations
from ediff_solve.lattice.refine import Spots
from ediff_solve.lattice.single import LatticeCandidate

#: Standard deviation of g_i . g_j over |g_i| |g_j|, apart from the scales along the beam and from
#: the vectors' uncertainties in the plane; and of all together at most.
METRIC_ERROR, LARGEST_ERROR = 0.008, 0.03
#: And what an ellipse of the usual size adds to it.
ELLIPSE_ERROR = 0.012
#: Bases that are returned.
MOST_MATCHES = 6
#: Spots from which an orientation is looked for, and their range [1/angstrom].
N_SEEDS, SEED_RANGE = 6, (0.15, 1.1)
#: Points of a lattice that is searched at all, and spots that judge an orientation.
MOST_POINTS, N_JUDGES = 30_000, 50
#: Orientations returned.
MOST_ORIENTATIONS = 5


@dataclass(frozen=True)
class Match:
    """A basis of one lattice that has the metric of another's.

    Rows of ``indices``, shape (3, 3), are the other's basis vectors in terms of the first one's;
    the scales are those of the z components that the two need.
    """

    indices: np.ndarray
    log_scale: float
    other_log_scale: float
    chi_square: float


def match_lattices(
    base: LatticeCandidate, other: LatticeCandidate, distorted: bool = False
) -> list[Match]:
    """Bases of one lattice whose metric is that of another's, best first; scales along z are free.

    n_i G n_j + a z_i z_j = t_i . t_j + b w_i w_j in the plane, with a and b near one: six equations
    for two unknowns, that the right integers n fulfil. A distorted pattern has an ellipse.
    """
    lengths = np.linalg.norm(other.reciprocal, axis=1)
    order = np.argsort(np.abs(other.reciprocal[:, 2]) / lengths)
    error = min(np.hypot(METRIC_ERROR, np.hypot(_relative(base), _relative(other))), LARGEST_ERROR)
    if distorted:
        error = np.hypot(error, ELLIPSE_ERROR)
    indices, figures = match_metrics(
        base.reciprocal,
        other.reciprocal[order],
        2 * base.log_scale_error,
        2 * other.log_scale_error,
        float(error),
        MOST_MATCHES,
    )
    back = np.argsort(order)
    return [
        Match(rows[back], float(scale), float(other_scale), float(chi))
        for rows, (chi, scale, other_scale) in zip(indices, figures, strict=True)
    ]


def _relative(candidate: LatticeCandidate) -> float:
    """Uncertainty of the basis vectors in the plane over their lengths."""
    lengths = np.linalg.norm(candidate.reciprocal, axis=1)
    return float(np.hypot(candidate.errors[:, 0], candidate.errors[:, 1]).max() / lengths.min())


def rotation_between(reciprocal: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, int]:
    """Orientation R with reciprocal @ R = sign * basis in the least squares (Kabsch 1976).

    Rows of both, shape (3, 3), are the same vectors in the crystal's and in the pattern's frame, or
    minus these: the sign is -1 where the basis has the other hand.
    """
    sign = 1 if np.linalg.det(reciprocal) * np.linalg.det(basis) > 0 else -1
    left, _, right = np.linalg.svd(reciprocal.T @ (sign * basis))
    fix = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    return left @ fix @ right, sign


def lattice_points(reciprocal: np.ndarray, reach: float) -> np.ndarray:
    """Reciprocal lattice vectors of length up to ``reach`` [1/angstrom]; shape (n, 3)."""
    most = np.floor(reach * np.linalg.norm(np.linalg.inv(reciprocal), axis=0)).astype(int)
    if np.prod(2.0 * most + 1) > 10 * MOST_POINTS:
        most = np.minimum(most, 2)
    axes = [np.arange(-m, m + 1) for m in most]
    g = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ reciprocal
    length = np.linalg.norm(g, axis=1)
    return g[(length <= reach) & (length > 0)]


def find_orientations(reciprocal: np.ndarray, spots: Spots, order: np.ndarray) -> list[np.ndarray]:
    """Orientations of a known lattice that index most spots of a pattern, best first.

    Pairs of spots are compared with pairs of lattice vectors by their lengths and angle; ``order``
    are the spots' numbers, the strongest first.
    """
    v = spots.vectors[order]
    q = np.linalg.norm(v, axis=1)
    seeds = np.flatnonzero((q > SEED_RANGE[0]) & (q < SEED_RANGE[1]))[:N_SEEDS]
    if len(seeds) < 2:
        return []
    points = lattice_points(reciprocal, q[seeds].max() + SEED_LENGTH)
    if not 0 < len(points) <= MOST_POINTS:
        return []
    points = points[np.argsort(np.linalg.norm(points, axis=1), kind="stable")]
    found = search_orientations(reciprocal, points, v, seeds, N_JUDGES, MOST_ORIENTATIONS)
    return list(found)

"""Which basis of one pattern's lattice is that of another's, and how a pattern is oriented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_utils.lattice.metrics import match_metrics
from ediff_utils.lattice.refine import Spots
from ediff_utils.lattice.single import LatticeCandidate

#: Standard deviation of g_i . g_j over |g_i| |g_j|, apart from the scales along the beam and from
#: the vectors' uncertainties in the plane; and of all together at most.
METRIC_ERROR, LARGEST_ERROR = 0.008, 0.03
#: And what an ellipse of the usual size adds to it.
ELLIPSE_ERROR = 0.012
#: Bases that are returned.
MOST_MATCHES = 6
#: Spots from which an orientation is looked for, and their range [1/angstrom].
N_SEEDS, SEED_RANGE = 6, (0.15, 1.1)
#: How far a lattice vector's length, and the angle of two [radian], may be off a seed's.
SEED_LENGTH, SEED_ANGLE = 0.012, 0.04
#: Lattice vectors compared with a seed at most, and points of a lattice that is searched at all.
MOST_NEAR, MOST_POINTS = 300, 30_000
#: Orientations tried at most, and spots that judge them.
MOST_TRIALS, N_JUDGES = 1500, 50
#: A spot lies so near to a lattice point of a trial in the plane and along the beam [1/angstrom].
TRIAL_PLANE, TRIAL_SLAB = 0.012, 0.06
#: Trials returned.
MOST_ORIENTATIONS = 5


@dataclass(frozen=True)
class Match:
    """A basis of one lattice that has the metric of another's.

    Parameters
    ----------
    indices : ndarray of int, shape (3, 3)
        Rows are the other's basis vectors in terms of the first one's.
    log_scale, other_log_scale : float
        Logarithms of the factors that the z components of the two need.
    chi_square : float
    """

    indices: np.ndarray
    log_scale: float
    other_log_scale: float
    chi_square: float


def match_lattices(
    base: LatticeCandidate, other: LatticeCandidate, distorted: bool = False
) -> list[Match]:
    """Bases of one lattice whose metric is that of another's, the scales along the beam free.

    n_i G n_j + a z_i z_j = t_i . t_j + b w_i w_j in the plane, with a and b near one: six equations
    for two unknowns, that the right integers n fulfil.

    Parameters
    ----------
    base, other : LatticeCandidate
    distorted : bool
        Whether an ellipse is to be reckoned with.

    Returns
    -------
    list of Match
        Best first.
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

    Parameters
    ----------
    reciprocal, basis : ndarray, shape (3, 3)
        Rows are the same vectors in the crystal's and in the pattern's frame, or minus these.

    Returns
    -------
    rotation : ndarray, shape (3, 3)
    sign : int
        -1 where the basis has the other hand.
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
    """Orientations of a known lattice that index most spots of a pattern.

    Pairs of spots are compared with pairs of lattice vectors by their lengths and angle.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
    spots : Spots
    order : ndarray of int, shape (n,)
        The spots, strongest first.

    Returns
    -------
    list of ndarray, shape (3, 3)
        Best first.
    """
    v = spots.vectors[order]
    q = np.linalg.norm(v, axis=1)
    seeds = np.flatnonzero((q > SEED_RANGE[0]) & (q < SEED_RANGE[1]))[:N_SEEDS]
    if len(seeds) < 2:
        return []
    points = lattice_points(reciprocal, q[seeds].max() + SEED_LENGTH)
    if len(points) > MOST_POINTS:
        return []
    length = np.linalg.norm(points, axis=1)
    off = {s: np.abs(length - q[s]) for s in seeds}
    near = {s: points[np.argsort(off[s])[:MOST_NEAR]] for s in seeds}
    near = {s: g[np.abs(np.linalg.norm(g, axis=1) - q[s]) < SEED_LENGTH] for s, g in near.items()}
    trials = []
    for n, s in enumerate(seeds):
        for t in seeds[:n]:
            angle = np.arccos(np.clip(v[s] @ v[t] / (q[s] * q[t]), -1, 1))
            if not 0.3 < angle < np.pi - 0.3:
                continue
            unit = [near[k] / np.linalg.norm(near[k], axis=1)[:, None] for k in (s, t)]
            found = np.arccos(np.clip(unit[0] @ unit[1].T, -1, 1))
            i, j = np.nonzero(np.abs(found - angle) < SEED_ANGLE)
            crystal = _frames(unit[0][i], unit[1][j])
            pattern = _frames((v[s] / q[s])[None], (v[t] / q[t])[None])[0]
            trials.append(crystal.transpose(0, 2, 1) @ pattern)
    trials = np.concatenate(trials)[:MOST_TRIALS] if trials else np.empty((0, 3, 3))
    return _judge(trials, reciprocal, v[:N_JUDGES])


def _frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed frames from two directions each; rows are the axes, shape (n, 3, 3)."""
    middle = first + second
    middle /= np.linalg.norm(middle, axis=1)[:, None]
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    return np.stack([middle, np.cross(normal, middle), normal], axis=1)


def _judge(trials: np.ndarray, reciprocal: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    if not len(trials):
        return []
    bases = reciprocal @ trials
    indices = np.rint(v @ np.linalg.inv(bases))
    left = indices @ bases - v
    plane = np.hypot(left[..., 0], left[..., 1]) / TRIAL_PLANE
    hit = (plane < 1) & (np.abs(left[..., 2]) < TRIAL_SLAB)
    best = np.argsort(-(hit * (1 - 0.5 * plane**2)).sum(axis=1), kind="stable")
    return list(trials[best[:MOST_ORIENTATIONS]])

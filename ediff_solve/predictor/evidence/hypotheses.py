"""Symmetric lattices that one pattern allows.

The plane of one pattern settles six of the nine components of the reciprocal basis, and the three
along the beam to some per cent only. A symmetry of the lattice is a condition on the metric,
M = V M V^T for its integer matrices V, and so on these three: a cubic metric has one free number,
so that six entries settle it, the components along the beam, and leave two conditions that only a
cubic lattice obeys. The more symmetric the lattice, the more of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.bravais import niggli_cell
from ediff_solve.lattice.kernels.metric_groups import tables
from ediff_solve.lattice.single import LatticeCandidate
from ediff_solve.predictor.evidence.kernels.metric_fits import fit_groups
from ediff_utils.core.errors import UserError

#: Orders of the rotation groups whose lattices are looked for: monoclinic, orthorhombic,
#: rhombohedral, tetragonal, hexagonal and cubic.
ORDERS = (2, 4, 6, 8, 12, 24)
#: Scales along the beam, in standard errors, where symmetry is looked for, and within what part of
#: the metric.
SCALES = (0.0, -0.5, 0.5, -1.0, 1.0, -1.6, 1.6, -2.3, 2.3)
TOLERANCES = (0.16, 0.08, 0.04)
#: Smallest standard error of the logarithm of the scale.
SHARPEST_SCALE = 0.02
#: Of the residuals of a metric, root mean square in standard errors, and of the components along
#: the beam, that are believed.
BELIEVED, BELIEVED_CHANGE = 3.0, 3.0
NAMES = tuple(
    f"order_{n}_{what}" for n in ORDERS for what in ("residual", "metric", "change", "log_volume")
)


@dataclass(frozen=True)
class Hypothesis:
    """A symmetric lattice near a pattern's.

    - ``order``: of its rotation group.
    - ``along``, shape (3,): components of the candidate's basis along the beam [1/angstrom].
    - ``residual``: root mean square of the metric's deviations from symmetry, in standard errors.
    - ``metric``: the same relative to the metric.
    - ``change``: of the components along the beam, in standard errors.
    """

    order: int
    along: np.ndarray
    residual: float
    metric: float
    change: float


def find_hypotheses(candidate: LatticeCandidate) -> dict[int, Hypothesis]:
    """The best symmetric lattice of each order of the rotation group.

    By order; those that no scale brings near are not there.
    """
    basis = candidate.reciprocal
    log_error = max(candidate.log_scale_error, SHARPEST_SCALE)
    # Each component's own error comes beside that of the scale of all.
    own = np.sqrt(
        np.maximum(candidate.errors[:, 2] ** 2 - (basis[:, 2] * candidate.log_scale_error) ** 2, 0)
    )
    own = np.maximum(own, 1e-3 * np.linalg.norm(basis, axis=1).max())
    covariance = np.diag(own**2) + np.outer(basis[:, 2], basis[:, 2]) * log_error**2
    cells, changes = [], []
    for deviation in SCALES:
        scaled = basis * [1, 1, np.exp(deviation * log_error)]
        try:
            cells.append(niggli_cell(scaled))
        except UserError:
            continue
        changes.append(np.rint(cells[-1] @ np.linalg.inv(scaled)))
    if not cells:
        return {}
    along, figures = fit_groups(
        np.array(cells),
        np.array(changes),
        np.ascontiguousarray(basis),
        candidate.errors[:, 0] ** 2,
        np.linalg.inv(covariance),
        *tables(),
        np.array(TOLERANCES),
        np.array(ORDERS),
    )
    return {
        order: Hypothesis(order, z, *(float(v) for v in numbers))
        for order, z, numbers in zip(ORDERS, along, figures, strict=True)
        if np.isfinite(numbers).all()
    }


def hypothesis_numbers(
    candidate: LatticeCandidate, found: dict[int, Hypothesis]
) -> tuple[np.ndarray, LatticeCandidate]:
    """Numbers of each hypothesis, and the candidate with the most symmetry that is believed.

    The numbers, shape (24,), are named in :data:`NAMES`.
    """
    numbers = np.full((len(ORDERS), 4), np.nan)
    volume = abs(np.linalg.det(candidate.reciprocal))
    chosen = candidate.reciprocal
    for k, order in enumerate(ORDERS):
        if order not in found:
            continue
        one = found[order]
        basis = np.column_stack([candidate.reciprocal[:, :2], one.along])
        size = max(abs(np.linalg.det(basis)), 1e-12)
        numbers[k] = one.residual, one.metric, one.change, np.log(size / volume)
        if one.residual < BELIEVED and one.change < BELIEVED_CHANGE:
            chosen = basis
    height = float(np.linalg.norm(candidate.reciprocal[:, 2]))
    scale = float(np.linalg.norm(chosen[:, 2])) / max(height, 1e-12)
    return numbers.ravel(), candidate.with_basis(chosen, scale)

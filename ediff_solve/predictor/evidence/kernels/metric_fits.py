"""Symmetric metrics near one whose components along the beam are uncertain: compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.lattice.kernels.metric_groups import COLUMN, ROW, find_groups

#: Smallest standard error of a metric's entry, relative.
SHARPEST_METRIC = 0.002
#: Gauss-Newton steps, and the change of a component relative to the basis that ends them.
STEPS, CONVERGED = 6, 1e-5


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_along(
    plane: np.ndarray,
    along: np.ndarray,
    errors: np.ndarray,
    precision: np.ndarray,
    operators: np.ndarray,
) -> tuple[np.ndarray, float, float, float]:
    """Components along the beam that make a metric symmetric, and residual, metric and change."""
    # What of the six entries the mean over the group takes away.
    projection = np.eye(6)
    for i in range(operators.shape[0]):
        projection -= operators[i] / operators.shape[0]
    z = along.copy()
    base = plane @ plane.T
    values, spread, size = np.empty(6), np.empty(6), np.empty(6)
    for step in range(STEPS + 1):
        jacobian = np.zeros((6, 3))
        for k in range(6):
            r, c = ROW[k], COLUMN[k]
            values[k] = base[r, c] + z[r] * z[c]
            jacobian[k, r] += z[c]
            jacobian[k, c] += z[r]
        for k in range(6):
            r, c = ROW[k], COLUMN[k]
            one, other = np.sqrt(values[r]), np.sqrt(values[c])
            size[k] = one * other
            square = (one * errors[c]) ** 2 + (other * errors[r]) ** 2
            spread[k] = np.sqrt(square + (SHARPEST_METRIC * size[k]) ** 2)
        left = projection @ values
        if step == STEPS:
            break
        design = projection @ jacobian
        for k in range(6):
            design[k] /= spread[k]
        normal = design.T @ design + precision
        right = -design.T @ (left / spread) + precision @ (along - z)
        change = np.linalg.solve(normal, right)
        z += change
        if np.max(np.abs(change)) < CONVERGED * np.sqrt(np.max(values[:3])):
            # The figures below are those of a step that no longer matters.
            break
    off = z - along
    return (
        z,
        np.sqrt(np.mean((left / spread) ** 2)),
        np.sqrt(np.mean((left / size) ** 2)),
        np.sqrt(max(np.sum(off * (precision @ off)), 0.0)),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def fit_groups(
    reduced: np.ndarray,
    changes: np.ndarray,
    basis: np.ndarray,
    variances: np.ndarray,
    inverse: np.ndarray,
    operators: np.ndarray,
    products: np.ndarray,
    tolerances: np.ndarray,
    orders: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The best symmetric lattice of each order, over the groups that several metrics obey.

    ``reduced`` and ``changes``, shape (m, 3, 3), are reduced bases of the same lattice at several
    scales along the beam [1/angstrom], and the integer matrices that make them of ``basis``, whose
    rows are reciprocal vectors, as measured [1/angstrom]. ``variances``, shape (3,), are those of
    their components in the plane, ``inverse``, shape (3, 3), is the inverse covariance of those
    along the beam. For operators, products and tolerances see
    :func:`ediff_solve.lattice.kernels.metric_groups.find_groups`; ``orders``, shape (k,), are those
    of the groups that are looked for.

    Returns the components along the beam, shape (k, 3) [1/angstrom], NaN where there are none, and
    figures, shape (k, 3): residual and metric, root mean squares of the metric's deviations, in
    standard errors and relative to it, and change of the components, in standard errors. Of the
    best the squares of residual and change add up to least.
    """
    along, figures = np.full((len(orders), 3), np.nan), np.full((len(orders), 3), np.nan)
    most = len(reduced) * len(tolerances)
    members = np.empty((most, np.max(orders)), np.int64)
    sizes, origin = np.empty(most, np.int64), np.empty(most, np.int64)
    tried = 0
    for s in range(len(reduced)):
        change = changes[s]
        moved = change @ basis
        back = np.linalg.inv(change)
        precision = back.T @ inverse @ back
        errors = np.sqrt((change * change) @ variances)
        plane, beam = np.ascontiguousarray(moved[:, :2]), np.ascontiguousarray(moved[:, 2])
        groups = find_groups(reduced[s] @ reduced[s].T, operators, products, tolerances)
        for group in groups:
            k = np.searchsorted(orders, len(group))
            if k == len(orders) or orders[k] != len(group):
                continue
            size = len(group)
            members[tried, :size] = np.sort(group)
            known = False
            for j in range(tried):
                if sizes[j] == size and np.array_equal(members[j, :size], members[tried, :size]):
                    known = known or np.array_equal(changes[origin[j]], change)
            if known:
                continue
            sizes[tried], origin[tried] = size, s
            tried += 1
            z, residual, metric, off = _fit_along(plane, beam, errors, precision, operators[group])
            best = np.hypot(figures[k, 0], figures[k, 2])
            if np.isfinite(residual) and not best <= np.hypot(residual, off):
                along[k] = back @ z
                figures[k] = residual, metric, off
    return along, figures

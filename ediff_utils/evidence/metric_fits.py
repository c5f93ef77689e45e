"""Symmetric metrics near one whose components along the beam are uncertain: compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_utils.lattice.metric_groups import COLUMN, ROW

#: Smallest standard error of a metric's entry, relative.
SHARPEST_METRIC = 0.002
#: Gauss-Newton steps, and the change of a component relative to the basis that ends them.
STEPS, CONVERGED = 6, 1e-5


@njit(cache=True, nogil=True, error_model="numpy")
def fit_along(
    plane: np.ndarray,
    along: np.ndarray,
    errors: np.ndarray,
    precision: np.ndarray,
    operators: np.ndarray,
) -> tuple[np.ndarray, float, float, float]:
    """Components along the beam that make a metric symmetric and are near those measured.

    Parameters
    ----------
    plane : ndarray, shape (3, 2)
        Components of a reduced reciprocal basis in the plane [1/angstrom].
    along : ndarray, shape (3,)
        Measured [1/angstrom].
    errors : ndarray, shape (3,)
        Standard errors of the components in the plane [1/angstrom].
    precision : ndarray, shape (3, 3)
        Inverse covariance of the components along the beam.
    operators : ndarray, shape (n, 6, 6)
        Of the group (:func:`metric_operators`).

    Returns
    -------
    z : ndarray, shape (3,)
        [1/angstrom]
    residual, metric : float
        Root mean square of the metric's deviations, in standard errors and relative to it.
    change : float
        Of the components, in standard errors.
    """
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

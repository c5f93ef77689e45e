"""Symmetric metrics near one whose components along the beam are uncertain: compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Smallest standard error of a metric's entry, relative.
SHARPEST_METRIC = 0.002
#: Gauss-Newton steps, and the change of a component relative to the basis that ends them.
STEPS, CONVERGED = 6, 1e-5
#: The six entries of a metric.
ROW = (0, 1, 2, 1, 0, 0)
COLUMN = (0, 1, 2, 2, 2, 1)
#: Orders of the rotation groups that a lattice can have, without the trivial one.
ORDERS = (24, 12, 8, 6, 4, 2)


def metric_operators(rotations: np.ndarray) -> np.ndarray:
    """What V M V^T does to a metric's six entries.

    Parameters
    ----------
    rotations : ndarray, shape (n, 3, 3)
        The matrices V.

    Returns
    -------
    ndarray, shape (n, 6, 6)
    """
    operators = np.empty((len(rotations), 6, 6))
    for k in range(6):
        unit = np.zeros((3, 3))
        unit[ROW[k], COLUMN[k]] = unit[COLUMN[k], ROW[k]] = 1.0
        moved = rotations @ unit @ rotations.transpose(0, 2, 1)
        operators[:, :, k] = moved[:, ROW, COLUMN]
    return operators


def product_table(rotations: np.ndarray) -> np.ndarray:
    """Number of the product of each pair of matrices, or -1 where it is none of them; (n, n)."""
    powers = 3 ** np.arange(9)
    known = {int(code): n for n, code in enumerate((rotations.reshape(-1, 9) + 1) @ powers)}
    products = (rotations[:, None] @ rotations[None]).reshape(-1, 9)
    codes = np.where(np.abs(products).max(axis=1) > 1, -1, (products + 1) @ powers)
    table = np.array([known.get(int(code), -1) for code in codes], dtype=np.int32)
    return table.reshape(len(rotations), -1)


@njit(cache=True, nogil=True, error_model="numpy")
def find_group(
    metric: np.ndarray, operators: np.ndarray, products: np.ndarray, tolerance: float
) -> np.ndarray:
    """Numbers of the rotations that form the largest group that a metric obeys.

    Parameters
    ----------
    metric : ndarray, shape (3, 3)
        Of a reduced basis.
    operators : ndarray, shape (n, 6, 6)
        See :func:`metric_operators`.
    products : ndarray of int32, shape (n, n)
        See :func:`product_table`.
    tolerance : float
        Largest |dM_ij| / sqrt(M_ii M_jj).

    Returns
    -------
    ndarray of int64
        One number, the identity's, where there is none.
    """
    n = operators.shape[0]
    values, size = np.empty(6), np.empty(6)
    for k in range(6):
        values[k] = metric[ROW[k], COLUMN[k]]
        size[k] = np.sqrt(metric[ROW[k], ROW[k]] * metric[COLUMN[k], COLUMN[k]])
    deviation = np.empty(n)
    for i in range(n):
        largest = 0.0
        for k in range(6):
            moved = 0.0
            for m in range(6):
                moved += operators[i, k, m] * values[m]
            largest = max(largest, abs(moved - values[k]) / size[k])
        deviation[i] = largest
    order = np.argsort(deviation)
    member = np.zeros(n, np.bool_)
    for wanted in ORDERS:
        if wanted > n or deviation[order[wanted - 1]] > tolerance:
            continue
        member[:] = False
        for i in order[:wanted]:
            member[i] = True
        closed = True
        for i in order[:wanted]:
            for j in order[:wanted]:
                product = products[i, j]
                if product < 0 or not member[product]:
                    closed = False
        if closed:
            return order[:wanted].copy()
    return order[:1].copy()


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

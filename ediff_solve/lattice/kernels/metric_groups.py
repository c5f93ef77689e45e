"""Groups of integer matrices that a metric obeys, W G W^T = G.

For a reduced cell the entries of W are -1, 0 or 1 (Lebedev, Vagin and Murshudov 2006, Acta Cryst.
D62, 83), so all of them can be tried.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numba import njit

#: Rows and columns of the six independent entries 11, 22, 33, 23, 13, 12 of a metric or a strain.
ROW, COLUMN = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
#: Orders of the rotation groups that a lattice can have, without the trivial one.
ORDERS = (24, 12, 8, 6, 4, 2)


def _rotations() -> np.ndarray:
    """Integer matrices with entries -1, 0, 1 that a rotation of a lattice can be."""
    every = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    every = every[np.rint(np.linalg.det(every)) == 1]
    # One to the twelfth power is the identity for rotations by 60, 90, 120 and 180 degrees.
    squared = every @ every
    fourth = squared @ squared
    return every[(fourth @ fourth @ fourth == np.eye(3, dtype=int)).all(axis=(1, 2))]


#: All of them, as numbers that multiply fast.
ROTATIONS = _rotations().astype(float)


def metric_operators(rotations: np.ndarray) -> np.ndarray:
    """What V M V^T does to a metric's six entries, (n, 6, 6), by matrices V of shape (n, 3, 3)."""
    operators = np.empty((len(rotations), 6, 6))
    for k in range(6):
        unit = np.zeros((3, 3))
        unit[ROW[k], COLUMN[k]] = unit[COLUMN[k], ROW[k]] = 1.0
        moved = rotations @ unit @ rotations.transpose(0, 2, 1)
        operators[:, :, k] = moved[:, ROW, COLUMN]
    return operators


def product_table(rotations: np.ndarray) -> np.ndarray:
    """Number of the product of each pair of matrices, or -1 where it is none of them; (n, n)."""
    powers = 3.0 ** np.arange(9)
    known = np.full(3**9 + 1, -1, dtype=np.int32)
    known[((rotations.reshape(-1, 9) + 1) @ powers).astype(int)] = np.arange(len(rotations))
    n = len(rotations)
    # The product of all of them at once: rows of one beside columns of the other.
    columns = rotations.transpose(1, 0, 2).reshape(3, -1)
    products = (rotations.reshape(-1, 3) @ columns).reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    flat = products.reshape(n * n, 9)
    codes = np.where(np.abs(flat).max(axis=1) > 1, 3.0**9, (flat + 1) @ powers)
    return known[codes.astype(int)].reshape(n, n)


@njit(cache=True, nogil=True, error_model="numpy")
def _largest_group(
    order: np.ndarray, deviation: np.ndarray, products: np.ndarray, tolerance: float
) -> np.ndarray:
    """The first rotations of ``order``, as many as are a group and obeyed."""
    member = np.zeros(len(products), np.bool_)
    for wanted in ORDERS:
        if wanted > len(order) or deviation[order[wanted - 1]] > tolerance:
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
                    break
            if not closed:
                break
        if closed:
            return order[:wanted].copy()
    return order[:1].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def find_groups(
    metric: np.ndarray, operators: np.ndarray, products: np.ndarray, tolerances: np.ndarray
) -> list[np.ndarray]:
    """Numbers of the rotations that form the largest group that a metric obeys, by tolerance.

    ``metric``, shape (3, 3), is of a reduced basis; for ``operators``, shape (n, 6, 6), and
    ``products``, shape (n, n), see :func:`tables`. Tolerances, shape (m,), are the largest |dM_ij|
    / sqrt(M_ii M_jj). Where there is no such group it is the identity's number alone.
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
    return [_largest_group(order, deviation, products, tolerance) for tolerance in tolerances]


def find_group(
    metric: np.ndarray, operators: np.ndarray, products: np.ndarray, tolerance: float
) -> np.ndarray:
    """The same of one tolerance."""
    return find_groups(metric, operators, products, np.array([tolerance]))[0]


@cache
def tables() -> tuple[np.ndarray, np.ndarray]:
    """Operators (:func:`metric_operators`) and products of :data:`ROTATIONS`."""
    return metric_operators(ROTATIONS), product_table(ROTATIONS)

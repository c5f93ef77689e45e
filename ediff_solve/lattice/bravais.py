"""Niggli cell, Bravais lattice and conventional cell of a lattice, with uncertainties.

The symmetry of a lattice is that of its metric tensor G = L L^T: the integer matrices W with
W G W^T = G (:mod:`ediff_solve.lattice.kernels.metric_groups`). Their number settles the system as
the number of two-fold axes does (Le Page 1982, J. Appl. Cryst. 15, 255), and the mean of W G W^T
over the group is the metric that obeys it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import spglib

from ediff_solve.lattice.kernels.metric_groups import (
    COLUMN,
    ORDERS,
    ROTATIONS,
    ROW,
    find_group,
    metric_operators,
    tables,
)
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.groups import bravais, crystal_system

#: Bravais lattice of the space group that one atom on it has; their order is a feature's.
SYMBOLS = {n: bravais(n) for n in (2, 10, 12, 47, 65, 69, 71, 123, 139, 166, 191, 221, 225, 229)}
#: Crystal system that each Bravais lattice has at least; a trigonal crystal may have hP too.
_SYSTEMS = {symbol: crystal_system(n) for n, symbol in SYMBOLS.items()}
#: Largest relative deviation of the metric, |dG_ij| / sqrt(G_ii G_jj), that is always forgiven:
#: 0.1 % of a length, 0.1 degrees of an angle.
SMALLEST_TOLERANCE = 0.002
#: Larger deviations are forgiven up to so many standard deviations of the metric, ...
DEVIATIONS = 4.5
#: ... but not beyond this: 1.5 % of a length, 1.7 degrees of an angle.
LARGEST_TOLERANCE = 0.03
#: Steps by which spglib's Niggli reduction tells lengths apart, relative. With any one of them it
#: goes round in circles now and again, where two lengths differ by about as much.
_NIGGLI_EPS = (1e-5, 1e-6, 1e-4, 1e-7, 1e-3)
#: A symmetrised lattice is exact up to rounding [angstrom].
_EXACT = 1e-4


@dataclass(frozen=True)
class BravaisLattice:
    """A lattice in its reduced and its conventional cell.

    Parameters
    ----------
    symbol : str
        Such as ``cF``, ``hP`` or ``mC`` (de Wolff et al. 1985).
    system : str
        Crystal system of the lattice's own symmetry: that of the crystal, or a higher one.
    niggli : ndarray, shape (3, 3)
        Rows are the vectors of the Niggli cell, symmetrised [angstrom].
    conventional : ndarray, shape (3, 3)
        Rows a, b, c of the conventional cell [angstrom]: hexagonal axes for hR, b the unique axis
        of monoclinic lattices, a < b < c where the axes are alike.
    parameters : ndarray, shape (6,)
        a, b, c [angstrom] and alpha, beta, gamma [degree] of the conventional cell.
    errors : ndarray, shape (6,)
        Their standard uncertainties; NaN where none were given. Zero where symmetry fixes a value.
    distortion : float
        Largest relative deviation of the metric from its symmetrised form.
    """

    symbol: str
    system: str
    niggli: np.ndarray
    conventional: np.ndarray
    parameters: np.ndarray
    errors: np.ndarray
    distortion: float

    @property
    def volume(self) -> float:
        """Of the primitive cell [cubic angstrom]."""
        return float(abs(np.linalg.det(self.niggli)))


def cell_parameters(lattice: np.ndarray) -> np.ndarray:
    """a, b, c [angstrom], alpha, beta, gamma [degree] of a cell, shape (3, 3), by its rows."""
    return _metric_parameters(lattice @ lattice.T)


def _metric_parameters(metric: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(np.diag(metric))
    cosines = metric[ROW[3:], COLUMN[3:]] / (lengths[[1, 0, 0]] * lengths[[2, 2, 1]])
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def niggli_cell(lattice: np.ndarray) -> np.ndarray:
    """Niggli cell of a lattice (Krivy and Gruber 1976), right-handed.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are the vectors of a primitive cell [angstrom].

    Returns
    -------
    ndarray, shape (3, 3)

    Raises
    ------
    UserError
        No such cell: the vectors are not finite or lie in a plane.
    """
    lattice = np.asarray(lattice, dtype=float)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        raise UserError("lattice: expected three finite vectors")
    edges = np.sqrt((lattice * lattice).sum(axis=1)).prod()
    if abs(np.linalg.det(lattice)) < 1e-6 * edges or edges == 0:
        raise UserError("lattice: expected three vectors that span a volume")
    for eps in _NIGGLI_EPS:
        reduced = spglib.niggli_reduce(lattice, eps=eps)
        if reduced is not None:
            return reduced if np.linalg.det(reduced) > 0 else -reduced
    raise UserError("lattice: no Niggli cell found")


def same_lattice(first: np.ndarray, second: np.ndarray, tolerance: float = 0.01) -> bool:
    """Whether two lattices, primitive vectors as rows [angstrom], have the same Niggli cell.

    Near a boundary between two kinds of reduced cells a small change turns one into the other, so
    the cells are compared by whether some basis of short vectors of one has the other's metric. The
    tolerance is relative, of the lengths, and in radian, of the angles.
    """
    one, other = niggli_cell(first), niggli_cell(second)
    volumes = abs(np.linalg.det(one)), abs(np.linalg.det(other))
    if abs(volumes[0] / volumes[1] - 1) > 3 * tolerance:
        return False
    points = np.array([n for n in product((-1, 0, 1), repeat=3) if any(n)]) @ other
    lengths, wanted = np.linalg.norm(points, axis=1), np.linalg.norm(one, axis=1)
    rows = [np.flatnonzero(np.abs(lengths / w - 1) < tolerance) for w in wanted]
    unit = points / lengths[:, None]
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1))
    target = np.radians(cell_parameters(one)[3:])
    if not all(row.size for row in rows):
        return False
    i, j, k = (grid.ravel() for grid in np.meshgrid(*rows, indexing="ij"))
    found = np.column_stack([angles[j, k], angles[i, k], angles[i, j]])
    return bool((np.abs(found - target) < tolerance).all(axis=1).any())


def _lattice_symmetry(
    metric: np.ndarray, tolerance: float, covariance: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Largest group of rotations that a metric obeys, and how far it is from obeying it."""
    operators, products = tables()
    if covariance is None:
        numbers = np.sort(find_group(np.ascontiguousarray(metric), operators, products, tolerance))
        deviation = _deviations(metric, operators[numbers])
        return ROTATIONS[numbers], float(deviation.max()) if len(numbers) > 1 else 0.0
    deviation = _deviations(metric, operators)
    order = np.argsort(deviation, kind="stable")
    largest = max(tolerance, LARGEST_TOLERANCE)
    for n in (*ORDERS, 1):
        if n > len(order) or deviation[order[n - 1]] > largest:
            continue
        numbers = np.sort(order[:n])
        group = ROTATIONS[numbers]
        if deviation[order[n - 1]] > tolerance and not _within_errors(metric, covariance, group):
            continue
        if np.isin(products[np.ix_(numbers, numbers)], numbers).all():
            return group, float(deviation[order[n - 1]])
    return np.eye(3)[None], 0.0


def _deviations(metric: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Largest |dG_ij| / sqrt(G_ii G_jj) by each matrix."""
    values = metric[ROW, COLUMN]
    size = np.sqrt(metric[ROW, ROW] * metric[COLUMN, COLUMN])
    return (np.abs(operators @ values - values) / size).max(axis=1)


def find_bravais(
    lattice: np.ndarray, covariance: np.ndarray | None = None, tolerance: float | None = None
) -> BravaisLattice:
    """Bravais lattice, reduced and conventional cell of a lattice.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are the vectors of a primitive cell [angstrom].
    covariance : ndarray, shape (6, 6), optional
        Of the metric tensor of ``lattice``: entries 11, 22, 33, 23, 13, 12 [angstrom^4].
    tolerance : float, optional
        Largest relative deviation of the metric that passes for symmetry. By default
        :data:`SMALLEST_TOLERANCE`, or what the covariance allows: :data:`DEVIATIONS` of its
        standard deviations, up to :data:`LARGEST_TOLERANCE`.

    Returns
    -------
    BravaisLattice

    Raises
    ------
    UserError
        The vectors span no volume.
    """
    reduced = niggli_cell(lattice)
    change = np.rint(reduced @ np.linalg.inv(lattice))
    metric = reduced @ reduced.T
    spread = None
    if covariance is not None:
        operator = _mean_operator(change[None])
        spread = operator @ covariance @ operator.T
    allowed = (SMALLEST_TOLERANCE, spread) if tolerance is None else (tolerance, None)
    group, distortion = _lattice_symmetry(metric, *allowed)
    symmetric = (group @ metric @ group.transpose(0, 2, 1)).mean(axis=0)
    symbol, setting = _conventional_setting(np.linalg.cholesky(symmetric), group)
    conventional = setting @ symmetric @ setting.T
    errors = np.full(6, np.nan)
    if spread is not None:
        operator = _mean_operator(setting[None]) @ _mean_operator(group)
        errors = _parameter_errors(conventional, operator @ spread @ operator.T)
    frame = np.linalg.solve(np.linalg.cholesky(metric), reduced)
    return BravaisLattice(
        symbol=symbol,
        system=_SYSTEMS[symbol],
        niggli=np.linalg.cholesky(symmetric) @ frame,
        conventional=setting @ np.linalg.cholesky(symmetric) @ frame,
        parameters=_metric_parameters(conventional),
        errors=errors,
        distortion=distortion,
    )


def _within_errors(metric: np.ndarray, covariance: np.ndarray, group: np.ndarray) -> bool:
    """Whether the mean over a group changes the metric by no more than its errors."""
    change = np.eye(6) - _mean_operator(group)
    moved = np.abs(change @ metric[ROW, COLUMN])
    allowed = np.sqrt(np.maximum(np.diag(change @ covariance @ change.T), 0))
    forgiven = SMALLEST_TOLERANCE / 2 * np.sqrt(metric[ROW, ROW] * metric[COLUMN, COLUMN])
    return bool((moved <= DEVIATIONS * allowed + forgiven).all())


def _mean_operator(matrices: np.ndarray) -> np.ndarray:
    """The mean of M G M^T over some matrices as a matrix on the six entries of G; shape (6, 6)."""
    return metric_operators(matrices).mean(axis=0)


def _parameter_errors(metric: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard uncertainties of a, b, c, alpha, beta, gamma by differences."""
    jacobian = np.empty((6, 6))
    for k, (r, c) in enumerate(zip(ROW, COLUMN, strict=True)):
        step = np.zeros((3, 3))
        step[r, c] = step[c, r] = 1e-6 * np.sqrt(metric[r, r] * metric[c, c])
        difference = _metric_parameters(metric + step) - _metric_parameters(metric - step)
        jacobian[:, k] = difference / (2 * step[r, c])
    return np.sqrt(np.maximum(np.diag(jacobian @ covariance @ jacobian.T), 0))


#: A lattice without any symmetry, of which a group's mean is as general as the group allows.
_GENERAL = np.array([[1.0, 0.013, 0.029], [0.0, 1.171, 0.047], [0.0, 0.0, 1.393]])


def _type_of_lattice(lattice: np.ndarray) -> tuple[str, np.ndarray]:
    """Bravais symbol and conventional cell, as spglib sets it, of an exact primitive one."""
    dataset = spglib.get_symmetry_dataset(
        (lattice.tolist(), [[0.0, 0.0, 0.0]], [1]), symprec=_EXACT
    )
    if dataset is None or dataset.number not in SYMBOLS:
        raise UserError("lattice: no Bravais lattice found")
    return SYMBOLS[dataset.number], np.rint(np.linalg.inv(dataset.transformation_matrix).T)


@lru_cache(maxsize=10_000)
def _type_of_group(group: bytes) -> tuple[str, np.ndarray]:
    """The same for what matrices alone settle, but for the order of axes that are alike."""
    matrices = np.frombuffer(group).reshape(-1, 3, 3)
    metric = _GENERAL @ _GENERAL.T
    symmetric = (matrices @ metric @ matrices.transpose(0, 2, 1)).mean(axis=0)
    return _type_of_lattice(np.linalg.cholesky(symmetric))


def _conventional_setting(lattice: np.ndarray, group: np.ndarray) -> tuple[str, np.ndarray]:
    """Bravais symbol and the rows of the conventional cell in terms of an exact primitive one."""
    if len(group) == 1:
        return "aP", np.eye(3)
    if len(group) == 2:
        # Which vectors are the shortest of a monoclinic lattice's plane is the metric's business.
        symbol, setting = _type_of_lattice(lattice)
    else:
        symbol, setting = _type_of_group(np.ascontiguousarray(group).tobytes())
    lengths = np.linalg.norm(setting @ lattice, axis=1)
    order = np.arange(3)
    if symbol in ("oP", "oI", "oF"):
        order = np.argsort(lengths, kind="stable")
    elif symbol == "oC":
        order[:2] = np.argsort(lengths[:2], kind="stable")
    elif symbol == "mP" and lengths[0] > lengths[2]:
        order = order[::-1]
    setting = setting[order]
    vectors = setting @ lattice
    if symbol in ("mP", "mC") and vectors[0] @ vectors[2] > 0:
        setting[0] *= -1
        setting[1] *= -1
    if np.linalg.det(setting) < 0:
        setting *= -1
    return symbol, setting

"""A phase of which most grains are twins: the smaller, more symmetric cell that twins make larger.

The spots of two twins lie on one lattice together, whose cell is 2 or 3 times as large, and less
symmetric. It explains a pattern of twins at once; the true cell does so by two grains.
"""

from __future__ import annotations

import numpy as np

from ediff_solve.lattice.bravais import find_bravais
from ediff_solve.lattice.kernels.fitting import reduce_basis
from ediff_solve.phases.judging import PATTERN_GAIN, View, distances, judge
from ediff_solve.phases.orienting import TIGHT
from ediff_solve.phases.superlattices import find_changes
from ediff_utils.core.errors import UserError

#: Symmetry operations of each lattice system.
_ORDERS = {
    "triclinic": 2,
    "monoclinic": 4,
    "orthorhombic": 8,
    "trigonal": 12,
    "tetragonal": 16,
    "hexagonal": 24,
    "cubic": 48,
}
#: A metric deviates by no more from the higher symmetry [relative].
TOLERANCE = 0.015
#: Two grains of the smaller cell gain so much of what the larger one does in the same patterns.
AS_MUCH = 0.8


def find_untwinned(reciprocal: np.ndarray, view: View) -> np.ndarray | None:
    """The reciprocal basis of a smaller cell that explains the same by twins; None for none.

    Rows of ``reciprocal``, shape (3, 3), are those of the larger cell [1/angstrom].
    """
    direct = np.linalg.inv(reciprocal).T
    order = _ORDERS[find_bravais(direct, tolerance=TOLERANCE).system]
    least = AS_MUCH * _explain_twice(reciprocal, view, 1)
    best, most = None, least
    for index in (2, 3):
        for change in find_changes(index):
            coarser = change @ reciprocal
            reduce_basis(coarser)
            try:
                lattice = find_bravais(np.linalg.inv(coarser).T, tolerance=TOLERANCE)
            except UserError:
                continue
            if _ORDERS[lattice.system] <= order:
                continue
            symmetric = np.linalg.inv(lattice.niggli).T
            value = _explain_twice(symmetric, view, 2)
            if value > most:
                best, most = symmetric, value
    return best


def _explain_twice(reciprocal: np.ndarray, view: View, layers: int) -> float:
    """Gain of a cell in all patterns, by so many grains in each."""
    total = 0.0
    left = list(view.patterns)
    for _ in range(layers):
        judged = judge(reciprocal, View(left, view.half, view.distortion), TIGHT)
        total += float(np.maximum(judged.gains - PATTERN_GAIN, 0).sum())
        for p in np.flatnonzero(judged.gains > PATTERN_GAIN):
            vectors = judged.stack.vectors[judged.stack.part(int(p))]
            left[p] = left[p][distances(judged.oriented.bases[p], vectors)[0] > 0.01]
    return total

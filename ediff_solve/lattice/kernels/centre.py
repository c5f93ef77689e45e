"""Where a pattern's centre is, from its Friedel pairs: compiled, arrays only."""

from __future__ import annotations

import numpy as np
from numba import njit

#: The centre is looked for this far from the origin, and a pair's middle may be so far off the
#: others' [1/angstrom].
FARTHEST, NEAR = 0.025, 0.003
#: Pairs without which nothing is said: fewer may be chance, or spots of higher zones.
FEWEST_PAIRS = 4
#: How far off the origin a centre is thought to be: of a long axis, points halfway between the
#: lattice's are middles of as many pairs [1/angstrom].
LIKELY = 0.008
#: Pairs' middles that are looked at.
MOST_MIDDLES = 4000


@njit(cache=True, nogil=True, error_model="numpy")
def find_centre(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Centre of a pattern, the middle of its spots g and -g, and how many pairs agree on it.

    Both are excited as a rule, as the Ewald sphere is flat. Sums of two spots of the zero-order
    zone are lattice points, none of which but the origin lies as near to it. Spots x and y, shape
    (n,), are without the direct beam; the centre, shape (2,), is zero where too few pairs agree
    [1/angstrom].
    """
    middles = np.empty((MOST_MIDDLES, 2))
    found = 0
    for i in range(x.shape[0]):
        for j in range(i):
            u, v = 0.5 * (x[i] + x[j]), 0.5 * (y[i] + y[j])
            if u * u + v * v < FARTHEST * FARTHEST and found < MOST_MIDDLES:
                middles[found, 0], middles[found, 1] = u, v
                found += 1
    centre, best, best_count = np.zeros(2), 0.0, 0
    for i in range(found):
        total, count = np.zeros(2), 0
        for j in range(found):
            u, v = middles[j, 0] - middles[i, 0], middles[j, 1] - middles[i, 1]
            if u * u + v * v < NEAR * NEAR:
                total += middles[j]
                count += 1
        mean = total / count
        score = count * np.exp(-np.sum(mean**2) / (2 * LIKELY**2))
        if score > best:
            centre, best, best_count = mean, score, count
    if best_count < FEWEST_PAIRS:
        centre[:] = 0
    return centre, best_count

"""Rings and angular orders of a pattern, as the predictors that ship were trained on them.

A copy of the paper's radial and angular basis that is not to change with it: trees know nothing but
the numbers that they were grown on. A predictor's card has :data:`VERSION`, and one of another
version is refused.
"""

from __future__ import annotations

import numpy as np

from ediff_solve.predictor.evidence.kernels.rings import decompose

#: Counts up with every change of the evidence's numbers; then predictors are trained again.
VERSION = 2
#: Rings and their distance [1/angstrom], angular orders.
N_RINGS, STEP, N_ORDERS = 41, 0.05, 7


def ring_magnitudes(patterns: list[tuple]) -> np.ndarray:
    """Magnitudes of the rings' angular orders, of a total intensity of one.

    Of qx, qy [1/angstrom] and intensity of each pattern; float32 of shape (patterns, 41, 7).
    """
    sizes = [len(p[0]) for p in patterns]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    x, y, intensity = (
        np.concatenate(column).astype(float) for column in zip(*patterns, strict=True)
    )
    filled = np.diff(offsets) > 0
    totals = np.zeros(len(patterns))
    totals[filled] = np.add.reduceat(intensity, offsets[:-1][filled])
    intensity = intensity / np.repeat(np.where(totals > 0, totals, 1), sizes)
    return np.abs(decompose(x, y, intensity, offsets, N_RINGS, N_ORDERS, STEP))

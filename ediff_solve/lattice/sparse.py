"""The lattice from so few spots that hardly a difference between two of them comes twice.

Crystals with small cells leave ten to twenty spots away from their zone axes. The search of
:mod:`ediff_solve.lattice.single` starts from differences that several pairs of spots share and
finds none there. Here every difference is tried, and a lattice has to explain the spots far better
than the best of so many explains random ones.
"""

from __future__ import annotations

import numpy as np

from ediff_solve.lattice.kernels.pooling import distinct_differences
from ediff_solve.lattice.single import (
    LONGEST_VECTOR,
    SEARCHES,
    SLAB,
    SLAB_SPREAD,
    LatticeCandidate,
    build_candidates,
    fit_triples,
    prepare_spots,
)

#: Least gain in likelihood. The best of 480 patterns of 5 to 20 random spots has 51.
LEAST_GAIN = 60.0
#: Strongest spots whose differences are tried.
MOST_SPOTS = 40
#: Differences kept, how many of them are first two and third of a triple, and triples fitted.
N_VECTORS, N_PAIRS, N_THIRDS, N_TRIPLES = 60, 16, 24, 32


def solve_sparse(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray | None = None,
    energy: float = 300e3,
    n_candidates: int = 4,
) -> list[LatticeCandidate]:
    """Reciprocal lattices that explain a pattern of few spots, best first; none where none is sure.

    See :func:`ediff_solve.lattice.solve_pattern`.
    """
    prepared = prepare_spots(qx, qy, intensity, energy, MOST_SPOTS)
    if prepared is None:
        return []
    spots, columns = prepared
    tolerance = SEARCHES[-1][1]
    vectors = distinct_differences(*columns[:2], LONGEST_VECTOR, tolerance)[:N_VECTORS]
    numbers = (N_PAIRS, N_THIRDS, N_TRIPLES)
    fits = fit_triples(
        columns, vectors, tolerance, numbers, SLAB, SLAB_SPREAD, LEAST_GAIN, N_TRIPLES + 1
    )
    fits.sort(key=lambda pair: -pair[1][0])
    return build_candidates(spots, fits, n_candidates)

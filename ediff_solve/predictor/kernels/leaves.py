"""Where vectors end in boosted trees."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_leaves(
    vectors: np.ndarray,
    leaves: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    missing_left: np.ndarray,
    value: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add to ``sums``, shape (n, classes), the leaves that vectors of float32 come to.

    For the other arrays see :class:`ediff_solve.predictor.trees.Trees`.
    """
    n_classes = sums.shape[1]
    node, leaf = 0, 0
    for t in range(len(leaves)):
        n_nodes = leaves[t] - 1
        for row in range(len(vectors)):
            k = 0 if n_nodes else -1
            while k >= 0:
                x = vectors[row, feature[node + k]]
                to_left = x <= threshold[node + k]
                if np.isnan(x):
                    missing = missing_left[node + k]
                    to_left = threshold[node + k] >= 0 if missing == 2 else missing == 1
                k = left[node + k] if to_left else right[node + k]
            sums[row, t % n_classes] += value[leaf - 1 - k]
        node += n_nodes
        leaf += n_nodes + 1

"""A small world of crystals, one space group a Bravais lattice, for the predictor's tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from lattice_patterns import CELLS, synthetic_patterns

from ediff_solve.predictor.evidence import compute_evidence

#: What a predictor's card must have to answer.
CARD = {
    "thresholds": {"single": 0.3, "several": 0.3, "zone": 0.3},
    "least_indexed": {"single": 0.5, "several": 0.5, "zone": 0.5},
}


def make_world(
    groups: Mapping[str, int], n: int
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Examples of ``n`` crystals of each lattice, the last two of them for the test.

    Parameters
    ----------
    groups : mapping of str to int
        Space group of each Bravais lattice.
    n : int

    Returns
    -------
    index, vectors, crystals, split
        As :func:`ediff_solve.predictor.training.fitting.train_predictor` takes them: two single
        patterns
        and a group of three of each crystal.
    """
    rows, vectors, labels = [], [], []
    for symbol, number in groups.items():
        for seed in range(n):
            name = f"{symbol}-{seed}"
            patterns = synthetic_patterns(symbol, 3, seed=seed)
            part = "train" if seed < n - 2 else "test"
            axes = dict(zip("abc", CELLS[symbol][:3], strict=True))
            labels.append({"material_id": name, "space_group": number, "part": part} | axes)
            for chosen in (patterns[:1], patterns[1:2], patterns):
                rows.append({"material_id": name, "condition": "clean", "patterns": len(chosen)})
                vectors.append(compute_evidence(chosen).vector)
    table = pd.DataFrame(labels)
    return (
        pd.DataFrame(rows),
        np.array(vectors),
        table[["material_id", "space_group", "a", "b", "c"]],
        table[["material_id", "part"]],
    )

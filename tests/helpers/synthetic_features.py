"""Small tables of crystals, and features that tell something of them, for tests of the forests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.paper.feature_files import FeatureSet
from ediff_utils.paper.features import N_FEATURES

SPACE_GROUPS = {
    "cubic": (225, 227),
    "hexagonal": (194, 191),
    "trigonal": (166, 164),
    "tetragonal": (139, 123),
    "orthorhombic": (62, 63),
    "monoclinic": (14, 12),
    "triclinic": (2, 1),
}


def make_crystals(n: int = 84, seed: int = 0) -> pd.DataFrame:
    """Labels alone: the systems in turn, three materials a prototype."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        system = ALL_SYSTEMS[i % len(ALL_SYSTEMS)]
        a, b, c = rng.uniform(3, 9, 3)
        rows.append(
            {
                "material_id": f"m-{i:03d}",
                "prototype": f"m-{i % (n // 3):03d}",
                "crystal_system": system,
                "space_group": int(rng.choice(SPACE_GROUPS[system])),
                "a": a,
                "b": b,
                "c": c,
            }
        )
    return pd.DataFrame(rows)


def make_features(crystals: pd.DataFrame, n_patterns: int = 4, seed: int = 1) -> FeatureSet:
    """Noise, with system, space group and lattice written into some columns of it."""
    rng = np.random.default_rng(seed)
    index = crystals.loc[crystals.index.repeat(n_patterns), ["material_id"]].reset_index(drop=True)
    index["pattern"] = np.tile(np.arange(n_patterns), len(crystals))
    vectors = rng.normal(size=(len(index), N_FEATURES))
    labels = crystals.loc[crystals.index.repeat(n_patterns)]
    system = labels["crystal_system"].map({s: i for i, s in enumerate(ALL_SYSTEMS)}).to_numpy()
    vectors[:, :100] += system[:, None]
    vectors[:, 100:200] += 0.5 * (labels["space_group"].to_numpy() % 7)[:, None]
    vectors[:, 200:500] += np.repeat(labels[["a", "b", "c"]].to_numpy(), 100, axis=1) / 2
    return FeatureSet(index, vectors.astype(np.float32))

"""What the maps of a scan come to: shares, particles and examples of figure 7, components of S4.

``maps`` are those of :func:`ediff_utils.paper.scan.maps.build_maps`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.paper.aggregation import aggregate_votes
from ediff_utils.paper.votes import lead


def compute_system_shares(maps: pd.DataFrame) -> pd.DataFrame:
    """How much of the map each system takes, a row each, the most frequent first.

    system, pixels, share (of the pixels with a prediction), weighted_share (of their summed
    confidence).
    """
    called = maps[maps["system"].notna()]
    shares = called.groupby("system").agg(
        pixels=("confidence", "size"), weight=("confidence", "sum")
    )
    shares = shares.sort_values(["pixels", "weight"], ascending=False).reset_index()
    shares["share"] = shares["pixels"] / max(len(called), 1)
    total = shares["weight"].sum()
    shares["weighted_share"] = shares["weight"] / (total if total > 0 else 1)
    return shares.drop(columns="weight")


def compute_particle_systems(maps: pd.DataFrame) -> pd.DataFrame:
    """One prediction a particle, by its brightest pattern and by difference aggregation of all.

    Of maps with ``particle``: from 1, 0 for none. A row a particle that has a pattern: particle,
    n_patterns, brightest, aggregated.
    """
    columns = [name for name in maps.columns if name.startswith("probability_")]
    table = maps[(maps["particle"] > 0) & maps["system_raw"].notna()]
    particles, groups = np.unique(table["particle"], return_inverse=True)
    fractions = table[columns].to_numpy()
    best = aggregate_votes(fractions, groups, lead(fractions)[1]).argmax(axis=1)
    brightest = table.loc[table.groupby("particle")["dark_field"].idxmax(), "system_raw"]
    return pd.DataFrame(
        {
            "particle": particles,
            "n_patterns": np.bincount(groups),
            "brightest": brightest.to_numpy(),
            "aggregated": np.array([c.removeprefix("probability_") for c in columns])[best],
        }
    )


def compute_scan_summary(
    maps: pd.DataFrame, particles: pd.DataFrame, true_a: float | None = None
) -> dict[str, object]:
    """Numbers of the map, ready for JSON.

    positions, with_pattern, predicted; share and weighted_share (by system); median_a_cubic,
    std_a_cubic and true_a, of the sample [angstrom], None where there is none; particles_brightest
    and particles_aggregated (particles by system, of :func:`compute_particle_systems`).
    """
    shares = compute_system_shares(maps).set_index("system")
    lattice = maps["a_cubic"].dropna()
    summary: dict[str, object] = {
        "positions": len(maps),
        "with_pattern": int(maps["system_raw"].notna().sum()),
        "predicted": int(maps["system"].notna().sum()),
        "share": {name: float(value) for name, value in shares["share"].items()},
        "weighted_share": {name: float(value) for name, value in shares["weighted_share"].items()},
        "median_a_cubic": float(lattice.median()) if len(lattice) else None,
        "std_a_cubic": float(lattice.std(ddof=0)) if len(lattice) else None,
        "true_a": true_a,
    }
    for column in ("brightest", "aggregated"):
        counts = particles[column].value_counts()
        summary[f"particles_{column}"] = {name: int(n) for name, n in counts.items()}
    return summary


def compute_examples(maps: pd.DataFrame, n_systems: int = 3) -> pd.DataFrame:
    """The most confident position of each of the most frequent systems, at most ``n_systems``.

    Rows of ``maps``, the most frequent first. A position whose own votes agree with the filtered
    prediction is preferred.
    """
    called = maps[maps["system"].notna()].copy()
    called["agrees"] = called["system"] == called["system_raw"]
    systems = compute_system_shares(maps)["system"][:n_systems]
    ranked = called.sort_values(["agrees", "confidence"], ascending=False, kind="stable")
    first = ranked.groupby("system", sort=False).head(1).set_index("system", drop=False)
    return first.loc[list(systems)].drop(columns="agrees").reset_index(drop=True)


def compute_pca(features_scan: np.ndarray, features_simulated: np.ndarray) -> pd.DataFrame:
    """First two principal components, pc1 and pc2, of a scan's vectors and of simulated ones.

    Both, (n, n_features), are used to find the components; ``source`` is "scan" or "simulated".
    """
    from sklearn.decomposition import PCA

    both = np.concatenate([features_scan, features_simulated])
    if min(both.shape) < 2:
        raise UserError(f"principal components: expected two vectors or more, got {len(both)}")
    components = PCA(n_components=2, random_state=0).fit_transform(both)
    source = np.repeat(["scan", "simulated"], [len(features_scan), len(features_simulated)])
    return pd.DataFrame({"pc1": components[:, 0], "pc2": components[:, 1], "source": source})

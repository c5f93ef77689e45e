"""A 4D-STEM scan: gold nanoparticles as a test sample, and maps of what the forests say.

The steps are those of the paper's "Experimental Electron Diffraction Patterns": positions with few
spots are dropped, the crystal system is predicted, filtered in a 5 x 5 window, left empty where the
confidence is low, and the lattice is predicted by the cubic forests and by those of the system.
Positions follow :mod:`ediff_utils.bragg`: x counts rows, y columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from ediff_utils.bragg import BraggLists
from ediff_utils.errors import UserError
from ediff_utils.features import compute_features
from ediff_utils.paths import atomic_write
from ediff_utils.settings import ScanSettings

#: Positions filtered at once: bounds the memory of a large scan.
_CHUNK = 50_000


class SystemAndLattice(Protocol):
    """What the maps need of the forests of :mod:`ediff_utils.models`."""

    classes: Sequence[str]
    n_trees: int

    def system_votes(self, features: np.ndarray) -> np.ndarray:
        """Votes of the trees; shape (n, n_classes)."""

    def predict_lattice(self, features: np.ndarray, system: str) -> np.ndarray:
        """a, b, c [angstrom] by the forests of one system; shape (n, 3)."""


def compute_scan_features(
    lists: BraggLists, min_spots: int, normalisation: str = "scattered"
) -> tuple[BraggLists, np.ndarray]:
    """Drop the positions with few spots and turn the others into vectors.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam.
    min_spots : int
        Fewest spots that make a pattern.
    normalisation : str
        See :func:`ediff_utils.features.compute_features`.

    Returns
    -------
    BraggLists
        What is left, n positions.
    ndarray, shape (n, n_features)

    Raises
    ------
    UserError
        No position has that many spots.
    """
    kept = lists.keep_positions(lists.n_spots >= min_spots)
    if len(kept) == 0:
        raise UserError(
            f"min_spots: no probe position has {min_spots} spots or more, "
            f"the most is {lists.n_spots.max()}"
        )
    vectors = compute_features(
        kept.qx, kept.qy, kept.intensity, kept.offsets, normalisation=normalisation
    )
    return kept, vectors


def filter_votes(fractions: np.ndarray, size: int) -> np.ndarray:
    """Median filter of the vote fractions, over the neighbours that have any.

    Crystal systems have no order, so the median of their codes would depend on how the codes were
    dealt out: between pixels called the first and the fifth class it finds the third. Here each
    class's fraction of the votes is filtered by itself, and the class that leads afterwards is the
    prediction. Like any median it removes lone pixels and keeps the edges of particles.

    Parameters
    ----------
    fractions : ndarray, shape (nx, ny, n_classes)
        Fraction of the trees that vote for each class; NaN where there is no pattern.
    size : int
        Width of the square window, odd.

    Returns
    -------
    ndarray, shape (nx, ny, n_classes)
        NaN where ``fractions`` is; support never turns into crystal.

    Raises
    ------
    UserError
        ``size`` is even, so that no pixel is in the middle.
    """
    if size % 2 == 0:
        raise UserError(f"median_size: expected an odd number of pixels, got {size}")
    half = size // 2
    padded = np.pad(fractions, ((half, half), (half, half), (0, 0)), constant_values=np.nan)
    windows = sliding_window_view(padded, (size, size), axis=(0, 1))
    x, y = np.nonzero(~np.isnan(fractions[..., 0]))
    filtered = np.full_like(fractions, np.nan)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        filtered[x[part], y[part]] = np.nanmedian(windows[x[part], y[part]], axis=(2, 3))
    return filtered


def _lead(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the leading class of each row, and its lead over the second."""
    # the column of zeros is there for forests that know one class only
    padded = np.column_stack([votes, np.zeros(len(votes))])
    first, second = np.sort(padded, axis=1)[:, :-3:-1].T
    return votes.argmax(axis=1), first - second


def compute_scan_maps(
    lists: BraggLists,
    hierarchy: SystemAndLattice,
    settings: ScanSettings,
    normalisation: str = "scattered",
) -> pd.DataFrame:
    """Crystal system and lattice at every probe position.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam.
    hierarchy : Hierarchy
        The forests.
    settings : ScanSettings
        ``min_spots``, ``median_size`` and ``min_confidence`` are used.
    normalisation : str
        The one that the forests were trained with.

    Returns
    -------
    DataFrame
        A row a position of the scan, those without spots included, by x, then y: x, y, n_spots,
        dark_field (sum of the spots' intensities), votes_<system> and n_trees (0 without a
        pattern), system_raw (most voted), system (after the filter; None where empty), confidence
        (lead of the first over the second class after the filter, as a fraction of the trees),
        a_cubic (by the cubic forests), a, b, c (by the forests of ``system``) [angstrom].
    """
    maps = _empty_maps(lists, hierarchy.classes)
    kept, features = compute_scan_features(lists, settings.min_spots, normalisation)
    rows = kept.x * lists.shape[1] + kept.y
    votes = hierarchy.system_votes(features)
    classes = np.array(hierarchy.classes, dtype=object)

    fractions = np.full((*lists.shape, len(classes)), np.nan)
    fractions[kept.x, kept.y] = votes / hierarchy.n_trees
    filtered = filter_votes(fractions, settings.median_size)[kept.x, kept.y]
    best, confidence = _lead(filtered)
    sure = confidence >= settings.min_confidence
    system = np.where(sure, classes[best], None)

    maps.loc[rows, [f"votes_{name}" for name in classes]] = votes
    maps.loc[rows, "n_trees"] = hierarchy.n_trees
    maps.loc[rows, "system_raw"] = classes[votes.argmax(axis=1)]
    maps.loc[rows, "system"] = system
    maps.loc[rows, "confidence"] = confidence
    if sure.any() and "cubic" in hierarchy.classes:
        cubic = hierarchy.predict_lattice(features[sure], "cubic")
        maps.loc[rows[sure], "a_cubic"] = cubic[:, 0]
    for name in sorted(set(system[sure])):
        own = system == name
        maps.loc[rows[own], ["a", "b", "c"]] = hierarchy.predict_lattice(features[own], name)
    return maps


def _empty_maps(lists: BraggLists, classes: Sequence[str]) -> pd.DataFrame:
    x, y = (axis.ravel() for axis in np.indices(lists.shape))
    rows = lists.x * lists.shape[1] + lists.y
    n_spots, dark_field = np.zeros(len(x), dtype=np.int64), np.zeros(len(x))
    n_spots[rows], dark_field[rows] = lists.n_spots, lists.total_intensity
    maps = pd.DataFrame({"x": x, "y": y, "n_spots": n_spots, "dark_field": dark_field})
    for name in classes:
        maps[f"votes_{name}"] = 0
    maps["n_trees"] = 0
    for name in ("system_raw", "system"):
        maps[name] = np.full(len(maps), None, dtype=object)
    for name in ("confidence", "a_cubic", "a", "b", "c"):
        maps[name] = np.nan
    return maps


def compute_system_shares(maps: pd.DataFrame) -> pd.DataFrame:
    """How much of the map each system takes.

    Parameters
    ----------
    maps : DataFrame
        See :func:`compute_scan_maps`.

    Returns
    -------
    DataFrame
        A row a system that occurs, the most frequent first: system, pixels, share (of the pixels
        with a prediction), weighted_share (of their summed confidence).
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


def compute_particle_systems(maps: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """One prediction a particle, by its brightest pattern and by difference aggregation of all.

    Parameters
    ----------
    maps : DataFrame
        See :func:`compute_scan_maps`.
    truth : DataFrame
        x, y and particle (-1 on the support).

    Returns
    -------
    DataFrame
        A row a particle that has a pattern: particle, n_patterns, brightest, aggregated.
    """
    table = maps.merge(truth[["x", "y", "particle"]], on=["x", "y"], validate="one_to_one")
    table = table[(table["particle"] >= 0) & (table["n_trees"] > 0)]
    columns = [name for name in table.columns if name.startswith("votes_")]
    rows = []
    for particle, pixels in table.groupby("particle"):
        best, lead = _lead(pixels[columns].to_numpy())
        weights = np.bincount(best, weights=lead, minlength=len(columns))
        rows.append(
            {
                "particle": particle,
                "n_patterns": len(pixels),
                "brightest": pixels.loc[pixels["dark_field"].idxmax(), "system_raw"],
                "aggregated": columns[weights.argmax()].removeprefix("votes_"),
            }
        )
    return pd.DataFrame(rows, columns=["particle", "n_patterns", "brightest", "aggregated"])


def compute_scan_summary(
    maps: pd.DataFrame, truth: pd.DataFrame | None = None, true_a: float | None = None
) -> dict[str, object]:
    """Numbers of the map, ready for JSON.

    Parameters
    ----------
    maps : DataFrame
        See :func:`compute_scan_maps`.
    truth : DataFrame, optional
        Where the particles are: x, y, particle (-1 on the support).
    true_a : float, optional
        Lattice parameter of the sample [angstrom], where known.

    Returns
    -------
    dict
        positions, with_pattern, predicted; share and weighted_share (by system);
        median_a_cubic, std_a_cubic and true_a [angstrom], None where there is none. With ``truth``
        also particle_pixels (those with a prediction), particle_pixels_cubic (fraction of them),
        and particles_brightest and particles_aggregated (particles by system).
    """
    shares = compute_system_shares(maps).set_index("system")
    lattice = maps["a_cubic"].dropna()
    summary: dict[str, object] = {
        "positions": len(maps),
        "with_pattern": int((maps["n_trees"] > 0).sum()),
        "predicted": int(maps["system"].notna().sum()),
        "share": {name: float(value) for name, value in shares["share"].items()},
        "weighted_share": {name: float(value) for name, value in shares["weighted_share"].items()},
        "median_a_cubic": float(lattice.median()) if len(lattice) else None,
        "std_a_cubic": float(lattice.std(ddof=0)) if len(lattice) else None,
        "true_a": true_a,
    }
    if truth is None:
        return summary
    particles = truth.loc[truth["particle"] >= 0, ["x", "y"]]
    called = maps.merge(particles, on=["x", "y"], validate="one_to_one")["system"].dropna()
    by_particle = compute_particle_systems(maps, truth)
    summary["particle_pixels"] = len(called)
    summary["particle_pixels_cubic"] = float((called == "cubic").mean()) if len(called) else None
    for column in ("brightest", "aggregated"):
        counts = by_particle[column].value_counts()
        summary[f"particles_{column}"] = {name: int(n) for name, n in counts.items()}
    return summary


def compute_examples(maps: pd.DataFrame, n_systems: int = 3) -> pd.DataFrame:
    """The most confident position of each of the most frequent systems.

    Parameters
    ----------
    maps : DataFrame
        See :func:`compute_scan_maps`.
    n_systems : int
        How many systems at most.

    Returns
    -------
    DataFrame
        Rows of ``maps``, one a system, the most frequent first. A position whose own votes agree
        with the filtered prediction is preferred.
    """
    called = maps[maps["system"].notna()].copy()
    called["agrees"] = called["system"] == called["system_raw"]
    systems = compute_system_shares(maps)["system"][:n_systems]
    ranked = called.sort_values(["agrees", "confidence"], ascending=False, kind="stable")
    first = ranked.groupby("system", sort=False).head(1).set_index("system", drop=False)
    return first.loc[list(systems)].drop(columns="agrees").reset_index(drop=True)


def compute_pca(features_scan: np.ndarray, features_simulated: np.ndarray) -> pd.DataFrame:
    """First two principal components of the scan's vectors and of simulated ones.

    Parameters
    ----------
    features_scan, features_simulated : ndarray, shape (n, n_features)
        Both are used to find the components.

    Returns
    -------
    DataFrame
        pc1, pc2 and source ("scan" or "simulated"), one row a vector.
    """
    from sklearn.decomposition import PCA

    both = np.concatenate([features_scan, features_simulated])
    if min(both.shape) < 2:
        raise UserError(f"principal components: expected two vectors or more, got {len(both)}")
    components = PCA(n_components=2, random_state=0).fit_transform(both)
    source = np.repeat(["scan", "simulated"], [len(features_scan), len(features_simulated)])
    return pd.DataFrame({"pc1": components[:, 0], "pc2": components[:, 1], "source": source})


def write_maps(maps: pd.DataFrame, path: str | Path) -> None:
    """Write maps, or the truth of a simulated scan, as Parquet.

    Parameters
    ----------
    maps : DataFrame
    path : str or Path
        The file, replaced in one step.
    """
    with atomic_write(Path(path)) as partial:
        maps.to_parquet(partial, index=False)

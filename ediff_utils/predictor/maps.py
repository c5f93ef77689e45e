"""The predictor on a scan: every position, and every particle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.bragg import BraggLists
from ediff_utils.evidence import NAMES, compute_evidence
from ediff_utils.predictor.boosting import SYSTEMS
from ediff_utils.predictor.predictor import Predictor
from ediff_utils.predictor.spot_checks import check_pattern
from ediff_utils.scan import build_maps
from ediff_utils.settings import ScanSettings
from ediff_utils.workers import run_tasks

#: Positions that a worker process is handed at once.
_CHUNK = 250
_AXES = tuple(f"conventional_{axis}" for axis in "abc")
#: Space groups of each system: first and last number, from 1.
_GROUPS = {
    name: (first + 1, last)
    for first, (name, last) in zip((0, *SYSTEMS.values()), SYSTEMS.items(), strict=False)
}
PARTICLE_COLUMNS = (
    "particle",
    "n_patterns",
    "brightest",
    "aggregated",
    "confidence",
    "a",
    "indexed",
)


def compute_predictor_maps(
    lists: BraggLists, predictor: Predictor, settings: ScanSettings
) -> pd.DataFrame:
    """Crystal system, space group and lattice at every probe position, by the predictor.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam [1/angstrom].
    predictor : Predictor
    settings : ScanSettings
        ``min_spots``, ``median_size``, ``min_confidence``, ``energy`` and ``jobs`` are used.

    Returns
    -------
    DataFrame
        See :func:`ediff_utils.scan.build_maps`. space_group is the likeliest of ``system``; a, b, c
        are the solved cell's conventional axes, and a_cubic its a where ``system`` is cubic
        [angstrom]. Further: indexed, the share of the spots that one lattice explains (NaN without
        an answer), and two_grains, whether it is below what one grain leaves.
    """
    enough = lists.keep_positions(lists.n_spots >= settings.min_spots)
    vectors = compute_position_evidence(enough, settings.energy, settings.jobs)
    indexed = vectors[:, NAMES.index("indexed")]
    solved = np.isfinite(indexed)
    kept = enough.keep_positions(solved)
    groups = _probabilities(predictor, vectors[solved])
    systems = _sum_systems(groups)
    maps = build_maps(lists, kept, tuple(reversed(SYSTEMS)), systems[:, ::-1], settings)
    maps["indexed"], maps["two_grains"] = np.nan, False
    rows = kept.x * lists.shape[1] + kept.y
    maps.loc[rows, "indexed"] = indexed[solved].astype(float)
    maps["two_grains"] = maps["indexed"] < predictor.card["least_indexed"]["single"]
    called = maps.loc[rows, "system"].to_numpy()
    axes = vectors[solved][:, [NAMES.index(name) for name in _AXES]].astype(float)
    sure = ~pd.isna(called)
    maps.loc[rows[sure], ["a", "b", "c"]] = axes[sure]
    cubic = called == "cubic"
    maps.loc[rows[cubic], "a_cubic"] = axes[cubic, 0]
    for name in sorted(set(called[sure])):
        own = called == name
        first, last = _GROUPS[name]
        maps.loc[rows[own], "space_group"] = first + groups[own, first - 1 : last].argmax(axis=1)
    return maps


def compute_position_evidence(lists: BraggLists, energy: float, jobs: int = -1) -> np.ndarray:
    """Evidence of every position's pattern on its own.

    Parameters
    ----------
    lists : BraggLists
    energy : float
        [eV]
    jobs : int
        Worker processes, -1 for one a core.

    Returns
    -------
    ndarray of float32, shape (n, len(NAMES))
        NaN where no lattice explains the spots.
    """
    vectors = np.full((len(lists), len(NAMES)), np.nan, np.float32)
    tasks = []
    for start in range(0, len(lists), _CHUNK):
        stop = min(start + _CHUNK, len(lists))
        patterns = [lists.spots(k) for k in range(start, stop)]
        tasks.append((start, patterns, energy))
    for start, part in run_tasks(_evidence_of, tasks, jobs=jobs):
        vectors[start : start + len(part)] = part
    return vectors


def _evidence_of(start: int, patterns: list[tuple], energy: float) -> tuple[int, np.ndarray]:
    vectors = np.full((len(patterns), len(NAMES)), np.nan, np.float32)
    for k, pattern in enumerate(patterns):
        checked = check_pattern(*pattern)
        if not checked.usable:
            continue
        found = compute_evidence([checked.spots], energy)
        if found.bravais is not None:
            vectors[k] = found.vector
    return start, vectors


def _probabilities(predictor: Predictor, vectors: np.ndarray) -> np.ndarray:
    if not len(vectors):
        return np.zeros((0, max(SYSTEMS.values())))
    return predictor.models["single"].probabilities(vectors)


def _sum_systems(groups: np.ndarray) -> np.ndarray:
    """Of the systems in the order of their space groups; shape (n, 7)."""
    return np.column_stack([groups[:, a - 1 : b].sum(axis=1) for a, b in _GROUPS.values()])


def compute_predictor_particles(
    lists: BraggLists,
    labels: np.ndarray,
    maps: pd.DataFrame,
    predictor: Predictor,
    settings: ScanSettings,
) -> pd.DataFrame:
    """One prediction a particle, from its brightest pattern and from all its patterns together.

    Parameters
    ----------
    lists : BraggLists
    labels : ndarray of int, shape (nx, ny)
        See :func:`ediff_utils.particles.segment_particles`.
    maps : DataFrame
        See :func:`compute_predictor_maps`.
    predictor : Predictor
    settings : ScanSettings
        ``min_spots``, ``energy`` and ``jobs`` are used.

    Returns
    -------
    DataFrame
        A row a particle: particle, n_patterns, brightest and aggregated (crystal systems, None
        where nothing can be told), confidence and a [angstrom] of the latter, and indexed, the
        share of its spots that one lattice explains. The lattice is solved from the twenty patterns
        with most spots at most.
    """
    enough = lists.keep_positions(lists.n_spots >= settings.min_spots)
    particle = labels[enough.x, enough.y]
    brightest = maps.set_index(["x", "y"])["system_raw"]
    rows, tasks = [], []
    for label in np.unique(particle[particle > 0]):
        own = np.flatnonzero(particle == label)
        best = own[enough.total_intensity[own].argmax()]
        rows.append((label, len(own), brightest.loc[(enough.x[best], enough.y[best])]))
        tasks.append((int(label), [enough.spots(k) for k in own], settings.energy))
    table = pd.DataFrame(rows, columns=["particle", "n_patterns", "brightest"])
    table = table.set_index("particle")
    table["aggregated"] = np.full(len(table), None, dtype=object)
    table[["confidence", "a", "indexed"]] = np.nan
    names = tuple(SYSTEMS)
    for label, n_usable, vector in run_tasks(_joint, tasks, jobs=settings.jobs):
        if vector is None:
            continue
        kind = "several" if n_usable > 1 else "single"
        systems = _sum_systems(predictor.models[kind].probabilities(vector[None]))[0]
        table.loc[label, "aggregated"] = names[systems.argmax()]
        table.loc[label, "confidence"] = systems.max()
        table.loc[label, "a"] = vector[NAMES.index("conventional_a")]
        table.loc[label, "indexed"] = vector[NAMES.index("indexed")]
    return table.reset_index()[list(PARTICLE_COLUMNS)]


def _joint(label: int, patterns: list[tuple], energy: float) -> tuple[int, int, np.ndarray | None]:
    """Evidence of a particle's patterns together, and how many of them a lattice can have."""
    checked = [check_pattern(*pattern) for pattern in patterns]
    usable = [one.spots for one in checked if one.usable]
    found = compute_evidence(usable, energy) if usable else None
    vector = None if found is None or found.bravais is None else found.vector
    return label, len(usable), vector

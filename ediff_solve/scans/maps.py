"""The predictor on a scan: every position, and every particle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_solve.lattice.bravais import SYMBOLS
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.evidence import NAMES
from ediff_solve.scans.grains import Grain, pool_patterns, solve_grain
from ediff_solve.scans.particles import TOLERANCE
from ediff_utils.core.settings import ScanSettings
from ediff_utils.core.workers import run_tasks
from ediff_utils.crystals.groups import ALL_SYSTEMS, NUMBERED_SYSTEMS
from ediff_utils.paper.scan.bragg import BraggLists
from ediff_utils.paper.scan.maps import build_maps

#: Positions that a worker process is handed at once.
_CHUNK = 250
#: What stands for cubic Bravais lattices in the evidence.
_CUBIC = [n for n, symbol in enumerate(SYMBOLS.values()) if symbol.startswith("c")]
_AXES = [NAMES.index(f"conventional_{axis}") for axis in "abc"]
_TOLD = ["aggregated", "confidence", "a", "one_grain"]


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
        See :func:`ediff_utils.paper.scan.maps.build_maps`. space_group is the likeliest of
        ``system``; a, b, c are the solved cell's conventional axes, and a_cubic its a where both
        ``system`` and the cell are cubic [angstrom]. Further: indexed, the share of the spots that
        one lattice explains, one_grain, the share that one grain does (less where the lattice is
        that of twins), unexplained, the number of the others (all NaN without an answer), and
        two_grains, whether one_grain is below what a grain leaves.
    """
    enough = lists.keep_positions(lists.n_spots >= settings.min_spots)
    grains = _solve_positions(enough, settings.energy, settings.jobs)
    solved = np.array([grain.vector is not None for grain in grains], bool)
    kept = enough.keep_positions(solved)
    found = [grain for grain in grains if grain.vector is not None]
    vectors = np.array([grain.vector for grain in found]).reshape(-1, len(NAMES))
    model = predictor.models["single"]
    systems = model.systems(vectors)
    maps = build_maps(lists, kept, ALL_SYSTEMS, systems[:, ::-1], settings)
    rows = kept.x * lists.shape[1] + kept.y
    for name in ("indexed", "one_grain"):
        maps[name] = np.nan
        maps.loc[rows, name] = [getattr(grain, name) for grain in found]
    maps["unexplained"] = (1 - maps["one_grain"]) * maps["n_spots"]
    maps["two_grains"] = maps["one_grain"] < predictor.card["least_indexed"]["single"]
    called = maps.loc[rows, "system"].to_numpy()
    axes = vectors[:, _AXES].astype(float)
    sure = ~pd.isna(called)
    maps.loc[rows[sure], ["a", "b", "c"]] = axes[sure]
    cubic = (called == "cubic") & np.isin(vectors[:, NAMES.index("bravais")], _CUBIC)
    maps.loc[rows[cubic], "a_cubic"] = axes[cubic, 0]
    for name in sorted(set(called[sure])):
        own = called == name
        # Of other systems' space groups, which take most of the time, nobody asks.
        group = model.groups[NUMBERED_SYSTEMS.index(name)]
        best = group.probabilities(vectors[own]).argmax(axis=1)
        maps.loc[rows[own], "space_group"] = group.classes[best]
    return maps


def _solve_positions(lists: BraggLists, energy: float, jobs: int = -1) -> list[Grain]:
    """The grain that explains most of each position's pattern, by worker processes."""
    numbers = range(len(lists))
    starts = numbers[::_CHUNK]
    tasks = [(n, [lists.spots(k) for k in numbers[n : n + _CHUNK]], energy) for n in starts]
    parts = dict(run_tasks(_solve_part, tasks, jobs=jobs))
    return [grain for start in starts for grain in parts[start]]


def _solve_part(start: int, patterns: list[tuple], energy: float) -> tuple[int, list[Grain]]:
    return start, [solve_grain(pattern, energy) for pattern in patterns]


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
        See :func:`ediff_solve.scans.particles.segment_particles`.
    maps : DataFrame
        See :func:`compute_predictor_maps`, with ``particle``.
    predictor : Predictor
    settings : ScanSettings
        ``min_spots``, ``energy`` and ``jobs`` are used.

    Returns
    -------
    DataFrame
        A row a particle: particle, n_patterns, brightest and aggregated (crystal systems, None
        where nothing can be told), confidence and a [angstrom] of the latter, and one_grain, the
        share of the spots that one grain explains (median over the positions). The answers of a
        particle's positions count together, by the mean of their probabilities. Where none has
        one, its patterns, all of one orientation, are put together to one pattern
        (:func:`ediff_solve.scans.grains.pool_patterns`).
    """
    enough = lists.keep_positions(lists.n_spots >= settings.min_spots)
    particle = labels[enough.x, enough.y]
    brightest = maps.set_index(["x", "y"])["system_raw"]
    positions = dict(list(maps[maps["particle"] > 0].groupby("particle")))
    rows, tasks = [], []
    for label in np.unique(particle[particle > 0]):
        own = np.flatnonzero(particle == label)
        best = own[enough.total_intensity[own].argmax()]
        told = _agree(positions[label])
        rows.append((label, len(own), brightest.loc[(enough.x[best], enough.y[best])], *told))
        if told[0] is None:
            tasks.append((int(label), [enough.spots(k) for k in own], settings.energy))
    columns = ["particle", "n_patterns", "brightest", *_TOLD]
    table = pd.DataFrame(rows, columns=columns).set_index("particle")
    for label, grain in run_tasks(_solve_pool, tasks, jobs=settings.jobs):
        if grain.vector is None:
            continue
        systems = predictor.models["single"].systems(grain.vector[None])[0]
        name, a = NUMBERED_SYSTEMS[systems.argmax()], grain.vector[_AXES[0]]
        table.loc[label, _TOLD] = name, systems.max(), a, grain.one_grain
    return table.reset_index()


def _agree(positions: pd.DataFrame) -> tuple[str | None, float, float, float]:
    """System, confidence, median a [angstrom] and median one_grain of positions with answers."""
    columns = [f"probability_{name}" for name in NUMBERED_SYSTEMS]
    own = positions[positions[columns[0]].notna()]
    if own.empty:
        return None, np.nan, np.nan, np.nan
    mean = own[columns].to_numpy(float).mean(axis=0)
    best = int(mean.argmax())
    name = NUMBERED_SYSTEMS[best]
    a = own.loc[own["system"] == name, "a"].median()
    return name, float(mean[best]), float(a), float(own["one_grain"].median())


def _solve_pool(label: int, patterns: list[tuple], energy: float) -> tuple[int, Grain]:
    return label, solve_grain(pool_patterns(patterns, TOLERANCE), energy)

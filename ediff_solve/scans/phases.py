"""The phases of a scan, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ediff_solve.phases.naming import name_phase
from ediff_solve.phases.report import describe_phases, format_phases, tabulate_phases
from ediff_solve.phases.scan import ScanPhases, find_phases
from ediff_solve.predictor.answering import Predictor
from ediff_solve.scans.phase_maps import compute_phase_maps, write_phase_maps
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.predictions import write_table
from ediff_utils.paper.scan.bragg import BraggLists

#: Names of what is written, beside orix's own files ``phases.h5`` and ``phases.ang``.
TABLE, POSITIONS, REPORT, JSON = (
    "phases.parquet",
    "phase_positions.parquet",
    "phases.txt",
    "phases.json",
)


def tell_phases(
    lists: BraggLists, settings: ScanSettings, folder: Path, step: float
) -> tuple[ScanPhases, pd.DataFrame]:
    """Find the phases of a scan, name their space groups, and write what is told.

    Parameters
    ----------
    lists : BraggLists
        Spots without the direct beam [1/angstrom].
    settings : ScanSettings
        ``energy``, ``seed`` and ``predictor`` are used.
    folder : Path
    step : float
        Distance of probe positions [angstrom].

    Returns
    -------
    found : ScanPhases
    table : DataFrame
        See :func:`ediff_solve.phases.report.tabulate_phases`.
    """
    found = find_phases(lists, settings.energy, settings.seed)
    phases = found.discovered.phases
    predictor = Predictor.load(settings.predictor) if phases and settings.predictor else None
    answers = []
    if predictor is not None:
        answers = [name_phase(found, phase, predictor, settings.energy) for phase in phases]
    table = tabulate_phases(found, answers)
    positions = found.positions.assign(phase=found.positions["phase"] + 1)
    own = positions["position"].to_numpy(int)
    positions = positions.assign(x=lists.x[own], y=lists.y[own]).drop(columns="position")
    write_table(positions, folder / POSITIONS)
    write_table(table, folder / TABLE)
    told = describe_phases(found, table)
    for name, text in ((REPORT, format_phases(found, table)), (JSON, json.dumps(told, indent=2))):
        with atomic_write(folder / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    write_phase_maps(found, compute_phase_maps(found), folder, "phases", step)
    return found, table

"""A scan from its file to maps by the predictor, without a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ediff_solve.frames.bragg import LIST_ENDINGS, write_bragg_lists
from ediff_solve.frames.emd import holds_lists
from ediff_solve.frames.lists.reading import holds_spots
from ediff_solve.frames.powder import RingCalibration
from ediff_solve.frames.stream import build_lists, detect_scan
from ediff_solve.phases.indexing import best_grain
from ediff_solve.phases.report import describe_phases, format_phases
from ediff_solve.phases.scan import ScanPhases
from ediff_solve.scans import intake
from ediff_solve.scans.answers import predict_scan
from ediff_solve.scans.files import write_crystal_maps
from ediff_solve.scans.particles import segment_particles
from ediff_solve.scans.phase_maps import compute_colour_key, compute_phase_maps
from ediff_solve.scans.phases import tell_phases
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.predictions import write_table
from ediff_utils.paper.scan.bragg import BraggLists

#: Axes that a system has as long as a, within a part of it. Cells of single positions may differ.
_EQUAL_TO_A = {"cubic": ["b", "c"], "tetragonal": ["b"], "hexagonal": ["b"], "trigonal": ["b"]}
_SAME_LENGTH = 0.02
#: Names of what is written, beside orix's own files of the maps.
LISTS, MAPS, PARTICLES = "bragg_lists.parquet", "maps.parquet", "particles.parquet"


@dataclass(frozen=True)
class MappedScan:
    """A scan and what the predictor says of it.

    Parameters
    ----------
    lists : BraggLists
    maps, particles : DataFrame
        Of :class:`ediff_solve.scans.answers.Answers`.
    labels : ndarray of int, shape (nx, ny)
        Particle at each position, 0 for none.
    step : float
        Distance of probe positions [angstrom].
    phases : ScanPhases
        Cells that explain the whole scan, told without the predictor.
    phase_table : DataFrame
        See :func:`ediff_solve.phases.report.tabulate_phases`.
    """

    lists: BraggLists
    maps: pd.DataFrame
    particles: pd.DataFrame
    labels: np.ndarray
    step: float
    phases: ScanPhases
    phase_table: pd.DataFrame

    def to_dict(self) -> dict[str, object]:
        """What a program would read: shape, and by crystal system positions, particles and cell."""
        found = self.maps[self.maps["system"].notna()]
        systems = {}
        for name, positions in found["system"].value_counts().items():
            own = found[found["system"] == name]
            equal = own[_EQUAL_TO_A.get(str(name), [])].sub(own["a"], axis=0).abs()
            fits = own[equal.le(_SAME_LENGTH * own["a"], axis=0).all(axis=1)]
            cell = {axis: _median(fits[axis]) for axis in ("a", "b", "c")}
            particles = int((self.particles["aggregated"] == name).sum())
            systems[str(name)] = {"positions": int(positions), "particles": particles, **cell}
        return {
            "shape": list(map(int, self.lists.shape)),
            "step": self.step,
            "spots": int(self.lists.n_spots.sum()),
            "positions": len(found),
            "particles": len(self.particles),
            "systems": systems,
            "whole_scan": describe_phases(self.phases, self.phase_table),
        }


def _median(values: pd.Series) -> float | None:
    middle = values.median()
    return None if np.isnan(middle) else round(float(middle), 4)


def take_scan(path: Path) -> dict[str, str]:
    """Which parameter a scan's file is: ``scan_file``, frames, or ``bragg_file``, Bragg lists.

    A UserError where there is no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; expected a scan's frames or Bragg lists")
    ending = path.suffix.lower()
    is_lists = ending in LIST_ENDINGS or (ending in (".h5", ".hdf5") and holds_lists(path))
    is_lists = is_lists or holds_spots(path)
    return {"bragg_file" if is_lists else "scan_file": str(path)}


def map_scan(
    settings: ScanSettings, folder: Path, known: RingCalibration | None = None
) -> MappedScan:
    """Map a user's frames or Bragg lists, and write lists, maps and particles into a folder.

    The ellipse of ``known`` is put right in frames, unless a ring of their own tells it. A
    UserError where the file cannot be read, lacks what is needed, or nothing can be written.
    """
    frames = intake.open_scan(settings, folder)
    if frames is not None:
        detected = detect_scan(frames, intake.look_at_scan(frames, settings))
        calibration, _ = intake.calibrate(frames, detected, settings, known)
        write_bragg_lists(build_lists(detected, calibration), folder / LISTS)
    lists = intake.read_lists(settings.bragg_file or folder / LISTS, settings)
    labels = segment_particles(lists, settings.min_spots)
    answers = predict_scan(lists, labels, settings)
    step = intake.find_step(frames, settings)
    write_table(answers.maps, folder / MAPS)
    write_table(answers.particles, folder / PARTICLES)
    write_crystal_maps(answers.maps, folder, "maps", step)
    phases, table = tell_phases(lists, settings, folder, step)
    return MappedScan(lists, answers.maps, answers.particles, labels, step, phases, table)


def prepare_phase_figure(mapped: MappedScan, energy: float) -> dict[str, Any] | None:
    """What :func:`ediff_solve.figures.phases.figure_phases` draws; None where no phase is told.

    The energy is that of the electrons [eV].
    """
    phases = mapped.phases.discovered.phases
    if not phases:
        return None
    cells = [(f"{n + 1} {p.bravais.symbol}", p.bravais.parameters) for n, p in enumerate(phases)]
    return {
        "maps": compute_phase_maps(mapped.phases),
        "names": [f"{name}, {a:.2f} {b:.2f} {c:.2f} Å" for name, (a, b, c, *_) in cells],
        "grains": [best_grain(mapped.phases, phase, energy) for phase in phases],
        "keys": [compute_colour_key(phase.bravais.system) for phase in phases],
        "step": mapped.step,
    }


def format_scan(mapped: MappedScan) -> str:
    """What was found, as lines."""
    found = mapped.to_dict()
    nx, ny = mapped.lists.shape
    lines = [
        f"{nx} x {ny} positions, {found['spots']:,} spots, {found['particles']} particles",
        f"{'crystal system':16}{'positions':>10}{'particles':>10}   a, b, c where solved (median)",
    ]
    for name, own in found["systems"].items():  # type: ignore[attr-defined]
        cell = ", ".join("-" if own[axis] is None else f"{own[axis]:.3f}" for axis in "abc")
        lines.append(f"{name:16}{own['positions']:>10}{own['particles']:>10}   {cell} angstrom")
    untold = nx * ny - found["positions"]  # type: ignore[operator]
    lines.append(f"{'nothing told':16}{untold:>10}")
    return "\n".join([*lines, "", format_phases(mapped.phases, mapped.phase_table)])

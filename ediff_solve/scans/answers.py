"""What the predictor, where there is one, says of a whole scan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_solve.predictor.answering import SHIPPED, Predictor
from ediff_solve.predictor.store import CARD
from ediff_solve.scans.filling import fill_from_grains
from ediff_solve.scans.maps import compute_predictor_maps, compute_predictor_particles
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.scan.bragg import BraggLists

PREDICTOR = "predictor"


@dataclass(frozen=True)
class Answers:
    """What the predictor says of a scan (:mod:`ediff_solve.scans.maps`), where there is one."""

    maps: pd.DataFrame | None
    particles: pd.DataFrame | None
    seconds: dict[str, float]  # "predictor": from Bragg lists to maps, by the clock [s]
    note: str


def predict_scan(lists: BraggLists, labels: np.ndarray, settings: ScanSettings) -> Answers:
    """Ask the predictor about every position and particle, where there is one.

    The labels, shape (nx, ny), are those of :func:`ediff_solve.scans.particles.segment_particles`.
    Without maps where the default predictor is not there; a UserError where one that was named is
    not there, or damaged.
    """
    default = ScanSettings.model_fields["predictor"].default
    if settings.predictor == default and not (SHIPPED / default / CARD).exists():
        place = Path(SHIPPED.name) / default
        return Answers(None, None, {}, f"No predictor in data/{place}: the forests stand alone.")
    predictor = Predictor.load(settings.predictor)
    start = time.perf_counter()
    maps = compute_predictor_maps(lists, predictor, settings)
    maps["particle"] = labels.ravel()
    maps = fill_from_grains(maps, settings)
    seconds = {PREDICTOR: time.perf_counter() - start}
    particles = compute_predictor_particles(lists, labels, maps, predictor, settings)
    note = f"Predictor {settings.predictor}: {int(maps['system_raw'].notna().sum())} positions."
    return Answers(maps, particles, seconds, note)

"""What the predictor, where there is one, says of a whole scan."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ediff_solve.predictor.answering import Predictor
from ediff_solve.scans.filling import fill_from_grains
from ediff_solve.scans.maps import compute_predictor_maps, compute_predictor_particles
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.scan.bragg import BraggLists

PREDICTOR = "predictor"


@dataclass(frozen=True)
class Answers:
    """What the predictor says of a scan (:mod:`ediff_solve.scans.maps`)."""

    maps: pd.DataFrame
    particles: pd.DataFrame
    seconds: dict[str, float]  # "predictor": from Bragg lists to maps, by the clock [s]
    note: str


def predict_scan(lists: BraggLists, labels: np.ndarray, settings: ScanSettings) -> Answers:
    """Ask the predictor about every position and particle.

    The labels, shape (nx, ny), are those of :func:`ediff_solve.scans.particles.segment_particles`.
    A UserError where the predictor is not there, or damaged.
    """
    predictor = Predictor.load(settings.predictor)
    start = time.perf_counter()
    maps = compute_predictor_maps(lists, predictor, settings)
    maps["particle"] = labels.ravel()
    maps = fill_from_grains(maps, settings)
    seconds = {PREDICTOR: time.perf_counter() - start}
    particles = compute_predictor_particles(lists, labels, maps, predictor, settings)
    note = f"Predictor {settings.predictor}: {int(maps['system_raw'].notna().sum())} positions."
    return Answers(maps, particles, seconds, note)

"""What notebook 6 says of a scan: the predictor's part where there is one, and the numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_solve.gold_scan.detection import DEFAULT
from ediff_solve.gold_scan.scores import (
    compute_confusion,
    compute_flags,
    compute_stages,
    summarise_flags,
)
from ediff_solve.predictor.answering import SHIPPED, Predictor
from ediff_solve.predictor.store import CARD
from ediff_solve.scans.filling import fill_from_grains
from ediff_solve.scans.maps import compute_predictor_maps, compute_predictor_particles
from ediff_utils.core.memory import peak_memory
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.scan.bragg import BraggLists

FORESTS, PREDICTOR = "forests", "predictor"


@dataclass(frozen=True)
class Answers:
    """What the predictor says of a scan; made by :func:`predict_scan`.

    Attributes
    ----------
    maps, particles : DataFrame or None
        See :mod:`ediff_solve.scans.maps`; None without a predictor.
    seconds : dict of str to float
        "predictor": from Bragg lists to maps, by the clock [s].
    note : str
    """

    maps: pd.DataFrame | None
    particles: pd.DataFrame | None
    seconds: dict[str, float]
    note: str


@dataclass(frozen=True)
class Report:
    """Maps against the truth; made by :func:`compare_with_truth`.

    Attributes
    ----------
    tables : dict of str to tuple of DataFrame
        By model: confusion table and stages; empty where the truth is not known.
    flags : DataFrame or None
        See :func:`ediff_solve.gold_scan.scores.compute_flags`.
    flagged : dict
        See :func:`ediff_solve.gold_scan.scores.summarise_flags`.
    """

    tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = field(default_factory=dict)
    flags: pd.DataFrame | None = None
    flagged: dict[str, float | None] = field(default_factory=dict)


def predict_scan(lists: BraggLists, labels: np.ndarray, settings: ScanSettings) -> Answers:
    """Ask the predictor about every position and particle, where there is one.

    Parameters
    ----------
    lists : BraggLists
    labels : ndarray of int, shape (nx, ny)
        See :func:`ediff_solve.scans.particles.segment_particles`.
    settings : ScanSettings
        ``predictor``, and what the maps need.

    Returns
    -------
    Answers
        Without maps where the default predictor is not there.

    Raises
    ------
    UserError
        A predictor that was named is not there, or is damaged.
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


def compare_with_truth(
    maps: pd.DataFrame,
    particles: pd.DataFrame,
    answers: Answers,
    truth: tuple[pd.DataFrame, pd.DataFrame] | None,
    true_a: float | None,
) -> Report:
    """Hold forests and predictor against the truth, where it is known.

    Parameters
    ----------
    maps, particles : DataFrame
        Of the forests.
    answers : Answers
    truth : tuple of DataFrame, optional
        See :func:`ediff_solve.scans.intake.read_truth`.
    true_a : float, optional
        [angstrom]
    """
    if truth is None or true_a is None:
        return Report()
    positions, domains = truth
    models = {FORESTS: (maps, particles)}
    if answers.maps is not None and answers.particles is not None:
        models[PREDICTOR] = (answers.maps, answers.particles)
    tables = {
        name: (
            compute_confusion(own, positions),
            compute_stages(own, found, positions, domains, true_a),
        )
        for name, (own, found) in models.items()
    }
    if answers.maps is None:
        return Report(tables)
    flags = compute_flags(answers.maps, positions)
    return Report(tables, flags, summarise_flags(flags, answers.maps, positions))


def _pick(stages: pd.DataFrame, stage: str, column: str) -> float | None:
    own = stages[(stages["stage"] == stage) & (stages["kind"] == "single")]
    value = float(own[column].iloc[0])
    return value if np.isfinite(value) else None


def summarise(
    report: Report, detection: pd.DataFrame | None, seconds: dict[str, float]
) -> dict[str, object]:
    """Figures of a scan, ready for JSON.

    Parameters
    ----------
    report : Report
    detection : DataFrame or None
        See :func:`ediff_solve.gold_scan.detection.compare_detectors`.
    seconds : dict of str to float
        From Bragg lists to maps, by model [s].

    Returns
    -------
    dict
        map_seconds (by model) and peak_gib. On the simulated scan also detection_vs_py4dstem (how
        many times faster than its ``find_Bragg_disks`` at its default refinement, on one core),
        detection_recall, detection_precision and detection (the table);
        pixel_accuracy_single_domain (share of all single-domain positions called cubic after the
        filter), pixel_answered_single_domain (share of them with an answer), particle_accuracy
        and particle_answered (the same of single-crystal particles, their patterns together),
        lattice_median_error (of the median a of filtered single-domain positions [angstrom]), each
        by model; stages and confusion (the tables, by model) and flags.
    """
    out: dict[str, object] = {"map_seconds": seconds, "peak_gib": peak_memory()}
    if detection is not None:
        table = detection.set_index("detector")
        out["detection_vs_py4dstem"] = table.loc[DEFAULT, "seconds"] / table.loc["ours", "seconds"]
        out["detection_recall"] = table.loc["ours", "recall"]
        out["detection_precision"] = table.loc["ours", "precision"]
        out["detection"] = table
    stages = {name: tables[1] for name, tables in report.tables.items()}
    if stages:
        for key, stage, column in (
            ("pixel_accuracy_single_domain", "filtered pixel", "cubic"),
            ("pixel_answered_single_domain", "filtered pixel", "answered"),
            ("particle_accuracy", "particle, together", "cubic"),
            ("particle_answered", "particle, together", "answered"),
        ):
            out[key] = {name: _pick(table, stage, column) for name, table in stages.items()}
        out["lattice_median_error"] = {
            name: _pick(table, "filtered pixel", "median_error") for name, table in stages.items()
        }
        out["stages"] = {name: t.to_dict("records") for name, t in stages.items()}
        out["confusion"] = {name: tables[0] for name, tables in report.tables.items()}
    if report.flagged:
        out["flags"] = report.flagged
    return out

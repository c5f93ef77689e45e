"""Maps of a scan against the truth, and the figures that are recorded of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ediff_solve.gold_scan import scores
from ediff_solve.gold_scan.detection import REFERENCE
from ediff_solve.scans.answers import PREDICTOR, Answers
from ediff_utils.core.memory import peak_memory

FORESTS = "forests"


@dataclass(frozen=True)
class Report:
    """Maps against the truth (:mod:`ediff_solve.gold_scan.scores`); empty where nobody knows it."""

    #: By model: confusion table and stages.
    tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = field(default_factory=dict)
    flags: pd.DataFrame | None = None
    flagged: dict[str, float | None] = field(default_factory=dict)


def compare_with_truth(
    maps: pd.DataFrame,
    particles: pd.DataFrame,
    answers: Answers,
    truth: tuple[pd.DataFrame, pd.DataFrame] | None,
    true_a: float | None,
) -> Report:
    """Hold the forests' maps and particles, and the predictor's, against the truth if it is known.

    That is the tables of :func:`ediff_solve.scans.intake.read_truth`, and a [angstrom].
    """
    if truth is None or true_a is None:
        return Report()
    positions, domains = truth
    models = {FORESTS: (maps, particles), PREDICTOR: (answers.maps, answers.particles)}
    tables = {
        name: (
            scores.compute_confusion(own, positions),
            scores.compute_stages(own, found, positions, domains, true_a),
        )
        for name, (own, found) in models.items()
    }
    flags = scores.compute_flags(answers.maps, positions)
    return Report(tables, flags, scores.summarise_flags(flags, answers.maps, positions))


def _pick(stages: pd.DataFrame, stage: str, column: str) -> float | None:
    own = stages[(stages["stage"] == stage) & (stages["kind"] == "single")]
    value = float(own[column].iloc[0])
    return value if np.isfinite(value) else None


def summarise(
    report: Report, detection: pd.DataFrame | None, seconds: dict[str, float]
) -> dict[str, object]:
    """Figures of a scan, ready for JSON.

    map_seconds (from Bragg lists to maps, by model [s]) and peak_gib. On the simulated scan also
    detection_vs_py4dstem (how many times faster than its ``find_Bragg_disks`` at its default
    refinement, on one core), detection_recall, detection_precision and detection (the table of
    :func:`ediff_solve.gold_scan.detection.check_detection`); pixel_accuracy_single_domain (share of
    all single-domain positions called cubic after the filter), pixel_answered_single_domain (share
    of them with an answer), particle_accuracy and particle_answered (the same of single-crystal
    particles, their patterns together), lattice_median_error (of the median a of filtered
    single-domain positions [angstrom]), each by model; stages and confusion (the tables, by model)
    and flags.
    """
    out: dict[str, object] = {"map_seconds": seconds, "peak_gib": peak_memory()}
    if detection is not None:
        table = detection.set_index("detector")
        ours = table.loc["ours"]
        out["detection_vs_py4dstem"] = table.loc[REFERENCE, "seconds"] / ours["seconds"]
        out["detection_recall"], out["detection_precision"] = ours["recall"], ours["precision"]
        out["detection"] = table
    stages = {name: tables[1] for name, tables in report.tables.items()}
    if stages:
        for key, stage, column in (
            ("pixel_accuracy_single_domain", "filtered pixel", "cubic"),
            ("pixel_answered_single_domain", "filtered pixel", "answered"),
            ("particle_accuracy", "particle, together", "cubic"),
            ("particle_answered", "particle, together", "answered"),
            ("lattice_median_error", "filtered pixel", "median_error"),
        ):
            out[key] = {name: _pick(table, stage, column) for name, table in stages.items()}
        out["stages"] = {name: t.to_dict("records") for name, t in stages.items()}
        out["confusion"] = {name: tables[0] for name, tables in report.tables.items()}
    if report.flagged:
        out["flags"] = report.flagged
    return out

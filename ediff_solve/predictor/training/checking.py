"""A predictor asked once more: its card held against its answers, or both written anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.store import CARD, load_models, read_card, write_card
from ediff_solve.predictor.training.card import describe
from ediff_solve.predictor.training.examples import ExampleSettings
from ediff_solve.predictor.training.judging import ask_datasets, join_answers
from ediff_solve.predictor.training.model_card import write_readme
from ediff_solve.predictor.training.pipeline import (
    PredictorSettings,
    describe_simulation,
    example_settings,
)
from ediff_solve.predictor.training.sample import (
    ANSWERS,
    answer_sample,
    compare_answers,
    read_answers,
    read_test_materials,
    write_answers,
)
from ediff_solve.predictor.training.trials import time_sample
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import check
from ediff_utils.crystals.tables import read_crystals


def judge_again(
    folder: Path,
    sources: Mapping[str, Path],
    crystals: pd.DataFrame,
    *,
    jobs: int = -1,
    progress: bool = True,
) -> dict:
    """Ask a predictor about its test materials again, and write answers and cards anew.

    The sources are datasets of patterns by condition, of the same simulation as those that it was
    made of. The answers are kept beside them, so that what was stopped goes on. Of the materials
    whose patterns go with the predictor, these are asked about: on other processors a simulation
    differs in its last digits. Returns the new card; limits, times and what it says of second
    grains are those of the old one. A UserError where a condition, a test material or patterns are
    missing.
    """
    models, card = load_models(folder)
    settings = _read_example_settings(card, folder)
    for name in settings:
        if name not in sources:
            raise UserError(f"{name}: expected patterns of this condition too")
    names = read_test_materials(folder)
    labels = crystals[crystals["material_id"].isin(names)]
    if len(labels) < len(names):
        raise UserError(f"crystals: {len(names) - len(labels)} of the test materials are missing")
    answers = ask_datasets(folder, "test", sources, settings, labels, jobs, progress)
    if missing := len(names) - answers["material_id"].nunique():
        raise UserError(f"patterns: those of {missing} of the test materials are missing")
    stored = answer_sample(Predictor(models, card), settings, folder)
    others = answers[~answers["material_id"].isin(set(stored["material_id"]))]
    answers = join_answers([others, stored])
    for condition, figures in describe(answers).items():
        old = card[condition]
        kept = {name: old[name] for name in ("ms_one", "ms_ten") if name in old}
        card[condition] = figures | kept
    write_answers(answers, folder)
    write_readme(card, folder)
    write_card(card, folder)
    return card


def judge_runs_again(
    folder: Path, runs: Mapping[str, Run], *, jobs: int = -1, progress: bool = True
) -> dict:
    """Do the same as :func:`judge_again` on the datasets of runs, by condition.

    A UserError also where patterns are of another simulation than the card's.
    """
    made_of = read_card(folder)["simulation"]
    for condition, run in runs.items():
        if describe_simulation(run) != made_of.get(condition):
            raise UserError(f"{run.patterns}: not simulated as {folder / CARD} has it")
    sources = {condition: run.patterns for condition, run in runs.items()}
    crystals = read_crystals(next(iter(runs.values())).crystals)
    return judge_again(folder, sources, crystals, jobs=jobs, progress=progress)


def _read_example_settings(card: Mapping[str, Any], folder: Path) -> dict[str, ExampleSettings]:
    """Which examples a predictor that there is was made of, by condition."""
    settings = check(PredictorSettings, where=f"{folder / CARD}: ", **card["settings"])
    return example_settings(settings, card["detectors"])


def check_predictor(folder: Path) -> tuple[dict[str, dict], dict[str, float]]:
    """Compute a card's figures again, and answers to the patterns that go with the predictor.

    The figures are those of :func:`ediff_solve.predictor.training.card.describe`, with the times as
    taken here; the comparison is that of :func:`compare_answers`. A UserError where files are
    missing or damaged, or figures are not those of the card.
    """
    models, card = load_models(folder)
    shipped = read_answers(folder)
    figures = describe(shipped)
    for condition, values in figures.items():
        for name, value in values.items():
            said = card[condition].get(name)
            if not _agree(value, said):
                raise UserError(
                    f"{folder / CARD}: {condition}.{name}: expected {value} from {ANSWERS}, "
                    f"got {said}"
                )
    predictor, wanted = Predictor(models, card), _read_example_settings(card, folder)
    made = answer_sample(predictor, wanted, folder)
    for condition, times in time_sample(predictor, wanted, folder).items():
        figures[condition] |= times
    return figures, compare_answers(made, shipped)


def _agree(value: Any, said: Any) -> bool:
    """Whether a figure is that of a card; lists and tables are not looked at."""
    if isinstance(value, dict | list):
        return True
    if value is None or said is None:
        return value is said
    return bool(np.isclose(value, said, atol=1e-4, equal_nan=True))

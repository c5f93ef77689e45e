"""From two datasets of patterns to a predictor with its model card."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from ediff_solve.predictor.answering import Predictor, find_predictor
from ediff_solve.predictor.boosting import SpaceGroupModel
from ediff_solve.predictor.store import LIMITS, load_models, read_card, save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.card import TEN, describe, find_least_indexed, find_thresholds
from ediff_solve.predictor.training.examples import (
    DETECTORS,
    ExampleSettings,
    build_examples,
    read_examples,
)
from ediff_solve.predictor.training.fitting import hold_out, train_predictor
from ediff_solve.predictor.training.judging import ask_datasets
from ediff_solve.predictor.training.model_card import write_readme
from ediff_solve.predictor.training.sample import (
    read_test_materials,
    write_answers,
    write_sample,
)
from ediff_solve.predictor.training.trials import find_mixtures, time_sample
from ediff_utils.bloch.dataset.manifest import read_settings
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings, Settings
from ediff_utils.crystals.tables import read_crystals
from ediff_utils.paper.labels import make_split

_SOURCE = (
    "Materials Project (Jain et al., APL Materials 1, 011002, 2013), CC BY 4.0, "
    "https://materialsproject.org"
)
#: Limits of a predictor that is asked before they are known: nothing is sure, nothing is doubted.
_NO_LIMITS = {
    "thresholds": dict.fromkeys(LIMITS, 1.0),
    "least_indexed": dict.fromkeys(LIMITS, 0.0),
}


class PredictorSettings(Settings):
    """What a predictor is made of."""

    materials: int = Field(0, ge=0, description="drawn at random; 0: all")
    singles: int = Field(6, ge=1, description="patterns of a crystal on their own")
    random_groups: int = Field(1, ge=0, description="groups of random sizes beside one of ten")
    orientations: Literal["random", "grid"] = Field(
        "random", description="of the patterns; the paper's grid is for comparison alone"
    )
    start: str = Field(
        "", description="predictor whose trees are gone on from, with crystals new to it"
    )
    several: bool = Field(
        True, description="train on several patterns together; else those trees stay as they were"
    )
    by_prototype: bool = Field(False, description="isostructural materials on one side")
    boosting: BoostingSettings = BoostingSettings()
    seed: int = Field(0, ge=0)


def example_settings(
    settings: PredictorSettings, conditions: Iterable[str]
) -> dict[str, ExampleSettings]:
    """Which examples a predictor is asked about, by condition."""
    return {
        condition: ExampleSettings(
            condition=condition,
            singles=settings.singles,
            together=(TEN,),
            random_groups=settings.random_groups,
            seed=settings.seed,
        )
        for condition in conditions
    }


def _gather_examples(
    runs: dict[str, Run], settings: PredictorSettings, jobs: int, progress: bool
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Crystals, and index and vectors of their examples, computed where they are not there yet."""
    first = next(iter(runs.values()))
    crystals = read_crystals(first.crystals)
    if settings.materials:
        n = min(settings.materials, len(crystals))
        crystals = crystals.sample(n, random_state=settings.seed).sort_index()
    chosen = set(crystals["material_id"]) if settings.materials else None
    folders, wanted = [], example_settings(settings, runs)
    if settings.start and not settings.several:
        alone = {"together": (), "random_groups": 0}
        wanted = {name: one.model_copy(update=alone) for name, one in wanted.items()}
    for condition, run in runs.items():
        sampling = "zone" if condition.startswith("zone") else settings.orientations
        if read_settings(run.patterns).sampling != sampling:
            raise UserError(f"{run.patterns}: sampling: expected orientations '{sampling}'")
        folder = run.data / f"examples-{condition}"
        folders.append(
            build_examples(
                run.patterns, folder, wanted[condition], chosen, jobs=jobs, progress=progress
            )
        )
    index, vectors = read_examples(*folders)
    known = index["material_id"].isin(set(crystals["material_id"])).to_numpy()
    if not known.all():
        raise UserError(
            f"{run.patterns}: holds patterns of other crystals than {first.crystals}; "
            "simulate both of the same ones"
        )
    return crystals, index, vectors


def build_predictor(
    runs: dict[str, Run],
    folder: Path,
    settings: PredictorSettings,
    *,
    jobs: int = -1,
    progress: bool = True,
) -> dict:
    """Make examples, train, ask about materials that were not trained on, and write it all.

    The runs of "clean", "detector", "zone" and "zone_detector", or of some of them, have the
    patterns; the predictor goes into ``folder``. For jobs see
    :func:`ediff_solve.predictor.training.examples.build_examples`. Returns the model card. A
    UserError where patterns are not there, are not of the same crystals, or of crystals that the
    predictor that is gone on from may have seen.
    """
    times = [time.perf_counter()]
    crystals, index, vectors = _gather_examples(runs, settings, jobs, progress)
    start = _find_start(settings, crystals)
    times.append(time.perf_counter())
    split_by = "prototype" if settings.by_prototype else "material"
    split = make_split(crystals, ForestSettings(split_by=split_by, seed=settings.seed))
    with tqdm(desc="rounds", disable=not progress) as bar:
        models = train_predictor(
            index, vectors, crystals, split, settings.boosting, start, _report(bar)
        )
    times.append(time.perf_counter())
    wanted = example_settings(settings, runs)
    parts = {
        "apart": hold_out(split, settings.boosting.seed),
        "test": set(split.loc[split["part"] == "test", "material_id"]),
    }
    labels = {name: crystals[crystals["material_id"].isin(own)] for name, own in parts.items()}
    answers, limits = _ask_untrained(models, runs, wanted, labels, jobs, progress)
    times.append(time.perf_counter())
    minutes = (np.diff(times) / 60).round(1).tolist()
    card = _start_card(runs, settings, split) | describe(answers) | limits
    if settings.start:
        made = read_card(find_predictor(settings.start))
        # What trees have seen, those that were gone on from included.
        card["materials"]["train"] += made["materials"]["train"]
        card["started"] = {key: made[key] for key in ("materials", "simulation", "settings")}
    card["minutes"] = dict(zip(("examples", "training", "answers"), minutes, strict=True))
    write_answers(answers, folder)
    write_sample(runs, wanted, answers["material_id"], crystals, folder)
    predictor = Predictor(models, card)
    for condition, found in time_sample(predictor, wanted, folder).items():
        card[condition] |= found
    card["second_grain"] = find_mixtures(predictor, wanted, folder)
    write_readme(card, folder)
    save_models(models, card, folder)
    return card


def _find_start(
    settings: PredictorSettings, crystals: pd.DataFrame
) -> dict[str, SpaceGroupModel] | None:
    """Models that are gone on from; a UserError where they have seen any of the crystals."""
    if not settings.start:
        return None
    folder = find_predictor(settings.start)
    seen = set(crystals["material_id"]) - read_test_materials(folder)
    if seen:
        raise UserError(
            f"start: {len(seen)} of the crystals are not among those that '{settings.start}' was "
            "tested on; its trees may have seen them"
        )
    return load_models(folder)[0]


def _start_card(
    runs: Mapping[str, Run], settings: PredictorSettings, split: pd.DataFrame
) -> dict[str, Any]:
    """What a predictor was made of, as its card has it."""
    return {
        "source": _SOURCE,
        "materials": {name: int((split["part"] == name).sum()) for name in ("train", "test")},
        "split_by": "prototype" if settings.by_prototype else "material",
        "detectors": {name: DETECTORS[name].model_dump() for name in runs},
        "simulation": {name: describe_simulation(run) for name, run in runs.items()},
        "settings": settings.model_dump(),
    }


def _ask_untrained(
    models: dict[str, SpaceGroupModel],
    runs: Mapping[str, Run],
    settings: Mapping[str, ExampleSettings],
    labels: Mapping[str, pd.DataFrame],
    jobs: int,
    progress: bool,
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Answers about test materials, and limits from training materials without trees of them."""
    draft = next(iter(runs.values())).data / "draft"
    sources = {name: run.patterns for name, run in runs.items()}
    limits = _NO_LIMITS
    for part in ("apart", "test"):
        # Worker processes read the predictor from files.
        save_models(models, limits, draft)
        answers = ask_datasets(draft, part, sources, settings, labels[part], jobs, progress)
        if part == "apart":
            limits = {
                "thresholds": find_thresholds(answers),
                "least_indexed": find_least_indexed(answers),
            }
    shutil.rmtree(draft)
    return answers, limits


def _report(bar: tqdm) -> Callable[[str, int], None]:
    def on_round(kind: str, number: int) -> None:
        bar.set_postfix_str(f"{kind} {number}", refresh=False)
        bar.update()

    return on_round


def describe_simulation(run: Run) -> dict[str, object]:
    """How the patterns of a run were simulated, as cards have it."""
    return read_settings(run.patterns).model_dump(mode="json", exclude={"jobs", "cluster"})

"""From two datasets of patterns to a predictor with its model card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.boosting import BoostingSettings
from ediff_solve.predictor.store import CARD, load_models, save_models
from ediff_solve.predictor.training.card import TEN, describe, find_least_indexed, find_thresholds
from ediff_solve.predictor.training.examples import (
    DETECTORS,
    ExampleSettings,
    build_examples,
    read_examples,
)
from ediff_solve.predictor.training.fitting import hold_out, judge, train_predictor
from ediff_solve.predictor.training.model_card import write_card
from ediff_solve.predictor.training.sample import (
    ANSWERS,
    answer_sample,
    compare_answers,
    read_answers,
    write_answers,
    write_sample,
)
from ediff_solve.predictor.training.trials import find_mixtures, time_sample
from ediff_utils.bloch.dataset.manifest import read_settings
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings, Settings, check
from ediff_utils.crystals.tables import read_crystals
from ediff_utils.paper.labels import make_split

SOURCE = (
    "Materials Project (Jain et al., APL Materials 1, 011002, 2013), CC BY 4.0, "
    "https://materialsproject.org"
)


class PredictorSettings(Settings):
    """What a predictor is made of."""

    materials: int = Field(0, ge=0, description="drawn at random; 0: all")
    singles: int = Field(6, ge=1, description="patterns of a crystal on their own")
    random_groups: int = Field(1, ge=0, description="groups of random sizes beside one of ten")
    orientations: Literal["random", "grid"] = Field(
        "random", description="of the patterns; the paper's grid is for comparison alone"
    )
    by_prototype: bool = Field(False, description="isostructural materials on one side")
    boosting: BoostingSettings = BoostingSettings()
    seed: int = Field(0, ge=0)


def example_settings(
    settings: PredictorSettings, protocols: Iterable[str]
) -> dict[str, ExampleSettings]:
    """Which examples a predictor is made of, by protocol."""
    return {
        protocol: ExampleSettings(
            protocol=protocol,
            singles=settings.singles,
            together=(TEN,),
            random_groups=settings.random_groups,
            seed=settings.seed,
        )
        for protocol in protocols
    }


def gather_examples(
    runs: dict[str, Run],
    settings: PredictorSettings,
    *,
    jobs: int = -1,
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Examples of all protocols, computed where they are not there yet.

    Parameters
    ----------
    runs : dict of str to Run
        "clean" and "detector", or one of them: whose patterns.
    settings : PredictorSettings
    jobs, progress
        See :func:`ediff_solve.predictor.training.examples.build_examples`.

    Returns
    -------
    crystals : DataFrame
        Of the materials that examples are made of.
    index, vectors
        See :func:`ediff_solve.predictor.training.examples.read_examples`.

    Raises
    ------
    UserError
        Patterns that are not there, or are not of the same crystals.
    """
    first = next(iter(runs.values()))
    crystals = read_crystals(first.crystals)
    if settings.materials:
        n = min(settings.materials, len(crystals))
        crystals = crystals.sample(n, random_state=settings.seed).sort_index()
    chosen = set(crystals["material_id"]) if settings.materials else None
    folders, wanted = [], example_settings(settings, runs)
    for protocol, run in runs.items():
        if read_settings(run.patterns).sampling != settings.orientations:
            raise UserError(
                f"{run.patterns}: sampling: expected orientations '{settings.orientations}'"
            )
        folder = run.data / f"examples-{protocol}"
        folders.append(
            build_examples(
                run.patterns, folder, wanted[protocol], chosen, jobs=jobs, progress=progress
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
    """Make examples, train, judge by materials that were not trained on, and write it all.

    Parameters
    ----------
    runs : dict of str to Run
        See :func:`gather_examples`.
    folder : Path
        Where the predictor goes.
    settings : PredictorSettings
    jobs, progress
        See :func:`ediff_solve.predictor.training.examples.build_examples`.

    Returns
    -------
    dict
        The model card.
    """
    times = [time.perf_counter()]
    crystals, index, vectors = gather_examples(runs, settings, jobs=jobs, progress=progress)
    times.append(time.perf_counter())
    by = "prototype" if settings.by_prototype else "material"
    split = make_split(crystals, ForestSettings(split_by=by, seed=settings.seed))
    with tqdm(desc="rounds", disable=not progress) as bar:
        models = train_predictor(
            index, vectors, crystals, split, settings.boosting, on_round=_report(bar)
        )
    times.append(time.perf_counter())
    judged = {
        name: judge(models, index[own].reset_index(drop=True), vectors[own], crystals)
        for name, own in _untrained(index, split, settings.boosting.seed).items()
    }
    card = {
        "source": SOURCE,
        "materials": {name: int((split["part"] == name).sum()) for name in ("train", "test")},
        "split_by": by,
        "detectors": {name: DETECTORS[name].model_dump() for name in runs},
        "simulation": {name: _protocol(run) for name, run in runs.items()},
        "settings": settings.model_dump(),
        "minutes": dict(zip(("examples", "training"), (np.diff(times) / 60).round(1), strict=True)),
        **describe(judged["test"]),
        # Of materials that no tree was grown on, but none of the test's.
        "thresholds": find_thresholds(judged["apart"]),
        "least_indexed": find_least_indexed(judged["apart"]),
    }
    write_answers(judged["test"], folder)
    wanted = example_settings(settings, runs)
    write_sample(runs, wanted, judged["test"]["material_id"], crystals, folder)
    predictor = Predictor(models, card)
    for protocol, times in time_sample(predictor, wanted, folder).items():
        card[protocol] |= times
    card["second_grain"] = find_mixtures(predictor, wanted, folder)
    write_card(card, folder)
    save_models(models, card, folder)
    return card


def _untrained(index: pd.DataFrame, split: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """Which examples are the test's, and which are of training materials without trees of them."""
    parts = {
        "test": set(split.loc[split["part"] == "test", "material_id"]),
        "apart": hold_out(split, seed),
    }
    return {name: index["material_id"].isin(these).to_numpy() for name, these in parts.items()}


def check_predictor(folder: Path) -> tuple[dict[str, dict], dict[str, float]]:
    """Compute a card's figures again, and answers to the patterns that go with the predictor.

    Parameters
    ----------
    folder : Path
        The predictor's.

    Returns
    -------
    figures : dict of str to dict
        See :func:`ediff_solve.predictor.training.card.describe`; with the times of
        :func:`ediff_solve.predictor.training.trials.measure_times`, as taken here.
    comparison : dict of str to float
        See :func:`ediff_solve.predictor.training.sample.compare_answers`.

    Raises
    ------
    UserError
        Files that are missing or damaged, or figures that are not those of the card.
    """
    models, card = load_models(folder)
    shipped = read_answers(folder)
    figures = describe(shipped)
    for protocol, values in figures.items():
        for name, value in values.items():
            if np.isscalar(value) and not np.isclose(value, card[protocol][name], atol=1e-4):
                raise UserError(
                    f"{folder / CARD}: {protocol}.{name}: expected {value:.4f} from {ANSWERS}, "
                    f"got {card[protocol][name]:.4f}"
                )
    settings = check(PredictorSettings, where=f"{folder / CARD}: ", **card["settings"])
    wanted = example_settings(settings, figures)
    made = answer_sample(models, wanted, folder)
    for protocol, times in time_sample(Predictor(models, card), wanted, folder).items():
        figures[protocol] |= times
    return figures, compare_answers(made, shipped)


def _report(bar: tqdm) -> Callable[[str, int], None]:
    def on_round(kind: str, number: int) -> None:
        bar.set_postfix_str(f"{kind} {number}", refresh=False)
        bar.update()

    return on_round


def _protocol(run: Run) -> dict[str, object]:
    return read_settings(run.patterns).model_dump(mode="json", exclude={"jobs", "cluster"})

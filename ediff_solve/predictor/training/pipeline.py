"""From two datasets of patterns to a predictor with its model card, and to another card of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.boosting import BoostingSettings, SpaceGroupModel
from ediff_solve.predictor.store import CARD, KINDS, load_models, read_card, save_models, write_card
from ediff_solve.predictor.training.card import TEN, describe, find_least_indexed, find_thresholds
from ediff_solve.predictor.training.examples import (
    DETECTORS,
    ExampleSettings,
    build_examples,
    read_examples,
)
from ediff_solve.predictor.training.fitting import hold_out, train_predictor
from ediff_solve.predictor.training.judging import ask_dataset
from ediff_solve.predictor.training.model_card import write_readme
from ediff_solve.predictor.training.sample import (
    ANSWERS,
    answer_sample,
    compare_answers,
    read_answers,
    read_test_materials,
    write_answers,
    write_sample,
)
from ediff_solve.predictor.training.trials import find_mixtures, time_sample
from ediff_utils.bloch.dataset.manifest import read_settings
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings, check
from ediff_utils.crystals.tables import read_crystals
from ediff_utils.paper.labels import make_split

_SOURCE = (
    "Materials Project (Jain et al., APL Materials 1, 011002, 2013), CC BY 4.0, "
    "https://materialsproject.org"
)
#: Limits of a predictor that is asked before they are known: nothing is sure, nothing is doubted.
_NO_LIMITS = {
    "thresholds": dict.fromkeys(KINDS, 1.0),
    "least_indexed": dict.fromkeys(KINDS, 0.0),
}


class PredictorSettings(BaseModel):
    """What a predictor is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    settings: PredictorSettings, conditions: Iterable[str]
) -> dict[str, ExampleSettings]:
    """Which examples a predictor is made of, by condition."""
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
    for condition, run in runs.items():
        if read_settings(run.patterns).protocol != settings.orientations:
            raise UserError(
                f"{run.patterns}: protocol: expected orientations '{settings.orientations}'"
            )
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

    Parameters
    ----------
    runs : dict of str to Run
        "clean" and "detector", or one of them: whose patterns.
    folder : Path
        Where the predictor goes.
    settings : PredictorSettings
    jobs, progress
        See :func:`ediff_solve.predictor.training.examples.build_examples`.

    Returns
    -------
    dict
        The model card.

    Raises
    ------
    UserError
        Patterns that are not there, or are not of the same crystals.
    """
    times = [time.perf_counter()]
    crystals, index, vectors = _gather_examples(runs, settings, jobs, progress)
    times.append(time.perf_counter())
    by = "prototype" if settings.by_prototype else "material"
    split = make_split(crystals, ForestSettings(split_by=by, seed=settings.seed))
    with tqdm(desc="rounds", disable=not progress) as bar:
        models = train_predictor(
            index, vectors, crystals, split, settings.boosting, on_round=_report(bar)
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
    card = {
        "source": _SOURCE,
        "materials": {name: int((split["part"] == name).sum()) for name in ("train", "test")},
        "split_by": by,
        "detectors": {name: DETECTORS[name].model_dump() for name in runs},
        "simulation": {name: _simulation(run) for name, run in runs.items()},
        "settings": settings.model_dump(),
        "minutes": dict(zip(("examples", "training", "answers"), minutes, strict=True)),
        **describe(answers),
        **limits,
    }
    write_answers(answers, folder)
    write_sample(runs, wanted, answers["material_id"], crystals, folder)
    predictor = Predictor(models, card)
    for condition, found in time_sample(predictor, wanted, folder).items():
        card[condition] |= found
    card["second_grain"] = find_mixtures(predictor, wanted, folder)
    write_readme(card, folder)
    save_models(models, card, folder)
    return card


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
        answers = _ask(draft, part, sources, settings, labels[part], jobs, progress)
        if part == "apart":
            limits = {
                "thresholds": find_thresholds(answers),
                "least_indexed": find_least_indexed(answers),
            }
    shutil.rmtree(draft)
    return answers, limits


def _ask(
    predictor: Path,
    part: str,
    sources: Mapping[str, Path],
    settings: Mapping[str, ExampleSettings],
    labels: pd.DataFrame,
    jobs: int,
    progress: bool,
) -> pd.DataFrame:
    """Answers about some materials of all datasets; they are kept beside these."""
    tables = [
        ask_dataset(
            predictor,
            patterns,
            patterns.parent / f"answers-{part}-{name}",
            settings[name],
            labels,
            jobs=jobs,
            progress=progress,
        )
        for name, patterns in sources.items()
    ]
    return _join(tables)


def _join(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Answers in one order, wherever they come from."""
    answers = pd.concat(tables, ignore_index=True)
    return answers.sort_values(["condition", "material_id"], kind="stable", ignore_index=True)


def judge_again(
    folder: Path,
    sources: Mapping[str, Path],
    crystals: pd.DataFrame,
    *,
    jobs: int = -1,
    progress: bool = True,
) -> dict:
    """Ask a predictor about its test materials again, and write answers and cards anew.

    Parameters
    ----------
    folder : Path
        The predictor's.
    sources : mapping of str to Path
        Datasets of patterns by condition, of the same simulation as those that it was made of.
        The answers are kept beside them, so that what was stopped goes on.
    crystals : DataFrame
        The crystals' table, the test materials among them.
    jobs, progress
        See :func:`build_predictor`.

    Returns
    -------
    dict
        The new card. Limits, times and what it says of second grains are those of the old one.

    Raises
    ------
    UserError
        A condition or a test material is missing, or patterns are.

    Notes
    -----
    Of the materials whose patterns go with the predictor, these are asked about: on other
    processors a simulation differs in its last digits.
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
    answers = _ask(folder, "test", sources, settings, labels, jobs, progress)
    if missing := len(names) - answers["material_id"].nunique():
        raise UserError(f"patterns: those of {missing} of the test materials are missing")
    stored = answer_sample(Predictor(models, card), settings, folder)
    others = answers[~answers["material_id"].isin(set(stored["material_id"]))]
    answers = _join([others, stored])
    for condition, figures in describe(answers).items():
        kept = {name: card[condition][name] for name in ("ms_one", "ms_ten")}
        card[condition] = figures | kept
    write_answers(answers, folder)
    write_readme(card, folder)
    write_card(card, folder)
    return card


def judge_runs_again(
    folder: Path, runs: Mapping[str, Run], *, jobs: int = -1, progress: bool = True
) -> dict:
    """:func:`judge_again` on the datasets of runs, by condition.

    Raises
    ------
    UserError
        As :func:`judge_again`, or patterns of another simulation than the card's.
    """
    made_of = read_card(folder)["simulation"]
    for condition, run in runs.items():
        if _simulation(run) != made_of.get(condition):
            raise UserError(f"{run.patterns}: not simulated as {folder / CARD} has it")
    sources = {condition: run.patterns for condition, run in runs.items()}
    crystals = read_crystals(next(iter(runs.values())).crystals)
    return judge_again(folder, sources, crystals, jobs=jobs, progress=progress)


def _read_example_settings(card: Mapping[str, object], folder: Path) -> dict[str, ExampleSettings]:
    """Which examples a predictor that there is was made of, by condition."""
    settings = check(PredictorSettings, where=f"{folder / CARD}: ", **card["settings"])
    return example_settings(settings, card["detectors"])


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


def _agree(value: object, said: object) -> bool:
    """Whether a figure is that of a card; lists and tables are not looked at."""
    if isinstance(value, dict | list):
        return True
    if value is None or said is None:
        return value is said
    return bool(np.isclose(value, said, atol=1e-4, equal_nan=True))


def _report(bar: tqdm) -> Callable[[str, int], None]:
    def on_round(kind: str, number: int) -> None:
        bar.set_postfix_str(f"{kind} {number}", refresh=False)
        bar.update()

    return on_round


def _simulation(run: Run) -> dict[str, object]:
    """How the patterns of a run were simulated, as cards have it."""
    return read_settings(run.patterns).model_dump(mode="json", exclude={"jobs", "cluster"})

"""From two datasets of patterns to a predictor with its model card."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from ediff_utils.errors import UserError
from ediff_utils.evaluation import right_system
from ediff_utils.evidence import NAMES
from ediff_utils.manifest import read_settings
from ediff_utils.paths import Run
from ediff_utils.predictor.boosting import BoostingSettings
from ediff_utils.predictor.examples import (
    DETECTORS,
    ExampleSettings,
    build_examples,
    read_examples,
)
from ediff_utils.predictor.store import save_models
from ediff_utils.predictor.training import hold_out, judge, summarise, train_predictor
from ediff_utils.progress import tqdm
from ediff_utils.settings import ForestSettings
from ediff_utils.structures.tables import read_crystals
from ediff_utils.training import make_split

#: An answer is called sure where answers as confident are right so often.
SURE = 0.9
#: Fewer of the spots than this share of one-grain examples indexes call for a second grain.
ONE_GRAIN = 0.02
#: Patterns that the card speaks of as "ten".
TEN = 10
SOURCE = (
    "Materials Project (Jain et al., APL Materials 1, 011002, 2013), CC BY 4.0, "
    "https://materialsproject.org"
)


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
        See :func:`ediff_utils.predictor.examples.build_examples`.

    Returns
    -------
    crystals : DataFrame
        Of the materials that examples are made of.
    index, vectors
        See :func:`ediff_utils.predictor.examples.read_examples`.

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
    folders = []
    for protocol, run in runs.items():
        if read_settings(run.patterns).protocol != settings.orientations:
            raise UserError(
                f"{run.patterns}: protocol: expected orientations '{settings.orientations}'"
            )
        examples = ExampleSettings(
            protocol=protocol,
            singles=settings.singles,
            together=(TEN,),
            random_groups=settings.random_groups,
            seed=settings.seed,
        )
        folder = run.data / f"examples-{protocol}"
        folders.append(
            build_examples(run.patterns, folder, examples, chosen, jobs=jobs, progress=progress)
        )
    index, vectors = read_examples(*folders)
    known = index["material_id"].isin(set(crystals["material_id"])).to_numpy()
    if not known.all():
        raise UserError(
            f"{run.patterns}: holds patterns of other crystals than {first.crystals}; "
            "simulate both of the same ones"
        )
    return crystals, index, vectors


def lattice_errors(index: pd.DataFrame, vectors: np.ndarray, crystals: pd.DataFrame) -> np.ndarray:
    """Errors of the lengths of the conventional axes, in the order of their lengths.

    Returns
    -------
    ndarray, shape (n, 3)
        [angstrom]; infinite where no lattice was solved.
    """
    names = [NAMES.index(f"conventional_{axis}") for axis in "abc"]
    found = np.sort(vectors[:, names].astype(float), axis=1)
    table = crystals.set_index("material_id")[["a", "b", "c"]]
    true = np.sort(table.loc[index["material_id"]].to_numpy(float), axis=1)
    return np.where(np.isnan(found), np.inf, np.abs(found - true))


def describe(table: pd.DataFrame, vectors: np.ndarray, crystals: pd.DataFrame) -> dict[str, dict]:
    """Figures of a card, by protocol.

    Parameters
    ----------
    table : DataFrame
        Answers (:class:`ediff_utils.predictor.training.Judgement`).
    vectors : ndarray, shape (n, len(NAMES))
        In their order.
    crystals : DataFrame

    Returns
    -------
    dict of str to dict
        For "clean" and "detector": ``one`` and ``ten``, accuracies of the crystal system;
        ``space_group_top1_ten``, ``space_group_top5_ten``, ``ece``, ``ece_one``,
        ``ten_at_80_coverage``, ``by_system`` and ``lattice`` (median errors of ten patterns' axes,
        in angstrom and relative, by system), ``without_triclinic``.
    """
    errors = lattice_errors(table, vectors, crystals)
    lengths = np.sort(
        crystals.set_index("material_id").loc[table["material_id"], ["a", "b", "c"]].to_numpy(float)
    )
    found = {}
    for protocol in table["protocol"].unique():
        own = (table["protocol"] == protocol).to_numpy()
        one, ten = (own & (table["patterns"] == n).to_numpy() for n in (1, TEN))
        single, joint = summarise(table[one]), summarise(table[ten])
        systems = {}
        for system in table["true_system"].unique():
            these = ten & (table["true_system"] == system).to_numpy()
            alone = one & (table["true_system"] == system).to_numpy()
            systems[system] = {
                "one": float(right_system(table[alone]).mean()),
                "ten": float(right_system(table[these]).mean()),
                "space_group_top1_ten": float((table.loc[these, "rank"] == 1).mean()),
                "axes_error_ten": np.median(errors[these], axis=0).tolist(),
                "axes_relative_ten": np.median(errors[these] / lengths[these], axis=0).tolist(),
                "materials": int(these.sum()),
            }
        known = table["true_system"] != "triclinic"
        found[protocol] = {
            "one": single["accuracy"],
            "ten": joint["accuracy"],
            "space_group_top1_one": single["space_group_top1"],
            "space_group_top5_one": single["space_group_top5"],
            "space_group_top1_ten": joint["space_group_top1"],
            "space_group_top5_ten": joint["space_group_top5"],
            "ece_one": single["ece"],
            "ece": joint["ece"],
            "ten_at_80_coverage": joint["at_80_coverage"],
            "axes_relative_ten": float(np.median(errors[ten] / lengths[ten])),
            "without_triclinic": {
                "one": float(right_system(table[one & known]).mean()),
                "ten": float(right_system(table[ten & known]).mean()),
            },
            "by_system": systems,
            "n": {"one": single["n"], "ten": joint["n"]},
        }
    return found


def find_thresholds(table: pd.DataFrame) -> dict[str, float]:
    """Least confidence of each kind above which :data:`SURE` of the answers are right."""
    found = {}
    for kind, own in (("single", table["patterns"] == 1), ("several", table["patterns"] > 1)):
        part = table[own].sort_values("confidence", ascending=False)
        right = np.cumsum(right_system(part)) / np.arange(1, len(part) + 1)
        enough = np.flatnonzero(right >= SURE)
        found[kind] = float(part["confidence"].iloc[enough[-1]]) if len(enough) else 1.0
    return found


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
        See :func:`ediff_utils.predictor.examples.build_examples`.

    Returns
    -------
    dict
        The model card.
    """
    start = time.perf_counter()
    crystals, index, vectors = gather_examples(runs, settings, jobs=jobs, progress=progress)
    spent = time.perf_counter() - start
    by = "prototype" if settings.by_prototype else "material"
    split = make_split(crystals, ForestSettings(split_by=by, seed=settings.seed))
    start = time.perf_counter()
    with tqdm(desc="rounds", disable=not progress) as bar:
        models = train_predictor(
            index, vectors, crystals, split, settings.boosting, on_round=_report(bar)
        )
    trained = time.perf_counter() - start
    parts = {
        "test": set(split.loc[split["part"] == "test", "material_id"]),
        "apart": hold_out(split, settings.boosting.seed),
    }
    rows = {name: index["material_id"].isin(these).to_numpy() for name, these in parts.items()}
    judged = {
        name: judge(models, index[own].reset_index(drop=True), vectors[own], crystals).table
        for name, own in rows.items()
    }
    indexed = vectors[rows["apart"], NAMES.index("indexed")]
    card = {
        "source": SOURCE,
        "materials": {name: int((split["part"] == name).sum()) for name in ("train", "test")},
        "split_by": by,
        "detectors": {name: DETECTORS[name].model_dump() for name in runs},
        "simulation": {name: _protocol(run) for name, run in runs.items()},
        "settings": settings.model_dump(),
        "minutes": {"examples": round(spent / 60, 1), "training": round(trained / 60, 1)},
        **describe(judged["test"], vectors[rows["test"]], crystals),
        # Of materials that no tree was grown on, but none of the test's.
        "thresholds": find_thresholds(judged["apart"]),
        "least_indexed": float(np.nanquantile(indexed, ONE_GRAIN)),
    }
    save_models(models, card, folder)
    return card


def _report(bar: tqdm) -> Callable[[str, int], None]:
    def on_round(kind: str, number: int) -> None:
        bar.set_postfix_str(f"{kind} {number}", refresh=False)
        bar.update()

    return on_round


def _protocol(run: Run) -> dict[str, object]:
    return read_settings(run.patterns).model_dump(mode="json", exclude={"jobs", "cluster"})

"""Boosters are grown by LightGBM (Ke et al. 2017) and kept as plain arrays.

Each booster's temperature is fitted on materials that it was not trained on (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar

from ediff_solve.predictor.boosting import SMALLEST, Booster, SpaceGroupModel, soften
from ediff_solve.predictor.evidence import NAMES
from ediff_solve.predictor.trees import join_trees, read_trees, sum_trees
from ediff_utils.core.errors import UserError, import_extra
from ediff_utils.core.settings import Settings
from ediff_utils.crystals.groups import system_of

#: What trees that are added to others ask for: the net of a zone, which these do not know. All
#: numbers at full weight fit simulated patterns better, and took one in four of gold's for trigonal
#: or tetragonal, which the others tell.
_ADDED = np.array([name.startswith("net_") for name in NAMES])
#: Temperatures that are tried.
TEMPERATURES = (0.3, 4.0)


class BoostingSettings(Settings):
    """How trees are grown; see LightGBM's documentation of the parameters of those names."""

    rounds: int = Field(600, ge=1, description="at most; fewer where more do not help")
    patience: int = Field(20, ge=1, description="rounds without a gain that end it")
    learning_rate: float = Field(0.05, gt=0, le=1)
    num_leaves: int = Field(63, ge=2)
    min_data_in_leaf: int = Field(20, ge=1)
    feature_fraction: float = Field(0.3, gt=0, le=1)
    bagging_fraction: float = Field(0.7, gt=0, le=1)
    max_bin: int = Field(63, ge=3, le=255)
    group_rounds: int = Field(300, ge=1, description="the same for the space groups of a system")
    group_leaves: int = Field(15, ge=2)
    added_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="of what trees say that are added to those of another predictor",
    )
    jobs: int = Field(2, ge=1, description="threads")
    seed: int = Field(0, ge=0)


def _fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which the right classes, given by their positions, are likeliest."""

    def loss(logarithm: float) -> float:
        own = soften(probabilities, np.exp(logarithm))[np.arange(len(truth)), truth]
        return -float(np.log(np.maximum(own, SMALLEST)).mean())

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _parameters(settings: BoostingSettings, n_classes: int, groups: bool) -> dict[str, object]:
    """LightGBM's own names, the same trees from the same seed."""
    return {
        "objective": "multiclass",
        "num_class": n_classes,
        "metric": "multi_logloss",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.group_leaves if groups else settings.num_leaves,
        "min_data_in_leaf": settings.min_data_in_leaf,
        "feature_fraction": settings.feature_fraction,
        "bagging_fraction": settings.bagging_fraction,
        "bagging_freq": 1,
        "max_bin": settings.max_bin,
        "num_threads": settings.jobs,
        "seed": settings.seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _train_booster(
    vectors: np.ndarray,
    classes: np.ndarray,
    held_out: np.ndarray,
    settings: BoostingSettings,
    *,
    groups: bool = False,
    start: Booster | None = None,
    on_round: Callable[[int], None] | None = None,
) -> Booster:
    """Grow trees on some rows until they help no more on the others.

    Those of ``start`` come first, whose sums are what the new ones add to.
    """
    known = np.unique(classes[~held_out]) if start is None else start.classes
    if not len(known):
        raise UserError("examples: expected some to train on, found none")
    if len(known) == 1:
        return Booster(None, known)
    first = None if start is None else start.trees
    position = np.searchsorted(known, classes)
    position[position == len(known)] = 0
    # Classes that the trees to go on from do not have are not learnt.
    named = known[position] == classes
    judged, grown = held_out & named, ~held_out & named
    sums = np.zeros((len(vectors), len(known)))
    if first is not None:
        sums = sum_trees(first, vectors, len(known))
    lightgbm = import_extra("lightgbm")
    asked = np.arange(vectors.shape[1]) if first is None else np.flatnonzero(_ADDED)
    init = {} if first is None else {"init_score": sums[grown]}
    rows = vectors[grown][:, asked]
    train = lightgbm.Dataset(rows, position[grown], free_raw_data=True, **init)
    callbacks = []
    if on_round is not None:
        callbacks.append(lambda environment: on_round(environment.iteration + 1))
    validation = []
    if judged.any():
        init = {} if first is None else {"init_score": sums[judged]}
        validation = [train.create_valid(vectors[judged][:, asked], position[judged], **init)]
        callbacks.append(lightgbm.early_stopping(settings.patience, verbose=False))
    model = lightgbm.train(
        _parameters(settings, len(known), groups),
        train,
        settings.group_rounds if groups else settings.rounds,
        valid_sets=validation,
        callbacks=callbacks,
    )
    # What is kept has no more trees than were of use.
    text = model.model_to_string(num_iteration=model.best_iteration)
    trees = read_trees(text)
    if first is not None:
        value = trees.value * np.float32(settings.added_share)
        trees = join_trees(first, trees._replace(feature=asked[trees.feature], value=value))
    booster = Booster(trees, known)
    if judged.any():
        found = _fit_temperature(booster.probabilities(vectors[judged]), position[judged])
        booster = replace(booster, temperature=found)
    return booster


def train_model(
    vectors: np.ndarray,
    space_groups: np.ndarray,
    held_out: np.ndarray,
    settings: BoostingSettings,
    start: SpaceGroupModel | None = None,
    on_round: Callable[[int], None] | None = None,
) -> SpaceGroupModel:
    """Train the boosters of all systems on vectors, float32 of shape (n, features).

    The trees of ``start`` for the crystal systems, which have seen none of the materials, are gone
    on from. Those for space groups stay: on a quarter of the crystals more of them did harm.

    The rows that are ``held_out``, bool of shape (n,), tell when to stop, and the temperature; they
    are of materials of their own. A UserError where there is nothing to train on.
    """
    systems = system_of(space_groups)
    system = _train_booster(
        vectors,
        systems,
        held_out,
        settings,
        start=None if start is None else start.system,
        on_round=on_round,
    )
    if start is not None:
        return SpaceGroupModel(system, start.groups)
    groups = {}
    for k in system.classes:
        own = systems == k
        groups[int(k)] = _train_booster(
            vectors[own],
            space_groups[own],
            held_out[own],
            settings,
            groups=True,
            on_round=on_round,
        )
    return SpaceGroupModel(system, groups)

"""Space groups by gradient boosting: a crystal system first, then a space group within it.

P(space group) = P(system) P(space group | system), from which Laue class and Bravais lattice follow
by sums, so that all answers agree with each other. Trees are LightGBM's (Ke et al. 2017). Each
booster's temperature is fitted on materials that it was not trained on (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Settings
from ediff_utils.crystals.groups import LAST_GROUPS, N_GROUPS, system_of

#: Systems less probable share their probability out evenly among their space groups.
WORTH_ASKING = 0.005
#: Least probability that a logarithm is taken of.
SMALLEST = 1e-6
#: Temperatures that are tried.
TEMPERATURES = (0.3, 4.0)
#: What LightGBM's text says of a tree that predictions do not need; two thirds of it.
_UNUSED = (
    "split_gain=",
    "leaf_weight=",
    "leaf_count=",
    "internal_value=",
    "internal_weight=",
    "internal_count=",
    # Lengths of the trees' text, which would be wrong; without them trees are read one by one.
    "tree_sizes=",
)
#: Digits of a leaf's value that are kept.
_DIGITS = 6


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
    jobs: int = Field(2, ge=1, description="threads")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Booster:
    """One booster, its classes and its temperature.

    - ``model``: None where there is one class alone.
    - ``classes``, int: positions in the system's list, or numbers of space groups.
    - ``temperature``: above one, probabilities are softer.
    """

    model: lightgbm.Booster | None
    classes: np.ndarray
    temperature: float = 1.0

    def probabilities(self, vectors: np.ndarray, threads: int = 1) -> np.ndarray:
        """Of each class; shape (n, classes)."""
        if self.model is None:
            return np.ones((len(vectors), 1))
        raw = np.asarray(self.model.predict(vectors, num_threads=threads))
        if raw.ndim == 1:
            raw = np.column_stack([1 - raw, raw])
        return _soften(raw, self.temperature)


def _soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of each row to the power of one over a temperature, normalised."""
    logarithm = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    power = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


def _fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which the right classes, given by their positions, are likeliest."""

    def loss(logarithm: float) -> float:
        own = _soften(probabilities, np.exp(logarithm))[np.arange(len(truth)), truth]
        return -float(np.log(np.maximum(own, SMALLEST)).mean())

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def shorten(text: str) -> str:
    """LightGBM's text of a model without what only its training needed, a third as long.

    Leaves' values have six digits; thresholds are as they were.
    """
    lines = []
    for line in text.split("\n"):
        if line.startswith("leaf_value="):
            name, values = line.split("=")
            line = f"{name}={' '.join(f'{float(v):.{_DIGITS}g}' for v in values.split())}"
        if not line.startswith(_UNUSED):
            lines.append(line)
    return "\n".join(lines)


def _train_booster(
    vectors: np.ndarray,
    classes: np.ndarray,
    held_out: np.ndarray,
    settings: BoostingSettings,
    *,
    groups: bool = False,
    on_round: Callable[[int], None] | None = None,
) -> Booster:
    """Grow trees on some rows until they help no more on the others."""
    known = np.unique(classes[~held_out])
    if not len(known):
        raise UserError("examples: expected some to train on, found none")
    if len(known) == 1:
        return Booster(None, known)
    position = np.searchsorted(known, classes)
    position[position == len(known)] = 0
    judged = held_out & (known[position] == classes)
    parameters = {
        "objective": "multiclass",
        "num_class": len(known),
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
    train = lightgbm.Dataset(vectors[~held_out], position[~held_out], free_raw_data=True)
    callbacks = []
    if on_round is not None:
        callbacks.append(lambda environment: on_round(environment.iteration + 1))
    validation = []
    if judged.any():
        validation = [train.create_valid(vectors[judged], position[judged])]
        callbacks.append(lightgbm.early_stopping(settings.patience, verbose=False))
    model = lightgbm.train(
        parameters,
        train,
        settings.group_rounds if groups else settings.rounds,
        valid_sets=validation,
        callbacks=callbacks,
    )
    # What is kept has no more trees than were of use.
    text = shorten(model.model_to_string(num_iteration=model.best_iteration))
    kept = lightgbm.Booster(model_str=text, params={"verbosity": -1})
    booster = Booster(kept, known)
    if judged.any():
        found = _fit_temperature(booster.probabilities(vectors[judged]), position[judged])
        booster = Booster(kept, known, found)
    return booster


@dataclass(frozen=True)
class SpaceGroupModel:
    """Boosters for the crystal system, and for the space groups of each.

    - ``system``: classes are positions in :data:`~ediff_utils.crystals.groups.NUMBERED_SYSTEMS`.
    - ``groups``: by position of the system; classes are numbers of space groups.
    """

    system: Booster
    groups: dict[int, Booster]

    def systems(self, vectors: np.ndarray, threads: int = 1) -> np.ndarray:
        """Of the crystal systems alone, as their space groups are numbered; shape (n, 7)."""
        found = np.zeros((len(vectors), len(LAST_GROUPS)))
        if len(vectors):
            found[:, self.system.classes] = self.system.probabilities(vectors, threads)
        return found

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Of space groups 1 to 230; shape (n, 230)."""
        found = np.zeros((len(vectors), N_GROUPS))
        systems = self.system.probabilities(vectors)
        for k, system in enumerate(self.system.classes):
            group = self.groups[int(system)]
            # Of a system that it is not, the space groups are not asked for.
            asked = systems[:, k] >= WORTH_ASKING
            within = np.full((len(vectors), len(group.classes)), 1 / len(group.classes))
            if asked.any():
                within[asked] = group.probabilities(vectors[asked])
            found[:, group.classes - 1] += systems[:, k : k + 1] * within
        return found


def train_model(
    vectors: np.ndarray,
    space_groups: np.ndarray,
    held_out: np.ndarray,
    settings: BoostingSettings,
    on_round: Callable[[int], None] | None = None,
) -> SpaceGroupModel:
    """Train the boosters of all systems on vectors, float32 of shape (n, features).

    The rows that are ``held_out``, bool of shape (n,), tell when to stop, and the temperature; they
    are of materials of their own. A UserError where there is nothing to train on.
    """
    systems = system_of(space_groups)
    system = _train_booster(vectors, systems, held_out, settings, on_round=on_round)
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

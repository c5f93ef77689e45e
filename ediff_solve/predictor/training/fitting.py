"""Training of the predictor on examples, some of whose materials are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ediff_solve.predictor.boosting import SpaceGroupModel
from ediff_solve.predictor.training.boosting import BoostingSettings, train_model
from ediff_utils.core.errors import UserError

#: Of the training materials, those that tell when to stop and how sure to be.
_HELD_OUT = 0.1


def hold_out(split: pd.DataFrame, seed: int) -> set[str]:
    """Training materials that trees are not grown on, of ``material_id`` and ``part``."""
    names = np.sort(split.loc[split["part"] == "train", "material_id"].unique())
    rng = np.random.default_rng(seed)
    return set(rng.choice(names, round(_HELD_OUT * len(names)), replace=False))


def train_predictor(
    index: pd.DataFrame,
    vectors: np.ndarray,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: BoostingSettings,
    start: Mapping[str, SpaceGroupModel] | None = None,
    on_round: Callable[[str, int], None] | None = None,
) -> dict[str, SpaceGroupModel]:
    """Train on the training materials' examples: ``single`` patterns, and ``several`` together.

    Examples are of :func:`ediff_solve.predictor.training.examples.read_examples`; ``crystals`` has
    labels and axes, ``split`` which material is on which side. Trees are added to those of
    ``start``, models by kind that have seen none of the materials; a kind without examples stays.
    ``on_round`` is called with the kind and the number of the round. A UserError where there are no
    examples of training materials.
    """
    train = set(split.loc[split["part"] == "train", "material_id"])
    rows = np.flatnonzero(index["material_id"].isin(train))
    groups = index["material_id"].map(crystals.set_index("material_id")["space_group"]).to_numpy()
    models, apart = {}, hold_out(split, settings.seed)
    for kind in ("single", "several"):
        alone = (index["patterns"].to_numpy()[rows] == 1) == (kind == "single")
        own = rows[alone]
        if not len(own) and start is not None:
            models[kind] = start[kind]
            continue
        if not len(own):
            raise UserError(f"examples: found none of training materials for '{kind}'")
        held_out = index["material_id"].iloc[own].isin(apart).to_numpy()
        report = None if on_round is None else (lambda n, kind=kind: on_round(kind, n))
        models[kind] = train_model(
            vectors[own],
            groups[own].astype(int),
            held_out,
            settings,
            None if start is None else start[kind],
            report,
        )
    return models

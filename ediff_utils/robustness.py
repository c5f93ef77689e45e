"""What the forests are worth away from the protocol that they were trained on."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from ediff_utils import dataset, evaluation, features, manifest, predictions
from ediff_utils.errors import UserError
from ediff_utils.models import Hierarchy
from ediff_utils.paths import Run
from ediff_utils.settings import ForestSettings


def compute_random_orientations(
    hierarchy: Hierarchy,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    run: Run,
    settings: ForestSettings,
    *,
    n_crystals: int = 200,
    progress: bool = True,
) -> dict[str, object]:
    """Ask the forests about test materials at random orientations and in-plane rotations.

    Parameters
    ----------
    hierarchy : Hierarchy
    crystals, split : DataFrame
    run : Run
        Its patterns say how to simulate; the new ones land beside them.
    settings : ForestSettings
        ``patterns_per_prediction`` and ``seed``.
    n_crystals : int
        Test materials, drawn at random.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        ``materials``, ``patterns``, and the crystal system's accuracy for ``one`` and ``ten``.

    Raises
    ------
    UserError
        No test materials.
    """
    simulation = manifest.read_settings(run.patterns).model_copy(
        update={
            "protocol": "random",
            "orientations": settings.patterns_per_prediction,
            "seed": settings.seed,
        }
    )
    feature_settings = features.read_settings(run.features)
    if feature_settings.thickness:
        one = {"thicknesses": (feature_settings.thickness,), "thickness_range": None}
        simulation = simulation.model_copy(update=one)
    test = crystals.merge(split[split["part"] == "test"], on="material_id")
    test = test[test["crystal_system"].isin(hierarchy.classes)].drop(columns="part")
    if not len(test):
        raise UserError("split: expected test materials of the forests' crystal systems")
    test = test.sample(min(n_crystals, len(test)), random_state=settings.seed)
    report = dataset.simulate_dataset(
        test.sort_values("material_id"), simulation, run.random_patterns, progress=progress
    )
    vectors = features.build_features(run.random_patterns, feature_settings, run.random_features)
    systems = hierarchy.systems_only()
    one = predictions.compute_predictions(systems, vectors, crystals, split)
    ten = predictions.compute_aggregates(
        systems, vectors, crystals, split, n_patterns=settings.patterns_per_prediction
    )
    return {
        "materials": len(ten),
        "patterns": report.n_patterns,
        "one": asdict(evaluation.compute_accuracy(one)),
        "ten": asdict(evaluation.compute_accuracy(ten)),
    }

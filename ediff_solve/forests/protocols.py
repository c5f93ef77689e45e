"""What forests are worth away from the protocol that they were trained on, beyond the paper.

A protocol is where the patterns' orientations are from, and what turns them in the plane:

``grid``
    The paper's fixed zone axes of each Laue group.
``random``
    Uniform over all rotations, as under a microscope.
``fixed``
    The pattern's x along the projection of one lattice vector, as in the paper.
``free``
    Any angle about the beam, as under a microscope.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ediff_solve.detector.effects import DetectorSettings, apply_detector
from ediff_utils.bloch.dataset import manifest, writing
from ediff_utils.bloch.dataset.reading import iterate_patterns, spots
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import ForestSettings, ProtocolSettings
from ediff_utils.paper import aggregation, evaluation, feature_files, predictions
from ediff_utils.paper.feature_files import Features, FeatureSet, turn
from ediff_utils.paper.features import compute_features
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.models import Hierarchy, forest_settings
from ediff_utils.paper.training import new_forest, prepare_hierarchy


class Protocol(NamedTuple):
    """Orientations, "grid" or "random", and in-plane rotation, "fixed" or "free"."""

    orientations: Literal["grid", "random"]
    rotation: Literal["fixed", "free"]

    def __str__(self) -> str:
        return f"{self.orientations}_{self.rotation}"


GRID, MICROSCOPE = Protocol("grid", "fixed"), Protocol("random", "free")
PROTOCOLS = (GRID, Protocol("grid", "free"), Protocol("random", "fixed"), MICROSCOPE)
#: Columns that name a pair of protocols.
_PAIR = ("train", "train_rotation", "test", "test_rotation")
#: Entries of ``results.json``: which of the table's cells each is.
HEADLINES = {
    "train_grid_test_grid": (GRID, GRID),
    "train_random_test_random": (MICROSCOPE, MICROSCOPE),
    "train_grid_test_random": (GRID, MICROSCOPE),
}


def simulate_random(
    run: Run,
    crystals: pd.DataFrame,
    settings: ProtocolSettings,
    *,
    seed: int = 0,
    progress: bool = True,
) -> Features:
    """Patterns of a run's crystals at random orientations, and their features.

    The run's patterns say how to simulate, the settings how many of the crystals and how many
    patterns of each; the new ones land beside the old.
    """
    feature_settings = feature_files.read_settings(run.features)
    changes: dict[str, object] = {"sampling": "random", "seed": seed}
    changes["orientations"] = settings.random_orientations
    if feature_settings.thickness:
        changes |= {"thicknesses": (feature_settings.thickness,), "thickness_range": None}
    simulation = manifest.read_settings(run.patterns).model_copy(update=changes)
    if settings.random_crystals:
        n = min(settings.random_crystals, len(crystals))
        crystals = crystals.sample(n, random_state=seed).sort_index()
    writing.simulate_dataset(crystals, simulation, run.random_patterns, progress=progress)
    return feature_files.build_features(
        run.random_patterns, feature_settings, run.random_features, progress=progress
    )


def comparison_settings(hierarchy: Hierarchy, trees: float, **changes: object) -> ForestSettings:
    """How forests that are compared are trained: as a hierarchy was, with a share of its trees."""
    fraction = forest_settings(hierarchy.about).tree_fraction * trees
    return forest_settings(hierarchy.about, tree_fraction=fraction, **changes)


def train_protocols(
    sources: Mapping[str, Features],
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
    folder: Path,
    *,
    protocols: tuple[Protocol, ...] = PROTOCOLS,
    trained: Mapping[Protocol, Hierarchy] | None = None,
    progress: bool = True,
) -> dict[Protocol, Hierarchy]:
    """Train a crystal-system forest under each protocol, with the same split and parameters.

    The sources are ``grid`` and ``random``. The folder keeps one of models a protocol, so that a
    stopped training goes on. Forests that are ``trained`` need not be trained again; of more trees
    than the settings ask for, the first are taken.
    """
    n_trees = new_forest("crystal_system", settings).n_estimators
    forests = {name: old.systems_only(n_trees) for name, old in (trained or {}).items()}
    for protocol in protocols:
        if protocol in forests:
            continue
        turned = turn(sources[protocol.orientations], protocol.rotation, settings.seed)
        own, options = folder / str(protocol), {"only_system": True, "progress": progress}
        hierarchy = prepare_hierarchy(turned, crystals, split, settings, own, **options)
        forests[protocol] = hierarchy.systems_only()
    return forests


def hold_out(features: Features, split: pd.DataFrame) -> FeatureSet:
    """Vectors of the test materials, in memory."""
    test = split.loc[split["part"] == "test", "material_id"]
    rows = np.flatnonzero(features.index["material_id"].isin(test))
    if not len(rows):
        raise UserError("split: expected patterns of test materials, found none")
    return FeatureSet(features.index.iloc[rows].reset_index(drop=True), features.take(rows))


def compute_cross(
    forests: Mapping[Protocol, Hierarchy],
    sources: Mapping[str, Features],
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
) -> pd.DataFrame:
    """Ask every forest about the test materials under every protocol that a forest has.

    Of the settings ``patterns_per_prediction`` and ``seed`` count. One row a pair of protocols and
    ``patterns`` "one" or "ten": ``train, train_rotation, test, test_rotation, patterns, accuracy,
    low, high, n, n_materials``, with 95 % intervals.
    """
    rows = []
    held_out = {name: hold_out(sources[name], split) for name in {p.orientations for p in forests}}
    for test in forests:
        turned = turn(held_out[test.orientations], test.rotation, settings.seed)
        for train, hierarchy in forests.items():
            names = dict(zip(_PAIR, (*train, *test), strict=True))
            asked = ask_forest(hierarchy, turned, crystals, split, settings)
            rows += [names | {"patterns": patterns} | row for patterns, row in asked.items()]
    return pd.DataFrame(rows)


def ask_forest(
    hierarchy: Hierarchy,
    features: Features,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
) -> dict[str, dict[str, float]]:
    """Accuracy from "one" pattern and from "ten", with its interval and the sizes of the sample."""
    one = predictions.compute_predictions(hierarchy.systems_only(), features, crystals, split)
    n, seed = settings.patterns_per_prediction, settings.seed
    ten = aggregation.compute_aggregate(one, "difference", n, seed)
    out = {}
    for patterns, table in (("one", one), ("ten", ten)):
        e = evaluation.compute_accuracy(table, seed=seed)
        out[patterns] = {"accuracy": e.value, "low": e.low, "high": e.high}
        out[patterns] |= {"n": e.n, "n_materials": e.n_materials}
    return out


def detect_test_patterns(
    run: Run, split: pd.DataFrame, settings: DetectorSettings, n_patterns: int, seed: int = 0
) -> FeatureSet:
    """Vectors of a run's random patterns as a detector shows them: n of each test material."""
    feature_settings = feature_files.read_settings(run.random_features)
    test = pa.array(split.loc[split["part"] == "test", "material_id"])
    columns = [*feature_files.INDEX, "qx", "qy", "intensity"]
    index, vectors = [], []
    for table in iterate_patterns(run.random_patterns, columns, feature_settings.thickness):
        asked = pc.and_(pc.is_in(table["material_id"], test), pc.less(table["pattern"], n_patterns))
        table = table.filter(asked).combine_chunks()
        if not table.num_rows:
            continue
        qx, qy, intensity, offsets = spots(table)
        names = table["material_id"].to_numpy(zero_copy_only=False)
        numbers = table["pattern"].to_numpy()
        qx, qy, intensity = (a.astype(float) for a in (qx, qy, intensity))
        seen = apply_detector(qx, qy, intensity, offsets, names, numbers, settings, seed)
        shown = seen.qx, seen.qy, seen.intensity, seen.offsets
        how = (feature_settings.normalisation, feature_settings.round_off)
        vectors.append(compute_features(*shown, *how))
        index.append(table.select(list(feature_files.INDEX)).to_pandas())
    if not index:
        raise UserError("split: expected patterns of test materials, found none")
    return FeatureSet(pd.concat(index, ignore_index=True), np.concatenate(vectors))


def compute_behind_detector(
    forests: Mapping[Protocol, Hierarchy],
    seen: FeatureSet,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
) -> dict[str, dict[str, object]]:
    """What forests that were trained on simulated patterns say of a detector's.

    For "train_grid" and "train_random" what :func:`summarise` has of a pair.
    """
    trained = {"train_grid": GRID, "train_random": MICROSCOPE}
    return {
        name: _headline(ask_forest(forests[protocol], seen, crystals, split, settings))
        for name, protocol in trained.items()
    }


def compute_prototype_split(
    sources: Mapping[str, Features],
    crystals: pd.DataFrame,
    settings: ForestSettings,
    folder: Path,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """What :func:`compute_cross` gives with isostructural crystals on one side of the split.

    For the paper's protocol and the microscope's, trained as by :func:`train_protocols`.
    """
    by_prototype = settings.model_copy(update={"split_by": "prototype"})
    split = make_split(crystals, by_prototype)
    both = (GRID, MICROSCOPE)
    forests = train_protocols(
        sources, crystals, split, by_prototype, folder, protocols=both, progress=progress
    )
    return compute_cross(forests, sources, crystals, split, settings)


def summarise(cross: pd.DataFrame) -> dict[str, dict[str, object]]:
    """The pairs of :data:`HEADLINES` in a table of :func:`compute_cross`, for ``results.json``.

    For each pair ``one`` and ``ten``, the accuracies, with ``interval``, ``n`` and ``n_materials``
    of each.
    """
    keyed = cross.set_index([*_PAIR, "patterns"])
    return {
        name: _headline({key: keyed.loc[(*train, *test, key)] for key in ("one", "ten")})
        for name, (train, test) in HEADLINES.items()
    }


def summarise_rows(table: pd.DataFrame) -> dict[str, object]:
    """What :func:`summarise` has of a pair, of a table of one row for "one" and one for "ten"."""
    return _headline(table.set_index("patterns").to_dict("index"))


def _headline(cells: Mapping[str, Mapping[str, float]]) -> dict[str, object]:
    """Accuracies by patterns, and below them their intervals and sizes."""
    return {key: float(cell["accuracy"]) for key, cell in cells.items()} | {
        "interval": {key: [cell["low"], cell["high"]] for key, cell in cells.items()},
        "n": {key: int(cell["n"]) for key, cell in cells.items()},
        "n_materials": {key: int(cell["n_materials"]) for key, cell in cells.items()},
    }

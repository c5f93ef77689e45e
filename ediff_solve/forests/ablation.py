"""What the accuracy on the paper's grid is made of: forests of vectors that lack one thing each.

The grid's patterns are exact: zone axes to the last digit, x along the same lattice vector, spots
where they belong, coefficients that symmetry extinguishes at zero. A tree can read any of it, and a
microscope shows none. Each row of the table takes one of these away, from training and test alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_solve.forests.protocols import ask_forest, hold_out
from ediff_utils.bloch.dataset import manifest, writing
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper import feature_files
from ediff_utils.paper.feature_files import (
    AlteredFeatures,
    Features,
    keep_materials,
    rotate,
    turn,
)
from ediff_utils.paper.features import N_ANGULAR, N_FEATURES
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.published import PATTERNS_TRIGONAL, PATTERNS_WITHOUT_TRICLINIC
from ediff_utils.paper.training import prepare_hierarchy

#: Rows of the table, in its order, and what is changed in each against the first.
CHANGES: Mapping[str, str] = {
    "ours": "as they are: arguments of extinguished coefficients are 0",
    "plain": "plainest reading of the text: these arguments are round-off",
    "weak": "coefficients below 0.3 % of their ring are noise of that size",
    "jitter_0.001": "spots displaced by 0.001 1/Å",
    "jitter_0.003": "spots displaced by 0.003 1/Å",
    "tilt_0.1": "zone axes tilted by 0.1°",
    "tilt_1": "zone axes tilted by 1°",
    "turn_2": "turned in the plane by up to 2°",
    "turn_any": "turned in the plane by any angle",
    "magnitudes": "magnitudes alone, which no turn in the plane changes",
    "shares": "trigonal crystals as rare as in the paper",
    "prototype": "isostructural crystals on one side of the split",
}
#: A coefficient below this share of its ring's order 0 is weak.
_WEAK = 0.003


def drown_weak(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Vectors, float32 (n, 1066), whose weak coefficients are complex normal noise instead.

    Those below 0.3 % of T[m, 0] of their ring, and the noise is of that root mean square. It hangs
    on the first of their ``rows`` alone.
    """
    rng = np.random.default_rng(int(rows[0]))
    shape = (len(vectors), -1, N_ANGULAR)
    magnitude, argument = (half.reshape(shape) for half in np.split(vectors, 2, axis=1))
    level = np.broadcast_to(_WEAK * magnitude[:, :, :1], magnitude.shape)
    weak = magnitude < level
    noise = rng.standard_normal((2, int(weak.sum())), dtype=np.float32) * np.sqrt(0.5)
    out = np.stack([magnitude, argument], axis=1)
    out[:, 0][weak] = level[weak] * np.hypot(*noise)
    out[:, 1][weak] = np.arctan2(*noise)
    return out.reshape(len(vectors), -1)


def keep_magnitudes(vectors: np.ndarray, _rows: np.ndarray) -> np.ndarray:
    """Vectors without their arguments, which become 0."""
    out = vectors.copy()
    out[:, N_FEATURES // 2 :] = 0
    return out


def thin_trigonal(crystals: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Crystals of which so many trigonal ones are left out that their share is the paper's.

    Its figure S1 has bars without numbers. From its text: some 0.2 of the 3.4 million patterns that
    are not triclinic are trigonal.
    """
    share = float(PATTERNS_TRIGONAL.value or 0) / float(PATTERNS_WITHOUT_TRICLINIC.value or 1)
    trigonal = crystals["crystal_system"] == "trigonal"
    others = (~trigonal & (crystals["crystal_system"] != "triclinic")).sum()
    surplus = int(trigonal.sum() - others * share / (1 - share))
    dropped = crystals[trigonal].sample(max(surplus, 0), random_state=seed).index
    return crystals.drop(dropped)


def compute_ablation(
    run: Run,
    crystals: pd.DataFrame,
    split: pd.DataFrame,
    settings: ForestSettings,
    folder: Path,
    *,
    changes: Collection[str] = tuple(CHANGES),
    n_crystals: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Train and ask one crystal-system forest for each change of the vectors.

    Parameters
    ----------
    run : Run
        Its patterns are changed; they lie on the paper's grid.
    crystals, split : DataFrame
    settings : ForestSettings
        ``seed`` is that of all that is drawn at random, too.
    folder : Path
        Of the models, and of patterns and vectors that have to be made again. What is there is
        used, so that a stopped run goes on.
    changes : collection of str
        Keys of :data:`CHANGES`.
    n_crystals : int
        Crystals that are drawn for it, 0 for all.
    progress : bool
        Show progress bars.

    Returns
    -------
    DataFrame
        One row a change and ``patterns`` "one" or "ten": ``change, patterns, accuracy, low, high,
        n, n_materials``, with 95 % intervals.
    """
    if n_crystals and n_crystals < len(crystals):
        crystals = crystals.sample(n_crystals, random_state=settings.seed).sort_index()
    rows = []
    for change in changes:
        own, parts, how = crystals, split, settings
        if change == "shares":
            own = thin_trigonal(crystals, settings.seed)
        elif change == "prototype":
            how = settings.model_copy(update={"split_by": "prototype"})
            parts = make_split(crystals, how)
        vectors = _change_vectors(run, change, own, folder, settings.seed, progress)
        vectors = keep_materials(vectors, set(own["material_id"]))
        options = {"only_system": True, "progress": progress}
        hierarchy = prepare_hierarchy(vectors, own, parts, how, folder / change, **options)
        asked = ask_forest(hierarchy, hold_out(vectors, parts), own, parts, how)
        rows += [{"change": change, "patterns": n} | row for n, row in asked.items()]
    return pd.DataFrame(rows)


def _change_vectors(
    run: Run, change: str, crystals: pd.DataFrame, folder: Path, seed: int, progress: bool
) -> Features:
    """Vectors of a change, of the crystals and maybe of others too."""
    settings = feature_files.read_settings(run.features)
    name, _, size = change.partition("_")
    path = folder / f"{change}.parquet"
    base = feature_files.read_features(run.features)
    if name in ("plain", "jitter"):
        update = {"round_off": "kept"} if name == "plain" else {"position_noise": float(size)}
        made = settings.model_copy(update=update)
        return feature_files.build_features(run.patterns, made, path, progress=progress)
    if name == "tilt":
        simulation = manifest.read_settings(run.patterns).model_copy(update={"tilt": float(size)})
        patterns = folder / f"{change}_patterns"
        writing.simulate_dataset(crystals, simulation, patterns, progress=progress)
        return feature_files.build_features(patterns, settings, path, progress=progress)
    if change == "turn_any":
        return turn(base, "free", seed)
    if name == "turn":
        angle = np.random.default_rng(seed).uniform(-float(size), float(size), len(base.index))
        return rotate(base, angle, f"{change} {seed}")
    if change == "weak":
        return AlteredFeatures(base, drown_weak, change)
    return AlteredFeatures(base, keep_magnitudes, change) if change == "magnitudes" else base


def tabulate(table: pd.DataFrame) -> pd.DataFrame:
    """The table for readers: accuracies from one pattern and from ten, and what each change costs.

    The cost is against the first row, in points.
    """
    accuracy = table.pivot_table("accuracy", "change", "patterns")
    accuracy = accuracy.loc[[change for change in CHANGES if change in accuracy.index]]
    lost = accuracy.iloc[0] - accuracy
    return pd.DataFrame(
        {
            "vectors": [CHANGES[change] for change in accuracy.index],
            "one pattern": [f"{100 * a:.1f} %" for a in accuracy["one"]],
            "ten patterns": [f"{100 * a:.1f} %" for a in accuracy["ten"]],
            "lost, one": [f"{100 * a:.1f}" for a in lost["one"]],
            "lost, ten": [f"{100 * a:.1f}" for a in lost["ten"]],
        }
    )

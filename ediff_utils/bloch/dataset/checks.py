"""Simulated patterns held against the dense eigen-decomposition of the same structure matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from ediff_utils.bloch.dataset.manifest import read_settings
from ediff_utils.bloch.dataset.reading import part_files
from ediff_utils.bloch.dataset.table import crystal_orientations
from ediff_utils.bloch.kernels.reference import exit_wave_dense
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import (
    BlochCrystal,
    find_beams,
    full_matrix,
    prepare,
    propagate_beams,
)
from ediff_utils.core.errors import UserError
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.tables import read_crystals

#: Spots on which accuracy is promised [fraction of the incident beam].
_STRONG = 1e-3


def dense_intensities(
    bloch: BlochCrystal, orientation: np.ndarray, thickness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Beams and their intensities, shape (n,), by eigen-decomposition, the direct beam first."""
    index, error = find_beams(bloch, orientation)
    start = np.zeros(len(index))
    start[0] = 1
    wave = exit_wave_dense(full_matrix(bloch, index, error), start, thickness)
    return index, np.abs(wave) ** 2


def compute_dense_difference(
    crystal: Crystal, settings: SimulationSettings, n_orientations: int = 3, seed: int = 0
) -> float:
    """Hold some patterns of a crystal, in random orientations, against the eigen-decomposition.

    Gives the largest difference of any beam's intensity at any of the settings' thicknesses, as a
    fraction of the incident beam.
    """
    bloch = prepare(crystal, settings)
    worst = 0.0
    for orientation in random_orientations(n_orientations, np.random.default_rng(seed)):
        waves = propagate_beams(bloch, *find_beams(bloch, orientation), settings.thicknesses)
        for wave, thickness in zip(waves, settings.thicknesses, strict=True):
            _, dense = dense_intensities(bloch, orientation, thickness)
            worst = max(worst, float(np.abs(np.abs(wave) ** 2 - dense).max()))
    return worst


def compute_dataset_differences(folder: Path, n_patterns: int, seed: int = 0) -> pd.DataFrame:
    """Hold stored patterns, drawn at random from all crystal systems alike, against the dense ones.

    Of a finished dataset at most so many patterns are taken, each of another crystal. The table has
    a row a pattern: ``material_id``, ``pattern``, ``crystal_system``, ``thickness``, ``beams``;
    ``difference``: largest of any spot or the direct beam, ``difference_strong``: of those above
    1e-3, ``missing``: spots above the floor by more than 1e-6 that are not stored. A precessing
    beam is a UserError.
    """
    settings = read_settings(folder)
    if settings.precession:
        raise UserError(f"{folder}: precession: expected patterns of a still beam to check")
    crystals = read_crystals(folder / "crystals.parquet")
    rng = np.random.default_rng(seed)
    groups = crystals.groupby("crystal_system")
    share = -(-n_patterns // groups.ngroups)
    chosen = groups.sample(frac=1, random_state=rng).groupby("crystal_system").head(share)
    chosen = chosen.iloc[:n_patterns].set_index("material_id")
    stored = _draw_patterns(folder, list(chosen.index), rng)
    rows = []
    for row in tqdm(stored, desc="patterns checked"):
        line = chosen.loc[row["material_id"]]
        crystal = Crystal.from_row(line.to_dict() | {"material_id": row["material_id"]})
        orientation = crystal_orientations(crystal, settings)[row["pattern"]]
        found = _compare(row, prepare(crystal, settings), orientation)
        rows.append({"crystal_system": line["crystal_system"]} | found)
    return pd.DataFrame(rows)


def _draw_patterns(folder: Path, names: list[str], rng: np.random.Generator) -> list[dict]:
    """One stored pattern of each of some materials."""
    dataset = pa.dataset.dataset([str(p) for p in part_files(folder)], format="parquet")
    table = dataset.to_table(filter=pc.field("material_id").isin(names))
    order = pd.Series(table["material_id"].to_pandas()).groupby(table["material_id"].to_pandas())
    indices = [int(rng.choice(rows.index)) for _, rows in order]
    return table.take(indices).to_pylist()


def _compare(row: dict, bloch: BlochCrystal, orientation: np.ndarray) -> dict[str, object]:
    index, dense = dense_intensities(bloch, orientation, row["thickness"])
    hkl = [tuple(h) for h in bloch.hkl_conventional[index].tolist()]
    stored = dict(
        zip(zip(row["h"], row["k"], row["l"], strict=True), row["intensity"], strict=True)
    )
    stored[hkl[0]] = row["direct_beam"]
    floor = bloch.settings.intensity_floor
    differences = np.array([abs(stored.get(h, i) - i) for h, i in zip(hkl, dense, strict=True)])
    absent = np.array([h not in stored for h in hkl])
    return {
        "material_id": row["material_id"],
        "pattern": row["pattern"],
        "thickness": row["thickness"],
        "beams": len(index),
        "difference": float(differences.max()),
        "difference_strong": float(differences[dense > _STRONG].max(initial=0)),
        "missing": int(np.count_nonzero(absent & (dense > floor + 1e-6))),
    }

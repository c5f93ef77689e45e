"""Patterns of a run that forests are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from ediff_utils.bloch.dataset.reading import part_files, spots
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import FeatureSettings, ForestSettings
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper.aggregation import draw_patterns
from ediff_utils.paper.features import N_FEATURES, compute_features
from ediff_utils.paper.labels import make_split
from ediff_utils.paper.predictions import read_table


def _read_rows(parts: list[Path], columns: list[str], wanted: pc.Expression) -> pa.Table:
    # Not the whole table, as the package's own readers have it: of a full run it would not fit.
    source = pa.dataset.dataset([str(path) for path in parts], format="parquet")
    return source.to_table(["material_id", "pattern", *columns], wanted).combine_chunks()


def read_vectors(run: Run, materials: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Vectors of some materials: from the run's table of features, else from its patterns.

    Parameters
    ----------
    run : Run
    materials : ndarray of str

    Returns
    -------
    index : DataFrame
        ``material_id`` and ``pattern`` of every row.
    vectors : ndarray of float32, shape (n, 1066)

    Raises
    ------
    UserError
        No patterns of them there, or the dataset is not finished.
    """
    wanted = pc.field("material_id").isin(pa.array(materials, pa.string()))
    if run.features.exists():
        table = _read_rows([run.features], ["features"], wanted)
        flat = table["features"].combine_chunks().flatten()
        vectors = flat.to_numpy(zero_copy_only=False).reshape(-1, N_FEATURES)
        vectors = vectors.astype(np.float32, copy=False)
    else:
        wanted &= pc.abs(pc.field("thickness") - FeatureSettings().thickness) < 1e-3
        table = _read_rows(part_files(run.patterns), ["qx", "qy", "intensity"], wanted)
        vectors = compute_features(*spots(table))
    if not table.num_rows:
        raise UserError(f"{run.data}: no patterns of its crystals there")
    return table.select(["material_id", "pattern"]).to_pandas(), vectors


def draw(
    run: Run, n_materials: int, n_patterns: int, seed: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Patterns of materials drawn at random, none of them triclinic, a quarter set apart.

    Parameters
    ----------
    run : Run
    n_materials, n_patterns : int
        At most so many, and so many of each.
    seed : int

    Returns
    -------
    labels : DataFrame
        ``material_id`` and ``crystal_system``, materials in an order drawn at random.
    vectors : ndarray of float32, shape (n, 1066)
    train, test : ndarray of int
        Rows of either.
    """
    columns = ("material_id", "crystal_system")
    crystals = read_table(run.crystals, f"notebook 01 of a run '{run.name}'", columns)
    crystals = crystals[crystals["crystal_system"].isin(SYSTEMS)]
    order = np.random.default_rng(seed).permutation(len(crystals))[:n_materials]
    crystals = crystals.iloc[order].reset_index(drop=True)
    materials = crystals["material_id"].to_numpy()
    labels, vectors = read_vectors(run, materials)
    known = crystals.merge(make_split(crystals, ForestSettings(seed=seed)), on="material_id")
    labels = labels.merge(known[[*columns, "part"]], on="material_id", validate="many_to_one")
    names, groups, turn = draw_patterns(labels["material_id"], seed)
    # In the order drawn, so that the first rows are a smaller draw.
    place = pd.Index(materials).get_indexer(names)[groups]
    rows = np.argsort(place, kind="stable")
    rows = rows[turn[rows] < n_patterns]
    labels = labels.iloc[rows].reset_index(drop=True)
    parts = [np.flatnonzero(labels["part"] == part) for part in ("train", "test")]
    if not all(map(len, parts)):
        raise UserError(f"{run.data}: too few materials with patterns to divide them")
    return labels[[*columns]], vectors[rows], *parts

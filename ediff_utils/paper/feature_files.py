"""Vectors of many patterns, in memory or in a Parquet file that is read by the block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.bloch.dataset import manifest
from ediff_utils.bloch.dataset.reading import count_patterns, iterate_patterns, part_files, spots
from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_schema, read_table
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import FeatureSettings, check
from ediff_utils.paper.features import N_FEATURES, compute_features, rotate_vectors

FEATURES = made_from.Stage(
    "features",
    ("ediff_utils.paper.feature_files",),
    without=("ediff_utils.bloch.dataset.manifest", "ediff_utils.bloch.dataset.table"),
)
_WHAT, _MADE_BY = "a table of features", "notebook 03"
#: Columns of the file beside the vectors.
INDEX = ("material_id", "pattern", "rotation")
#: Below this an in-plane rotation is none [degree].
_NO_TURN = 1e-3
#: Patterns that are transformed and written at once.
_BLOCK = 20_000


class Features(Protocol):
    """Vectors and what they belong to.

    ``index`` has ``material_id``, ``pattern`` and, where it is known, ``rotation`` [degree] of
    every row. ``key`` tells whether two of them are the same; it is empty where that is not known.
    """

    @property
    def index(self) -> pd.DataFrame: ...

    @property
    def key(self) -> str: ...

    def take(self, rows: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
        """Vectors of some rows; ndarray of float32, shape (len(rows), 1066)."""


@dataclass(frozen=True)
class FeatureSet:
    """Vectors in memory, float32, shape (n, 1066)."""

    index: pd.DataFrame
    vectors: np.ndarray
    key: str = ""

    def take(self, rows: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
        return np.asarray(self.vectors[rows], dtype=np.float32, order=order)


@dataclass(frozen=True)
class FeatureFile:
    """Vectors in a file, of which only those that are asked for come into memory."""

    path: Path
    index: pd.DataFrame
    key: str

    @property
    def vectors(self) -> np.ndarray:
        """All of them; ndarray of float32, shape (n, 1066)."""
        return self.take(np.arange(len(self.index)))

    def take(self, rows: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
        rows = np.asarray(rows)
        out = np.empty((len(rows), N_FEATURES), np.float32, order=order)
        # Where the rows of each block go.
        places = np.argsort(rows, kind="stable")
        wanted = rows[places]
        with pq.ParquetFile(self.path) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                own = slice(*np.searchsorted(wanted, [start, end]))
                if own.stop > own.start:
                    column = file.read_row_group(group, columns=["features"])["features"]
                    out[places[own]] = _to_numpy(column)[wanted[own] - start]
                start = end
        return out


@dataclass(frozen=True)
class FeatureSubset:
    """Some rows of others; ``name`` tells one choice of rows from another."""

    base: Features
    rows: np.ndarray
    name: str

    @property
    def index(self) -> pd.DataFrame:
        return self.base.index.iloc[self.rows].reset_index(drop=True)

    @property
    def key(self) -> str:
        return f"{self.base.key} {self.name}" if self.base.key else ""

    def take(self, rows: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
        return self.base.take(self.rows[rows], order)


@dataclass(frozen=True)
class AlteredFeatures:
    """Others' vectors, changed block by block.

    ``alter`` takes vectors and their rows in ``base``; ``name`` tells one change from another.
    """

    base: Features
    alter: Callable[[np.ndarray, np.ndarray], np.ndarray]
    name: str

    @property
    def index(self) -> pd.DataFrame:
        return self.base.index

    @property
    def key(self) -> str:
        return f"{self.base.key} {self.name}" if self.base.key else ""

    def take(self, rows: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
        out = self.base.take(rows, order)
        for start in range(0, len(out), _BLOCK):
            own = slice(start, start + _BLOCK)
            out[own] = self.alter(out[own], rows[own])
        return out


def rotate(features: Features, angle: np.ndarray, name: str) -> AlteredFeatures:
    """Vectors of the same patterns after a turn about the beam, from qx towards qy.

    By an angle for each, (n,) [degree]; ``name`` tells one set of angles from another.
    """
    return AlteredFeatures(features, lambda own, rows: rotate_vectors(own, angle[rows]), name)


def keep_materials(features: Features, names: Collection[str]) -> Features:
    """Patterns of some materials; ``features`` themselves if they have no others."""
    kept = features.index["material_id"].isin(names).to_numpy()
    if kept.all():
        return features
    own = "\n".join(sorted(set(features.index["material_id"][kept])))
    return FeatureSubset(features, np.flatnonzero(kept), hashlib.sha256(own.encode()).hexdigest())


def turn(features: Features, rotation: Literal["fixed", "free"], seed: int) -> Features:
    """The same patterns under a protocol of in-plane rotation; they themselves if they follow it.

    "fixed": x along the projection of the same lattice vector in every pattern, the paper's
    protocol; "free": uniform, as under a microscope, by ``seed``. Without the patterns' rotation in
    the index: a UserError.
    """
    if "rotation" not in features.index:
        raise UserError("features: column 'rotation' is missing; make them again")
    own = features.index["rotation"].to_numpy(dtype=float)
    # Modulo whole turns, and rounding.
    is_fixed = np.all(np.abs((own + 180) % 360 - 180) < _NO_TURN)
    if rotation == "fixed":
        return features if is_fixed else rotate(features, -own, "fixed")
    if not is_fixed:
        return features
    angle = np.random.default_rng(seed).uniform(0, 360, len(own))
    return rotate(features, angle, f"free {seed}")


def build_features(
    patterns: Path, settings: FeatureSettings, path: Path, *, progress: bool = True
) -> FeatureFile:
    """Vectors of a dataset of patterns, written to Parquet block by block.

    Parameters
    ----------
    patterns : Path
        Folder of the patterns stage.
    settings : FeatureSettings
    path : Path
        The file that is written; one that was made from the same is kept.
    progress : bool
        Show a progress bar.

    Returns
    -------
    FeatureFile

    Raises
    ------
    UserError
        No patterns of that thickness, or the file cannot be written.
    """
    part_files(patterns)
    inputs = {"patterns": manifest.fingerprint(patterns)}
    identity = FEATURES.identify(settings.model_dump(mode="json"), inputs)
    found = made_from.read(path)
    if FEATURES.is_same(found, identity):
        return _open(path, found or {})
    number = {"float16": pa.float16(), "float32": pa.float32()}[settings.precision]
    kinds = {"material_id": pa.string(), "pattern": pa.int32(), "rotation": pa.float32()}
    schema = pa.schema(
        [*((name, kinds[name]) for name in INDEX), ("features", pa.list_(number, N_FEATURES))],
        metadata=made_from.metadata(identity),
    )
    columns = [*INDEX, "qx", "qy", "intensity"]
    total = count_patterns(patterns, settings.thickness)
    rng = np.random.default_rng(0)
    with (
        atomic_write(path) as partial,
        tqdm(total=total, desc="features", unit="patterns", disable=not progress) as bar,
        pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=["material_id"]) as f,
    ):
        for table in iterate_patterns(patterns, columns, settings.thickness, _BLOCK):
            qx, qy, intensity, offsets = spots(table)
            if settings.position_noise:
                qx, qy = (q + rng.normal(0, settings.position_noise, len(q)) for q in (qx, qy))
            how = (settings.normalisation, settings.round_off)
            vectors = compute_features(qx, qy, intensity, offsets, *how)
            flat = pa.array(vectors.ravel().astype(number.to_pandas_dtype()))
            lists = pa.FixedSizeListArray.from_arrays(flat, N_FEATURES)
            arrays = [table[name].combine_chunks() for name in INDEX]
            f.write_table(pa.table([*arrays, lists], schema=schema))
            bar.update(table.num_rows)
    return _open(path, identity)


def read_features(path: Path) -> FeatureFile:
    """Open what :func:`build_features` wrote; says on stderr where other code has made it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    FeatureFile

    Raises
    ------
    UserError
        No such file, not Parquet, or not a table of features.
    """
    found = made_from.read(path) or {}
    file = _open(path, found)
    FEATURES.note_old(found)
    return file


def _open(path: Path, identity: made_from.Identity) -> FeatureFile:
    """Open a file that says what it was made from."""
    kind = read_schema(path, [*INDEX, "features"], what=_WHAT, made_by=_MADE_BY).field("features")
    if not pa.types.is_fixed_size_list(kind.type) or kind.type.list_size != N_FEATURES:
        raise UserError(f"{path}: column features: expected lists of {N_FEATURES} numbers")
    index = read_table(path, INDEX, others=False, what=_WHAT, made_by=_MADE_BY).to_pandas()
    return FeatureFile(Path(path), index, made_from.digest(identity) if identity else "")


def read_settings(path: Path) -> FeatureSettings:
    """Parameters that the vectors of a file were made with.

    Raises
    ------
    UserError
        No such file, or not a table of features.
    """
    read_schema(path, what=_WHAT, made_by=_MADE_BY)
    found = made_from.read(path)
    if not found:
        raise UserError(f"{path}: expected {_WHAT}, as {_MADE_BY} writes it")
    return check(FeatureSettings, where=f"{path}: ", **found["settings"])


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts).reshape(-1, N_FEATURES)

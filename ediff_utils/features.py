"""The features stage: spot patterns to vectors of the radial and angular basis.

Equations 1 and 2 of Gleason et al. 2024: 41 overlapping triangular rings, 0.05 1/angstrom apart,
times exp(i p phi) for p = 0 to 12, make 533 complex numbers T[m, p]. The vector is their
magnitudes, in the order of (m, p), followed by their arguments: 1,066 real numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.errors import UserError
from ediff_utils.kernels.radial import radial_transform
from ediff_utils.paths import atomic_write, require
from ediff_utils.patterns import read_patterns, spots
from ediff_utils.settings import FeatureSettings, check

#: Radial bins, angular orders and radial step [1/angstrom] of the paper.
N_RADIAL, N_ANGULAR, STEP = 41, 13, 0.05
N_FEATURES = 2 * N_RADIAL * N_ANGULAR
#: Below this fraction of its ring's total a coefficient is round-off; its argument means nothing.
_ROUND_OFF = 1e-5
#: The same as a fraction of the whole pattern: a spot on a ring, in single precision, leaks so
#: much into the next one.
_LEAKAGE = 3e-6
_SETTINGS = b"ediff_settings"


@dataclass(frozen=True)
class FeatureSet:
    """Vectors and what they belong to.

    Parameters
    ----------
    index : DataFrame
        ``material_id`` and ``pattern`` of every row.
    vectors : ndarray of float32, shape (n, 1066)
    """

    index: pd.DataFrame
    vectors: np.ndarray


def transform(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Coefficients T[m, p] of many patterns.

    Parameters
    ----------
    qx, qy, intensity : ndarray, shape (spots,)
        Spots of all patterns, one pattern after another, without the direct beam [1/angstrom].
    offsets : ndarray of int, shape (patterns + 1,)
        Pattern j owns spots offsets[j] to offsets[j + 1].

    Returns
    -------
    ndarray of complex64, shape (patterns, 41, 13)
    """
    return radial_transform(
        np.ascontiguousarray(qx, dtype=np.float64),
        np.ascontiguousarray(qy, dtype=np.float64),
        np.ascontiguousarray(intensity, dtype=np.float64),
        np.ascontiguousarray(offsets, dtype=np.int64),
        N_RADIAL,
        N_ANGULAR,
        STEP,
    )


def to_vectors(coefficients: np.ndarray) -> np.ndarray:
    """Magnitudes and arguments of coefficients.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (n, 41, 13)

    Returns
    -------
    ndarray of float32, shape (n, 1066)
        533 magnitudes, then 533 arguments [radian]; the argument of a vanishing coefficient is 0.
    """
    n = len(coefficients)
    magnitude = np.abs(coefficients)
    argument = np.angle(coefficients)
    ring = magnitude[:, :, :1]
    vanishing = np.maximum(_ROUND_OFF * ring, _LEAKAGE * ring.sum(axis=1, keepdims=True))
    argument[magnitude <= vanishing] = 0
    return np.concatenate([magnitude.reshape(n, -1), argument.reshape(n, -1)], axis=1).astype(
        np.float32
    )


def to_coefficients(vectors: np.ndarray) -> np.ndarray:
    """Undo :func:`to_vectors`: complex coefficients, shape (n, 41, 13)."""
    vectors = np.asarray(vectors)
    magnitude, argument = np.split(vectors, 2, axis=1)
    return (magnitude * np.exp(1j * argument)).reshape(len(vectors), N_RADIAL, N_ANGULAR)


def normalise(intensity: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Divide the intensities of each pattern by their sum, so that counts and fractions compare."""
    sizes = np.diff(offsets)
    totals = np.zeros(len(sizes))
    full = sizes > 0
    totals[full] = np.add.reduceat(np.asarray(intensity, dtype=float), offsets[:-1][full])
    return intensity / np.repeat(np.where(totals > 0, totals, 1), sizes)


def compute_features(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    normalisation: str = "scattered",
) -> np.ndarray:
    """Vectors of many patterns, as the forests take them.

    Parameters
    ----------
    qx, qy, intensity, offsets
        As in :func:`transform`.
    normalisation : {"scattered", "incident"}
        "scattered": intensities as fractions of the sum over a pattern's spots, which is all that a
        measured pattern in counts allows. "incident": as they come.

    Returns
    -------
    ndarray of float32, shape (patterns, 1066)
        A pattern without spots gives zeros.

    Raises
    ------
    UserError
        A position or intensity that is not finite.
    """
    for name, values in (("qx", qx), ("qy", qy), ("intensity", intensity)):
        if not np.all(np.isfinite(values)):
            raise UserError(f"{name}: expected finite numbers, found NaN or infinity")
    if normalisation == "scattered":
        intensity = normalise(intensity, offsets)
    # Blocks bound the memory of the complex coefficients.
    blocks = [np.empty((0, N_FEATURES), np.float32)]
    for start in range(0, len(offsets) - 1, 20_000):
        part = offsets[start : start + 20_001]
        own = slice(part[0], part[-1])
        blocks.append(to_vectors(transform(qx[own], qy[own], intensity[own], part - part[0])))
    return np.concatenate(blocks)


def build_features(patterns: Path, settings: FeatureSettings, path: Path) -> FeatureSet:
    """Vectors of a dataset of patterns, written to Parquet.

    Parameters
    ----------
    patterns : Path
        Folder of the patterns stage.
    settings : FeatureSettings
    path : Path
        The file that is written.

    Returns
    -------
    FeatureSet

    Raises
    ------
    UserError
        No patterns of that thickness, or the file cannot be written.
    """
    columns = ["material_id", "pattern", "qx", "qy", "intensity"]
    table = read_patterns(patterns, columns, settings.thickness)
    vectors = compute_features(*spots(table), normalisation=settings.normalisation)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), N_FEATURES)
    out = pa.table(
        {"material_id": table["material_id"], "pattern": table["pattern"], "features": flat}
    )
    out = out.replace_schema_metadata({_SETTINGS: settings.model_dump_json()})
    with atomic_write(path) as partial:
        pq.write_table(out, partial, compression="zstd", use_dictionary=["material_id"])
    return FeatureSet(table.select(["material_id", "pattern"]).to_pandas(), vectors)


def read_features(path: Path) -> FeatureSet:
    """Read what :func:`build_features` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    FeatureSet

    Raises
    ------
    UserError
        No such file, not Parquet, or not a table of features.
    """
    require(path, "notebook 03")
    try:
        table = pq.read_table(path)
        column = table["features"].combine_chunks()
        index = table.select(["material_id", "pattern"]).to_pandas()
    except (pa.ArrowException, OSError, KeyError) as error:
        detail = str(error).split("\n")[0]
        raise UserError(f"{path}: not a table of features: {detail}") from None
    if not pa.types.is_fixed_size_list(column.type) or column.type.list_size != N_FEATURES:
        raise UserError(f"{path}: column features: expected lists of {N_FEATURES} numbers")
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    vectors = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, N_FEATURES)
    return FeatureSet(index, vectors)


def read_settings(path: Path) -> FeatureSettings:
    """Parameters that the vectors of a file were made with.

    Raises
    ------
    UserError
        No such file, or not a table of features.
    """
    require(path, "notebook 03")
    try:
        values = json.loads((pq.read_schema(path).metadata or {})[_SETTINGS])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        raise UserError(f"{path}: not a table of features, as notebook 03 writes it") from None
    return check(FeatureSettings, where=f"{path}: ", **values)


def basis_function(m: int, p: int, qx: np.ndarray, qy: np.ndarray) -> np.ndarray:
    """The basis function of ring m and order p on a grid, equation 2.

    Parameters
    ----------
    m, p : int
        Ring 0 to 40, angular order 0 to 12.
    qx, qy : ndarray
        Where [1/angstrom].

    Returns
    -------
    ndarray of complex
        max(0, 1 - ||q| - m dq| / dq) exp(i p phi).
    """
    ring = np.maximum(0, 1 - np.abs(np.hypot(qx, qy) - m * STEP) / STEP)
    return ring * np.exp(1j * p * np.arctan2(qy, qx))


def reconstruct(coefficients: np.ndarray, qx: np.ndarray, qy: np.ndarray) -> np.ndarray:
    """Put a pattern together again from its coefficients.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (41, 13)
    qx, qy : ndarray
        Where [1/angstrom].

    Returns
    -------
    ndarray
        sum over m of ring m times (T[m, 0] + 2 sum_p Re T[m, p] exp(-i p phi)) / (2 pi): the
        Fourier series of each ring, cut off at order 12, as intensity a radian.
    """
    position, angle = np.hypot(qx, qy) / STEP, np.arctan2(qy, qx)
    inner = np.floor(position).astype(int)
    weight = (position - inner)[..., None]
    # One ring of zeros beyond the last, for what lies outside of it.
    rings = np.concatenate([coefficients, np.zeros((1, N_ANGULAR))])
    own = rings[np.minimum(inner, N_RADIAL)] * (1 - weight)
    own = own + rings[np.minimum(inner + 1, N_RADIAL)] * weight
    waves = np.exp(-1j * np.arange(N_ANGULAR) * angle[..., None])
    waves[..., 1:] *= 2
    return np.sum(own * waves, axis=-1).real / (2 * np.pi)

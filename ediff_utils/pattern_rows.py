"""Rows of the patterns' table: one crystal's patterns, and rows as an Arrow table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ediff_utils.crystal import Crystal
from ediff_utils.orientations import grid_orientations, in_plane_rotation, random_orientations
from ediff_utils.settings import SimulationSettings
from ediff_utils.simulation import SpotPattern, prepare, simulate_orientation

SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("pattern", pa.int32()),
        ("zone_axis_cartesian", pa.list_(pa.float32(), 3)),
        ("zone_axis_lattice", pa.list_(pa.float32(), 3)),
        ("rotation", pa.float32()),
        ("thickness", pa.float32()),
        ("direct_beam", pa.float32()),
        ("qx", pa.list_(pa.float32())),
        ("qy", pa.list_(pa.float32())),
        ("intensity", pa.list_(pa.float32())),
        ("h", pa.list_(pa.int16())),
        ("k", pa.list_(pa.int16())),
        ("l", pa.list_(pa.int16())),
    ]
)


def crystal_orientations(crystal: Crystal, settings: SimulationSettings) -> np.ndarray:
    """Orientations of one crystal under a protocol.

    Parameters
    ----------
    crystal : Crystal
    settings : SimulationSettings
        ``protocol``, ``orientations`` and, for ``random``, ``seed``.

    Returns
    -------
    ndarray, shape (n, 3, 3)
    """
    if settings.protocol == "grid":
        return grid_orientations(crystal, settings.orientations)
    name = hashlib.blake2b(crystal.material_id.encode(), digest_size=8).digest()
    rng = np.random.default_rng([settings.seed, int.from_bytes(name, "little")])
    return random_orientations(settings.orientations, rng)


def pattern_rows(crystal: Crystal, settings: SimulationSettings) -> list[dict[str, object]]:
    """Simulate one crystal.

    Parameters
    ----------
    crystal : Crystal
    settings : SimulationSettings

    Returns
    -------
    list of dict
        Rows of :data:`SCHEMA`.

    Raises
    ------
    SimulationError, UserError
        The crystal cannot be simulated.
    """
    # First of all, since spglib dies of a cell without volume, and takes the process with it.
    bloch = prepare(crystal, settings)
    orientations = crystal_orientations(crystal, settings)
    simulated = [simulate_orientation(bloch, orientation) for orientation in orientations]
    to_lattice = np.linalg.inv(crystal.conventional_lattice)
    rows = []
    for number, (orientation, patterns) in enumerate(zip(orientations, simulated, strict=True)):
        axis = orientation[:, 2]
        uvw = axis @ to_lattice
        shared = {
            "material_id": crystal.material_id,
            "pattern": number,
            "zone_axis_cartesian": axis,
            "zone_axis_lattice": uvw / np.abs(uvw).max(),
            "rotation": in_plane_rotation(orientation),
        }
        rows += [shared | _spot_columns(pattern) for pattern in patterns]
    return rows


def _spot_columns(pattern: SpotPattern) -> dict[str, object]:
    return {
        "thickness": pattern.thickness,
        "direct_beam": pattern.direct_beam,
        "qx": pattern.qx,
        "qy": pattern.qy,
        "intensity": pattern.intensity,
        "h": pattern.hkl[:, 0],
        "k": pattern.hkl[:, 1],
        "l": pattern.hkl[:, 2],
    }


def rows_to_table(rows: Sequence[dict[str, object]]) -> pa.Table:
    """Turn rows of :data:`SCHEMA` into an Arrow table."""
    columns = []
    for column in SCHEMA:
        values = [row[column.name] for row in rows]
        if pa.types.is_list(column.type):
            sizes = np.array([len(v) for v in values], dtype=np.int64)
            offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
            kind = column.type.value_type.to_pandas_dtype()
            flat = np.concatenate(
                [np.asarray(v, dtype=kind) for v in values] or [np.empty(0, kind)]
            )
            array = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
        elif pa.types.is_fixed_size_list(column.type):
            flat = np.asarray(values, dtype=np.float32).ravel()
            array = pa.FixedSizeListArray.from_arrays(pa.array(flat), 3)
        else:
            array = pa.array(values, column.type)
        columns.append(array)
    return pa.Table.from_arrays(columns, schema=SCHEMA)

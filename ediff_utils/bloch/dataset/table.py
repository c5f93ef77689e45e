"""The patterns' table: what a row is, and one crystal's rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ediff_utils.bloch.orientations import (
    grid_orientations,
    in_plane_rotation,
    random_orientations,
    tilt_orientations,
    zone_orientations,
)
from ediff_utils.bloch.simulation import compute_spots, prepare
from ediff_utils.core.seeds import name_seed
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal

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


def _generator(crystal: Crystal, settings: SimulationSettings, what: int) -> np.random.Generator:
    """Random numbers that hang on the seed, the crystal's name and what they are for, alone."""
    purpose = [what] if what else []
    return np.random.default_rng([settings.seed, name_seed(crystal.material_id), *purpose])


def crystal_orientations(crystal: Crystal, settings: SimulationSettings) -> np.ndarray:
    """Orientations of one crystal, as the settings have them chosen; shape (n, 3, 3)."""
    if settings.sampling == "random":
        return random_orientations(settings.orientations, _generator(crystal, settings, 0))
    if settings.sampling == "zone":
        rng = _generator(crystal, settings, 0)
        return zone_orientations(crystal, settings.orientations, settings.tilt, rng)
    exact = grid_orientations(crystal, settings.orientations)
    if not settings.tilt:
        return exact
    return tilt_orientations(exact, settings.tilt, _generator(crystal, settings, 2))


def crystal_thicknesses(crystal: Crystal, settings: SimulationSettings) -> np.ndarray:
    """Thicknesses of each orientation [angstrom]; shape (orientations, thicknesses)."""
    n = settings.orientations
    if settings.thickness_range is None:
        return np.tile(settings.thicknesses, (n, 1))
    return _generator(crystal, settings, 1).uniform(*settings.thickness_range, (n, 1))


def pattern_table(crystal: Crystal, settings: SimulationSettings) -> pa.Table:
    """Simulate one crystal: rows of :data:`SCHEMA`, orientations in order, thicknesses in each."""
    # First of all, since spglib dies of a cell without volume, and takes the process with it.
    bloch = prepare(crystal, settings)
    orientations = crystal_orientations(crystal, settings)
    thicknesses = crystal_thicknesses(crystal, settings)
    simulated = [
        compute_spots(bloch, orientation, tuple(row))
        for orientation, row in zip(orientations, thicknesses, strict=True)
    ]
    beams, spots, counts, direct = (np.concatenate(parts) for parts in zip(*simulated, strict=True))
    position = np.concatenate(
        [
            bloch.g[beam] @ orientation[:, :2]
            for (beam, *_), orientation in zip(simulated, orientations, strict=True)
        ]
    )
    hkl = bloch.hkl_conventional[beams]
    repeats = thicknesses.shape[1]
    axes = orientations[:, :, 2]
    uvw: np.ndarray = axes @ np.linalg.inv(crystal.conventional_lattice)
    uvw /= np.abs(uvw).max(axis=1, keepdims=True)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    columns = {
        "material_id": np.repeat(crystal.material_id, thicknesses.size),
        "pattern": np.repeat(np.arange(len(orientations)), repeats),
        "zone_axis_cartesian": np.repeat(axes, repeats, axis=0),
        "zone_axis_lattice": np.repeat(uvw, repeats, axis=0),
        "rotation": np.repeat(in_plane_rotation(orientations), repeats),
        "thickness": thicknesses.ravel(),
        "direct_beam": direct,
        "qx": position[:, 0],
        "qy": position[:, 1],
        "intensity": spots,
        "h": hkl[:, 0],
        "k": hkl[:, 1],
        "l": hkl[:, 2],
    }
    return pa.Table.from_arrays(
        [_to_arrow(columns[column.name], column.type, offsets) for column in SCHEMA], schema=SCHEMA
    )


def _to_arrow(values: np.ndarray, kind: pa.DataType, offsets: np.ndarray) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), 3)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(values, kind.value_type)
        )
    return pa.array(values, kind)

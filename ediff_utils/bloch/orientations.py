"""Zone axes in the fundamental sector of a Laue group, and random orientations.

An orientation is a rotation matrix whose columns are the pattern's x, y and z axes in the crystal's
Cartesian frame (:mod:`ediff_utils.bloch.simulation`). ``sampling`` is one of two:

``grid``
    The paper's: zone axes spread over the fundamental sector of the crystal's Laue group, corners
    included, the in-plane axis fixed to the lattice.
``random``
    Uniform over all rotations, in-plane rotation included, which is what a microscope sees.
``zone``
    Near zone axes of low indices, as a microscopist tilts to them, any in-plane rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import gcd
from typing import Any

import numpy as np
import spglib
from scipy.spatial.transform import Rotation

from ediff_utils.crystals.crystal import Crystal

#: Directions from which the grid is chosen, over the whole sphere.
_CANDIDATES = 20_000
#: Polar angle of the direction whose Voronoi cell among its images is the fundamental sector.
_SEED_POLAR = 18.0
#: Its azimuth: off every mirror and inside the customary triangles ([001], [011], [111] for m-3m).
_SEED_AZIMUTH = 25.0
#: Laue groups without mirrors through the main axis, by their order and number of mirrors (-3, 4/m,
#: 6/m and m-3): the azimuth is free, and chosen so that the sector starts at an axis.
_FREE_AZIMUTH = {(6, 0): 60.0, (8, 1): 45.0, (12, 1): 30.0, (24, 3): 45.0}

#: Indices of the zone axes of ``zone``, without a common factor; a beam enters either way.
LOW_INDICES = np.array([uvw for uvw in product(range(-3, 4), repeat=3) if gcd(*uvw) == 1])


@dataclass(frozen=True)
class FundamentalSector:
    """The part of the sphere that holds each direction once, up to the Laue group."""

    #: Cartesian operations of the Laue group, the inversion among them, shape (n, 3, 3).
    operations: np.ndarray
    #: The sector is where ``normals @ direction >= 0``; shape (m, 3).
    normals: np.ndarray
    #: Unit vectors, shape (c, 3).
    corners: np.ndarray

    def contains(self, directions: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Which unit vectors, shape (n, 3), lie in the sector or on its rim; shape (n,)."""
        return np.all(directions @ self.normals.T >= -tolerance, axis=-1)

    def angle(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Smallest angles between one direction's images and others [radian]; shape (n,)."""
        cosine = np.max((self.operations @ first) @ second.T, axis=0)
        return np.arccos(np.clip(cosine, -1, 1))


def laue_operations(crystal: Crystal) -> np.ndarray:
    """Operations of a crystal's Laue group in its Cartesian frame, the inversion among them.

    They are orthogonal matrices, shape (n, 3, 3).
    """
    cell: Any = (crystal.lattice, crystal.frac_coords, crystal.numbers)  # no arrays in its stubs
    # A small tolerance [angstrom]: the table's crystals are symmetrised already.
    symmetry = spglib.get_symmetry(cell, symprec=1e-2)
    if symmetry is None:
        return np.array([np.eye(3), -np.eye(3)])
    rotations = np.unique(symmetry["rotations"], axis=0).astype(float)
    columns = crystal.lattice.T
    cartesian = columns @ rotations @ np.linalg.inv(columns)
    both = np.concatenate([cartesian, -cartesian])
    # The nearest rotations to rounded ones: the same numbers for all crystals that share the group.
    rounded = np.unique(np.round(both, 5).reshape(-1, 9) + 0.0, axis=0).reshape(-1, 3, 3)
    left, _, right = np.linalg.svd(rounded)
    return left @ right


def fundamental_sector(operations: np.ndarray) -> FundamentalSector:
    """Sector of a Laue group, shape (n, 3, 3): the Voronoi cell of a direction among its images."""
    seed = _seed(operations)
    normals = seed - operations @ seed
    normals = normals[np.linalg.norm(normals, axis=1) > 1e-6]
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    edges = np.cross(normals[:, None, :], normals[None, :, :]).reshape(-1, 3)
    edges = edges[np.linalg.norm(edges, axis=1) > 1e-6]
    edges /= np.linalg.norm(edges, axis=1)[:, None]
    corners = np.concatenate([edges, -edges])
    corners = corners[np.all(corners @ normals.T >= -1e-6, axis=1)]
    if len(corners):
        corners = corners[np.unique(np.round(corners, 5), axis=0, return_index=True)[1]]
    sector = FundamentalSector(operations, normals, corners)
    # Two corners of a sector may be images of each other; a grid wants one of them.
    kept: list[np.ndarray] = []
    for corner in sorted(corners, key=lambda c: tuple(np.round(-c[::-1], 5))):
        if not kept or sector.angle(corner, np.array(kept)).min() > 1e-4:
            kept.append(corner)
    return FundamentalSector(operations, normals, np.array(kept).reshape(-1, 3))


def _seed(operations: np.ndarray) -> np.ndarray:
    if len(operations) == 2:
        return np.array([0.0, 0.0, 1.0])
    mirrors = np.isclose(np.linalg.det(operations), -1) & np.isclose(
        np.trace(operations, axis1=1, axis2=2), 1
    )
    if len(operations) == 4:
        # 2/m: towards the two-fold axis; in the mirror the seed would be its own image.
        square = (np.eye(3) - operations[mirrors][0]) / 2
        axis = square[:, np.argmax(np.diag(square))]
        return Rotation.from_euler(
            "yz", [_SEED_POLAR, np.degrees(np.arctan2(axis[1], axis[0]))], degrees=True
        ).apply([0, 0, 1])
    azimuth = _FREE_AZIMUTH.get((len(operations), int(mirrors.sum())), _SEED_AZIMUTH)
    return Rotation.from_euler("yz", [_SEED_POLAR, azimuth], degrees=True).apply([0, 0, 1])


def zone_axes(sector: FundamentalSector, n: int) -> np.ndarray:
    """Directions spread over a fundamental sector, corners first; unit vectors, shape (n, 3).

    Each further direction is the one farthest from those before it (Gonzalez 1985), so that the
    first k of n directions are themselves a well-spread set, and no two are equivalent.
    """
    index = np.arange(_CANDIDATES) + 0.5
    z = 1 - 2 * index / _CANDIDATES
    azimuth = np.pi * (1 + np.sqrt(5)) * index
    rim = np.sqrt(1 - z**2)
    sphere = np.column_stack([rim * np.cos(azimuth), rim * np.sin(azimuth), z])
    candidates = np.concatenate([sphere[sector.contains(sphere)], _rim_points(sector)])
    first = sector.corners if len(sector.corners) else np.array([[0.0, 0.0, 1.0]])
    chosen = list(first[:n])
    distance = np.full(len(candidates), np.inf)
    for axis in chosen:
        distance = np.minimum(distance, sector.angle(axis, candidates))
    while len(chosen) < n:
        chosen.append(candidates[np.argmax(np.round(distance, 9))])
        distance = np.minimum(distance, sector.angle(chosen[-1], candidates))
    return np.array(chosen)


def _rim_points(sector: FundamentalSector) -> np.ndarray:
    """Points on the sector's edges, so that the grid reaches its rim."""
    points = [np.empty((0, 3))]
    for normal in sector.normals:
        u = np.cross(normal, [0.6, -0.64, 0.48])
        u /= np.linalg.norm(u)
        t = np.linspace(0, 2 * np.pi, 361)[:-1, None]
        circle = np.cos(t) * u + np.sin(t) * np.cross(normal, u)
        points.append(circle[sector.contains(circle, 1e-7)])
    return np.concatenate(points)


def lattice_fixed_orientation(zone_axis: np.ndarray, rotation: float = 0.0) -> np.ndarray:
    """Orientation for a zone axis with the in-plane axis fixed to the lattice.

    The pattern's x axis is the projection of -z of the crystal's frame (for most settings -c), or y
    crossed with the zone axis where these coincide: py4DSTEM's default.

    Parameters
    ----------
    zone_axis : ndarray, shape (..., 3)
        Cartesian, in the crystal's frame, against the beam; one or many.
    rotation : float
        Further rotation of the pattern about the beam, from qx towards qy [degree].

    Returns
    -------
    ndarray, shape (..., 3, 3)
        Columns are the pattern's axes.
    """
    z = np.asarray(zone_axis, dtype=float)
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    polar = np.abs(z[..., 2:]) > 1 - 1e-6
    x = np.where(polar, np.cross([0.0, 1.0, 0.0], z), [0.0, 0.0, -1.0])
    y = np.cross(z, x)
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    x = np.cross(y, z)
    angle = np.radians(rotation)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z], axis=-1)


def in_plane_rotation(orientation: np.ndarray) -> np.ndarray:
    """Rotation against the lattice-fixed pattern of the same zone axis [degree], in [0, 360).

    Of one orientation or of many, shape (..., 3, 3).
    """
    fixed = lattice_fixed_orientation(orientation[..., 2])
    x = orientation[..., 0]
    along_x, along_y = (np.sum(fixed[..., i] * x, axis=-1) for i in (0, 1))
    return np.degrees(np.arctan2(-along_y, along_x)) % 360


def random_orientations(n: int, rng: np.random.Generator) -> np.ndarray:
    """Orientations uniform over all rotations (Haar measure); shape (n, 3, 3)."""
    return Rotation.from_quat(rng.normal(size=(n, 4))).as_matrix()


def zone_orientations(
    crystal: Crystal, n: int, largest_tilt: float, rng: np.random.Generator
) -> np.ndarray:
    """Orientations near axes [uvw] of the conventional lattice, shape (n, 3, 3).

    Drawn by weights 1 / (u^2 + v^2 + w^2); tilts are uniform up to the largest one [degree].
    """
    weight = 1 / (LOW_INDICES**2).sum(axis=1)
    uvw = LOW_INDICES[rng.choice(len(LOW_INDICES), n, p=weight / weight.sum())]
    exact = lattice_fixed_orientation(uvw @ crystal.conventional_lattice)
    first, tilt, last = rng.uniform(0, 1, (3, n)) * [[360.0], [largest_tilt], [360.0]]
    turns = Rotation.from_euler("ZXZ", np.column_stack([first, tilt, last]), degrees=True)
    return exact @ turns.as_matrix()


def tilt_orientations(
    orientations: np.ndarray, angle: float, rng: np.random.Generator
) -> np.ndarray:
    """Orientations, shape (n, 3, 3), each tilted by one angle [degree] to a side drawn at random.

    About an axis in the plane of the pattern, so that the pattern does not turn about the beam.
    """
    side = rng.uniform(0, 2 * np.pi, len(orientations))
    axes = np.column_stack([np.cos(side), np.sin(side), np.zeros(len(side))])
    return orientations @ Rotation.from_rotvec(np.radians(angle) * axes).as_matrix()


def grid_orientations(crystal: Crystal, n: int) -> np.ndarray:
    """The paper's orientations of one crystal: so many zone axes, of which it takes 100.

    Returns
    -------
    ndarray, shape (n, 3, 3)
    """
    operations = laue_operations(crystal)
    return lattice_fixed_orientation(_zone_axes_of(operations.tobytes(), n))


@lru_cache(maxsize=64)
def _zone_axes_of(operations: bytes, n: int) -> np.ndarray:
    """Zone axes of a Laue group; most crystals of a table share theirs with others."""
    matrices = np.frombuffer(operations).reshape(-1, 3, 3)
    axes = zone_axes(fundamental_sector(matrices), n)
    axes.setflags(write=False)
    return axes

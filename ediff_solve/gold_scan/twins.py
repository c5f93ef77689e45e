"""Twins of fcc particles: how their domains are turned, and which part of the sphere each fills.

The twin law of fcc is a half turn about a {111} normal, which for a centrosymmetric crystal is the
mirror in that plane (Hofmeister, Cryst. Res. Technol. 33, 3 (1998)). Orientations are those of
:mod:`ediff_utils.bloch.simulation`. A cell is a convex part of the sphere: where n p <= d for up to
two planes, with p counted from the particle's centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

#: Normals of the four {111} planes in the crystal's cubic axes.
PLANES_111 = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
#: Angle between two {111} planes, arccos(1/3) [radian]: a wedge of a decahedron.
WEDGE = float(np.arccos(1 / 3))
#: A half-space that holds every point.
EVERYWHERE = np.array([0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Domains:
    """The domains of one particle."""

    orientations: np.ndarray  # (n, 3, 3)
    cell_domain: np.ndarray  # (cells,), which domain fills the cell
    cell_planes: np.ndarray  # (cells, 2, 4), n_x, n_y, n_z, d [angstrom] of half-spaces n p <= d


def single_crystal(orientation: np.ndarray) -> Domains:
    """One domain that fills the particle."""
    return Domains(orientation[None], np.zeros(1, np.int64), np.array([[EVERYWHERE] * 2]))


def _twin_orientation(orientation: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Orientation of the twin across a plane, whose unit normal is in the parent's cubic axes."""
    return (2 * np.outer(normal, normal) - np.eye(3)) @ orientation


def lamellar_twin(
    orientation: np.ndarray, normal: np.ndarray, offsets: tuple[float, ...]
) -> Domains:
    """A parent and its twin on either side of one plane, or the twin between two planes.

    The parent, whose orientation it is, comes first. The planes' unit normal is in its cubic axes,
    the offsets are their one or two rising distances from the centre along it [angstrom].
    """
    n = orientation.T @ normal
    below = [np.append(n, d) for d in offsets]
    above = [np.append(-n, -d) for d in offsets]
    if len(offsets) == 1:
        planes = [[below[0], EVERYWHERE], [above[0], EVERYWHERE]]
    else:
        planes = [[below[0], EVERYWHERE], [above[0], below[1]], [above[1], EVERYWHERE]]
    turned = _twin_orientation(orientation, normal)
    return Domains(
        np.stack([orientation, turned]), np.arange(len(planes)) % 2, np.array(planes, float)
    )


def decahedron(orientation: np.ndarray, offset: tuple[float, float] = (0.0, 0.0)) -> Domains:
    """Five wedges around a common [1-10], each the twin of the one before.

    Five times arccos(1/3) leave 7.35 degrees open, which real particles close by strain; here no
    wedge is strained and the fifth fills the gap, so that its boundary to the first is the one
    that is no exact twin plane. The orientation is that of the first wedge, whose first boundary
    the common axis is offset along and across [angstrom].
    """
    axis = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    start = np.cross(axis, PLANES_111[3])
    if np.cross(start, np.cross(axis, PLANES_111[0])) @ axis < 0:
        start = np.cross(axis, PLANES_111[0])
    along = orientation.T @ start
    across = orientation.T @ np.cross(axis, start)
    middle = offset[0] * along + offset[1] * across
    edges = np.append(WEDGE * np.arange(5), 2 * np.pi)
    # normals that point to rising angles
    normals = -np.sin(edges)[:, None] * along + np.cos(edges)[:, None] * across
    half_spaces = np.column_stack([normals, normals @ middle])
    planes = np.stack([-half_spaces[:5], half_spaces[1:]], axis=1)
    turns = Rotation.from_rotvec(-edges[:5, None] * axis).as_matrix()
    return Domains(turns @ orientation, np.arange(5), planes)

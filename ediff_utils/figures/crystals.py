"""For figure 1: a crystal's conventional cell in perspective."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures.style import frame_square

#: Okabe and Ito's colours, for elements in the order of their atomic number.
_ELEMENT_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
#: From where the cell is seen: angles from a towards b, and up from the plane across c [degree].
_AZIMUTH, _ELEVATION = 25.0, 14.0
#: Distance of the eye from the cell's middle, in diagonals of the cell.
_DISTANCE = 5.0
#: Atoms are drawn with this fraction of their radius, so that one sees past them.
_RADIUS = 0.35
#: Neighbours within this much of the shortest distance of both atoms are joined.
_BOND_SLACK = 1.15
#: Atoms with more neighbours than this are packed rather than bonded, and left without lines.
_MOST_BONDS = 6
#: Lines are drawn in pieces of this length, or a bit less [angstrom].
_PIECE = 0.4


@dataclass(frozen=True)
class _CellAtoms:
    """Atoms of a conventional cell; those on a face, edge or corner on each that is equivalent."""

    #: Atomic numbers, shape (n,).
    numbers: np.ndarray
    #: Cartesian [angstrom], shape (n, 3).
    positions: np.ndarray
    #: Pairs of nearest neighbours, shape (k, 2).
    bonds: np.ndarray


def _cell_atoms(crystal: Crystal, tolerance: float = 1e-3) -> _CellAtoms:
    """Fill the conventional cell; ``tolerance``, in cells, tells what counts as on a face."""
    conventional = crystal.conventional_lattice
    to_fraction = np.linalg.inv(conventional)
    # translations of the primitive lattice modulo the conventional one
    reach = np.ceil(np.abs(conventional @ np.linalg.inv(crystal.lattice)).sum(axis=0)).astype(int)
    grid = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    shifts = _wrapped(grid @ crystal.lattice @ to_fraction, tolerance)
    shifts = shifts[np.unique(np.round(shifts, 3), axis=0, return_index=True)[1]]
    own = crystal.frac_coords @ crystal.lattice @ to_fraction
    inner = _wrapped(own[:, None] + shifts, tolerance).reshape(-1, 3)
    numbers = np.repeat(crystal.numbers, len(shifts))
    inside, positions = [], []
    for step in itertools.product((0, 1), repeat=3):
        moved = inner + step
        inside.append(np.flatnonzero(np.all(moved <= 1 + tolerance, axis=1)))
        positions.append(moved[inside[-1]])
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    around = ((inner[:, None] + images) @ conventional).reshape(-1, 3)
    distance = np.linalg.norm((inner @ conventional)[:, None] - around, axis=2)
    distance[distance < 0.1] = np.inf
    reach_of = _BOND_SLACK * distance.min(axis=1)
    crowded = np.sum(distance < reach_of[:, None], axis=1) > _MOST_BONDS
    reach_of[crowded] = 0
    index = np.concatenate(inside)
    cartesian = np.concatenate(positions) @ conventional
    return _CellAtoms(numbers[index], cartesian, _bonds(cartesian, reach_of[index]))


def _wrapped(fractions: np.ndarray, tolerance: float) -> np.ndarray:
    """Fractions modulo 1, with what is a hair below 1 taken for 0."""
    fractions = fractions % 1
    return np.where(fractions > 1 - tolerance, 0.0, fractions)


def _bonds(positions: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Pairs within the reach of both atoms."""
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    return np.argwhere(np.triu(distance < np.minimum(reach[:, None], reach[None]), 1))


class _View:
    """Perspective of a cell, rows a, b, c [angstrom], with c upwards and a towards the eye."""

    def __init__(self, lattice: np.ndarray) -> None:
        up = lattice[2] / np.linalg.norm(lattice[2])
        front = lattice[0] - (lattice[0] @ up) * up
        front /= np.linalg.norm(front)
        side = np.cross(up, front)
        azimuth, elevation = np.radians([_AZIMUTH, _ELEVATION])
        level = np.cos(azimuth) * front + np.sin(azimuth) * side
        right = -np.sin(azimuth) * front + np.cos(azimuth) * side
        towards = np.cos(elevation) * level + np.sin(elevation) * up
        self.axes = np.array([right, np.cross(towards, right), towards])
        self.middle = lattice.sum(axis=0) / 2
        self.distance = _DISTANCE * np.linalg.norm(lattice.sum(axis=0))

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where points are seen, how near they are [angstrom], and how much larger for it."""
        seen = (np.asarray(positions) - self.middle) @ self.axes.T
        scale = self.distance / (self.distance - seen[..., 2])
        return seen[..., :2] * scale[..., None], seen[..., 2], scale


def _plot_line(
    ax: Axes, view: _View, ends: np.ndarray, atoms: np.ndarray, radii: np.ndarray, **style: Any
) -> None:
    """Draw what no atom hides from within: short pieces, each at its own depth."""
    n_pieces = int(np.ceil(np.linalg.norm(ends[1] - ends[0]) / _PIECE))
    along = np.linspace(0, 1, n_pieces + 1)[:, None]
    points = ends[0] + along * (ends[1] - ends[0])
    middles = (points[1:] + points[:-1]) / 2
    free = np.all(np.linalg.norm(middles[:, None] - atoms, axis=2) > radii, axis=1)
    seen, depth, _ = view(points)
    for i in np.flatnonzero(free):
        near = 10 + depth[i : i + 2].mean() / view.distance
        ax.plot(*seen[i : i + 2].T, zorder=near, solid_capstyle="round", **style)


def _plot_axes(ax: Axes, view: _View, lattice: np.ndarray) -> np.ndarray:
    """Draw arrows along a, b and c beside the cell's lower left; return their ends."""
    corners = np.array(list(itertools.product((0, 1), repeat=3))) @ lattice
    seen = view(corners)[0]
    size = np.ptp(seen, axis=0).max()
    directions = lattice / np.linalg.norm(lattice, axis=1)[:, None] @ view.axes[:2].T
    arrows = 0.18 * size * directions
    low = np.array([seen[:, 0].min(), seen[:, 1].min()])
    start = low - [0.12 * size + arrows[:, 0].max(), 0.02 * size + arrows[:, 1].min()]
    for name, arrow in zip("abc", arrows, strict=True):
        look = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": "black"}
        ax.annotate("", start + arrow, start, arrowprops=look)
        # a label is kept off the arrow's head even where the arrow points at the eye
        length = max(np.linalg.norm(arrow), 1e-6 * size)
        place = start + arrow + 0.045 * size * arrow / length
        ax.text(place[0], place[1], name, style="italic", ha="center", va="center")
    return np.concatenate([seen, start + 1.4 * arrows, start[None]])


def plot_crystal(crystal: Crystal, ax: Axes) -> None:
    """Draw a crystal's conventional cell in perspective.

    Atoms are coloured by element and have a third of their radius; lines join nearest neighbours.
    """
    # pymatgen reads its tables when it is imported, which takes a second
    from pymatgen.core import Element

    lattice = crystal.conventional_lattice
    view, atoms = _View(lattice), _cell_atoms(crystal)
    elements = {int(z): Element.from_Z(int(z)) for z in np.unique(atoms.numbers)}
    colors = dict(zip(elements, itertools.cycle(_ELEMENT_COLORS), strict=False))
    sizes = {z: _RADIUS * float(element.atomic_radius or 1.5) for z, element in elements.items()}
    radii = np.array([sizes[int(z)] for z in atoms.numbers])
    for start in itertools.product((0, 1), repeat=3):
        for axis in np.flatnonzero(np.array(start) == 0):
            ends = np.array([start, start + np.eye(3)[axis]]) @ lattice
            _plot_line(ax, view, ends, atoms.positions, radii, color="0.45", linewidth=0.8)
    for pair in atoms.bonds:
        ends = atoms.positions[pair]
        _plot_line(ax, view, ends, atoms.positions, radii, color="0.7", linewidth=2)
    points, depth, scale = view(atoms.positions)
    radii = radii * scale
    for z, point, near, radius in zip(atoms.numbers, points, depth, radii, strict=True):
        style = {"facecolor": colors[int(z)], "edgecolor": "black", "linewidth": 0.5}
        ax.add_patch(Circle(point, radius, zorder=10 + near / view.distance, **style))
    corners = _plot_axes(ax, view, lattice)
    around = np.concatenate([corners, points - radii[:, None], points + radii[:, None]])
    frame_square(ax, around, 0.54)
    handles = [
        Line2D([], [], color=color, marker="o", linestyle="", markersize=6, markeredgecolor="black")
        for color in colors.values()
    ]
    names = [element.symbol for element in elements.values()]
    ax.legend(handles, names, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)

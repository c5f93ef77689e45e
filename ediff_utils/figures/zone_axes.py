"""For figure 1: zone axes of a crystal in its fundamental sector.

Directions are drawn in stereographic projection from the south pole: a unit vector (x, y, z) of
the crystal's Cartesian frame stands at (x, y) / (1 + z), so that z is the centre and the equator
the unit circle. Great circles, which bound the sectors, become arcs of circles.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from ediff_utils.bloch.orientations import (
    FundamentalSector,
    fundamental_sector,
    laue_operations,
    zone_axes,
)
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures.style import Look, frame_square

_SHOWN_COLOR, _AXES_COLOR, _SECTOR_COLOR = "#D55E00", "#0072B2", "#56B4E9"
#: A direction is called [uvw] when it is no farther from it than this [radian].
_SAME_DIRECTION = np.radians(0.2)
#: Directions with a label stand at least this far apart, unless they are corners [radian].
_LABEL_DISTANCE = np.radians(25)


@dataclass(frozen=True)
class ZoneAxisGrid:
    """Zone axes of a crystal and how they lie in its fundamental sector.

    ``axes``, (n, 3), are unit vectors in the crystal's Cartesian frame; ``uvw``, (n, 3), the same
    in the conventional lattice, the largest index 1 or -1; ``points``, (n, 2), their projection.
    ``outline`` has the sector's sides, projected, (k, 2) each: one closed curve where it is a
    hemisphere. ``marks`` has indices (u, v, w) of corners and other simple directions, and their
    projection.
    """

    sector: FundamentalSector
    axes: np.ndarray
    uvw: np.ndarray
    points: np.ndarray
    outline: tuple[np.ndarray, ...]
    marks: dict[tuple[int, int, int], np.ndarray]


def _project(directions: np.ndarray) -> np.ndarray:
    """Project unit vectors, (n, 3), from the south pole onto the plane of the equator, (n, 2)."""
    return directions[..., :2] / (1 + directions[..., 2:])


def _sector_sides(sector: FundamentalSector, n_points: int = 181) -> list[np.ndarray]:
    """Sides of a sector, unit vectors: the part of each bounding great circle that is of its rim.

    Both ends are included; a hemisphere has a single closed circle.
    """
    normals: list[np.ndarray] = []
    for normal in sector.normals:
        if not any(normal @ other > 1 - 1e-9 for other in normals):
            normals.append(normal)
    sides = []
    for normal in normals:
        u = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
        u /= np.linalg.norm(u)
        v = np.cross(normal, u)
        low, high = _arc(u, v, [other for other in normals if other is not normal])
        if high - low > 1e-6:
            t = np.linspace(low, high, n_points)[:, None]
            sides.append(np.cos(t) * u + np.sin(t) * v)
    return sides


def _arc(u: np.ndarray, v: np.ndarray, normals: Sequence[np.ndarray]) -> tuple[float, float]:
    """Angles between which cos(t) u + sin(t) v is on the inner side of all normals."""
    low, high, first = 0.0, 2 * np.pi, None
    for normal in normals:
        # each normal leaves half of the circle, centred on where it points
        middle = np.arctan2(normal @ v, normal @ u)
        if first is None:
            first = middle
            low, high = middle - np.pi / 2, middle + np.pi / 2
        middle = first + (middle - first + np.pi) % (2 * np.pi) - np.pi
        low, high = max(low, middle - np.pi / 2), min(high, middle + np.pi / 2)
    return low, high


def _simple_directions(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Coprime indices up to 2, shortest lattice vector first, and their unit vectors."""
    indices = np.array([i for i in itertools.product(range(-2, 3), repeat=3) if any(i)])
    indices = indices[np.gcd.reduce(indices, axis=1) == 1]
    vectors = indices @ crystal.conventional_lattice
    lengths = np.linalg.norm(vectors, axis=1)
    # of equally long ones, the one with the fewest bars
    order = np.lexsort([np.sum(indices < 0, axis=1), np.round(lengths, 3)])
    return indices[order], (vectors / lengths[:, None])[order]


def _marks(
    crystal: Crystal, sector: FundamentalSector, sides: Sequence[np.ndarray]
) -> dict[tuple[int, int, int], np.ndarray]:
    """Corners that are lattice directions and, where these are few, others of the rim or inside."""
    indices, directions = _simple_directions(crystal)
    closed = len(sides) == 1
    corners = np.empty((0, 3)) if closed else np.concatenate([side[[0, -1]] for side in sides])
    rim = np.concatenate(sides)
    at_corner = _nearest(directions, corners) < _SAME_DIRECTION
    on_rim = _nearest(directions, rim) < np.radians(1.5)
    on_rim &= sector.contains(directions, 1e-6)
    inside = sector.contains(directions, -0.05)
    chosen = list(np.flatnonzero(at_corner))
    for group in (on_rim, inside):
        for i in np.flatnonzero(group):
            if len(chosen) >= 3:
                break
            distances = sector.angle(directions[i], directions[chosen])
            if distances.min(initial=np.pi) > _LABEL_DISTANCE:
                chosen.append(i)
    points = _project(directions[chosen])
    names = indices[chosen].tolist()
    return {(u, v, w): point for (u, v, w), point in zip(names, points, strict=True)}


def _nearest(directions: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Angle from each direction to the nearest of others [radian]; pi where there is none."""
    cosine = np.max(directions @ others.T, axis=1, initial=-1.0)
    return np.arccos(np.clip(cosine, -1, 1))


def compute_zone_axis_grid(crystal: Crystal, n: int = 100) -> ZoneAxisGrid:
    """Zone axes of a crystal under the paper's protocol, of 100, and where to draw them."""
    sector = fundamental_sector(laue_operations(crystal))
    axes = zone_axes(sector, n)
    uvw = axes @ np.linalg.inv(crystal.conventional_lattice)
    sides = _sector_sides(sector)
    return ZoneAxisGrid(
        sector=sector,
        axes=axes,
        uvw=uvw / np.abs(uvw).max(axis=1, keepdims=True),
        points=_project(axes),
        outline=tuple(_project(side) for side in sides),
        marks=_marks(crystal, sector, sides),
    )


def format_direction(uvw: Sequence[float] | np.ndarray) -> str:
    """Write a lattice direction: bars over negative indices, decimals if not simple."""
    uvw = np.asarray(uvw, dtype=float)
    for factor in range(1, 7):
        scaled = uvw / np.abs(uvw).max() * factor
        if np.allclose(scaled, np.rint(scaled), atol=2e-3):
            digits = [rf"\bar{{{-i}}}" if i < 0 else str(i) for i in np.rint(scaled).astype(int)]
            return "$[" + r"\,".join(digits) + "]$"
    # adding zero turns -0.00 into 0.00
    return "[" + ", ".join(f"{value:.2f}" for value in np.round(uvw, 2) + 0.0) + "]"


def plot_zone_axes(grid: ZoneAxisGrid, ax: Axes, shown: int | None = None) -> None:
    """Draw zone axes in their fundamental sector, stereographic projection; point one out."""
    rim = np.concatenate(grid.outline)
    if np.linalg.norm(rim, axis=1).max() > 0.9:
        t = np.linspace(0, 2 * np.pi, 361)
        style: Look = {"color": "0.7", "linewidth": 0.6, "linestyle": "--", "zorder": 1}
        ax.plot(np.cos(t), np.sin(t), label="equator", **style)
    for side in grid.outline:
        ax.plot(*side.T, color=_SECTOR_COLOR, linewidth=1.5, zorder=2, solid_capstyle="round")
    ax.scatter(
        grid.points[:, 0],
        grid.points[:, 1],
        s=7,
        color=_AXES_COLOR,
        linewidth=0,
        zorder=3,
        label="zone axes",
    )
    if shown is not None:
        name = f"{format_direction(grid.uvw[shown])}, shown"
        style = {"marker": "o", "facecolor": "none", "edgecolor": _SHOWN_COLOR, "zorder": 4}
        x, y = grid.points[shown]
        ax.scatter(x, y, s=45, linewidth=1.6, label=name, **style)
    centre = (rim.min(axis=0) + rim.max(axis=0)) / 2
    for uvw, point in grid.marks.items():
        away = _outwards(point, grid.outline, centre)
        beside = abs(away[0]) > 0.5
        ax.plot(*point, "s", color="black", markersize=2.5, zorder=5)
        align = ("left" if away[0] > 0 else "right") if beside else "center"
        place: Look = {"xytext": tuple((5 if beside else 9) * away), "textcoords": "offset points"}
        box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}
        name = format_direction(uvw)
        ax.annotate(name, tuple(point), ha=align, va="center", zorder=6, bbox=box, **place)
    frame_square(ax, rim, 0.62)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, handletextpad=0.2)


def _outwards(point: np.ndarray, outline: Sequence[np.ndarray], centre: np.ndarray) -> np.ndarray:
    """Where a label of a point goes: across the side that it lies on, else away from the centre."""
    away = point - centre
    distances = [np.linalg.norm(side - point, axis=1) for side in outline]
    side, distance = min(zip(outline, distances, strict=True), key=lambda pair: pair[1].min())
    at_end = min(distance[0], distance[-1]) < 1e-3 and len(outline) > 1
    if distance.min() < 0.02 and not at_end:
        i = int(np.clip(np.argmin(distance), 1, len(side) - 2))
        tangent = side[i + 1] - side[i - 1]
        across = np.array([-tangent[1], tangent[0]])
        away = across if across @ away >= 0 else -across
    length = np.linalg.norm(away)
    return away / length if length > 1e-6 else np.array([0.0, 1.0])

"""How a pattern passes through the transform and the 13 forests, drawn for figure 2."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.figures.style import SYSTEM_COLORS
from ediff_utils.paper.features import N_ANGULAR, N_FEATURES, N_RADIAL

_WIDTH, _HEIGHT = 100.0, 34.0
_ROWS = [29.0 - 4.8 * i for i in range(len(SYSTEMS))]


def _box(ax: Axes, middle: tuple[float, float], size: tuple[float, float], text: str, color: str):
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.8", "edgecolor": color, "facecolor": "white"}
    ax.add_patch(FancyBboxPatch(corner, *size, linewidth=1.2, **style))
    ax.text(*middle, text, ha="center", va="center", fontsize=6.5)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": color, "linewidth": 0.9}
    ax.annotate("", end, start, arrowprops=style)


def plot_architecture(ax: Axes) -> None:
    """Draw how a pattern becomes predictions.

    The transform's vector goes to the forest of the crystal system, whose answer chooses the
    forests of space group and lattice parameters.

    Parameters
    ----------
    ax : Axes
    """
    ax.set(xlim=(-0.5, _WIDTH + 0.5), ylim=(0, _HEIGHT))
    ax.axis("off")
    middle = sum(_ROWS) / len(_ROWS)
    _box(ax, (6.5, middle), (13, 9), "pattern\n$(q_x, q_y, I)$", "black")
    transform = f"transform\n{N_RADIAL} rings × {N_ANGULAR} orders\n{N_FEATURES:,} numbers"
    _box(ax, (25.5, middle), (19, 11), transform, "black")
    _box(ax, (46, middle), (14, 11), "forest of\nthe crystal\nsystem", "black")
    _arrow(ax, (13, middle), (16, middle), "black")
    _arrow(ax, (35, middle), (39, middle), "black")
    for y, system in zip(_ROWS, SYSTEMS, strict=True):
        color = SYSTEM_COLORS[system]
        _arrow(ax, (53, middle), (59, y), color)
        _box(ax, (65.5, y), (13, 3.8), system, color)
        _arrow(ax, (72, y), (74, y), color)
        _box(ax, (80.5, y), (13, 3.8), "space group", color)
        _box(ax, (94, y), (12, 3.8), "$a$, $b$, $c$", color)
    ax.text(80.5, 32.3, f"{len(SYSTEMS)} forests", ha="center", va="center", fontsize=6.5)
    ax.text(94, 32.3, f"{len(SYSTEMS)} forests", ha="center", va="center", fontsize=6.5)
    ax.text(46, middle + 7.3, "1 forest", ha="center", va="center", fontsize=6.5)

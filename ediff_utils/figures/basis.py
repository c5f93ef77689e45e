"""Figures 2 and S2: the radial basis, and a pattern taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.crystals.crystal import SYSTEMS
from ediff_utils.figures.coefficients import (
    PHASE_MAP,
    Decomposition,
    compute_decomposition,
    pixel_grid,
    plot_argument,
    plot_magnitude,
    plot_phase_bar,
    plot_reconstruction,
)
from ediff_utils.figures.orders import example_crystal
from ediff_utils.figures.spots import frame_pattern, plot_pattern
from ediff_utils.figures.structures import compute_thickness_series
from ediff_utils.figures.style import SYSTEM_COLORS, TWO_COLUMNS, label_panels, new_figure, styled
from ediff_utils.paper.features import N_ANGULAR, N_FEATURES, N_RADIAL, STEP, basis_function

#: Radial orders m, and the angular order p, that figure 2 shows.
_RINGS, _ORDER = (4, 12, 20, 28, 36), 6
#: Size of the picture of the forests, and how high each crystal system's stand in it.
_WIDTH, _HEIGHT = 100.0, 34.0
_ROWS = [29.0 - 4.8 * i for i in range(len(SYSTEMS))]


def compute_basis_image(
    rings: Sequence[int], p: int, n_pixels: int = 401, q_max: float = 2.0
) -> np.ndarray:
    """Basis functions of one order as a picture: colour is the phase, opacity the weight.

    Parameters
    ----------
    rings : sequence of int
        Radial orders m. Where two overlap, the larger weight counts.
    p : int
        Angular order.
    n_pixels : int
    q_max : float
        Half the picture's width [1/angstrom].

    Returns
    -------
    ndarray, shape (n_pixels, n_pixels, 4)
        RGBA from 0 to 1; rows are qy, upwards.
    """
    qx, qy = pixel_grid(n_pixels, q_max)
    phase = p * np.arctan2(qy, qx)
    rgba = PHASE_MAP((phase / (2 * np.pi) + 0.5) % 1)
    # weights depend on the radius alone and are straight between multiples of half a step
    radius = np.arange(2 * N_RADIAL + 3) * STEP / 2
    weight = np.max([np.abs(basis_function(m, p, radius, 0 * radius)) for m in rings], axis=0)
    rgba[..., 3] = np.interp(np.hypot(qx, qy), radius, weight, right=0)
    return rgba


def plot_basis(image: np.ndarray, ax: Axes, q_max: float = 2.0) -> None:
    """Draw a picture of basis functions.

    Parameters
    ----------
    image : ndarray, shape (n, n, 4)
        See :func:`compute_basis_image`.
    ax : Axes
    q_max : float
        Half the picture's width [1/angstrom].
    """
    ax.imshow(image, origin="lower", extent=(-q_max, q_max, -q_max, q_max), zorder=0)
    frame_pattern(ax, q_max)


def _plot_decomposition(parts: Decomposition, axes: Sequence[Axes]) -> None:
    """Draw pattern, magnitudes, arguments and reconstruction side by side."""
    pattern = parts.pattern
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, axes[0], q_max=parts.q_max)
    axes[0].set_title("pattern")
    plot_magnitude(parts.coefficients, axes[1])
    plot_argument(parts.coefficients, axes[2])
    plot_reconstruction(parts, axes[3])


def _box(
    ax: Axes, middle: tuple[float, float], size: tuple[float, float], text: str, color: str
) -> None:
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    look = {"boxstyle": "round,pad=0,rounding_size=0.8", "edgecolor": color, "facecolor": "white"}
    ax.add_patch(FancyBboxPatch(corner, *size, linewidth=1.2, **look))
    ax.text(*middle, text, ha="center", va="center", fontsize=6.5)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    look = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": color, "linewidth": 0.9}
    ax.annotate("", end, start, arrowprops=look)


def _plot_architecture(ax: Axes) -> None:
    """Draw how a pattern passes through the transform and the 13 forests."""
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


@styled
def figure_decomposition(decomposition: Decomposition) -> Figure:
    """One pattern taken apart and put together again.

    Parameters
    ----------
    decomposition : Decomposition
        See :func:`ediff_utils.figures.coefficients.compute_decomposition`.
    """
    fig = new_figure(TWO_COLUMNS, 2.3)
    axes = fig.subplots(1, 4)
    _plot_decomposition(decomposition, axes)
    plot_phase_bar(fig, ax=axes[2])
    return fig


@styled
def figure_2(pattern: SpotPattern | None = None) -> Figure:
    """The features: basis functions, a pattern taken apart and put together, and the forests.

    Parameters
    ----------
    pattern : SpotPattern, optional
        By default one with six-fold symmetry, magnesium along [001].
    """
    if pattern is None:
        crystal = example_crystal(6)
        pattern = compute_thickness_series(crystal, crystal.conventional_lattice[2], (200,))[0]
    fig = new_figure(TWO_COLUMNS, 6.3)
    rows = fig.add_gridspec(3, 1, height_ratios=[1, 1.15, 1.05])
    top = [fig.add_subplot(cell) for cell in rows[0].subgridspec(1, len(_RINGS))]
    for number, (m, ax) in enumerate(zip(_RINGS, top, strict=True)):
        plot_basis(compute_basis_image([m], _ORDER), ax)
        plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, max_area=14)
        ax.set_title(f"$m={m}$, $p={_ORDER}$")
        if number:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    plot_phase_bar(fig, ax=top, shrink=0.8, pad=0.01)
    middle = [fig.add_subplot(cell) for cell in rows[1].subgridspec(1, 4)]
    _plot_decomposition(compute_decomposition(pattern), middle)
    bottom = fig.add_subplot(rows[2])
    _plot_architecture(bottom)
    label_panels((top[0], middle[0], bottom))
    return fig


@styled
def figure_s2() -> Figure:
    """All rings of each angular order."""
    fig = new_figure(TWO_COLUMNS, 7.4)
    axes = fig.subplots(4, 4, sharex=True, sharey=True).ravel()
    for p, ax in enumerate(axes[:N_ANGULAR]):
        image = compute_basis_image(range(N_RADIAL), p, 801)
        # neighbours overlap: the larger of two weights is never below one half
        image[..., 3] = np.clip(2 * image[..., 3] - 1, 0, 1)
        plot_basis(image, ax)
        ax.set_title(f"$p={p}$")
        if p % 4:
            ax.set_ylabel("")
        if p + 4 < N_ANGULAR:
            ax.set_xlabel("")
        # nothing stands below some panels above the last row
        ax.tick_params(labelbottom=p + 4 >= N_ANGULAR)
    for ax in axes[N_ANGULAR:]:
        ax.axis("off")
    key = axes[N_ANGULAR + 1].inset_axes([0, 0.3, 1, 0.08])
    plot_phase_bar(fig, cax=key, orientation="horizontal")
    return fig

"""Figures 2 and S2: the radial basis, and a pattern taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.figures.orders import compute_coefficients, example_crystal
from ediff_utils.figures.spots import frame_pattern, plot_pattern
from ediff_utils.figures.structures import compute_thickness_series
from ediff_utils.figures.style import (
    SYSTEM_COLORS,
    TWO_COLUMNS,
    Look,
    label_panels,
    new_figure,
    styled,
)
from ediff_utils.paper.features import (
    N_ANGULAR,
    N_FEATURES,
    N_RADIAL,
    STEP,
    basis_function,
    reconstruct,
)

#: Once around from -pi to pi: yellow, vermilion, dark blue, sky blue, yellow. It goes from light to
#: dark on the side of yellow, and back on that of blue, which the colour-blind tell apart too.
PHASE_MAP = LinearSegmentedColormap.from_list(
    "phase", ["#F0E442", "#D55E00", "#1B1464", "#56B4E9", "#F0E442"]
)
#: Radial orders m, and the angular order p, that figure 2 shows.
_RINGS, _ORDER = (4, 12, 20, 28, 36), 6
#: Size of the picture of the forests, and how high each crystal system's stand in it.
_WIDTH, _HEIGHT = 100.0, 34.0
_ROWS = [29.0 - 4.8 * i for i in range(len(SYSTEMS))]


@dataclass(frozen=True)
class Decomposition:
    """A pattern, its coefficients and what they keep of it, ``q_max`` [1/angstrom] to each side.

    ``coefficients`` are T[m, p] as the forests take them, complex, shape (41, 13);
    ``reconstruction``, shape (n, n), is of :func:`ediff_utils.paper.features.reconstruct`: rows are
    qy, columns qx.
    """

    pattern: SpotPattern
    coefficients: np.ndarray
    reconstruction: np.ndarray
    q_max: float


def _pixel_grid(n_pixels: int, q_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of pixels of a square of half-width q_max; rows are qy, upwards."""
    edges = np.linspace(-q_max, q_max, n_pixels + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    qx, qy = np.meshgrid(middles, middles)
    return qx, qy


def compute_decomposition(
    pattern: SpotPattern,
    normalisation: str = "scattered",
    n_pixels: int = 301,
    q_max: float = 2.0,
) -> Decomposition:
    """Take a pattern apart into T[m, p] and put it together again.

    For ``normalisation`` see :func:`ediff_utils.paper.features.compute_features`; the picture has
    ``n_pixels`` each way, from -``q_max`` to ``q_max`` [1/angstrom].
    """
    coefficients = compute_coefficients(pattern, normalisation)
    image = reconstruct(coefficients, *_pixel_grid(n_pixels, q_max))
    return Decomposition(pattern, coefficients, image, q_max)


def plot_phase_bar(fig: Figure, **options: Any) -> None:
    """Add the key to the phases' colours; ``options``, where to, go to ``Figure.colorbar``."""
    mappable = ScalarMappable(Normalize(-np.pi, np.pi), PHASE_MAP)
    bar = fig.colorbar(mappable, label="phase (rad)", **options)
    bar.set_ticks([-np.pi, 0, np.pi], labels=[r"$-\pi$", "0", r"$\pi$"])


def _plot_coefficients(values: np.ndarray, ax: Axes, **style: Any) -> QuadMesh:
    edges = (np.arange(N_RADIAL + 1) - 0.5) * STEP
    mesh = ax.pcolormesh(np.arange(N_ANGULAR + 1) - 0.5, edges, values, **style)
    ax.set_xticks(range(0, N_ANGULAR, 2))
    ax.set(xlabel="angular order $p$", ylabel=r"radius $m\,\Delta q$ (1/Å)")
    return mesh


def plot_magnitude(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw |T[m, p]|, shape (41, 13), rings upwards and orders to the right."""
    magnitude = np.abs(coefficients)
    norm = PowerNorm(0.5, 0, magnitude.max() or 1)
    mesh = _plot_coefficients(magnitude, ax, cmap="cividis", norm=norm)
    ax.set_title("magnitude $|T_{m,p}|$")
    bar = ax.figure.colorbar(mesh, ax=ax)
    bar.ax.locator_params(axis="y", nbins=4)


def _plot_argument(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw arg T[m, p] in the colours of the phases, blank where the coefficient vanishes."""
    magnitude = np.abs(coefficients)
    gone = magnitude <= 1e-3 * magnitude[:, :1]
    angle = np.ma.masked_where(gone, np.angle(coefficients))
    _plot_coefficients(angle, ax, cmap=PHASE_MAP, norm=Normalize(-np.pi, np.pi))
    ax.set_title("argument of $T_{m,p}$")


def plot_reconstruction(decomposition: Decomposition, ax: Axes) -> None:
    """Draw the pattern that the coefficients hold, weak spots brought out."""
    q_max, image = decomposition.q_max, decomposition.reconstruction
    norm = PowerNorm(0.35, 0, image.max() if image.max() > 0 else 1)
    look: Look = {"origin": "lower", "extent": (-q_max, q_max, -q_max, q_max), "cmap": "gray_r"}
    # a Fourier series that is cut off also swings below zero
    ax.imshow(np.clip(image, 0, None), norm=norm, **look)
    frame_pattern(ax, q_max)
    ax.set_title("put together again")


def compute_basis_image(
    rings: Sequence[int], p: int, n_pixels: int = 401, q_max: float = 2.0
) -> np.ndarray:
    """Basis functions of order p as a picture: colour is the phase, opacity the weight.

    RGBA from 0 to 1, shape (n_pixels, n_pixels, 4), rows are qy, upwards; ``q_max`` is half its
    width [1/angstrom]. Where two of the ``rings`` overlap, the larger weight counts.
    """
    qx, qy = _pixel_grid(n_pixels, q_max)
    phase = p * np.arctan2(qy, qx)
    rgba = PHASE_MAP((phase / (2 * np.pi) + 0.5) % 1)
    # weights depend on the radius alone and are straight between multiples of half a step
    radius = np.arange(2 * N_RADIAL + 3) * STEP / 2
    weight = np.max([np.abs(basis_function(m, p, radius, 0 * radius)) for m in rings], axis=0)
    rgba[..., 3] = np.interp(np.hypot(qx, qy), radius, weight, right=0)
    return rgba


def plot_basis(image: np.ndarray, ax: Axes, q_max: float = 2.0) -> None:
    """Draw a picture of :func:`compute_basis_image`, ``q_max`` half its width [1/angstrom]."""
    ax.imshow(image, origin="lower", extent=(-q_max, q_max, -q_max, q_max), zorder=0)
    frame_pattern(ax, q_max)


def _plot_decomposition(parts: Decomposition, axes: Sequence[Axes]) -> None:
    """Draw pattern, magnitudes, arguments and reconstruction side by side."""
    pattern = parts.pattern
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, axes[0], q_max=parts.q_max)
    axes[0].set_title("pattern")
    plot_magnitude(parts.coefficients, axes[1])
    _plot_argument(parts.coefficients, axes[2])
    plot_reconstruction(parts, axes[3])


def _box(
    ax: Axes, middle: tuple[float, float], size: tuple[float, float], text: str, color: str
) -> None:
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    look: Look = {"boxstyle": "round,pad=0,rounding_size=0.8", "facecolor": "white"}
    ax.add_patch(FancyBboxPatch(corner, *size, linewidth=1.2, edgecolor=color, **look))
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
    """One pattern taken apart and put together again."""
    fig = new_figure(TWO_COLUMNS, 2.3)
    axes = fig.subplots(1, 4)
    _plot_decomposition(decomposition, axes)
    plot_phase_bar(fig, ax=axes[2])
    return fig


@styled
def figure_2(pattern: SpotPattern | None = None) -> Figure:
    """The features: basis functions, a pattern taken apart and put together, and the forests.

    By default of a pattern with six-fold symmetry, magnesium along [001].
    """
    if pattern is None:
        crystal = example_crystal(6)
        pattern = compute_thickness_series(crystal, crystal.conventional_lattice[2], (200,))[0]
    fig = new_figure(TWO_COLUMNS, 6.3)
    rows = fig.add_gridspec(3, 1, height_ratios=[1, 1.15, 1.05])
    top = rows[0].subgridspec(1, len(_RINGS)).subplots(squeeze=False)[0]
    for number, (m, ax) in enumerate(zip(_RINGS, top, strict=True)):
        plot_basis(compute_basis_image([m], _ORDER), ax)
        plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, max_area=14)
        ax.set_title(f"$m={m}$, $p={_ORDER}$")
        if number:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    plot_phase_bar(fig, ax=top, shrink=0.8, pad=0.01)
    middle = rows[1].subgridspec(1, 4).subplots(squeeze=False)[0]
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

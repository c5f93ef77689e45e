"""Figures 2 and S2: the radial basis, and a pattern taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.figures.architecture import plot_architecture
from ediff_utils.figures.coefficients import (
    PHASE_MAP,
    Decomposition,
    compute_coefficients,
    compute_decomposition,
    frame_pattern,
    pixel_grid,
    plot_argument,
    plot_magnitude,
    plot_phase_bar,
    plot_reconstruction,
)
from ediff_utils.figures.orders import (
    compute_order_examples,
    compute_order_patterns,
    compute_order_power,
    example_crystal,
    figure_orders,
    plot_order_power,
)
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.figures.structures import compute_thickness_series
from ediff_utils.figures.style import TWO_COLUMNS, label_panel, new_figure, styled
from ediff_utils.paper.features import N_ANGULAR, N_RADIAL, STEP, basis_function

__all__ = [
    "PHASE_MAP",
    "Decomposition",
    "compute_basis_image",
    "compute_coefficients",
    "compute_decomposition",
    "compute_order_examples",
    "compute_order_patterns",
    "compute_order_power",
    "figure_2",
    "figure_decomposition",
    "figure_orders",
    "figure_s2",
    "plot_architecture",
    "plot_argument",
    "plot_basis",
    "plot_magnitude",
    "plot_order_power",
    "plot_phase_bar",
    "plot_reconstruction",
]


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


@styled
def figure_decomposition(decomposition: Decomposition) -> Figure:
    """One pattern taken apart and put together again.

    Parameters
    ----------
    decomposition : Decomposition
        See :func:`compute_decomposition`.

    Returns
    -------
    Figure
    """
    fig = new_figure(TWO_COLUMNS, 2.3)
    axes = fig.subplots(1, 4)
    _plot_decomposition(decomposition, axes)
    plot_phase_bar(fig, ax=axes[2])
    return fig


@styled
def figure_2(
    pattern: SpotPattern | None = None,
    rings: Sequence[int] = (4, 12, 20, 28, 36),
    p: int = 6,
    normalisation: str = "scattered",
) -> Figure:
    """The features: basis functions, a pattern taken apart and put together, and the forests.

    Parameters
    ----------
    pattern : SpotPattern, optional
        By default one with six-fold symmetry, magnesium along [001].
    rings : sequence of int
        Radial orders m of the first row.
    p : int
        Angular order of the first row.
    normalisation : {"scattered", "incident"}

    Returns
    -------
    Figure
    """
    if pattern is None:
        crystal = example_crystal(6)
        pattern = compute_thickness_series(crystal, crystal.conventional_lattice[2], (200,))[0]
    fig = new_figure(TWO_COLUMNS, 6.3)
    rows = fig.add_gridspec(3, 1, height_ratios=[1, 1.15, 1.05])
    top = [fig.add_subplot(cell) for cell in rows[0].subgridspec(1, len(rings))]
    for number, (m, ax) in enumerate(zip(rings, top, strict=True)):
        plot_basis(compute_basis_image([m], p), ax)
        plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, max_area=14)
        ax.set_title(f"$m={m}$, $p={p}$")
        if number:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    plot_phase_bar(fig, ax=top, shrink=0.8, pad=0.01)
    middle = [fig.add_subplot(cell) for cell in rows[1].subgridspec(1, 4)]
    _plot_decomposition(compute_decomposition(pattern, normalisation), middle)
    bottom = fig.add_subplot(rows[2])
    plot_architecture(bottom)
    for letter, ax in zip("abc", (top[0], middle[0], bottom), strict=True):
        label_panel(ax, letter)
    return fig


@styled
def figure_s2(pattern: SpotPattern | None = None) -> Figure:
    """All rings of each angular order.

    Parameters
    ----------
    pattern : SpotPattern, optional
        Drawn on top of each.

    Returns
    -------
    Figure
    """
    fig = new_figure(TWO_COLUMNS, 7.4)
    axes = fig.subplots(4, 4, sharex=True, sharey=True).ravel()
    for p, ax in enumerate(axes[:N_ANGULAR]):
        image = compute_basis_image(range(N_RADIAL), p, 801)
        # neighbours overlap: the larger of two weights is never below one half
        image[..., 3] = np.clip(2 * image[..., 3] - 1, 0, 1)
        plot_basis(image, ax)
        if pattern is not None:
            plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, max_area=14)
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

"""Figures 2 and S2: the radial basis, and a pattern taken apart and put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from ediff_utils.features import (
    N_ANGULAR,
    N_RADIAL,
    STEP,
    basis_function,
    compute_features,
    reconstruct,
    to_coefficients,
)
from ediff_utils.figures.architecture import plot_architecture
from ediff_utils.figures.structures import plot_pattern
from ediff_utils.figures.style import TWO_COLUMNS, label_panel, mark_empty, new_figure, styled
from ediff_utils.simulation import SpotPattern

__all__ = [
    "PHASE_MAP",
    "Decomposition",
    "compute_basis_image",
    "compute_decomposition",
    "compute_order_power",
    "figure_2",
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

#: Once around from -pi to pi: yellow, vermilion, dark blue, sky blue, yellow. It goes from light to
#: dark on the side of yellow, and back on that of blue, which the colour-blind tell apart too.
PHASE_MAP = LinearSegmentedColormap.from_list(
    "phase", ["#F0E442", "#D55E00", "#1B1464", "#56B4E9", "#F0E442"]
)
#: Largest |q| of the basis [1/angstrom].
Q_MAX = N_RADIAL * STEP
_BAR_COLOR, _OTHER_COLOR = "#0072B2", "#E69F00"


@dataclass(frozen=True)
class Decomposition:
    """A pattern, its coefficients and what they keep of it.

    Parameters
    ----------
    pattern : SpotPattern
    coefficients : ndarray of complex, shape (41, 13)
        T[m, p] as the forests take them.
    reconstruction : ndarray, shape (n, n)
        See :func:`ediff_utils.features.reconstruct`; rows are qy, columns qx, from -q_max to q_max.
    q_max : float
        [1/angstrom]
    """

    pattern: SpotPattern
    coefficients: np.ndarray
    reconstruction: np.ndarray
    q_max: float


def _grid(n_pixels: int, q_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of pixels of a square of half-width q_max; rows are qy, upwards."""
    edges = np.linspace(-q_max, q_max, n_pixels + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    return np.meshgrid(middles, middles)


def compute_decomposition(
    pattern: SpotPattern,
    normalisation: str = "scattered",
    n_pixels: int = 401,
    q_max: float = 2.0,
) -> Decomposition:
    """Take a pattern apart into T[m, p] and put it together again.

    Parameters
    ----------
    pattern : SpotPattern
    normalisation : {"scattered", "incident"}
        See :func:`ediff_utils.features.compute_features`.
    n_pixels : int
        Width of the picture of the reconstruction.
    q_max : float
        Half its width [1/angstrom].

    Returns
    -------
    Decomposition
    """
    offsets = np.array([0, len(pattern.qx)])
    vector = compute_features(pattern.qx, pattern.qy, pattern.intensity, offsets, normalisation)
    coefficients = to_coefficients(vector)[0]
    image = reconstruct(coefficients, *_grid(n_pixels, q_max))
    return Decomposition(pattern, coefficients, image, q_max)


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
    qx, qy = _grid(n_pixels, q_max)
    rgba = PHASE_MAP(Normalize(-np.pi, np.pi)(np.angle(np.exp(1j * p * np.arctan2(qy, qx)))))
    weight = np.zeros(qx.shape)
    for m in rings:
        weight = np.maximum(weight, np.abs(basis_function(m, p, qx, qy)))
    rgba[..., 3] = weight
    return rgba


def compute_order_power(coefficients: np.ndarray) -> np.ndarray:
    """Power in each angular order, against that of order 0.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (..., 41, 13)

    Returns
    -------
    ndarray, shape (..., 13)
        sum over m of |T[m, p]|^2, divided by the same at p = 0. A pattern with an n-fold axis has
        power only in orders that n divides.
    """
    power = np.sum(np.abs(np.asarray(coefficients, dtype=complex)) ** 2, axis=-2)
    first = power[..., :1]
    return np.divide(power, first, out=np.zeros_like(power), where=first > 0)


def _square(ax: Axes, q_max: float) -> None:
    ax.set(xlim=(-q_max, q_max), ylim=(-q_max, q_max), aspect="equal")
    ax.set_xlabel(r"$q_x$ [Å$^{-1}$]")
    ax.set_ylabel(r"$q_y$ [Å$^{-1}$]")


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
    _square(ax, q_max)


def plot_phase_bar(fig: Figure, **options: object) -> None:
    """Add the key to the phases' colours; ``options``, where to, go to ``Figure.colorbar``."""
    mappable = ScalarMappable(Normalize(-np.pi, np.pi), PHASE_MAP)
    bar = fig.colorbar(mappable, label="phase [rad]", **options)
    bar.set_ticks([-np.pi, 0, np.pi], labels=[r"$-\pi$", "0", r"$\pi$"])


def _plot_coefficients(values: np.ndarray, ax: Axes, **style: object) -> QuadMesh:
    edges = (np.arange(N_RADIAL + 1) - 0.5) * STEP
    mesh = ax.pcolormesh(np.arange(N_ANGULAR + 1) - 0.5, edges, values, **style)
    ax.set_xticks(range(0, N_ANGULAR, 2))
    ax.set_xlabel("angular order $p$")
    ax.set_ylabel(r"radius $m\,\Delta q$ [Å$^{-1}$]")
    return mesh


def plot_magnitude(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw |T[m, p]|, rings upwards and orders to the right.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (41, 13)
    ax : Axes
    """
    magnitude = np.abs(coefficients)
    norm = PowerNorm(0.5, 0, magnitude.max() or 1)
    mesh = _plot_coefficients(magnitude, ax, cmap="cividis", norm=norm)
    ax.set_title("magnitude $|T_{m,p}|$")
    bar = ax.figure.colorbar(mesh, ax=ax)
    bar.locator.set_params(nbins=4)
    bar.update_ticks()


def plot_argument(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw arg T[m, p] in the colours of the phases, blank where the coefficient vanishes.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (41, 13)
    ax : Axes
    """
    magnitude = np.abs(coefficients)
    gone = magnitude <= 1e-3 * magnitude[:, :1]
    angle = np.ma.masked_where(gone, np.angle(coefficients))
    _plot_coefficients(angle, ax, cmap=PHASE_MAP, norm=Normalize(-np.pi, np.pi))
    ax.set_title("argument of $T_{m,p}$")


def plot_reconstruction(decomposition: Decomposition, ax: Axes) -> None:
    """Draw the pattern that the coefficients hold, weak spots brought out.

    Parameters
    ----------
    decomposition : Decomposition
    ax : Axes
    """
    q_max, image = decomposition.q_max, decomposition.reconstruction
    norm = PowerNorm(0.35, 0, image.max() if image.max() > 0 else 1)
    # a Fourier series that is cut off also swings below zero
    ax.imshow(
        np.clip(image, 0, None),
        origin="lower",
        extent=(-q_max, q_max, -q_max, q_max),
        cmap="gray_r",
        norm=norm,
    )
    _square(ax, q_max)
    ax.set_title("put together again")


def plot_order_power(power: np.ndarray, ax: Axes, fold: int | None = None) -> None:
    """Draw the power in each angular order as bars.

    Parameters
    ----------
    power : ndarray, shape (13,)
        See :func:`compute_order_power`.
    ax : Axes
    fold : int, optional
        Orders that it divides are coloured apart.
    """
    orders = np.arange(N_ANGULAR)
    allowed = orders % (fold or 1) == 0
    ax.bar(orders, power, color=np.where(allowed, _BAR_COLOR, _OTHER_COLOR), width=0.8)
    if fold:
        for p in orders[~allowed]:
            ax.plot(p, 0, "x", color="0.6", markersize=3, clip_on=False)
    if not np.any(power):
        mark_empty(ax, "no spots")
    ax.set(ylim=(0, 1.05 * max(1.0, power.max())), xlim=(-0.7, N_ANGULAR - 0.3))
    ax.set_xticks(range(0, N_ANGULAR, 2))
    ax.set(xlabel="angular order $p$", ylabel="power / power at $p=0$")


@styled
def figure_orders(patterns: Mapping[int, tuple[str, SpotPattern]]) -> Figure:
    """What the angular orders mean: patterns of n-fold zone axes, and the power in each order.

    Parameters
    ----------
    patterns : mapping
        Fold n to the name of the zone axis and its pattern.

    Returns
    -------
    Figure
    """
    n = len(patterns)
    fig = new_figure(TWO_COLUMNS, TWO_COLUMNS * 2.1 / max(n, 3))
    axes = fig.subplots(2, n, squeeze=False)
    for column, (fold, (name, pattern)) in enumerate(patterns.items()):
        above, below = axes[:, column]
        plot_pattern(pattern.qx, pattern.qy, pattern.intensity, above)
        above.set_title(f"{name}\n{fold}-fold")
        plot_order_power(
            compute_order_power(compute_decomposition(pattern).coefficients), below, fold
        )
        if column:
            for ax in (above, below):
                ax.set_ylabel("")
    label_panel(axes[0, 0], "a", -0.25)
    label_panel(axes[1, 0], "b", -0.25)
    return fig


@styled
def figure_2(
    pattern: SpotPattern,
    rings: Sequence[int] = (4, 12, 20, 28, 36),
    p: int = 6,
    normalisation: str = "scattered",
) -> Figure:
    """The features: basis functions, a pattern taken apart and put together, and the forests.

    Parameters
    ----------
    pattern : SpotPattern
    rings : sequence of int
        Radial orders m of the first row.
    p : int
        Angular order of the first row.
    normalisation : {"scattered", "incident"}

    Returns
    -------
    Figure
    """
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
    parts = compute_decomposition(pattern, normalisation)
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, middle[0])
    middle[0].set_title("pattern")
    plot_magnitude(parts.coefficients, middle[1])
    plot_argument(parts.coefficients, middle[2])
    plot_reconstruction(parts, middle[3])
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

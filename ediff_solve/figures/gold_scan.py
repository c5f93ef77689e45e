"""Figures of the simulated gold scan: dark field, truth, and a frame.

Maps are drawn with x (rows) downwards and y to the right, frames with rows downwards likewise.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from ediff_utils.figures.scan import bare, plot_scale_bar
from ediff_utils.figures.style import (
    SYSTEM_COLORS,
    TWO_COLUMNS,
    label_panel,
    new_figure,
    styled,
)

#: What a position is, with the colours of Okabe and Ito; the later ones hold where several do.
FLAGS = {
    "bare film": "#F0F0F0",
    "single": SYSTEM_COLORS["monoclinic"],
    "twinned": SYSTEM_COLORS["orthorhombic"],
    "overlapping": SYSTEM_COLORS["cubic"],
}


def _map(positions: pd.DataFrame, column: str) -> np.ndarray:
    """Column of the truth as an array, x along its first axis."""
    return positions[column].to_numpy().reshape(positions["x"].max() + 1, -1)


def plot_dark_field(image: np.ndarray, ax: Axes, step: float) -> None:
    """Draw a virtual dark-field image.

    Parameters
    ----------
    image : ndarray, shape (nx, ny)
        Counts; see :func:`ediff_solve.frames.stream.detect_scan`.
    ax : Axes
    step : float
        Distance of probe positions [angstrom].
    """
    low, high = np.quantile(image, (0.01, 0.995))
    # by its root, as particles at a Bragg condition are a hundred times as bright as others
    norm = PowerNorm(0.5, low, max(high, low + 1))
    drawn = ax.imshow(image, cmap="gray", norm=norm, interpolation="nearest")
    plot_scale_bar(ax, image.shape[1], step)
    bare(ax, "Virtual dark field")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="counts")


def plot_flags(positions: pd.DataFrame, ax: Axes, step: float) -> None:
    """Draw what lies under each position, and the outlines of the dominant particles.

    Parameters
    ----------
    positions : DataFrame
        See :func:`ediff_solve.gold_scan.truth.compute_positions`.
    ax : Axes
    step : float
        Distance of probe positions [angstrom].
    """
    image = np.zeros(_map(positions, "x").shape, dtype=int)
    for number, name in enumerate(FLAGS):
        if number:
            image[_map(positions, name).astype(bool)] = number
    colours = ListedColormap(list(FLAGS.values()))
    ax.imshow(image, cmap=colours, vmin=-0.5, vmax=len(FLAGS) - 0.5, interpolation="nearest")
    _outline(_map(positions, "particle"), ax)
    plot_scale_bar(ax, image.shape[1], step)
    bare(ax, "Truth: what the probe meets")
    handles = [Patch(facecolor=c, edgecolor="0.5", label=name) for name, c in FLAGS.items()]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)


def _outline(labels: np.ndarray, ax: Axes) -> None:
    """Lines between pixels of different labels."""
    for axis in (0, 1):
        # a boundary ends half a pixel beyond the first of the two
        end = np.argwhere(np.diff(labels, axis=axis))[:, ::-1] + 0.5
        ends = np.stack([end - ([1, 0] if axis == 0 else [0, 1]), end], axis=1)
        ax.add_collection(mpl.collections.LineCollection(ends, colors="black", linewidths=0.5))


def plot_thickness(positions: pd.DataFrame, ax: Axes, step: float) -> None:
    """Draw the thickness of all gold under each position.

    Parameters
    ----------
    positions : DataFrame
        See :func:`ediff_solve.gold_scan.truth.compute_positions`.
    ax : Axes
    step : float
        Distance of probe positions [angstrom].
    """
    image = _map(positions, "thickness") / 10
    drawn = ax.imshow(image, cmap="cividis", vmin=0, interpolation="nearest")
    plot_scale_bar(ax, image.shape[1], step)
    bare(ax, "Truth: thickness")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="thickness of gold (nm)")


def plot_frame(
    frame: np.ndarray,
    ax: Axes,
    *,
    centre: tuple[float, float] | None = None,
    hot: np.ndarray | None = None,
    title: str = "A frame",
) -> None:
    """Draw a frame in counts, on a logarithmic scale.

    Parameters
    ----------
    frame : ndarray, shape (rows, columns)
    ax : Axes
    centre : (float, float), optional
        Row and column of the direct beam, which a cross marks [pixels].
    hot : ndarray, shape (n, 2), optional
        Rows and columns of hot pixels, which circles mark.
    title : str
    """
    # a pixel without counts is drawn as one with half a count
    shown = np.maximum(frame.astype(float), 0.5)
    norm = LogNorm(0.5, max(shown.max(), 1.0))
    drawn = ax.imshow(shown, cmap="magma", norm=norm, interpolation="nearest")
    if centre is not None:
        ax.plot(centre[1], centre[0], "+", color=SYSTEM_COLORS["monoclinic"], markersize=7)
    for row, column in [] if hot is None else hot:
        ring = Circle((column, row), 0.02 * len(frame), fill=False, linewidth=0.7)
        ring.set_edgecolor(SYSTEM_COLORS["monoclinic"])
        ax.add_patch(ring)
    rows, columns = frame.shape
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.set_title(title, loc="left")
    ax.set_xlabel("detector column (pixels)")
    ax.set_ylabel("detector row (pixels)")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="counts a pixel")


@styled
def figure_gold_scan(
    dark_field: np.ndarray,
    positions: pd.DataFrame,
    frame: np.ndarray,
    *,
    step: float,
    centre: tuple[float, float] | None = None,
    hot: np.ndarray | None = None,
) -> Figure:
    """The simulated scan at a glance.

    Parameters
    ----------
    dark_field : ndarray, shape (nx, ny)
        Counts; see :func:`ediff_solve.frames.stream.detect_scan`.
    positions : DataFrame
        See :func:`ediff_solve.gold_scan.truth.compute_positions`.
    frame : ndarray, shape (rows, columns)
    step : float
        Distance of probe positions [angstrom].
    centre, hot : optional
        See :func:`plot_frame`.

    Returns
    -------
    Figure
    """
    figure = new_figure(TWO_COLUMNS, 6.2)
    axes = figure.subplots(2, 2)
    plot_dark_field(dark_field, axes[0, 0], step)
    plot_flags(positions, axes[0, 1], step)
    plot_thickness(positions, axes[1, 0], step)
    plot_frame(frame, axes[1, 1], centre=centre, hot=hot)
    for letter, ax in zip("abcd", axes.flat, strict=True):
        label_panel(ax, letter, -0.06)
    return figure

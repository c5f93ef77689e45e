"""Forests trained under one protocol of orientations and asked about another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter

from ediff_utils.figures import style
from ediff_utils.paper.protocols import PROTOCOLS, Protocol

_TITLES = {"one": "One pattern", "ten": "Several patterns"}


def label(protocol: Protocol) -> str:
    """Name a protocol in two lines: its orientations, and its in-plane rotation."""
    return f"{protocol.orientations},\n{protocol.rotation}"


def plot_cross(cross: pd.DataFrame, ax: Axes, patterns: str = "one") -> AxesImage:
    """Draw the accuracy of each pair of protocols as a matrix.

    Parameters
    ----------
    cross : DataFrame
        See :func:`ediff_utils.paper.protocols.compute_cross`.
    ax : Axes
    patterns : {"one", "ten"}

    Returns
    -------
    AxesImage
    """
    own = cross[cross["patterns"] == patterns].set_index(
        ["train", "train_rotation", "test", "test_rotation"]
    )["accuracy"]
    values = np.array(
        [[own.get((*train, *test), np.nan) for test in PROTOCOLS] for train in PROTOCOLS]
    )
    cmap = style.color_map(style.RIGHT_COLOR, palest=0.05).with_extremes(bad="#F4F4F4")
    image = ax.imshow(values, cmap=cmap, vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if value > 0.5 else "black"
            text = style.percent(value, 1)
            ax.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
    ticks = range(len(PROTOCOLS))
    ax.set_xticks(ticks, [label(p) for p in PROTOCOLS])
    ax.set_yticks(ticks, [label(p) for p in PROTOCOLS])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("Asked about (orientation, in-plane rotation)")
    ax.set_ylabel("Trained on (orientation, in-plane rotation)")
    ax.set_title(_TITLES[patterns])
    return image


@style.styled
def figure_cross(cross: pd.DataFrame, n_patterns: int = 10) -> Figure:
    """Both matrices, for one pattern and for several.

    Parameters
    ----------
    cross : DataFrame
        See :func:`ediff_utils.paper.protocols.compute_cross`.
    n_patterns : int
        How many the several are.

    Returns
    -------
    Figure
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.55)
    axes = fig.subplots(1, 2)
    for ax, patterns in zip(np.ravel(axes), ("one", "ten"), strict=True):
        image = plot_cross(cross, ax, patterns)
    axes[1].set_title(f"{n_patterns} patterns")
    axes[1].set_ylabel("")
    axes[1].set_yticklabels([])
    bar = fig.colorbar(image, ax=list(axes), shrink=0.8, format=PercentFormatter(1, decimals=0))
    bar.set_label("Crystal system right")
    bar.outline.set_visible(False)
    return fig

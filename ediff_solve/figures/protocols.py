"""Beyond the paper's figures: forests trained under one protocol of orientations, asked another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter

from ediff_solve.forests.protocols import PROTOCOLS, Protocol
from ediff_utils.figures import style


def _label(protocol: Protocol) -> str:
    """Name a protocol in two lines: its orientations, and its in-plane rotation."""
    return f"{protocol.orientations},\n{protocol.rotation}"


def _plot_cross(cross: pd.DataFrame, ax: Axes, patterns: str) -> AxesImage:
    """Draw the accuracy of each pair of protocols, from one or from ten patterns, as a matrix."""
    own = cross[cross["patterns"] == patterns].set_index(
        ["train", "train_rotation", "test", "test_rotation"]
    )["accuracy"]
    values = np.array(
        [[own.get((*train, *test), np.nan) for test in PROTOCOLS] for train in PROTOCOLS]
    )
    cmap = style.color_map(style.RIGHT_COLOR, palest=0.05).with_extremes(bad="#F4F4F4")
    image = style.plot_cells(values, ax, lambda v: style.percent(v, 1), cmap=cmap, fontsize=8)
    ticks, labels = range(len(PROTOCOLS)), [_label(p) for p in PROTOCOLS]
    ax.set_xticks(ticks, labels)
    ax.set_yticks(ticks, labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("Asked about (orientation, in-plane rotation)")
    ax.set_ylabel("Trained on (orientation, in-plane rotation)")
    return image


@style.styled
def figure_cross(cross: pd.DataFrame, n_patterns: int = 10) -> Figure:
    """Both matrices, for one pattern and for ``n_patterns``.

    See :func:`ediff_solve.forests.protocols.compute_cross`.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.55)
    axes = fig.subplots(1, 2)
    for ax, patterns in zip(np.ravel(axes), ("one", "ten"), strict=True):
        image = _plot_cross(cross, ax, patterns)
    axes[0].set_title("One pattern")
    axes[1].set_title(f"{n_patterns} patterns")
    axes[1].set_ylabel("")
    axes[1].set_yticklabels([])
    bar = fig.colorbar(image, ax=list(axes), shrink=0.8, format=PercentFormatter(1, decimals=0))
    bar.set_label("Crystal system right")
    bar.outline.set_visible(False)
    return fig

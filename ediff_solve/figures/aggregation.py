"""Beyond the paper's figures: accuracy against the number of patterns put together."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ediff_solve.figures.series import series_styles
from ediff_utils.figures import style

METHOD_LABELS = {
    "difference": "weight by lead in votes (paper)",
    "majority": "one vote a pattern",
    "mean_probability": "mean of probabilities",
    "log_sum": "product of probabilities",
}


def _plot_curves(curves: pd.DataFrame, ax: Axes) -> None:
    """Draw accuracy against the number of patterns, a curve a method; bands hold 95 %."""
    styles = series_styles(curves["method"])
    for method, rows in curves.groupby("method", sort=False):
        x, color = rows["n_patterns"], styles[method]["color"]
        ax.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.1, lw=0)
        label = METHOD_LABELS.get(method, method)
        ax.plot(x, rows["accuracy"], ms=3.5, label=label, **styles[method])
    if curves.empty:
        style.mark_empty(ax)
    else:
        ax.set_xscale("log")
        sizes = sorted(curves["n_patterns"].unique())
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend(loc="lower right")
    ax.set(xlabel="Patterns put together", ylabel="Accuracy")
    # Whole numbers of percent, so that none is rounded to another.
    ax.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    style.in_percent(ax.yaxis)


@style.styled
def figure_curves(curves: pd.DataFrame) -> Figure:
    """Draw accuracy against the number of patterns for each method, at most seven.

    ``curves`` are of :func:`ediff_utils.paper.aggregation.compute_curves`; other methods keep their
    names.
    """
    fig = style.new_figure(style.COLUMN + 1.0, 3.2)
    ax = fig.subplots()
    _plot_curves(curves, ax)
    n = int(curves["n_materials"].max()) if len(curves) else 0
    ax.set_title(f"Crystal system (n = {n:,} materials, bands 95 %)")
    return fig

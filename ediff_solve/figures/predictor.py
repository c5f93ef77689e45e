"""A predictor's card: what its answers to its test patterns are worth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ediff_solve.figures.reliability import plot_confidences
from ediff_solve.figures.series import series_styles
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.figures import style
from ediff_utils.figures.classification import plot_matrix
from ediff_utils.paper import evaluation

#: Line styles of the conditions, and what is asked.
_LINES = {"clean": "-", "detector": "--"}
_ASKED = {
    "system": "crystal system",
    "first_five": "space group, first five",
    "space_group": "space group",
}


def _plot_growth(growth: pd.DataFrame, ax: Axes) -> None:
    """Draw the share of right answers against the number of patterns, with 95 % intervals."""
    styles = series_styles(_ASKED)
    for condition, part in growth.groupby("condition"):
        for name in _ASKED:
            bounds = [part[name] - part[f"{name}_low"], part[f"{name}_high"] - part[name]]
            look = styles[name] | {"ls": _LINES.get(condition, ":"), "ms": 3, "elinewidth": 0.7}
            ax.errorbar(part["patterns"], part[name], yerr=bounds, **look)
    if growth.empty:
        style.mark_empty(ax)
    ax.set(xlabel="Patterns of one crystal together", ylabel="Right answers", ylim=(0, 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.in_percent(ax.yaxis)
    handles = [Line2D([], [], ms=3, label=label, **styles[name]) for name, label in _ASKED.items()]
    for condition in growth["condition"].unique():
        line = _LINES.get(condition, ":")
        handles.append(Line2D([], [], color="0.4", ls=line, label=condition))
    ax.legend(handles=handles, loc="lower right", ncols=2, handlelength=2.6)


@style.styled
def figure_card(answers: pd.DataFrame, growth: pd.DataFrame, most: int) -> Figure:
    """Draw accuracy against patterns (a), reliability (b), coverage (c) and a confusion matrix (d).

    ``answers`` are of :func:`ediff_solve.predictor.training.judging.answer_material`, ``growth`` of
    :func:`ediff_solve.predictor.training.card.compute_growth`; b to d speak of groups of ``most``
    patterns, beside single ones.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 6.4)
    axes = fig.subplots(2, 2)
    _plot_growth(growth, axes[0, 0])
    tables = {
        f"{n} pattern{'s' if n > 1 else ''}, {condition}": (part, "confidence")
        for n in (1, most)
        for condition, part in answers[answers["patterns"] == n].groupby("condition")
    }
    plot_confidences(tables, axes[0, 1], axes[1, 0])
    axes[0, 1].legend(loc="upper left")
    axes[1, 0].legend(loc="lower left")
    condition = answers["condition"].unique()[-1]
    chosen = answers[(answers["patterns"] == most) & (answers["condition"] == condition)]
    confusion = evaluation.compute_confusion(chosen, ALL_SYSTEMS)
    shares = confusion.div(confusion.sum(axis=1), axis=0)
    plot_matrix(shares, axes[1, 1], digits=1, vmax=1.0)
    axes[1, 1].set_title(f"{most} patterns, {condition}: % of each row")
    style.label_panels(axes.flat, -0.15)
    return fig

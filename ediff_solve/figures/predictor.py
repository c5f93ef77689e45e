"""What a predictor's answers to its test patterns are worth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ediff_utils.crystals.crystal import ALL_SYSTEMS
from ediff_utils.figures import style
from ediff_utils.figures.classification import plot_matrix
from ediff_utils.figures.reliability import plot_coverage, plot_reliability, series_styles
from ediff_utils.paper import evaluation
from ediff_utils.paper import reliability as calibration

#: Line styles of the conditions, and what is asked.
_LINES = {"clean": "-", "detector": "--"}
_ASKED = {
    "system": "crystal system",
    "first_five": "space group, first five",
    "space_group": "space group",
}
_PERCENT = {"xmax": 1.0, "decimals": 0, "symbol": " %"}


def plot_growth(growth: pd.DataFrame, ax: Axes) -> None:
    """Draw the share of right answers against the number of patterns, with 95 % intervals.

    Parameters
    ----------
    growth : DataFrame
        Of :func:`ediff_solve.predictor.training.card.compute_growth`.
    ax : Axes
    """
    styles = series_styles(_ASKED)
    for condition, part in growth.groupby("condition"):
        for name in _ASKED:
            bounds = [part[name] - part[f"{name}_low"], part[f"{name}_high"] - part[name]]
            ax.errorbar(
                part["patterns"],
                part[name],
                yerr=bounds,
                ls=_LINES.get(condition, ":"),
                ms=3,
                elinewidth=0.7,
                **styles[name],
            )
    if growth.empty:
        style.mark_empty(ax)
    ax.set(xlabel="Patterns of one crystal together", ylabel="Right answers", ylim=(0, 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(**_PERCENT))
    handles = [Line2D([], [], ms=3, label=label, **styles[name]) for name, label in _ASKED.items()]
    for condition in growth["condition"].unique():
        line = _LINES.get(condition, ":")
        handles.append(Line2D([], [], color="0.4", ls=line, label=condition))
    ax.legend(handles=handles, loc="lower right", ncols=2, handlelength=2.6)


@style.styled
def figure_card(answers: pd.DataFrame, growth: pd.DataFrame, most: int) -> Figure:
    """Draw accuracy against patterns (a), reliability (b), coverage (c) and a confusion matrix (d).

    Parameters
    ----------
    answers : DataFrame
        Of :func:`ediff_solve.predictor.training.judging.answer_material`.
    growth : DataFrame
        Of :func:`ediff_solve.predictor.training.card.compute_growth`.
    most : int
        Size of the groups that b to d speak of, beside single patterns.

    Returns
    -------
    Figure
    """
    fig = style.new_figure(style.TWO_COLUMNS, 6.4)
    axes = fig.subplots(2, 2)
    plot_growth(growth, axes[0, 0])
    tables = {
        f"{n} pattern{'s' if n > 1 else ''}, {condition}": part
        for n in (1, most)
        for condition, part in answers[answers["patterns"] == n].groupby("condition")
    }
    styles = series_styles(tables)
    for i, (name, table) in enumerate(tables.items()):
        told = table[table["system"].notna()]
        reliability = calibration.compute_reliability(told, "confidence")
        slot = (i, len(tables))
        plot_reliability(reliability, axes[0, 1], slot=slot, label=name, **styles[name])
        coverage = calibration.compute_coverage(table, "confidence")
        plot_coverage(coverage, axes[1, 0], label=name, **styles[name])
    axes[0, 1].legend(loc="upper left")
    axes[1, 0].legend(loc="lower left")
    condition = answers["condition"].unique()[-1]
    chosen = answers[(answers["patterns"] == most) & (answers["condition"] == condition)]
    confusion = evaluation.compute_confusion(chosen, ALL_SYSTEMS)
    shares = confusion.div(confusion.sum(axis=1), axis=0)
    plot_matrix(shares, axes[1, 1], digits=1, vmax=1.0)
    axes[1, 1].set_title(f"{most} patterns, {condition}: % of each row")
    for ax, letter in zip(axes.flat, "abcd", strict=True):
        style.label_panel(ax, letter, -0.15)
    return fig

"""Figures 4, S3, S5 and S6: how well crystal systems are told apart.

Of ``predictions``, one pattern a row, and ``aggregates``, one material a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ediff_utils.figures import style
from ediff_utils.paper import evaluation, published
from ediff_utils.paper.evaluation import systems_of

#: One and ten patterns of a system stand this far from its share, so that both can be seen.
_DODGE = 0.002


def count_label(table: pd.DataFrame) -> str:
    """Say from how many patterns a prediction of ``table`` is made: a panel's title."""
    if "n_patterns" not in table.columns:
        return "One pattern"
    return f"{int(table['n_patterns'].max())} patterns" if len(table) else "Aggregates"


def unit_label(table: pd.DataFrame) -> str:
    """Name what a row of ``table`` is."""
    return "materials" if "n_patterns" in table.columns else "patterns"


def size_title(table: pd.DataFrame) -> str:
    """Name a table and say how many rows it has: a figure's title."""
    return f"{count_label(table)} (n = {len(table):,} {unit_label(table)})"


# --- matrices -------------------------------------------------------------------------------------
def plot_matrix(
    matrix: pd.DataFrame, ax: Axes, *, digits: int = 1, vmax: float | None = None
) -> AxesImage:
    """Draw a matrix of fractions with each cell's value in percent; empty cells stay blank.

    True systems are rows, predicted ones columns; 0 and ``nan`` are empty. Percentages have
    ``digits`` decimals, and ``vmax`` is the fraction of the darkest colour.
    """
    values = matrix.to_numpy(dtype=float)
    shown = np.where(values > 0, values, np.nan)
    top = vmax if vmax is not None else float(np.max(shown, initial=0, where=values > 0)) or 1.0
    cmap = style.color_map(style.RIGHT_COLOR, palest=0.08).with_extremes(bad="#F4F4F4")

    def text(value: float) -> str:
        written = f"{100 * value:.{digits}f}"
        return written if float(written) else f"<{10**-digits:.{digits}f}"

    image = style.plot_cells(shown, ax, text, cmap=cmap, vmax=top, dark=0.4)
    ticks = range(len(matrix))
    ax.set_xticks(ticks, [style.SHORT[s] for s in matrix.columns])
    ax.set_yticks(ticks, [style.SHORT[s] for s in matrix.index])
    ax.set_xticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="Predicted crystal system", ylabel="True crystal system")
    return image


def _accuracy_title(table: pd.DataFrame, paper: str = "") -> str:
    value = evaluation.compute_accuracy(table).value
    accuracy = style.percent(value, 1) if np.isfinite(value) else "none"
    size = f"n = {len(table):,} {unit_label(table)}"
    return f"{count_label(table)}: accuracy {accuracy}{paper}\n{size}"


@style.styled
def figure_4(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> Figure:
    """Figure 4: percent of the test set (a, b), mean confidence (c, d), of one and ten patterns."""
    fig = style.new_figure(style.TWO_COLUMNS, 6.6)
    axes = fig.subplots(2, 2)
    tables = (predictions, aggregates)
    confusions = [evaluation.compute_confusion(table) for table in tables]
    top = max(float(c.fillna(0.0).to_numpy().max()) for c in confusions) or 1.0
    for column, (table, confusion) in enumerate(zip(tables, confusions, strict=True)):
        protocol = ("one", "ten")[column]
        paper = f" (paper {published.CRYSTAL_SYSTEM_ACCURACY[protocol]})"
        ax = axes[0, column]
        share = plot_matrix(confusion, ax, vmax=top)
        ax.set_title(_accuracy_title(table, paper))
        means = evaluation.compute_confidence_matrix(table)
        confidence = plot_matrix(means, axes[1, column], digits=0, vmax=1.0)
        what = "share of the trees" if column == 0 else "share of the weights"
        axes[1, column].set_title(f"{count_label(table)}: confidence, {what}")
    style.label_panels(axes.flat, -0.15)
    percent = PercentFormatter(1.0, decimals=0, symbol=" %")
    most = share.get_clim()[1]
    whole = np.asarray(MaxNLocator(integer=True).tick_values(0, 100 * most)) / 100
    ticks = list(whole[whole <= most])
    look: style.Look = {"format": percent, "shrink": 0.8}
    fig.colorbar(share, ax=axes[0], label="Share of the test set", ticks=ticks, **look)
    fig.colorbar(confidence, ax=axes[1], label="Mean confidence", **look)
    return fig


# --- precision and sensitivity --------------------------------------------------------------------
def _plot_rates(rates: pd.DataFrame, ax: Axes) -> None:
    """Draw precision (full) and sensitivity (pale) of each system, with 95 % intervals."""
    y = np.arange(len(rates))
    colors = np.array([style.SYSTEM_COLORS[s] for s in rates.index])
    for name, shift, alpha in (("precision", -0.2, 1.0), ("sensitivity", 0.2, style.ONE_ALPHA)):
        values = rates[name].to_numpy(dtype=float)
        known = np.isfinite(values)
        ax.barh(y[known] + shift, values[known], 0.36, color=colors[known], alpha=alpha)
        low = values - rates[f"{name}_low"].to_numpy(dtype=float)
        high = rates[f"{name}_high"].to_numpy(dtype=float) - values
        bounds = np.maximum(np.array([low, high])[:, known], 0)
        look: style.Look = {"fmt": "none", "ecolor": "0.25", "elinewidth": 0.8}
        ax.errorbar(values[known], y[known] + shift, xerr=bounds, **look)
        for i, value in enumerate(values):
            text = style.percent(value) if np.isfinite(value) else "none"
            end = rates[f"{name}_high"].iloc[i] if np.isfinite(value) else 0.0
            ax.text(end + 0.02, y[i] + shift, text, va="center", fontsize=6.5)
    ax.set_yticks(y, rates.index)
    ax.set(xlim=(0, 1.2), ylim=(len(rates) - 0.4, -0.6), xticks=np.linspace(0, 1, 6))
    style.in_percent(ax.xaxis)
    ax.set_xlabel("Precision (full), sensitivity (pale)")


@style.styled
def figure_s3(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> Figure:
    """Figure S3: the model with triclinic as a seventh class, for one pattern and for ten.

    Confusion on the left, precision and sensitivity of each class on the right; the paper's numbers
    for triclinic are marked.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 7.0)
    axes = fig.subplots(2, 2, width_ratios=(1.1, 1))
    for row, table in enumerate((predictions, aggregates)):
        paper = f" (paper {published.TRICLINIC_ACCURACY})" if row == 0 else ""
        plot_matrix(evaluation.compute_confusion(table), axes[row, 0])
        axes[row, 0].set_title(f"{_accuracy_title(table, paper)}, percent of them")
        rates = evaluation.compute_system_rates(table)
        _plot_rates(rates, axes[row, 1])
        axes[row, 1].set_title(f"{count_label(table)}: by class")
    if "triclinic" in rates.index:
        place = list(rates.index).index("triclinic")
        x = [published.TRICLINIC_PRECISION.value, published.TRICLINIC_SENSITIVITY.value]
        y = [place - 0.2, place + 0.2]
        axes[0, 1].plot(x, y, "D", ms=4, mfc="white", mec=style.WRONG_COLOR, mew=1.2, label="paper")
        axes[0, 1].legend(loc="lower right")
    style.label_panels(axes.flat, -0.1)
    return fig


# --- false positives ------------------------------------------------------------------------------
def _plot_false_positives(
    rates: pd.DataFrame, share: Mapping[str, float], ax: Axes, *, filled: bool
) -> None:
    """Draw each system's false-positive rate against its share of the data."""
    for system, row in rates.iterrows():
        rate = row["false_positive_rate"]
        if not np.isfinite(rate) or system not in share:
            continue
        color = style.SYSTEM_COLORS[system]
        bounds = [[row["precision_high"] - row["precision"]]]
        bounds += [[row["precision"] - row["precision_low"]]]
        face = color if filled else "white"
        look: style.Look = {"fmt": "o", "ms": 5, "mfc": face, "mew": 1.2, "elinewidth": 0.8}
        place = share[system] + (_DODGE if filled else -_DODGE)
        ax.errorbar(place, rate, yerr=np.maximum(bounds, 0), color=color, **look)
    style.in_percent(ax.xaxis, ax.yaxis)
    ax.set(xlabel="Share of the test set", ylabel="False-positive rate")


@style.styled
def figure_s5(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> Figure:
    """Figure S5: false positives against how common a crystal system is.

    Open markers for one pattern, full ones for ten, crosses for the paper.
    """
    fig = style.new_figure(style.COLUMN + 1.2, 3.0)
    ax = fig.subplots()
    rates = [evaluation.compute_system_rates(table) for table in (predictions, aggregates)]
    share = rates[0]["share"].to_dict()
    for table, filled in zip(rates, (False, True), strict=True):
        _plot_false_positives(table, share, ax, filled=filled)
    for protocol, marker, size in (("one", "x", 6), ("ten", "+", 8)):
        for system, paper in published.FALSE_POSITIVE_RATE[protocol].items():
            x, color = share.get(system, np.nan), style.SYSTEM_COLORS[system]
            ax.plot(x, np.array(paper.value), marker, ms=size, mew=1.4, color=color)
    most = max((x for x in share.values() if np.isfinite(x)), default=0.2)
    ax.set(xlim=(-0.01, 1.1 * most), ylim=(-0.03, 1.03))
    handles = [
        Line2D([], [], marker="s", ls="", color=style.SYSTEM_COLORS[s], label=s)
        for s in rates[0].index
    ]
    markers = (
        ("o", "white", count_label(predictions).lower()),
        ("o", "0.3", count_label(aggregates).lower()),
        ("x", "0.3", "paper, one pattern"),
        ("+", "0.3", "paper, ten patterns"),
    )
    for marker, face, label in markers:
        handles.append(Line2D([], [], marker=marker, ls="", c="0.3", mfc=face, label=label))
    fig.legend(handles=handles, loc="outside right upper", handletextpad=0.2)
    return fig


# --- confidence -----------------------------------------------------------------------------------
def _plot_confidence_histogram(histogram: pd.DataFrame, ax: Axes) -> None:
    """Draw right predictions with wrong ones stacked on them, by confidence."""
    low, right, wrong = (histogram[name].to_numpy() for name in ("low", "right", "wrong"))
    width = histogram["high"].to_numpy() - low
    ax.bar(low, right, width, align="edge", color=style.RIGHT_COLOR, label="right system")
    look: style.Look = {"align": "edge", "color": style.WRONG_COLOR, "label": "wrong system"}
    ax.bar(low, wrong, width, bottom=right, **look)
    if not histogram["n"].sum():
        style.mark_empty(ax)
    ax.set(xlim=(0, 1), ylim=(0, 1.08 * max(1, histogram["n"].max())))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    style.in_percent(ax.xaxis)


@style.styled
def figure_s6(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> Figure:
    """Figure S6: confidence of right and wrong predictions, a panel a predicted system.

    A block of panels for one pattern stands above one for ten.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 7.4)
    blocks = fig.subfigures(2, 1, squeeze=False)[:, 0]
    labels = ("Confidence (share of the trees)", "Confidence (share of the weights)")
    for block, table, label in zip(blocks, (predictions, aggregates), labels, strict=True):
        systems = systems_of(table)
        axes = block.subplots(2, (len(systems) + 1) // 2, sharex=True)
        for ax in axes.flat[len(systems) :]:
            ax.set_visible(False)
        histograms = evaluation.compute_confidence_histogram(table).groupby("system", sort=False)
        for ax, (system, histogram) in zip(axes.flat, histograms, strict=False):
            _plot_confidence_histogram(histogram, ax)
            ax.set_title(f"{system} (n = {int(histogram['n'].sum()):,})")
        block.suptitle(size_title(table), fontsize=9, fontweight="bold")
        block.supxlabel(label, fontsize=8)
        block.supylabel(unit_label(table).capitalize(), fontsize=8)
    handles, names = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=2)
    return fig

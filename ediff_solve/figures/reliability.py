"""Beyond the paper's figures: whether confidences can be believed, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ediff_solve.figures.series import series_styles
from ediff_solve.forests.reliability import (
    compute_coverage,
    compute_reliability,
    compute_reliability_summary,
)
from ediff_utils.figures import style
from ediff_utils.figures.classification import unit_label


def _plot_reliability(
    reliability: pd.DataFrame, ax: Axes, slot: tuple[int, int], **look: Any
) -> None:
    """Draw accuracy against confidence, with 95 % intervals, above the share of rows in each bin.

    ``slot`` is which of how many tables this is: their bars stand side by side in each bin.
    """
    filled = reliability[reliability["n"] > 0]
    place, n_slots = slot
    if place == 0:
        ax.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--", zorder=0)
    width = (filled["high"] - filled["low"]).to_numpy() / n_slots
    share = (filled["n"] / max(1, filled["n"].sum())).to_numpy()
    left = filled["low"].to_numpy() + place * width
    ax.bar(left, share, width, align="edge", color=look["color"], alpha=0.25, lw=0, zorder=1)
    accuracy = filled["accuracy"].to_numpy()
    bounds = [accuracy - filled["accuracy_low"], filled["accuracy_high"] - accuracy]
    look |= {"ms": 3.5, "elinewidth": 0.8}
    ax.errorbar(filled["confidence"], accuracy, yerr=np.maximum(bounds, 0), **look)
    if filled.empty:
        style.mark_empty(ax)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="Confidence")
    ax.set_ylabel("Accuracy (bars: share of the rows)")
    style.in_percent(ax.xaxis, ax.yaxis)


def _plot_coverage(coverage: pd.DataFrame, ax: Axes, **look: Any) -> None:
    """Draw the accuracy that is left when only the most confident rows are answered."""
    ax.plot(coverage["coverage"], coverage["accuracy"], ms=3, **look)
    if not coverage["n"].any():
        style.mark_empty(ax)
    ax.set(xlim=(0, 1.02), xlabel="Coverage (most confident first)", ylabel="Accuracy")
    style.in_percent(ax.xaxis, ax.yaxis)


def plot_confidences(
    tables: Mapping[str, tuple[pd.DataFrame, str]], left: Axes, right: Axes
) -> None:
    """Draw reliability on the left axes and accuracy against coverage on the right ones.

    ``tables`` has, for each of at most seven names in the legend, predictions or aggregates and
    their column of confidence.
    """
    styles = series_styles(tables)
    for i, (name, (table, confidence)) in enumerate(tables.items()):
        look, slot = styles[name] | {"label": name}, (i, len(tables))
        # Where nothing could be told, nothing was claimed.
        told = table[table["system"].notna()]
        _plot_reliability(compute_reliability(told, confidence), left, slot, **look)
        _plot_coverage(compute_coverage(table, confidence), right, **look)


def _legend_label(name: str, table: pd.DataFrame, confidence: str) -> str:
    summary = compute_reliability_summary(table, confidence)
    size = f"n = {len(table):,} {unit_label(table)}"
    if not len(table):
        return f"{name} ({size})"
    return (
        f"{name} ({size}): calibration error {style.percent(summary['ece'], 1)}, "
        f"accuracy {style.percent(summary['accuracy'], 1)}, "
        f"at 80 % coverage {style.percent(summary['accuracy_at_80'], 1)}"
    )


@style.styled
def figure_reliability(tables: Mapping[str, tuple[pd.DataFrame, str]]) -> Figure:
    """Draw reliability (a) and accuracy against coverage (b) of several confidences.

    The legend holds the expected calibration error and the accuracy at a coverage of 80 %, where
    panel b has a dotted line. For ``tables`` see :func:`plot_confidences`.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.2 + 0.15 * len(tables))
    left, right = fig.subplots(1, 2)
    plot_confidences(tables, left, right)
    right.axvline(0.8, color="0.6", lw=0.8, ls=":", zorder=0)
    style.label_panels((left, right), -0.15)
    styles = series_styles(tables)
    handles = [
        Line2D([], [], ms=3.5, label=_legend_label(name, *table), **styles[name])
        for name, table in tables.items()
    ]
    if handles:
        fig.legend(handles=handles, loc="outside lower center")
    return fig

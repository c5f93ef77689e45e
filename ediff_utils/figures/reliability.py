"""Whether confidences can be believed, and what they are worth for leaving rows out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from ediff_utils.core.errors import UserError
from ediff_utils.figures import style
from ediff_utils.figures.classification import unit_label
from ediff_utils.paper import reliability as calibration

#: Colours (Okabe and Ito) and markers of curves, neighbours well apart.
_SERIES = tuple(
    zip(
        ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"),
        "os^Dv<>",
        strict=True,
    )
)
_PERCENT = {"xmax": 1.0, "decimals": 0, "symbol": " %"}


def series_styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Give each name its own ``color`` and ``marker``, in their order.

    Raises
    ------
    UserError
        More names than colours that can be told apart.
    """
    names = list(dict.fromkeys(names))
    if len(names) > len(_SERIES):
        raise UserError(f"figure: expected at most {len(_SERIES)} curves, got {len(names)}")
    pairs = zip(names, _SERIES, strict=False)
    return {name: {"color": color, "marker": marker} for name, (color, marker) in pairs}


def plot_reliability(
    reliability: pd.DataFrame,
    ax: Axes,
    *,
    color: str = style.RIGHT_COLOR,
    marker: str = "o",
    label: str | None = None,
    slot: tuple[int, int] = (0, 1),
) -> None:
    """Draw accuracy against confidence, with 95 % intervals, above the share of rows in each bin.

    Parameters
    ----------
    reliability : DataFrame
        Of :func:`ediff_utils.paper.reliability.compute_reliability`.
    ax : Axes
    color, marker : str
    label : str, optional
        For the legend.
    slot : tuple of int
        Which of how many tables this is on ``ax``: their bars stand side by side in each bin.
    """
    filled = reliability[reliability["n"] > 0]
    place, n_slots = slot
    if place == 0:
        ax.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--", zorder=0)
    width = (filled["high"] - filled["low"]).to_numpy() / n_slots
    share = (filled["n"] / max(1, filled["n"].sum())).to_numpy()
    left = filled["low"].to_numpy() + place * width
    ax.bar(left, share, width, align="edge", color=color, alpha=0.25, lw=0, zorder=1)
    accuracy = filled["accuracy"].to_numpy()
    bounds = [accuracy - filled["accuracy_low"], filled["accuracy_high"] - accuracy]
    ax.errorbar(
        filled["confidence"],
        accuracy,
        yerr=np.maximum(bounds, 0),
        color=color,
        marker=marker,
        ms=3.5,
        elinewidth=0.8,
        label=label,
    )
    if filled.empty:
        style.mark_empty(ax)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="Confidence")
    ax.set_ylabel("Accuracy (bars: share of the rows)")
    ax.xaxis.set_major_formatter(PercentFormatter(**_PERCENT))
    ax.yaxis.set_major_formatter(PercentFormatter(**_PERCENT))


def plot_coverage(
    coverage: pd.DataFrame,
    ax: Axes,
    *,
    color: str = style.RIGHT_COLOR,
    marker: str = "o",
    label: str | None = None,
) -> None:
    """Draw the accuracy that is left when only the most confident rows are answered.

    Parameters
    ----------
    coverage : DataFrame
        Of :func:`ediff_utils.paper.reliability.compute_coverage`.
    ax : Axes
    color, marker : str
    label : str, optional
        For the legend.
    """
    ax.plot(
        coverage["coverage"], coverage["accuracy"], color=color, marker=marker, ms=3, label=label
    )
    if not coverage["n"].any():
        style.mark_empty(ax)
    ax.set(xlim=(0, 1.02), xlabel="Coverage (most confident first)", ylabel="Accuracy")
    ax.xaxis.set_major_formatter(PercentFormatter(**_PERCENT))
    ax.yaxis.set_major_formatter(PercentFormatter(**_PERCENT))


def _legend_label(name: str, table: pd.DataFrame, confidence: str) -> str:
    summary = calibration.compute_reliability_summary(table, confidence)
    size = f"n = {len(table):,} {unit_label(table)}"
    if not len(table):
        return f"{name} ({size})"
    return (
        f"{name} ({size}): calibration error {style.percent(summary['ece'], 1)}, "
        f"accuracy {style.percent(summary['accuracy'], 1)}, "
        f"at 80 % coverage {style.percent(summary['accuracy_at_80'], 1)}"
    )


@style.styled
def figure_calibration(tables: Mapping[str, tuple[pd.DataFrame, str]]) -> Figure:
    """Draw reliability (a) and accuracy against coverage (b) of several confidences.

    Parameters
    ----------
    tables : mapping of str to (DataFrame, str)
        For each name in the legend predictions or aggregates, and their column of confidence.

    Returns
    -------
    Figure
        Two panels. The legend holds the expected calibration error and the accuracy at a coverage
        of 80 %, where panel b has a dotted line.

    Raises
    ------
    UserError
        More than seven tables, or as :func:`ediff_utils.paper.reliability.compute_reliability`.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.2 + 0.15 * len(tables))
    left, right = fig.subplots(1, 2)
    styles = series_styles(tables)
    handles = []
    for i, (name, (table, confidence)) in enumerate(tables.items()):
        reliability = calibration.compute_reliability(table, confidence)
        plot_reliability(reliability, left, slot=(i, len(tables)), **styles[name])
        plot_coverage(calibration.compute_coverage(table, confidence), right, **styles[name])
        label = _legend_label(name, table, confidence)
        handles.append(Line2D([], [], ms=3.5, label=label, **styles[name]))
    right.axvline(0.8, color="0.6", lw=0.8, ls=":", zorder=0)
    style.label_panel(left, "a", -0.15)
    style.label_panel(right, "b", -0.15)
    if handles:
        fig.legend(handles=handles, loc="outside lower center")
    return fig

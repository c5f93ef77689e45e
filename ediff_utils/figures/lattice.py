"""Figures 5, 6 and S7 to S9: space groups and lattice parameters.

All of them group by the *predicted* crystal system, as the paper does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ediff_utils.figures import style
from ediff_utils.figures.classification import count_label, size_title, unit_label
from ediff_utils.paper import evaluation, published
from ediff_utils.paper.evaluation import AXES, INDEPENDENT_AXES, systems_of
from ediff_utils.paper.published import Published

_PROTOCOLS = ("one", "ten")
_BAR = 0.36
#: Share of the errors that a histogram shows, the rest is told in words; and its bars.
_SHOWN, _BINS = 0.98, 30


# --- figure 5 -------------------------------------------------------------------------------------
def _plot_paper_value(paper: Published, y: float, ax: Axes) -> None:
    """Mark a published number: a diamond, open where it is "about", or a bar for a range."""
    if paper.low is not None and paper.high is not None:
        ax.plot([paper.low, paper.high], [y, y], "|-", color=style.PAPER_COLOR, ms=5, lw=1)
    elif paper.value is not None:
        face = style.PAPER_COLOR if paper.exactness == "exact" else "white"
        ax.plot(paper.value, y, "D", ms=3.5, mfc=face, mec=style.PAPER_COLOR, mew=0.9)


def _plot_by_system(
    estimates: Mapping[str, pd.DataFrame],
    paper: Mapping[str, Mapping[str, Published]],
    ax: Axes,
    text: Callable[[float], str],
) -> None:
    """Draw a pale bar for one pattern and a full one for ten, a pair a system, with their values.

    ``estimates`` has a table for ``one`` and ``ten``, indexed by system: value, low and high.
    """
    systems = list(estimates["one"].index)
    for protocol, shift in zip(_PROTOCOLS, (-0.2, 0.2), strict=True):
        alpha = style.ONE_ALPHA if protocol == "one" else 1.0
        for i, (system, row) in enumerate(estimates[protocol].iterrows()):
            y = i + shift
            if np.isfinite(row["value"]):
                color = style.SYSTEM_COLORS[system]
                ax.barh(y, row["value"], _BAR, color=color, alpha=alpha)
                bounds = [row["low"], row["high"]]
                ax.plot(bounds, [y, y], color="0.45", lw=2, alpha=0.7, solid_capstyle="butt")
            if system in paper[protocol]:
                _plot_paper_value(paper[protocol][system], y, ax)
            label = text(row["value"]) if np.isfinite(row["value"]) else "none"
            place: style.Look = {"transform": ax.get_yaxis_transform(), "ha": "right"}
            ax.text(1.0, y, label, fontsize=6.5, va="center", **place)
    ax.set_yticks(range(len(systems)), systems)
    ax.set_ylim(len(systems) - 0.4, -0.6)


def _scale_lengths(axes: Sequence[Axes]) -> None:
    """Give the three lengths one scale, linear up to 0.1 angstrom and logarithmic above.

    Errors span two decades between cubic and monoclinic, and may be 0.
    """
    reach = max(ax.dataLim.x1 for ax in axes)
    for ax in axes:
        ax.set_xscale("symlog", linthresh=0.1, linscale=1.0)
        ax.set_xticks([0, 0.1, 1], ["0", "0.1", "1"])
        ax.set_xticks([*np.linspace(0.02, 0.08, 4), *np.linspace(0.2, 0.9, 8), 2, 3, 4], minor=True)
        # room for the column of values
        ax.set_xlim(0, 5 * max(reach, 1.0))


def _estimates(rates: pd.DataFrame, value: str) -> pd.DataFrame:
    """Take the rows of single systems, ``value`` renamed to what all panels call it."""
    own = rates[rates["system"] != "all"].set_index("system")
    return own.rename(columns={value: "value"})


def _figure_5_legend(fig: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    labels = [f"{count_label(t).lower()} (n = {len(t):,})" for t in tables.values()]
    black: style.Look = {"color": style.PAPER_COLOR}
    handles = [
        Patch(color="0.3", alpha=style.ONE_ALPHA, label=labels[0]),
        Patch(color="0.3", label=labels[1]),
        Line2D([], [], color="0.45", lw=2, alpha=0.7, label="95 % interval"),
        Line2D([], [], marker="D", ls="", ms=3.5, label="paper", **black),
        Line2D([], [], marker="D", ls="", ms=3.5, mfc="white", label="paper, about", **black),
        Line2D([], [], marker="|", ms=5, lw=1, label="paper, range", **black),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=6, columnspacing=1.2)


@style.styled
def figure_5(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> Figure:
    """Figure 5: space group accuracy and median lattice errors by predicted system.

    Four panels: space group, then a, b and c (linear up to 0.1 angstrom, logarithmic above); black
    marks are what the paper's text states.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 4.2)
    axes = fig.subplots(1, 4, sharey=True)
    tables = dict(zip(_PROTOCOLS, (predictions, aggregates), strict=True))
    grouped = {"groupings": ("predicted",)}
    rates = {k: evaluation.compute_space_group_accuracy(t, **grouped) for k, t in tables.items()}
    errors = {k: evaluation.compute_lattice_errors(t, **grouped) for k, t in tables.items()}
    estimates = {key: _estimates(table, "accuracy") for key, table in rates.items()}
    _plot_by_system(estimates, published.SPACE_GROUP_ACCURACY, axes[0], style.percent)
    axes[0].set(xlabel="Space group accuracy", ylabel="Predicted crystal system", xlim=(0, 1.45))
    axes[0].set_xticks(np.linspace(0, 1, 3))
    style.in_percent(axes[0].xaxis)
    for axis, ax in zip(AXES, axes[1:], strict=True):
        own = {key: table[table["axis"] == axis] for key, table in errors.items()}
        estimates = {key: _estimates(table, "median_error") for key, table in own.items()}
        paper = {
            key: {s: values[axis] for s, values in published.LATTICE_MEDIAN_ERROR[key].items()}
            for key in _PROTOCOLS
        }
        _plot_by_system(estimates, paper, ax, "{:.2f}".format)
        ax.set_xlabel(f"Median error of ${axis}$ (Å)")
    _scale_lengths(axes[1:])
    style.label_panels(axes)
    _figure_5_legend(fig, tables)
    return fig


# --- panels by predicted system -------------------------------------------------------------------
def _panels(table: pd.DataFrame, height: float) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Make a row a system and a column a lattice parameter, without those symmetry repeats."""
    systems = systems_of(table)
    fig = style.new_figure(style.TWO_COLUMNS * 0.8, height * len(systems) + 0.5)
    grid = fig.subplots(len(systems), 3)
    panels = {}
    for row, system in zip(grid, systems, strict=True):
        for axis, ax in zip(AXES, row, strict=True):
            if axis in INDEPENDENT_AXES[system]:
                panels[system, axis] = ax
            else:
                ax.set_axis_off()
    fig.suptitle(size_title(table), fontsize=9, fontweight="bold")
    return fig, panels


def _axis_name(system: str, axis: str) -> str:
    if system == "cubic":
        return "a = b = c"
    return "a = b" if axis == "a" and len(INDEPENDENT_AXES[system]) == 2 else axis


def _legend(fig: Figure, *further: Line2D) -> None:
    """Put the legend in the free corner beside cubic, which has one panel of three."""
    handles = [
        Patch(color=style.RIGHT_COLOR, label="right crystal system"),
        Patch(color=style.WRONG_COLOR, label="wrong crystal system"),
        *further,
    ]
    legend = fig.axes[1].legend(handles=handles, loc="center left", fontsize=8)
    legend.set_in_layout(False)


def _split(table: pd.DataFrame, system: str) -> tuple[pd.DataFrame, np.ndarray]:
    called = table[table["system"].to_numpy(dtype=object) == system]
    return called, evaluation.right_system(called)


def _plot_true_against_predicted(
    called: pd.DataFrame, right: np.ndarray, axis: str, ax: Axes
) -> None:
    """Draw predicted against true lengths: blue where the crystal system is right, orange below."""
    true = called[f"true_{axis}"].to_numpy(dtype=float)
    predicted = called[axis].to_numpy(dtype=float)
    known = np.isfinite(true) & np.isfinite(predicted)
    if not known.any():
        ax.set(xlim=(0, 10), ylim=(0, 10))
        style.mark_empty(ax)
    else:
        both = np.concatenate([true[known], predicted[known]])
        margin = 0.04 * np.ptp(both) + 0.1
        low, high = max(0.0, both.min() - margin), both.max() + margin
        # few points get large cells, so that they can be seen
        n_bins = int(np.clip(2 * np.sqrt(known.sum()), 14, 40))
        edges = np.linspace(low, high, n_bins + 1)
        for mask, color in ((~right, style.WRONG_COLOR), (right, style.RIGHT_COLOR)):
            counts = np.histogram2d(true[known & mask], predicted[known & mask], (edges, edges))[0]
            if counts.any():
                # two counts at least, so that a lone pattern is drawn in the palest colour
                norm = LogNorm(1, max(2, counts.max()))
                shown = np.ma.masked_equal(counts.T, 0)
                ax.pcolormesh(edges, edges, shown, cmap=style.color_map(color, 0.5), norm=norm)
        ax.set(xlim=(low, high), ylim=(low, high))
        ax.axline((0, 0), slope=1, color="0.3", lw=0.7, ls="--")
    ax.set_aspect("equal")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))


@style.styled
def figure_6(table: pd.DataFrame) -> Figure:
    """Figure 6 (aggregates) or S7 (predictions): predicted against true lengths.

    A row a predicted system, a panel an independent lattice parameter; the diagonal is a perfect
    prediction.
    """
    fig, panels = _panels(table, 1.55)
    for (system, axis), ax in panels.items():
        called, right = _split(table, system)
        _plot_true_against_predicted(called, right, axis, ax)
        name = _axis_name(system, axis)
        ax.set_xlabel(f"True ${name}$ (Å)", labelpad=1)
        ax.set_ylabel(f"Predicted ${axis}$ (Å)", labelpad=1)
        if axis == "a":
            ax.set_title(f"{system} (n = {len(called):,})", loc="left", fontweight="bold")
    diagonal = Line2D([], [], color="0.3", lw=0.7, ls="--", label="perfect prediction")
    _legend(fig, diagonal)
    note = f"Darker: more {unit_label(table)} (logarithmic)"
    text = fig.axes[1].text(0.04, 0.08, note, transform=fig.axes[1].transAxes, fontsize=8)
    text.set_in_layout(False)
    return fig


def _plot_error_histogram(called: pd.DataFrame, right: np.ndarray, axis: str, ax: Axes) -> None:
    """Draw absolute errors, wrong crystal systems stacked on right ones, and their median."""
    error = evaluation.compute_absolute_error(called, axis)
    known = np.isfinite(error)
    error, right = error[known], right[known]
    if not error.size:
        ax.set(xticks=[], yticks=[])
        style.mark_empty(ax)
        return
    top = max(1.1 * float(np.quantile(error, _SHOWN)), 1e-3)
    parts, colors = [error[right], error[~right]], [style.RIGHT_COLOR, style.WRONG_COLOR]
    ax.hist(parts, list(np.linspace(0, top, _BINS + 1)), stacked=True, color=colors)
    median, beyond = float(np.median(error)), int((error > top).sum())
    ax.axvline(median, ymax=0.77, color="0.2", lw=0.9, ls="--")
    lines = [f"median {median:.2f} Å"] + ([f"{beyond:,} beyond {top:.1f} Å"] if beyond else [])
    ax.text(0.97, 0.95, "\n".join(lines), transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set(xlim=(0, top), ylim=(0, 1.3 * ax.dataLim.y1))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))


@style.styled
def figure_s8(table: pd.DataFrame) -> Figure:
    """Figure S8 (predictions) or S9 (aggregates): histograms of absolute errors.

    A row a predicted system, a panel an independent lattice parameter.
    """
    fig, panels = _panels(table, 1.35)
    for (system, axis), ax in panels.items():
        called, right = _split(table, system)
        _plot_error_histogram(called, right, axis, ax)
        ax.set_xlabel(f"Absolute error of ${_axis_name(system, axis)}$ (Å)", labelpad=1)
        if axis == "a":
            ax.set_ylabel(unit_label(table).capitalize())
            ax.set_title(f"{system} (n = {len(called):,})", loc="left", fontweight="bold")
    _legend(fig, Line2D([], [], color="0.2", lw=0.9, ls="--", label="median"))
    return fig

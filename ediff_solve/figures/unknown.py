"""Notebook 8: what the predictor makes of an unknown crystal, its spots and probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from ediff_solve.lattice.nets import net_points
from ediff_solve.predictor.answering import Answer
from ediff_solve.predictor.evidence import Evidence
from ediff_solve.predictor.indexing import compute_expected, compute_indexing
from ediff_utils.figures import style
from ediff_utils.figures.spots import plot_pattern

#: Patterns in a row of a figure, and rows.
_ACROSS, _DOWN = 4, 2
#: Systems whose mean probability never reaches this are not drawn.
_WORTH_DRAWING = 0.03
_GREYS = {"sure": "0.25", "not sure": "0.6", "cannot tell": "0.88"}


def _index(evidence: Evidence, pattern: int) -> tuple[pd.DataFrame, np.ndarray, float]:
    """Spots of a pattern, (n, 2) spots that its lattice has, and how far out they are [1/A]."""
    spots = compute_indexing(evidence, pattern)
    reach = float(np.hypot(spots["qx"], spots["qy"]).max())
    return spots, compute_expected(evidence, pattern, q_max=1.1 * reach), reach


def _plot_indexed_pattern(
    spots: pd.DataFrame, expected: np.ndarray, ax: Axes, q_max: float
) -> None:
    """Draw a pattern with the lattice over it, and mark the spots that do not fit."""
    ax.scatter(
        expected[:, 0], expected[:, 1], s=4, color="0.75", linewidth=0, label="lattice", zorder=0
    )
    plot_pattern(spots["qx"], spots["qy"], spots["intensity"], ax, q_max=q_max, max_area=26)
    fits = spots[spots["indexed"]]
    strays = spots[~spots["indexed"]]
    look: style.Look = {"ms": 5.5, "mfc": "none", "mec": style.RIGHT_COLOR, "mew": 0.5}
    ax.plot(fits["qx"], fits["qy"], "o", label=f"fits ({len(fits)})", **look)
    look = {"ms": 5.0, "color": style.SYSTEM_COLORS["cubic"], "mew": 1.0}
    ax.plot(strays["qx"], strays["qy"], "x", label=f"does not fit ({len(strays)})", **look)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handletextpad=0.2)


def _plot_net(answer: Answer, evidence: Evidence, ax: Axes) -> None:
    """Draw a pattern of one zone with its net and Laue circle, and what is not of it."""
    net, one = evidence.net, evidence.patterns[0]
    if net is None or answer.net is None:
        return
    x, y, intensity = one.spots
    spots = pd.DataFrame(
        {"qx": x, "qy": y, "intensity": intensity, "indexed": net.in_zone},
    )
    reach = float(np.hypot(x, y).max())
    _plot_indexed_pattern(spots, net_points(net, 1.05 * reach), ax, 1.08 * reach)
    centre = answer.net.circle
    circle = Circle((centre[0], centre[1]), float(np.hypot(*centre)), fill=False, lw=0.8)
    circle.set(edgecolor=style.SYSTEM_COLORS["trigonal"], linestyle="--", clip_on=True)
    ax.add_patch(circle)
    (one_length, two_length), angle = answer.net.lengths, answer.net.angle
    ax.set_title(f"net {one_length:.4f}, {two_length:.4f} 1/Å, {angle:.1f}°\nthird axis: not seen")


def _plot_probabilities(probabilities: dict[str, float], ax: Axes) -> None:
    """Draw at most seven answers, likeliest first, as bars, the likeliest on top."""
    shown = dict(list(probabilities.items())[:7])
    if not shown:
        style.mark_empty(ax, "cannot tell")
        return
    colors = [style.SYSTEM_COLORS.get(name, style.RIGHT_COLOR) for name in shown]
    places = np.arange(len(shown))
    ax.barh(places, list(shown.values()), color=colors, height=0.7)
    for place, value in zip(places, shown.values(), strict=True):
        ax.text(value + 0.02, place, f"{value:.0%}", va="center", fontsize=6.5)
    ax.set(yticks=places, yticklabels=list(shown), xlim=(0, 1.15), xlabel="probability")
    ax.invert_yaxis()
    ax.set_xticks([0, 0.5, 1])


@style.styled
def figure_patterns(answer: Answer) -> Figure:
    """Draw the first patterns with the solved lattice over them."""
    numbers, indexed = [], []
    if answer.lattice is not None and answer.evidence is not None:
        numbers = answer.solved_from[: _ACROSS * _DOWN].tolist()
        indexed = [_index(answer.evidence, n) for n in range(len(numbers))]
    rows = max(1, -(-len(numbers) // _ACROSS))
    fig = style.new_figure(style.TWO_COLUMNS, 2.2 * rows + 0.2)
    axes = fig.subplots(rows, _ACROSS, squeeze=False).ravel()
    for ax in axes[len(numbers) :]:
        ax.set_axis_off()
    if not numbers:
        style.mark_empty(axes[0], "no lattice")
    # One scale for all, so that the outer panels' ticks serve the inner ones.
    q_max = 1.08 * max((reach for _, _, reach in indexed), default=1.0)
    for number, (spots, expected, _), ax in zip(numbers, indexed, axes, strict=False):
        _plot_indexed_pattern(spots, expected, ax, q_max)
        ax.get_legend().remove()
        ax.set_title(f"pattern {number + 1}: {spots['indexed'].mean():.0%} fit")
        ax.label_outer()
    if numbers:
        handles, labels = axes[0].get_legend_handles_labels()
        plain = [label.split(" (")[0] for label in labels]
        fig.legend(handles, plain, loc="outside lower center", ncols=4)
    return fig


@style.styled
def figure_growth(growth: pd.DataFrame) -> Figure:
    """Draw how probabilities and answers change with the number of patterns.

    See :func:`ediff_solve.predictor.draws.summarise_growth`.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 2.6)
    left, right = fig.subplots(1, 2, width_ratios=(1.5, 1))
    for name, color in style.SYSTEM_COLORS.items():
        mean = growth[f"p_{name}"]
        if mean.max() >= _WORTH_DRAWING:
            left.plot(growth["patterns"], mean, "o-", markersize=3, color=color, label=name)
    left.set(ylim=(-0.02, 1.02), xlabel="patterns together", ylabel="mean probability")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    below = np.zeros(len(growth))
    places = np.arange(len(growth))
    for name, color in _GREYS.items():
        right.bar(places, growth[name], bottom=below, color=color, label=name, width=0.8)
        below += growth[name].to_numpy()
    right.set(xticks=places, xticklabels=growth["patterns"], xlabel="patterns together")
    right.set(ylim=(0, 1), ylabel="share of draws")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)
    return fig


@style.styled
def plot_answer(answer: Answer, pattern: int = 0) -> Figure:
    """Draw what an answer says: a pattern with its lattice, systems, and space groups.

    Parameters
    ----------
    answer : Answer
    pattern : int
        Which of the patterns that the lattice was solved from.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.4)
    axes = fig.subplots(1, 3, width_ratios=(1.5, 1, 1))
    if answer.evidence is not None and answer.net is not None:
        _plot_net(answer, answer.evidence, axes[0])
    elif answer.evidence is None or answer.lattice is None:
        style.mark_empty(axes[0], "no lattice")
    else:
        spots, expected, reach = _index(answer.evidence, pattern)
        _plot_indexed_pattern(spots, expected, axes[0], 1.08 * reach)
        a, b, c = answer.lattice.parameters[:3]
        axes[0].set_title(f"{answer.lattice.symbol}  {a:.3f}, {b:.3f}, {c:.3f} Å")
    _plot_probabilities(answer.systems, axes[1])
    axes[1].set_title(f"crystal system: {answer.status}")
    groups = {f"{symbol} ({number})": p for number, symbol, p in answer.space_groups}
    _plot_probabilities(groups, axes[2])
    axes[2].set_title("space group")
    return fig

"""Figure 3: how votes of trees become predictions, and predictions an aggregate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ediff_utils.core.errors import UserError
from ediff_utils.figures import style
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.paper.evaluation import check_table, right_system, systems_of


@dataclass(frozen=True)
class VoteExample:
    """Up to three patterns of one material with their votes, and what their aggregate says.

    ``cases`` say what each pattern shows: ``"right and sure"``, ``"right but unsure"`` or
    ``"wrong"``. ``votes``, (n_patterns, n_systems), counts trees of ``n_trees``; ``weights``,
    (n_systems,), are the summed ones of the aggregate of ``aggregate_patterns``. ``note`` says what
    the material lacks of the paper's example, if anything.
    """

    material_id: str
    true_system: str
    patterns: tuple[int, ...]
    cases: tuple[str, ...]
    votes: pd.DataFrame
    n_trees: int
    weights: pd.Series
    aggregate_system: str
    aggregate_patterns: int
    note: str = ""


def _summarise(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> pd.DataFrame:
    """Tell for each material how many patterns are right and how their confidences spread."""
    table = predictions.assign(right=right_system(predictions))
    confidence = table["confidence"].where(table["right"])
    table = table.assign(right_confidence=confidence)
    summary = table.groupby("material_id", sort=True).agg(
        n=("right", "size"), n_right=("right", "sum"), low=("right_confidence", "min"),
        high=("right_confidence", "max"),
    )  # fmt: skip
    summary["wrong"] = summary["n"] - summary["n_right"]
    summary["spread"] = (summary["high"] - summary["low"]).fillna(0.0)
    right = aggregates.assign(right=right_system(aggregates)).set_index("material_id")["right"]
    summary = summary[summary.index.isin(right.index)]
    summary["aggregate_right"] = right.reindex(summary.index).to_numpy(dtype=bool)
    return summary


def _pick_material(summary: pd.DataFrame) -> tuple[str, str]:
    """Return the material that shows most of the three cases, and what it lacks."""
    complete = (summary["n_right"] >= 2) & (summary["wrong"] >= 1)
    steps = (
        (complete & summary["aggregate_right"], ""),
        (complete, "the aggregate is wrong"),
        (summary["n_right"] >= 2, "no pattern of this material is wrong"),
        ((summary["n_right"] == 1) & (summary["wrong"] >= 1), "only one right pattern"),
        (summary["n"] > 0, "no pattern of this material is both right and unsure"),
    )
    for mask, note in steps:
        if mask.any():
            chosen = summary[mask]
            return str(chosen["spread"].idxmax()), note
    raise UserError("predictions: expected a material in both predictions and aggregates")


def choose_figure_3_example(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> VoteExample:
    """Choose a test material whose patterns show the paper's three cases.

    Among the materials with two right patterns, a wrong one and a right aggregate, the one whose
    right patterns differ most in confidence. Its wrong pattern is that of median confidence, so
    that it is a typical one. Without such a material ``note`` says what is missing; no material in
    both tables is a UserError.
    """
    check_table(predictions)
    check_table(aggregates)
    material, note = _pick_material(_summarise(predictions, aggregates))
    own = predictions[predictions["material_id"] == material]
    own = own.sort_values(["confidence", "pattern"], ascending=[False, True])
    right = right_system(own)
    found, missed = own[right], own[~right]
    parts = [(found.iloc[:1], "right and sure"), (found.iloc[1:].iloc[-1:], "right but unsure")]
    middle = len(missed) // 2
    parts.append((missed.iloc[middle : middle + 1], "wrong"))
    chosen = pd.concat([part for part, _ in parts])
    cases = tuple(case for part, case in parts if len(part))
    systems = systems_of(predictions)
    votes = chosen[[f"votes_{s}" for s in systems]].set_axis(list(systems), axis=1)
    aggregate = aggregates[aggregates["material_id"] == material].iloc[0]
    return VoteExample(
        material_id=material,
        true_system=str(aggregate["true_system"]),
        patterns=tuple(int(p) for p in chosen["pattern"]),
        cases=cases,
        votes=votes.reset_index(drop=True),
        n_trees=int(chosen["n_trees"].iloc[0]),
        weights=pd.Series({s: float(aggregate[f"weight_{s}"]) for s in systems}),
        aggregate_system=str(aggregate["system"]),
        aggregate_patterns=int(aggregate["n_patterns"]),
        note=note,
    )


def _find_pattern(patterns: pd.DataFrame, material: str, number: int) -> pd.Series:
    """Take the row of a pattern from the patterns' table."""
    row = patterns[(patterns["material_id"] == material) & (patterns["pattern"] == number)]
    if row.empty:
        raise UserError(f"patterns: no pattern {number} of {material}")
    return row.iloc[0]


def _plot_bars(values: pd.Series, ax: Axes, true_system: str, label: str) -> None:
    """Draw a bar a crystal system, in its colour, and outline that of the true system."""
    heights = values.to_numpy(dtype=float)
    bars = ax.bar(range(len(values)), heights, color=[style.SYSTEM_COLORS[s] for s in values.index])
    for bar, system, height in zip(bars, values.index, heights, strict=True):
        if system == true_system:
            bar.set(edgecolor="black", linewidth=1.4)
        if height > 0:
            text = f"{height:.0f}" if float(height).is_integer() else f"{height:.2f}"
            middle = bar.get_x() + bar.get_width() / 2
            look: style.Look = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5}
            ax.annotate(text, (middle, height), (0, 2), **look)
    ax.set_xticks(range(len(values)), [style.SHORT[s] for s in values.index])
    for tick, system in zip(ax.get_xticklabels(), values.index, strict=True):
        tick.set_fontweight("bold" if system == true_system else "normal")
    ax.set_ylim(0, 1.18 * max(heights.max(initial=0.0), 1e-3))
    ax.set_ylabel(label)


@style.styled
def figure_3(example: VoteExample, patterns: pd.DataFrame, *, name: str | None = None) -> Figure:
    """Figure 3: patterns of one material above the votes on each, and their aggregate below.

    ``patterns`` has ``material_id``, ``pattern``, ``qx``, ``qy`` [1/angstrom] and ``intensity``,
    among them the example's, of one thickness; without one of these: a UserError. ``name`` is what
    the title calls the material, as a rule its formula.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 6.6)
    n = len(example.patterns)
    grid = fig.add_gridspec(3, n, height_ratios=(1.35, 1, 1))
    for i, (number, case) in enumerate(zip(example.patterns, example.cases, strict=True)):
        ax = fig.add_subplot(grid[0, i])
        spots = _find_pattern(patterns, example.material_id, number)
        plot_pattern(spots["qx"], spots["qy"], spots["intensity"], ax, max_area=30)
        ax.spines[:].set_visible(True)
        votes = example.votes.iloc[i]
        first, second = np.sort(votes.to_numpy())[::-1][:2]
        weight = (first - second) / example.n_trees
        ax.set_title(f"{case}: {votes.idxmax()}")
        style.label_panel(ax, "abc"[i], -0.1)
        ax = fig.add_subplot(grid[1, i])
        _plot_bars(votes, ax, example.true_system, f"Trees of {example.n_trees}")
        ax.set_ylim(0, 1.18 * example.votes.to_numpy().max())
        ax.set_title(f"weight ({first} − {second})/{example.n_trees} = {weight:.4f}")
        style.label_panel(ax, "def"[i], -0.1)
    ax = fig.add_subplot(grid[2, :])
    _plot_bars(example.weights, ax, example.true_system, "Summed weights")
    ax.set_xticks(range(len(example.weights)), list(example.weights.index))
    ax.set_title(f"aggregate of {example.aggregate_patterns} patterns: {example.aggregate_system}")
    style.label_panel(ax, "g", -0.1)
    note = f"; {example.note}" if example.note else ""
    title = f"{name or example.material_id}, {example.true_system} (bold, outlined){note}"
    fig.suptitle(title, fontsize=9)
    return fig

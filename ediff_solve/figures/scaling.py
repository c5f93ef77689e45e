"""Beyond the paper's figures: how the time of one pattern grows with beams and cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import ROOT
from ediff_utils.figures.style import (
    TWO_COLUMNS,
    Look,
    label_panels,
    mark_empty,
    new_figure,
    styled,
)

#: Whether a crystal has an inversion centre: label, colour (Okabe and Ito) and marker.
_KINDS = {
    True: ("with inversion centre", "#0072B2", "o"),
    False: ("without", "#E69F00", "^"),
}
#: Beams from which a power law is fitted; with fewer, what every pattern costs anyway shows.
FIT_FROM = 200
_AXES = {"beams": "beams", "volume": "volume of the primitive cell (Å³)"}


def read_scaling(path: Path = ROOT / "benchmarks" / "results.json") -> pd.DataFrame:
    """Read the times of one pattern that ``make bench`` recorded, by number of beams.

    A row a crystal: ``material_id``, ``beams``, ``volume`` [cubic angstrom], ``centrosymmetric``,
    ``seconds`` and ``milliseconds``; none where nothing has been timed. A file that benchmarks do
    not write is a UserError.
    """
    try:
        records = json.loads(path.read_text()).get("scaling", []) if path.exists() else []
        columns = ["material_id", "beams", "volume", "centrosymmetric", "seconds"]
        table = pd.DataFrame(list(records), columns=columns)
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{path}: not the results of benchmarks; run make bench again") from None
    return table.assign(milliseconds=1e3 * table["seconds"]).sort_values("beams")


def compute_power_law(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Factor and exponent of y = factor x^exponent: least squares in logarithms, y and x (n,)."""
    exponent, logarithm = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(logarithm)), float(exponent)


def _plot_time(table: pd.DataFrame, column: str, ax: Axes, *, fit: bool) -> None:
    """Draw times of one pattern against beams or volume, with power laws if wanted."""
    for kind, (label, color, marker) in _KINDS.items():
        rows = table[table["centrosymmetric"] == kind]
        if not len(rows):
            continue
        x, y = rows[column].to_numpy(float), rows["milliseconds"].to_numpy(float)
        many = rows["beams"].to_numpy() >= FIT_FROM
        if fit and len(np.unique(x[many])) > 1:
            factor, exponent = compute_power_law(x[many], y[many])
            ends = np.array([x[many].min(), x[many].max()])
            ax.plot(ends, factor * ends**exponent, color=color)
            label = f"{label}: $t \\propto n^{{{exponent:.2f}}}$"
        look: Look = {"markersize": 3.5, "markerfacecolor": "none", "linestyle": "none"}
        ax.plot(x, y, marker, color=color, label=label, **look)
    ax.set(xscale="log", yscale="log", xlabel=_AXES[column], ylabel="time of one pattern (ms)")
    if len(table):
        title = f"power laws from {FIT_FROM} beams" if fit else None
        ax.legend(loc="upper left", title=title, alignment="left")
    else:
        mark_empty(ax)


@styled
def figure_scaling(table: pd.DataFrame) -> Figure:
    """Time of one pattern against the number of beams and the cell; see :func:`read_scaling`."""
    fig = new_figure(TWO_COLUMNS, 2.7)
    axes = fig.subplots(1, 2, sharey=True)
    for column, ax in zip(_AXES, axes, strict=True):
        _plot_time(table, column, ax, fit=column == "beams")
    label_panels(axes)
    axes[1].set_ylabel("")
    return fig

"""Beyond the paper's figures: what the accuracy on the grid is made of."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ediff_solve.forests.ablation import CHANGES
from ediff_utils.figures import style
from ediff_utils.paper.published import CRYSTAL_SYSTEM_ACCURACY

#: One pattern and ten: colour and marker, so that neither alone has to tell them apart.
_KINDS = {"one": ("#0072B2", "o"), "ten": ("#D55E00", "s")}


def plot_ablation(table: pd.DataFrame, ax: Axes, n_patterns: int = 10) -> None:
    """Draw the accuracies of :func:`ediff_solve.forests.ablation.compute_ablation`, a row a change.

    Points with 95 % intervals; dashed lines are the paper's.
    """
    changes = [change for change in CHANGES if change in set(table["change"])]
    for kind, (color, marker) in _KINDS.items():
        own = table[table["patterns"] == kind].set_index("change").loc[changes]
        value = own["accuracy"]
        label = "one pattern" if kind == "one" else f"{n_patterns} patterns"
        spread = [value - own["low"], own["high"] - value]
        places = range(len(changes))
        ax.errorbar(value, places, xerr=spread, fmt=marker, ms=4, color=color, label=label)
        paper = CRYSTAL_SYSTEM_ACCURACY[kind].value
        ax.axvline(float(paper or 0), color=color, ls="--", lw=0.8, zorder=0)
    ax.set_yticks(range(len(changes)), [textwrap.fill(CHANGES[change], 38) for change in changes])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("Crystal system right (dashed: the paper)")
    ax.grid(axis="y", lw=0.3, color="#D0D0D0")
    ax.set_axisbelow(True)
    ax.legend(loc="upper left", frameon=False)


@style.styled
def figure_ablation(table: pd.DataFrame, n_patterns: int = 10) -> Figure:
    """The table of changes as one figure."""
    fig = style.new_figure(style.TWO_COLUMNS, 4.6)
    plot_ablation(table, fig.subplots(), n_patterns)
    return fig

"""Figures drawn again from a run's stored tables; no forest is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.figures import classification, lattice
from ediff_utils.figures.style import save_figure
from ediff_utils.paper import predictions

#: By number, from the answers to single patterns and to several.
FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Figure]] = {
    "4": classification.figure_4,
    "5": lattice.figure_5,
    "6": lambda _one, ten: lattice.figure_6(ten),
    "S5": classification.figure_s5,
    "S6": classification.figure_s6,
    "S7": lambda one, _ten: lattice.figure_6(one),
    "S8": lambda one, _ten: lattice.figure_s8(one),
    "S9": lambda _one, ten: lattice.figure_s8(ten),
}
ALL = "all"


def draw_again(run: Run, number: str, output: Path | None = None) -> list[Path]:
    """Draw one of :data:`FIGURES`, or ``all``, and say where; by default where the run has its own.

    A UserError for another number, or where the run has not got so far.
    """
    known = {name.lower(): name for name in FIGURES}
    wanted = list(FIGURES) if number == ALL else [known.get(number.lower().removeprefix("figure "))]
    if None in wanted:
        raise UserError(f"figure {number}: expected one of {', '.join(FIGURES)} or {ALL}")
    if output and len(wanted) > 1:
        raise UserError("--output: goes with one figure")
    one = predictions.read_table(run.predictions, "notebook 04")
    ten = predictions.read_table(run.aggregates, "notebook 04")
    return [
        save_figure(FIGURES[name](one, ten), output or run.figures / f"figure_{name}.png")
        for name in wanted
        if name
    ]

"""Colours, sizes and saving, the same for every figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ediff_utils.core.paths import atomic_write

P = ParamSpec("P")
T = TypeVar("T")

#: Okabe and Ito's colours, which people with colour-vision deficiencies can tell apart.
SYSTEM_COLORS = {
    "cubic": "#D55E00",
    "hexagonal": "#E69F00",
    "trigonal": "#CC79A7",
    "tetragonal": "#009E73",
    "orthorhombic": "#0072B2",
    "monoclinic": "#56B4E9",
    "triclinic": "#000000",
}
RIGHT_COLOR = "#0072B2"
WRONG_COLOR = "#E69F00"
PAPER_COLOR = "#000000"
#: One pattern is drawn pale, ten full.
ONE_ALPHA = 0.4
SHORT = {
    "cubic": "cub",
    "hexagonal": "hex",
    "trigonal": "trig",
    "tetragonal": "tet",
    "orthorhombic": "orth",
    "monoclinic": "mono",
    "triclinic": "tric",
}
#: Widths of one and two columns of a journal [inch].
COLUMN, TWO_COLUMNS = 3.4, 7.1
DPI = 200
_RC = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.0,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
}


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Draw what ``function`` draws with this project's sizes, whatever the user has set."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_RC)
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of that size [inch], without pyplot's bookkeeping."""
    return Figure(figsize=(width, height), layout="constrained")


def color_map(color: str, palest: float = 0.25) -> LinearSegmentedColormap:
    """Make a colour map from a tint of ``color``, ``palest`` of it, to a dark shade of it."""
    full = np.array(mpl.colors.to_rgb(color))
    ends = [1 - palest * (1 - full), full, 0.45 * full]
    return LinearSegmentedColormap.from_list(f"shades of {color}", ends)


def label_panel(ax: Axes, letter: str, x: float = 0.0) -> None:
    """Write a bold panel letter above the upper left corner of ``ax``."""
    offset = mpl.transforms.ScaledTranslation(x, 4 / 72, ax.figure.dpi_scale_trans)
    transform = ax.transAxes + offset
    ax.text(0, 1, letter, transform=transform, fontweight="bold", ha="right", va="bottom")


def mark_empty(ax: Axes, text: str = "none") -> None:
    """Say in an empty panel that there is nothing to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.5")


def percent(value: float, digits: int = 0) -> str:
    """Write a fraction as percent."""
    return f"{100 * value:.{digits}f} %"


@styled
def save_figure(fig: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and close it.

    The file holds no date and no version, so that the same figure gives the same bytes.

    Parameters
    ----------
    fig : Figure
    path : Path
        Ends in ``.png``.

    Returns
    -------
    Path
        ``path``.
    """
    path = Path(path)
    with atomic_write(path) as partial:
        fig.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(fig)
    return path

"""Colours, sizes, letters and saving, the same for every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter

from ediff_utils.core.paths import atomic_write

P = ParamSpec("P")
T = TypeVar("T")
#: Keywords that are handed on to Matplotlib.
Look = dict[str, Any]

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
_SHORT_NAMES = ("cub", "hex", "trig", "tet", "orth", "mono", "tric")
SHORT = dict(zip(SYSTEM_COLORS, _SHORT_NAMES, strict=True))
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
            mpl.rcParams.update(_RC)  # type: ignore[arg-type]  # the stub wants literal keys
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


def label_panels(axes: Iterable[Axes], x: float = 0.0) -> None:
    """Write the letters a, b, c ... above panels, ``x`` to the right of their corners [inch]."""
    for letter, ax in zip("abcdefgh", axes, strict=False):
        label_panel(ax, letter, x)


def mark_empty(ax: Axes, text: str = "none") -> None:
    """Say in an empty panel that there is nothing to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.5")


def percent(value: float, digits: int = 0) -> str:
    """Write a fraction as percent."""
    return f"{100 * value:.{digits}f} %"


def in_percent(*axes: Axis) -> None:
    """Write the fractions along these axes in whole percent."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def frame_square(ax: Axes, points: np.ndarray, half: float) -> None:
    """Centre a square without axes on ``points``, (n, 2), of ``half`` times their width each way.

    So titles and letters stand alike over all shapes.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle, reach = (low + high) / 2, half * (high - low).max()
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    ax.set_aspect("equal", anchor="N")
    ax.axis("off")


def plot_cells(
    values: np.ndarray,
    ax: Axes,
    text: Callable[[float], str],
    *,
    cmap: str | Colormap,
    vmax: float = 1.0,
    dark: float = 0.5,
    aspect: Literal["equal", "auto"] = "equal",
    fontsize: float | None = 7,
) -> AxesImage:
    """Draw a matrix, (n, k), in colours from 0 to ``vmax``, with each value written in its cell.

    Cells of ``nan`` stay empty; ``text`` writes a value, white above the fraction ``dark`` of
    ``vmax``.
    """
    image = ax.imshow(values, cmap=cmap, vmin=0, vmax=vmax, aspect=aspect)
    for i, j in np.argwhere(np.isfinite(values)):
        color = "white" if values[i, j] > dark * vmax else "black"
        place: Look = {"ha": "center", "va": "center", "fontsize": fontsize}
        ax.text(j, i, text(values[i, j]), color=color, **place)
    return image


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

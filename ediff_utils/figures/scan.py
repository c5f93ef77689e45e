"""Figures 7, S4 and S10: what the forests make of a scan of gold nanoparticles.

Maps are drawn with x (rows) downwards and y to the right, patterns with qx and qy the same way.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke

from ediff_utils.figures import style
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.paper.scan.bragg import BraggLists
from ediff_utils.paper.scan.summary import compute_examples, compute_system_shares

#: Pixels without a prediction: dark, yet not the black of a low intensity.
_MASKED = "#404040"
#: Brightness of a pixel of no confidence, so that its hue can still be told.
_DIMMEST = 0.55
#: Quantiles of a lattice parameter between which it is drawn.
_SHOWN = (0.02, 0.98)
#: Fewest and most bars of its histogram.
_BINS = (30, 80)
_HISTOGRAM, _TRUE = "#56B4E9", "#D55E00"


def _image(maps: pd.DataFrame, column: str) -> np.ndarray:
    """Column of a table of positions as an array, x along its first axis."""
    return maps[column].to_numpy().reshape(maps["x"].max() + 1, maps["y"].max() + 1)


def _bare(ax: Axes, title: str) -> None:
    """Leave nothing of the axes but a title."""
    ax.set_title(title, loc="left")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def plot_map(
    image: np.ndarray, ax: Axes, title: str, step: float | None = None, **look: Any
) -> AxesImage:
    """Draw a value or a colour of each position, (nx, ny) or (nx, ny, 3), with a scale bar.

    Without ``step``, the distance of probe positions [angstrom], there is no bar; ``look`` goes to
    ``Axes.imshow``.
    """
    drawn = ax.imshow(image, **look)
    if step is not None:
        _plot_scale_bar(ax, image.shape[1], step)
    _bare(ax, title)
    return drawn


def _plot_scale_bar(ax: Axes, n_pixels: int, step: float) -> None:
    """Draw a bar of a round length, about a quarter of a picture of so many pixels."""
    wanted = n_pixels * step / 10 / 4
    decade = 10.0 ** np.floor(np.log10(wanted))
    length = max(decade * k for k in (1, 2, 5) if decade * k <= wanted)
    width, height = length * 10 / step / n_pixels, 0.02
    # outlined, as a bright particle may lie beneath
    outline = [Stroke(linewidth=2, foreground="black"), Normal()]
    bar = Rectangle((0.05, 0.05), width, height, color="white", transform=ax.transAxes)
    bar.set(linewidth=0, path_effects=outline)
    ax.add_patch(bar)
    look: style.Look = {"transform": ax.transAxes, "color": "white", "path_effects": outline}
    middle = (0.05 + width / 2, 0.05 + 1.5 * height)
    ax.text(*middle, f"{length:g} nm", ha="center", va="bottom", **look)


def _plot_dark_field(maps: pd.DataFrame, ax: Axes, step: float) -> None:
    """Draw the summed intensity of the spots of each position."""
    image = _image(maps, "dark_field")
    # one overexposed pixel must not turn the rest black
    brightest = np.quantile(image[image > 0], 0.995)
    plot_map(image, ax, "Virtual dark field", step, cmap="gray", vmin=0, vmax=brightest)


def _plot_system_map(maps: pd.DataFrame, ax: Axes) -> None:
    """Draw the crystal system of each position, the brighter the more confident."""
    systems = _image(maps, "system")
    confidence = np.where(pd.isna(systems), np.nan, _image(maps, "confidence").astype(float))
    best = np.nanmax(confidence) if np.isfinite(confidence).any() else 1.0
    brightness = _DIMMEST + (1 - _DIMMEST) * confidence / (best or 1.0)
    image = np.full((*systems.shape, 3), to_rgb(_MASKED))
    shares = compute_system_shares(maps)
    for name in shares["system"]:
        own = systems == name
        image[own] = np.array(to_rgb(style.SYSTEM_COLORS[name])) * brightness[own][:, None]
    plot_map(image, ax, "Crystal system")
    handles = [Patch(color=style.SYSTEM_COLORS[name], label=name) for name in shares["system"]]
    handles.append(Patch(color=_MASKED, label="none"))
    # on two columns below the map, where it hides no particle
    place: style.Look = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 2}
    title = f"brightness: confidence 0 to {best:.2f}"
    ax.legend(handles=handles, title=title, title_fontsize=7, **place)


def _plot_system_shares(maps: pd.DataFrame, ax: Axes) -> None:
    """Draw the share of each system: bars weighted by confidence, raw pixel counts as outlines."""
    shares = compute_system_shares(maps)
    place = np.arange(len(shares))
    colours = [style.SYSTEM_COLORS[name] for name in shares["system"]]
    ax.bar(place, 100 * shares["weighted_share"], 0.7, color=colours)
    ax.bar(place, 100 * shares["share"], 0.7, fill=False, edgecolor="black", linewidth=1)
    for at, row in zip(place, shares.itertuples(), strict=True):
        top = 100 * max(row.share, row.weighted_share)
        ax.annotate(f"{row.pixels}", (at, top), (0, 2), textcoords="offset points", ha="center")
    ax.set_xticks(place, shares["system"], rotation=30, ha="right")
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel("share of the called pixels (%)")
    # room for the legend
    ax.set_ylim(0, 135 * max([*shares["share"], *shares["weighted_share"], 0.1]))
    ax.set_title("Predictions, number: pixels", loc="left")
    weighted = Patch(facecolor="0.7", label="weighted by confidence")
    counted = Patch(facecolor="none", edgecolor="black", label="pixel count")
    ax.legend(handles=[weighted, counted])


def _plot_example(example: pd.Series, lists: BraggLists, ax: Axes) -> None:
    """Draw the pattern of one position, framed in the colour of its system."""
    position = np.flatnonzero((lists.x == example["x"]) & (lists.y == example["y"]))[0]
    plot_pattern(*lists.spots(position), ax, max_area=35, as_image=True)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(style.SYSTEM_COLORS[example["system"]])
    ax.spines[:].set_linewidth(2)
    ax.set_title(f"{example['system']}, confidence {example['confidence']:.2f}", loc="left")


def _lattice_norm(values: np.ndarray) -> Normalize:
    """Colours from the second to the 98th percentile, rounded to 0.1 angstrom."""
    if not np.isfinite(values).any():
        return Normalize(0, 1)
    low, high = np.nanquantile(values, _SHOWN)
    return Normalize(np.floor(10 * low) / 10, max(np.ceil(10 * high), np.floor(10 * low) + 1) / 10)


def _plot_lattice_map(maps: pd.DataFrame, ax: Axes, column: str = "a_cubic") -> None:
    """Draw a lattice parameter of each position, with its colour bar."""
    image, name = _image(maps, column).astype(float), column.removesuffix("_cubic")
    norm = _lattice_norm(image)
    colours = mpl.colormaps["viridis"].with_extremes(bad=_MASKED)
    title = f"Lattice parameter {name}"
    plot_map(np.ma.masked_invalid(image), ax, title, cmap=colours, norm=norm)
    mappable = ScalarMappable(norm, colours)
    ax.figure.colorbar(mappable, ax=ax, label=f"{name} (Å)", extend="both")


def _plot_lattice_histogram(
    maps: pd.DataFrame, ax: Axes, true_value: float | None, column: str = "a_cubic"
) -> None:
    """Draw how a lattice parameter is spread, with its median and the true value."""
    values = maps[column].dropna().to_numpy(dtype=float)
    ax.set(xlabel=f"predicted {column.removesuffix('_cubic')} (Å)", ylabel="pixels")
    if len(values) == 0:
        style.mark_empty(ax, "no pixel with a prediction")
        return
    # a few cells gone wrong must not press all others into one bar
    low, high = np.quantile(values, _SHOWN)
    if true_value is not None:
        low, high = min(low, true_value), max(high, true_value)
    low, high = np.floor(20 * low) / 20, np.ceil(20 * high) / 20 + 0.05
    n_bins = int(np.clip(round((high - low) / 0.05), _BINS[0], _BINS[1]))
    ax.hist(values, bins=n_bins, range=(low, high), color=_HISTOGRAM)
    beyond = np.mean((values < low) | (values > high))
    median = float(np.median(values))
    ax.axvline(median, color="black", label=f"median {median:.3f} Å")
    if true_value is not None:
        ax.axvline(true_value, color=_TRUE, linestyle="--", label=f"true {true_value:.3f} Å")
    # a ground of its own: no place is free of lines for every sample
    title = f"{100 * beyond:.1f} % beyond the axis" if beyond > 0 else None
    ax.legend(title=title, title_fontsize=7, frameon=True, framealpha=0.9, edgecolor="none")


@style.styled
def figure_7(
    maps: pd.DataFrame,
    lists: BraggLists,
    *,
    step: float,
    true_a: float | None = None,
    lattice_by: str = "the cubic forests",
) -> Figure:
    """Figure 7: what the forests make of a scan, or the predictor.

    ``maps`` are of :func:`ediff_utils.paper.scan.maps.build_maps`, their ``a_cubic`` by what
    ``lattice_by`` names; ``lists``, the scan itself, has the example patterns. ``step`` is the
    distance of probe positions, ``true_a`` the sample's lattice parameter, where known [angstrom].
    """
    figure = style.new_figure(style.TWO_COLUMNS, 7.4)
    # rows of their own, or the colour bar of the last would push the maps of the first apart
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=[1.15, 1, 1])[:, 0]
    maps_row, pattern_row = top.subplots(1, 3), middle.subplots(1, 3)
    lattice_row = bottom.subplots(1, 2, width_ratios=[1, 1.5])
    _plot_dark_field(maps, maps_row[0], step)
    _plot_system_map(maps, maps_row[1])
    _plot_system_shares(maps, maps_row[2])
    examples = compute_examples(maps)
    for number, ax in enumerate(pattern_row):
        if number < len(examples):
            _plot_example(examples.iloc[number], lists, ax)
        else:
            _bare(ax, "")
            style.mark_empty(ax, "no further system")
    _plot_lattice_map(maps, lattice_row[0])
    _plot_lattice_histogram(maps, lattice_row[1], true_a)
    lattice_row[1].set_title(f"by {lattice_by}", loc="left")
    style.label_panels([*maps_row, *pattern_row, *lattice_row], -0.06)
    return figure


def _plot_pca(components: pd.DataFrame, ax: Axes) -> None:
    """Draw the scan's patterns, partly transparent, and simulated ones over them."""
    # so faint that many patterns on one place can be told from few
    faint = float(np.clip(300 / max((components["source"] == "scan").sum(), 1), 0.03, 0.5))
    styles: dict[str, style.Look] = {
        "scan": {"color": style.RIGHT_COLOR, "alpha": faint, "s": 7, "label": "scan"},
        "simulated": {"color": style.WRONG_COLOR, "s": 7, "label": "simulated Au"},
    }
    for source, look in styles.items():
        own = components[components["source"] == source]
        ax.scatter(own["pc1"], own["pc2"], linewidths=0, **look)
    ax.set(xlabel="principal component 1", ylabel="principal component 2")
    for handle in filter(None, ax.legend().legend_handles):
        handle.set_alpha(1)


@style.styled
def figure_s4(components: pd.DataFrame) -> Figure:
    """Figure S4: principal components of a scan against simulated gold.

    See :func:`ediff_utils.paper.scan.summary.compute_pca`.
    """
    figure = style.new_figure(3.8, 3.4)
    _plot_pca(components, figure.add_subplot())
    return figure


@style.styled
def figure_s10(maps: pd.DataFrame, *, true_a: float | None = None) -> Figure:
    """Figure S10: a and c by the forests of the predicted system; see :func:`figure_7`."""
    figure = style.new_figure(style.TWO_COLUMNS, 5.6)
    axes = figure.subplots(2, 2)
    for (picture, spread), column in zip(axes, ("a", "c"), strict=True):
        _plot_lattice_map(maps, picture, column)
        _plot_lattice_histogram(maps, spread, true_a, column)
        spread.set_title("by the forests of the predicted system", loc="left")
    style.label_panels(axes.flat, -0.06)
    return figure

"""Notebook 6: the steps from raw frames to maps of a scan, and the maps against the truth.

Scans and frames are drawn with the first axis (x, qx) downwards, the second (y, qy) to the right;
``step`` is the distance of probe positions [angstrom].
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from ediff_solve.frames.calibrate import Calibration
from ediff_solve.frames.rings import Ring
from ediff_solve.frames.stream import Detected, Looks
from ediff_solve.gold_scan.scores import FALSE_ALARMS, STAGES
from ediff_utils.figures import style
from ediff_utils.figures.scan import plot_map
from ediff_utils.paper.scan.bragg import BraggLists

#: Pixels of a Bragg vector map along each axis, and bins of the spots' radii.
_MAP, _BINS = 200, 250
_LOOK: style.Look = {"cmap": "cividis", "interpolation": "nearest"}
_LIGHT_BLUE, _BLUE, _RED = (style.SYSTEM_COLORS[s] for s in ("monoclinic", "orthorhombic", "cubic"))
_KIND_COLORS = {"single": _LIGHT_BLUE, "twinned": _BLUE, "overlapping": _RED}


def _plot_frame(
    frame: np.ndarray,
    ax: Axes,
    title: str,
    centre: tuple[float, float] | None = None,
    hot: np.ndarray | None = None,
) -> None:
    """Draw counts on a logarithmic scale, a cross at the direct beam and circles at hot pixels."""
    # a pixel without counts is drawn as one with half a count
    shown = np.maximum(frame.astype(float), 0.5)
    norm = LogNorm(0.5, max(shown.max(), 1.0))
    drawn = ax.imshow(shown, cmap="magma", norm=norm, interpolation="nearest")
    if centre is not None:
        ax.plot(centre[1], centre[0], "+", color=_LIGHT_BLUE, markersize=7)
    for row, column in [] if hot is None else hot:
        look = {"fill": False, "linewidth": 0.7, "edgecolor": _LIGHT_BLUE}
        ax.add_patch(Circle((column, row), 0.02 * len(frame), **look))
    rows, columns = frame.shape
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.set_title(title, loc="left")
    ax.set(xlabel="detector column (pixels)", ylabel="detector row (pixels)")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="counts a pixel")


@style.styled
def figure_frames(looks: Looks, frame: np.ndarray) -> Figure:
    """What frames look like: the mean, the hot pixels found, and one, (height, width), as read."""
    figure = style.new_figure(style.TWO_COLUMNS, 3.1)
    first, second = figure.subplots(1, 2)
    _plot_frame(looks.mean, first, "Mean, hot pixels replaced; direct beam", centre=looks.beam)
    hot = np.argwhere(looks.hot)
    _plot_frame(frame, second, f"A frame as read, its {len(hot)} hot pixels ringed", hot=hot)
    style.label_panels((first, second), -0.06)
    return figure


@style.styled
def figure_origins(detected: Detected, calibration: Calibration, step: float) -> Figure:
    """Where the direct beam is at each position, as found and as the fitted surface has it."""
    figure = style.new_figure(style.TWO_COLUMNS, 4.6)
    axes = figure.subplots(2, 2)
    for k, (name, row) in enumerate(zip(("row", "column"), axes, strict=True)):
        fitted = calibration.origins[..., k]
        spread = max(np.ptp(fitted), 0.1)
        low, high = fitted.min() - 0.1 * spread, fitted.max() + 0.1 * spread
        look = _LOOK | {"vmin": low, "vmax": high}
        pictures = {"found": detected.origins[..., k], "fitted": fitted}
        for ax, (what, image) in zip(row, pictures.items(), strict=True):
            drawn = plot_map(image, ax, f"Direct beam's {name}, {what}", step, **look)
        figure.colorbar(drawn, ax=list(row), shrink=0.8, label=f"{name} (pixels)", extend="both")
    style.label_panels(axes.flat, -0.06)
    return figure


def _plot_bragg_vectors(
    detected: Detected, calibration: Calibration, ax: Axes, ring: Ring | None
) -> None:
    """Draw all spots of a scan about their direct beams, and the ring's ellipse."""
    centre = calibration.origins.reshape(-1, 2)[detected.position]
    row, column = detected.x - centre[:, 0], detected.y - centre[:, 1]
    far = np.quantile(np.abs(np.concatenate([row, column])), 0.99)
    edges = np.linspace(-far, far, _MAP + 1)
    counts, _, _ = np.histogram2d(row, column, bins=[edges, edges])
    # a single spot is seen, and the direct beam of every position leaves something for the others
    brightest = np.quantile(counts[counts > 0], 0.99) if counts.any() else 1
    norm = LogNorm(0.1, max(brightest, 2), clip=True)
    look: style.Look = {"extent": (-far, far, far, -far), "interpolation": "nearest"}
    ax.imshow(np.maximum(counts, 0.1), norm=norm, cmap="magma", **look)
    if ring is not None:
        major, minor = (2 * ring.radius * (1 + s * ring.ellipticity / 2) for s in (1, -1))
        # the axis is from rows to columns: downwards is 0, to the right 90 degrees
        look = {"fill": False, "linestyle": "--", "edgecolor": _LIGHT_BLUE}
        ax.add_patch(Ellipse((0, 0), major, minor, angle=90 - ring.axis, **look))
    place = "from the direct beam (pixels)"
    ax.set(xlabel=f"column {place}", ylabel=f"row {place}")
    ax.set_title("All spots of the scan", loc="left")


def _plot_spot_radii(lists: BraggLists, ax: Axes, ring_radius: float | None) -> None:
    """Draw how far spots are from the direct beam, after calibration, and the known ring."""
    q = np.hypot(lists.qx, lists.qy)
    far = np.quantile(q, 0.99)
    counts = np.asarray(ax.hist(q, bins=_BINS, range=(0, far), color=style.RIGHT_COLOR)[0])
    # room for what is written
    ax.set_ylim(0, 1.4 * max(counts.max(), 1))
    if ring_radius is not None:
        label = f"known ring, {ring_radius:.4f} 1/Å"
        ax.axvline(ring_radius, color=style.WRONG_COLOR, linestyle="--", label=label)
        ax.legend(loc="upper right")
    ax.set(xlim=(0, far), xlabel="|q| of a spot (1/Å)", ylabel="spots")
    ax.set_title("Calibrated spots", loc="left")


@style.styled
def figure_calibration(
    detected: Detected,
    calibration: Calibration,
    lists: BraggLists,
    ring: Ring | None,
    ring_radius: float | None = None,
) -> Figure:
    """Ellipse and pixel size, by a ring of known radius [1/angstrom] where there is one."""
    figure = style.new_figure(style.TWO_COLUMNS, 3.2)
    first, second = figure.subplots(1, 2, width_ratios=[1, 1.3])
    _plot_bragg_vectors(detected, calibration, first, ring)
    _plot_spot_radii(lists, second, ring_radius)
    pixel, ellipticity = calibration.pixel_size, style.percent(calibration.ellipticity, 1)
    text = f"pixel {pixel:.5f} 1/Å\nellipticity {ellipticity}"
    second.text(0.98, 0.9, text, transform=second.transAxes, ha="right", va="top")
    style.label_panels((first, second), -0.06)
    return figure


def _plot_dark_field(image: np.ndarray, ax: Axes, step: float) -> None:
    """Draw counts outside the direct beam, by their root.

    Particles at a Bragg condition are a hundred times as bright as others.
    """
    low, high = np.quantile(image, (0.01, 0.995))
    look = {"norm": PowerNorm(0.5, low, max(high, low + 1)), "cmap": "gray"}
    drawn = plot_map(image, ax, "Virtual dark field", step, interpolation="nearest", **look)
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="counts")


@style.styled
def figure_detection(
    frame: np.ndarray,
    detected: Detected,
    position: tuple[int, int],
    n_spots: np.ndarray,
    step: float,
) -> Figure:
    """Virtual dark field, how many spots each position has, and those of one frame.

    ``frame``, (height, width), is that of ``position``, x and y; ``n_spots`` has shape (nx, ny).
    """
    figure = style.new_figure(style.TWO_COLUMNS, 2.1)
    axes = figure.subplots(1, 3)
    _plot_dark_field(detected.dark_field, axes[0], step)
    drawn = plot_map(n_spots, axes[1], "Spots found", step, vmin=0, **_LOOK)
    figure.colorbar(drawn, ax=axes[1], shrink=0.8, label="spots")
    for ax in axes[:2]:
        ax.plot(position[1], position[0], "o", fillstyle="none", c=style.WRONG_COLOR, ms=6)
    _plot_frame(frame, axes[2], "Spots of one position")
    own = detected.position == position[0] * detected.shape[1] + position[1]
    ring = {"facecolors": "none", "edgecolors": _LIGHT_BLUE, "linewidths": 0.6}
    axes[2].scatter(detected.y[own], detected.x[own], s=22, **ring)
    style.label_panels(axes, -0.06)
    return figure


def _shuffle_colours(n: int) -> np.ndarray:
    """Colours of n particles, neighbours in number far apart in hue; shape (n, 3)."""
    hue = (np.arange(n) * 0.618034) % 1
    value = np.where(np.arange(n) % 2, 0.95, 0.7)
    return mpl.colors.hsv_to_rgb(np.column_stack([hue, np.full(n, 0.55), value]))


@style.styled
def figure_particles(labels: np.ndarray, step: float, truth: np.ndarray | None = None) -> Figure:
    """Particles as found, and domains as they are where that is known.

    Both are integers, shape (nx, ny), from 1; 0 for none.
    """
    pictures = [(labels, f"Particles found: {labels.max()}")]
    if truth is not None:
        pictures.append((truth, "Truth: domain that scatters most"))
    figure = style.new_figure(style.TWO_COLUMNS * len(pictures) / 2, 3.4)
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for ax, (image, title) in zip(axes, pictures, strict=True):
        colours = np.vstack([np.full((1, 3), 0.95), _shuffle_colours(int(image.max()))])
        plot_map(colours[image], ax, title, step, interpolation="nearest")
    style.label_panels(axes, -0.06)
    return figure


def _plot_confusion(counts: pd.DataFrame, ax: Axes, title: str) -> None:
    """Draw what positions of each kind are called, in percent of the kind."""
    total = counts.sum(axis=1)
    share = 100 * counts.div(total.where(total > 0, 1), axis=0)
    look: style.Look = {"vmax": 100, "dark": 0.55, "aspect": "auto", "fontsize": None}
    style.plot_cells(share.to_numpy(), ax, "{:.0f}".format, cmap="Blues", **look)
    ax.set_xticks(range(share.shape[1]), share.columns, rotation=40, ha="right")
    ax.set_yticks(range(len(share)), [f"{name} ({n})" for name, n in total.items()])
    ax.set_title(f"{title}: % of a kind called so", loc="left")


def _plot_stages(stages: pd.DataFrame, ax: Axes, title: str) -> None:
    """Draw the share called cubic at each stage, by kind of position; outlines: with an answer."""
    place = np.arange(len(STAGES))
    for k, (kind, colour) in enumerate(_KIND_COLORS.items()):
        own = stages[stages["kind"] == kind].set_index("stage").reindex(STAGES)
        at = place + 0.27 * (k - 1)
        answered, cubic = 100 * own["answered"].fillna(0), 100 * own["cubic"].fillna(0)
        ax.bar(at, answered, 0.25, fill=False, edgecolor=colour, linewidth=0.8)
        ax.bar(at, cubic, 0.25, color=colour, label=kind)
        for here, n in zip(at, own["n"], strict=True):
            if n > 0:
                ax.text(here, 2, f"{n:.0f}", rotation=90, ha="center", va="bottom", fontsize=5.5)
    ax.set_xticks(place, [name.replace(" ", "\n", 1) for name in STAGES])
    ax.set_ylim(0, 118)
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel("called cubic (%)")
    ax.legend(ncols=3, loc="upper center")
    ax.set_title(f"{title}, step by step; outline: with an answer", loc="left")


@style.styled
def figure_truth(tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Maps against the truth, a row a model.

    By model: what :func:`ediff_solve.gold_scan.scores.compute_confusion` and
    :func:`~ediff_solve.gold_scan.scores.compute_stages` give.
    """
    figure = style.new_figure(style.TWO_COLUMNS, 2.9 * len(tables))
    axes = figure.subplots(len(tables), 2, squeeze=False)
    for row, (name, (counts, stages)) in zip(axes, tables.items(), strict=True):
        _plot_confusion(counts, row[0], name)
        _plot_stages(stages, row[1], name)
    style.label_panels(axes.flat, -0.06)
    return figure


@style.styled
def figure_flags(curve: pd.DataFrame) -> Figure:
    """Draw which share of several grains' positions is flagged, against false alarms.

    See :func:`ediff_solve.gold_scan.scores.compute_flags`.
    """
    figure = style.new_figure(3.4, 3.2)
    ax = figure.add_subplot()
    ax.set(xlim=(0, 100), xlabel="single-domain positions flagged (%)")
    ax.set(ylim=(0, 100), ylabel="twinned and overlapping flagged (%)")
    if curve.empty:
        style.mark_empty(ax, "no positions of both kinds")
        return figure
    ax.plot([0, 100], [0, 100], color="0.7", label="by chance")
    false_alarms, flagged = 100 * curve["false_alarms"], 100 * curve["flagged"]
    ax.step(false_alarms, flagged, color=style.RIGHT_COLOR, where="post")
    ax.axvline(100 * FALSE_ALARMS, color=style.PAPER_COLOR, ls=":", label="10 % false alarms")
    ax.legend(loc="lower right")
    return figure

"""Pictures of the steps from raw frames to maps, and of maps against the truth.

Scans and frames are drawn with the first axis (x, qx) downwards, the second (y, qy) to the right.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from ediff_solve.figures.gold_scan import plot_dark_field, plot_frame
from ediff_solve.frames.calibrate import Calibration
from ediff_solve.frames.rings import Ring
from ediff_solve.frames.stream import Detected, Looks
from ediff_solve.gold_scan.scores import FALSE_ALARMS, STAGES
from ediff_utils.figures.scan import bare, plot_scale_bar
from ediff_utils.figures.style import (
    PAPER_COLOR,
    RIGHT_COLOR,
    SYSTEM_COLORS,
    TWO_COLUMNS,
    WRONG_COLOR,
    label_panel,
    mark_empty,
    new_figure,
    percent,
    styled,
)
from ediff_utils.paper.scan.bragg import BraggLists

#: Pixels of a Bragg vector map along each axis, and bins of the spots' radii.
_MAP, _BINS = 200, 250
_KIND_COLORS = dict(
    zip(
        ("single", "twinned", "overlapping"),
        (SYSTEM_COLORS["monoclinic"], SYSTEM_COLORS["orthorhombic"], SYSTEM_COLORS["cubic"]),
        strict=True,
    )
)


@styled
def figure_frames(looks: Looks, frame: np.ndarray) -> Figure:
    """What frames look like: the mean, the hot pixels found, and one frame.

    Parameters
    ----------
    looks : Looks
    frame : ndarray, shape (height, width)
        As it was read.
    """
    figure = new_figure(TWO_COLUMNS, 3.1)
    first, second = figure.subplots(1, 2)
    plot_frame(looks.mean, first, centre=looks.beam, title="Mean, hot pixels replaced; direct beam")
    hot = np.argwhere(looks.hot)
    plot_frame(frame, second, hot=hot, title=f"A frame as read, its {len(hot)} hot pixels ringed")
    for letter, ax in zip("ab", (first, second), strict=True):
        label_panel(ax, letter, -0.06)
    return figure


@styled
def figure_origins(detected: Detected, calibration: Calibration, step: float) -> Figure:
    """Where the direct beam is at each position, as found and as the fitted surface has it.

    Parameters
    ----------
    detected : Detected
    calibration : Calibration
    step : float
        Distance of probe positions [angstrom].
    """
    figure = new_figure(TWO_COLUMNS, 4.6)
    axes = figure.subplots(2, 2)
    for k, (name, row) in enumerate(zip(("row", "column"), axes, strict=True)):
        fitted = calibration.origins[..., k]
        spread = max(np.ptp(fitted), 0.1)
        low, high = fitted.min() - 0.1 * spread, fitted.max() + 0.1 * spread
        for ax, image, what in zip(
            row, (detected.origins[..., k], fitted), ("found", "fitted"), strict=True
        ):
            drawn = ax.imshow(image, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
            bare(ax, f"Direct beam's {name}, {what}")
            plot_scale_bar(ax, image.shape[1], step)
        figure.colorbar(drawn, ax=list(row), shrink=0.8, label=f"{name} (pixels)", extend="both")
    for letter, ax in zip("abcd", axes.flat, strict=True):
        label_panel(ax, letter, -0.06)
    return figure


def plot_bragg_vectors(
    detected: Detected, calibration: Calibration, ax: Axes, ring: Ring | None
) -> None:
    """Draw all spots of a scan about their direct beams, and the ring's ellipse.

    Parameters
    ----------
    detected : Detected
    calibration : Calibration
    ax : Axes
    ring : Ring or None
    """
    centre = calibration.origins.reshape(-1, 2)[detected.position]
    row, column = detected.x - centre[:, 0], detected.y - centre[:, 1]
    far = np.quantile(np.abs(np.concatenate([row, column])), 0.99)
    edges = np.linspace(-far, far, _MAP + 1)
    counts, _, _ = np.histogram2d(row, column, bins=[edges, edges])
    # a single spot is seen, and the direct beam of every position leaves something for the others
    brightest = np.quantile(counts[counts > 0], 0.99) if counts.any() else 1
    norm = LogNorm(0.1, max(brightest, 2), clip=True)
    ax.imshow(
        np.maximum(counts, 0.1), cmap="magma", norm=norm, extent=(-far, far, far, -far),
        interpolation="nearest",
    )  # fmt: skip
    if ring is not None:
        major, minor = (2 * ring.radius * (1 + s * ring.ellipticity / 2) for s in (1, -1))
        # the axis is from rows to columns: downwards is 0, to the right 90 degrees
        ellipse = Ellipse((0, 0), major, minor, angle=90 - ring.axis, fill=False, linestyle="--")
        ellipse.set_edgecolor(SYSTEM_COLORS["monoclinic"])
        ax.add_patch(ellipse)
    ax.set_xlabel("column from the direct beam (pixels)")
    ax.set_ylabel("row from the direct beam (pixels)")
    ax.set_title("All spots of the scan", loc="left")


def plot_spot_radii(lists: BraggLists, ax: Axes, ring_radius: float | None) -> None:
    """Draw how far spots are from the direct beam, after calibration.

    Parameters
    ----------
    lists : BraggLists
    ax : Axes
    ring_radius : float or None
        Of the ring that pixel size and ellipse come from [1/angstrom].
    """
    q = np.hypot(lists.qx, lists.qy)
    far = np.quantile(q, 0.99)
    counts, _, _ = ax.hist(q, bins=_BINS, range=(0, far), color=RIGHT_COLOR)
    # room for what is written
    ax.set_ylim(0, 1.4 * max(counts.max(), 1))
    if ring_radius is not None:
        label = f"known ring, {ring_radius:.4f} 1/Å"
        ax.axvline(ring_radius, color=WRONG_COLOR, linestyle="--", label=label)
        ax.legend(loc="upper right")
    ax.set_xlim(0, far)
    ax.set_xlabel("|q| of a spot (1/Å)")
    ax.set_ylabel("spots")
    ax.set_title("Calibrated spots", loc="left")


@styled
def figure_calibration(
    detected: Detected,
    calibration: Calibration,
    lists: BraggLists,
    ring: Ring | None,
    ring_radius: float | None = None,
) -> Figure:
    """Ellipse and pixel size.

    Parameters
    ----------
    detected : Detected
    calibration : Calibration
    lists : BraggLists
    ring : Ring or None
    ring_radius : float, optional
        [1/angstrom]
    """
    figure = new_figure(TWO_COLUMNS, 3.2)
    first, second = figure.subplots(1, 2, width_ratios=[1, 1.3])
    plot_bragg_vectors(detected, calibration, first, ring)
    plot_spot_radii(lists, second, ring_radius)
    text = (
        f"pixel {calibration.pixel_size:.5f} 1/Å\nellipticity {percent(calibration.ellipticity, 1)}"
    )
    place = {"transform": second.transAxes, "ha": "right", "va": "top"}
    second.text(0.98, 0.9, text, **place)
    for letter, ax in zip("ab", (first, second), strict=True):
        label_panel(ax, letter, -0.06)
    return figure


@styled
def figure_detection(
    frame: np.ndarray,
    detected: Detected,
    position: tuple[int, int],
    n_spots: np.ndarray,
    step: float,
) -> Figure:
    """Virtual dark field, how many spots each position has, and those of one frame.

    Parameters
    ----------
    frame : ndarray, shape (height, width)
    detected : Detected
    position : tuple of int
        x and y of the frame.
    n_spots : ndarray of int, shape (nx, ny)
    step : float
        Distance of probe positions [angstrom].
    """
    figure = new_figure(TWO_COLUMNS, 2.1)
    axes = figure.subplots(1, 3)
    plot_dark_field(detected.dark_field, axes[0], step)
    drawn = axes[1].imshow(n_spots, cmap="cividis", vmin=0, interpolation="nearest")
    plot_scale_bar(axes[1], n_spots.shape[1], step)
    bare(axes[1], "Spots found")
    figure.colorbar(drawn, ax=axes[1], shrink=0.8, label="spots")
    for ax in axes[:2]:
        ax.plot(position[1], position[0], "o", fillstyle="none", color=WRONG_COLOR, markersize=6)
    plot_frame(frame, axes[2], title="Spots of one position")
    own = detected.position == position[0] * detected.shape[1] + position[1]
    ring = {"facecolors": "none", "edgecolors": SYSTEM_COLORS["monoclinic"], "linewidths": 0.6}
    axes[2].scatter(detected.y[own], detected.x[own], s=22, **ring)
    for letter, ax in zip("abc", axes, strict=True):
        label_panel(ax, letter, -0.06)
    return figure


def shuffle_colours(n: int) -> np.ndarray:
    """Colours of n particles, neighbours in number far apart in hue; shape (n, 3)."""
    hue = (np.arange(n) * 0.618034) % 1
    value = np.where(np.arange(n) % 2, 0.95, 0.7)
    return mpl.colors.hsv_to_rgb(np.column_stack([hue, np.full(n, 0.55), value]))


@styled
def figure_particles(labels: np.ndarray, step: float, truth: np.ndarray | None = None) -> Figure:
    """Particles as found, and as they are where that is known.

    Parameters
    ----------
    labels : ndarray of int, shape (nx, ny)
        From 1; 0 for none.
    step : float
        Distance of probe positions [angstrom].
    truth : ndarray of int, shape (nx, ny), optional
        Domains, likewise.
    """
    pictures = [(labels, f"Particles found: {labels.max()}")]
    if truth is not None:
        pictures.append((truth, "Truth: domain that scatters most"))
    figure = new_figure(TWO_COLUMNS * len(pictures) / 2, 3.4)
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for letter, ax, (image, title) in zip("ab", axes, pictures, strict=False):
        colours = np.vstack([np.full((1, 3), 0.95), shuffle_colours(int(image.max()))])
        ax.imshow(colours[image], interpolation="nearest")
        plot_scale_bar(ax, image.shape[1], step)
        bare(ax, title)
        label_panel(ax, letter, -0.06)
    return figure


def plot_confusion(counts: pd.DataFrame, ax: Axes, title: str) -> None:
    """Draw what positions of each kind are called, in percent of the kind.

    Parameters
    ----------
    counts : DataFrame
        See :func:`ediff_solve.gold_scan.scores.compute_confusion`.
    ax : Axes
    title : str
    """
    total = counts.sum(axis=1)
    share = 100 * counts.div(total.where(total > 0, 1), axis=0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(*share.shape):
        value = share.iloc[i, j]
        ax.text(j, i, f"{value:.0f}", ha="center", va="center", color="w" if value > 55 else "k")
    ax.set_xticks(range(share.shape[1]), share.columns, rotation=40, ha="right")
    ax.set_yticks(range(len(share)), [f"{name} ({n})" for name, n in total.items()])
    ax.set_title(f"{title}: % of a kind called so", loc="left")


def plot_stages(stages: pd.DataFrame, ax: Axes, title: str) -> None:
    """Draw the share called cubic at each stage, by kind of position; outlines: with an answer.

    Parameters
    ----------
    stages : DataFrame
        See :func:`ediff_solve.gold_scan.scores.compute_stages`.
    ax : Axes
    title : str
    """
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


@styled
def figure_truth(tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Maps against the truth, a row a model.

    Parameters
    ----------
    tables : dict of str to tuple of DataFrame
        By model: the confusion table and the stages.
    """
    figure = new_figure(TWO_COLUMNS, 2.9 * len(tables))
    axes = figure.subplots(len(tables), 2, squeeze=False)
    for row, (name, (counts, stages)) in zip(axes, tables.items(), strict=True):
        plot_confusion(counts, row[0], name)
        plot_stages(stages, row[1], name)
    for letter, ax in zip("abcdef", axes.flat, strict=False):
        label_panel(ax, letter, -0.06)
    return figure


def plot_flags(curve: pd.DataFrame, ax: Axes) -> None:
    """Draw which share of several grains' positions is flagged, against false alarms.

    Parameters
    ----------
    curve : DataFrame
        See :func:`ediff_solve.gold_scan.scores.compute_flags`.
    ax : Axes
    """
    ax.set_xlabel("single-domain positions flagged (%)")
    ax.set_ylabel("twinned and overlapping flagged (%)")
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 100)
    if curve.empty:
        mark_empty(ax, "no positions of both kinds")
        return
    ax.plot([0, 100], [0, 100], color="0.7", label="by chance")
    ax.step(100 * curve["false_alarms"], 100 * curve["flagged"], color=RIGHT_COLOR, where="post")
    ax.axvline(100 * FALSE_ALARMS, color=PAPER_COLOR, linestyle=":", label="10 % false alarms")
    ax.legend(loc="lower right")


@styled
def figure_flags(curve: pd.DataFrame) -> Figure:
    """How well unexplained spots tell several grains from one; see :func:`plot_flags`."""
    figure = new_figure(3.4, 3.2)
    plot_flags(curve, figure.add_subplot())
    return figure

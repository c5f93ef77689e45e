"""Spots drawn over the frames they were found in, with centre, background and mask."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ediff_solve.frames.counting.centre import Gap
from ediff_solve.frames.counting.detection import FrameSpots
from ediff_solve.frames.counting.series import SeriesSpots
from ediff_solve.frames.powder import RingCalibration, compute_ring_profile
from ediff_utils.figures import style

_SPOT, _CENTRE = style.SYSTEM_COLORS["monoclinic"], style.SYSTEM_COLORS["hexagonal"]
_BAD = "#CC79A7"


def _limits(frame: np.ndarray, bad: np.ndarray) -> PowerNorm:
    """A scale on which single electrons and spots both show."""
    seen = frame[~bad & np.isfinite(frame)]
    top = float(np.percentile(seen, 99.9)) if seen.size else 1.0
    low = max(float(np.percentile(seen, 1)), 0.0) if seen.size else 0.0
    return PowerNorm(0.5, low, max(top, low + 1e-6), clip=True)


def plot_spots(
    frame: np.ndarray,
    found: FrameSpots,
    ax: Axes,
    *,
    origin: np.ndarray | None = None,
    bad: np.ndarray | None = None,
    title: str = "",
) -> None:
    """Draw one frame, rings around its spots, a cross at q = 0.

    Parameters
    ----------
    frame : ndarray, shape (height, width)
    found : FrameSpots
    ax : Axes
    origin : ndarray, shape (2,), optional
        Row and column of q = 0 [pixel]; by default that of the direct beam.
    bad : ndarray of bool, shape (height, width), optional
    title : str
    """
    frame = np.asarray(frame, float)
    bad = np.zeros(frame.shape, bool) if bad is None else bad
    norm = _limits(frame, bad)
    ax.imshow(frame, cmap="gray", norm=norm, interpolation="nearest")
    row, column = found.beam if origin is None else origin
    ax.plot(column, row, "+", color=_CENTRE, markersize=8, markeredgewidth=1.2)
    spots = found.spots
    ax.plot(
        spots[:, 1], spots[:, 0], "o", fillstyle="none", color=_SPOT, markersize=6,
        markeredgewidth=0.8,
    )  # fmt: skip
    height, width = frame.shape
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.set_title(title, loc="left")


def plot_background(found: FrameSpots, bad: np.ndarray, ax: Axes) -> None:
    """Draw the background found in a frame, the bad pixels, and where nothing was looked for."""
    shown = np.sqrt(np.maximum(found.background, 0))
    ax.imshow(
        shown, cmap="gray", vmin=0, vmax=float(np.percentile(shown, 99.9)), interpolation="nearest"
    )
    rows, columns = np.nonzero(bad)
    every = max(1, len(rows) // 5000)
    ax.plot(columns[::every], rows[::every], "s", color=_BAD, markersize=1.5, linestyle="none")
    angle = np.linspace(0, 2 * np.pi, 100)
    ax.plot(
        found.beam[1] + found.core * np.cos(angle), found.beam[0] + found.core * np.sin(angle),
        color=_CENTRE, linewidth=0.8,
    )  # fmt: skip
    height, width = found.background.shape
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.set_title("Background and bad pixels", loc="left")


@style.styled
def figure_rings(frame: np.ndarray, found: RingCalibration) -> Figure:
    """Draw a picture with the rings of a known sample, and its radial profile.

    Parameters
    ----------
    frame : ndarray, shape (height, width)
    found : RingCalibration
    """
    figure = style.new_figure(style.TWO_COLUMNS, 3.2)
    left, right = figure.subplots(1, 2)
    frame = np.asarray(frame, float)
    low = float(np.percentile(frame, 5))
    shown = np.log10(np.maximum(frame, 0) + max(low, 1e-3 * frame.mean()))
    top = np.percentile(shown, 99.5)
    left.imshow(shown, cmap="gray", vmax=top, interpolation="nearest")
    angle = np.linspace(0, 2 * np.pi, 361)
    row, column = found.centre
    left.plot(column, row, "+", color=_CENTRE, markersize=8)
    for ring in found.rings:
        stretched = 1 + found.ellipticity / 2 * np.cos(2 * (angle - np.radians(found.axis)))
        radius = ring["q"] / found.pixel_size * stretched
        # Half of each, so that the picture's own ring is seen too.
        half = np.where((angle // (np.pi / 6)) % 2 == 0, radius, np.nan)
        left.plot(column + half * np.sin(angle), row + half * np.cos(angle), color=_SPOT, lw=0.8)
    height, width = frame.shape
    left.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    left.set(xlabel="detector column (pixels)", ylabel="detector row (pixels)")
    left.set_title(f"Rings of {found.sample}, ellipse {found.ellipticity:.1%}", loc="left")
    q, profile = compute_ring_profile(frame, found)
    right.plot(q, profile, color="black", linewidth=0.8)
    for n, ring in enumerate(found.rings):
        right.axvline(ring["q"], color=_SPOT, linewidth=0.8, zorder=0)
        place = (ring["q"], 1.0 - 0.08 * (n % 2))
        transform = right.get_xaxis_transform()
        right.text(*place, f" {ring['hkl']}", transform=transform, fontsize=6, va="top")
    right.set(xlabel="q (1/Å)", ylabel="above the background (share)")
    right.set_title("Mean over the ellipses", loc="left")
    return figure


def _in_file(origin: np.ndarray, gap: Gap | None) -> np.ndarray:
    """Where q = 0 is in the frame as the file has it, without its gap."""
    if gap is None:
        return origin
    beyond = origin > np.array([gap.row + gap.rows, gap.column + gap.columns])
    return origin - np.where(beyond, np.array([gap.rows, gap.columns]), 0.0)


@style.styled
def figure_spots(frames: np.ndarray, found: SeriesSpots, most: int = 5) -> Figure:
    """Draw the spots of some frames of a series, and the background of the first of them.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
    found : SeriesSpots
    most : int
        Frames drawn, evenly spread.

    Returns
    -------
    Figure
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(int))
    columns = min(3, len(chosen) + 1)
    rows = -(-(len(chosen) + 1) // columns)
    height, width = frames.shape[1:]
    each = (style.TWO_COLUMNS / columns - 0.4) * height / width + 0.4
    figure = style.new_figure(style.TWO_COLUMNS, rows * min(each, 4.5) + 0.4)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax, n in zip(axes, chosen, strict=False):
        one = found.frames[n]
        origin = _in_file(found.origins[n], found.gap)
        title = f"Frame {n}: {len(one.spots)} spots"
        plot_spots(frames[n], one, ax, origin=origin, bad=found.bad, title=title)
    plot_background(found.frames[chosen[0]], found.bad, axes[len(chosen)])
    for ax in axes[len(chosen) + 1 :]:
        ax.set_visible(False)
    for k, ax in enumerate(axes[: len(chosen) + 1]):
        if k % columns == 0:
            ax.set_ylabel("detector row (pixels)")
        if k + columns > len(chosen):
            ax.set_xlabel("detector column (pixels)")
    look: style.Look = {"linestyle": "none", "fillstyle": "none"}
    shown = [
        Line2D([], [], marker="o", color=_SPOT, label="spot", **look),
        Line2D([], [], marker="+", color=_CENTRE, label="q = 0", **look),
        Line2D([], [], color=_CENTRE, label="nothing looked for inside"),
        Line2D([], [], marker="s", color=_BAD, linestyle="none", label="bad pixel"),
    ]
    figure.legend(handles=shown, loc="outside lower center", ncols=len(shown))
    return figure

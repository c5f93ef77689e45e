"""One way to draw a spot pattern and its axes, for every figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ediff_utils.figures.style import WRONG_COLOR, mark_empty


def frame_pattern(ax: Axes, q_max: float, *, as_image: bool = False) -> None:
    """Make the axes a square of half-width ``q_max`` [1/angstrom] with labels."""
    ax.set(xlim=(-q_max, q_max), ylim=(-q_max, q_max), aspect="equal")
    ax.set(xlabel="$q_x$ (1/Å)", ylabel="$q_y$ (1/Å)")
    if as_image:
        ax.invert_yaxis()
        ax.set(xlabel="$q_y$ (1/Å)", ylabel="$q_x$ (1/Å)")


def plot_pattern(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    ax: Axes,
    *,
    q_max: float = 2.0,
    reference: float | None = None,
    max_area: float = 20.0,
    power: float = 0.5,
    as_image: bool = False,
) -> None:
    """Draw a spot pattern, each spot with an area that grows with its intensity.

    Parameters
    ----------
    qx, qy : ndarray, shape (n,)
        [1/angstrom]
    intensity : ndarray, shape (n,)
    ax : Axes
    q_max : float
        Half the width of the drawn square [1/angstrom].
    reference : float, optional
        Intensity of a spot of the largest area; by default that of the strongest spot.
    max_area : float
        The largest area [square points].
    power : float
        Areas are proportional to intensity to this power.
    as_image : bool
        qx downwards and qy to the right, as the rows and columns of a detector lie; otherwise qx
        to the right and qy upwards.
    """
    intensity = np.asarray(intensity, dtype=float)
    reference = reference or intensity.max(initial=0.0) or 1.0
    area = max_area * (np.clip(intensity, 0, None) / reference) ** power
    across, along = (qy, qx) if as_image else (qx, qy)
    ax.scatter(across, along, s=area, color="black", linewidth=0)
    if not len(intensity):
        mark_empty(ax, "no spots")
    ax.plot(0, 0, "+", color=WRONG_COLOR, markersize=6, markeredgewidth=1.2, label="direct beam")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    frame_pattern(ax, q_max, as_image=as_image)

"""The phases of a scan: where they are, their orientations, and a pattern of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ediff_solve.phases.indexing import IndexedGrain
from ediff_solve.phases.nets import Net, lie_on
from ediff_utils.figures import style
from ediff_utils.figures.scan import plot_map

if TYPE_CHECKING:
    from ediff_solve.scans.phase_maps import ColourKey, PhaseMaps

#: Colours of phases (Okabe and Ito), and of positions without one.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#999999")
NONE = "#303030"
#: Strongest spots of a pattern whose indices are written beside them, and their least distance
#: [1/angstrom].
_NAMED, _APART = 8, 0.3
#: Patterns drawn at most.
MOST_PATTERNS = 4


def plot_phase_map(phase: np.ndarray, names: Sequence[str], ax: Axes, step: float) -> None:
    """Draw the phase of each position, shape (nx, ny), -1 for none; names are of the phases."""
    image = np.full((*phase.shape, 3), to_rgb(NONE))
    for n in range(len(names)):
        image[phase == n] = to_rgb(COLOURS[n % len(COLOURS)])
    plot_map(image, ax, "Phase that explains most", step)
    handles = [Patch(color=COLOURS[n % len(COLOURS)], label=name) for n, name in enumerate(names)]
    handles.append(Patch(color=NONE, label="none"))
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02))


def plot_orientations(colours: np.ndarray, ax: Axes) -> None:
    """Draw inverse pole figure colours, shape (nx, ny, 3), NaN for none."""
    none = np.isnan(colours[..., :1])
    plot_map(np.where(none, to_rgb(NONE), colours), ax, "Orientation, along the beam")


def plot_colour_key(key: ColourKey, ax: Axes, title: str) -> None:
    """Draw which direction has which colour, in stereographic projection."""
    x, y = key.places.T
    ax.scatter(x, y, c=key.colours, s=3, marker="s", linewidths=0)
    ax.text(0, 1.12, title, transform=ax.transAxes, fontsize=7)
    ax.set_aspect("equal")
    ax.axis("off")


def plot_indexed(grain: IndexedGrain, ax: Axes, title: str, colour: str) -> None:
    """Draw a grain's spots, points of the lattice around them, and indices of strong ones."""
    q, strength = grain.spots[:, :2], grain.spots[:, 2]
    area = 3 + 45 * np.sqrt(strength / strength.max())
    ax.scatter(q[:, 1], q[:, 0], s=area, color="#555555", linewidths=0)
    look: style.Look = {"facecolors": "none", "linewidths": 0.8}
    points = grain.points[grain.own]
    ax.scatter(points[:, 1], points[:, 0], s=55, edgecolors=colour, **look)
    rest = q[~grain.own]
    ax.scatter(rest[:, 1], rest[:, 0], s=25, marker="x", color="black", linewidths=0.7)
    ax.plot(0, 0, "+", color="black", markersize=7)
    named: list[np.ndarray] = []
    for n in np.argsort(-strength):
        if grain.own[n] and all(np.hypot(*(q[n] - other)) > _APART for other in named):
            named.append(q[n])
            text = " ".join(f"{i}" for i in grain.hkl[n])
            place = (q[n, 1], q[n, 0])
            ax.annotate(text, place, (0, 5), textcoords="offset points", ha="center", fontsize=6)
        if len(named) == _NAMED:
            break
    reach = 1.1 * np.abs(q).max()
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
    ax.set(xlabel="$q_y$ (1/Å)", ylabel="$q_x$ (1/Å)")
    ax.set_title(title, loc="left")


@style.styled
def figure_phases(
    maps: PhaseMaps,
    names: Sequence[str],
    grains: Sequence[IndexedGrain],
    keys: Sequence[ColourKey],
    step: float,
) -> Figure:
    """Maps of phase, orientation and number of grains, and the best grain's pattern of each phase.

    Parameters
    ----------
    maps : PhaseMaps
    names : sequence of str
        Of the phases.
    grains : sequence of IndexedGrain
        The best one of each phase.
    keys : sequence of ColourKey
        Of each phase's crystal system.
    step : float
        Distance of probe positions [angstrom].
    """
    shown = min(len(grains), MOST_PATTERNS)
    rows = 1 + (shown + 1) // 2
    fig = style.new_figure(style.TWO_COLUMNS, 2.9 + 3.4 * (rows - 1))
    grid = fig.add_gridspec(rows, 1, height_ratios=[2.9] + [3.4] * (rows - 1))
    top = grid[0].subgridspec(1, 4, width_ratios=[1, 1, 0.35, 1], wspace=0.12)
    plot_phase_map(maps.phase[0], names, fig.add_subplot(top[0]), step)
    plot_orientations(maps.colours, fig.add_subplot(top[1]))
    column = top[2].subgridspec(max(len(keys), 3), 1)
    for n, (key, name) in enumerate(zip(keys, names, strict=True)):
        plot_colour_key(key, fig.add_subplot(column[n]), name.split(",")[0])
    ax = fig.add_subplot(top[3])
    number = (maps.phase >= 0).sum(axis=0)
    drawn = plot_map(number, ax, "Grains told", cmap="cividis", vmin=-0.5, vmax=3.5)
    drawn.set_cmap(drawn.get_cmap().resampled(4))
    fig.colorbar(drawn, ax=ax, ticks=range(4), shrink=0.7)
    for n in range(shown):
        if n % 2 == 0:
            pair = grid[1 + n // 2].subgridspec(1, 2)
        ax = fig.add_subplot(pair[n % 2])
        title = f"{names[n]}: a grain at {grains[n].positions} positions"
        plot_indexed(grains[n], ax, title, COLOURS[n % len(COLOURS)])
    return fig


@style.styled
def figure_net(net: Net, peaks: np.ndarray, images: Sequence[np.ndarray], step: float) -> Figure:
    """Where one orientation prevails: the net over the peaks, and maps of its weak rows.

    Parameters
    ----------
    net : Net
    peaks : ndarray, shape (n, 3)
        qx, qy [1/angstrom] and number of spots; see :func:`ediff_solve.phases.nets.find_peaks`.
    images : sequence of ndarray, shape (nx, ny)
        Spots on weak rows at each position, of each of the sub-nets that lack them.
    step : float
        Distance of probe positions [angstrom].
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.3)
    axes = fig.subplots(1, 1 + len(images), squeeze=False)[0]
    q = peaks[:, :2] - net.centre
    on = lie_on(net.vectors, q)
    reach = 1.1 * np.abs(q).max()
    most = int(np.ceil(2 * reach / net.lengths.min()))
    index = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 2), axis=-1).reshape(-1, 2)
    points = index @ net.vectors
    points = points[np.abs(points).max(axis=1) < reach]
    look: style.Look = {"facecolors": "none", "linewidths": 0.6}
    axes[0].scatter(points[:, 1], points[:, 0], s=22, edgecolors=COLOURS[0], **look)
    area = 2 + 25 * np.sqrt(peaks[:, 2] / peaks[:, 2].max())
    axes[0].scatter(q[on, 1], q[on, 0], s=area[on], color="#555555", linewidths=0)
    axes[0].scatter(q[~on, 1], q[~on, 0], s=16, marker="x", color=COLOURS[4], linewidths=0.8)
    axes[0].set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
    axes[0].set(xlabel="$q_y$ (1/Å)", ylabel="$q_x$ (1/Å)")
    a, b = net.lengths
    axes[0].set_title(f"Net {a:.4f} × {b:.4f} 1/Å, {net.angle:.1f}°", loc="left")
    weak = [s for s in net.sub_nets if s.is_weak]
    for ax, image, sub in zip(axes[1:], images, weak, strict=True):
        kind = "odd" if sub.modulus == 2 else "3 does not divide"
        title = f"Spots of rows along {net.lengths[sub.axis]:.3f} 1/Å, index {kind}"
        drawn = plot_map(image, ax, title, step, cmap="cividis")
        fig.colorbar(drawn, ax=ax, shrink=0.7)
    return fig

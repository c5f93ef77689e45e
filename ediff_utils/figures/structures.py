"""Figures 1 and S1: a crystal, its zone axes, their patterns, and how many patterns there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ediff_utils.bloch.orientations import lattice_fixed_orientation
from ediff_utils.bloch.simulation import SpotPattern, simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures.crystals import plot_crystal
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.figures.style import (
    SYSTEM_COLORS,
    TWO_COLUMNS,
    Look,
    label_panels,
    new_figure,
    styled,
)
from ediff_utils.figures.zone_axes import ZoneAxisGrid, plot_zone_axes

#: Order of the bars in the paper's figure S1.
_COMMONEST = ("orthorhombic", "monoclinic", "tetragonal", "hexagonal")
_ORDER = (*_COMMONEST, "cubic", "trigonal", "triclinic")
#: Thicknesses that figure 1 shows [angstrom], out of the paper's 20 to 2000.
_THICKNESSES = (20.0, 200.0, 500.0, 1000.0, 2000.0)


def _plot_thickness_stack(patterns: Sequence[SpotPattern], axes: Sequence[Axes]) -> None:
    """Draw one zone axis at several thicknesses, areas of spots on one scale."""
    reference = max((p.intensity.max(initial=0.0) for p in patterns), default=1.0)
    look: Look = {"reference": reference, "power": 0.35, "max_area": 14}
    for number, (pattern, ax) in enumerate(zip(patterns, axes, strict=True)):
        plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, **look)
        ax.set_title(f"{pattern.thickness / 10:g} nm")
        if number:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)


def compute_thickness_series(
    crystal: Crystal,
    zone_axis: np.ndarray,
    thicknesses: Sequence[float] = _THICKNESSES,
    settings: SimulationSettings | None = None,
) -> list[SpotPattern]:
    """Patterns of one zone axis (Cartesian, shape (3,)) at several thicknesses [angstrom].

    Everything else is as in ``settings``, by default the paper's.
    """
    settings = (settings or SimulationSettings()).model_copy(
        update={"thicknesses": tuple(float(t) for t in thicknesses)}
    )
    return simulate(crystal, lattice_fixed_orientation(zone_axis)[None], settings)[0]


def compute_patterns_per_system(crystals: pd.DataFrame, patterns: pd.DataFrame) -> pd.Series:
    """Count the patterns of each crystal system, in the order of the paper's figure S1.

    ``crystals`` is the crystals' table, ``patterns`` has a row a pattern with its ``material_id``.
    Systems without a crystal are left out; a pattern of an unknown crystal is a UserError.
    """
    systems = crystals.set_index("material_id")["crystal_system"]
    owners = patterns["material_id"]
    unknown = owners[~owners.isin(systems.index)]
    if len(unknown):
        raise UserError(f"material_id {unknown.iloc[0]}: a pattern of it, but no such crystal")
    counts = owners.map(systems).value_counts()
    return counts.reindex([s for s in _ORDER if counts.get(s, 0)]).astype(int)


@styled
def figure_s1(counts: pd.Series) -> Figure:
    """Number of patterns of each system; see :func:`compute_patterns_per_system`."""
    fig = new_figure(0.6 * TWO_COLUMNS, 2.8)
    ax = fig.add_subplot()
    colors = [SYSTEM_COLORS[system] for system in counts.index]
    bars = ax.bar(range(len(counts)), counts.to_numpy(), color=colors, width=0.7)
    ax.bar_label(bars, [f"{count:,}" for count in counts], padding=2)
    ax.set_xticks(range(len(counts)), counts.index, rotation=30, ha="right", rotation_mode="anchor")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.margins(y=0.1)
    ax.set(xlabel="Crystal system", ylabel="Number of patterns")
    return fig


@styled
def figure_volumes(crystals: pd.DataFrame) -> Figure:
    """Cumulative distribution of the primitive cells' volume in each crystal system."""
    fig = new_figure(0.6 * TWO_COLUMNS, 2.8)
    ax = fig.add_subplot()
    present = [s for s in _ORDER if s in set(crystals["crystal_system"])]
    hue = {"hue": "crystal_system", "hue_order": present, "palette": SYSTEM_COLORS}
    sns.ecdfplot(crystals, x="volume", stat="percent", ax=ax, **hue)
    if legend := ax.get_legend():
        legend.set_title("")
    ax.set(xlabel="Volume of the primitive cell (Å$^3$)", ylabel="Crystals with less (%)")
    return fig


@styled
def figure_1(
    crystal: Crystal, grid: ZoneAxisGrid, patterns: Sequence[SpotPattern], shown: int = 0
) -> Figure:
    """How the patterns come about: a crystal, its zone axes, one of them at several thicknesses.

    ``patterns`` (:func:`compute_thickness_series`) are of the zone axis ``shown`` of ``grid``
    (:func:`ediff_utils.figures.zone_axes.compute_zone_axis_grid`).
    """
    fig = new_figure(TWO_COLUMNS, 4.9)
    rows = fig.add_gridspec(2, 1, height_ratios=[1.75, 1])
    crystal_ax, grid_ax = rows[0].subgridspec(1, 2).subplots(squeeze=False)[0]
    plot_crystal(crystal, crystal_ax)
    crystal_ax.set_title(crystal.material_id)
    plot_zone_axes(grid, grid_ax, shown)
    grid_ax.set_title(f"{len(grid.axes)} zone axes, stereographic projection")
    stack = rows[1].subgridspec(1, len(patterns)).subplots(squeeze=False)[0]
    _plot_thickness_stack(patterns, stack)
    label_panels((crystal_ax, grid_ax, stack[0]))
    return fig

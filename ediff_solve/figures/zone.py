"""One zone axis of one crystal: simulated, written down, and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ediff_utils.bloch.orientations import lattice_fixed_orientation
from ediff_utils.bloch.simulation import SpotPattern, simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures import style
from ediff_utils.figures.spots import frame_pattern, plot_pattern

#: Spots that are labelled.
_LABELLED = 12


def simulate_zone(
    crystal: Crystal,
    zone: tuple[float, float, float],
    settings: SimulationSettings,
    rotation: float = 0.0,
) -> SpotPattern:
    """Pattern of one zone axis [uvw] of the conventional lattice, at the first of the thicknesses.

    The axis points against the beam. For the pattern's own axes, and ``rotation`` [degree], see
    :func:`ediff_utils.bloch.orientations.lattice_fixed_orientation`.

    Raises
    ------
    UserError
        A zone axis without a direction.
    SimulationError
        The crystal cannot be simulated.
    """
    axis = np.array(zone, dtype=float) @ crystal.conventional_lattice
    if not np.isfinite(rotation):
        raise UserError(f"rotation: expected a number of degrees, got {rotation}")
    if not (np.isfinite(axis).all() and axis.any()):
        raise UserError(f"zone axis {list(zone)}: expected three numbers that are not all zero")
    return simulate(crystal, lattice_fixed_orientation(axis, rotation)[None], settings)[0][0]


def tabulate_zone(pattern: SpotPattern) -> pd.DataFrame:
    """Spots of a pattern, the strongest first: h, k, l, qx, qy [1/angstrom] and intensity."""
    indices = dict(zip("hkl", pattern.hkl.T.astype(int), strict=True))
    # Six digits, and no -0.
    qx, qy = (np.round(q, 6) + 0.0 for q in (pattern.qx, pattern.qy))
    spots = pd.DataFrame({**indices, "qx": qx, "qy": qy, "intensity": pattern.intensity})
    return spots.sort_values("intensity", ascending=False, kind="stable", ignore_index=True)


def format_zone(title: str, pattern: SpotPattern, spots: pd.DataFrame, n: int = 10) -> str:
    """A heading and the strongest spots, as lines."""
    rows = spots.head(n).to_string(index=False, float_format=lambda x: f"{x:.4f}")
    direct = f"direct beam {pattern.direct_beam:.4f} of the incident one"
    return f"{title}: {len(spots)} spots, {direct}\n\n{rows}"


def write_zone(spots: pd.DataFrame, path: Path) -> Path:
    """Write spots as CSV, or as Parquet by the path's ending."""
    with atomic_write(path) as partial:
        if path.suffix.lower() == ".parquet":
            spots.to_parquet(partial, index=False)
        elif path.suffix.lower() == ".csv":
            spots.to_csv(partial, index=False)
        else:
            raise UserError(f"{path}: unknown ending, expected .csv or .parquet")
    return path


def _label(hkl: tuple[int, int, int]) -> str:
    return "".join(rf"\overline{{{-i}}}" if i < 0 else f"{i}\\," for i in map(int, hkl))


@style.styled
def figure_zone(pattern: SpotPattern, title: str, q_max: float) -> Figure:
    """Draw a pattern up to ``q_max`` [1/angstrom], with Miller indices at the strongest spots."""
    fig = style.new_figure(style.COLUMN, style.COLUMN + 0.2)
    ax = fig.subplots()
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, q_max=q_max, max_area=60)
    frame_pattern(ax, q_max)
    for k in pattern.intensity.argsort()[::-1][:_LABELLED]:
        place = (pattern.qx[k], pattern.qy[k])
        ax.annotate(
            f"${_label(pattern.hkl[k])}$",
            place,
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=6,
        )
    ax.set_title(title)
    return fig

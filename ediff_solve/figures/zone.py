"""A simulated zone axis: its spots, the strongest with their indices."""

from __future__ import annotations

from matplotlib.figure import Figure

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.figures import style
from ediff_utils.figures.spots import frame_pattern, plot_pattern

#: Spots that are labelled.
_LABELLED = 12


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

"""Beyond the paper's figures: what angular orders mean, by patterns with rotational symmetry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures import style
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.figures.structures import compute_thickness_series
from ediff_utils.paper.features import N_ANGULAR, compute_features, to_coefficients

#: Fold of [001]: name, space group, cell (a, b, c in angstrom; gamma in degrees) and sites of
#: crystals that show it. Textbook values, rounded.
_EXAMPLES: dict[int, tuple[str, str, tuple[float, ...], dict[str, tuple[float, ...]]]] = {
    2: ("marcasite", "Pnnm", (4.443, 5.425, 3.387, 90), {"Fe": (0, 0, 0), "S": (0.2, 0.378, 0)}),
    3: ("quartz", "P3_221", (4.914, 4.914, 5.405, 120),
        {"Si": (0.4697, 0, 2 / 3), "O": (0.4135, 0.2669, 0.7858)}),
    4: ("rutile", "P4_2/mnm", (4.594, 4.594, 2.959, 90),
        {"Ti": (0, 0, 0), "O": (0.305, 0.305, 0)}),
    6: ("magnesium", "P6_3/mmc", (3.209, 3.209, 5.211, 120), {"Mg": (1 / 3, 2 / 3, 0.25)}),
}  # fmt: skip


def example_crystal(fold: int) -> Crystal:
    """Build the example crystal whose [001] has that fold: 2, 3, 4 or 6."""
    # pymatgen reads its tables when it is imported, which takes a second
    from pymatgen.core import Lattice, Structure

    from ediff_utils.crystals.symmetry import standardise

    name, group, (a, b, c, gamma), sites = _EXAMPLES[fold]
    lattice = Lattice.from_parameters(a, b, c, 90, 90, gamma)
    structure = Structure.from_spacegroup(group, lattice, list(sites), list(sites.values()))
    return Crystal.from_row(standardise(structure, 0.01) | {"material_id": name})


def compute_order_patterns(settings: SimulationSettings | None = None) -> dict[int, SpotPattern]:
    """Simulate patterns of each rotational symmetry that crystals have, by fold: 2, 3, 4, 6.

    They are of :func:`example_crystal` along [001], at the first thickness of ``settings``.
    """
    settings = settings or SimulationSettings()
    patterns = {}
    for fold in _EXAMPLES:
        crystal = example_crystal(fold)
        axis, thickness = crystal.conventional_lattice[2], settings.thicknesses[:1]
        patterns[fold] = compute_thickness_series(crystal, axis, thickness, settings)[0]
    return patterns


def compute_coefficients(pattern: SpotPattern, normalisation: str = "scattered") -> np.ndarray:
    """T[m, p] of one pattern as the forests take them; complex, shape (41, 13)."""
    offsets = np.array([0, len(pattern.qx)])
    vector = compute_features(pattern.qx, pattern.qy, pattern.intensity, offsets, normalisation)
    return to_coefficients(vector)[0]


def _order_power(coefficients: np.ndarray) -> np.ndarray:
    """Sum over m of |T[m, p]|^2, (..., 41, 13), by the same at p = 0; shape (..., 13)."""
    power = np.sum(np.abs(np.asarray(coefficients, dtype=complex)) ** 2, axis=-2)
    first = power[..., :1]
    return np.divide(power, first, out=np.zeros_like(power), where=first > 0)


def compute_order_examples(patterns: Mapping[int, SpotPattern]) -> pd.DataFrame:
    """Power in each order for patterns with each rotational symmetry.

    A row a fold: ``example`` names crystal and zone axis, columns 0 to 12 are the orders: sum over
    m of |T[m, p]|^2, by the same at p = 0. A pattern with an n-fold axis has power only in orders
    that n divides.
    """
    rows = {
        fold: {"example": f"{_EXAMPLES[fold][0]} [001]"}
        | dict(enumerate(_order_power(compute_coefficients(pattern))))
        for fold, pattern in patterns.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold")


def _plot_order_power(power: np.ndarray, ax: Axes, fold: int) -> None:
    """Draw the power in each angular order as bars, those apart that the fold divides."""
    orders = np.arange(N_ANGULAR)
    allowed = orders % fold == 0
    ax.bar(orders, power, color=np.where(allowed, style.RIGHT_COLOR, style.WRONG_COLOR), width=0.8)
    for p in orders[~allowed]:
        ax.plot(p, 0, "x", color="0.6", markersize=3, clip_on=False)
    ax.set(ylim=(0, 1.05 * max(1.0, power.max())), xlim=(-0.7, N_ANGULAR - 0.3))
    ax.set_xticks(range(0, N_ANGULAR, 2))
    ax.set(xlabel="angular order $p$", ylabel="power / power at $p=0$")


@style.styled
def figure_orders(orders: pd.DataFrame, patterns: Mapping[int, SpotPattern]) -> Figure:
    """What the angular orders mean: ``patterns`` above the power in each of their ``orders``.

    See :func:`compute_order_patterns` and :func:`compute_order_examples`.
    """
    fig = style.new_figure(style.TWO_COLUMNS, 3.9)
    axes = fig.subplots(2, len(orders), squeeze=False)
    for (fold, row), column in zip(orders.iterrows(), axes.T, strict=True):
        spots = patterns[fold]
        plot_pattern(spots.qx, spots.qy, spots.intensity, column[0])
        column[0].set_title(f"{row['example']}\n{fold}-fold")
        power = row[list(range(N_ANGULAR))].to_numpy(dtype=float)
        _plot_order_power(power, column[-1], fold)
    for ax in axes[:, 1:].ravel():
        ax.set_ylabel("")
    style.label_panels(axes[:, 0], -0.25)
    return fig

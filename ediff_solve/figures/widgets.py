"""Widgets of the notebooks: turn a crystal's knobs and see pattern, basis and coefficients.

The widgets only hold values and a picture; what they show is computed by functions of their own, so
that it can be had, and tested, without a browser.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ediff_utils.bloch.dataset.table import crystal_orientations
from ediff_utils.bloch.simulation import SimulationError, simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.figures.basis import (
    Decomposition,
    compute_basis_image,
    compute_decomposition,
    plot_basis,
    plot_magnitude,
    plot_phase_bar,
    plot_reconstruction,
)
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.figures.style import WRONG_COLOR, new_figure, styled
from ediff_utils.figures.zone_axes import format_direction
from ediff_utils.paper.features import N_ANGULAR, N_RADIAL, STEP

#: Width of the reconstruction: a change of a knob should take a moment, not more.
_PIXELS = 141


@dataclass(frozen=True)
class Exploration(Decomposition):
    """A pattern taken apart, and what it is a pattern of.

    ``uvw``, (3,), is the zone axis in the conventional lattice, the largest index 1 or -1.
    """

    material_id: str
    uvw: np.ndarray


def compute_exploration(
    crystal: Crystal,
    zone_axis_index: int,
    thickness: float,
    settings: SimulationSettings | None = None,
    *,
    normalisation: str = "scattered",
    orientations: np.ndarray | None = None,
) -> Exploration:
    """Simulate one pattern of a dataset, at any thickness [angstrom], and take it apart.

    ``zone_axis_index`` is the pattern's within the crystal, from 0 to ``settings.orientations`` -
    1; the thicknesses of ``settings`` play no part. ``orientations``, (n, 3, 3), are the crystal's,
    where they are known already. A knob out of range is a UserError, a crystal that cannot be
    simulated a SimulationError.
    """
    settings = settings or SimulationSettings()
    if orientations is None:
        orientations = crystal_orientations(crystal, settings)
    if not 0 <= zone_axis_index < len(orientations):
        raise UserError(f"zone_axis_index {zone_axis_index}: expected 0 to {len(orientations) - 1}")
    if not 0 < thickness <= 1e5:
        raise UserError(f"thickness {thickness:g}: expected above 0 and up to 100000 angstrom")
    orientation = orientations[zone_axis_index]
    settings = settings.model_copy(update={"thicknesses": (float(thickness),)})
    pattern = simulate(crystal, orientation[None], settings)[0][0]
    uvw = orientation[:, 2] @ np.linalg.inv(crystal.conventional_lattice)
    parts = compute_decomposition(pattern, normalisation, _PIXELS, settings.q_max)
    return Exploration(**vars(parts), material_id=crystal.material_id, uvw=uvw / np.abs(uvw).max())


@styled
def _figure_exploration(exploration: Exploration, m: int, p: int) -> Figure:
    """Draw a pattern under basis function (m, p), its coefficients, and its reconstruction."""
    q_max, pattern = exploration.q_max, exploration.pattern
    fig = new_figure(9.0, 3.1)
    left, middle, right = fig.subplots(1, 3)
    plot_basis(compute_basis_image([m], p, 301, q_max), left, q_max)
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, left, q_max=q_max)
    name, nanometres = format_direction(exploration.uvw), pattern.thickness / 10
    left.set_title(f"{exploration.material_id}, zone axis {name}, {nanometres:g} nm")
    plot_phase_bar(fig, ax=left)
    plot_magnitude(exploration.coefficients, middle)
    middle.plot(p, m * STEP, "s", color=WRONG_COLOR, markerfacecolor="none", markersize=8)
    value = exploration.coefficients[m, p]
    middle.set_title(f"$|T_{{{m},{p}}}|$ = {abs(value):.4f}, arg = {np.angle(value):.2f} rad")
    plot_reconstruction(exploration, right)
    return fig


class BasisExplorer(widgets.VBox):
    """Knobs that take patterns of the crystals apart in the radial basis, and a picture.

    Works without a display; a change of a knob's ``value`` redraws ``picture``. An empty table, or
    a first crystal that it does not hold, is a UserError.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : SimulationSettings, optional
        As of the dataset, whose zone axes the slider goes through.
    normalisation : {"scattered", "incident"}
        As of the features.
    crystal : Crystal, optional
        Where the knobs stand at first: the crystal, one of the table and by default its first,
    zone_axis : int
        the zone axis,
    thickness : float, optional
        the thickness [angstrom], by default the first one of the settings,
    m, p : int
        and the basis function.

    Attributes
    ----------
    crystal, zone_axis, thickness, ring, order : Widget
        The knobs; ``thickness`` in nm.
    picture : Image
        What is shown, a PNG.
    message : HTML
        Why there is no picture, where there is none.
    exploration : Exploration or None
        What is shown, as numbers.
    """

    def __init__(
        self,
        crystals: pd.DataFrame,
        settings: SimulationSettings | None = None,
        normalisation: str = "scattered",
        *,
        crystal: Crystal | None = None,
        zone_axis: int = 0,
        thickness: float | None = None,
        m: int = 12,
        p: int = 6,
    ) -> None:
        if crystals.empty:
            raise UserError("crystals: expected at least one to explore, found none")
        settings = settings or SimulationSettings()
        self._crystals = {str(row["material_id"]): row for _, row in crystals.iterrows()}
        first = next(iter(self._crystals)) if crystal is None else crystal.material_id
        if first not in self._crystals:
            raise UserError(f"material_id {first}: no such crystal in the table")
        self._settings, self._normalisation = settings, normalisation
        self._orientations: dict[str, np.ndarray] = {}
        self.exploration: Exploration | None = None
        names = [
            (f"{row['formula']} ({name})" if "formula" in row else name, name)
            for name, row in self._crystals.items()
        ]
        nanometres = round((thickness or settings.thicknesses[0]) / 10)
        self.crystal = widgets.Dropdown(options=names, value=first, description="crystal")
        self.zone_axis = _slider("zone axis", zone_axis, 0, settings.orientations - 1)
        self.thickness = _slider("thickness [nm]", nanometres, 2, 200, 2)
        self.ring = _slider("ring m", m, 0, N_RADIAL - 1)
        self.order = _slider("order p", p, 0, N_ANGULAR - 1)
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self.message = widgets.HTML()
        knobs = [self.crystal, self.zone_axis, self.thickness, self.ring, self.order]
        for knob in knobs[:3]:
            knob.observe(self._simulate, names="value")
        for knob in knobs[3:]:
            knob.observe(self._draw, names="value")
        rows = [widgets.HBox(knobs[:3]), widgets.HBox(knobs[3:])]
        super().__init__([*rows, self.message, self.picture])
        self._simulate()

    def _simulate(self, _change: object = None) -> None:
        name = self.crystal.value
        try:
            crystal = Crystal.from_row(self._crystals[name])
            if name not in self._orientations:
                self._orientations[name] = crystal_orientations(crystal, self._settings)
            self.exploration = compute_exploration(
                crystal,
                self.zone_axis.value,
                10.0 * self.thickness.value,
                self._settings,
                normalisation=self._normalisation,
                orientations=self._orientations[name],
            )
            self.message.value = ""
        except (SimulationError, UserError) as error:
            self.exploration = None
            self.message.value = f"{name} cannot be simulated: {error}"
        self._draw()

    def _draw(self, _change: object = None) -> None:
        if self.exploration is None:
            self.picture.value = b""
            return
        fig = _figure_exploration(self.exploration, self.ring.value, self.order.value)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        self.picture.value = buffer.getvalue()


def _slider(name: str, value: int, low: int, high: int, step: int = 1) -> widgets.IntSlider:
    return widgets.IntSlider(
        value=int(np.clip(value, low, max(low, high))),
        min=low,
        max=max(low, high),
        step=step,
        description=name,
        # drawing takes longer than the mouse does from one value to the next
        continuous_update=False,
        style={"description_width": "initial"},
    )

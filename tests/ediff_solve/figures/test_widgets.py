"""What the widgets compute, and that they redraw when a knob is turned."""

import numpy as np
import pandas as pd
import pytest
from sample_crystals import make_crystal, make_structure

widgets = pytest.importorskip("ipywidgets")

from ediff_solve.figures.widgets import (
    BasisExplorer,
    _figure_exploration,
    compute_exploration,
)
from ediff_utils.bloch.dataset.table import pattern_table
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.symmetry import standardise
from ediff_utils.paper.features import STEP, compute_features, to_coefficients

SETTINGS = SimulationSettings(orientations=4, thicknesses=(200.0,))
NAMES = ("gold", "magnesium")


@pytest.fixture(scope="module")
def crystals():
    rows = [standardise(make_structure(name), 0.01) | {"material_id": name} for name in NAMES]
    return pd.DataFrame(rows)


@pytest.fixture
def explorer(crystals):
    return BasisExplorer(crystals, SETTINGS)


def shows_a_picture(explorer: BasisExplorer) -> bool:
    return bytes(explorer.picture.value).startswith(b"\x89PNG")


@pytest.mark.parametrize("sampling", ["grid", "random"])
def test_it_shows_the_patterns_of_the_dataset(sampling):
    crystal = make_crystal("quartz (chiral)")
    settings = SETTINGS.model_copy(update={"sampling": sampling})
    shown = compute_exploration(crystal, 3, 200.0, settings)
    (row,) = pattern_table(crystal, settings).slice(3, 1).to_pylist()
    np.testing.assert_allclose(shown.pattern.intensity, row["intensity"], rtol=1e-5)
    np.testing.assert_allclose(shown.pattern.qx, row["qx"], atol=1e-6)
    np.testing.assert_allclose(shown.uvw, row["zone_axis_lattice"], atol=1e-6)
    spots = (np.array(row[name]) for name in ("qx", "qy", "intensity"))
    vector = compute_features(*spots, np.array([0, len(row["qx"])]))
    np.testing.assert_allclose(shown.coefficients, to_coefficients(vector)[0], atol=1e-5)


def test_thickness_is_free_and_other_thicknesses_play_no_part():
    crystal = make_crystal("gold")
    shown = compute_exploration(crystal, 0, 1230.0, SETTINGS)
    assert shown.pattern.thickness == 1230.0


@pytest.mark.parametrize(("index", "thickness"), [(-1, 200), (4, 200), (0, 0), (0, float("nan"))])
def test_knobs_out_of_range_are_errors(index, thickness):
    with pytest.raises(UserError, match=r"zone_axis_index|thickness"):
        compute_exploration(make_crystal("gold"), index, thickness, SETTINGS)


def test_figure_marks_the_chosen_coefficient_and_tells_its_value():
    shown = compute_exploration(make_crystal("gold"), 0, 200.0, SETTINGS)
    fig = _figure_exploration(shown, 10, 4)
    left, middle = fig.axes[:2]
    assert "gold" in left.get_title()
    assert "20 nm" in left.get_title()
    (marker,) = middle.lines
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == pytest.approx((4, 10 * STEP))
    assert f"{abs(shown.coefficients[10, 4]):.4f}" in middle.get_title()
    # the ring of the basis function lies under the spots
    opacity = np.asarray(left.images[0].get_array())[150, :, 3]
    axis = np.linspace(-2, 2, 302)[:-1]
    assert np.abs(axis[np.argmax(opacity)]) == pytest.approx(0.5, abs=0.02)


def test_every_knob_redraws(explorer):
    assert isinstance(explorer, widgets.Widget)
    assert shows_a_picture(explorer)
    changes = [("crystal", "magnesium"), ("zone_axis", 2), ("thickness", 80), ("ring", 5)]
    for knob, value in [*changes, ("order", 2)]:
        before = bytes(explorer.picture.value)
        getattr(explorer, knob).value = value
        assert shows_a_picture(explorer)
        assert bytes(explorer.picture.value) != before, knob
    assert explorer.exploration.material_id == "magnesium"
    assert explorer.exploration.pattern.thickness == 800.0
    wanted = compute_exploration(make_crystal("magnesium"), 2, 800.0, SETTINGS)
    np.testing.assert_allclose(explorer.exploration.uvw, wanted.uvw)


def test_ring_and_order_do_not_simulate_again(explorer):
    before = explorer.exploration
    explorer.ring.value = 3
    explorer.order.value = 1
    assert explorer.exploration is before


def test_knobs_have_the_range_of_the_dataset(explorer):
    assert [name for _, name in explorer.crystal.options] == list(NAMES)
    assert (explorer.zone_axis.min, explorer.zone_axis.max) == (0, 3)
    assert (explorer.ring.max, explorer.order.max) == (40, 12)
    assert explorer.thickness.value == 20


def test_a_crystal_that_cannot_be_simulated_says_why_and_the_next_one_works(crystals):
    flat = crystals.copy()
    flat["lattice"] = [
        [0.0] * 9 if name == "gold" else row
        for name, row in zip(flat["material_id"], flat["lattice"], strict=True)
    ]
    explorer = BasisExplorer(flat.iloc[::-1], SETTINGS)
    explorer.crystal.value = "gold"
    assert "gold cannot be simulated" in explorer.message.value
    assert bytes(explorer.picture.value) == b""
    explorer.ring.value = 1
    explorer.crystal.value = "magnesium"
    assert explorer.message.value == ""
    assert shows_a_picture(explorer)


def test_nothing_to_explore_is_an_error(crystals):
    with pytest.raises(UserError, match="at least one"):
        BasisExplorer(crystals.iloc[:0], SETTINGS)


def test_knobs_start_where_they_are_told(crystals):
    crystal = make_crystal("magnesium")
    explorer = BasisExplorer(
        crystals, SETTINGS, crystal=crystal, zone_axis=3, thickness=560.0, m=7, p=2
    )
    knobs = (explorer.crystal, explorer.zone_axis, explorer.thickness, explorer.ring)
    assert [knob.value for knob in knobs] == ["magnesium", 3, 56, 7]
    assert explorer.order.value == 2
    assert explorer.exploration.material_id == "magnesium"
    assert explorer.exploration.pattern.thickness == 560.0


def test_a_first_crystal_that_the_table_does_not_hold_is_an_error(crystals):
    with pytest.raises(UserError, match="silicon"):
        BasisExplorer(crystals, SETTINGS, crystal=make_crystal("silicon"))

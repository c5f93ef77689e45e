"""What figures 5, 6 and S7 to S9 draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_tables import make_aggregates, make_predictions

from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.figures import lattice, style
from ediff_utils.paper import evaluation, published
from ediff_utils.paper.evaluation import AXES
from ediff_utils.paper.published import Published


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(60, 10)


@pytest.fixture(scope="module")
def aggregates(predictions) -> pd.DataFrame:
    return make_aggregates(predictions)


@pytest.fixture(scope="module")
def figure_5(predictions, aggregates) -> Figure:
    return lattice.figure_5(predictions, aggregates)


def drawn(fig) -> dict[str, list]:
    """Panels that are shown, by the system in the title of their row."""
    rows: dict[str, list] = {}
    system = ""
    for ax in fig.axes:
        if ax.axison:
            system = ax.get_title(loc="left").split(" ")[0] or system
            rows.setdefault(system, []).append(ax)
    return rows


def cubic(n: int, *, right: bool, error: float) -> pd.DataFrame:
    true = "cubic" if right else "tetragonal"
    frame = pd.DataFrame({"system": ["cubic"] * n, "true_system": true})
    for axis in AXES:
        frame[f"true_{axis}"], frame[axis] = 4.0, 4.0 + error
    return frame


# --- figure 5 -------------------------------------------------------------------------------------
def test_figure_5_bars_are_the_accuracies_and_median_errors(figure_5, predictions, aggregates):
    space_group, *lengths = figure_5.axes
    expected = {"one": {}, "ten": {}}
    for protocol, table in (("one", predictions), ("ten", aggregates)):
        rates = evaluation.compute_space_group_accuracy(table)
        rates = rates[rates["grouping"] == "predicted"].set_index("system")["accuracy"]
        expected[protocol]["space group"] = rates[list(SYSTEMS)].tolist()
        errors = evaluation.compute_lattice_errors(table)
        errors = errors[errors["grouping"] == "predicted"].set_index(["axis", "system"])
        for axis in AXES:
            expected[protocol][axis] = errors.loc[axis, "median_error"][list(SYSTEMS)].tolist()
    for ax, name in zip((space_group, *lengths), ("space group", *AXES), strict=True):
        widths = [bar.get_width() for bar in ax.patches]
        np.testing.assert_allclose(widths, expected["one"][name] + expected["ten"][name])


def test_figure_5_labels(figure_5):
    labels = [ax.get_xlabel() for ax in figure_5.axes]
    assert labels == ["Space group accuracy", *(f"Median error of ${a}$ (Å)" for a in AXES)]
    assert [t.get_text() for t in figure_5.axes[0].get_yticklabels()] == list(SYSTEMS)
    legend = [t.get_text() for t in figure_5.legends[0].get_texts()]
    assert legend[:2] == ["one pattern (n = 600)", "10 patterns (n = 60)"]
    limits = {ax.get_xlim() for ax in figure_5.axes[1:]}
    assert len(limits) == 1


def test_figure_5_marks_what_the_paper_states(figure_5):
    space_group, *_, c = figure_5.axes
    diamonds = [line for line in space_group.lines if line.get_marker() == "D"]
    assert sorted(line.get_xdata()[0] for line in diamonds) == [0.40, 0.45, 0.90]
    ranges = [tuple(line.get_xdata()) for line in space_group.lines if line.get_marker() == "|"]
    assert sorted(ranges) == [(0.5, 0.7)] * 3 + [(0.7, 0.9)] * 3
    values = sorted(line.get_xdata()[0] for line in c.lines if line.get_marker() == "D")
    assert values == [0.02, 0.03, 0.14, 0.26, 0.26, 0.40]


def test_marks_tell_exact_about_and_unknown_apart():
    ax = Figure().subplots()
    for number in (
        published.CRYSTAL_SYSTEM_ACCURACY["one"],
        published.SPACE_GROUP_ACCURACY["one"]["cubic"],
        Published(None, "fraction", "nowhere", "not stated"),
    ):
        lattice._plot_paper_value(number, 0.0, ax)
    assert [to_hex(line.get_markerfacecolor()) for line in ax.lines] == ["#000000", "#ffffff"]


# --- figures 6 and S7 -----------------------------------------------------------------------------
def test_figure_6_drops_what_symmetry_repeats(aggregates, predictions):
    for table, title in (
        (aggregates, "10 patterns (n = 60 materials)"),
        (predictions, "One pattern (n = 600 patterns)"),
    ):
        fig = lattice.figure_6(table)
        rows = drawn(fig)
        assert {s: len(axes) for s, axes in rows.items()} == {
            "cubic": 1, "hexagonal": 2, "trigonal": 2, "tetragonal": 2, "orthorhombic": 3,
            "monoclinic": 3,
        }  # fmt: skip
        assert fig.get_suptitle() == title
        assert [ax.get_xlabel() for ax in rows["trigonal"]] == ["True $a = b$ (Å)", "True $c$ (Å)"]
        assert [ax.get_ylabel() for ax in rows["monoclinic"]] == [
            f"Predicted ${axis}$ (Å)" for axis in AXES
        ]
        called = (table["system"] == "cubic").sum()
        assert rows["cubic"][0].get_title(loc="left") == f"cubic (n = {called})"


def test_right_and_wrong_systems_have_their_own_colors():
    ax = Figure().subplots()
    table = pd.concat(
        [cubic(30, right=True, error=0.0), cubic(5, right=False, error=1.0)], ignore_index=True
    )
    lattice._plot_true_against_predicted(table, evaluation.right_system(table), "a", ax)
    wrong, right = ax.collections
    assert wrong.get_array().sum() == 5
    assert right.get_array().sum() == 30
    assert to_hex(wrong.get_cmap()(0.5)).upper()[:3] == style.WRONG_COLOR[:3]
    assert ax.get_xlim() == ax.get_ylim()
    (diagonal,) = ax.lines
    assert diagonal.get_slope() == 1


def test_true_lengths_run_along_x():
    ax = Figure().subplots()
    table = cubic(4, right=True, error=2.0)
    lattice._plot_true_against_predicted(table, evaluation.right_system(table), "b", ax)
    (mesh,) = ax.collections
    cell = np.argwhere(~np.ma.getmaskarray(mesh.get_array()))[0]
    corners = mesh.get_coordinates()
    low, high = corners[cell[0], cell[1]], corners[cell[0] + 1, cell[1] + 1]
    assert low[0] <= 4.0 <= high[0]
    assert low[1] <= 6.0 <= high[1]


# --- figures S8 and S9 ----------------------------------------------------------------------------
def test_errors_are_stacked_with_their_median():
    ax = Figure().subplots()
    table = pd.concat(
        [cubic(98, right=True, error=0.1), cubic(20, right=False, error=0.5),
         cubic(1, right=False, error=30.0)],
        ignore_index=True,
    )  # fmt: skip
    lattice._plot_error_histogram(table, evaluation.right_system(table), "a", ax)
    right, wrong = ax.containers
    assert sum(bar.get_height() for bar in right) == 98
    assert sum(bar.get_height() for bar in wrong) == 20
    assert ax.lines[0].get_xdata()[0] == pytest.approx(0.1)
    assert ax.texts[0].get_text() == "median 0.10 Å\n1 beyond 0.6 Å"


def test_stacked_bars_begin_where_the_right_ones_end():
    ax = Figure().subplots()
    table = pd.concat(
        [cubic(6, right=True, error=0.1), cubic(4, right=False, error=0.1)], ignore_index=True
    )
    lattice._plot_error_histogram(table, evaluation.right_system(table), "a", ax)
    right, wrong = ax.containers
    tops = [bar.get_height() for bar in right]
    np.testing.assert_array_equal([bar.get_y() for bar in wrong], tops)


def test_figure_s8_has_a_panel_a_length(predictions):
    rows = drawn(lattice.figure_s8(predictions))
    assert sum(len(axes) for axes in rows.values()) == 13
    assert rows["cubic"][0].get_xlabel() == "Absolute error of $a = b = c$ (Å)"
    assert rows["orthorhombic"][0].get_ylabel() == "Patterns"
    shown = sum(bar.get_height() for group in rows["cubic"][0].containers for bar in group)
    called = (predictions["system"] == "cubic").sum()
    assert 0.97 * called <= shown <= called


# --- little data ----------------------------------------------------------------------------------
@pytest.mark.parametrize("n_materials", [0, 2])
def test_little_data_draws_without_warnings(n_materials, tmp_path):
    predictions = make_predictions(3, 2)
    aggregates = make_aggregates(predictions)[:n_materials]
    predictions = predictions[: 2 * n_materials]
    figures = [lattice.figure_5(predictions, aggregates), lattice.figure_6(aggregates)]
    figures += [lattice.figure_s8(predictions)]
    for fig in figures:
        assert style.save_figure(fig, tmp_path / "figure.png").stat().st_size > 1000
    empty = [t.get_text() for ax in figures[1].axes for t in ax.texts if t.get_text() == "none"]
    groups = set(aggregates["system"])
    missing = [s for s in SYSTEMS if s not in groups]
    assert len(empty) == sum(len(evaluation.INDEPENDENT_AXES[s]) for s in missing)

"""What the figures of reliability, of coverage and of the number of patterns draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_tables import make_aggregates, make_predictions

from ediff_solve.figures import aggregation as curves_figures
from ediff_solve.figures import reliability as figures
from ediff_solve.forests.reliability import (
    compute_coverage,
    compute_reliability,
    compute_reliability_summary,
)
from ediff_utils.core.errors import UserError
from ediff_utils.figures import style
from ediff_utils.paper.aggregation import METHODS

CURVES = pd.DataFrame(
    [
        ("majority", 1, 0.6, 0.5, 0.7, 90),
        ("majority", 10, 0.8, 0.7, 0.9, 90),
        ("pooled", 1, 0.5, 0.4, 0.6, 90),
        ("pooled", 10, 0.7, 0.6, 0.8, 90),
    ],
    columns=["method", "n_patterns", "accuracy", "low", "high", "n_materials"],
)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(40, 8)


@pytest.fixture(scope="module")
def aggregates(predictions) -> pd.DataFrame:
    return make_aggregates(predictions)


def new_axes():
    return Figure().subplots()


def curves_of(ax):
    """Lines with a marker: the data."""
    return [line for line in ax.lines if line.get_marker() not in ("None", "")]


# --- number of patterns ---------------------------------------------------------------------------
def test_curves_are_accuracy_against_the_number_of_patterns():
    (ax,) = curves_figures.figure_curves(CURVES).axes
    assert "n = 90 materials" in ax.get_title()
    first, second = curves_of(ax)
    assert first.get_xdata().tolist() == second.get_xdata().tolist() == [1, 10]
    assert first.get_ydata().tolist() == [0.6, 0.8]
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["one vote a pattern", "pooled"]
    band = ax.collections[1].get_paths()[0].get_extents()
    np.testing.assert_allclose([band.ymin, band.ymax], [0.4, 0.8])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "10"]
    assert ax.get_xlabel() == "Patterns put together"


def test_every_method_has_a_name():
    assert set(curves_figures.METHOD_LABELS) == set(METHODS)


# --- reliability ----------------------------------------------------------------------------------
def test_reliability_shows_filled_bins_their_intervals_and_shares(predictions):
    bins = compute_reliability(predictions, "vote_share")
    filled = bins[bins["n"] > 0]
    assert len(filled) < len(bins)
    ax = new_axes()
    figures._plot_reliability(bins, ax, (0, 2), color="#E69F00", marker="s")
    (line,) = curves_of(ax)
    np.testing.assert_array_equal(line.get_xdata(), filled["confidence"])
    np.testing.assert_array_equal(line.get_ydata(), filled["accuracy"])
    assert to_hex(line.get_color()).upper() == "#E69F00"
    (intervals,) = ax.collections
    ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
    np.testing.assert_allclose(ends, filled[["accuracy_low", "accuracy_high"]])
    np.testing.assert_allclose([b.get_height() for b in ax.patches], filled["n"] / 320)
    np.testing.assert_allclose([b.get_width() for b in ax.patches], 0.05)
    diagonal = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [d.get_xydata().tolist() for d in diagonal] == [[[0, 0], [1, 1]]]
    assert ax.get_xlabel() == "Confidence"
    figures._plot_reliability(bins, ax, (1, 2), color="#0072B2")
    starts = [bar.get_x() for bar in ax.patches]
    n = len(filled)
    np.testing.assert_allclose(np.subtract(starts[n:], starts[:n]), 0.05)
    assert len([line for line in ax.lines if line.get_linestyle() == "--"]) == 1


# --- coverage -------------------------------------------------------------------------------------
def test_coverage_is_drawn_as_it_is(predictions):
    coverage = compute_coverage(predictions, "confidence")
    ax = new_axes()
    figures._plot_coverage(coverage, ax, marker="o", label="lead")
    (line,) = curves_of(ax)
    np.testing.assert_array_equal(line.get_xydata(), coverage[["coverage", "accuracy"]])
    assert line.get_label() == "lead"
    assert ax.get_xlabel().startswith("Coverage")


def test_figure_compares_tables(predictions, aggregates):
    tables = {"one": (predictions, "vote_share"), "eight": (aggregates, "confidence")}
    fig = figures.figure_reliability(tables)
    left, right = fig.axes
    assert len(curves_of(left)) == len(curves_of(right)) == 2
    colors = [to_hex(line.get_color()) for line in curves_of(left)]
    assert colors == [to_hex(line.get_color()) for line in curves_of(right)]
    assert len(set(colors)) == 2
    one, eight = (text.get_text() for text in fig.legends[0].get_texts())
    summary = compute_reliability_summary(predictions, "vote_share")
    assert one.startswith("one (n = 320 patterns)")
    assert f"calibration error {100 * summary['ece']:.1f} %" in one
    assert f"at 80 % coverage {100 * summary['accuracy_at_80']:.1f} %" in one
    assert eight.startswith("eight (n = 40 materials)")


def test_more_tables_than_colours_are_refused(aggregates):
    tables = {str(i): (aggregates, "confidence") for i in range(8)}
    with pytest.raises(UserError, match="at most 7 curves, got 8"):
        figures.figure_reliability(tables)


# --- little data ----------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 1, 2])
def test_little_data_draws_without_warnings(n, aggregates, tmp_path):
    fig = figures.figure_reliability({"few": (aggregates[:n], "confidence")})
    assert style.save_figure(fig, tmp_path / "a.png").stat().st_size > 1000
    if not n:
        assert all("none" in [t.get_text() for t in ax.texts] for ax in fig.axes)
    fig = curves_figures.figure_curves(CURVES[:n])
    assert style.save_figure(fig, tmp_path / "b.png").stat().st_size > 1000

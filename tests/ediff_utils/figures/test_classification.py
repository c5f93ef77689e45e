"""What figures 3, 4, S3, S5 and S6 draw."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_tables import make_aggregates, make_predictions, make_spots

from ediff_utils.core.errors import UserError
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS
from ediff_utils.figures import classification, style, votes
from ediff_utils.paper import evaluation


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(60, 10)


@pytest.fixture(scope="module")
def aggregates(predictions) -> pd.DataFrame:
    return make_aggregates(predictions)


def new_axes():
    return Figure().subplots()


def panels(fig):
    """Axes that hold data: those with a panel letter."""
    return [ax for ax in fig.axes if any(t.get_fontweight() == "bold" for t in ax.texts)]


# --- style ----------------------------------------------------------------------------------------
def test_every_system_has_its_own_color():
    assert set(style.SYSTEM_COLORS) == set(style.SHORT) == set(ALL_SYSTEMS)
    assert len(set(style.SYSTEM_COLORS.values())) == 7
    assert style.RIGHT_COLOR != style.WRONG_COLOR


def test_saving_twice_gives_the_same_bytes(predictions, aggregates, tmp_path):
    for name in ("a.png", "b.png"):
        style.save_figure(classification.figure_s5(predictions, aggregates), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")
    for chunk in (b"tEXt", b"tIME", b"Matplotlib"):
        assert chunk not in first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_figures_do_not_depend_on_the_users_settings(predictions, aggregates):
    with mpl.rc_context({"font.size": 30, "axes.labelsize": 30}):
        fig = classification.figure_s5(predictions, aggregates)
        assert mpl.rcParams["font.size"] == 30
    assert fig.axes[0].xaxis.label.get_size() == 8


# --- figure 4 -------------------------------------------------------------------------------------
def test_cells_show_percent_and_empty_ones_stay_blank():
    matrix = pd.DataFrame(0.0, index=SYSTEMS, columns=SYSTEMS)
    matrix.loc["cubic", "cubic"] = 0.123
    matrix.loc["monoclinic", "orthorhombic"] = 0.0004
    matrix.loc["trigonal", "cubic"] = np.nan
    ax = new_axes()
    classification.plot_matrix(matrix, ax)
    shown = {(t.get_position()[::-1]): t.get_text() for t in ax.texts}
    assert shown == {(0, 0): "12.3", (5, 4): "<0.1"}
    assert [t.get_text() for t in ax.get_xticklabels()] == [style.SHORT[s] for s in SYSTEMS]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("True crystal system", "Predicted crystal system")


def test_figure_4_shows_confusion_and_confidence(predictions, aggregates):
    fig = classification.figure_4(predictions, aggregates)
    a, b, c, d = panels(fig)
    for ax, table in ((a, predictions), (b, aggregates)):
        cells = [t for t in ax.texts if t.get_fontweight() != "bold"]
        confusion = evaluation.compute_confusion(table)
        assert len(cells) == (confusion.to_numpy() > 0).sum()
        shown = {t.get_position(): t.get_text() for t in cells}
        assert shown[0, 0] == f"{100 * confusion.iloc[0, 0]:.1f}"
    accuracy = evaluation.compute_accuracy(predictions).value
    assert f"accuracy {100 * accuracy:.1f} % (paper 67 %)\nn = 600 patterns" in a.get_title()
    assert "10 patterns" in b.get_title()
    assert "n = 60 materials" in b.get_title()
    confidence = evaluation.compute_confidence_matrix(aggregates)
    shown = {t.get_position(): t.get_text() for t in d.texts}
    assert shown[0, 0] == f"{100 * confidence.iloc[0, 0]:.0f}"
    assert "share of the trees" in c.get_title()
    bars = [ax.get_ylabel() for ax in fig.axes if ax.get_ylabel().endswith(("set", "confidence"))]
    assert bars == ["Share of the test set", "Mean confidence"]


# --- figure S3 ------------------------------------------------------------------------------------
def test_figure_s3_shows_seven_classes():
    predictions = make_predictions(60, 4, triclinic=True)
    fig = classification.figure_s3(predictions, make_aggregates(predictions))
    a, b, c, d = panels(fig)
    assert [t.get_text() for t in a.get_xticklabels()][-1] == "tric"
    assert "(paper 63 %)" in a.get_title()
    assert "paper" not in c.get_title()
    assert [t.get_text() for t in d.get_yticklabels()] == list(ALL_SYSTEMS)
    rates = evaluation.compute_system_rates(predictions)
    widths = [bar.get_width() for bar in b.patches]
    np.testing.assert_allclose(widths, [*rates["precision"], *rates["sensitivity"]])
    (paper,) = [line for line in b.lines if line.get_label() == "paper"]
    assert list(paper.get_xdata()) == [0.66, 0.14]


# --- figure S5 ------------------------------------------------------------------------------------
def test_figure_s5_places_systems_by_share_and_rate(predictions, aggregates):
    share = {system: 0.1 * (i + 1) for i, system in enumerate(SYSTEMS)}
    rates = evaluation.compute_system_rates(predictions)
    ax = new_axes()
    classification._plot_false_positives(rates, share, ax, filled=False)
    points = {to_hex(line.get_color()).upper(): line for line in ax.lines}
    for system in SYSTEMS:
        line = points[style.SYSTEM_COLORS[system]]
        assert line.get_xdata()[0] == pytest.approx(share[system], abs=0.003)
        assert line.get_ydata()[0] == pytest.approx(rates.loc[system, "false_positive_rate"])
    assert ax.get_ylabel() == "False-positive rate"
    fig = classification.figure_s5(predictions, aggregates)
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == [
        *SYSTEMS, "one pattern", "10 patterns", "paper, one pattern", "paper, ten patterns"
    ]  # fmt: skip
    crosses = [line for line in fig.axes[0].lines if line.get_marker() in ("x", "+")]
    assert sorted(line.get_ydata()[0] for line in crosses) == [0.15, 0.28, 0.29, 0.43]


# --- figure S6 ------------------------------------------------------------------------------------
def test_figure_s6_stacks_wrong_on_right(predictions, aggregates):
    histogram = evaluation.compute_confidence_histogram(predictions)
    histogram = histogram[histogram["system"] == "orthorhombic"]
    ax = new_axes()
    classification._plot_confidence_histogram(histogram, ax)
    right, wrong = ax.containers
    assert to_hex(right[0].get_facecolor()).upper() == style.RIGHT_COLOR
    np.testing.assert_array_equal([b.get_height() for b in right], histogram["right"])
    np.testing.assert_array_equal([b.get_height() for b in wrong], histogram["wrong"])
    np.testing.assert_array_equal([b.get_y() for b in wrong], histogram["right"])
    fig = classification.figure_s6(predictions, aggregates)
    assert len(fig.axes) == 12
    one, ten = fig.subfigs
    assert one.get_suptitle() == "One pattern (n = 600 patterns)"
    assert ten.get_supxlabel() == "Confidence (share of the weights)"
    assert (one.get_supylabel(), ten.get_supylabel()) == ("Patterns", "Materials")
    called = (predictions["system"] == "cubic").sum()
    assert one.axes[0].get_title() == f"cubic (n = {called})"


# --- figure 3 -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def example(predictions, aggregates):
    return votes.choose_figure_3_example(predictions, aggregates)


def patterns_of(example) -> pd.DataFrame:
    """Spots of the example's patterns among those of others."""
    rows = [
        dict(zip(("qx", "qy", "intensity"), make_spots(number).T, strict=True))
        | {"material_id": material, "pattern": number}
        for number in example.patterns
        for material in (example.material_id, "another")
    ]
    return pd.DataFrame(rows)


def test_the_example_shows_the_three_cases(example, predictions):
    assert example.cases == ("right and sure", "right but unsure", "wrong")
    assert example.note == ""
    assert example.aggregate_system == example.true_system
    own = predictions[predictions["material_id"] == example.material_id].set_index("pattern")
    sure, unsure, wrong = (own.loc[p] for p in example.patterns)
    assert sure["system"] == unsure["system"] == example.true_system != wrong["system"]
    right = own[own["system"] == own["true_system"]]["confidence"]
    assert (sure["confidence"], unsure["confidence"]) == (right.max(), right.min())
    assert (example.votes.sum(axis=1) == example.n_trees).all()


def test_the_title_says_what_an_example_lacks(predictions):
    only_right = predictions[predictions["system"] == predictions["true_system"]]
    example = votes.choose_figure_3_example(only_right, make_aggregates(only_right))
    assert example.cases == ("right and sure", "right but unsure")
    assert example.note == "no pattern of this material is wrong"
    fig = votes.figure_3(example, patterns_of(example))
    assert example.note in fig.get_suptitle()
    assert len(panels(fig)) == 5
    only_wrong = predictions[predictions["system"] != predictions["true_system"]]
    example = votes.choose_figure_3_example(only_wrong, make_aggregates(only_wrong))
    assert example.cases == ("wrong",)
    assert "both right" in example.note


def test_no_material_is_the_users_to_mend(predictions, aggregates):
    with pytest.raises(UserError, match="expected a material"):
        votes.choose_figure_3_example(predictions[:0], aggregates)


def test_figure_3_draws_patterns_votes_and_weights(example):
    fig = votes.figure_3(example, patterns_of(example), name="Au")
    axes = {t.get_text(): ax for ax in panels(fig) for t in ax.texts if len(t.get_text()) == 1
            and t.get_text() in "abcdefg"}  # fmt: skip
    assert sorted(axes) == list("abcdefg")
    assert fig.get_suptitle().startswith(f"Au, {example.true_system}")
    assert axes["a"].get_xlabel() == "$q_x$ (1/Å)"
    assert axes["a"].get_ylabel() == "$q_y$ (1/Å)"
    for letter, number in zip("abc", example.patterns, strict=True):
        drawn = axes[letter].collections[0].get_offsets()
        np.testing.assert_allclose(drawn, make_spots(number)[:, :2])
    for i, letter in enumerate("def"):
        heights = [bar.get_height() for bar in axes[letter].patches]
        assert heights == example.votes.iloc[i].tolist()
        first, second = sorted(heights, reverse=True)[:2]
        assert f"= {(first - second) / example.n_trees:.4f}" in axes[letter].get_title()
        assert axes[letter].get_ylabel() == f"Trees of {example.n_trees}"
    weights = [bar.get_height() for bar in axes["g"].patches]
    np.testing.assert_allclose(weights, example.weights)
    assert axes["g"].get_title() == f"aggregate of 10 patterns: {example.aggregate_system}"


def test_a_pattern_that_the_table_lacks_is_an_error(example):
    with pytest.raises(UserError, match="no pattern"):
        votes.figure_3(example, patterns_of(example)[:1])


# --- little data ----------------------------------------------------------------------------------
@pytest.mark.parametrize("n_materials", [0, 1, 3])
@pytest.mark.parametrize("name", ["figure_4", "figure_s3", "figure_s5", "figure_s6"])
def test_little_data_draws_without_warnings(name, n_materials, tmp_path):
    predictions = make_predictions(3, 2, triclinic=name == "figure_s3")
    aggregates = make_aggregates(predictions)[:n_materials]
    predictions = predictions[: 2 * n_materials]
    fig = getattr(classification, name)(predictions, aggregates)
    assert style.save_figure(fig, tmp_path / "figure.png").stat().st_size > 1000

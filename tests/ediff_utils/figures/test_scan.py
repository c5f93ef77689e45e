"""What the figures of the scan show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scan_fakes import FakeHierarchy, lists_of

from ediff_utils.core.settings import ScanSettings
from ediff_utils.figures import scan as draw
from ediff_utils.figures.scan import figure_7, figure_s4, figure_s10
from ediff_utils.figures.style import SYSTEM_COLORS
from ediff_utils.paper.predictions import write_table
from ediff_utils.paper.scan.maps import compute_scan_maps
from ediff_utils.paper.scan.summary import compute_examples, compute_pca


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def scan():
    systems = np.full((10, 14), "", dtype=object)
    systems[1:9, 1:7] = "cubic"
    systems[1:9, 7:13] = "hexagonal"
    lists = lists_of(systems)
    return lists, compute_scan_maps(lists, FakeHierarchy(), ScanSettings())


def test_dark_field_has_x_downwards_and_a_bar_in_nanometres(scan, ax):
    _, maps = scan
    draw._plot_dark_field(maps, ax, step=21.0)
    image = ax.images[0].get_array()
    assert image.shape == (10, 14)
    assert image[1, 12] == pytest.approx(0.06)
    assert image[9, 1] == 0
    assert ax.yaxis_inverted()
    # 14 pixels are 29.4 nm: the round length below a quarter of it
    assert [text.get_text() for text in ax.texts] == ["5 nm"]
    assert ax.patches[0].get_width() == pytest.approx(5 / 29.4)
    assert ax.get_aspect() == 1


@pytest.mark.parametrize("step", [0.5, 3.0, 21.0, 1000.0])
def test_scale_bar_is_as_long_as_it_says(scan, ax, step):
    _, maps = scan
    draw._plot_dark_field(maps, ax, step=step)
    length = float(ax.texts[0].get_text().removesuffix(" nm"))
    assert ax.patches[0].get_width() == pytest.approx(length * 10 / (14 * step))
    assert 0.09 < ax.patches[0].get_width() <= 0.25


def test_system_map_is_coloured_by_system_and_brighter_with_confidence(scan, ax):
    _, maps = scan
    maps = maps.copy()
    doubtful = (maps["x"] == 3) & (maps["y"] == 3)
    maps.loc[doubtful, "confidence"] = 0.1
    draw._plot_system_map(maps, ax)
    image = ax.images[0].get_array()
    np.testing.assert_allclose(image[0, 0], to_rgb(draw._MASKED))
    full = np.array(to_rgb(SYSTEM_COLORS["cubic"]))
    np.testing.assert_allclose(image[2, 2], full)
    np.testing.assert_allclose(image[2, 11], to_rgb(SYSTEM_COLORS["hexagonal"]))
    ratio = image[3, 3] / full
    assert np.ptp(ratio[full > 0]) < 1e-12
    assert 0.4 < ratio[0] < 0.8
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(legend) == ["cubic", "hexagonal", "none"]
    assert "0.50" in ax.get_legend().get_title().get_text()


def test_system_bars_hold_both_counts(ax):
    maps = pd.DataFrame(
        {
            "system": ["cubic", "cubic", "cubic", "hexagonal", None],
            "confidence": [0.1, 0.1, 0.2, 0.4, 0.9],
        }
    )
    draw._plot_system_shares(maps, ax)
    weighted, raw = ax.containers
    assert [bar.get_height() for bar in weighted] == pytest.approx([50, 50])
    assert [bar.get_height() for bar in raw] == pytest.approx([75, 25])
    assert not raw[0].get_fill()
    assert weighted[1].get_facecolor()[:3] == to_rgb(SYSTEM_COLORS["hexagonal"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cubic", "hexagonal"]
    assert [text.get_text() for text in ax.texts] == ["3", "1"]


def test_example_shows_the_spots_of_its_position(scan, ax):
    lists, maps = scan
    example = compute_examples(maps).iloc[0]
    draw._plot_example(example, lists, ax)
    position = np.flatnonzero((lists.x == example["x"]) & (lists.y == example["y"]))[0]
    qx, qy, _ = lists.spots(position)
    drawn = ax.collections[0].get_offsets()
    np.testing.assert_allclose(drawn, np.column_stack([qy, qx]))
    assert ax.yaxis_inverted()
    assert ax.get_aspect() == 1
    assert "q_x" in ax.get_ylabel()
    assert "1/Å" in ax.get_ylabel()
    assert example["system"] in ax.get_title(loc="left")
    edge = ax.spines["left"].get_edgecolor()[:3]
    assert edge == to_rgb(SYSTEM_COLORS[example["system"]])


def test_lattice_map_masks_what_was_not_predicted(scan, ax):
    _, maps = scan
    draw._plot_lattice_map(maps, ax, "c")
    image = ax.images[0].get_array()
    assert image.shape == (10, 14)
    assert image.mask[0, 0]
    assert image[2, 2] == pytest.approx(5.0)
    assert image[2, 11] == pytest.approx(4.01)
    assert ax.images[0].cmap(np.ma.masked)[:3] == to_rgb(draw._MASKED)
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "c (Å)"


def test_histogram_holds_every_pixel_its_median_and_the_truth(scan, ax):
    _, maps = scan
    draw._plot_lattice_histogram(maps, ax, 4.08, "a")
    bars = ax.patches
    shown = maps["a"].between(bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width())
    assert sum(bar.get_height() for bar in bars) == shown.sum()
    # a few outliers must not press the others into one bar
    assert shown.sum() >= 0.95 * maps["a"].notna().sum()
    median, truth = ax.lines
    assert median.get_xdata()[0] == pytest.approx(maps["a"].median())
    assert truth.get_xdata()[0] == 4.08
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"median {maps['a'].median():.3f} Å", "true 4.080 Å"]
    assert ax.get_xlabel() == "predicted a (Å)"


def test_unknown_sample_has_no_line_of_truth(scan, ax):
    _, maps = scan
    draw._plot_lattice_histogram(maps, ax, None)
    assert len(ax.lines) == 1


def test_principal_components_are_drawn_by_source():
    rng = np.random.default_rng(0)
    components = compute_pca(rng.normal(size=(30, 5)), rng.normal(size=(10, 5)))
    (ax,) = figure_s4(components).axes
    scan, simulated = ax.collections
    assert len(scan.get_offsets()) == 30
    assert len(simulated.get_offsets()) == 10
    assert scan.get_alpha() <= 0.5
    own = components[components["source"] == "simulated"]
    np.testing.assert_allclose(simulated.get_offsets(), own[["pc1", "pc2"]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["scan", "simulated Au"]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_figure_7_is_drawn_whole(scan, tmp_path):
    lists, maps = scan
    figure = figure_7(maps, lists, step=21.0, true_a=4.0782)
    figure.savefig(tmp_path / "figure.png")
    letters = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert set("abcdefgh") <= letters
    shown = titles(figure)
    assert shown[:3] == ["Virtual dark field", "Crystal system", "Predictions, number: pixels"]
    assert {title.split(",")[0] for title in shown[3:5]} == {"cubic", "hexagonal"}
    # two systems, three places
    assert "no further system" in letters
    assert "Lattice parameter a" in shown


def test_figures_of_a_scan_that_gave_no_prediction(tmp_path):
    lists = lists_of(np.full((4, 4), "cubic", dtype=object))
    maps = compute_scan_maps(lists, FakeHierarchy(doubters=40), ScanSettings())
    figure = figure_7(maps, lists, step=21.0)
    figure.savefig(tmp_path / "empty.png")
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts.count("no further system") == 3
    assert "no pixel with a prediction" in texts


def test_maps_read_from_a_file_look_the_same(scan, tmp_path):
    lists, maps = scan
    write_table(maps, tmp_path / "maps.parquet")
    pictures = []
    for table in (maps, pd.read_parquet(tmp_path / "maps.parquet")):
        figure = figure_7(table, lists, step=21.0)
        figure.savefig(tmp_path / "figure.png", metadata={"Software": None})
        pictures.append((tmp_path / "figure.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_figure_s10_shows_a_and_c_of_the_predicted_system(scan, tmp_path):
    _, maps = scan
    figure = figure_s10(maps, true_a=4.0782)
    figure.savefig(tmp_path / "s10.png")
    labels = {ax.get_xlabel() for ax in figure.axes} - {""}
    assert labels == {"predicted a (Å)", "predicted c (Å)"}
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert images[0][2, 11] == pytest.approx(3.01)
    assert images[1][2, 11] == pytest.approx(4.01)

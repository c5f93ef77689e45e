"""What figures 2 and S2 show."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure
from sample_crystals import make_crystal

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.figures import basis, orders
from ediff_utils.figures.basis import (
    PHASE_MAP,
    compute_basis_image,
    compute_decomposition,
    figure_2,
    figure_decomposition,
    figure_s2,
    plot_magnitude,
    plot_reconstruction,
)
from ediff_utils.figures.orders import compute_coefficients
from ediff_utils.figures.structures import compute_thickness_series
from ediff_utils.figures.style import save_figure
from ediff_utils.paper.features import N_ANGULAR, N_RADIAL, STEP

#: Fold, crystal and zone axis.
FOLDS = [
    (2, "forsterite", [0, 0, 1]),
    (3, "quartz (chiral)", [0, 0, 1]),
    (4, "rutile", [0, 0, 1]),
    (6, "magnesium", [0, 0, 1]),
]


def pattern_of(name: str, uvw: list[int]) -> SpotPattern:
    crystal = make_crystal(name)
    return compute_thickness_series(crystal, uvw @ crystal.conventional_lattice, (200,))[0]


def ring_of_spots(n: int, radius: float) -> SpotPattern:
    angle = 2 * np.pi * np.arange(n) / n
    return SpotPattern(
        qx=radius * np.cos(angle),
        qy=radius * np.sin(angle),
        intensity=np.full(n, 0.1),
        hkl=np.zeros((n, 3), dtype=int),
        direct_beam=0.5,
        thickness=200.0,
    )


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def hexagonal():
    return pattern_of("magnesium", [0, 0, 1])


def test_phases_colours_close_to_a_circle_and_keep_apart_for_the_colour_blind():
    np.testing.assert_allclose(PHASE_MAP(0.0), PHASE_MAP(1.0))
    quarters = np.array([PHASE_MAP(x)[:3] for x in (0.0, 0.25, 0.5, 0.75)])
    # without red against green, what is left is lightness and blue against yellow
    lightness = quarters @ [0.2126, 0.7152, 0.0722]
    blue = quarters[:, 2] - quarters[:, :2].mean(axis=1)
    seen = np.column_stack([lightness, blue])
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert distances[~np.eye(4, dtype=bool)].min() > 0.3


@pytest.mark.parametrize("p", [0, 1, 6, 12])
def test_a_ring_goes_through_the_phases_p_times(p):
    n = 801
    image = compute_basis_image([20], p, n)
    assert image.shape == (n, n, 4)
    axis = np.linspace(-2, 2, n + 1)[:-1] + 2 / n
    qx, qy = np.meshgrid(axis, axis)
    np.testing.assert_allclose(
        image[..., 3], np.maximum(0, 1 - np.abs(np.hypot(qx, qy) - 1.0) / STEP), atol=1e-9
    )
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    rows, columns = (np.rint((f(angle) + 2) / 4 * n - 0.5).astype(int) for f in (np.sin, np.cos))
    # dark blue, the colour of phase 0, is met p times on the way round
    dark = rgb_to_hsv(image[rows, columns, :3])[:, 2] < 0.5
    starts = np.count_nonzero(dark & ~np.roll(dark, 1))
    assert starts == p
    if p == 0:
        assert dark.all()


def test_where_rings_overlap_the_larger_weight_counts():
    both = compute_basis_image([10, 11], 3, 201)[..., 3]
    single = [compute_basis_image([m], 3, 201)[..., 3] for m in (10, 11)]
    np.testing.assert_array_equal(both, np.maximum(*single))


def test_basis_picture_has_qy_upwards_and_units(ax):
    image = compute_basis_image([20], 1, 51)
    basis.plot_basis(image, ax)
    drawn = ax.images[0]
    assert drawn.origin == "lower"
    assert drawn.get_extent() == [-2, 2, -2, 2]
    assert "(1/Å)" in ax.get_xlabel()
    # at phase +pi/2, straight up: sky blue
    np.testing.assert_allclose(image[38, 25, :3], PHASE_MAP(0.75)[:3], atol=0.05)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_n_spots_on_a_ring_have_orders_that_n_divides_in_full(n):
    power = orders._order_power(compute_coefficients(ring_of_spots(n, 0.8)))
    wanted = np.where(np.arange(N_ANGULAR) % n == 0, 1.0, 0.0)
    np.testing.assert_allclose(power, wanted, atol=1e-10)


@pytest.mark.parametrize(("fold", "name", "uvw"), FOLDS)
def test_a_zone_axis_has_only_orders_that_its_fold_divides(fold, name, uvw):
    power = orders._order_power(compute_coefficients(pattern_of(name, uvw)))
    allowed = np.arange(N_ANGULAR) % fold == 0
    assert power[~allowed].max() < 1e-4
    assert power[allowed].min() > 1e-3
    assert power[0] == 1


def test_power_of_nothing_is_nothing():
    power = orders._order_power(np.zeros((2, N_RADIAL, N_ANGULAR), dtype=complex))
    np.testing.assert_array_equal(power, np.zeros((2, N_ANGULAR)))


def test_reconstruction_is_brightest_where_the_spots_are(ax):
    pattern = SpotPattern(
        qx=np.array([0.0]),
        qy=np.array([1.0]),
        intensity=np.array([0.2]),
        hkl=np.zeros((1, 3), dtype=int),
        direct_beam=0.8,
        thickness=200.0,
    )
    parts = compute_decomposition(pattern, n_pixels=101)
    plot_reconstruction(parts, ax)
    image = ax.images[0].get_array()
    assert ax.images[0].origin == "lower"
    row, column = np.unravel_index(np.argmax(image), image.shape)
    axis = np.linspace(-2, 2, 102)[:-1] + 2 / 101
    assert (axis[column], axis[row]) == pytest.approx((0, 1), abs=0.04)
    assert image.min() >= 0


def test_maps_of_coefficients_have_orders_across_and_radii_upwards(hexagonal):
    coefficients = compute_coefficients(hexagonal)
    left, right = Figure().subplots(1, 2)
    plot_magnitude(coefficients, left)
    basis._plot_argument(coefficients, right)
    magnitude, argument = (ax.collections[0].get_array() for ax in (left, right))
    np.testing.assert_allclose(magnitude, np.abs(coefficients))
    shown = ~np.ma.getmaskarray(argument)
    # sixfold: nothing to show but orders 0, 6 and 12
    assert set(np.nonzero(shown)[1]) == {0, 6, 12}
    np.testing.assert_allclose(argument[shown], np.angle(coefficients)[shown])
    for ax in (left, right):
        assert ax.get_xlim() == (-0.5, 12.5)
        assert ax.get_ylim() == pytest.approx((-0.5 * STEP, 40.5 * STEP))
        assert "(1/Å)" in ax.get_ylabel()
        assert "$p$" in ax.get_xlabel()


def test_architecture_names_every_forest(ax):
    basis._plot_architecture(ax)
    texts = [t.get_text() for t in ax.texts]
    assert set(SYSTEMS) <= set(texts)
    assert texts.count("space group") == len(SYSTEMS)
    assert texts.count("$a$, $b$, $c$") == len(SYSTEMS)
    assert any("1,066" in t for t in texts)
    # arrows: pattern to transform to forest, then two a system
    arrows = [t for t in ax.texts if getattr(t, "arrow_patch", None)]
    assert len(arrows) == 2 + 2 * len(SYSTEMS)


def test_figure_2_has_rings_parts_and_architecture(hexagonal, tmp_path):
    fig = figure_2(hexagonal)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:5] == [f"$m={m}$, $p=6$" for m in (4, 12, 20, 28, 36)]
    spots = [ax.collections[0].get_offsets() for ax in fig.axes[:5]]
    assert all(len(s) == len(hexagonal.qx) for s in spots)
    assert sum("T_{m,p}" in title for title in titles) == 2
    assert save_figure(fig, tmp_path / "figure-2.png").stat().st_size > 20_000


def test_figure_s2_has_a_panel_for_every_order():
    fig = figure_s2()
    panels = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in panels] == [f"$p={p}$" for p in range(N_ANGULAR)]
    opacity = np.asarray(panels[3].images[0].get_array())[400, 400:, 3]
    # along qx, every ring is a maximum
    peaks = (opacity[1:-1] > opacity[:-2]) & (opacity[1:-1] >= opacity[2:])
    assert np.count_nonzero(peaks) == pytest.approx(N_RADIAL - 1, abs=1)


@pytest.fixture(scope="module")
def examples():
    patterns = orders.compute_order_patterns()
    return orders.compute_order_examples(patterns), patterns


def test_examples_have_the_fold_they_stand_for(examples):
    table, patterns = examples
    assert list(table.index) == list(patterns) == [2, 3, 4, 6]
    for fold, row in table.iterrows():
        power = row[list(range(N_ANGULAR))].to_numpy(dtype=float)
        allowed = np.arange(N_ANGULAR) % fold == 0
        assert power[~allowed].max() < 1e-4
        # no fold higher than that either: every multiple has its share
        assert power[allowed].min() > 1e-3
        own = orders._order_power(compute_coefficients(patterns[fold]))
        np.testing.assert_allclose(power, own)


def test_figure_of_orders_pairs_patterns_with_bars(examples):
    table, patterns = examples
    fig = orders.figure_orders(table, patterns)
    above, below = fig.axes[:4], fig.axes[4:8]
    assert [ax.get_title().splitlines()[1] for ax in above] == [f"{n}-fold" for n in table.index]
    for ax, fold in zip(above, table.index, strict=True):
        assert len(ax.collections[0].get_offsets()) == len(patterns[fold].qx)
    heights = np.array([[bar.get_height() for bar in ax.patches] for ax in below])
    np.testing.assert_allclose(heights, table[list(range(N_ANGULAR))].to_numpy(dtype=float))
    # orders that the fold does not divide are coloured apart and crossed
    for ax, fold in zip(below, table.index, strict=True):
        colors = [bar.get_facecolor() for bar in ax.patches]
        apart = [p for p in range(N_ANGULAR) if p % fold]
        assert [p for p, color in enumerate(colors) if color != colors[0]] == apart
        assert sorted(line.get_xdata()[0] for line in ax.lines) == apart


def test_figure_of_a_decomposition_has_four_panels(hexagonal):
    parts = compute_decomposition(hexagonal, n_pixels=51)
    fig = figure_decomposition(parts)
    pattern, magnitude, argument, image = fig.axes[:4]
    assert len(pattern.collections[0].get_offsets()) == len(hexagonal.qx)
    np.testing.assert_allclose(magnitude.collections[0].get_array(), np.abs(parts.coefficients))
    assert argument.collections[0].get_cmap().name == PHASE_MAP.name
    np.testing.assert_allclose(image.images[0].get_array(), np.clip(parts.reconstruction, 0, None))


def test_figure_2_shows_a_six_fold_pattern_by_default():
    fig = figure_2()
    positions = np.asarray(fig.axes[0].collections[0].get_offsets())
    angle = np.pi / 3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    distances = np.linalg.norm((positions @ turn)[:, None] - positions[None], axis=2)
    assert distances.min(axis=1).max() < 1e-6

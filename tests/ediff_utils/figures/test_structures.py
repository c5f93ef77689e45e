"""What figures 1 and S1 show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.path import Path as Outline
from pymatgen.core import Lattice, Structure
from sample_crystals import CRYSTALS, make_crystal

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.crystals.symmetry import standardise
from ediff_utils.figures import crystals as cells
from ediff_utils.figures import structures, zone_axes
from ediff_utils.figures.spots import plot_pattern
from ediff_utils.figures.structures import (
    compute_patterns_per_system,
    compute_thickness_series,
    figure_1,
    figure_s1,
    figure_volumes,
)
from ediff_utils.figures.style import SYSTEM_COLORS, save_figure
from ediff_utils.figures.zone_axes import compute_zone_axis_grid, format_direction, plot_zone_axes

#: Laue groups that no crystal of conftest has; invented structures.
OTHERS = {
    "-3": ("R-3", Lattice.hexagonal(5.0, 9.0), ["O"], [[0.31, 0.12, 0.2]]),
    "4/m": ("P4/m", Lattice.tetragonal(5.0, 4.0), ["O"], [[0.31, 0.12, 0.2]]),
    "6/m": ("P6/m", Lattice.hexagonal(6.0, 4.0), ["O"], [[0.31, 0.12, 0.2]]),
}


def crystal_of(name: str) -> Crystal:
    if name in CRYSTALS:
        return make_crystal(name)
    row = standardise(Structure.from_spacegroup(*OTHERS[name]), 0.01)
    return Crystal.from_row(row | {"material_id": name})


def area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def chained(sides: tuple[np.ndarray, ...]) -> np.ndarray:
    """Sides joined end to end."""
    rest, chain = list(sides[1:]), [sides[0]]
    while rest:
        end = chain[-1][-1]
        gaps = [(np.linalg.norm(s[k] - end), i, k) for i, s in enumerate(rest) for k in (0, -1)]
        gap, i, k = min(gaps)
        assert gap < 1e-6
        side = rest.pop(i)
        chain.append(side if k == 0 else side[::-1])
    assert np.linalg.norm(chain[-1][-1] - chain[0][0]) < 1e-6
    return np.concatenate(chain)


@pytest.fixture
def ax():
    return Figure().add_subplot()


def fake_pattern(thickness: float, scale: float = 1.0) -> SpotPattern:
    return SpotPattern(
        qx=np.array([0.5, -0.5, 0.0]),
        qy=np.array([0.0, 0.0, 1.0]),
        intensity=scale * np.array([0.04, 0.01, 0.0025]),
        hkl=np.zeros((3, 3), dtype=int),
        direct_beam=0.9,
        thickness=thickness,
    )


def test_stereographic_projection_of_known_directions():
    directions = [[0, 0, 1], [1, 0, 0], [0, 0.6, 0.8], [0, -1, 0]]
    wanted = [[0, 0], [1, 0], [0, 1 / 3], [0, -1]]
    np.testing.assert_allclose(zone_axes._project(np.array(directions)), wanted, atol=1e-12)


@pytest.mark.parametrize("name", [*CRYSTALS, *OTHERS])
def test_outline_closes_around_all_zone_axes_and_has_the_area_of_the_sector(name):
    grid = compute_zone_axis_grid(crystal_of(name), 40)
    rim = chained(grid.outline)
    path = Outline(rim)
    middle = (rim.min(axis=0) + rim.max(axis=0)) / 2
    shrunk = middle + (grid.points - middle) * (1 - 1e-3)
    assert path.contains_points(shrunk, radius=0).all()
    # the solid angle of an outline, by the projection's scale 4 / (1 + r^2)^2 over random points
    rng = np.random.default_rng(0)
    low, high = rim.min(axis=0), rim.max(axis=0)
    points = rng.uniform(low, high, size=(40_000, 2))
    scale = 4 / (1 + np.sum(points**2, axis=1)) ** 2
    angle = np.mean(scale * path.contains_points(points)) * np.prod(high - low)
    assert angle == pytest.approx(4 * np.pi / len(grid.sector.operations), rel=0.03)


@pytest.mark.parametrize("name", [*CRYSTALS, *OTHERS])
def test_sides_are_arcs_of_great_circles_on_the_rim(name):
    sector = compute_zone_axis_grid(crystal_of(name), 3).sector
    for side in zone_axes._sector_sides(sector):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1)
        assert sector.contains(side, 1e-6).all()
        assert np.abs(sector.normals @ side.T).max(axis=1).min() < 1e-6


def test_a_triclinic_sector_is_a_whole_circle():
    grid = compute_zone_axis_grid(make_crystal("wollastonite-like triclinic"), 5)
    (rim,) = grid.outline
    np.testing.assert_allclose(np.linalg.norm(rim, axis=1), 1)
    assert area(rim) == pytest.approx(np.pi, rel=1e-3)


def test_cubic_corners_are_named():
    grid = compute_zone_axis_grid(make_crystal("gold"), 5)
    assert set(grid.marks) == {(0, 0, 1), (1, 0, 1), (1, 1, 1)}
    np.testing.assert_allclose(grid.marks[1, 0, 1], [np.sqrt(2) - 1, 0], atol=1e-9)


@pytest.mark.parametrize("name", [*CRYSTALS, *OTHERS])
def test_marks_are_where_their_direction_is(name):
    crystal = crystal_of(name)
    grid = compute_zone_axis_grid(crystal, 5)
    assert len(grid.marks) >= 2
    for uvw, point in grid.marks.items():
        vector = np.array(uvw) @ crystal.conventional_lattice
        np.testing.assert_allclose(
            zone_axes._project(vector / np.linalg.norm(vector)), point, atol=1e-9
        )


def test_directions_are_written_with_bars_or_decimals():
    assert format_direction([0.5, -1, 0]) == r"$[1\,\bar{2}\,0]$"
    assert format_direction([0, 0, 0.7]) == r"$[0\,0\,1]$"
    assert format_direction([1, 0.12345, -0.001]) == "[1.00, 0.12, 0.00]"


def test_zone_axes_are_drawn_and_the_shown_one_ringed(ax):
    grid = compute_zone_axis_grid(make_crystal("gold"), 30)
    plot_zone_axes(grid, ax, shown=2)
    dots, ring = ax.collections
    np.testing.assert_allclose(dots.get_offsets(), grid.points)
    np.testing.assert_allclose(ring.get_offsets(), [grid.points[2]])
    assert {t.get_text() for t in ax.texts} == {format_direction(uvw) for uvw in grid.marks}
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["zone axes", f"{format_direction(grid.uvw[2])}, shown"]
    assert ax.get_aspect() == 1


def test_the_equator_is_drawn_where_a_sector_reaches_it(ax):
    plot_zone_axes(compute_zone_axis_grid(make_crystal("magnesium"), 5), ax)
    (equator,) = (line for line in ax.lines if line.get_label() == "equator")
    np.testing.assert_allclose(np.hypot(*equator.get_data()), 1)


@pytest.mark.parametrize(
    ("name", "n_atoms", "n_bonds"),
    # counted by hand: 8 corners, 6 faces, and in silicon 4 inside with 4 bonds each
    [("gold", 14, 0), ("silicon", 18, 16), ("zinc blende", 18, 16), ("magnesium", 2, 0)],
)
def test_the_cell_is_filled(name, n_atoms, n_bonds):
    crystal = make_crystal(name)
    atoms = cells._cell_atoms(crystal)
    assert len(atoms.numbers) == n_atoms
    assert len(atoms.bonds) == n_bonds
    fractions = atoms.positions @ np.linalg.inv(crystal.conventional_lattice)
    assert fractions.min() > -0.01
    assert fractions.max() < 1.01


@pytest.mark.parametrize("name", CRYSTALS)
def test_atoms_of_the_cell_count_as_many_as_its_volume_holds(name):
    crystal = make_crystal(name)
    atoms = cells._cell_atoms(crystal)
    fractions = atoms.positions @ np.linalg.inv(crystal.conventional_lattice)
    on_faces = np.sum(np.minimum(np.abs(fractions), np.abs(1 - fractions)) < 2e-3, axis=1)
    ratio = abs(np.linalg.det(crystal.conventional_lattice)) / crystal.volume
    for number in np.unique(crystal.numbers):
        shares = 0.5 ** on_faces[atoms.numbers == number]
        wanted = ratio * np.sum(crystal.numbers == number)
        assert shares.sum() == pytest.approx(wanted)


def test_crystal_is_coloured_by_element_with_named_axes(ax):
    cells.plot_crystal(make_crystal("barium titanate (polar)"), ax)
    circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert len(circles) == 8 + 1 + (1 + 4)
    assert len({circle.get_facecolor() for circle in circles}) == 3
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["O", "Ti", "Ba"]
    assert {t.get_text() for t in ax.texts} >= {"a", "b", "c"}
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for circle in circles:
        (x, y), radius = circle.center, circle.radius
        assert left < x - radius
        assert x + radius < right
        assert bottom < y - radius
        assert y + radius < top


@pytest.mark.parametrize("name", ["bismuth telluride", "zirconia", "magnesium"])
def test_panels_are_square_around_every_shape(name):
    crystal = make_crystal(name)
    left, right = Figure().subplots(1, 2)
    cells.plot_crystal(crystal, left)
    plot_zone_axes(compute_zone_axis_grid(crystal, 5), right)
    for ax in (left, right):
        assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))


def test_nearer_atoms_cover_those_behind(ax):
    crystal = make_crystal("gold")
    cells.plot_crystal(crystal, ax)
    circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
    corners = cells._cell_atoms(crystal).positions
    # a points at the eye: the corner at a is nearer than the origin
    origin = np.argmin(np.linalg.norm(corners, axis=1))
    at_a = np.argmin(np.linalg.norm(corners - crystal.conventional_lattice[0], axis=1))
    assert circles[at_a].get_zorder() > circles[origin].get_zorder()
    assert circles[at_a].radius > circles[origin].radius


def test_spots_have_areas_by_intensity_and_axes_their_unit(ax):
    pattern = fake_pattern(200)
    plot_pattern(pattern.qx, pattern.qy, pattern.intensity, ax, max_area=20)
    (spots,) = ax.collections
    np.testing.assert_allclose(spots.get_sizes(), [20, 10, 5])
    np.testing.assert_allclose(spots.get_offsets(), np.column_stack([pattern.qx, pattern.qy]))
    assert "(1/Å)" in ax.get_xlabel()
    assert "(1/Å)" in ax.get_ylabel()
    assert ax.get_xlim() == (-2, 2)
    (beam,) = ax.lines
    assert beam.get_label() == "direct beam"
    assert (beam.get_xdata(), beam.get_ydata()) == ([0], [0])


def test_a_pattern_without_spots_is_drawn_too(ax):
    empty = np.empty(0)
    plot_pattern(empty, empty, empty, ax)
    assert len(ax.collections[0].get_offsets()) == 0


def test_a_stack_has_one_scale_for_all_thicknesses():
    axes = Figure().subplots(1, 2)
    structures._plot_thickness_stack([fake_pattern(20, 0.25), fake_pattern(2000)], axes)
    assert [ax.get_title() for ax in axes] == ["2 nm", "200 nm"]
    thin, thick = (ax.collections[0].get_sizes() for ax in axes)
    assert np.all(thin < thick)
    assert axes[0].get_ylabel()
    assert not axes[1].get_ylabel()


def test_series_is_of_one_zone_axis_at_the_thicknesses_asked_for():
    crystal = make_crystal("gold")
    series = compute_thickness_series(crystal, [0, 0, 1], (20, 200))
    assert [p.thickness for p in series] == [20, 200]
    assert all(np.all(p.hkl[:, 2] == 0) for p in series)
    # no absorption: what the direct beam loses, the spots have
    for pattern in series:
        assert pattern.direct_beam + pattern.intensity.sum() == pytest.approx(1, abs=1e-3)
    assert series[0].direct_beam != pytest.approx(series[1].direct_beam, abs=0.01)


def test_patterns_are_counted_by_system_in_the_papers_order():
    assert sorted(structures._ORDER) == sorted(ALL_SYSTEMS)
    crystals = pd.DataFrame(
        {
            "material_id": list("abcd"),
            "crystal_system": ["trigonal", "orthorhombic", "trigonal", "cubic"],
        }
    )
    patterns = pd.DataFrame({"material_id": ["a", "a", "c", "d"] * 500})
    counts = compute_patterns_per_system(crystals, patterns)
    assert list(counts.items()) == [("cubic", 500), ("trigonal", 1500)]
    (ax,) = figure_s1(counts).axes
    assert [bar.get_height() for bar in ax.patches] == [500, 1500]
    assert [t.get_text() for t in ax.texts] == ["500", "1,500"]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(counts.index)


def test_a_pattern_of_an_unknown_crystal_is_an_error():
    crystals = pd.DataFrame({"material_id": ["a"], "crystal_system": ["cubic"]})
    with pytest.raises(UserError, match="material_id x"):
        compute_patterns_per_system(crystals, pd.DataFrame({"material_id": ["a", "x"]}))


def test_figures_have_their_panels(tmp_path):
    crystal = make_crystal("gold")
    grid = compute_zone_axis_grid(crystal, 12)
    series = compute_thickness_series(crystal, grid.axes[0], (20, 200, 2000))
    fig = figure_1(crystal, grid, series)
    assert len(fig.axes) == 2 + 3
    assert "12 zone axes" in fig.axes[1].get_title()
    assert save_figure(fig, tmp_path / "figure-1.png").stat().st_size > 10_000


def test_volumes_reach_every_crystal():
    table = pd.DataFrame(
        {
            "volume": [10.0, 20.0, 30.0, 500.0],
            "crystal_system": ["cubic", "cubic", "cubic", "triclinic"],
        }
    )
    (ax,) = figure_volumes(table).axes
    curves = {line.get_color(): line.get_xydata() for line in ax.get_lines()}
    assert set(curves) == {SYSTEM_COLORS["cubic"], SYSTEM_COLORS["triclinic"]}
    np.testing.assert_allclose(curves[SYSTEM_COLORS["cubic"]][-1], [30, 100])
    assert "Å$^3$" in ax.get_xlabel()

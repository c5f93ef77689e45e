"""Zone axes in the fundamental sector, orientation matrices and random orientations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_crystals import CRYSTALS, make_crystal
from scipy.spatial.transform import Rotation
from scipy.stats import chisquare, kstest

from ediff_utils.bloch.orientations import (
    LOW_INDICES,
    FundamentalSector,
    fundamental_sector,
    grid_orientations,
    in_plane_rotation,
    lattice_fixed_orientation,
    laue_operations,
    random_orientations,
    tilt_orientations,
    zone_axes,
    zone_orientations,
)

#: Order of the Laue group, International Tables A.
LAUE_ORDER = {
    "silicon": 48,
    "gold": 48,
    "zinc blende": 48,
    "pyrite": 24,
    "manganese silicide (chiral)": 24,
    "wurtzite (polar)": 24,
    "magnesium": 24,
    "quartz (chiral)": 12,
    "bismuth telluride": 12,
    "rutile": 16,
    "barium titanate (polar)": 16,
    "forsterite": 8,
    "zirconia": 4,
    "wollastonite-like triclinic": 2,
}
directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.05)
unit = directions.map(lambda v: np.array(v) / np.linalg.norm(v))
rotations = st.integers(0, 2**32 - 1).map(
    lambda seed: random_orientations(1, np.random.default_rng(seed))[0]
)


@lru_cache(maxsize=32)
def sector_of(name: str) -> FundamentalSector:
    return fundamental_sector(laue_operations(make_crystal(name)))


@lru_cache(maxsize=32)
def axes_of(name: str) -> np.ndarray:
    return zone_axes(sector_of(name), 100)


every_crystal = pytest.mark.parametrize("name", sorted(CRYSTALS))


@every_crystal
def test_laue_group(name):
    operations = sector_of(name).operations
    assert len(operations) == LAUE_ORDER[name]
    np.testing.assert_allclose(
        operations @ operations.transpose(0, 2, 1),
        np.broadcast_to(np.eye(3), operations.shape),
        atol=1e-6,
    )
    known = {tuple(np.round(o, 4).ravel() + 0.0) for o in operations}
    products = (operations[:, None] @ operations[None]).reshape(-1, 9)
    assert {tuple(np.round(o, 4) + 0.0) for o in products} == known
    assert tuple((-np.eye(3)).ravel() + 0.0) in known


@every_crystal
def test_sector_times_group_order_is_the_sphere(name):
    rng = np.random.default_rng(0)
    v = rng.normal(size=(100_000, 3))
    v /= np.linalg.norm(v, axis=1)[:, None]
    share = sector_of(name).contains(v).mean()
    expected = 1 / LAUE_ORDER[name]
    assert share == pytest.approx(expected, abs=5 * np.sqrt(expected / len(v)))


@every_crystal
@given(direction=unit)
@settings(max_examples=50)
def test_every_direction_has_an_image_in_the_sector(name, direction):
    sector = sector_of(name)
    assert sector.contains(sector.operations @ direction).any()


@every_crystal
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_direction_inside_has_no_image_inside(name, seed):
    sector = sector_of(name)
    v = np.random.default_rng(seed).normal(size=3)
    images = sector.operations @ (v / np.linalg.norm(v))
    inside = sector.contains(images, tolerance=-1e-6)
    assert inside.sum() <= 1


@every_crystal
def test_zone_axes_lie_in_the_sector_and_none_twice(name):
    sector, axes = sector_of(name), axes_of(name)
    assert axes.shape == (100, 3)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1, atol=1e-9)
    assert sector.contains(axes, 1e-5).all()
    closest = min(sector.angle(axes[i], axes[:i]).min() for i in range(1, 100))
    # 100 points of a sector of area 4 pi / order: a hexagonal packing is at most this wide
    packing = np.sqrt(4 * np.pi / LAUE_ORDER[name] / 100 * 2 / np.sqrt(3))
    assert closest > 0.4 * packing
    # and no hole: every direction has a zone axis near
    v = np.random.default_rng(1).normal(size=(2000, 3))
    v /= np.linalg.norm(v, axis=1)[:, None]
    nearest = np.min([sector.angle(axis, v) for axis in axes], axis=0)
    assert nearest.max() < 1.3 * packing


@every_crystal
@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_first_axes_of_many_are_the_axes_of_few(name, k):
    np.testing.assert_array_equal(zone_axes(sector_of(name), k), axes_of(name)[:k])


@every_crystal
def test_corners_come_first(name):
    sector = sector_of(name)
    n = len(sector.corners)
    assert n == {2: 0}.get(LAUE_ORDER[name], n)
    if n:
        np.testing.assert_array_equal(axes_of(name)[:n], sector.corners)


def images_of(axes: np.ndarray, sector: FundamentalSector, direction: np.ndarray) -> bool:
    return bool(sector.angle(direction / np.linalg.norm(direction), axes).min() < 1e-4)


@pytest.mark.parametrize(
    ("name", "corners"),
    [
        ("gold", [(0, 0, 1), (0, 1, 1), (1, 1, 1)]),
        ("silicon", [(0, 0, 1), (0, 1, 1), (1, 1, 1)]),
        ("magnesium", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (2, 1, 0)]),
        ("rutile", [(0, 0, 1), (1, 0, 0), (1, 1, 0)]),
        ("forsterite", [(0, 0, 1), (0, 1, 0), (1, 0, 0)]),
    ],
)
def test_corners_are_the_customary_low_index_axes(name, corners):
    crystal = make_crystal(name)
    sector = sector_of(name)
    for uvw in corners:
        assert images_of(sector.corners, sector, np.array(uvw) @ crystal.conventional_lattice)
    distinct = 3
    assert len(sector.corners) == distinct


@given(axis=directions, rotation=st.floats(-360, 360))
def test_lattice_fixed_orientation_is_proper_and_ends_in_its_zone_axis(axis, rotation):
    matrix = lattice_fixed_orientation(np.array(axis), rotation)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(matrix[:, 2], np.array(axis) / np.linalg.norm(axis), atol=1e-9)


@given(axis=unit)
def test_same_default_as_py4dstem(axis):
    crystal_class = pytest.importorskip("py4DSTEM").process.diffraction.Crystal
    if axis[2] < -1 + 1e-5:
        # py4DSTEM tests |z| and so do we, but its x axis then follows the sign of z as ours does
        axis = np.array([0.0, 0.0, -1.0])
    theirs = crystal_class.parse_orientation(None, zone_axis_cartesian=axis)
    np.testing.assert_allclose(lattice_fixed_orientation(axis), theirs, atol=1e-7)


@pytest.mark.parametrize("axis", [(0, 0, 1), (0, 0, -1), (0, 1, 0), (1, 0, 0), (1e-4, 0, 1)])
def test_same_default_as_py4dstem_at_special_axes(axis):
    crystal_class = pytest.importorskip("py4DSTEM").process.diffraction.Crystal
    axis = np.array(axis) / np.linalg.norm(axis)
    theirs = crystal_class.parse_orientation(None, zone_axis_cartesian=axis)
    np.testing.assert_allclose(lattice_fixed_orientation(axis), theirs, atol=1e-7)


@given(axis=unit, rotation=st.floats(0, 359.9))
def test_in_plane_rotation_is_found_again(axis, rotation):
    found = in_plane_rotation(lattice_fixed_orientation(axis, rotation))
    assert 0 <= found <= 360
    assert (found - rotation + 180) % 360 - 180 == pytest.approx(0, abs=1e-5)


@given(orientation=rotations)
def test_zone_axis_and_rotation_make_the_orientation(orientation):
    again = lattice_fixed_orientation(orientation[:, 2], in_plane_rotation(orientation))
    np.testing.assert_allclose(again, orientation, atol=1e-6)


@given(axis=unit, rotation=st.floats(-180, 180), g=unit)
def test_rotation_goes_from_qx_towards_qy(axis, rotation, g):
    before = lattice_fixed_orientation(axis).T @ g
    after = lattice_fixed_orientation(axis, rotation).T @ g
    turn = Rotation.from_euler("z", rotation, degrees=True).as_matrix()
    np.testing.assert_allclose(after, turn @ before, atol=1e-9)


def test_random_orientations_are_proper():
    matrices = random_orientations(2000, np.random.default_rng(4))
    np.testing.assert_allclose(
        matrices.transpose(0, 2, 1) @ matrices, np.broadcast_to(np.eye(3), (2000, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-9)


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_random_orientations_are_uniform(row, column):
    """Each component of each axis is uniform in [-1, 1] (Archimedes)."""
    cosine = random_orientations(20_000, np.random.default_rng(4))[:, row, column]
    counts, _ = np.histogram(cosine, bins=20, range=(-1, 1))
    assert counts.sum() == 20_000
    assert chisquare(counts).pvalue > 1e-3


def test_random_orientations_have_the_angles_of_haar():
    """The rotation angle of a random rotation has density (1 - cos a) / pi."""
    matrices = random_orientations(20_000, np.random.default_rng(8))
    angle = np.arccos((np.trace(matrices, axis1=1, axis2=2) - 1) / 2)
    assert kstest(angle, lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-3


def test_random_orientations_hang_on_the_generator_alone():
    a = random_orientations(5, np.random.default_rng(3))
    np.testing.assert_array_equal(a, random_orientations(5, np.random.default_rng(3)))
    assert not np.allclose(a, random_orientations(5, np.random.default_rng(4)))


@every_crystal
def test_grid_orientations(name):
    matrices = grid_orientations(make_crystal(name), 12)
    np.testing.assert_allclose(matrices[:, :, 2], axes_of(name)[:12], atol=1e-9)
    rotation = np.array([in_plane_rotation(m) for m in matrices])
    np.testing.assert_allclose((rotation + 180) % 360, 180, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.1, 1.0, 30.0])
def test_tilts_are_by_the_angle_to_any_side_without_a_turn(angle):
    exact = random_orientations(400, np.random.default_rng(1))
    tilted = tilt_orientations(exact, angle, np.random.default_rng(2))
    np.testing.assert_allclose(np.linalg.det(tilted), 1)
    between = Rotation.from_matrix(np.swapaxes(exact, 1, 2) @ tilted).as_rotvec(degrees=True)
    np.testing.assert_allclose(np.linalg.norm(between, axis=1), angle, atol=1e-6)
    np.testing.assert_allclose(between[:, 2], 0, atol=1e-6)
    if angle:
        sides = np.arctan2(between[:, 1], between[:, 0])
        assert kstest(sides, "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


@pytest.mark.parametrize("name", ["gold", "wurtzite (polar)", "zirconia"])
def test_orientations_near_zone_axes(name):
    """Within the largest tilt, tilts and in-plane rotations uniform, low indices more often."""
    crystal = make_crystal(name)
    found = zone_orientations(crystal, 4000, 3.0, np.random.default_rng(1))
    np.testing.assert_allclose(
        found @ found.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-12
    )
    assert (np.linalg.det(found) > 0).all()
    exact = zone_orientations(crystal, 4000, 0.0, np.random.default_rng(1))
    tilt = np.degrees(np.arccos(np.clip((found[:, :, 2] * exact[:, :, 2]).sum(axis=1), -1, 1)))
    assert kstest(tilt / 3.0, "uniform").pvalue > 1e-3
    assert kstest(in_plane_rotation(exact) / 360, "uniform").pvalue > 1e-3
    indices = exact[:, :, 2] @ np.linalg.inv(crystal.conventional_lattice)
    largest = np.abs(indices).max(axis=1, keepdims=True)
    nearest = (indices / largest)[:, None, :] - LOW_INDICES / np.abs(LOW_INDICES).max(axis=1)[
        :, None
    ]
    uvw = LOW_INDICES[np.argmin((nearest**2).sum(axis=2), axis=1)]
    weight = 1 / (LOW_INDICES**2).sum(axis=1)
    expected = weight[np.abs(LOW_INDICES).max(axis=1) == 1].sum() / weight.sum()
    assert (np.abs(uvw).max(axis=1) == 1).mean() == pytest.approx(expected, abs=0.03)
    assert expected == pytest.approx(0.37, abs=0.005)

"""The reciprocal lattice of one synthetic pattern, of all 14 Bravais lattices."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import CELLS, primitive_lattice, synthetic_pattern
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import solve_pattern
from ediff_solve.lattice.kernels.search import difference_vectors, index_spots
from ediff_utils.core.errors import UserError

ORIENTATION = Rotation.from_euler("zyx", [17, 41, 63], degrees=True).as_matrix()


def pattern(symbol: str, **options: float) -> tuple:
    rng = np.random.default_rng(3)
    return synthetic_pattern(primitive_lattice(symbol), ORIENTATION, rng, **options)


def change_of_basis(candidate, hkl: np.ndarray) -> np.ndarray:
    """What turns the candidate's indices into the true ones, by least squares; shape (3, 3)."""
    used = candidate.indexed & hkl.any(axis=1)
    return np.linalg.lstsq(candidate.hkl[used].astype(float), hkl[used], rcond=None)[0]


def assert_right(candidate, hkl: np.ndarray) -> None:
    change = change_of_basis(candidate, hkl)
    np.testing.assert_allclose(change, np.rint(change), atol=0.02)
    assert abs(np.linalg.det(change)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("symbol", CELLS)
def test_all_spots_indexed_in_a_primitive_basis(symbol):
    qx, qy, intensity, hkl = pattern(symbol)
    candidates = solve_pattern(qx, qy, intensity)
    best = candidates[0]
    assert best.fraction == 1
    assert_right(best, hkl)
    # In the plane the basis is exact, and along the beam right up to its scale.
    truth = np.linalg.inv(primitive_lattice(symbol)).T @ ORIENTATION
    basis = change_of_basis(best, hkl) @ truth
    np.testing.assert_allclose(best.reciprocal[:, :2], basis[:, :2], atol=1e-9)
    off = np.log(np.abs(np.linalg.det(best.reciprocal) / np.linalg.det(truth)))
    assert abs(off) < 3.5 * best.log_scale_error
    assert [c.gain for c in candidates] == sorted((c.gain for c in candidates), reverse=True)


@pytest.mark.parametrize("symbol", ["aP", "mC", "hR", "cF"])
@pytest.mark.parametrize("turn", [30.0, 201.5])
def test_rotated_in_the_plane(symbol, turn):
    qx, qy, intensity, hkl = pattern(symbol)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    best = solve_pattern(c * qx - s * qy, s * qx + c * qy, intensity)[0]
    assert best.fraction == 1
    assert_right(best, hkl)


@pytest.mark.parametrize("symbol", ["aP", "mC", "hR", "cF"])
def test_mirrored(symbol):
    qx, qy, intensity, hkl = pattern(symbol)
    best = solve_pattern(-qx, qy, intensity)[0]
    assert best.fraction == 1
    assert_right(best, hkl)


@pytest.mark.parametrize("symbol", ["aP", "oI"])
def test_order_of_the_spots_plays_no_part(symbol):
    qx, qy, intensity, _ = pattern(symbol)
    order = np.random.default_rng(0).permutation(len(qx))
    one = solve_pattern(qx, qy, intensity)[0]
    other = solve_pattern(qx[order], qy[order], intensity[order])[0]
    np.testing.assert_allclose(one.reciprocal, other.reciprocal, atol=1e-9)
    np.testing.assert_array_equal(one.hkl[order], other.hkl)


@pytest.mark.parametrize("symbol", CELLS)
def test_noise_missing_and_spurious_spots(symbol):
    qx, qy, intensity, hkl = pattern(symbol, noise=0.002, keep=0.6, spurious=4)
    best = solve_pattern(qx, qy, intensity)[0]
    assert_right(best, hkl)
    assert best.position_error == pytest.approx(0.002, rel=0.4)
    true = hkl.any(axis=1)
    assert best.indexed[true].mean() > 0.9
    truth = np.linalg.inv(primitive_lattice(symbol)).T @ ORIENTATION
    basis = np.rint(change_of_basis(best, hkl)) @ truth
    off = (best.reciprocal - basis)[:, :2] / best.errors[:, :2]
    assert np.abs(off).max() < 5


def test_without_intensities():
    qx, qy, _, hkl = pattern("oP")
    assert_right(solve_pattern(qx, qy)[0], hkl)


def test_energy_sets_the_scale_along_the_beam():
    qx, qy, intensity, _ = pattern("mP", energy=80e3, q_max=2.0)
    right = solve_pattern(qx, qy, intensity, energy=80e3)[0]
    wrong = solve_pattern(qx, qy, intensity, energy=300e3)[0]
    truth = 1 / np.linalg.det(primitive_lattice("mP"))
    assert abs(np.linalg.det(right.reciprocal)) == pytest.approx(truth, rel=0.15)
    assert abs(np.linalg.det(wrong.reciprocal)) < 0.7 * truth


def test_nothing_to_tell():
    rng = np.random.default_rng(0)
    line = np.linspace(-1, 1, 12)
    assert solve_pattern(np.empty(0), np.empty(0)) == []
    assert solve_pattern(np.ones(4), np.arange(4.0)) == []
    assert solve_pattern(line, 0.5 * line) == []
    assert solve_pattern(np.ones(9), np.ones(9)) == []
    # Anywhere at random: whatever indexes them says little.
    random = solve_pattern(*rng.uniform(-1.5, 1.5, (2, 25)))
    true = solve_pattern(*(v[:25] for v in pattern("oP")[:3]))
    assert not random or random[0].gain < true[0].gain / 2


@pytest.mark.parametrize(
    ("spots", "message"),
    [
        (([np.nan, 1, 2, 3, 4], [1, 2, 3, 4, 5]), "finite"),
        (([0, 1, 2, 3, 4], [1, 2, 3, 4, np.inf]), "finite"),
        (([0, 1, 2, 3], [1, 2, 3, 4, 5]), "one length"),
        (([0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 1, 1, 1, -1]), "not negative"),
    ],
)
def test_bad_spots(spots, message):
    with pytest.raises(UserError, match=message):
        solve_pattern(*spots)


def test_difference_vectors_of_a_grid():
    a, b = np.array([0.21, 0.03]), np.array([-0.05, 0.34])
    grid = np.array([i * a + j * b for i in range(-3, 4) for j in range(-3, 4)])
    vectors, counts = difference_vectors(*np.ascontiguousarray(grid.T), 0.9, 0.005, 40)
    indices = vectors @ np.linalg.inv(np.array([a, b]))
    np.testing.assert_allclose(indices, np.rint(indices), atol=1e-9)
    expected = (7 - np.abs(np.rint(indices))).prod(axis=1)
    np.testing.assert_array_equal(counts, expected)
    assert (np.diff(counts) <= 0).all()


def test_indices_against_brute_force():
    rng = np.random.default_rng(1)
    basis = np.array([[0.2, 0.02, 0.01], [-0.03, 0.25, 0.02], [0.08, 0.07, 0.15]])
    x, y = rng.uniform(-1, 1, (2, 200))
    height = 0.01 * (x**2 + y**2)
    tolerance, slab, spread = 0.03, 0.05, 0.02
    hkl = np.zeros((200, 4), np.int64)
    count = index_spots(x, y, height, basis, tolerance, slab, spread, hkl)
    every = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1).reshape(-1, 3)
    points = every @ basis
    for i in range(200):
        plane = np.hypot(points[:, 0] - x[i], points[:, 1] - y[i]) / tolerance
        error = (points[:, 2] - height[i]) / slab
        cost = np.where((plane < 1) & (np.abs(error) < 1), plane**2 + error**2, np.inf)
        assert hkl[i, 3] == np.isfinite(cost.min())
        if hkl[i, 3]:
            np.testing.assert_array_equal(hkl[i, :3], every[np.argmin(cost)])
    assert count == hkl[:, 3].sum()

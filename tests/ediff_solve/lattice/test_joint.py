"""The lattice that synthetic patterns of one crystal share, of all 14 Bravais lattices."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import (
    CELLS,
    conventional_lattice,
    primitive_lattice,
    synthetic_pattern,
    synthetic_patterns,
)
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import find_bravais, same_lattice, solve_patterns
from ediff_solve.lattice.growing import enlarge
from ediff_solve.lattice.kernels.centre import find_centre
from ediff_solve.lattice.refine import Free, JointFit, Spots
from ediff_solve.lattice.single import SLAB, SLAB_SPREAD
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

N_PATTERNS = 6


def direct(found) -> np.ndarray:
    return np.linalg.inv(found.reciprocal).T


@pytest.mark.parametrize("symbol", CELLS)
def test_exact_from_clean_patterns(symbol):
    patterns = synthetic_patterns(symbol, N_PATTERNS, seed=1)
    found = solve_patterns(patterns)[0]
    expected = find_bravais(primitive_lattice(symbol))
    assert found.bravais.symbol == symbol
    np.testing.assert_allclose(found.bravais.parameters, expected.parameters, rtol=1e-5)
    assert same_lattice(direct(found), primitive_lattice(symbol), 1e-5)
    np.testing.assert_array_equal(found.fractions, 1)
    for (qx, qy, _), rotation, hkl in zip(patterns, found.orientations, found.hkl, strict=True):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        spots = (hkl @ found.reciprocal @ rotation)[:, :2]
        np.testing.assert_allclose(spots, np.column_stack([qx, qy]), atol=1e-5)


@pytest.mark.parametrize("symbol", CELLS)
def test_noise_missing_and_spurious_spots(symbol):
    patterns = synthetic_patterns(
        symbol, N_PATTERNS, seed=2, noise=0.003, keep=0.5, spurious=4, slab=0.02
    )
    found = solve_patterns(patterns)[0]
    expected = find_bravais(primitive_lattice(symbol))
    assert found.bravais.symbol == symbol
    np.testing.assert_allclose(found.bravais.parameters, expected.parameters, rtol=0.01)
    off = np.abs(found.bravais.parameters - expected.parameters)
    assert (off <= 5 * found.bravais.errors + 1e-6).all()
    assert found.position_error == pytest.approx(0.003, rel=0.25)


@pytest.mark.parametrize("symbol", ["aP", "mC", "cF"])
def test_mirror_rotation_and_order_change_nothing(symbol):
    patterns = synthetic_patterns(symbol, N_PATTERNS, seed=3)
    parameters = solve_patterns(patterns)[0].bravais.parameters
    c, s = np.cos(1.0), np.sin(1.0)
    changed = [
        [(-qx, qy, i) for qx, qy, i in patterns],
        [(c * qx - s * qy, s * qx + c * qy, i) for qx, qy, i in patterns],
        patterns[::-1],
        [tuple(v[::-1] for v in p) for p in patterns],
    ]
    for other in changed:
        found = solve_patterns(other)[0].bravais
        assert found.symbol == symbol
        np.testing.assert_allclose(found.parameters, parameters, rtol=1e-5)


def test_free_scales_find_a_pattern_at_another_camera_length():
    patterns = synthetic_patterns("mP", N_PATTERNS, seed=4, noise=0.0005)
    qx, qy, intensity = patterns[2]
    patterns[2] = (1.005 * qx, 1.005 * qy, intensity)
    found = solve_patterns(patterns, free_scales=True)[0]
    others = np.delete(found.scales, 2)
    assert found.scales[2] / others.mean() == pytest.approx(1.005, abs=0.001)
    np.testing.assert_allclose(others, others.mean(), atol=0.001)
    assert found.scales.mean() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.bravais.parameters[:3], CELLS["mP"][:3], rtol=0.002)


@pytest.mark.parametrize("symbol", ["aP", "mC", "hR", "cF"])
def test_free_distortion_finds_ellipse_and_centres(symbol):
    patterns = synthetic_patterns(symbol, 8, seed=11, noise=0.001)
    centres = np.random.default_rng(12).normal(scale=0.005, size=(len(patterns), 2))
    ellipse = np.array([0.008, -0.005])
    stretch = np.eye(2) + [[ellipse[0], ellipse[1]], [ellipse[1], -ellipse[0]]]
    measured = []
    for (qx, qy, intensity), centre in zip(patterns, centres, strict=True):
        x, y = stretch @ [qx, qy] + centre[:, None]
        measured.append((x, y, intensity))
    found = solve_patterns(measured, free_distortion=True)[0]
    expected = find_bravais(primitive_lattice(symbol))
    assert found.bravais.symbol == symbol
    np.testing.assert_allclose(found.bravais.parameters, expected.parameters, rtol=2e-3)
    np.testing.assert_allclose(found.ellipse, ellipse, atol=1e-3)
    np.testing.assert_allclose(found.centres, centres, atol=1e-3)
    assert found.position_error == pytest.approx(0.001, rel=0.3)


def test_friedel_pairs_tell_the_centre():
    qx, qy, _ = synthetic_patterns("oP", 1, seed=13, noise=0.001)[0]
    centre, pairs = find_centre(qx + 0.006, qy - 0.004)
    np.testing.assert_allclose(centre, [0.006, -0.004], atol=1e-3)
    assert pairs >= 4
    nowhere, pairs = find_centre(np.abs(qx) + 0.1, qy)
    assert pairs == 0
    np.testing.assert_array_equal(nowhere, 0)


def test_a_long_axis_does_not_move_the_centre():
    # Halfway between two points of a row 0.02 1/angstrom apart there are as many pairs' middles.
    row = np.delete(np.arange(-40, 41), 40) * 0.02
    centre, _ = find_centre(row + 0.002, np.zeros_like(row))
    np.testing.assert_allclose(centre, [0.002, 0], atol=1e-9)


def test_a_pattern_of_another_crystal_is_left_out():
    patterns = synthetic_patterns("oP", N_PATTERNS, seed=5)
    patterns[1] = synthetic_patterns("aP", 1, seed=6)[0]
    found = solve_patterns(patterns)[0]
    assert found.bravais.symbol == "oP"
    np.testing.assert_array_equal(np.isnan(found.orientations).all(axis=(1, 2)), np.arange(6) == 1)
    assert found.fractions[1] == 0
    assert not found.hkl[1].any()


def test_a_pattern_too_poor_for_a_lattice_of_its_own_is_oriented():
    patterns = synthetic_patterns("tP", N_PATTERNS, seed=7)
    strongest = np.argsort(-patterns[4][2])[:9]
    patterns[4] = tuple(v[strongest] for v in patterns[4])
    found = solve_patterns(patterns)[0]
    assert found.bravais.symbol == "tP"
    assert found.fractions[4] == 1


def test_rare_superlattice_spots_are_not_left_out():
    rng = np.random.default_rng(8)
    patterns = []
    large = np.diag([1, 1, 2]) @ conventional_lattice("oP")
    for _ in range(N_PATTERNS):
        rotation = Rotation.random(random_state=rng).as_matrix()
        qx, qy, intensity, hkl = synthetic_pattern(large, rotation, rng)
        # Odd l is seen one time in six.
        seen = (hkl[:, 2] % 2 == 0) | (rng.random(len(hkl)) < 1 / 6)
        patterns.append((qx[seen], qy[seen], intensity[seen]))
    found = solve_patterns(patterns)[0]
    assert same_lattice(direct(found), large, 1e-5)


def test_poor_patterns_do_no_harm():
    patterns = synthetic_patterns("oP", N_PATTERNS, seed=10)
    rng = np.random.default_rng(0)
    poor = [(np.empty(0), np.empty(0)), (np.array([1e-4]), np.zeros(1)), rng.normal(size=(2, 6))]
    found = solve_patterns([p[:2] for p in patterns] + [tuple(p) for p in poor])[0]
    assert found.bravais.symbol == "oP"
    np.testing.assert_array_equal(found.fractions[:N_PATTERNS], 1)
    np.testing.assert_array_equal(found.fractions[N_PATTERNS : N_PATTERNS + 2], 0)


def test_one_pattern_and_none():
    patterns = synthetic_patterns("cP", 1, seed=9)
    assert solve_patterns(patterns)[0].fractions[0] == 1
    assert solve_patterns([(np.arange(3.0), np.ones(3))]) == []
    with pytest.raises(UserError, match="at least one"):
        solve_patterns([])
    with pytest.raises(UserError, match="finite"):
        solve_patterns([(np.full(9, np.nan), np.ones(9))])


@pytest.mark.parametrize("seed", range(3))
def test_peaks_between_the_spots_of_a_row_make_no_superlattice(seed):
    """Split or moved peaks lie near thirds of a row, but not on them."""
    rng = np.random.default_rng(seed)
    lattice = primitive_lattice("mP")
    patterns = []
    for _ in range(8):
        turn = Rotation.random(random_state=rng).as_matrix()
        qx, qy, intensity, _ = synthetic_pattern(lattice, turn, rng, noise=0.002)
        chosen = rng.choice(len(qx), len(qx) // 3, replace=False)
        along = (np.linalg.inv(lattice).T @ turn)[1, :2]
        steps = rng.uniform(0.25, 0.42, (len(chosen), 1)) * rng.choice([-1, 1], (len(chosen), 1))
        moved = np.column_stack([qx, qy])[chosen] + steps * along
        weak = np.full(len(chosen), 1e-3)
        patterns.append(
            (*np.vstack([np.column_stack([qx, qy]), moved]).T, np.append(intensity, weak))
        )
    found = solve_patterns(patterns, free_distortion=True)[0]
    assert same_lattice(direct(found), primitive_lattice("mP"), 0.02)


def test_a_superlattice_of_few_spots_is_found():
    """One spot in eight says that an axis is twice as long."""
    rng = np.random.default_rng(4)
    lattice = primitive_lattice("oP")
    larger = lattice * np.array([[2.0], [1.0], [1.0]])
    patterns = []
    for _ in range(8):
        turn = Rotation.random(random_state=rng).as_matrix()
        qx, qy, intensity, hkl = synthetic_pattern(larger, turn, rng, noise=0.002)
        kept = (hkl[:, 0] % 2 == 0) | (rng.random(len(qx)) < 0.15)
        patterns.append((qx[kept], qy[kept], intensity[kept]))
    found = solve_patterns(patterns, free_distortion=True)[0]
    assert same_lattice(direct(found), larger, 0.02)


def test_a_pattern_that_a_superlattice_loses_does_no_harm():
    """A pattern of few spots, indexed at the edge of the tolerance, is not indexed again."""
    rng = np.random.default_rng(11)
    small = conventional_lattice("oP")
    half = wavelength(300e3) / 2
    spots, rotations, hkl = [], {}, {}
    for p in range(7):
        rotations[p] = Rotation.random(random_state=rng).as_matrix()
        qx, qy, _, found = synthetic_pattern(np.diag([1, 1, 2]) @ small, rotations[p], rng)
        if p == 6:
            even = np.flatnonzero(found[:, 2] % 2 == 0)[:5]
            qx, qy, found = qx[even] + 0.05, qy[even] + 0.05, found[even]
        spots.append(Spots(qx, qy, half))
        seen = found[:, 2] % 2 == 0
        hkl[p] = np.column_stack([found * [1, 1, 0.5], seen]).astype(np.int64) * seen[:, None]
    ones, centres = dict.fromkeys(range(7), 1.0), dict.fromkeys(range(7), np.zeros(2))
    reciprocal = np.linalg.inv(small).T
    fit = JointFit(
        reciprocal, rotations, ones, hkl, 0.001, SLAB_SPREAD, np.eye(6), centres, np.zeros(2)
    )
    found = enlarge(fit, spots, SLAB, Free())
    assert list(found.hkl) == list(range(6))
    assert abs(np.linalg.det(found.reciprocal)) == pytest.approx(np.linalg.det(reciprocal) / 2)

"""The net of a zone, and layers above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_patterns import (
    CELLS,
    conventional_lattice,
    gold_pattern,
    primitive_lattice,
    random_rotations,
    synthetic_pattern,
)
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import single, solve_pattern
from ediff_solve.lattice.nets import find_net, net_points
from ediff_utils.bloch.orientations import lattice_fixed_orientation


def near_zone(symbol, uvw, tilt, seed=0, **options):
    """Spots of a lattice near [uvw], and their indices: qx, qy, intensity, hkl."""
    rng = np.random.default_rng(seed)
    exact = lattice_fixed_orientation(np.array(uvw) @ conventional_lattice(symbol))
    angles = [rng.uniform(0, 360), tilt, rng.uniform(0, 360)]
    turn = Rotation.from_euler("ZXZ", angles, degrees=True).as_matrix()
    return synthetic_pattern(primitive_lattice(symbol), exact @ turn, rng, **options)


def is_right(candidate, hkl) -> bool:
    """Whether an integer matrix of determinant one takes the indices to the true ones."""
    own, true = candidate.hkl[candidate.indexed].astype(float), hkl[candidate.indexed]
    if np.linalg.matrix_rank(own) < 3 or np.linalg.matrix_rank(true) < 3:
        return False
    change = np.rint(np.linalg.lstsq(own, true, rcond=None)[0])
    same = np.abs(own @ change - true).max(axis=1) < 0.5
    return bool(same.mean() > 0.95 and abs(round(np.linalg.det(change))) == 1)


@given(st.floats(0, 2.5), st.integers(0, 1000), st.sampled_from(["oP", "tP", "hP", "mP"]))
@settings(max_examples=30, deadline=None)
def test_the_net_of_one_zone_and_its_tilt(tilt, seed, symbol):
    """Along c of these lattices it is a* and b*, and all spots of so narrow a pattern are of it."""
    qx, qy, intensity, hkl = near_zone(
        symbol, (0, 0, 1), tilt, seed, q_max=1.2, slab=0.004, keep=0.95
    )
    if not hkl[:, 2].any() and len(qx) > 12 and np.linalg.matrix_rank(hkl) == 2:
        net = find_net(qx, qy, intensity, 300e3)
        direct = conventional_lattice(symbol)
        across = np.linalg.inv(direct).T[:2]
        across -= np.outer(across @ direct[2], direct[2]) / (direct[2] @ direct[2])
        metric = np.sort([across[0] @ across[0], across[1] @ across[1]])
        # The tilt shortens what is across it by its cosine.
        found = np.sort((net.basis**2).sum(axis=1))
        np.testing.assert_allclose(found, metric, rtol=4e-3)
        assert net.in_zone.mean() > 0.9
        assert np.degrees(np.hypot(*net.tilt)) == pytest.approx(tilt, abs=0.4)


@pytest.mark.parametrize("uvw", [(1, 1, 1), (2, 1, 0), (2, 1, 1), (3, 1, 2)])
def test_layers_are_found_that_lie_straight_above_the_net(uvw, monkeypatch):
    """More cells are right than without, and most of those whose layers are seen."""
    drawn = [
        near_zone(symbol, uvw, tilt, seed)
        for seed, symbol in enumerate(CELLS)
        for tilt in (0.3, 1.1, 2.4)
    ]
    seen = [p for p in drawn if (p[3] @ _axis_of(p[3]) != 0).sum() > 12]
    found = [is_right(solve_pattern(*p[:3])[0], p[3]) for p in seen]
    monkeypatch.setattr(single, "_fit_layers", lambda *_: [])
    before = [
        bool(other) and is_right(other[0], p[3]) for p in seen if (other := solve_pattern(*p[:3]))
    ]
    assert sum(found) >= sum(before)
    assert np.mean(found) > 0.8


def _axis_of(hkl):
    """The primitive indices [uvw] of the zone that most spots belong to."""
    pairs = np.cross(hkl[:, None, :], hkl[None, :, :]).reshape(-1, 3)
    pairs = pairs[(pairs != 0).any(axis=1)]
    pairs //= np.gcd.reduce(pairs, axis=1)[:, None]
    pairs *= np.where(pairs[:, :1] < 0, -1, 1)
    axes, counts = np.unique(pairs, axis=0, return_counts=True)
    return axes[np.argmax(counts)]


def test_few_spots_of_gold_have_a_lattice():
    """Ten spots have hardly a difference twice, but their net has layers."""
    drawn = [gold_pattern(rotation) for rotation in random_rotations(60)]
    right = [
        is_right(found[0], p[3])
        for p in drawn
        if np.linalg.matrix_rank(p[3]) == 3 and (found := solve_pattern(*p[:3]))
    ]
    assert len(right) > 20
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("n", [0, 3, 4])
def test_too_few_spots_have_no_net(n):
    rng = np.random.default_rng(n)
    assert find_net(*rng.uniform(-1, 1, (2, n)), np.ones(n), 300e3) is None


def test_spots_on_a_line_have_no_net():
    x = 0.2 * np.arange(-5, 6)
    assert find_net(x[x != 0], 0.5 * x[x != 0], np.ones(10), 300e3) is None


def test_points_of_a_net():
    qx, qy, intensity, _ = near_zone("tP", (0, 0, 1), 0.0, q_max=1.0, slab=0.02)
    net = find_net(qx, qy, intensity, 300e3)
    points = net_points(net, 1.0)
    step = 1 / CELLS["tP"][0]
    size = int(1 / step)
    inside = [
        (h, k)
        for h in range(-size, size + 1)
        for k in range(-size, size + 1)
        if 0 < np.hypot(h, k) * step <= 1.0
    ]
    assert len(points) == len(inside)
    far = np.hypot(*(points[:, None] - np.column_stack([qx, qy])[None]).transpose(2, 0, 1))
    assert far.min(axis=0)[net.on].max() < 2e-3

"""One grain of a scan: patterns of few spots, twins in one lattice, patterns put together."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import CENTRINGS, synthetic_pattern
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import find_larger_twin, solve_pattern, solve_sparse
from ediff_solve.lattice.kernels.pooling import distinct_differences, join_spots
from ediff_solve.predictor.evidence import NAMES, solve_alone
from ediff_solve.scans.grains import pool_patterns, solve_grain

A = 4.08
GOLD = A * CENTRINGS["F"]


def gold_pattern(rotation, seed=0, **options):
    """Spots of fcc gold as a scan's detector has them: few."""
    values = {"q_max": 1.9, "slab": 0.03, "keep": 1.0, "noise": 0.002} | options
    return synthetic_pattern(GOLD, rotation, np.random.default_rng(seed), **values)


def random_rotations(n, seed=0):
    return Rotation.random(n, random_state=seed).as_matrix()


def test_few_spots_are_solved_where_no_difference_comes_twice():
    solved = 0
    for rotation in random_rotations(60):
        qx, qy, intensity, hkl = gold_pattern(rotation)
        if solve_pattern(qx, qy, intensity):
            continue
        found = solve_sparse(qx, qy, intensity)
        if not found:
            continue
        solved += 1
        # The plane is known well, so that the true indices are integer combinations of those found.
        best = found[0]
        change, *_ = np.linalg.lstsq(hkl[best.indexed], best.hkl[best.indexed], rcond=None)
        if np.linalg.matrix_rank(hkl[best.indexed]) == 3:
            np.testing.assert_allclose(change, np.rint(change), atol=0.02)
    assert solved >= 3


def test_random_spots_have_no_lattice():
    rng = np.random.default_rng(3)
    for n in (5, 9, 14, 20):
        for _ in range(6):
            q, angle = 1.8 * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
            assert solve_sparse(q * np.cos(angle), q * np.sin(angle), rng.exponential(size=n)) == []


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_spots(n):
    assert solve_sparse(np.arange(n) * 0.4, np.ones(n)) == []


def test_spots_on_one_line():
    assert solve_sparse(np.arange(1, 9) * 0.1, np.arange(1, 9) * 0.2) == []


def twins(rotation):
    """Patterns of fcc, of its twin on (111), and of both."""
    turned = Rotation.from_rotvec(np.pi * np.ones(3) / np.sqrt(3)).as_matrix() @ rotation
    parent, twin = (gold_pattern(r, k, slab=0.045) for k, r in ((1, rotation), (2, turned)))
    far = np.hypot(twin[0][:, None] - parent[0], twin[1][:, None] - parent[1]).min(axis=1) > 0.02
    joined = tuple(np.concatenate([p, t[far]]) for p, t in zip(parent[:3], twin[:3], strict=True))
    return parent, twin, joined


def test_twins_that_make_one_lattice_are_told_apart():
    told = 0
    for rotation in random_rotations(30, 1):
        parent, twin, joined = twins(rotation)
        grain = solve_grain(joined)
        if grain.vector is None or grain.indexed < 0.9 or grain.one_grain > 0.9:
            continue
        told += 1
        share = max(len(parent[0]), len(twin[0])) / len(joined[0])
        assert grain.one_grain == pytest.approx(share, abs=0.15)
        # The larger one's evidence: the smallest distance of net planes is gold's, not a third.
        assert grain.vector[NAMES.index("indexed")] > 0.85
    assert told >= 5


def test_one_grain_is_no_twin():
    fooled = solved = 0
    for rotation in random_rotations(60, 2):
        qx, qy, intensity, _ = gold_pattern(rotation, q_max=1.9, slab=0.04)
        found = solve_alone((qx, qy, intensity))
        if found and found[0].fraction > 0.9:
            solved += 1
            volume = 1 / abs(np.linalg.det(found[0].reciprocal))
            fooled += volume < 24 and find_larger_twin(found[0]) is not None
    assert solved >= 8
    assert fooled == 0


def test_patterns_of_a_grain_are_put_together():
    rng = np.random.default_rng(0)
    places = np.array([[0.4, 0.1], [-0.3, 0.5], [0.2, -0.7], [0.9, 0.0]])
    patterns = []
    for k in range(30):
        seen = places[[True, True, k % 2 == 0, k % 5 == 0]]
        noisy = seen + rng.normal(0, 0.003, seen.shape)
        patterns.append((*noisy.T, np.full(len(seen), 10.0)))
    qx, qy, intensity = pool_patterns(patterns, 0.02)
    order = np.argsort(qx)
    # The one that every fifth pattern has is a neighbour's.
    np.testing.assert_allclose(qx[order], [-0.3, 0.2, 0.4], atol=0.003)
    np.testing.assert_allclose(qy[order], [0.5, -0.7, 0.1], atol=0.003)
    np.testing.assert_allclose(intensity[order], [300, 150, 300])


def test_one_pattern_put_together_is_itself():
    qx, qy, intensity = np.array([0.3, -0.4]), np.array([0.1, 0.2]), np.array([1.0, 2.0])
    pooled = pool_patterns([(qx, qy, intensity)], 0.02)
    np.testing.assert_allclose(np.sort(pooled[0]), np.sort(qx))
    np.testing.assert_allclose(np.sort(pooled[2]), np.sort(intensity))


def test_groups_are_about_their_means():
    group, places = join_spots(
        np.array([0.0, 1.0, 0.01, 1.02]), np.zeros(4), np.array([1.0, 1.0, 3.0, 1.0]), 0.05
    )
    assert group.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(places, [[0.0075, 0], [1.01, 0]])


def test_frequent_differences_come_first():
    x, y = np.array([0.0, 0.3, 0.6, 0.6]), np.array([0.0, 0.0, 0.0, 0.5])
    found = distinct_differences(x, y, 0.7, 0.01)
    np.testing.assert_allclose(found[0], [0.3, 0], atol=1e-9)
    assert len(found) == 4
    assert (found[:, 1] >= 0).all()

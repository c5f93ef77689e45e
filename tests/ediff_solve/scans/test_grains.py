"""One grain of a scan: twins in one lattice, patterns put together."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import gold_pattern, random_rotations
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import find_larger_twin
from ediff_solve.predictor.evidence import NAMES, solve_alone
from ediff_solve.scans.grains import pool_patterns, solve_grain


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

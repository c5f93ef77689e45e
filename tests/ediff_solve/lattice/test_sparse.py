"""The lattice of patterns of few spots."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import gold_pattern, random_rotations

from ediff_solve.lattice import solve_sparse
from ediff_solve.lattice.kernels.pooling import distinct_differences, join_spots


def test_few_spots_are_solved_where_no_difference_comes_twice():
    solved = 0
    for rotation in random_rotations(60):
        qx, qy, intensity, hkl = gold_pattern(rotation)
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

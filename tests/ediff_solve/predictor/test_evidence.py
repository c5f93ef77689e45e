"""What spots say of symmetry: scores of Laue classes, absences, scales, and the vector of all."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from lattice_patterns import CELLS, primitive_lattice, synthetic_patterns
from scipy import stats
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import LatticeCandidate, find_bravais, niggli_cell, solve_pattern
from ediff_solve.lattice.kernels.metric_groups import (
    ROTATIONS,
    find_group,
    metric_operators,
    product_table,
)
from ediff_solve.predictor.evidence import NAMES, compute_evidence, solve_alone
from ediff_solve.predictor.evidence.absences import NAMES as ZONE_NAMES
from ediff_solve.predictor.evidence.absences import ZONES, absence_scores
from ediff_solve.predictor.evidence.hypotheses import find_hypotheses, hypothesis_numbers
from ediff_solve.predictor.evidence.kernels.pattern import NAMES as PATTERN_NAMES
from ediff_solve.predictor.evidence.kernels.pattern import pattern_symmetry
from ediff_solve.predictor.evidence.laue import AXES, laue_scores, metric_system, rotations
from ediff_solve.predictor.evidence.reflections import Reflections, merge, residuals
from ediff_utils.core.errors import UserError

#: Rotations of each lattice beside the identity: half the order of its holohedry less one.
N_ROTATIONS = {"a": 0, "m": 1, "o": 3, "t": 7, "hR": 5, "hP": 11, "c": 23}


def every_reflection(largest: int = 4) -> np.ndarray:
    """One of g and -g each."""
    hkl = np.array(list(product(range(-largest, largest + 1), repeat=3)))
    first = np.argmax(hkl != 0, axis=1)
    return hkl[np.take_along_axis(hkl, first[:, None], 1)[:, 0] > 0]


def reflections(hkl: np.ndarray, value: np.ndarray) -> Reflections:
    return Reflections(hkl, value, np.ones(len(hkl)), 1.0, 0.0, 0.5, 9, 0.5, 9)


def orbit_values(hkl: np.ndarray, group: list[np.ndarray], seed: int) -> np.ndarray:
    """A random value for every set of reflections that a group makes equivalent."""
    rng = np.random.default_rng(seed)
    images = np.stack([hkl @ matrix for matrix in [np.eye(3, dtype=int), *group]])
    images = np.concatenate([images, -images])
    keys = [max(map(tuple, images[:, j])) for j in range(len(hkl))]
    values = {key: rng.normal() for key in dict.fromkeys(keys)}
    return np.array([values[key] for key in keys])


class TestLaue:
    @pytest.mark.parametrize("symbol", CELLS)
    def test_rotations_of_a_lattice(self, symbol):
        found = rotations(symbol)
        expected = N_ROTATIONS.get(symbol, N_ROTATIONS.get(symbol[0]))
        assert len(found) == expected
        assert {slot for slot, _ in found} <= set(range(len(AXES[metric_system(symbol)])))
        for _, matrix in found:
            assert round(np.linalg.det(matrix)) == 1

    @pytest.mark.parametrize(
        ("symbol", "kept"),
        [
            ("hP", ("3 [001]",)),
            ("hP", ("3 [001]", "2 [100]")),
            ("hP", ("3 [001]", "2 [210]")),
            ("hP", ("3 [001]", "6 [001]", "2 [001]")),
            ("hR", ("3 [001]",)),
            ("tP", ("2 [001]", "4 [001]")),
            ("cF", ("2 [100]", "3 [111]")),
            ("oP", ("2 [001]",)),
        ],
    )
    def test_only_the_axes_of_the_class_score(self, symbol, kept):
        names = AXES[metric_system(symbol)]
        group = [m for slot, m in rotations(symbol) if names[slot] in kept]
        hkl = every_reflection()
        found = reflections(hkl, orbit_values(hkl, group, seed=0))
        scores = laue_scores(found, symbol).reshape(-1, 3)
        present = {names[slot] for slot, _ in rotations(symbol)}
        for slot, name in enumerate(names):
            if name in kept:
                assert scores[slot, 0] == pytest.approx(1)
                assert scores[slot, 2] > 0
            elif name in present:
                assert scores[slot, 0] < 0.8
            else:
                assert np.isnan(scores[slot, 0])

    def test_nothing_to_compare(self):
        none = reflections(np.empty((0, 3), int), np.empty(0))
        assert np.isnan(laue_scores(none, "cF")).all()


class TestAbsences:
    @pytest.mark.parametrize(
        ("symbol", "zone", "extinct"),
        [
            # International Tables A, reflection conditions of P2_1/c, Pnma, P4_1, Fd-3m, P6_3.
            ("mP", "h0l: l odd", lambda h, k, l: (k == 0) & (l % 2 != 0)),
            ("mP", "0k0: not 2n", lambda h, k, l: (h == 0) & (l == 0) & (k % 2 != 0)),
            ("oP", "0kl: k+l odd", lambda h, k, l: (h == 0) & ((k + l) % 2 != 0)),
            ("oP", "hk0: h odd", lambda h, k, l: (l == 0) & (h % 2 != 0)),
            ("tP", "00l: not 4n", lambda h, k, l: (h == 0) & (k == 0) & (l % 4 != 0)),
            ("hP", "00l: not 2n", lambda h, k, l: (h == 0) & (k == 0) & (l % 2 != 0)),
            (
                "cP",
                "0kl: k+l not 4n",
                lambda h, k, l: (
                    (np.sum([h == 0, k == 0, l == 0], 0) > 0)
                    & ((h + k + l) % 4 != 0)
                    & ((h + k + l) % 2 == 0)
                ),
            ),
        ],
    )
    def test_extinct_reflections_are_missed(self, symbol, zone, extinct):
        hkl = every_reflection()
        names = [z.name for z in ZONES[metric_system(symbol)]]
        slot = names.index(zone)
        before = absence_scores(reflections(hkl, np.zeros(len(hkl))), symbol).reshape(-1, 3)
        assert before[slot, 1] > 0.2
        left = hkl[~extinct(*hkl.T)]
        after = absence_scores(reflections(left, np.zeros(len(left))), symbol).reshape(-1, 3)
        assert after[slot, 1] == 0

    def test_weak_ones_are_weighed(self):
        hkl = every_reflection()
        weak = (hkl[:, 1] == 0) & (hkl[:, 2] % 2 != 0)
        found = absence_scores(reflections(hkl, np.where(weak, -2.0, 0.5)), "mP").reshape(-1, 3)
        slot = [z.name for z in ZONES["monoclinic"]].index("h0l: l odd")
        assert found[slot, 2] == pytest.approx(2.5)
        assert len(ZONE_NAMES) == found.size


class TestReflections:
    def test_residuals_know_nothing_of_excitation(self):
        rng = np.random.default_rng(0)
        n = 400
        pattern = rng.integers(0, 5, n)
        square, error = rng.uniform(0, 4, n), rng.normal(0, 0.02, n)
        own = rng.normal(size=n)
        intensity = np.exp(
            own - 1.3 * square - 0.7 * np.abs(error) / 0.02 - 0.2 * (error / 0.02) ** 2 + pattern
        )
        found = residuals(intensity, square, error, pattern)
        assert stats.pearsonr(found, own)[0] > 0.98
        for other in (square, np.abs(error), pattern):
            assert abs(stats.pearsonr(found, other)[0]) < 0.05

    def test_friedel_mates_are_one_reflection(self):
        hkl = np.array([[1, 0, 0], [-1, 0, 0], [0, -2, 1], [0, -2, 1], [1, 1, 1]])
        intensity = np.array([1.0, 1.0, 3.0, 3.0, 9.0])
        pattern = np.array([0, 0, 0, 1, 1])
        found = merge(hkl, intensity, np.ones(5), np.zeros(5), pattern)
        assert sorted(map(tuple, found.hkl)) == [(0, 2, -1), (1, 0, 0), (1, 1, 1)]
        assert (found.n_friedel, found.n_repeats) == (1, 1)
        assert sorted(found.weight) == [1, 2, 2]


class TestPattern:
    @pytest.mark.parametrize(("fold", "others"), [(4, (3, 6)), (6, (4,)), (3, (2, 4, 6))])
    def test_a_turned_pattern_is_itself(self, fold, others):
        rng = np.random.default_rng(1)
        angle = 2 * np.pi * np.arange(fold) / fold
        x, y = rng.uniform(0.3, 1.5, (2, 6))
        qx = np.concatenate([np.cos(a) * x - np.sin(a) * y for a in angle])
        qy = np.concatenate([np.sin(a) * x + np.cos(a) * y for a in angle])
        intensity = np.tile(rng.uniform(0.1, 1, 6), fold)
        order = np.argsort(-intensity)
        scores = dict(
            zip(
                PATTERN_NAMES, pattern_symmetry(qx[order], qy[order], intensity[order]), strict=True
            )
        )
        assert scores[f"positions_{fold}"] == pytest.approx(1)
        assert scores[f"intensities_{fold}"] == pytest.approx(1)
        for other in others:
            assert scores[f"intensities_{other}"] < 0.5

    def test_too_few_spots(self):
        assert np.isnan(pattern_symmetry(np.ones(2), np.ones(2), np.ones(2))[:-1]).all()


class TestHypotheses:
    @pytest.mark.parametrize(("symbol", "order"), [("cP", 24), ("cI", 24), ("tP", 8), ("oI", 4)])
    def test_one_pattern_tells_the_lattice(self, symbol, order):
        right = 0
        for seed in range(6):
            best = solve_pattern(*synthetic_patterns(symbol, 1, seed=seed)[0])[0]
            found = find_hypotheses(best)
            _, chosen = hypothesis_numbers(best, found)
            right += (
                order in found and find_bravais(chosen.lattice, tolerance=0.03).symbol == symbol
            )
        assert right >= 5

    @pytest.mark.parametrize("symbol", ["cF", "tI", "hP"])
    def test_components_along_the_beam_are_exact(self, symbol):
        """With exact ones in the plane, a wrong scale and symmetry that is known."""
        reciprocal = np.linalg.inv(primitive_lattice(symbol)).T
        turned = reciprocal @ Rotation.random(random_state=1).as_matrix()
        order = {"c": 24, "t": 8, "h": 12}[symbol[0]]
        candidate = candidate_of(turned * [1, 1, 1.06], log_scale_error=0.05)
        found = find_hypotheses(candidate)[order]
        np.testing.assert_allclose(found.along, turned[:, 2], rtol=2e-3, atol=2e-4)
        assert found.metric < 1e-3
        assert found.change == pytest.approx(np.log(1.06) / 0.05, rel=0.3)

    def test_group_of_a_metric(self):
        operators, products = metric_operators(ROTATIONS), product_table(ROTATIONS)
        for symbol, n in [("cF", 24), ("hP", 12), ("tI", 8), ("hR", 6), ("oF", 4), ("mC", 2)]:
            reduced = niggli_cell(primitive_lattice(symbol))
            metric = reduced @ reduced.T
            slow = [
                w for w in ROTATIONS if np.allclose(w @ metric @ w.T, metric, rtol=0, atol=1e-3)
            ]
            fast = ROTATIONS[find_group(metric, operators, products, 1e-3)]
            assert len(fast) == n
            assert {m.tobytes() for m in fast} == {m.tobytes() for m in slow}

    def test_nothing_of_a_triclinic_lattice(self):
        reciprocal = np.linalg.inv(primitive_lattice("aP")).T
        found = find_hypotheses(candidate_of(reciprocal, log_scale_error=0.02))
        assert not {8, 12, 24} & {n for n, h in found.items() if h.residual < 3 and h.change < 3}


def candidate_of(reciprocal: np.ndarray, log_scale_error: float) -> LatticeCandidate:
    errors = np.full((3, 3), 1e-4)
    errors[:, 2] = np.hypot(1e-3, reciprocal[:, 2] * log_scale_error)
    none = np.zeros((9, 3), int)
    return LatticeCandidate(
        reciprocal, errors, log_scale_error, none, none[:, 0] == 0, 1e-3, 0.015, 10.0
    )


class TestVector:
    @pytest.mark.parametrize("n", [1, 5])
    def test_turning_scaling_and_order_change_nothing(self, n):
        patterns = synthetic_patterns("tP", n, seed=3)
        vector = compute_evidence(patterns).vector
        c, s = np.cos(0.7), np.sin(0.7)
        changed = [
            [(c * x - s * y, s * x + c * y, i) for x, y, i in patterns],
            [(x, y, 1000 * i) for x, y, i in patterns],
            [tuple(a[::-1] for a in p) for p in patterns],
        ]
        # A pattern's mirror lines are tried every five degrees.
        free = np.array(["mirror" not in name for name in NAMES])
        for other in changed:
            found = compute_evidence(other).vector
            np.testing.assert_allclose(found[free], vector[free], rtol=2e-3, atol=2e-3)

    def test_length_and_names(self):
        evidence = compute_evidence(synthetic_patterns("cI", 6, seed=4))
        assert evidence.vector.shape == (len(NAMES),)
        assert len(set(NAMES)) == len(NAMES)
        assert evidence.bravais.symbol == "cI"
        numbers = dict(zip(NAMES, evidence.vector, strict=True))
        assert numbers["patterns"] == 6
        assert numbers["conventional_a"] == pytest.approx(5.83, rel=1e-4)
        assert numbers["indexed"] == pytest.approx(1)

    def test_candidates_need_not_be_found_again(self):
        patterns = synthetic_patterns("oI", 4, seed=5)
        known = [solve_alone(p) for p in patterns]
        one, other = compute_evidence(patterns), compute_evidence(patterns, candidates=known)
        np.testing.assert_array_equal(one.vector, other.vector)

    @pytest.mark.parametrize("n", [0, 1, 4])
    def test_too_few_spots_tell_no_lattice(self, n):
        evidence = compute_evidence([(np.arange(1.0, n + 1), np.ones(n), np.ones(n))])
        assert evidence.bravais is None
        assert np.isnan(evidence.vector[: len(NAMES) // 20]).all()
        assert not evidence.candidates

    def test_mistakes(self):
        with pytest.raises(UserError, match="at least one"):
            compute_evidence([])
        with pytest.raises(UserError, match="finite"):
            compute_evidence([(np.full(9, np.nan), np.ones(9), np.ones(9))])

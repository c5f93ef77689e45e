"""The radial and angular basis: against the formula, and its symmetries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from direct_radial import radial_transform_direct
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_crystals import make_crystal

from ediff_utils.core.errors import UserError
from ediff_utils.paper import published
from ediff_utils.paper.features import (
    N_ANGULAR,
    N_FEATURES,
    N_RADIAL,
    STEP,
    _to_vectors,
    basis_function,
    compute_features,
    normalise,
    reconstruct,
    rotate_vectors,
    to_coefficients,
    transform,
)

intensities = st.floats(0, 1, width=32)
angles = st.floats(-np.pi, np.pi)
radii = st.one_of(
    st.floats(0, 2.3),
    st.integers(0, 42).map(lambda m: m * STEP),  # on the centre of a ring, 2.05 and beyond too
    st.just(0.0),
)
spot = st.tuples(radii, angles, intensities).map(
    lambda s: (s[0] * np.cos(s[1]), s[0] * np.sin(s[1]), s[2])
)
# adding zero makes -0 a 0: the origin has one direction
spot_lists = st.lists(spot, max_size=25).map(
    lambda s: np.array(s, dtype=float).reshape(-1, 3) + 0.0
)
bright_lists = st.lists(
    st.tuples(st.floats(0.01, 1.99), angles, st.floats(0.01, 1)).map(
        lambda s: (s[0] * np.cos(s[1]), s[0] * np.sin(s[1]), s[2])
    ),
    min_size=1,
    max_size=25,
).map(lambda s: np.array(s, dtype=float).reshape(-1, 3))


def one(spots: np.ndarray) -> np.ndarray:
    """Coefficients of one pattern, shape (41, 13)."""
    return transform(*spots.T, np.array([0, len(spots)]))[0]


def turned(spots: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.column_stack([spots[:, :2] @ np.array([[c, s], [-s, c]]), spots[:, 2]])


def test_sizes_are_the_papers():
    assert published.RADIAL_BINS.value == N_RADIAL
    assert published.ANGULAR_ORDERS.value == N_ANGULAR
    assert published.RADIAL_STEP.value == STEP
    assert published.FEATURES.value == N_FEATURES == 2 * published.COMPLEX_FEATURES.value


@given(spots=spot_lists)
def test_against_the_formula(spots):
    expected = radial_transform_direct(*spots.T, N_RADIAL, N_ANGULAR, STEP)
    # The direction of a spot some 1e-300 from the origin is not a number to hold anyone to.
    assume(np.all((np.hypot(*spots[:, :2].T) == 0) | (np.hypot(*spots[:, :2].T) > 1e-9)))
    np.testing.assert_allclose(one(spots), expected, atol=2e-6)


@given(spots=bright_lists, angle=angles)
def test_a_rotation_multiplies_order_p_by_exp_i_p_phi(spots, angle):
    phase = np.exp(1j * np.arange(N_ANGULAR) * angle)
    np.testing.assert_allclose(one(turned(spots, angle)), one(spots) * phase, atol=1e-5)


@given(spots=bright_lists, angle=angles)
def test_magnitudes_do_not_see_a_rotation(spots, angle):
    before, after = (
        compute_features(*s.T, np.array([0, len(s)]))[0, : N_FEATURES // 2]
        for s in (spots, turned(spots, angle))
    )
    np.testing.assert_allclose(before, after, atol=1e-5)


@given(spots=bright_lists)
def test_a_mirror_takes_the_conjugate(spots):
    np.testing.assert_allclose(one(spots * [1, -1, 1]), one(spots).conj(), atol=1e-5)


@given(first=bright_lists, second=bright_lists, factor=st.floats(0, 10))
def test_linear_in_the_spots(first, second, factor):
    together = one(np.concatenate([first, second * [1, 1, factor]]))
    np.testing.assert_allclose(together, one(first) + factor * one(second), atol=2e-5)


@pytest.mark.parametrize("fold", [2, 3, 4, 6])
@given(spots=bright_lists)
@settings(max_examples=25)
def test_an_n_fold_pattern_has_only_orders_that_n_divides(fold, spots):
    copies = np.concatenate([turned(spots, 2 * np.pi * k / fold) for k in range(fold)])
    coefficients = one(copies)
    others = np.arange(N_ANGULAR) % fold != 0
    assert np.abs(coefficients[:, others]).max() < 1e-5
    np.testing.assert_allclose(coefficients[:, ~others], fold * one(spots)[:, ~others], atol=3e-5)
    # and as a vector: no argument made up out of round-off
    vector = _to_vectors(coefficients[None], "zero")[0].reshape(2, N_RADIAL, N_ANGULAR)
    assert not vector[1][:, others].any()


def test_a_spot_on_a_ring_has_no_direction_in_the_next_one():
    """In single precision it leaks a millionth of itself there, whose argument is round-off."""
    for q in np.arange(1, 40) * np.float32(STEP):
        for nearby in (np.nextafter(q, np.float32(0)), q, np.nextafter(q, np.float32(9))):
            vector = _to_vectors(one(np.array([[nearby * 0.6, nearby * 0.8, 1.0]]))[None], "zero")
            arguments = vector[0, 533:].reshape(N_RADIAL, N_ANGULAR)
            assert np.count_nonzero(arguments.any(axis=1)) == 1


@given(spots=bright_lists)
def test_rings_share_out_all_of_a_spot(spots):
    """The triangles add up to one below 2.0: order 0 sums to the total intensity."""
    assert one(spots)[:, 0].sum() == pytest.approx(spots[:, 2].sum(), rel=1e-5)
    assert np.abs(one(spots)[:, 0].imag).max() == 0


def test_one_spot_by_hand():
    """A spot at 0.2125 1/angstrom, 90 degrees: three quarters in ring 4, a quarter in ring 5."""
    coefficients = one(np.array([[0.0, 0.2125, 0.8]]))
    expected = np.zeros((N_RADIAL, N_ANGULAR), complex)
    turns = np.array([1, 1j, -1, -1j] * 4)[:N_ANGULAR]
    expected[4], expected[5] = 0.6 * turns, 0.2 * turns
    np.testing.assert_allclose(coefficients, expected, atol=1e-6)
    vector = compute_features(
        np.array([0.0]), np.array([0.2125]), np.array([0.8]), np.array([0, 1])
    )[0]
    np.testing.assert_allclose(vector[4 * 13 : 5 * 13], 0.75, atol=1e-6)
    np.testing.assert_allclose(vector[5 * 13 : 6 * 13], 0.25, atol=1e-6)
    arguments = vector[533 + 4 * 13 : 533 + 5 * 13]
    np.testing.assert_allclose(np.exp(1j * arguments), turns, atol=1e-6)
    assert np.count_nonzero(vector[:533]) == 26


@pytest.mark.parametrize(("q", "weight"), [(0.0, 1), (2.0, 1), (2.04, 0.2), (2.05, 0), (2.5, 0)])
def test_the_first_and_the_last_ring(q, weight):
    coefficients = one(np.array([[q, 0.0, 1.0]]))
    ring = 0 if q == 0 else 40
    np.testing.assert_allclose(coefficients[ring], weight, atol=1e-6)
    assert np.abs(coefficients).sum() == pytest.approx(weight * N_ANGULAR, abs=1e-5)


def test_no_spots_give_zeros():
    empty = np.empty(0)
    vectors = compute_features(empty, empty, empty, np.zeros(4, int))
    assert vectors.shape == (3, N_FEATURES)
    assert not vectors.any()


def test_spots_without_intensity_give_zeros():
    vectors = compute_features(np.array([0.3, 0.4]), np.zeros(2), np.zeros(2), np.array([0, 2]))
    assert not vectors.any()


@given(patterns=st.lists(spot_lists, min_size=1, max_size=5))
@settings(max_examples=30)
def test_a_batch_is_its_patterns_one_by_one(patterns):
    """Empty patterns in between included."""
    offsets = np.cumsum([0] + [len(p) for p in patterns])
    batch = compute_features(*np.concatenate(patterns).T, offsets)
    assert batch.shape == (len(patterns), N_FEATURES)
    assert batch.dtype == np.float32
    for vector, spots in zip(batch, patterns, strict=True):
        alone = compute_features(*spots.T, np.array([0, len(spots)]))[0]
        np.testing.assert_allclose(vector, alone, atol=1e-6)


def test_a_large_batch_is_cut_into_blocks():
    """More patterns than a block holds: the seams show in no vector."""
    n = 20_003
    rng = np.random.default_rng(0)
    offsets = np.arange(n + 1)
    qx, qy, intensity = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n), rng.uniform(0.1, 1, n)
    vectors = compute_features(qx, qy, intensity, offsets)
    assert vectors.shape == (n, N_FEATURES)
    for j in (0, 19_998, 19_999, 20_000, 20_001, 20_002):
        alone = compute_features(
            qx[j : j + 1], qy[j : j + 1], intensity[j : j + 1], np.array([0, 1])
        )
        np.testing.assert_array_equal(vectors[j], alone[0])


@given(spots=bright_lists)
def test_vectors_and_coefficients(spots):
    """Magnitudes come first, in the order of (m, p), then the arguments."""
    coefficients = one(spots)
    vector = _to_vectors(coefficients[None], "zero")
    np.testing.assert_allclose(vector[0, :533], np.abs(coefficients).ravel(), atol=1e-7)
    again = to_coefficients(vector)
    # what _to_vectors takes for round-off loses its argument, not its magnitude
    scale = np.abs(coefficients[:, :1]).max()
    np.testing.assert_allclose(again[0], coefficients, atol=3e-5 * max(scale, 1e-3))
    assert again.shape == (1, N_RADIAL, N_ANGULAR)


@given(spots=bright_lists, factor=st.floats(1e-4, 1e6))
def test_counts_and_fractions_have_the_same_features(spots, factor):
    offsets = np.array([0, len(spots)])
    fractions = compute_features(*spots.T, offsets)[0]
    counts = compute_features(*(spots * [1, 1, factor]).T, offsets)[0]
    np.testing.assert_allclose(counts[:533], fractions[:533], atol=1e-6)
    as_they_come = compute_features(*(spots * [1, 1, factor]).T, offsets, "incident")[0]
    np.testing.assert_allclose(
        as_they_come[:533],
        fractions[:533] * spots[:, 2].sum() * factor,
        rtol=1e-4,
        atol=1e-5 * factor,
    )


def test_normalise_by_hand():
    intensity = np.array([1.0, 3.0, 5.0, 0.0, 0.0])
    out = normalise(intensity, np.array([0, 2, 2, 3, 5, 5]))
    np.testing.assert_array_equal(out, [0.25, 0.75, 1, 0, 0])


@given(m=st.integers(0, 40), p=st.integers(0, 12), spots=bright_lists)
def test_coefficients_are_products_with_the_basis_functions(m, p, spots):
    qx, qy, intensity = spots.T
    expected = np.sum(intensity * basis_function(m, p, qx, qy))
    assert one(spots)[m, p] == pytest.approx(expected, abs=1e-5)


@given(spots=bright_lists, m=st.integers(0, 40))
@settings(max_examples=30)
def test_reconstruction_integrates_to_the_rings_total(spots, m):
    """On |q| = m dq only ring m counts: its integral over the angle is T[m, 0]."""
    coefficients = one(spots)
    phi = 2 * np.pi * np.arange(64) / 64
    around = reconstruct(coefficients, m * STEP * np.cos(phi), m * STEP * np.sin(phi))
    if m > 0:
        assert around.mean() * 2 * np.pi == pytest.approx(coefficients[m, 0].real, abs=1e-5)
        for p in (1, 5, 12):
            moment = np.mean(around * np.exp(1j * p * phi)) * 2 * np.pi
            assert moment == pytest.approx(coefficients[m, p], abs=1e-5)


def test_reconstruction_peaks_at_the_spot():
    phi = np.linspace(-np.pi, np.pi, 721)
    around = reconstruct(one(np.array([[0.0, 0.5, 1.0]])), 0.5 * np.cos(phi), 0.5 * np.sin(phi))
    assert phi[around.argmax()] == pytest.approx(np.pi / 2, abs=0.01)
    # half the width of a Dirichlet kernel of order 12: 25 terms of one half each over pi
    assert around.max() == pytest.approx(25 / (2 * np.pi), rel=1e-3)


@pytest.mark.parametrize("name", ["qx", "qy", "intensity"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(name, value):
    spots = {"qx": np.array([0.1, 0.2]), "qy": np.zeros(2), "intensity": np.ones(2)}
    spots[name][1] = value
    with pytest.raises(UserError, match=f"^{name}: expected finite numbers") as caught:
        compute_features(**spots, offsets=np.array([0, 2]))
    assert "\n" not in str(caught.value)


cached = lru_cache(make_crystal)


# --- turning a pattern ----------------------------------------------------------------------------
@given(spots=st.lists(spot, min_size=1, max_size=12), degrees=st.floats(-720, 720))
@settings(max_examples=60, deadline=None)
def test_turning_vectors_is_turning_patterns(spots, degrees):
    qx, qy, intensity = np.array(spots).T
    # A spot at the origin has no direction, and a pattern without intensity no features.
    qx[np.hypot(qx, qy) < 1e-3] = 0.5
    intensity[0] += 1e-3
    offsets = np.array([0, len(qx)])
    angle = np.radians(degrees)
    turned = (np.cos(angle) * qx - np.sin(angle) * qy, np.sin(angle) * qx + np.cos(angle) * qy)
    expected = compute_features(*turned, intensity, offsets)
    found = rotate_vectors(compute_features(qx, qy, intensity, offsets), np.array([degrees]))
    np.testing.assert_allclose(to_coefficients(found), to_coefficients(expected), atol=2e-5)


def test_a_turn_and_back():
    rng = np.random.default_rng(1)
    qx, qy = rng.uniform(-1.4, 1.4, (2, 90))
    vectors = compute_features(qx, qy, rng.random(90), np.array([0, 30, 60, 90]))
    angle = np.array([0.0, 77.0, -200.0])
    turned = rotate_vectors(vectors, angle)
    assert np.abs(turned[0] - vectors[0]).max() < 1e-5
    assert np.abs(turned[1] - vectors[1]).max() > 1
    back = rotate_vectors(turned, -angle)
    np.testing.assert_allclose(to_coefficients(back), to_coefficients(vectors), atol=1e-6)


def test_real_coefficients_do_not_hang_on_rounding():
    """Spots in pairs about x make T[m, p] real: the argument of negative ones is pi, never -pi."""
    rng = np.random.default_rng(3)
    radius, angle = rng.uniform(0.1, 1.9, 200), rng.uniform(-np.pi, np.pi, 200)
    half = rng.random(200)
    qx, qy = radius * np.cos(angle), radius * np.sin(angle)
    mirrored = np.concatenate([qx, qx]), np.concatenate([qy, -qy]), np.concatenate([half, half])
    order = rng.permutation(400)
    offsets = np.array([0, 400])
    vectors = compute_features(*(values[order] for values in mirrored), offsets)
    arguments = vectors[0, 533:]
    negative = np.abs(np.abs(arguments) - np.pi) < 0.005
    assert negative.sum() > 100
    assert (arguments[negative] > 0).all()
    turned = rotate_vectors(vectors, np.array([1e-4]))[0, 533:]
    assert np.abs(turned - arguments).max() < 1e-3


def test_round_off_is_an_argument_only_where_it_is_kept():
    """Four equal spots in a square: of the orders 0 to 12 all but 0, 4, 8, 12 are extinguished."""
    angle = np.radians(17 + 90 * np.arange(4))
    spots = np.cos(angle) * 0.71, np.sin(angle) * 0.71, np.full(4, 0.25), np.array([0, 4])
    shape = (N_RADIAL, N_ANGULAR)
    magnitude, zero = (v.reshape(shape) for v in np.split(compute_features(*spots)[0], 2))
    kept = np.split(compute_features(*spots, round_off="kept")[0], 2)[1].reshape(shape)
    ring = magnitude[:, 0] > 0
    extinguished = np.arange(N_ANGULAR) % 4 > 0
    assert not zero[ring][:, extinguished].any()
    assert np.count_nonzero(kept[ring][:, extinguished]) >= 9
    same = np.exp(1j * kept[ring][:, ::4]), np.exp(1j * zero[ring][:, ::4])
    np.testing.assert_allclose(*same, rtol=1e-6)


def test_kept_round_off_stays_when_a_pattern_is_turned():
    angle = np.radians(17 + 90 * np.arange(4))
    spots = np.cos(angle) * 0.71, np.sin(angle) * 0.71, np.full(4, 0.25), np.array([0, 4])
    kept = compute_features(*spots, round_off="kept")
    before, after = (np.split(v[0], 2)[1] for v in (kept, rotate_vectors(kept, np.array([40.0]))))
    known = (before != 0) & (np.arange(len(before)) % N_ANGULAR > 0)
    assert np.all(after[known] != 0)

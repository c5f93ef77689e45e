"""The detector: what it draws, what it leaves, and that nothing but seed, group and key matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ediff_solve.detector.effects import (
    CLEAN,
    DetectedSpots,
    DetectorSettings,
    apply_detector,
    distortion,
)
from ediff_solve.detector.kernels import effects as kernels
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import check

#: Every effect at once, and strongly.
ALL = DetectorSettings(missing=0.2, spurious=0.3, second_grain=0.5, counts=5000)
PER_PATTERN = [
    name
    for name in DetectedSpots.__dataclass_fields__
    if name not in ("qx", "qy", "intensity", "offsets")
]

spot = st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 1))
pattern = st.lists(spot, max_size=20).map(lambda s: np.array(s, dtype=float).reshape(-1, 3))
data_sets = st.lists(pattern, min_size=1, max_size=6)
options = st.builds(
    DetectorSettings,
    position_noise=st.sampled_from([0, 0.003]),
    intensity_noise=st.sampled_from([0, 0.2]),
    dynamic_range=st.sampled_from([0, 1e-3, 0.1]),
    q_max_range=st.sampled_from([None, (0.8, 2.0), (1.0, 1.0)]),
    scale_error=st.sampled_from([0, 0.03]),
    ellipticity=st.sampled_from([0, 0.02]),
    centre_error=st.sampled_from([0, 0.005]),
    missing=st.sampled_from([0, 0.05, 1]),
    spurious=st.sampled_from([0, 0.03, 1]),
    second_grain=st.sampled_from([0, 0.5, 1]),
    counts=st.sampled_from([0, 100, 1e6]),
)


def only(**values: object) -> DetectorSettings:
    """A clean detector but for this."""
    return but(CLEAN, **values)


def but(how: DetectorSettings, **values: object) -> DetectorSettings:
    """The same detector but for this."""
    return DetectorSettings(**how.model_dump() | values)


def flat(patterns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    spots = np.concatenate([np.empty((0, 3)), *patterns])
    return *np.ascontiguousarray(spots.T), np.cumsum([0] + [len(p) for p in patterns])


POOL = flat(list(np.random.default_rng(5).uniform(0.1, 1, (7, 12, 3))))


def detect(
    patterns: list[np.ndarray], how: DetectorSettings, seed: int = 0, groups=None, keys=None
) -> DetectedSpots:
    """Each pattern a key of its own, all of one group, unless told."""
    n = len(patterns)
    groups = np.zeros(n, int) if groups is None else groups
    keys = np.arange(n) if keys is None else keys
    return apply_detector(*flat(patterns), groups, keys, how, seed, POOL)


def pieces(found: DetectedSpots) -> list[np.ndarray]:
    spots = np.column_stack([found.qx, found.qy, found.intensity])
    return np.split(spots, found.offsets[1:-1])


def many(n: int, size: int, seed: int = 1, radius: float = 0.7) -> list[np.ndarray]:
    """Patterns with spots evenly in a disk, intensities between a half and one."""
    rng = np.random.default_rng(seed)
    r, phi = radius * np.sqrt(rng.random((n, size))), 2 * np.pi * rng.random((n, size))
    return list(np.stack([r * np.cos(phi), r * np.sin(phi), rng.uniform(0.5, 1, r.shape)], axis=2))


def assert_same(first: DetectedSpots, second: DetectedSpots) -> None:
    for name in DetectedSpots.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)


# --- what the result hangs on ---------------------------------------------------------------------
@given(patterns=data_sets, how=options, seed=st.integers(0, 2**70))
def test_same_seed_same_result(patterns, how, seed):
    assert_same(detect(patterns, how, seed), detect(patterns, how, seed))


@given(patterns=data_sets, how=options, data=st.data())
def test_a_pattern_knows_nothing_of_the_others(patterns, how, data):
    """Any of them, in any order, of any group, come out as they do together."""
    n = len(patterns)
    groups = np.array(data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)))
    chosen = np.array(data.draw(st.permutations(range(n)))[: data.draw(st.integers(1, n))])
    together = detect(patterns, how, 3, groups)
    apart = detect([patterns[j] for j in chosen], how, 3, groups[chosen], chosen)
    for name in PER_PATTERN:
        np.testing.assert_array_equal(getattr(apart, name), getattr(together, name)[chosen], name)
    before = pieces(together)
    for piece, j in zip(pieces(apart), chosen, strict=True):
        np.testing.assert_array_equal(piece, before[j])


def test_blocks_show_no_seam(monkeypatch):
    patterns = many(23, 9)
    whole = detect(patterns, ALL)
    monkeypatch.setattr("ediff_solve.detector.effects._BLOCK", 5)
    assert_same(detect(patterns, ALL), whole)


def test_seed_group_and_key_each_matter():
    patterns = many(1, 30)
    first = detect(patterns, ALL, 0, np.array(["a"]), np.array([0]))
    for seed, group, key in [(1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a", -1), (0, "a", 2**40)]:
        other = detect(patterns, ALL, seed, np.array([group]), np.array([key]))
        assert not np.array_equal(other.qx[:5], first.qx[:5])
        assert other.q_max[0] != first.q_max[0]
        assert (other.scale[0] == first.scale[0]) == (seed == 0 and group == "a")


def test_names_as_arrays_of_text_or_objects():
    patterns = many(3, 9)
    names = ["mp-1", "mp-22", "Ångström"]
    for kind in ("U", object):
        found = detect(patterns, ALL, 0, np.array(names, kind), np.array(names, kind))
        assert_same(found, detect(patterns, ALL, 0, np.array(names), np.array(names)))


def test_switching_one_effect_off_leaves_the_others():
    patterns = many(6, 40)
    how = only(position_noise=0.003, intensity_noise=0.2, missing=0.2, spurious=0.2)
    found = detect(patterns, how)
    even = detect(patterns, but(how, intensity_noise=0))
    np.testing.assert_array_equal(even.qx, found.qx)
    sharp = detect(patterns, but(how, position_noise=0))
    np.testing.assert_array_equal(sharp.intensity, found.intensity)
    real = detect(patterns, but(how, spurious=0))
    np.testing.assert_array_equal(real.n_missing, found.n_missing)
    complete = detect(patterns, but(how, missing=0, spurious=0))
    assert set(real.qx) < set(complete.qx)
    assert set(real.qx) < set(found.qx)


# --- what a clean detector is ---------------------------------------------------------------------
@given(patterns=data_sets, kind=st.sampled_from([np.float32, np.float64]))
def test_clean_is_the_identity(patterns, kind):
    """To the bit, the sign of zero and the type included."""
    *spots, offsets = flat(patterns)
    spots = [s.astype(kind) for s in spots]
    n = len(patterns)
    found = apply_detector(*spots, offsets, np.zeros(n, int), np.arange(n), CLEAN, 0)
    for before, after in zip(spots, (found.qx, found.qy, found.intensity), strict=True):
        assert after.dtype == kind
        assert after.tobytes() == before.tobytes()
    np.testing.assert_array_equal(found.offsets, offsets)
    assert np.all(np.isinf(found.q_max))
    assert np.all(found.scale == 1)
    for name in ("ellipticity", "centre", "n_missing", "n_spurious", "second_weight"):
        assert not getattr(found, name).any()
    assert np.all(found.second == -1)


def test_input_is_left_alone():
    arrays = flat(many(5, 20))
    copies = [a.copy() for a in arrays]
    apply_detector(*arrays, np.zeros(5, int), np.arange(5), ALL, 0, arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_no_patterns_and_no_spots():
    assert len(detect([], ALL).q_max) == 0
    found = detect([np.empty((0, 3))] * 3, ALL)
    np.testing.assert_array_equal(found.offsets, np.zeros(4))
    assert np.all(found.second == -1)


def test_spots_without_intensity():
    dark = np.array([[0.3, 0.0, 0.0], [0.0, 0.4, 0.0]])
    assert len(detect([dark], only(intensity_noise=0.2, second_grain=1)).qx) == 2
    assert len(detect([dark], only(dynamic_range=0.5)).qx) == 2
    assert np.all(np.isfinite(detect([dark], ALL).intensity))


# --- geometry -------------------------------------------------------------------------------------
@given(patterns=data_sets, how=options)
def test_nothing_beyond_q_max(patterns, how):
    found = detect(patterns, how)
    for piece, q_max in zip(pieces(found), found.q_max, strict=True):
        assert np.all(np.hypot(*piece[:, :2].T) <= q_max * (1 + 1e-12))
    if how.q_max_range:
        assert np.all(found.q_max >= how.q_max_range[0])
        assert np.all(found.q_max <= how.q_max_range[1])


def test_q_max_is_uniform():
    found = detect([np.empty((0, 3))] * 3000, DetectorSettings())
    assert stats.kstest(found.q_max, stats.uniform(0.8, 1.2).cdf).pvalue > 1e-3


def test_the_distortion_by_hand():
    """Scale 1.1; 10 % ellipticity along 60 degrees: 1.05 along the axis, 0.95 across it."""
    (xx, xy, yy), straight = distortion(
        np.array([1.1, 2.0]), np.array([0.1, 0.5]), np.array([60.0, 0.0])
    )
    assert xx == pytest.approx(1.1 * (1.05 * 0.25 + 0.95 * 0.75))
    assert yy == pytest.approx(1.1 * (1.05 * 0.75 + 0.95 * 0.25))
    assert xy == pytest.approx(1.1 * 0.1 * np.sqrt(3) / 4)
    np.testing.assert_allclose(straight, [2.5, 0, 1.5])
    matrix = np.array([[xx, xy], [xy, yy]])
    along = np.array([0.5, np.sqrt(3) / 2])
    np.testing.assert_allclose(matrix @ along, 1.1 * 1.05 * along)
    across = np.array([-along[1], along[0]])
    np.testing.assert_allclose(matrix @ across, 1.1 * 0.95 * across)


def test_positions_follow_what_was_drawn():
    patterns = many(4, 10)
    groups = np.array([7, 8, 7, 9])
    how = only(scale_error=0.03, ellipticity=0.02, centre_error=0.005)
    found = detect(patterns, how, 0, groups)
    xx, xy, yy = distortion(found.scale, found.ellipticity, found.axis).T
    for j, (before, after) in enumerate(zip(patterns, pieces(found), strict=True)):
        matrix = np.array([[xx[j], xy[j]], [xy[j], yy[j]]])
        np.testing.assert_allclose(after[:, :2], before[:, :2] @ matrix + found.centre[j])
        np.testing.assert_array_equal(after[:, 2], before[:, 2])


def test_a_group_shares_its_calibration():
    groups = np.repeat([f"mp-{i}" for i in range(400)], 3)
    found = detect([np.empty((0, 3))] * len(groups), DetectorSettings(), 0, groups)
    for name in ("scale", "ellipticity", "axis", "centre"):
        values = getattr(found, name).reshape(400, 3, -1)
        assert np.all(values == values[:, :1])
        assert len(np.unique(values[:, 0, 0])) == 400
    assert len(np.unique(found.q_max)) == len(groups)
    once = slice(None, None, 3)
    for drawn, law in [
        (found.scale, stats.truncnorm(-3, 3, loc=1, scale=0.01)),
        (found.ellipticity, stats.uniform(0, 0.02)),
        (found.axis, stats.uniform(0, 180)),
    ]:
        assert stats.kstest(drawn[once], law.cdf).pvalue > 1e-3
    assert np.abs(found.scale - 1).max() <= 0.03
    centre = found.centre[once].ravel() / 0.005
    assert stats.kstest(centre, stats.norm.cdf).pvalue > 1e-3


# --- noise ----------------------------------------------------------------------------------------
def test_position_noise():
    """Gaussian of the standard deviation asked for, and no coordinate knows of another."""
    patterns = many(40, 100)
    found = detect(patterns, only(position_noise=0.003))
    moved = (np.concatenate(pieces(found)) - np.concatenate(patterns))[:, :2] / 0.003
    # chi square of 4000 x 2 numbers, at odds of 1 to 1,000 either way
    low, high = stats.chi2(moved.size).ppf([5e-4, 1 - 5e-4])
    assert low < np.sum(moved**2) < high
    assert stats.kstest(moved.ravel(), stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(moved.T)[0, 1]) < 3.3 / np.sqrt(len(moved))
    assert abs(np.corrcoef(moved[:-1, 0], moved[1:, 0])[0, 1]) < 3.3 / np.sqrt(len(moved))
    # golden: what seed 0 gave when this was written
    assert np.std(moved) == pytest.approx(0.98949832, rel=1e-6)


@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
def test_intensity_noise(noise):
    """Log-normal: mean 1, and the relative standard deviation asked for."""
    patterns = many(40, 100)
    found = detect(patterns, only(intensity_noise=noise))
    factor = found.intensity / np.concatenate(patterns)[:, 2]
    sigma = np.sqrt(np.log(1 + noise**2))
    law = stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2))
    assert law.mean() == pytest.approx(1)
    assert law.std() == pytest.approx(noise)
    assert stats.kstest(factor, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 60.0, 499.0, 501.0, 1e6])
def test_poisson(mean):
    drawn = np.array([kernels.draw_poisson(np.uint64(17), i, mean) for i in range(4000)])
    assert np.all(drawn == np.rint(drawn))
    law = stats.poisson(mean)
    assert abs(drawn.mean() - mean) < 3.5 * np.sqrt(mean / len(drawn))
    # a step of a discrete law may hide what Kolmogorov's bound allows, never add to it
    values = np.unique(drawn)
    below = np.searchsorted(np.sort(drawn), values, side="right") / len(drawn)
    assert np.abs(below - law.cdf(values)).max() < 1.95 / np.sqrt(len(drawn))


def test_random_numbers_are_those_of_splitmix64():
    """The first outputs for seed 1234567, as its reference implementation prints them."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    for i, value in enumerate(known):
        assert kernels._uniform(np.uint64(1234567), i) == (value >> 11) * 2.0**-53


def test_counts_keep_the_scale():
    """Each spot's mean stays, and its variance is mean times total / counts."""
    one = np.array([[0.1 * k, 0.2, value] for k, value in enumerate([0.5, 0.3, 0.15, 0.05])])
    found = detect([one] * 4000, only(counts=200))
    drawn = found.intensity.reshape(-1, 4)
    quantum = 1 / 200
    np.testing.assert_allclose(drawn / quantum, np.rint(drawn / quantum), atol=1e-9)
    error = np.sqrt(one[:, 2] * quantum / len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - one[:, 2]) < 3.5 * error)
    np.testing.assert_allclose(drawn.var(axis=0), one[:, 2] * quantum, rtol=0.1)


def test_spots_without_a_count_are_lost():
    one = np.array([[0.1, 0, 0.99], [0.2, 0, 0.01]])
    found = detect([one] * 2000, only(counts=100))
    assert np.all(found.intensity > 0)
    lost = 2 - np.diff(found.offsets).mean()
    assert lost == pytest.approx(np.exp(-1), abs=0.04)
    assert not found.n_missing.any()  # that counts another loss


# --- lost and found -------------------------------------------------------------------------------
@given(patterns=data_sets, how=options)
def test_nothing_below_the_floor(patterns, how):
    how = but(how, missing=0)
    for piece in pieces(detect(patterns, how)):
        if len(piece):
            assert piece[:, 2].min() >= how.dynamic_range * piece[:, 2].max()


def test_the_dynamic_range_by_hand():
    """The floor hangs on the strongest spot inside q_max."""
    one = np.array([[0.1, 0, 1.0], [0.2, 0, 0.1], [0.3, 0, 0.0999], [1.5, 0, 9.0]])
    found = detect([one], only(dynamic_range=0.1, q_max_range=(1, 1)))
    np.testing.assert_array_equal(found.qx, [0.1, 0.2])
    found = detect([one], only(dynamic_range=0.1))
    np.testing.assert_array_equal(found.qx, [0.1, 1.5])


def test_missing_share():
    patterns = many(100, 50)
    found = detect(patterns, only(missing=0.05))
    low, high = stats.binom(5000, 0.05).ppf([5e-4, 1 - 5e-4])
    assert low <= found.n_missing.sum() <= high
    np.testing.assert_array_equal(np.diff(found.offsets), 50 - found.n_missing)
    assert detect(patterns, only(missing=1)).offsets[-1] == 0


def test_spurious_share():
    """Behind the real ones, evenly in the disk, and no stronger than the weaker half."""
    patterns = many(200, 50)
    found = detect(patterns, only(spurious=0.3, q_max_range=(1, 2)))
    low, high = stats.poisson(200 * 50 * 0.3).ppf([5e-4, 1 - 5e-4])
    assert low <= found.n_spurious.sum() <= high
    assert stats.chi2.sf(np.sum((found.n_spurious - 15) ** 2) / 15, 200) > 1e-3
    areas, angles = [], []
    for before, after, q_max in zip(patterns, pieces(found), found.q_max, strict=True):
        np.testing.assert_array_equal(after[:50], before)
        assert np.all(np.isin(after[50:, 2], np.sort(before[:, 2])[:25]))
        areas.extend((np.hypot(*after[50:, :2].T) / q_max) ** 2)
        angles.extend(np.arctan2(after[50:, 1], after[50:, 0]) / (2 * np.pi) + 0.5)
    assert stats.kstest(areas, stats.uniform.cdf).pvalue > 1e-3
    assert stats.kstest(angles, stats.uniform.cdf).pvalue > 1e-3


def test_spurious_spots_without_a_q_max_stay_among_the_real_ones():
    patterns = many(20, 30)
    found = detect(patterns, only(spurious=1))
    assert found.n_spurious.sum() > 100
    for before, after in zip(patterns, pieces(found), strict=True):
        assert np.hypot(*after[:, :2].T).max() <= np.hypot(*before[:, :2].T).max() * (1 + 1e-12)


# --- second grains --------------------------------------------------------------------------------
def test_a_second_grain_is_another_pattern_turned():
    patterns = many(300, 8)
    found = detect(patterns, only(second_grain=0.4))
    overlaid = found.second >= 0
    low, high = stats.binom(300, 0.4).ppf([5e-4, 1 - 5e-4])
    assert low <= overlaid.sum() <= high
    assert set(found.second[overlaid]) == set(range(7))
    for j, (before, after) in enumerate(zip(patterns, pieces(found), strict=True)):
        np.testing.assert_array_equal(after[:8], before)
        if not overlaid[j]:
            assert len(after) == 8
            assert found.second_weight[j] == found.second_turn[j] == 0
            continue
        other = np.column_stack(POOL[:3])[POOL[3][found.second[j]] :][:12]
        turned = (other[:, 0] + 1j * other[:, 1]) * np.exp(1j * np.radians(found.second_turn[j]))
        np.testing.assert_allclose(after[8:, 0] + 1j * after[8:, 1], turned, atol=1e-12)
        share = found.second_weight[j] * before[:, 2].sum()
        np.testing.assert_allclose(after[8:, 2], other[:, 2] * share / other[:, 2].sum())
    weight, turn = found.second_weight[overlaid], found.second_turn[overlaid]
    assert stats.kstest(weight, stats.uniform.cdf).pvalue > 1e-3
    assert stats.kstest(turn, stats.uniform(0, 360).cdf).pvalue > 1e-3


def test_the_real_spots_of_a_second_grain_go_through_it_all():
    found = detect(many(50, 8), only(second_grain=1, missing=1))
    assert np.all(found.n_missing == 20)
    assert len(found.qx) == 0


# --- what cannot be -------------------------------------------------------------------------------
GOOD = {
    "qx": np.array([0.1, 0.2, 0.3]),
    "qy": np.zeros(3),
    "intensity": np.ones(3),
    "offsets": np.array([0, 1, 3]),
    "groups": np.array(["a", "a"]),
    "keys": np.array([0, 1]),
    "settings": CLEAN,
    "seed": 0,
}
TWO = {"settings": only(second_grain=0.1)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"qx": np.array([0.1, np.nan, 0.3])}, "qx: expected finite numbers"),
        ({"intensity": np.array([0.1, np.inf, 0.3])}, "intensity: expected finite numbers"),
        ({"intensity": np.array([0.1, -1, 0.3])}, "intensity: expected 0 or above, found -1"),
        ({"qy": np.zeros(4)}, "qy: expected as many numbers as qx"),
        ({"qx": np.zeros((3, 1))}, "qx: expected as many numbers as qx, in one dimension"),
        ({"qx": np.array(["a", "b", "c"])}, "qx: expected as many numbers"),
        ({"offsets": np.array([0, 1, 4])}, "offsets: expected whole numbers .* from 0 to 3"),
        ({"offsets": np.array([1, 2, 3])}, "offsets: expected"),
        ({"offsets": np.array([0, 2, 1, 3])}, "offsets: expected"),
        ({"offsets": np.array([0.0, 1.0, 3.0])}, "offsets: expected"),
        ({"offsets": np.array([], int)}, "offsets: expected"),
        ({"groups": np.array(["a"])}, "groups: expected one a pattern, 2"),
        ({"keys": np.array([[0], [1]])}, "keys: expected one a pattern, 2"),
        ({"keys": np.array([0.5, 1])}, "keys: expected whole numbers or text"),
        ({"groups": np.array(["a", None], object)}, "groups: expected whole numbers or text"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": 0.5}, "seed: expected a whole number"),
        (TWO, "pool: second_grain above 0 needs"),
        (TWO | {"pool": flat([])}, "pool: expected at least one pattern"),
        (TWO | {"pool": flat([np.full((1, 3), np.nan)])}, "pool: qx: expected finite numbers"),
    ],
)
def test_mistakes(wrong, message):
    apply_detector(**GOOD)
    with pytest.raises(UserError, match=f"^{message}") as caught:
        apply_detector(**GOOD | wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"missing": 1.1}, "missing: "),
        ({"dynamic_range": 1}, "dynamic_range: "),
        ({"scale_error": float("nan")}, "scale_error: "),
        ({"blur": 1}, "blur: not a parameter"),
        ({"q_max_range": (2.0, 0.8)}, "q_max_range: expected two rising values"),
        ({"q_max_range": (0.0, 0.8)}, "q_max_range: expected two rising values"),
    ],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(UserError, match=f"^{message}"):
        check(DetectorSettings, **wrong)


def test_defaults_are_those_of_the_issue():
    how = DetectorSettings()
    assert how.q_max_range == (0.8, 2.0)
    assert (how.scale_error, how.ellipticity) == (0.03, 0.02)


def test_golden():
    """A pattern through everything, as it came out when this was written."""
    found = detect(many(1, 5), DetectorSettings(spurious=1, second_grain=1, counts=1000))
    drawn = [found.q_max[0], found.scale[0], found.centre[0, 0], found.qx[0], found.intensity[-1]]
    expected = [1.5256001153, 0.9938842123, -0.0026783469, -0.4431681738, 0.3097058443]
    np.testing.assert_allclose(drawn, expected, rtol=1e-7)
    assert (found.second[0], found.n_missing[0], found.n_spurious[0]) == (4, 0, 15)

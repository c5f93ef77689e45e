"""What a detector, and the software that finds spots on it, leave of a simulated pattern.

Training draws from this model, and evaluation reports :data:`CLEAN` and :class:`DetectorSettings`
side by side. It begins at simulated spot lists. Thickness and precession are not part of it: they
change the scattering, and come with the dataset (``thickness_range`` and ``precession`` of
:class:`~ediff_utils.core.settings.SimulationSettings`).

In this order, a pattern

1. gets a second grain's spots, where one is drawn;
2. is seen through the session's wrong calibration: q' = s M q + c, of which s is the scale, c the
   centre, and M stretches by 1 + e / 2 along one axis and 1 - e / 2 across it;
3. has each spot's position blurred;
4. ends at q_max, in measured positions;
5. has each spot's intensity blurred, and counted;
6. loses the spots below the floor that its strongest one sets;
7. loses some of the others by chance;
8. gains spurious ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ediff_solve.detector.kernels import effects as kernels
from ediff_solve.detector.settings import CLEAN, DetectorSettings
from ediff_utils.core.errors import UserError
from ediff_utils.core.seeds import name_seed

__all__ = ["CLEAN", "DetectedSpots", "DetectorSettings", "apply_detector", "distortion"]

#: qx, qy, intensity and offsets of many patterns.
_Patterns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: Standard deviations after which the distribution of scales ends.
_CUT = 3.0
#: Patterns worked on at once: bounds the memory, changes no result.
_BLOCK = 10_000


@dataclass(frozen=True)
class DetectedSpots:
    """Spots as detected, and what was drawn for each pattern.

    Attributes
    ----------
    qx, qy, intensity : ndarray, shape (spots,)
        A pattern's own spots in their order, its second grain's, and spurious ones [1/angstrom].
        Of the types that came in; intensities on the scale that came in.
    offsets : ndarray of int64, shape (patterns + 1,)
        Pattern j owns spots offsets[j] to offsets[j + 1]; it may have lost them all.
    q_max : ndarray, shape (patterns,)
        [1/angstrom]; infinite without a limit.
    scale, ellipticity : ndarray, shape (patterns,)
        Mean stretch and (major - minor) / mean axis; the same in all of a group.
    axis : ndarray, shape (patterns,)
        Direction of the major axis, from qx towards qy in [0, 180) [degree]; the same in a group.
    centre : ndarray, shape (patterns, 2)
        Where the true centre came to lie [1/angstrom]; the same in a group.
    n_missing, n_spurious : ndarray of int64, shape (patterns,)
        Spots above the floor that were not found, and spots found that are none.
    second : ndarray of int64, shape (patterns,)
        Which pattern of the pool is the second grain's, or -1.
    second_weight, second_turn : ndarray, shape (patterns,)
        The second grain's total intensity as a fraction of the first's, and by how much it was
        turned about the beam, from qx towards qy [degree]; 0 where there is none.
    """

    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    offsets: np.ndarray
    q_max: np.ndarray
    scale: np.ndarray
    ellipticity: np.ndarray
    axis: np.ndarray
    centre: np.ndarray
    n_missing: np.ndarray
    n_spurious: np.ndarray
    second: np.ndarray
    second_weight: np.ndarray
    second_turn: np.ndarray


def apply_detector(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    groups: np.ndarray,
    keys: np.ndarray,
    settings: DetectorSettings,
    seed: int,
    pool: _Patterns | None = None,
) -> DetectedSpots:
    """Patterns as a detector shows them.

    Random numbers hang on the seed, the pattern's group and its key alone, not on what else is in
    the call: blocks and processes may share out a dataset as they like. Every effect has numbers of
    its own, so that switching one on or off leaves the others as they were.

    Parameters
    ----------
    qx, qy, intensity : ndarray, shape (spots,)
        Spots of all patterns, one pattern after another, without the direct beam [1/angstrom].
    offsets : ndarray of int, shape (patterns + 1,)
        Pattern j owns spots offsets[j] to offsets[j + 1].
    groups : ndarray of int or str, shape (patterns,)
        Patterns of one session, as a rule those of a crystal: they share scale, ellipticity and
        centre.
    keys : ndarray of int or str, shape (patterns,)
        Tells the patterns of a group apart, as the number of the orientation does. Patterns of the
        same group and key, such as thicknesses of one orientation, get the same random numbers.
    settings : DetectorSettings
    seed : int
        0 or above.
    pool : tuple of ndarray, optional
        qx, qy, intensity and offsets of the patterns that second grains are drawn from; needed
        where ``settings.second_grain`` is above 0. The result depends on it. It may be the same
        arrays; a pattern then now and again meets itself, turned.

    Returns
    -------
    DetectedSpots

    Raises
    ------
    UserError
        Arrays that do not fit together, a number that is not finite, a negative intensity, or
        second grains without a pool.

    Notes
    -----
    A second grain is turned about the beam by any angle, and its total intensity is a fraction in
    (0, 1] of the first's: the first, which the labels speak of, is the stronger one. Spots that
    fall on top of each other stay two.

    Simulated patterns end somewhere: of a q_max above that radius times 1 - scale_error, the
    outermost ring has fewer spots than it should.
    """
    spots = _check_spots(qx, qy, intensity, offsets, "")
    n = len(spots[3]) - 1
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"seed: expected a whole number of 0 or above, got {seed!r}")
    group_ids = _identities(groups, "groups", n)
    pattern_ids = _identities(keys, "keys", n)
    pool = _checked_pool(pool, settings)
    scale, ellipticity, axis, centre, states = _draw_groups(group_ids, settings, seed)
    states = kernels.mix_keys(states, pattern_ids)
    low, high = settings.q_max_range or (np.inf, np.inf)
    q_max, second, weight, turn = kernels.draw_patterns(
        states, low, high, settings.second_grain, len(pool[3]) - 1
    )
    if settings.second_grain > 0:
        own, others = _totals(*spots[2:]), _totals(*pool[2:])[second]
        # Without intensity there is nothing to be a fraction of.
        overlaid = (second >= 0) & (own > 0) & (others > 0)
        second = np.where(overlaid, second, -1)
        weight, turn = np.where(overlaid, weight, 0), np.where(overlaid, turn, 0)
        factor = weight * own / np.where(overlaid, others, 1)
    matrix = distortion(scale, ellipticity, axis)
    kinds = [a.dtype if a.dtype.kind == "f" else np.float64 for a in spots[:3]] + [np.int64] * 3
    blocks = [[np.empty(0, kind) for kind in kinds]]
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        part = _cut(spots, slice(start, start + _BLOCK + 1))
        if settings.second_grain > 0:
            part = kernels.add_grains(*part, *pool, second[block], factor[block], turn[block])
        found = _detect(part, states[block], matrix[block], centre[block], q_max[block], settings)
        blocks.append([a.astype(kind) for a, kind in zip(found, kinds, strict=True)])
    qx, qy, intensity, sizes, n_missing, n_spurious = (
        np.concatenate(column) for column in zip(*blocks, strict=True)
    )
    return DetectedSpots(
        qx=qx,
        qy=qy,
        intensity=intensity,
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        q_max=q_max,
        scale=scale,
        ellipticity=ellipticity,
        axis=axis,
        centre=centre,
        n_missing=n_missing,
        n_spurious=n_spurious,
        second=second,
        second_weight=weight,
        second_turn=turn,
    )


def distortion(scale: np.ndarray, ellipticity: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Maps of true onto measured positions: s R(axis) diag(1 + e / 2, 1 - e / 2) R(-axis).

    The axis is the major one's direction, from qx towards qy [degree]. All are of shape (n,); the
    result is (n, 3), the entries xx, xy = yx and yy.
    """
    angle = 2 * np.radians(axis)
    along, across = ellipticity / 2 * np.cos(angle), ellipticity / 2 * np.sin(angle)
    return np.column_stack([scale * (1 + along), scale * across, scale * (1 - along)])


def _draw_groups(
    groups: np.ndarray, settings: DetectorSettings, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scale, ellipticity, axis, centre and state of each pattern's group."""
    unique, inverse = np.unique(groups, return_inverse=True)
    drawn, centres = np.empty((len(unique), 3)), np.empty((len(unique), 2))
    states = np.empty(len(unique), np.uint64)
    for row, group in enumerate(unique):
        rng = np.random.default_rng([int(seed), int(group)])
        states[row] = rng.integers(0, 2**64, dtype=np.uint64)
        drawn[row] = rng.random(3)
        centres[row] = rng.standard_normal(2)
    edge = ndtr(-_CUT)
    normal = ndtri(edge + (1 - 2 * edge) * drawn[:, 0])
    scale = 1 + settings.scale_error / _CUT * normal
    return (
        scale[inverse],
        settings.ellipticity * drawn[inverse, 1],
        180 * drawn[inverse, 2],
        settings.centre_error * centres[inverse],
        states[inverse],
    )


def _checked_pool(pool: _Patterns | None, settings: DetectorSettings) -> _Patterns:
    """The patterns to draw second grains from, as the kernels take them; none if none is drawn."""
    if settings.second_grain == 0:
        return np.empty(0), np.empty(0), np.empty(0), np.zeros(1, np.int64)
    if pool is None:
        raise UserError("pool: second_grain above 0 needs patterns to draw second grains from")
    checked = _check_spots(*pool, "pool: ")
    if len(checked[3]) == 1:
        raise UserError("pool: expected at least one pattern")
    return _cut(checked, slice(None))


def _cut(patterns: _Patterns, ends: slice) -> _Patterns:
    """The patterns between these of the offsets, as the kernels take them."""
    offsets = patterns[3][ends]
    own = slice(offsets[0], offsets[-1])
    qx, qy, intensity = (np.ascontiguousarray(a[own], np.float64) for a in patterns[:3])
    return qx, qy, intensity, offsets - offsets[0]


def _totals(intensity: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of the intensities of each pattern, shape (patterns,)."""
    n = len(offsets) - 1
    return np.bincount(np.repeat(np.arange(n), np.diff(offsets)), intensity, minlength=n)


def _detect(
    patterns: _Patterns,
    states: np.ndarray,
    matrix: np.ndarray,
    centre: np.ndarray,
    q_max: np.ndarray,
    settings: DetectorSettings,
) -> tuple[np.ndarray, ...]:
    """Spots, sizes, and numbers of missing and spurious spots of a block of patterns."""
    qx, qy, intensity, offsets, n_missing = kernels.detect(
        *patterns,
        states,
        matrix,
        centre,
        q_max,
        settings.position_noise,
        np.sqrt(np.log1p(settings.intensity_noise**2)),
        settings.counts,
        settings.dynamic_range,
        settings.missing,
    )
    qx, qy, intensity, offsets, n_spurious = kernels.add_spurious(
        qx, qy, intensity, offsets, states, q_max, settings.spurious
    )
    return qx, qy, intensity, np.diff(offsets), n_missing, n_spurious


def _identities(values: np.ndarray, name: str, n: int) -> np.ndarray:
    """What groups or patterns are called, as numbers; uint64, shape (n,)."""
    values = np.asarray(values)
    if values.shape != (n,):
        raise UserError(f"{name}: expected one a pattern, {n}, got an array of {values.shape}")
    if n == 0:
        return np.empty(0, np.uint64)
    if values.dtype.kind in "iu":
        return values.astype(np.uint64)
    if values.dtype.kind != "U" and not all(isinstance(value, str) for value in values):
        raise UserError(f"{name}: expected whole numbers or text, got {values.dtype}")
    # Equal names come many times over.
    known = {value: name_seed(value) for value in set(values.tolist())}
    return np.array([known[value] for value in values.tolist()], np.uint64)


def _check_spots(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray, offsets: np.ndarray, where: str
) -> _Patterns:
    """Spots of many patterns, once they are found to fit together."""
    spots = [np.asarray(values) for values in (qx, qy, intensity)]
    for name, values in zip(("qx", "qy", "intensity"), spots, strict=True):
        if values.ndim != 1 or len(values) != len(spots[0]) or values.dtype.kind not in "iuf":
            raise UserError(f"{where}{name}: expected as many numbers as qx, in one dimension")
        if not np.all(np.isfinite(values)):
            raise UserError(f"{where}{name}: expected finite numbers, found NaN or infinity")
    if np.any(spots[2] < 0):
        raise UserError(f"{where}intensity: expected 0 or above, found {spots[2].min():g}")
    n, ends = len(spots[0]), np.asarray(offsets)
    if (
        ends.ndim != 1
        or len(ends) == 0
        or ends.dtype.kind not in "iu"
        or ends[0] != 0
        or ends[-1] != n
        or np.any(ends[1:] < ends[:-1])
    ):
        raise UserError(f"{where}offsets: expected whole numbers that rise from 0 to {n}")
    return spots[0], spots[1], spots[2], ends.astype(np.int64)

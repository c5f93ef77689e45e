"""What a detector leaves of spot lists, with random numbers that hang on a state a pattern.

The random numbers are those of SplitMix64 (Steele et al. 2014) at a place, not in a sequence: the
i-th of a stream is a function of the stream and i. Every effect has a stream of its own in every
pattern, and every spot its place there, so that an effect that is switched off, or a spot that is
lost, shifts no other number.

Throughout, ``qx``, ``qy`` [1/angstrom] and ``intensity``, of float64 and shape (spots,), are the
spots of all patterns, one pattern after another; pattern j owns those from offsets[j] to
offsets[j + 1], of int64 and shape (patterns + 1,). ``states``, of uint64 and shape (patterns,), is
what a pattern's random numbers hang on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_POSITION, _INTENSITY, _COUNTS, _MISSING, _SPURIOUS, _Q_MAX, _GRAIN = range(7)
#: Above this mean, a rounded Gaussian is within 0.3 % of Poisson's distribution function.
_MANY_COUNTS = 500.0


@njit(cache=True, nogil=True)
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(cache=True, nogil=True)
def open_stream(state: np.uint64, purpose: int) -> np.uint64:
    return _mix(state ^ _mix(np.uint64(purpose + 1) * _GOLDEN))


@njit(cache=True, nogil=True)
def _uniform(stream: np.uint64, i: int) -> float:
    """The i-th number of a stream, in [0, 1)."""
    word = _mix(stream + np.uint64(i + 1) * _GOLDEN)
    return float(word >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _normals(stream: np.uint64, i: int) -> tuple[float, float]:
    """Two standard normal numbers out of numbers 2 i and 2 i + 1 of a stream (Box and Muller)."""
    radius = np.sqrt(-2 * np.log(1 - _uniform(stream, 2 * i)))
    angle = 2 * np.pi * _uniform(stream, 2 * i + 1)
    return radius * np.cos(angle), radius * np.sin(angle)


@njit(cache=True, nogil=True)
def draw_poisson(stream: np.uint64, i: int, mean: float) -> float:
    """A Poisson number out of numbers 2 i and 2 i + 1 of a stream."""
    if mean > _MANY_COUNTS:
        return max(0.0, np.rint(mean + np.sqrt(mean) * _normals(stream, i)[0]))
    wanted = _uniform(stream, 2 * i)
    k, term = 0, np.exp(-mean)
    total = term
    # Round-off may keep the sum below what is wanted for ever.
    while total <= wanted and (k < mean or term > 1e-20):
        k += 1
        term *= mean / k
        total += term
    return float(k)


@njit(cache=True, nogil=True)
def mix_keys(states: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """One state out of two numbers each; uint64, shape (patterns,)."""
    out = np.empty_like(states)
    for j in range(len(states)):
        out[j] = _mix(states[j] + _mix(keys[j] + _GOLDEN))
    return out


@njit(cache=True, nogil=True)
def draw_patterns(
    states: np.ndarray, low: float, high: float, second_grain: float, n_pool: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw what a pattern has once, each of shape (patterns,).

    ``q_max`` is uniform from ``low`` to ``high``, which may both be infinite [1/angstrom]. The
    second grain is with probability ``second_grain`` one of the ``n_pool`` patterns of a pool, or
    -1, its weight in (0, 1], and its turn in [0, 360) [degree].
    """
    n = len(states)
    q_max = np.full(n, high)
    second = np.full(n, -1)
    weight, turn = np.zeros(n), np.zeros(n)
    for j in range(n):
        if low < high:
            q_max[j] = low + (high - low) * _uniform(open_stream(states[j], _Q_MAX), 0)
        grain = open_stream(states[j], _GRAIN)
        if _uniform(grain, 0) < second_grain:
            second[j] = min(int(_uniform(grain, 1) * n_pool), n_pool - 1)
            weight[j] = 1 - _uniform(grain, 2)
            turn[j] = 360 * _uniform(grain, 3)
    return q_max, second, weight, turn


@njit(cache=True, nogil=True)
def add_grains(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    pool_qx: np.ndarray,
    pool_qy: np.ndarray,
    pool_intensity: np.ndarray,
    pool_offsets: np.ndarray,
    second: np.ndarray,
    factor: np.ndarray,
    turn: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Put the spots of a second pattern behind each pattern's own.

    Pattern ``second[j]`` of the pool, or none where that is -1, comes with its intensities times
    ``factor[j]``, and turned by ``turn[j]`` from qx towards qy [degree]; each of shape (patterns,).
    """
    n = len(second)
    ends = np.zeros(n + 1, np.int64)
    for j in range(n):
        size = offsets[j + 1] - offsets[j]
        if second[j] >= 0:
            size += pool_offsets[second[j] + 1] - pool_offsets[second[j]]
        ends[j + 1] = ends[j] + size
    x, y, value = np.empty(ends[n]), np.empty(ends[n]), np.empty(ends[n])
    for j in range(n):
        own = offsets[j + 1] - offsets[j]
        start = ends[j]
        x[start : start + own] = qx[offsets[j] : offsets[j + 1]]
        y[start : start + own] = qy[offsets[j] : offsets[j + 1]]
        value[start : start + own] = intensity[offsets[j] : offsets[j + 1]]
        if second[j] < 0:
            continue
        cosine, sine = np.cos(np.radians(turn[j])), np.sin(np.radians(turn[j]))
        place = start + own
        for spot in range(pool_offsets[second[j]], pool_offsets[second[j] + 1]):
            x[place] = cosine * pool_qx[spot] - sine * pool_qy[spot]
            y[place] = sine * pool_qx[spot] + cosine * pool_qy[spot]
            value[place] = factor[j] * pool_intensity[spot]
            place += 1
    return x, y, value, ends


@njit(cache=True, nogil=True)
def detect(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    states: np.ndarray,
    matrix: np.ndarray,
    centre: np.ndarray,
    q_max: np.ndarray,
    position_noise: float,
    log_noise: float,
    counts: float,
    dynamic_range: float,
    missing: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distort, blur, cut off and lose spots, in this order; what is left, and how many were lost.

    ``matrix``, shape (patterns, 3), has the entries xx, xy = yx and yy of the map of true onto
    measured positions, to which then the centre, shape (patterns, 2), is added. Measured positions
    end at ``q_max``, shape (patterns,) [1/angstrom]. ``position_noise`` is a standard deviation a
    coordinate [1/angstrom], ``log_noise`` that of the logarithm of the intensities, whose mean
    stays. For the others see :class:`~ediff_solve.detector.settings.DetectorSettings`.
    """
    n = len(states)
    x_out, y_out = np.empty(len(qx)), np.empty(len(qx))
    i_out = np.empty(len(qx))
    ends, n_missing = np.zeros(n + 1, np.int64), np.zeros(n, np.int64)
    place = np.empty(len(qx), np.int64)  # of a spot left, in its pattern's list
    for j in range(n):
        position, noise = open_stream(states[j], _POSITION), open_stream(states[j], _INTENSITY)
        xx, xy, yy = matrix[j]
        # What does nothing is not computed: it would turn -0 into 0.
        linear = xx != 1 or yy != 1 or xy != 0
        shifted = centre[j, 0] != 0 or centre[j, 1] != 0
        start = ends[j]
        end = start
        total = 0.0
        for i in range(offsets[j + 1] - offsets[j]):
            x, y, value = qx[offsets[j] + i], qy[offsets[j] + i], intensity[offsets[j] + i]
            if linear:
                x, y = xx * x + xy * y, xy * x + yy * y
            if shifted:
                x, y = x + centre[j, 0], y + centre[j, 1]
            if position_noise > 0:
                dx, dy = _normals(position, i)
                x, y = x + position_noise * dx, y + position_noise * dy
            if x * x + y * y > q_max[j] * q_max[j]:
                continue
            if log_noise > 0:
                value *= np.exp(log_noise * (_normals(noise, i)[0] - log_noise / 2))
            x_out[end], y_out[end], i_out[end], place[end] = x, y, value, i
            total += value
            end += 1
        if counts > 0 and total > 0:
            stream = open_stream(states[j], _COUNTS)
            for s in range(start, end):
                mean = i_out[s] * counts / total
                i_out[s] = draw_poisson(stream, place[s], mean) * total / counts
        strongest = 0.0
        for s in range(start, end):
            strongest = max(strongest, i_out[s])
        chance = open_stream(states[j], _MISSING)
        left = start
        for s in range(start, end):
            # A spot without a single count is not a spot.
            if i_out[s] < dynamic_range * strongest or (counts > 0 and i_out[s] == 0):
                continue
            if missing > 0 and _uniform(chance, place[s]) < missing:
                n_missing[j] += 1
                continue
            x_out[left], y_out[left], i_out[left] = x_out[s], y_out[s], i_out[s]
            left += 1
        ends[j + 1] = left
    return x_out[: ends[n]], y_out[: ends[n]], i_out[: ends[n]], ends, n_missing


@njit(cache=True, nogil=True)
def add_spurious(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    states: np.ndarray,
    q_max: np.ndarray,
    spurious: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Put spots that are none behind each pattern's own, as a fraction ``spurious`` of them.

    They lie within ``q_max``, shape (patterns,), or, where that is infinite, the outermost spot.
    Their numbers, int64 of shape (patterns,), come last.
    """
    n = len(states)
    ends, n_spurious = np.zeros(n + 1, np.int64), np.zeros(n, np.int64)
    for j in range(n):
        own = offsets[j + 1] - offsets[j]
        if own > 0:
            n_spurious[j] = int(draw_poisson(open_stream(states[j], _SPURIOUS), 0, spurious * own))
        ends[j + 1] = ends[j] + own + n_spurious[j]
    x, y, value = np.empty(ends[n]), np.empty(ends[n]), np.empty(ends[n])
    for j in range(n):
        first, last = offsets[j], offsets[j + 1]
        end = ends[j] + last - first
        x[ends[j] : end] = qx[first:last]
        y[ends[j] : end] = qy[first:last]
        value[ends[j] : end] = intensity[first:last]
        if n_spurious[j] == 0:
            continue
        limit = q_max[j]
        if not np.isfinite(limit):
            limit = np.sqrt(np.max(qx[first:last] ** 2 + qy[first:last] ** 2))
        weaker = np.sort(intensity[first:last])[: (last - first + 1) // 2]
        stream = open_stream(states[j], _SPURIOUS)
        for s in range(n_spurious[j]):
            # The first two numbers of the stream made the count.
            radius = limit * np.sqrt(_uniform(stream, 3 * s + 2))
            angle = 2 * np.pi * _uniform(stream, 3 * s + 3)
            chosen = min(int(_uniform(stream, 3 * s + 4) * len(weaker)), len(weaker) - 1)
            x[end + s], y[end + s] = radius * np.cos(angle), radius * np.sin(angle)
            value[end + s] = weaker[chosen]
    return x, y, value, ends, n_spurious

"""Spots in detector frames: a band-pass, its maxima above the noise, and a fit of each of them.

The band-pass is a difference of two Gaussians, which is separable: the narrow one stands for the
disk, the wide one for the background under it. Where noise has the variance c0 + c1 b, b being the
background, the response over its square root is in standard deviations, whatever the background.

Each maximum is then fitted with the disk's radial profile by least squares, weighted by the counts
that the model expects: for strong spots the rim decides, for weak ones the whole disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Columns of the spots that :func:`find_spots` returns.
COLUMNS = ("x", "y", "intensity", "significance")
_ITERATIONS = 8
#: A fit that moves farther than this share of the disk's radius, plus a pixel, has left its spot.
_FARTHEST = 0.5
_CONVERGED = 2e-3


@njit(cache=True, nogil=True)
def smooth(frame: np.ndarray, weights: np.ndarray, out: np.ndarray, row: np.ndarray) -> None:
    """Separable symmetric filter, the edge pixels repeated outwards.

    Parameters
    ----------
    frame, out : ndarray of float32, shape (height, width)
    weights : ndarray of float32, shape (reach + 1,)
        From the middle outwards.
    row : ndarray of float32, shape (width + 2 reach,)
        Room to work in, or more of it.
    """
    height, width = frame.shape
    reach = len(weights) - 1
    middle = row[reach : reach + width]
    for i in range(height):
        first = frame[i]
        for j in range(width):
            middle[j] = weights[0] * first[j]
        for k in range(1, reach + 1):
            above, below, weight = frame[max(i - k, 0)], frame[min(i + k, height - 1)], weights[k]
            for j in range(width):
                middle[j] += weight * (above[j] + below[j])
        row[:reach] = middle[0]
        row[reach + width : width + 2 * reach] = middle[width - 1]
        target = out[i]
        for j in range(width):
            target[j] = weights[0] * middle[j]
        for k in range(1, reach + 1):
            left, right = row[reach - k : reach - k + width], row[reach + k : reach + k + width]
            weight = weights[k]
            for j in range(width):
                target[j] += weight * (left[j] + right[j])


@njit(cache=True, nogil=True)
def band_pass(
    frame: np.ndarray, narrow: np.ndarray, wide: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Response to a disk, and the background.

    Parameters
    ----------
    frame : ndarray of float32, shape (height, width)
    narrow, wide : ndarray of float32, shape (reach + 1,)
        One-dimensional filters from the middle outwards, each with a sum over both sides of 1.

    Returns
    -------
    response, background : ndarray of float32, shape (height, width)
        Narrow minus wide, and wide.
    """
    row = np.empty(frame.shape[1] + 2 * max(len(narrow), len(wide)), np.float32)
    response, background = np.empty_like(frame), np.empty_like(frame)
    smooth(frame, narrow, response, row)
    smooth(frame, wide, background, row)
    for i in range(frame.shape[0]):
        first, second = response[i], background[i]
        for j in range(frame.shape[1]):
            first[j] -= second[j]
    return response, background


@njit(cache=True, nogil=True)
def _is_maximum(response: np.ndarray, i: int, j: int) -> bool:
    """Whether no neighbour is larger; of equal ones the first is the maximum."""
    value = response[i, j]
    for u in range(-1, 2):
        for v in range(-1, 2):
            before = u < 0 or (u == 0 and v < 0)
            other = response[i + u, j + v]
            if other > value or (before and other == value):
                return False
    return True


@njit(cache=True, nogil=True)
def find_maxima(
    response: np.ndarray,
    background: np.ndarray,
    noise: np.ndarray,
    threshold: float,
    spacing: float,
    edge: int,
) -> np.ndarray:
    """Local maxima that stand out of the noise, none too close to a stronger one.

    Parameters
    ----------
    response, background : ndarray of float32, shape (height, width)
        See :func:`band_pass`.
    noise : ndarray, shape (2,)
        The response's variance without spots: noise[0] + noise[1] * background.
    threshold : float
        In standard deviations.
    spacing : float
        Least distance of two maxima [pixel].
    edge : int
        Maxima so close to the edge are left out; 1 or more [pixel].

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Rows and columns, the strongest response first.
    """
    height, width = response.shape
    room = 64
    rows, values, n = np.empty((room, 2), np.int64), np.empty(room, np.float32), 0
    square = np.float32(threshold * threshold)
    floor, slope = np.float32(noise[0]), np.float32(noise[1])
    for i in range(edge, height - edge):
        for j in range(edge, width - edge):
            value = response[i, j]
            if value <= 0:
                continue
            variance = floor + slope * max(background[i, j], np.float32(0))
            if value * value > square * variance and _is_maximum(response, i, j):
                if n == room:
                    room *= 4
                    more, longer = np.empty((room, 2), np.int64), np.empty(room, np.float32)
                    more[:n], longer[:n] = rows, values
                    rows, values = more, longer
                rows[n, 0], rows[n, 1], values[n] = i, j, value
                n += 1
    order = np.argsort(-values[:n], kind="mergesort")
    kept = np.empty((n, 2), np.int64)
    m = 0
    for place in order:
        free = True
        for k in range(m):
            u, v = kept[k, 0] - rows[place, 0], kept[k, 1] - rows[place, 1]
            if u * u + v * v < spacing * spacing:
                free = False
                break
        if free:
            kept[m] = rows[place]
            m += 1
    return kept[:m]


@njit(cache=True, nogil=True)
def ring_median(frame: np.ndarray, x: float, y: float, inner: float, outer: float) -> float:
    """Median of the pixels of a ring; of the nearest pixel where the ring is off the frame."""
    height, width = frame.shape
    low_i, high_i = max(int(np.ceil(x - outer)), 0), min(int(x + outer), height - 1)
    low_j, high_j = max(int(np.ceil(y - outer)), 0), min(int(y + outer), width - 1)
    values = np.empty(max(high_i - low_i + 1, 0) * max(high_j - low_j + 1, 0), np.float32)
    n = 0
    for i in range(low_i, high_i + 1):
        for j in range(low_j, high_j + 1):
            square = (i - x) ** 2 + (j - y) ** 2
            if inner * inner < square <= outer * outer:
                values[n] = frame[i, j]
                n += 1
    if n == 0:
        return frame[min(max(int(x), 0), height - 1), min(max(int(y), 0), width - 1)]
    return np.median(values[:n])


@njit(cache=True, nogil=True, error_model="numpy")
def fit_spot(
    frame: np.ndarray,
    x: float,
    y: float,
    base: float,
    profile: np.ndarray,
    step: float,
    variance: np.ndarray,
) -> tuple[float, float]:
    """Position of one disk, by weighted least squares.

    Parameters
    ----------
    frame : ndarray of float32, shape (height, width)
    x, y : float
        Where to start, row and column [pixel].
    base : float
        Background under the disk.
    profile : ndarray, shape (n, 2)
        The disk at squared distances 0, step, 2 step ... and its derivative by squared distance.
    step : float
        [pixel^2]
    variance : ndarray, shape (2,)
        A pixel's variance is variance[0] + variance[1] * expected value.

    Returns
    -------
    x, y : float
        The start again where the fit leaves it for good [pixel].
    """
    height, width = frame.shape
    last = len(profile) - 1
    reach = np.sqrt(last * step)
    limit = (_FARTHEST * reach + 1) ** 2
    u, v, amplitude = x, y, -1.0
    for _ in range(_ITERATIONS):
        aa = ax = ay = xx = xy = yy = ra = rx = ry = 0.0
        for i in range(max(int(np.ceil(u - reach)), 0), min(int(u + reach), height - 1) + 1):
            for j in range(max(int(np.ceil(v - reach)), 0), min(int(v + reach), width - 1) + 1):
                p, q = i - u, j - v
                place = (p * p + q * q) / step
                k = int(place)
                if k >= last:
                    continue
                part = place - k
                shape = profile[k, 0] + part * (profile[k + 1, 0] - profile[k, 0])
                slope = profile[k, 1] + part * (profile[k + 1, 1] - profile[k, 1])
                expected = max(base + max(amplitude, 0.0) * shape, 0.0)
                weight = 1 / (variance[0] + variance[1] * expected)
                value = frame[i, j] - base
                dx, dy = -2 * p * slope, -2 * q * slope
                aa += weight * shape * shape
                ax += weight * shape * dx
                ay += weight * shape * dy
                xx += weight * dx * dx
                xy += weight * dx * dy
                yy += weight * dy * dy
                ra += weight * shape * value
                rx += weight * dx * value
                ry += weight * dy * value
        if amplitude < 0:
            # The first round finds only how strong the spot is, which the weights hang on.
            if not ra > 0:
                return x, y
            amplitude = ra / aa
            continue
        # The amplitude is linear: solved for, it leaves two unknowns.
        amplitude = ra / aa
        xx, xy, yy = xx - ax * ax / aa, xy - ax * ay / aa, yy - ay * ay / aa
        rx, ry = (rx - ax * amplitude) / amplitude, (ry - ay * amplitude) / amplitude
        determinant = xx * yy - xy * xy
        if not (amplitude > 0 and determinant > 0):
            return x, y
        du, dv = (yy * rx - xy * ry) / determinant, (xx * ry - xy * rx) / determinant
        long = np.sqrt(du * du + dv * dv)
        if long > 1:
            du, dv = du / long, dv / long
        u, v = u + du, v + dv
        if not (u - x) ** 2 + (v - y) ** 2 < limit:
            return x, y
        if long < _CONVERGED:
            break
    return u, v


@njit(cache=True, nogil=True)
def aperture_sum(frame: np.ndarray, x: float, y: float, base: float, radius: float) -> float:
    """Sum over the disk of what lies above the background; pixels off the frame count nothing."""
    height, width = frame.shape
    total = 0.0
    for i in range(max(int(np.ceil(x - radius)), 0), min(int(x + radius), height - 1) + 1):
        for j in range(max(int(np.ceil(y - radius)), 0), min(int(y + radius), width - 1) + 1):
            if (i - x) ** 2 + (j - y) ** 2 <= radius * radius:
                total += frame[i, j] - base
    return total


@njit(cache=True, nogil=True)
def _taken(found: np.ndarray, x: float, y: float, spacing: float) -> bool:
    """Whether a stronger spot was fitted to the same disk."""
    for k in range(len(found)):
        u, v = found[k, 0] - x, found[k, 1] - y
        if u * u + v * v < 0.25 * spacing * spacing:
            return True
    return False


@njit(cache=True, nogil=True)
def find_spots(
    frames: np.ndarray,
    narrow: np.ndarray,
    wide: np.ndarray,
    noise: np.ndarray,
    profile: np.ndarray,
    step: float,
    variance: np.ndarray,
    radii: np.ndarray,
    threshold: float,
    spacing: float,
    edge: int,
    max_spots: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Spots of each frame.

    Parameters
    ----------
    frames : ndarray of float32, shape (n, height, width)
    narrow, wide, noise, threshold, spacing, edge
        See :func:`band_pass` and :func:`find_maxima`.
    profile, step, variance
        See :func:`fit_spot`.
    radii : ndarray, shape (3,)
        Of the aperture, and of the ring around it that is the background: inner, outer [pixel].
    max_spots : int
        The strongest so many are kept.

    Returns
    -------
    spots : ndarray, shape (n_spots, 4)
        Row and column [pixel], sum above the background, response in standard deviations; a
        frame's strongest response first.
    counts : ndarray of int64, shape (n,)
        Spots of each frame.
    """
    counts = np.zeros(len(frames), np.int64)
    found = np.empty((16 * len(frames) + 16, 4))
    n = 0
    for frame_number in range(len(frames)):
        frame = frames[frame_number]
        response, background = band_pass(frame, narrow, wide)
        maxima = find_maxima(response, background, noise, threshold, spacing, edge)
        for m in range(min(len(maxima), max_spots)):
            i, j = maxima[m, 0], maxima[m, 1]
            base = ring_median(frame, float(i), float(j), radii[1], radii[2])
            x, y = fit_spot(frame, float(i), float(j), base, profile, step, variance)
            total = aperture_sum(frame, x, y, base, radii[0])
            if total <= 0 or _taken(found[n - counts[frame_number] : n], x, y, spacing):
                continue
            if n == len(found):
                longer = np.empty((2 * n, 4))
                longer[:n] = found
                found = longer
            expected = noise[0] + noise[1] * max(background[i, j], np.float32(0))
            found[n, 0], found[n, 1], found[n, 2] = x, y, total
            found[n, 3] = response[i, j] / np.sqrt(expected)
            n += 1
            counts[frame_number] += 1
    return found[:n].copy(), counts

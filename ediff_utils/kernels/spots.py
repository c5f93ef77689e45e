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
_ITERATIONS = 6
#: A fit that moves farther than this share of its window's half, plus a pixel, has left its spot.
_FARTHEST = 0.5


@njit(cache=True, nogil=True)
def smooth(frame: np.ndarray, weights: np.ndarray, out: np.ndarray, row: np.ndarray) -> None:
    """Separable symmetric filter, the edge pixels repeated outwards.

    Parameters
    ----------
    frame, out : ndarray of float32, shape (height, width)
    weights : ndarray of float32, shape (reach + 1,)
        From the middle outwards; ``reach`` is even.
    row : ndarray of float32, shape (width + 2 reach,)
        Room to work in, or more of it.
    """
    height, width = frame.shape
    reach, end = len(weights) - 1, height - 1
    middle = row[reach : reach + width]
    for i in range(height):
        first = frame[i]
        for j in range(width):
            middle[j] = weights[0] * first[j]
        # Two weights at a time: half as many passes over the row.
        for k in range(1, reach, 2):
            a, b = frame[max(i - k, 0)], frame[min(i + k, end)]
            c, d = frame[max(i - k - 1, 0)], frame[min(i + k + 1, end)]
            near, far = weights[k], weights[k + 1]
            for j in range(width):
                middle[j] += near * (a[j] + b[j]) + far * (c[j] + d[j])
        row[:reach] = middle[0]
        row[reach + width : width + 2 * reach] = middle[width - 1]
        target = out[i]
        for j in range(width):
            target[j] = weights[0] * middle[j]
        for k in range(1, reach, 2):
            a, b = row[reach - k : reach - k + width], row[reach + k : reach + k + width]
            c, d = row[reach - k - 1 :][:width], row[reach + k + 1 :][:width]
            near, far = weights[k], weights[k + 1]
            for j in range(width):
                target[j] += near * (a[j] + b[j]) + far * (c[j] + d[j])


@njit(cache=True, nogil=True)
def _halve(frame: np.ndarray, small: np.ndarray) -> None:
    """Means of 2 x 2 pixels; an odd last row or column counts twice."""
    height, width = frame.shape
    for i in range(small.shape[0]):
        first, second, target = frame[2 * i], frame[min(2 * i + 1, height - 1)], small[i]
        for j in range(width // 2):
            total = first[2 * j] + first[2 * j + 1] + second[2 * j] + second[2 * j + 1]
            target[j] = np.float32(0.25) * total
        if width % 2:
            target[-1] = np.float32(0.5) * (first[width - 1] + second[width - 1])


@njit(cache=True, nogil=True)
def _double(small: np.ndarray, out: np.ndarray) -> None:
    """Undo :func:`_halve` by linear interpolation, on the grid of ``out``."""
    height, width = out.shape
    near, far = np.float32(0.75), np.float32(0.25)
    rows, columns = small.shape
    mixed = np.empty(columns + 2, np.float32)
    inner = mixed[1 : columns + 1]
    for i in range(height):
        own = small[i // 2]
        other = small[min(i // 2 + 1, rows - 1)] if i % 2 else small[max(i // 2 - 1, 0)]
        for j in range(columns):
            inner[j] = near * own[j] + far * other[j]
        mixed[0], mixed[columns + 1] = mixed[1], mixed[columns]
        target = out[i]
        for j in range(width // 2):
            target[2 * j] = near * mixed[j + 1] + far * mixed[j]
            target[2 * j + 1] = near * mixed[j + 1] + far * mixed[j + 2]
        if width % 2:
            target[width - 1] = near * mixed[columns] + far * mixed[columns - 1]


@njit(cache=True, nogil=True)
def _band_pass(
    frame: np.ndarray,
    narrow: np.ndarray,
    wide: np.ndarray,
    response: np.ndarray,
    background: np.ndarray,
    small: np.ndarray,
    row: np.ndarray,
) -> None:
    """See :func:`band_pass`; ``small`` has room for two halved frames."""
    smooth(frame, narrow, response, row)
    _halve(frame, small[0])
    smooth(small[0], wide, small[1], row)
    _double(small[1], background)
    for i in range(frame.shape[0]):
        first, second = response[i], background[i]
        for j in range(frame.shape[1]):
            first[j] -= second[j]


@njit(cache=True, nogil=True)
def _make_room(height: int, width: int, reach: int) -> tuple[np.ndarray, ...]:
    """What :func:`_band_pass` works in: response, background, halved frames, a row."""
    return (
        np.empty((height, width), np.float32),
        np.empty((height, width), np.float32),
        np.empty((2, (height + 1) // 2, (width + 1) // 2), np.float32),
        np.empty(width + 2 * reach, np.float32),
    )


@njit(cache=True, nogil=True)
def band_pass(
    frame: np.ndarray, narrow: np.ndarray, wide: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Response to a disk, and the background.

    Parameters
    ----------
    frame : ndarray of float32, shape (height, width)
    narrow, wide : ndarray of float32, shape (reach + 1,)
        One-dimensional filters from the middle outwards, ``reach`` even, each with a sum over both
        sides of 1. The wide one counts in pixels of twice the size: it has no use for finer ones.

    Returns
    -------
    response, background : ndarray of float32, shape (height, width)
        Narrow minus wide, and wide.
    """
    height, width = frame.shape
    response, background, small, row = _make_room(height, width, max(len(narrow), len(wide)))
    _band_pass(frame, narrow, wide, response, background, small, row)
    return response, background


@njit(cache=True, nogil=True)
def find_maxima(
    response: np.ndarray,
    background: np.ndarray,
    noise: np.ndarray,
    threshold: float,
    spacing: float,
    edge: int,
    rows: np.ndarray,
    values: np.ndarray,
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
    rows, values : ndarray of int64, shape (m, 2), and of float32, shape (m,)
        Room to work in. No two maxima are neighbours: a quarter of the pixels is enough.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Rows and columns, the strongest response first.
    """
    height, width = response.shape
    n = 0
    square = np.float32(threshold * threshold)
    floor, slope, zero = np.float32(noise[0]), np.float32(noise[1]), np.float32(0)
    high = np.empty(width, np.uint8)
    for i in range(edge, height - edge):
        line, under = response[i], background[i]
        # Without branches, so that it goes many pixels at a time; few are left for the next loop.
        some = np.uint8(0)
        for j in range(width):
            value = max(line[j], zero)
            high[j] = value * value > square * (floor + slope * max(under[j], zero))
            some |= high[j]
        if some == 0:
            continue
        above, below = response[i - 1], response[i + 1]
        for j in range(edge, width - edge):
            value = line[j]
            # Of equal neighbours the first is the maximum.
            if (
                high[j]
                and value > line[j - 1]
                and value >= line[j + 1]
                and value > max(above[j - 1], above[j], above[j + 1])
                and value >= max(below[j - 1], below[j], below[j + 1])
            ):
                rows[n, 0], rows[n, 1], values[n] = i, j, line[j]
                n += 1
    order = np.argsort(-values[:n])
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
def cover(maxima: np.ndarray, radius: float, covered: np.ndarray) -> None:
    """Mark the disks around maxima in ``covered``, bool, shape (height, width)."""
    height, width = covered.shape
    reach = int(radius)
    for m in range(len(maxima)):
        x, y = maxima[m, 0], maxima[m, 1]
        for i in range(max(x - reach, 0), min(x + reach, height - 1) + 1):
            half = int(np.sqrt(radius * radius - (i - x) ** 2))
            covered[i, max(y - half, 0) : min(y + half, width - 1) + 1] = True


@njit(cache=True, nogil=True)
def ring_mean(
    frame: np.ndarray, covered: np.ndarray, x: int, y: int, inner: float, outer: float
) -> float:
    """Mean of a ring's pixels that no disk covers; NaN where there are fewer than eight."""
    height, width = frame.shape
    reach = int(outer)
    total, n = 0.0, 0
    for i in range(max(x - reach, 0), min(x + reach, height - 1) + 1):
        for j in range(max(y - reach, 0), min(y + reach, width - 1) + 1):
            square = (i - x) ** 2 + (j - y) ** 2
            if inner * inner < square <= outer * outer and not covered[i, j]:
                total += frame[i, j]
                n += 1
    return total / n if n >= 8 else np.nan


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _normal_equations(
    values: np.ndarray,
    inside: np.ndarray,
    model: np.ndarray,
    amplitude: float,
    floor: float,
    gain: float,
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Weighted sums of products of the disk, its two derivatives and the values."""
    shape, down, right = model[0], model[1], model[2]
    zero = np.float32(0)
    aa = ax = ay = xx = xy = yy = ra = rx = ry = zero
    strength, low, slope = np.float32(amplitude), np.float32(floor), np.float32(gain)
    for k in range(values.shape[0]):
        weight = inside[k] / (low + slope * strength * shape[k])
        a, dx, dy, value = weight * shape[k], down[k], right[k], values[k]
        aa += a * shape[k]
        ax += a * dx
        ay += a * dy
        ra += a * value
        xx += weight * dx * dx
        xy += weight * dx * dy
        yy += weight * dy * dy
        rx += weight * dx * value
        ry += weight * dy * value
    return aa, ax, ay, xx, xy, yy, ra, rx, ry


@njit(cache=True, nogil=True, error_model="numpy")
def fit_spot(
    frame: np.ndarray,
    row: int,
    column: int,
    base: float,
    amplitude: float,
    bank: np.ndarray,
    variance: np.ndarray,
) -> tuple[float, float]:
    """Position of one disk, by weighted least squares (Gauss and Newton).

    Parameters
    ----------
    frame : ndarray of float32, shape (height, width)
    row, column : int
        Where to start [pixel].
    base, amplitude : float
        Background under the disk, and about how far its middle is above it.
    bank : ndarray of float32, shape (shifts, shifts, 3, width * width)
        The disk on a window of odd width, and its derivatives by the shift along rows and columns.
        The shifts are (k + 1/2) / shifts - 1/2, k from 0.
    variance : ndarray, shape (2,)
        A pixel's variance is variance[0] + variance[1] * expected value.

    Returns
    -------
    x, y : float
        The start where the fit leaves the spot for good [pixel].
    """
    height, width = frame.shape
    shifts, size = bank.shape[0], int(np.sqrt(bank.shape[3]))
    half = size // 2
    values, inside = np.empty(size * size, np.float32), np.empty(size * size, np.float32)
    floor = variance[0] + variance[1] * max(base, 0.0)
    limit = (_FARTHEST * half + 1) ** 2
    x, y = float(row), float(column)
    centre_i, centre_j, last = -1, -1, -1
    for _ in range(_ITERATIONS):
        i, j = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        if i != centre_i or j != centre_j:
            centre_i, centre_j, last = i, j, -1
            for u in range(size):
                for v in range(size):
                    p, q = i + u - half, j + v - half
                    there = 0 <= p < height and 0 <= q < width
                    values[u * size + v] = frame[p, q] - base if there else 0.0
                    inside[u * size + v] = 1.0 if there else 0.0
        k = min(int((x - i + 0.5) * shifts), shifts - 1)
        m = min(int((y - j + 0.5) * shifts), shifts - 1)
        if k * shifts + m == last:
            break
        last = k * shifts + m
        aa, ax, ay, xx, xy, yy, ra, rx, ry = _normal_equations(
            values, inside, bank[k, m], amplitude, floor, variance[1]
        )
        amplitude = ra / aa
        # The amplitude is linear: solved for, it leaves two unknowns.
        xx, xy, yy = xx - ax * ax / aa, xy - ax * ay / aa, yy - ay * ay / aa
        rx, ry = (rx - ax * amplitude) / amplitude, (ry - ay * amplitude) / amplitude
        determinant = xx * yy - xy * xy
        if not (amplitude > 0 and determinant > 0):
            return float(row), float(column)
        du, dv = (yy * rx - xy * ry) / determinant, (xx * ry - xy * rx) / determinant
        long = np.sqrt(du * du + dv * dv)
        if long > 1:
            du, dv = du / long, dv / long
        x = i + (k + 0.5) / shifts - 0.5 + du
        y = j + (m + 0.5) / shifts - 0.5 + dv
        if not (x - row) ** 2 + (y - column) ** 2 < limit:
            return float(row), float(column)
    return x, y


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
    bank: np.ndarray,
    unit: float,
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
    bank, variance
        See :func:`fit_spot`.
    unit : float
        Response in the middle of a disk of amplitude 1.
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
    height, width = frames.shape[1:]
    # Room for all frames: the system hands out large arrays page by page, which takes its time.
    response, background, small, row = _make_room(height, width, max(len(narrow), len(wide)))
    rows = np.empty((((height + 1) // 2) * ((width + 1) // 2), 2), np.int64)
    values, covered = np.empty(len(rows), np.float32), np.empty((height, width), np.bool_)
    found = np.empty((16 * len(frames) + 16, 4))
    n = 0
    for frame_number in range(len(frames)):
        frame = frames[frame_number]
        _band_pass(frame, narrow, wide, response, background, small, row)
        maxima = find_maxima(response, background, noise, threshold, spacing, edge, rows, values)
        covered[:] = False
        cover(maxima, radii[1], covered)
        for m in range(min(len(maxima), max_spots)):
            i, j = maxima[m, 0], maxima[m, 1]
            base = ring_mean(frame, covered, i, j, radii[1], radii[2])
            if np.isnan(base):
                base = float(background[i, j])
            amplitude = response[i, j] / unit
            x, y = fit_spot(frame, i, j, base, amplitude, bank, variance)
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

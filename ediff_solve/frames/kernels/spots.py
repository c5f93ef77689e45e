"""Spots in detector frames, each of them a fit to a maximum of the band-pass.

A maximum is fitted with the disk's radial profile by least squares, weighted by the counts that the
model expects: for strong spots the rim decides, for weak ones the whole disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.frames.kernels.band_pass import fill_band_pass, find_maxima, make_room

_ITERATIONS = 6
#: A fit that moves farther than this share of its window's half, plus a pixel, has left its spot.
_FARTHEST = 0.5


@njit(cache=True, nogil=True)
def _cover(maxima: np.ndarray, radius: float, covered: np.ndarray) -> None:
    """Mark the disks around maxima in ``covered``, bool, shape (height, width)."""
    height, width = covered.shape
    reach = int(radius)
    for m in range(len(maxima)):
        x, y = maxima[m, 0], maxima[m, 1]
        for i in range(max(x - reach, 0), min(x + reach, height - 1) + 1):
            half = int(np.sqrt(radius * radius - (i - x) ** 2))
            covered[i, max(y - half, 0) : min(y + half, width - 1) + 1] = True


@njit(cache=True, nogil=True)
def _ring_mean(
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
    amplitude: float | np.float32,
    floor: float,
    gain: float,
) -> tuple[np.float32, ...]:
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
def _fit_spot(
    frame: np.ndarray,
    row: int,
    column: int,
    base: float,
    amplitude: float | np.float32,
    bank: np.ndarray,
    variance: np.ndarray,
) -> tuple[float, float]:
    """Row and column of a disk [pixel], by weighted least squares (Gauss and Newton).

    From a start with its background and height above it; the start where the fit leaves the spot
    for good.
    """
    height, width = frame.shape
    shifts, size = bank.shape[0], int(np.sqrt(bank.shape[3]))
    half = size // 2
    values, inside = np.empty(size * size, np.float32), np.empty(size * size, np.float32)
    floor = variance[0] + variance[1] * max(base, 0.0)
    limit = (_FARTHEST * half + 1) ** 2
    x: float | np.floating = float(row)
    y: float | np.floating = float(column)
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
    return float(x), float(y)


@njit(cache=True, nogil=True)
def _aperture_sum(frame: np.ndarray, x: float, y: float, base: float, radius: float) -> float:
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
    offset: np.ndarray,
    bank: np.ndarray,
    unit: float,
    variance: np.ndarray,
    radii: np.ndarray,
    threshold: float,
    spacing: float,
    edge: int,
    max_spots: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Spots of each frame, shape (n_spots, 4), and their numbers, int64 of shape (n,).

    Frames are float32 of shape (n, height, width); for the other parameters see
    :class:`ediff_solve.frames.detect.DiskDetector`. A spot is row and column [pixel], sum above the
    background, and response in standard deviations; a frame's strongest response comes first.
    """
    counts = np.zeros(len(frames), np.int64)
    height, width = frames.shape[1:]
    # Room for all frames: the system hands out large arrays page by page, which takes its time.
    response, background, small, row = make_room(height, width, max(len(narrow), len(wide)))
    rows = np.empty((((height + 1) // 2) * ((width + 1) // 2), 2), np.int64)
    values, covered = np.empty(len(rows), np.float32), np.empty((height, width), np.bool_)
    found = np.empty((16 * len(frames) + 16, 4))
    n = 0
    for frame_number in range(len(frames)):
        frame = frames[frame_number]
        fill_band_pass(frame, narrow, wide, response, background, small, row)
        if offset.size:
            response -= offset
        maxima = find_maxima(response, background, noise, threshold, spacing, edge, rows, values)
        covered[:] = False
        _cover(maxima, radii[1], covered)
        for m in range(min(len(maxima), max_spots)):
            i, j = maxima[m, 0], maxima[m, 1]
            base = _ring_mean(frame, covered, i, j, radii[1], radii[2])
            if np.isnan(base):
                base = float(background[i, j])
            amplitude = response[i, j] / unit
            x, y = _fit_spot(frame, i, j, base, amplitude, bank, variance)
            total = _aperture_sum(frame, x, y, base, radii[0])
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

"""The response of detector frames to disks, and its maxima above the noise.

A band-pass, the difference of two Gaussians, which is separable: the narrow one stands for the
disk, the wide one for the background under it. Where noise has the variance c0 + c1 b, b being the
background, the response over its square root is in standard deviations, whatever the background.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _smooth(frame: np.ndarray, weights: np.ndarray, out: np.ndarray, row: np.ndarray) -> None:
    """Separable symmetric filter, the edge pixels repeated outwards.

    The weights, an even number beside the middle one, count from the middle outwards; ``row`` has
    room for a row and the filter's reach on either side.
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
def fill_band_pass(
    frame: np.ndarray,
    narrow: np.ndarray,
    wide: np.ndarray,
    response: np.ndarray,
    background: np.ndarray,
    small: np.ndarray,
    row: np.ndarray,
) -> None:
    """See :func:`band_pass`; ``small`` has room for two halved frames."""
    _smooth(frame, narrow, response, row)
    _halve(frame, small[0])
    _smooth(small[0], wide, small[1], row)
    _double(small[1], background)
    for i in range(frame.shape[0]):
        first, second = response[i], background[i]
        for j in range(frame.shape[1]):
            first[j] -= second[j]


@njit(cache=True, nogil=True)
def make_room(height: int, width: int, reach: int) -> tuple[np.ndarray, ...]:
    """What :func:`fill_band_pass` works in: response, background, halved frames, a row."""
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
    """Response to a disk, narrow minus wide, and the background, wide.

    The frame and both results are float32 of shape (height, width), the filters float32 of shape
    (reach + 1,), one-dimensional, from the middle outwards, ``reach`` even, each with a sum over
    both sides of 1. The wide one counts in pixels of twice the size: it has no use for finer ones.
    """
    height, width = frame.shape
    response, background, small, row = make_room(height, width, max(len(narrow), len(wide)))
    fill_band_pass(frame, narrow, wide, response, background, small, row)
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

    For response and background see :func:`band_pass`. Without spots the response's variance is
    noise[0] + noise[1] * background; the threshold is in its square roots. ``spacing`` and ``edge``
    are the least distance of two maxima, and of one from the edge, 1 or more [pixel]. ``rows``,
    int64 of shape (m, 2), and ``values``, float32 of shape (m,), are room to work in: as no two
    maxima are neighbours, a quarter of the pixels is enough. Rows and columns, int64 of shape (n,
    2), the strongest response first.
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

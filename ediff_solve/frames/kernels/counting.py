"""Spots of few electrons a pixel: background, noise and significance of one frame.

A frame is float32 of shape (height, width). Its background and the noise's gain live on grids of
blocks of pixels; a place's significance is the signed root of twice the Poisson log likelihood
ratio of the sum under a Gaussian, in standard deviations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Pixels a side of the blocks that background and gain are averaged in.
BLOCK, COARSE = 4, 8
#: Finer than a pixel by this, radii are whole numbers.
FINE = 4
#: Deviations beyond so many standard deviations are no noise: they count as this.
CLIP = 2.5
#: Poisson means under the filter, and the mean of min(z^2, CLIP^2) for each, z being Anscombe's
#: 2 (sqrt(k + 3/8) - sqrt(m + 3/8)): of simulated counts under a Gaussian.
_MEANS = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20])
_SQUARES = np.array(
    [0, 0.023, 0.054, 0.107, 0.203, 0.332, 0.427, 0.540, 0.658, 0.779, 0.851, 0.919, 0.948, 0.971]
    + [0.976]
)


@njit(cache=True, nogil=True)
def mark_lone(frame: np.ndarray, good: np.ndarray, least: float) -> None:
    """Take bright pixels, four times any neighbour, out of ``good``: hot ones and cosmic rays."""
    height, width = frame.shape
    for i in range(1, height - 1):
        for j in range(1, width - 1):
            if frame[i, j] <= least:
                continue
            most = np.float32(0)
            for k in range(i - 1, i + 2):
                for m in range(j - 1, j + 2):
                    if (k != i or m != j) and good[k, m]:
                        most = max(most, frame[k, m])
            if frame[i, j] > 4 * most:
                good[i, j] = False


@njit(cache=True, nogil=True)
def measure_radius(height: int, width: int, row: float, column: float) -> np.ndarray:
    """Distance of each pixel from a place, in quarter pixels, as int16."""
    out = np.empty((height, width), np.int16)
    for i in range(height):
        for j in range(width):
            out[i, j] = int(FINE * np.sqrt((i - row) ** 2 + (j - column) ** 2) + 0.5)
    return out


@njit(cache=True, nogil=True)
def block_dispersion(frame: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Variance over mean in blocks of 8 x 8 good pixels that count anything; shape (n,)."""
    rows, columns = frame.shape[0] // COARSE, frame.shape[1] // COARSE
    out = np.empty(rows * columns)
    n = 0
    for a in range(rows):
        for b in range(columns):
            whole, total, square = True, 0.0, 0.0
            for i in range(a * COARSE, (a + 1) * COARSE):
                for j in range(b * COARSE, (b + 1) * COARSE):
                    whole &= good[i, j]
                    total += frame[i, j]
                    square += frame[i, j] * frame[i, j]
            if whole and total > 0:
                out[n] = square / total - total / COARSE**2
                n += 1
    return out[:n]


@njit(cache=True, nogil=True)
def average_blocks(frame: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Sums over blocks of 4 x 4 pixels, those that are not good as 0."""
    height, width = frame.shape
    out = np.zeros(((height + BLOCK - 1) // BLOCK, (width + BLOCK - 1) // BLOCK), np.float32)
    for i in range(height):
        line = out[i // BLOCK]
        for j in range(width):
            if good[i, j]:
                line[j // BLOCK] += frame[i, j]
    return out


@njit(cache=True, nogil=True)
def _pool_circles(total: np.ndarray, weight: np.ndarray, gain: float) -> np.ndarray:
    """Means on circles; those of few electrons take from their neighbours."""
    n = len(total)
    profile = np.zeros(n)
    for k in range(n):
        t, w, reach = total[k], weight[k], 0
        while reach < n and (w < 40 or (t < 100 * gain and w < 10000 and reach < n // 8)):
            reach += 1
            if k >= reach:
                t += total[k - reach]
                w += weight[k - reach]
            if k + reach < n:
                t += total[k + reach]
                w += weight[k + reach]
        profile[k] = t / max(w, 1.0)
    return profile


@njit(cache=True, nogil=True)
def radial_mean(
    frame: np.ndarray,
    good: np.ndarray,
    radius: np.ndarray,
    clip: float,
    gain: float,
    before: np.ndarray,
) -> np.ndarray:
    """Mean on circles one pixel wide, without what lies far above the mean ``before``.

    ``radius``, int16 of the frame's shape, counts in quarter pixels; an empty ``before`` leaves
    nothing out.
    """
    height, width = frame.shape
    n = int(radius.max()) // FINE + 2
    limit = np.full(n, np.inf, np.float32)
    for k in range(len(before)):
        limit[k] = before[k] + clip * np.sqrt(gain * before[k]) + 2 * gain
    total, weight = np.zeros(n), np.zeros(n)
    for i in range(height):
        for j in range(width):
            k = (radius[i, j] + FINE // 2) // FINE
            if good[i, j] and frame[i, j] <= limit[k]:
                total[k] += frame[i, j]
                weight[k] += 1
    return _pool_circles(total, weight, gain)


@njit(cache=True, nogil=True)
def spread_profile(
    frame: np.ndarray, good: np.ndarray, radius: np.ndarray, profile: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill ``out`` with a radial profile; counts and expected counts of good pixels in blocks."""
    height, width = frame.shape
    shape = (height + BLOCK - 1) // BLOCK, (width + BLOCK - 1) // BLOCK
    seen, expected = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    fine = np.empty(FINE * (len(profile) - 1) + 1, np.float32)
    for k in range(len(fine)):
        low = min(k // FINE, len(profile) - 2)
        fine[k] = profile[low] + (k / FINE - low) * (profile[low + 1] - profile[low])
    for i in range(height):
        a, b = seen[i // BLOCK], expected[i // BLOCK]
        for j in range(width):
            value = fine[radius[i, j]]
            out[i, j] = value
            if good[i, j]:
                a[j // BLOCK] += frame[i, j]
                b[j // BLOCK] += value
    return seen, expected


@njit(cache=True, nogil=True)
def blur(grid: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Separable symmetric filter; weights count from the middle, the edge is repeated."""
    height, width = grid.shape
    reach = len(weights) - 1
    out = np.empty((height, width), np.float32)
    line = np.empty(width + 2 * reach, np.float32)
    for i in range(height):
        middle = line[reach : reach + width]
        for j in range(width):
            middle[j] = weights[0] * grid[i, j]
        for k in range(1, reach + 1):
            up, down = grid[max(i - k, 0)], grid[min(i + k, height - 1)]
            for j in range(width):
                middle[j] += weights[k] * (up[j] + down[j])
        line[:reach] = middle[0]
        line[reach + width :] = middle[width - 1]
        target = out[i]
        for j in range(width):
            target[j] = weights[0] * middle[j]
        for k in range(1, reach + 1):
            left, right = line[reach - k : reach - k + width], line[reach + k : reach + k + width]
            for j in range(width):
                target[j] += weights[k] * (left[j] + right[j])
    return out


@njit(cache=True, nogil=True)
def stretch(grid: np.ndarray, block: int, out: np.ndarray) -> None:
    """Multiply ``out`` by a grid of blocks, linearly interpolated."""
    height, width = out.shape
    rows, columns = grid.shape
    low = np.empty(width, np.int64)
    share = np.empty(width, np.float32)
    for j in range(width):
        v = min(max((j + 0.5) / block - 0.5, 0.0), columns - 1.0)
        low[j] = min(int(v), max(columns - 2, 0))
        share[j] = v - low[j]
    mixed = np.empty(columns, np.float32)
    for i in range(height):
        u = min(max((i + 0.5) / block - 0.5, 0.0), rows - 1.0)
        top = min(int(u), max(rows - 2, 0))
        part = np.float32(u - top)
        first, second = grid[top], grid[min(top + 1, rows - 1)]
        for c in range(columns):
            mixed[c] = first[c] + part * (second[c] - first[c])
        for j in range(width):
            c = low[j]
            out[i, j] *= mixed[c] + share[j] * (mixed[min(c + 1, columns - 1)] - mixed[c])


@njit(cache=True, nogil=True)
def significance(total: float, mean: float, square: float) -> float:
    """Signed root of twice the Poisson log likelihood ratio of a weighted sum.

    A sum of mean ``mean`` and variance ``square``, times mean / square, is about Poisson.
    """
    scale = mean / square
    k, m = max(total * scale, 0.0), mean * scale
    if k <= 0:
        return -np.sqrt(2 * m)
    root = np.sqrt(max(2 * (k * np.log(k / m) - k + m), 0.0))
    return root if k > m else -root


@njit(cache=True, nogil=True)
def _expected_square(mean: float) -> float:
    if mean >= _MEANS[-1]:
        return _SQUARES[-1]
    for k in range(1, len(_MEANS)):
        if mean < _MEANS[k]:
            part = (mean - _MEANS[k - 1]) / (_MEANS[k] - _MEANS[k - 1])
            return _SQUARES[k - 1] + part * (_SQUARES[k] - _SQUARES[k - 1])
    return _SQUARES[-1]


@njit(cache=True, nogil=True)
def sum_squares(
    frame: np.ndarray,
    response: np.ndarray,
    background: np.ndarray,
    good: np.ndarray,
    gain: np.ndarray,
    one: float,
    two: float,
    step: int,
    sums: np.ndarray,
) -> None:
    """Add up over blocks what tells the gain, from each ``step``-th pixel.

    ``sums``, shape (4, rows, columns): clipped squares of the deviations, what they would be for
    Poisson counts, squares of single pixels' deviations, and background. ``one`` and ``two`` are
    the filter's sum and sum of squares.
    """
    sums[:] = 0
    height, width = frame.shape
    for i in range(0, height, step):
        for j in range(0, width, step):
            if not good[i, j]:
                continue
            b = max(background[i, j], np.float32(1e-6))
            g = gain[i // COARSE, j // COARSE]
            scale = one / (two * g)
            mean = b * one * scale
            z = 2 * (np.sqrt(max(response[i, j] * scale, 0.0) + 0.375) - np.sqrt(mean + 0.375))
            a, c = i // COARSE, j // COARSE
            sums[0, a, c] += min(z * z, CLIP * CLIP)
            sums[1, a, c] += _expected_square(mean)
            off = min(abs(frame[i, j] - b), 6 * np.sqrt(g * b) + 6 * g)
            sums[2, a, c] += off * off
            sums[3, a, c] += b


@njit(cache=True, nogil=True)
def find_candidates(
    response: np.ndarray,
    background: np.ndarray,
    good: np.ndarray,
    gain: np.ndarray,
    one: float,
    two: float,
    least: float,
    edge: int,
    spacing: float,
    room: np.ndarray,
) -> np.ndarray:
    """Local maxima of the significance from ``least`` on: row, column, significance.

    A normal test, with no logarithm in it, goes before: its standard deviations are more than the
    significance's. None is nearer than ``spacing`` to a more significant one, or than ``edge`` to
    the edge [pixel]; shape (n, 3), the most significant first.
    """
    height, width = response.shape
    n = 0
    high = np.empty(width, np.uint8)
    spread = np.empty(width, np.float32)
    share, zero = np.float32(one), np.float32(0)
    for i in range(edge, height - edge):
        line, under, noise = response[i], background[i], gain[i // COARSE]
        if i == edge or i % COARSE == 0:
            for j in range(width):
                spread[j] = least * least * two * noise[j // COARSE]
        some = np.uint8(0)
        # Without branches, so that it goes many pixels at a time.
        for j in range(width):
            excess = max(line[j] - share * under[j], zero)
            high[j] = excess * excess > spread[j] * under[j]
            some |= high[j]
        if some == 0:
            continue
        for j in range(edge, width - edge):
            if not high[j] or not good[i, j]:
                continue
            v = line[j] - one * under[j]
            top = True
            for k in range(i - 1, i + 2):
                for m in range(j - 1, j + 2):
                    if (k != i or m != j) and response[k, m] - one * background[k, m] > v:
                        top = False
            if not top or n == len(room):
                continue
            b = max(under[j], np.float32(1e-6))
            z = significance(line[j], b * one, b * two * noise[j // COARSE])
            if z >= least:
                room[n, 0], room[n, 1], room[n, 2] = i, j, z
                n += 1
    order = np.argsort(-room[:n, 2])
    kept = np.empty((n, 3))
    m = 0
    for a in order:
        free = True
        for b in range(m):
            if (kept[b, 0] - room[a, 0]) ** 2 + (kept[b, 1] - room[a, 1]) ** 2 < spacing * spacing:
                free = False
                break
        if free:
            kept[m] = room[a]
            m += 1
    return kept[:m]


@njit(cache=True, nogil=True)
def paint(mask: np.ndarray, peaks: np.ndarray, sigma: float) -> None:
    """Clear ``mask`` around peaks, the farther out the more significant they are."""
    height, width = mask.shape
    for p in range(len(peaks)):
        reach = sigma * (3 + 0.8 * np.log(max(peaks[p, 2] / 5, 1.0)))
        k = int(np.ceil(reach))
        row, column = int(peaks[p, 0]), int(peaks[p, 1])
        for i in range(max(row - k, 0), min(row + k + 1, height)):
            for j in range(max(column - k, 0), min(column + k + 1, width)):
                if (i - row) ** 2 + (j - column) ** 2 <= reach * reach:
                    mask[i, j] = False


@njit(cache=True, nogil=True)
def _centre(
    frame: np.ndarray,
    good: np.ndarray,
    background: np.ndarray,
    row: int,
    column: int,
    sigma: float,
) -> tuple[float, float]:
    """Centroid under a Gaussian window that follows it; the start where it runs away."""
    height, width = frame.shape
    reach = int(np.ceil(3 * sigma))
    y, x = float(row), float(column)
    for _ in range(6):
        s = sy = sx = 0.0
        for i in range(max(row - reach, 0), min(row + reach + 1, height)):
            for j in range(max(column - reach, 0), min(column + reach + 1, width)):
                if good[i, j]:
                    w = np.exp(-0.5 * ((i - y) ** 2 + (j - x) ** 2) / sigma**2)
                    d = w * (frame[i, j] - background[i, j])
                    s += d
                    sy += d * (i - y)
                    sx += d * (j - x)
        if s <= 0:
            break
        # Twice: the window pulls the centroid half way back.
        y += min(max(2 * sy / s, -0.7), 0.7)
        x += min(max(2 * sx / s, -0.7), 0.7)
        if (y - row) ** 2 + (x - column) ** 2 > (1.5 * sigma) ** 2:
            return float(row), float(column)
    return y, x


@njit(cache=True, nogil=True)
def _ridge(
    response: np.ndarray, background: np.ndarray, one: float, row: int, column: int, sigma: float
) -> float:
    """Response above its surroundings along a line through it, for the worst of eight directions.

    As a share of that above the background: 1 of a spot, little of a ridge.
    """
    height, width = response.shape
    most = 0.0
    for turn in range(8):
        u = 3.5 * sigma * np.cos(np.pi * turn / 8)
        v = 3.5 * sigma * np.sin(np.pi * turn / 8)
        a, c = int(np.rint(row + u)), int(np.rint(column + v))
        d, e = int(np.rint(row - u)), int(np.rint(column - v))
        if min(a, c, d, e) < 0 or max(a, d) >= height or max(c, e) >= width:
            continue
        first = response[a, c] - one * background[a, c]
        second = response[d, e] - one * background[d, e]
        most = max(most, min(first, second))
    return 1 - most / max(response[row, column] - one * background[row, column], 1e-9)


@njit(cache=True, nogil=True)
def measure_peaks(
    frame: np.ndarray,
    good: np.ndarray,
    background: np.ndarray,
    response: np.ndarray,
    gain: np.ndarray,
    one: float,
    sigma: float,
    peaks: np.ndarray,
) -> np.ndarray:
    """What each maximum is, shape (n, 7).

    Row, column [pixel], sum above the background and its standard error [counts], significance;
    share of it that is left without the brightest pixel, which is little of a hot one; and how far
    it stands out along the worst direction, which is little of a ridge or the end of a streak.
    """
    height, width = frame.shape
    reach = int(np.ceil(3 * sigma))
    out = np.empty((len(peaks), 7))
    for p in range(len(peaks)):
        row, column = int(peaks[p, 0]), int(peaks[p, 1])
        g = gain[row // COARSE, column // COARSE]
        y, x = _centre(frame, good, background, row, column, sigma)
        t = mu = square = total = spread = 0.0
        most = most_w = most_b = 0.0
        for i in range(max(row - reach, 0), min(row + reach + 1, height)):
            for j in range(max(column - reach, 0), min(column + reach + 1, width)):
                if not good[i, j]:
                    continue
                r2 = (i - y) ** 2 + (j - x) ** 2
                w, b = np.exp(-0.5 * r2 / sigma**2), background[i, j]
                t += w * frame[i, j]
                mu += w * b
                square += w * w * b
                if r2 <= (2.5 * sigma) ** 2:
                    total += frame[i, j] - b
                    spread += frame[i, j]
                if w * frame[i, j] > most_w * most:
                    most, most_w, most_b = frame[i, j], w, b
        left = significance(
            t - most_w * most,
            max(mu - most_w * most_b, 1e-9),
            max(square - most_w**2 * most_b, 1e-9) * g,
        )
        full = significance(t, max(mu, 1e-9), max(square, 1e-9) * g)
        out[p, 0], out[p, 1], out[p, 2] = y, x, total
        out[p, 3], out[p, 4] = np.sqrt(g * max(spread, 1.0)), peaks[p, 2]
        out[p, 5] = left / max(full, 1e-9)
        out[p, 6] = _ridge(response, background, one, row, column, sigma)
    return out

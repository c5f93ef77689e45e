"""The reciprocal lattice of one spot pattern: difference vectors, triples of them, least squares.

Every spot of a pattern is a reciprocal lattice vector whose x and y are measured and whose z is
known but for the excitation error s: g_z = lambda q^2 / 2 + s, with z against the beam. In the
plane the spots are h a + k b + n c with three vectors of two components each, which the differences
between spots offer as candidates; the z components follow from the curvature of the Ewald sphere
and from how thin the slab of excitation errors is.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Two vectors of a triple enclose an angle whose sine is at least this, or they are one row.
SMALLEST_SINE = 0.15
#: Two lattices that index the same number of spots and differ less in density are the same one.
SAME_DENSITY = 0.01
#: Rounds of indexing and least squares a candidate goes through.
ROUNDS = 6
#: Rounds before the z components are trusted to tell which layer a spot belongs to.
FREE_ROUNDS = 2
#: Layers n = -6 .. 6 that are tried as long as the z components are not known.
LAYERS = 6
#: A spot is indexed within so many standard deviations of its position.
REACH = 3.5
#: No position is taken to be more accurate than this [1/angstrom].
SHARPEST = 2e-4
#: Uncertainty of the logarithm of the scale that the width of the slab gives.
SLAB_LOG_ERROR = 0.45
#: Share of the indexed spots that must obey a condition on their indices for it to be one.
CONDITION_SHARE = 0.97
#: Median of r^2 / sigma^2 of a two-dimensional normal distribution.
MEDIAN_SQUARE = 2 * np.log(2)


@njit(cache=True, nogil=True, error_model="numpy")
def difference_vectors(
    x: np.ndarray, y: np.ndarray, reach: float, width: float, n_most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors by which most pairs of spots differ, and how many pairs each has.

    Spots x and y, shape (n,), the direct beam among them; ``reach`` is the longest difference that
    counts, ``width`` the side of a bin of the histogram, of which a peak is three wide
    [1/angstrom]. Vectors, shape (at most n_most, 2), are the mean of each peak's differences, in
    the half-plane y >= 0, most frequent first.
    """
    middle = int(reach / width) + 3
    counts = np.zeros((2 * middle + 1, middle + 3), np.int32)
    for i in range(x.shape[0]):
        for j in range(i):
            dx, dy = x[i] - x[j], y[i] - y[j]
            if dy < 0:
                dx, dy = -dx, -dy
            if dx * dx + dy * dy < reach * reach:
                counts[middle + int(np.floor(dx / width)), 1 + int(dy / width)] += 1
                if dy < width:
                    # The lowest row's neighbour below, so that no peak is cut in two.
                    counts[middle + int(np.floor(-dx / width)), 0] += 1
    place, height = _peaks(counts, middle, n_most)
    label = np.full(counts.shape, -1, np.int32)
    for p in range(height.shape[0] - 1, -1, -1):
        label[place[p, 0] - 1 : place[p, 0] + 2, place[p, 1] - 1 : place[p, 1] + 2] = p
    sums = np.zeros((height.shape[0], 2))
    members = np.zeros(height.shape[0])
    for i in range(x.shape[0]):
        for j in range(i):
            dx, dy = x[i] - x[j], y[i] - y[j]
            if dy < 0:
                dx, dy = -dx, -dy
            if dx * dx + dy * dy < reach * reach:
                p = label[middle + int(np.floor(dx / width)), 1 + int(dy / width)]
                if p >= 0:
                    sums[p, 0] += dx
                    sums[p, 1] += dy
                    members[p] += 1
    for p in range(height.shape[0]):
        sums[p] /= max(members[p], 1.0)
    return sums, height


@njit(cache=True, nogil=True, error_model="numpy")
def _peaks(counts: np.ndarray, middle: int, n_most: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins around which 3 x 3 bins hold more than around any neighbour, fullest first."""
    columns, rows = counts.shape
    total = np.zeros((columns, rows), np.int32)
    for u in range(1, columns - 1):
        for v in range(1, rows - 1):
            if counts[u, v] > 0:
                around = 0
                for du in range(-1, 2):
                    for dv in range(-1, 2):
                        around += counts[u + du, v + dv]
                # A full bin in the middle decides between neighbours that see the same pairs.
                total[u, v] = 4 * around + min(counts[u, v], 3)
    place = np.zeros((n_most, 2), np.int64)
    height = np.zeros(n_most, np.int64)
    found = 0
    for u in range(2, columns - 2):
        for v in range(1, rows - 2):
            here = total[u, v]
            # A vector that two pairs share is the least that tells anything.
            if here < 8 or (found == n_most and here <= height[found - 1]):
                continue
            if abs(u - middle) <= 2 and v <= 3:
                continue
            highest = True
            for du in range(-2, 3):
                for dv in range(-2, 3):
                    if v + dv < 1:
                        continue
                    other = total[u + du, v + dv]
                    later = du > 0 or (du == 0 and dv > 0)
                    if other > here or (other == here and later):
                        highest = False
            if not highest:
                continue
            k = min(found, n_most - 1)
            while k > 0 and height[k - 1] < here:
                height[k] = height[k - 1]
                place[k] = place[k - 1]
                k -= 1
            height[k] = here
            place[k, 0], place[k, 1] = u, v
            found = min(found + 1, n_most)
    return place[:found], height[:found] // 4


@njit(cache=True, nogil=True, error_model="numpy")
def reduce_pair(pair: np.ndarray) -> None:
    """Gauss's reduction of two vectors in the plane, in place."""
    for _ in range(20):
        if pair[0, 0] ** 2 + pair[0, 1] ** 2 > pair[1, 0] ** 2 + pair[1, 1] ** 2:
            for t in range(2):
                pair[0, t], pair[1, t] = pair[1, t], pair[0, t]
        square = pair[0, 0] ** 2 + pair[0, 1] ** 2
        if square == 0:
            break
        times = np.round((pair[0, 0] * pair[1, 0] + pair[0, 1] * pair[1, 1]) / square)
        if times == 0:
            break
        pair[1, 0] -= times * pair[0, 0]
        pair[1, 1] -= times * pair[0, 1]


@njit(cache=True, nogil=True, error_model="numpy")
def find_third(basis: np.ndarray) -> tuple[int, float]:
    """Which of three vectors is not of the two of the largest area in the plane; that area."""
    best, third = -1.0, 2
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        area = abs(basis[i, 0] * basis[j, 1] - basis[i, 1] * basis[j, 0])
        if area > best:
            best, third = area, k
    return third, best


@njit(cache=True, nogil=True, error_model="numpy")
def _count_flat(
    x: np.ndarray, y: np.ndarray, triple: np.ndarray, tolerance: float
) -> tuple[int, int]:
    """Spots that a triple of plane vectors indexes, and the sum of the layers' numbers |n|."""
    (ax, ay), (bx, by), (cx, cy) = triple[0], triple[1], triple[2]
    area = ax * by - ay * bx
    count, layers = 0, 0
    for i in range(x.shape[0]):
        for order in range(2 * LAYERS + 1):
            n = (order + 1) // 2 if order % 2 else -(order // 2)
            u, v = x[i] - n * cx, y[i] - n * cy
            h, k = np.round((u * by - v * bx) / area), np.round((ax * v - ay * u) / area)
            u -= h * ax + k * bx
            v -= h * ay + k * by
            if u * u + v * v < tolerance * tolerance:
                count += 1
                layers += abs(n)
                break
    return count, layers


@njit(cache=True, nogil=True, error_model="numpy")
def best_triples(
    x: np.ndarray,
    y: np.ndarray,
    vectors: np.ndarray,
    tolerance: float,
    n_pairs: int,
    n_thirds: int,
    n_keep: int,
) -> np.ndarray:
    """The triples of difference vectors that index most spots for their density, best first.

    The gain of a triple is the logarithm of how much likelier it makes the spots than chance does:
    -log(density of its points times the area that the tolerance covers) a spot.

    Spots x and y, shape (n,), ``vectors`` of :func:`difference_vectors`, shape (m, 2), and
    tolerance [1/angstrom]; the first two of a triple are among the first ``n_pairs`` vectors, and
    ``n_thirds`` are tried as the third. Triples are of shape (at most n_keep, 3, 2), the first two
    of each reduced.
    """
    kept = np.zeros((n_keep, 3, 2))
    gains = np.full(n_keep, -np.inf)
    counts = np.zeros(n_keep, np.int64)
    areas = np.zeros(n_keep)
    triple = np.zeros((3, 2))
    disc = np.pi * tolerance * tolerance
    found = 0
    for i in range(1, min(n_pairs, vectors.shape[0])):
        for j in range(i):
            triple[0], triple[1] = vectors[i], vectors[j]
            reduce_pair(triple)
            area = abs(triple[0, 0] * triple[1, 1] - triple[0, 1] * triple[1, 0])
            lengths = np.sqrt(np.sum(triple[0] ** 2) * np.sum(triple[1] ** 2))
            if area <= SMALLEST_SINE * lengths or area < 4 * disc:
                continue
            tried = 0
            for k in range(vectors.shape[0]):
                triple[2] = vectors[k]
                if _on_grid(triple, 1.5 * tolerance):
                    continue
                tried += 1
                if tried > n_thirds:
                    break
                count, layers = _count_flat(x, y, triple, tolerance)
                # Far layers come at a price: with enough of them every spot is near some point.
                mean_layer = layers / max(count, 1)
                chance = min((1 + 4 * mean_layer) * disc / area, 1.0)
                gain = -count * np.log(chance)
                same = False
                for m in range(found):
                    if counts[m] == count and abs(areas[m] - area) < SAME_DENSITY * area:
                        same = True
                if same or (found == n_keep and gain <= gains[found - 1]):
                    continue
                m = min(found, n_keep - 1)
                while m > 0 and gains[m - 1] < gain:
                    gains[m], counts[m], areas[m] = gains[m - 1], counts[m - 1], areas[m - 1]
                    kept[m] = kept[m - 1]
                    m -= 1
                gains[m], counts[m], areas[m] = gain, count, area
                kept[m] = triple
                found = min(found + 1, n_keep)
    return kept[:found]


@njit(cache=True, nogil=True, error_model="numpy")
def _on_grid(triple: np.ndarray, tolerance: float) -> bool:
    """Whether the third vector is one of the two-dimensional lattice of the first two."""
    (ax, ay), (bx, by), (cx, cy) = triple[0], triple[1], triple[2]
    area = ax * by - ay * bx
    h, k = np.round((cx * by - cy * bx) / area), np.round((ax * cy - ay * cx) / area)
    return (cx - h * ax - k * bx) ** 2 + (cy - h * ay - k * by) ** 2 < tolerance * tolerance


@njit(cache=True, nogil=True, error_model="numpy")
def index_spots(
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    basis: np.ndarray,
    tolerance: float,
    slab: float,
    spread: float,
    hkl: np.ndarray,
) -> int:
    """Give every spot the lattice point that it lies nearest to, if one is near enough.

    Spots x and y and the Ewald sphere's height there, lambda q^2 / 2, shape (n,). Rows of
    ``basis``, shape (3, 3), are the reciprocal vectors, the first two not parallel in the plane.
    ``tolerance`` is that in the plane, ``slab`` the largest excitation error, or zero where the z
    components are not known yet, and then the layers -6 to 6 are tried; ``spread`` is the standard
    deviation of the excitation errors, which weighs them against the distance in the plane
    [1/angstrom].

    Fills in ``hkl``, int64 of shape (n, 4): indices, and 1 for a spot that has some. Returns their
    number.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = basis[0], basis[1], basis[2]
    area = ax * by - ay * bx
    # The plane through a and b has the slope (mx, my); layer n lies n * rise above it.
    mx, my = (az * by - bz * ay) / area, (bz * ax - az * bx) / area
    rise = cz - cx * mx - cy * my
    count = 0
    for i in range(x.shape[0]):
        first, last = -LAYERS, LAYERS
        if slab > 0:
            level = (height[i] - x[i] * mx - y[i] * my) / rise
            half = slab / abs(rise)
            first, last = int(np.ceil(level - half)), int(np.floor(level + half))
        best = 1.0
        hkl[i, 3] = 0
        for n in range(first, last + 1):
            u, v = x[i] - n * cx, y[i] - n * cy
            h, k = np.round((u * by - v * bx) / area), np.round((ax * v - ay * u) / area)
            u -= h * ax + k * bx
            v -= h * ay + k * by
            cost = (u * u + v * v) / (tolerance * tolerance)
            if cost >= 1:
                continue
            if slab > 0:
                error = (h * az + k * bz + n * cz - height[i]) / spread
                cost = 0.5 * cost + error * error / (2 * (slab / spread) ** 2)
            else:
                cost = 0.5 * cost + 0.5 * abs(n) / (LAYERS + 1)
            if cost < best:
                best = cost
                hkl[i, 0], hkl[i, 1], hkl[i, 2], hkl[i, 3] = int(h), int(k), n, 1
        count += hkl[i, 3]
    return count

"""The best division of a node by one feature, from what the feature's bins hold.

A bin holds a row of numbers: the weight of each class; or, of a regression, the weight and the
weighted sum of each number. Rows are filled up with zeros to a multiple of four. Of all places
between two bins the best is where

    sum_j left_j^2 / weight_left + sum_j right_j^2 / weight_right

is largest: there the Gini impurity, or the squared error, becomes smallest. What a regression's
weights add to it is the same everywhere.

Weights are whole numbers, so that all sums for classes are exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros

# All of these are inlined: they are called for every feature of every node, and a call costs as
# much as a few patterns do.


@njit(cache=True, nogil=True, inline="always")
def count_classes(
    column: np.ndarray,
    place: np.ndarray,
    code: np.ndarray,
    weight: np.ndarray,
    bins: np.ndarray,
    words: np.ndarray,
) -> None:
    """Add a node's patterns to the bins of one feature.

    Parameters
    ----------
    column : ndarray of uint8
        The feature.
    place : ndarray of int32, shape (n,)
        Where in it the patterns are.
    code : ndarray of uint8, shape (n,)
        Their classes.
    weight : ndarray of float32, shape (n,)
    bins : ndarray of float32, shape (256, width)
    words : ndarray of uint64, shape (32,)
        A byte a bin, one where it is not empty.
    """
    filled = words.view(np.uint8)
    for k in range(len(place)):
        b = np.uint64(column[place[k]])
        bins[b, np.uint64(code[k])] += weight[k]
        filled[b] = 1


@njit(cache=True, nogil=True, inline="always")
def count_numbers(
    column: np.ndarray, place: np.ndarray, amount: np.ndarray, bins: np.ndarray, words: np.ndarray
) -> None:
    """As :func:`count_classes` for a regression.

    Parameters
    ----------
    amount : ndarray of float64, shape (n, width)
        Weight and weighted numbers of each pattern.
    """
    filled = words.view(np.uint8)
    for k in range(len(place)):
        b = np.uint64(column[place[k]])
        for j in range(0, bins.shape[1], 4):
            bins[b, j] += amount[k, j]
            bins[b, j + 1] += amount[k, j + 1]
            bins[b, j + 2] += amount[k, j + 2]
            bins[b, j + 3] += amount[k, j + 3]
        filled[b] = 1


@njit(cache=True, nogil=True, inline="always")
def _take(words: np.ndarray, q: int) -> np.uint64:
    """Flags of 64 bins, a byte each, as the bits of one number; they are taken back."""
    out = np.uint64(0)
    for r in range(8):
        eight = (words[8 * q + r] * np.uint64(0x0102040810204080)) >> np.uint64(56)
        out |= eight << np.uint64(8 * r)
        words[8 * q + r] = 0
    return out


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def find_cut(
    bins: np.ndarray,
    words: np.ndarray,
    total: np.ndarray,
    weight: float,
    is_classes: bool,
    clear: bool,
    order: np.ndarray,
    sums: np.ndarray,
) -> tuple[float, int, int]:
    """Best place to divide the bins of one feature.

    Parameters
    ----------
    bins : ndarray, shape (256, width)
    words : ndarray of uint64, shape (32,)
        Those of :func:`count_classes`, zero afterwards. Empty bins are passed over.
    total : ndarray of float64, shape (width,)
        Sum of the bins.
    weight : float
        Of all patterns.
    is_classes : bool
    clear : bool
        Set the bins to zero.
    order : ndarray of int64, shape (256,)
    sums : ndarray of float64, shape (256, 3)
        To work in.

    Returns
    -------
    quality : float
        The sum above; -1 where all patterns are in one bin.
    last, first : int
        Bins on either side of the place, neither of them empty.
    """
    n = 0
    for q in range(4):
        bits = _take(words, q)
        while bits != 0:
            order[n] = 64 * q + np.int64(trailing_zeros(bits))
            bits &= bits - np.uint64(1)
            sums[n, 0] = sums[n, 1] = sums[n, 2] = 0
            n += 1
    # Squares to the left, to the right and weight to the left of the place after each bin.
    for j in range(0, len(total), 4):
        l0 = l1 = l2 = l3 = 0.0
        r0, r1, r2, r3 = total[j], total[j + 1], total[j + 2], total[j + 3]
        for m in range(n):
            b = order[m]
            h0, h1, h2, h3 = bins[b, j], bins[b, j + 1], bins[b, j + 2], bins[b, j + 3]
            if clear:
                bins[b, j] = bins[b, j + 1] = bins[b, j + 2] = bins[b, j + 3] = 0
            l0, l1, l2, l3 = l0 + h0, l1 + h1, l2 + h2, l3 + h3
            r0, r1, r2, r3 = r0 - h0, r1 - h1, r2 - h2, r3 - h3
            sums[m, 0] += (l0 * l0 + l1 * l1) + (l2 * l2 + l3 * l3)
            sums[m, 1] += (r0 * r0 + r1 * r1) + (r2 * r2 + r3 * r3)
            if is_classes:
                sums[m, 2] += (l0 + l1) + (l2 + l3)
            elif j == 0:
                sums[m, 2] = l0
    best, last, first = -1.0, -1, -1
    before, own = -1, 0.0
    for m in range(n):
        if sums[m, 2] == own:
            continue
        if before >= 0:
            quality = sums[m - 1, 0] / own + sums[m - 1, 1] / (weight - own)
            if quality > best:
                best, last, first = quality, before, order[m]
        before, own = order[m], sums[m, 2]
    return best, last, first


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def find_cut_of_few(
    column: np.ndarray,
    place: np.ndarray,
    code: np.ndarray,
    weights: np.ndarray,
    words: np.ndarray,
    total: np.ndarray,
    weight: float,
    squares_all: float,
    head: np.ndarray,
    following: np.ndarray,
    left: np.ndarray,
) -> tuple[float, int, int]:
    """As :func:`count_classes` and :func:`find_cut`, sooner where patterns are few.

    The patterns of a bin are put into a list, and what they change is a sum for all classes.

    Parameters
    ----------
    squares_all : float
        Sum of the squares of ``total``.
    head : ndarray of int32, shape (256,)
        All -1, also afterwards.
    following : ndarray of int32, shape (n,)
    left : ndarray of float64, shape (width,)
        To work in.
    """
    filled = words.view(np.uint8)
    for k in range(len(place)):
        b = np.uint64(column[place[k]])
        following[k] = head[b]
        head[b] = k
        filled[b] = 1
    for c in range(len(total)):
        left[c] = 0
    best, last, first, before = -1.0, -1, -1, -1
    own, squares, mixed = 0.0, 0.0, 0.0
    for q in range(4):
        bits = _take(words, q)
        while bits != 0:
            b = 64 * q + np.int64(trailing_zeros(bits))
            bits &= bits - np.uint64(1)
            if before >= 0:
                rest = squares_all - 2 * mixed + squares
                quality = squares / own + rest / (weight - own)
                if quality > best:
                    best, last, first = quality, before, b
            k = np.int64(head[b])
            head[b] = -1
            while k >= 0:
                c = np.uint64(code[k])
                w = np.float64(weights[k])
                squares += w * (2 * left[c] + w)
                mixed += w * total[c]
                own += w
                left[c] += w
                k = np.int64(following[k])
            before = b
    return best, last, first

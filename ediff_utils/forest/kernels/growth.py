"""A tree, grown depth first, the smaller child before the larger one.

Where nodes are large, the bins of all features are kept, and those of the larger child are the
parent's less the smaller child's. Where they are small, only bins that are not empty are looked
at. In between their columns are copied side by side, so that what is read stays in the cache.

Features come in random order, and the search ends with a division that leaves both children pure:
no other is better. A feature that is constant in a node is not looked at below it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ediff_utils.forest.kernels.splits import (
    count_classes,
    count_numbers,
    find_cut,
    find_cut_of_few,
)

#: A node of fewer patterns is not copied: its columns are read too seldom.
_COPIED = 48
#: Rounding that a division into pure children may have.
_EXACT = 1 - 1e-12


class Task(NamedTuple):
    """What a tree is grown from.

    Parameters
    ----------
    columns : ndarray of uint8, shape (n_features, n)
        Bins.
    target : ndarray of uint8, shape (n,), or of float64, shape (n, width)
        Classes; or one, the numbers of a regression, and zeros to a multiple of four.
    weights : ndarray of float32 or float64, shape (n,)
        Whole numbers.
    max_depth : int
    keep : int
        Patterns above which the bins of a node are kept.
    """

    columns: np.ndarray
    target: np.ndarray
    weights: np.ndarray
    max_depth: int
    keep: int


class Space(NamedTuple):
    """Memory to work in, for n patterns that have a weight.

    Parameters
    ----------
    row, place : ndarray of int32, shape (n,)
        The patterns, and where they are in the columns of their node; those of a node stand next
        to each other.
    spare : ndarray of int32, shape (2, n)
    code : ndarray of uint8, shape (n,)
        Classes of a node's patterns.
    amount : ndarray, shape (n,) or (n, width)
        Their weights, with the weighted numbers of a regression.
    total : ndarray of float64, shape (width,)
        Sum of what they add to bins.
    kept : ndarray, shape (slots, n_features, 256, width)
        Bins of large nodes.
    single : ndarray, shape (256, width)
        Bins of one feature, all zero.
    blocks : ndarray of uint8
        Columns of smaller nodes, in levels.
    size, offset : ndarray of int64
        How many patterns a level has room for, and where it begins; level 0 is the data itself.
    features : ndarray of int32, shape (n_features,)
        In the order they are looked at, first those that are constant in a node.
    state : ndarray of uint64, shape (1,)
        Of the random numbers.
    """

    row: np.ndarray
    place: np.ndarray
    spare: np.ndarray
    code: np.ndarray
    amount: np.ndarray
    total: np.ndarray
    kept: np.ndarray
    single: np.ndarray
    blocks: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    features: np.ndarray
    state: np.ndarray


class _Node(NamedTuple):
    """Patterns ``start`` to ``start + n`` of a space, and what is known of them."""

    start: int
    n: int
    level: int
    constant: int
    slot: int


@njit(cache=True, nogil=True, inline="always")
def _draw(state: np.ndarray, n: int) -> np.int64:
    """One of 0 .. n - 1 (xorshift, Marsaglia 2003)."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return np.int64(((x >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _columns(task: Task, space: Space, level: int) -> np.ndarray:
    """Bins of all features at a level."""
    if level == 0:
        return task.columns
    n_features, n = len(space.features), space.size[level]
    start = space.offset[level]
    return space.blocks[start : start + n_features * n].reshape(n_features, n)


@njit(cache=True, nogil=True)
def _gather(
    target: np.ndarray,
    weights: np.ndarray,
    row: np.ndarray,
    code: np.ndarray,
    amount: np.ndarray,
    total: np.ndarray,
) -> tuple[float, float, bool]:
    """What patterns add to bins and the sum of it; their weight, squares, and if all are alike."""
    total[:] = 0
    weight, squares, pure = 0.0, 0.0, True
    for k in range(len(row)):
        own = weights[row[k]]
        weight += own
        if target.ndim == 1:
            code[k] = target[row[k]]
            amount[k] = own
            total[code[k]] += own
            squares += own
            pure &= code[k] == code[0]
        else:
            for j in range(len(total)):
                value = target[row[k], j]
                amount[k, j] = own * value
                total[j] += amount[k, j]
                squares += amount[k, j] * value
                pure &= value == target[row[0], j]
    return weight, squares, pure


@njit(cache=True, nogil=True)
def _count_all(task: Task, space: Space, amount: np.ndarray, node: _Node) -> None:
    """Fill the slot of a node with the bins of all features not known to be constant."""
    words = np.empty(32, np.uint64)
    columns = _columns(task, space, node.level)
    place = space.place[node.start : node.start + node.n]
    for f in space.features[node.constant :]:
        bins = space.kept[node.slot, f]
        bins[:] = 0
        if amount.ndim == 1:
            count_classes(columns[f], place, space.code, amount, bins, words)
        else:
            count_numbers(columns[f], place, amount, bins, words)


@njit(cache=True, nogil=True, error_model="numpy")
def _search(
    task: Task, space: Space, amount: np.ndarray, node: _Node, weight: float, perfect: float
) -> tuple[int, int, int, int]:
    """Best division: feature, bins on either side, and how many features are constant now."""
    columns = _columns(task, space, node.level)
    place = space.place[node.start : node.start + node.n]
    total, following, single = space.total, space.spare[0], space.single
    squares_all = np.sum(total * total)
    words, order, sums = np.zeros(32, np.uint64), np.empty(256, np.int64), np.empty((256, 3))
    head, left = np.full(256, -1, np.int32), np.empty_like(total)
    best, best_f, best_last, best_first = -1.0, -1, -1, -1
    constant, n_features = node.constant, len(space.features)
    for j in range(constant, n_features):
        drawn = j + _draw(space.state, n_features - j)
        f = space.features[drawn]
        space.features[drawn] = space.features[j]
        space.features[j] = f
        if node.slot >= 0:
            words[:] = 0x0101010101010101
            quality, last, first = find_cut(
                space.kept[node.slot, f], words, total, weight, amount.ndim == 1, False, order, sums
            )
        elif amount.ndim == 2:
            count_numbers(columns[f], place, amount, single, words)
            quality, last, first = find_cut(single, words, total, weight, False, True, order, sums)
        else:
            quality, last, first = find_cut_of_few(
                columns[f],
                place,
                space.code,
                amount,
                words,
                total,
                weight,
                squares_all,
                head,
                following,
                left,
            )
        if last < 0:
            space.features[j] = space.features[constant]
            space.features[constant] = f
            constant += 1
        elif quality > best:
            best, best_f, best_last, best_first = quality, f, last, first
            if best >= perfect:
                break
    return best_f, best_last, best_first, constant


@njit(cache=True, nogil=True)
def _copy(task: Task, space: Space, node: _Node) -> int:
    """Copy a node's columns to the smallest level that has room for them; tells which."""
    level = node.level
    while level + 1 < len(space.size) and node.n <= space.size[level + 1]:
        level += 1
    if level > node.level and node.n >= _COPIED:
        place = space.place[node.start : node.start + node.n]
        sources, copies = _columns(task, space, node.level), _columns(task, space, level)
        for f in space.features[node.constant :]:
            source, copied = sources[f], copies[f]
            for k in range(node.n):
                copied[k] = source[place[k]]
        place[:] = np.arange(node.n)
        return level
    return node.level


@njit(cache=True, nogil=True)
def _partition(column: np.ndarray, last: int, space: Space, start: int, n: int) -> int:
    """Put patterns of the left child first, in the order that they had; tells how many."""
    n_left = n_right = 0
    row, place, spare = space.row[start : start + n], space.place[start : start + n], space.spare
    for k in range(n):
        if column[place[k]] <= last:
            row[n_left], place[n_left] = row[k], place[k]
            n_left += 1
        else:
            spare[0, n_right], spare[1, n_right] = row[k], place[k]
            n_right += 1
    row[n_left:], place[n_left:] = spare[0, :n_right], spare[1, :n_right]
    return n_left


@njit(cache=True, nogil=True)
def _subtract(task: Task, space: Space, small: _Node) -> None:
    """Fill the smaller child's slot, and leave in the one before it the larger child's bins."""
    row = space.row[small.start : small.start + small.n]
    _gather(task.target, task.weights, row, space.code, space.amount, space.total)
    _count_all(task, space, space.amount, small)
    for f in space.features[small.constant :]:
        space.kept[small.slot - 1, f] -= space.kept[small.slot, f]


@njit(cache=True, nogil=True)
def _doubled(array: np.ndarray) -> np.ndarray:
    out = np.zeros((2 * len(array), array.shape[1]), array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True, nogil=True)
def grow(task: Task, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Grow a tree.

    Parameters
    ----------
    task : Task
    space : Space

    Returns
    -------
    nodes : ndarray of int32, shape (n_nodes, 6)
        Feature (-2 in a leaf), last bin of the left child, left and right child, patterns, depth.
    sums : ndarray of float64, shape (n_nodes, 1 + width)
        Weighted sum of the squares of what a node's patterns add to bins, and what they add.
    """
    total = space.total
    nodes, sums = np.zeros((1024, 6), np.int32), np.zeros((1024, 1 + len(total)))
    n_nodes = 0
    # Depth, parent, its column for this child, and a node.
    stack = [(0, -1, -1, _Node(0, len(space.row), 0, 0, -1))]
    while stack:
        depth, parent, side, node = stack.pop()
        start, n = node.start, node.n
        if n_nodes == len(nodes):
            nodes, sums = _doubled(nodes), _doubled(sums)
        number = n_nodes
        n_nodes += 1
        if parent >= 0:
            nodes[parent, side] = number
        weight, squares, pure = _gather(
            task.target, task.weights, space.row[start : start + n], space.code, space.amount, total
        )
        nodes[number] = (-2, 0, -1, -1, n, depth)
        sums[number, 0], sums[number, 1:] = squares, total
        if pure or depth >= task.max_depth:
            continue
        level, slot = _copy(task, space, node), node.slot
        node = _Node(start, n, level, node.constant, slot)
        if number == 0 and n > task.keep:
            slot = 0
            node = _Node(start, n, level, node.constant, slot)
            _count_all(task, space, space.amount, node)
        f, last, first, constant = _search(
            task, space, space.amount, node, weight, squares * _EXACT
        )
        if f < 0:
            continue
        nodes[number, 0], nodes[number, 1] = f, (last + first) // 2
        n_left = _partition(_columns(task, space, level)[f], last, space, start, n)
        # The larger child keeps the slot; no other than the smaller one's descendants use the next.
        slots = (slot, slot + 1) if slot >= 0 and max(n_left, n - n_left) > task.keep else (-1, -1)
        small_left = n_left <= n - n_left
        left = _Node(start, n_left, level, constant, slots[int(small_left)])
        right = _Node(start + n_left, n - n_left, level, constant, slots[1 - int(small_left)])
        small, large = (left, right) if small_left else (right, left)
        if small.slot >= 0:
            _subtract(task, space, small)
        stack.append((depth + 1, number, 3 if small_left else 2, large))
        stack.append((depth + 1, number, 2 if small_left else 3, small))
    return nodes[:n_nodes].copy(), sums[:n_nodes].copy()

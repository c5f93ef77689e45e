"""The best orientation of a cell in each of many patterns, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.matching import lattice_points
from ediff_solve.phases.kernels.orienting import orient_all

#: Largest excitation error, and the spread that orientations are fitted with [1/angstrom].
SLAB, SPREAD = 0.045, 0.018
#: Strong spots have small excitation errors: power of the intensity that weighs them.
STRENGTH_POWER = 0.5
#: How far a spot may lie from its point: a length [1/angstrom] and a part of q, which covers an
#: ellipse and a cell that are not refined yet.
LOOSE, TIGHT = (0.006, 0.007), (0.005, 0.002)
#: Spots of these lengths make the pairs that orientations are tried by [1/angstrom].
SHORTEST, LONGEST = 0.1, 1.0
#: Spots whose pairs are tried, and orientations tried at most.
N_SEEDS, MOST_TRIALS = 8, 3000
#: An orientation fixes about so many spots by itself.
_FIXED = 2


@dataclass(frozen=True)
class Stack:
    """Spots of many patterns, one after the other; made by :func:`stack_patterns`.

    ``vectors`` on the Ewald sphere, shape (n, 3), and ``reach``, shape (n,), are in 1/angstrom,
    ``weights`` of excitation errors, shape (n,), in angstrom^2.
    """

    vectors: np.ndarray
    reach: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Spots of each pattern."""
        return np.diff(self.offsets)

    def part(self, pattern: int) -> slice:
        """Where a pattern's spots are."""
        return slice(int(self.offsets[pattern]), int(self.offsets[pattern + 1]))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over the spots of each pattern."""
        return np.diff(np.concatenate([[0.0], np.cumsum(values, dtype=float)])[self.offsets])


def stack_patterns(
    patterns: Sequence[np.ndarray], half: float, tolerance: tuple[float, float]
) -> Stack:
    """Spots (n, 3) of patterns, strongest first, as :func:`orient_cell` takes them.

    ``half`` of the wavelength is in angstrom; for the tolerance see :data:`LOOSE`.
    """
    flat = np.concatenate([np.empty((0, 3)), *patterns])
    offsets = np.cumsum([0, *map(len, patterns)]).astype(np.int64)
    square = (flat[:, :2] ** 2).sum(axis=1)
    tops = [p[:, 2].max(initial=0) for p in patterns]
    top = np.repeat(np.array(tops, float), np.diff(offsets))
    strength = (flat[:, 2] / np.maximum(top, np.finfo(float).tiny)) ** STRENGTH_POWER
    return Stack(
        vectors=np.column_stack([flat[:, :2], half * square]),
        reach=tolerance[0] + tolerance[1] * np.sqrt(square),
        weights=np.maximum(strength, 0.02) / SPREAD**2,
        offsets=offsets,
    )


@dataclass(frozen=True)
class Oriented:
    """A cell in many patterns.

    ``gains``, shape (patterns,), is how much likelier the spots are than by chance [logarithm];
    ``bases``, shape (patterns, 3, 3), are reciprocal ones in the patterns' frames [1/angstrom];
    ``explained``, of the spots, which have a point.
    """

    gains: np.ndarray
    bases: np.ndarray
    explained: np.ndarray


def orient_cell(
    reciprocal: np.ndarray, stack: Stack, n_seeds: int = N_SEEDS, most: int = MOST_TRIALS
) -> Oriented:
    """Orient a cell, rows of its reciprocal basis [1/angstrom], in each pattern."""
    points = lattice_points(reciprocal, LONGEST + 0.02)
    lengths = np.linalg.norm(points, axis=1)
    order = np.argsort(lengths, kind="stable")
    bases, explained, tried = orient_all(
        (np.ascontiguousarray(reciprocal), points[order], lengths[order]),
        (stack.vectors, stack.reach, stack.weights, stack.offsets),
        SLAB,
        (n_seeds, SHORTEST, LONGEST, most),
    )
    return Oriented(compute_gains(reciprocal, stack, explained, tried), bases, explained)


def compute_gains(
    reciprocal: np.ndarray, stack: Stack, explained: np.ndarray, tried: np.ndarray
) -> np.ndarray:
    """Logarithm of how much likelier k explained spots of n are than by chance; shape (patterns,).

    Chance explains a spot with the cell's volume * pi reach^2 * 2 slab. An orientation fixes two
    spots by itself, and of ``tried`` ones the best was taken, so that their logarithm goes off.
    """
    volume = 1 / abs(np.linalg.det(reciprocal))
    chance = np.minimum(volume * np.pi * stack.reach**2 * 2 * SLAB, 0.98)
    sizes = stack.sizes
    p = np.where(sizes > 0, stack.sum(chance) / np.maximum(sizes, 1), 0.5)
    k, n = stack.sum(explained) - _FIXED, sizes - _FIXED
    f = np.clip(k / np.maximum(n, 1), 1e-6, 1 - 1e-6)
    value = np.maximum(n, 0) * (f * np.log(f / p) + (1 - f) * np.log((1 - f) / (1 - p)))
    value = np.where((k < 1) | (f <= p), 0, value)
    return value - np.log(np.maximum(tried, 1)) - 1

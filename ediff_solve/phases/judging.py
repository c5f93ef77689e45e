"""What a cell explains of the patterns of all grains, and what decoys of it would.

Spots lie on rows, so that a wrong cell explains many more of them than independent spots would let
it: what chance does has to be measured, by strained cells of the same volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.phases.orienting import TIGHT, Oriented, Stack, orient_cell, stack_patterns

#: A cell explains a pattern that has so much gain; it does so clearly with this share of the spots.
PATTERN_GAIN, CLEAR = 6.0, 0.55
#: Decoys are strained at random by so much.
STRAINS = (0.08, 0.2)
#: Directions of the beam in the crystal that are two [degree].
APART = 10.0


@dataclass(frozen=True)
class View:
    """Patterns as they are looked at.

    Parameters
    ----------
    patterns : list of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of the spots that are left, strongest first.
    half : float
        Of the wavelength [angstrom].
    distortion : ndarray, shape (4,)
        Ellipse e1, e2 and centre [1/angstrom], of the whole scan; see
        :class:`ediff_solve.lattice.JointLattice`.
    """

    patterns: list[np.ndarray]
    half: float
    distortion: np.ndarray

    def straight(self) -> list[np.ndarray]:
        """The patterns without the distortion."""
        return [undistort(p, self.distortion) for p in self.patterns]

    def distorted(self, distortion: np.ndarray) -> View:
        """The same with another distortion."""
        return View(self.patterns, self.half, distortion)


@dataclass(frozen=True)
class Judged:
    """A cell's worth: ``value`` of all patterns together, beside each pattern's own."""

    reciprocal: np.ndarray
    value: float
    oriented: Oriented
    stack: Stack

    @property
    def gains(self) -> np.ndarray:
        """Of each pattern."""
        return self.oriented.gains

    @property
    def shares(self) -> np.ndarray:
        """Share of each pattern's spots that is explained."""
        return self.stack.sum(self.oriented.explained) / np.maximum(self.stack.sizes, 1)

    @property
    def clear(self) -> np.ndarray:
        """Numbers of the patterns that are explained for the most part."""
        return np.flatnonzero((self.gains > PATTERN_GAIN) & (self.shares >= CLEAR))

    def rotation(self, pattern: int) -> np.ndarray:
        """R, perhaps improper, with basis = reciprocal @ R; shape (3, 3)."""
        return find_rotation(self.reciprocal, self.oriented.bases[pattern])

    def count_directions(self, patterns: np.ndarray) -> int:
        """How many directions of the beam in the crystal's frame are seen."""
        axes: list[np.ndarray] = []
        for p in patterns:
            z = self.rotation(int(p))[:, 2]
            if all(abs(z @ a) < np.cos(np.radians(APART)) for a in axes):
                axes.append(z)
        return len(axes)


def find_rotation(reciprocal: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The orthogonal R nearest to reciprocal @ R = basis; improper where the hands differ."""
    left, _, right = np.linalg.svd(reciprocal.T @ basis)
    return left @ right


def undistort(spots: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Spots, shape (n, 3), without an ellipse and a centre; see :class:`View`."""
    e1, e2 = distortion[:2]
    stretch = np.eye(2) + np.array([[e1, e2], [e2, -e1]])
    places = (spots[:, :2] - distortion[2:]) @ np.linalg.inv(stretch).T
    return np.column_stack([places, spots[:, 2]])


def judge(reciprocal: np.ndarray, view: View, tolerance: tuple[float, float] = TIGHT) -> Judged:
    """Orient a cell in all patterns.

    Its value is what the patterns that it explains gain, each less what chance may reach, and how
    near to their points the explained spots lie: a cell that is a little wrong fills the
    tolerance, the right one does not.
    """
    stack = stack_patterns(view.straight(), view.half, tolerance)
    oriented = orient_cell(reciprocal, stack)
    value = float(np.maximum(oriented.gains - PATTERN_GAIN, 0).sum())
    judged = Judged(reciprocal, value, oriented, stack)
    ratios = [np.empty(0)]
    for p in judged.clear:
        used = np.flatnonzero(oriented.explained[stack.part(p)]) + stack.offsets[p]
        off = distances(oriented.bases[p], stack.vectors[used])[0]
        ratios.append((off / stack.reach[used]) ** 2)
    ratio = np.concatenate(ratios)
    if not len(ratio):
        return judged
    # By chance the squares are uniform between 0 and 1.
    sharp = len(ratio) * (-np.log(max(ratio.mean(), 1e-3)) - 1)
    return Judged(reciprocal, value + float(sharp), oriented, stack)


def distances(basis: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far spots lie from their points, in the plane and along the beam; shape (n,) each."""
    off = vectors - np.rint(vectors @ np.linalg.inv(basis)) @ basis
    return np.hypot(off[:, 0], off[:, 1]), np.abs(off[:, 2])


def make_decoys(reciprocal: np.ndarray, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cells of the same volume, strained at random."""
    decoys = []
    for _ in range(n):
        strain = rng.normal(size=(3, 3))
        strain += strain.T
        strain -= np.eye(3) * np.trace(strain) / 3
        strain *= rng.uniform(*STRAINS) / np.abs(np.linalg.eigvalsh(strain)).max()
        size, axes = np.linalg.eigh(strain)
        decoys.append(reciprocal @ (axes * np.exp(size)) @ axes.T)
    return decoys


@dataclass(frozen=True)
class Null:
    """What decoys gain in each pattern, shape (decoys, patterns), and all in all, (decoys,).

    ``shares``, shape (decoys, patterns), are of the spots that they explain.
    """

    gains: np.ndarray
    values: np.ndarray
    shares: np.ndarray

    def beyond(self, gains: np.ndarray) -> np.ndarray:
        """Gain of each pattern beyond that of the best decoy in it."""
        return np.maximum(gains - np.maximum(self.gains.max(axis=0), PATTERN_GAIN), 0)


def judge_decoys(reciprocal: np.ndarray, view: View, n: int, rng: np.random.Generator) -> Null:
    """Measure what chance does for a cell."""
    judged = [judge(decoy, view) for decoy in make_decoys(reciprocal, n, rng)]
    gains, shares = ([getattr(j, name) for j in judged] for name in ("gains", "shares"))
    return Null(np.array(gains), np.array([j.value for j in judged]), np.array(shares))

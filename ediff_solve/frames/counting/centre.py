"""Where q = 0 lies, from Friedel pairs pooled over frames; and a gap between a camera's chips.

Spots at q and -q have their midpoint at q = 0, whatever the crystal. Those of one frame are few,
but the midpoints of a session's frames, each counted from its own direct beam, gather at one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Most spots of a frame that pairs are made of, and scatter of their midpoints [pixel].
_MOST, SCATTER = 60, 0.7
#: Pairs above chance that make a centre credible, and so many standard deviations of chance.
_FEWEST, _ABOVE = 5.0, 4.0
#: Gaps looked for: widths [pixel], fewest frames, and gain in log likelihood that shows one.
_WIDTHS, _FRAMES, _GAIN = np.arange(0, 6.01, 0.25), 12, 6.0


@dataclass(frozen=True)
class Centre:
    """Where q = 0 lies from where the frames' beams were thought to be.

    Attributes
    ----------
    offset : ndarray, shape (2,)
        Rows and columns; zero where it is not credible [pixel].
    weight : float
        Pairs about it, less those that chance puts there.
    credible : bool
    """

    offset: np.ndarray
    weight: float
    credible: bool


@dataclass(frozen=True)
class Gap:
    """Rows and columns between a camera's chips that its file leaves out.

    Attributes
    ----------
    row, column : float
        Where: the last row and column before it, and a half [pixel].
    rows, columns : float
        How many are missing [pixel].
    """

    row: float
    column: float
    rows: float
    columns: float

    def insert(self, places: np.ndarray) -> np.ndarray:
        """Rows and columns, shape (..., 2), on a camera that has them."""
        places = np.asarray(places, float)
        beyond = places > np.array([self.row, self.column])
        return places + np.where(beyond, np.array([self.rows, self.columns]), 0.0)


def pair_midpoints(places: Sequence[np.ndarray], reach: float) -> np.ndarray:
    """Midpoints, nearer than ``reach`` to 0, of pairs of a frame's spots; shape (n, 2) [pixel].

    ``places`` are each frame's rows and columns from its beam, the most significant first.
    """
    found = [np.empty((0, 2))]
    for frame in places:
        frame = np.asarray(frame, float)[:_MOST]
        i, j = np.triu_indices(len(frame), 1)
        middles = (frame[i] + frame[j]) / 2
        found.append(middles[np.hypot(*middles.T) < reach])
    return np.concatenate(found)


def find_centre(
    places: Sequence[np.ndarray], reach: float = 6.0, scatter: float = SCATTER
) -> Centre:
    """Find q = 0 from the midpoints of Friedel pairs of all frames.

    Parameters
    ----------
    places : sequence of ndarray, shape (n, 2)
        Each frame's spots from its direct beam, rows and columns, the most significant first
        [pixel].
    reach : float
        q = 0 is nearer to the beam than this [pixel].
    scatter : float
        Of the midpoints; more where each frame's own beam is not seen [pixel].

    Returns
    -------
    Centre
    """
    # Chance is judged on a disk of twice the radius.
    middles = pair_midpoints(places, 2 * reach)
    chance = len(middles) * scatter**2 / (2 * reach**2)
    best, weight, rank = np.zeros(2), 0.0, 0.0
    starts = middles[np.hypot(*middles.T) < reach]
    if len(starts) > 300:
        starts = starts[_densest(middles, starts)]
    for at in starts:
        for _ in range(20):
            near = np.exp(-0.5 * ((middles - at) ** 2).sum(axis=1) / scatter**2)
            new = near @ middles / near.sum()
            if np.abs(new - at).max() < 1e-4:
                break
            at = new
        # Half of a reciprocal lattice's midpoints are as dense: the one nearby is the beam's.
        likely = near.sum() * np.exp(-0.5 * (at @ at) / (reach / 2) ** 2)
        if likely > rank and at @ at < reach**2:
            best, weight, rank = at, float(near.sum()), likely
    above = weight - chance
    credible = above > max(_FEWEST, _ABOVE * np.sqrt(chance))
    return Centre(best if credible else np.zeros(2), above, bool(credible))


def _densest(middles: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The hundred starts that have the most midpoints around them."""
    counts = np.array([np.sum(((middles - s) ** 2).sum(axis=1) < 1) for s in starts])
    return np.argsort(-counts, kind="stable")[:100]


def _log_likelihood(places: Sequence[np.ndarray], reach: float) -> float:
    """Of the midpoints: some gather at the best centre, the others lie anywhere."""
    found = find_centre(places, reach)
    middles = pair_midpoints(places, reach)
    if not found.credible:
        return -np.inf
    width = SCATTER / np.sqrt(2)
    square = ((middles - found.offset) ** 2).sum(axis=1)
    share = min(max(found.weight / len(middles), 0.01), 0.99)
    peak = np.exp(-0.5 * square / width**2) / (2 * np.pi * width**2)
    return float(np.log(share * peak + (1 - share) / (np.pi * reach**2)).sum())


def find_gap(
    spots: Sequence[np.ndarray], beams: Sequence[np.ndarray], shape: tuple[int, int]
) -> Gap | None:
    """Look for a gap of equal width across the middle of the camera, by Friedel pairs alone.

    Parameters
    ----------
    spots : sequence of ndarray, shape (n, 2)
        Rows and columns of each frame's spots [pixel].
    beams : sequence of ndarray, shape (2,)
        Of the direct beam [pixel].
    shape : tuple of int
        Of the frames.

    Returns
    -------
    Gap or None
        None where the frames are too few, or no gap makes the pairs clearly sharper.
    """
    if sum(len(s) > 3 for s in spots) < _FRAMES:
        return None
    row, column = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    found = []
    for width in _WIDTHS:
        gap = Gap(row, column, width, width)
        found.append(
            _log_likelihood(
                [gap.insert(s) - gap.insert(b) for s, b in zip(spots, beams, strict=True)], 6.0
            )
        )
    best = int(np.argmax(found))
    if not found[best] - found[0] > _GAIN:
        return None
    return Gap(row, column, float(_WIDTHS[best]), float(_WIDTHS[best]))

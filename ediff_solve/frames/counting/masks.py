"""Pixels that say nothing: dead and hot ones, and values that no count has."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter, rank_filter

#: Of its neighbours' counts: below this share a pixel is dead, above this many times it is hot.
_DEAD, _HOT = 0.1, 3.0
#: Electrons that a dead pixel's neighbours must count, that it is seen; standard deviations that a
#: hot one stands out by; fewest frames that tell.
_SEEN, _OUT, _FRAMES = 10.0, 6.0, 6
#: The eight neighbours of a pixel.
_BESIDE = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
#: No camera has a larger share of dead pixels.
_MOST = 0.03
#: Share of negative values, in floats, from which on they are a background that was taken off.
_NEGATIVE = 1e-3


def find_bad_pixels(frames: np.ndarray) -> np.ndarray:
    """Pixels of a series that count nothing, or far too much whatever is under them.

    Against the median of 5 x 5 pixels, so that one or two dead lines beside each other show too.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
        Some frames of a series; fewer than six tell nothing.

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    frames = np.asarray(frames)
    if len(frames) < _FRAMES:
        return np.zeros(frames.shape[1:], bool)
    frames = np.where(np.isfinite(frames) & (frames >= 0), frames, 0)
    # A spot of one frame must not make its pixels look hot.
    total = np.minimum(frames, np.percentile(frames, 99.9)).sum(axis=0, dtype=float)
    around = median_filter(total, 5)
    excess = (total - around) / np.sqrt(np.maximum(around, 1))
    spread = 1.4826 * float(np.median(np.abs(excess - np.median(excess))))
    # Where most pixels are 0 their spread is none: what one electron counts tells.
    some = total > 0
    scatter = frames.var(axis=0)[some] / frames.mean(axis=0)[some]
    gain = float(np.median(scatter)) if scatter.size else 0.0
    spread = max(spread, np.sqrt(gain), 1e-9)
    dead = (total < _DEAD * around) & (around > _SEEN * spread**2)
    if dead.mean() > _MOST:
        # Where zeros are so many, they are no dead pixels: noise was suppressed.
        dead[:] = False
    # Bright in most frames, and alone: a spot that never moves is none, nor is the beam.
    middle = np.median(frames, axis=0)
    beside = rank_filter(middle, rank=-3, footprint=_BESIDE, mode="mirror")
    hot = (excess > _OUT * spread) & (middle > _HOT * np.maximum(beside, around / len(frames)))
    return dead | hot


def find_pedestal(frames: np.ndarray) -> float:
    """What to add to floats below zero that some background was taken off; 0 as a rule [counts].

    Negative whole numbers, of which there are few different ones, mark pixels that say nothing.
    """
    if np.asarray(frames).dtype.kind != "f":
        return 0.0
    low = frames[frames < 0]
    if low.size < _NEGATIVE * frames.size or len(np.unique(low[:1000])) <= 10:
        return 0.0
    return float(-np.percentile(frames[np.isfinite(frames)], 0.1))

"""Hot pixels, centres, ellipse and pixel size of detector frames.

Arrays in, arrays out, in pixels; rows are x and columns y. Nothing is guessed: what no ring and no
user tells is missing, and said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter, rank_filter

from ediff_utils.errors import UserError

#: How far a hot pixel's excess is above the spread of its like, in standard deviations.
_HOT = 8.0
#: A real spot is blurred: a pixel is hot where it is above its third-brightest neighbour by this
#: share of it too.
_HOT_SHARE = 0.5


def compute_hot_pixels(mean: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Pixels that are bright whatever is under them.

    Parameters
    ----------
    mean, median : ndarray, shape (height, width)
        Over frames; the median may be of fewer. A pixel must stand out in both: a lone cosmic ray
        is in the mean alone.

    Returns
    -------
    ndarray of bool, shape (height, width)

    Notes
    -----
    A pixel stands out by the difference to the third-brightest of its eight neighbours, so that
    two hot pixels beside each other do not hide each other, against the spread of that difference
    among pixels of its background: its median absolute deviation, scaled with the square root of
    the background as counts are.
    """
    hot = np.ones(np.shape(mean), bool)
    around = np.ones((3, 3), bool)
    around[1, 1] = False
    for image in (np.asarray(mean, float), np.asarray(median, float)):
        third = rank_filter(image, rank=-3, footprint=around, mode="mirror")
        level = np.sqrt(np.maximum(median_filter(image, 7), 0) + 1e-3 * max(image.mean(), 1e-30))
        excess = (image - third) / level
        spread = 1.4826 * np.median(np.abs(excess - np.median(excess)))
        high = excess > np.median(excess) + _HOT * max(spread, 1e-12)
        hot &= high & (image - third > _HOT_SHARE * np.abs(third))
    return hot


def replace_pixels(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Frames whose masked pixels are the median of their neighbours.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray, shape (n, height, width)
        A copy of the same type, unless nothing is masked. Neighbours are the eight around it that
        are not masked, of a larger square where there are none.

    Raises
    ------
    UserError
        The mask does not fit, or masks everything.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != frames.shape[-2:]:
        raise UserError(f"mask: expected shape {frames.shape[-2:]}, got {mask.shape}")
    if not mask.any():
        return frames
    if mask.all():
        raise UserError("mask: every pixel is masked; expected some that are not")
    out = frames.copy()
    for i, j in np.argwhere(mask):
        reach = 1
        while True:
            part = (
                slice(max(i - reach, 0), i + reach + 1),
                slice(max(j - reach, 0), j + reach + 1),
            )
            if not mask[part].all():
                break
            reach += 1
        good = frames[(slice(None), *part)][:, ~mask[part]]
        out[:, i, j] = np.median(good, axis=1)
    return out

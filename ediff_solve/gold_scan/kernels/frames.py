"""Detector frames: disks at any sub-pixel position, a round background, counted electrons.

Random numbers are those of :mod:`ediff_solve.detector.kernels.effects`: they hang on a frame's
state and the pixel alone, so that blocks and threads may share out a scan as they like.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ediff_solve.detector.kernels.effects import draw_poisson, open_stream

#: The stream of a frame's counts.
_FRAME_COUNTS = 64
#: What a pixel of 16 bits holds at most.
_FULL = 65535.0


@njit(cache=True, nogil=True)
def _paint_disk(
    frame: np.ndarray, row: float, column: float, electrons: float, template: np.ndarray
) -> None:
    """Add a disk to a frame's expected electrons; the centre of pixel (0, 0) is at (0, 0).

    The template's images between two positions are mixed linearly, which keeps the disk's sum and
    its centre of mass exact. ``electrons`` is that sum, the part beyond the frame included.
    """
    phases, half = template.shape[0] - 1, template.shape[2] // 2
    top, left = int(np.floor(row)), int(np.floor(column))
    down, across = (row - top) * phases, (column - left) * phases
    a, b = min(int(down), phases - 1), min(int(across), phases - 1)
    down, across = down - a, across - b
    w00 = electrons * (1 - down) * (1 - across)
    w01 = electrons * (1 - down) * across
    w10 = electrons * down * (1 - across)
    w11 = electrons * down * across
    for i in range(max(0, half - top), min(2 * half + 1, frame.shape[0] + half - top)):
        for j in range(max(0, half - left), min(2 * half + 1, frame.shape[1] + half - left)):
            frame[i + top - half, j + left - half] += (
                w00 * template[a, b, i, j]
                + w01 * template[a, b + 1, i, j]
                + w10 * template[a + 1, b, i, j]
                + w11 * template[a + 1, b + 1, i, j]
            )


@njit(cache=True, nogil=True)
def _add_background(
    frame: np.ndarray,
    row: float,
    column: float,
    inverse: np.ndarray,
    profile: np.ndarray,
    spacing: float,
) -> None:
    """Add to a frame's expected electrons what depends on |q| alone, that from row and column."""
    last = len(profile) - 1
    for i in range(frame.shape[0]):
        for j in range(frame.shape[1]):
            x = inverse[0, 0] * (i - row) + inverse[0, 1] * (j - column)
            y = inverse[1, 0] * (i - row) + inverse[1, 1] * (j - column)
            place = min(np.sqrt(x * x + y * y) / spacing, last - 1e-9)
            k = int(place)
            frame[i, j] += profile[k] + (place - k) * (profile[k + 1] - profile[k])


@njit(cache=True, nogil=True)
def _count_electrons(frame: np.ndarray, state: np.uint64, counts: np.ndarray) -> None:
    """Draw a Poisson number for each pixel into counts; what is too much for 16 bits is cut."""
    stream = open_stream(state, _FRAME_COUNTS)
    n_columns = frame.shape[1]
    for i in range(frame.shape[0]):
        for j in range(n_columns):
            drawn = draw_poisson(stream, i * n_columns + j, frame[i, j])
            counts[i, j] = np.uint16(min(drawn, _FULL))


@njit(cache=True, nogil=True)
def paint_frames(
    out: np.ndarray,
    states: np.ndarray,
    centres: np.ndarray,
    matrix: np.ndarray,
    inverse: np.ndarray,
    spots: tuple[np.ndarray, ...],
    direct: np.ndarray,
    shares: np.ndarray,
    profiles: np.ndarray,
    spacing: float,
    spot_template: np.ndarray,
    direct_template: np.ndarray,
    hot: np.ndarray,
    hot_counts: np.ndarray,
) -> None:
    """Make counted frames.

    Parameters
    ----------
    out : ndarray of uint16, shape (n, rows, columns)
        Overwritten.
    states : ndarray of uint64, shape (n,)
        What each frame's random numbers hang on.
    centres : ndarray, shape (n, 2)
        Row and column of the direct beam [pixels].
    matrix, inverse : ndarray, shape (2, 2)
        From q in the scan's axes to pixels, and back.
    spots : tuple of ndarray
        Offsets, shape (n + 1,), qx, qy [1/angstrom] and expected electrons of each frame's spots.
    direct : ndarray, shape (n,)
        Electrons of the direct beam.
    shares : ndarray, shape (n, k)
        Electrons of each background.
    profiles : ndarray, shape (k, m)
        Its electrons a pixel at |q| = 0, spacing, 2 spacing ..., for one electron; the last one
        stands for all beyond.
    spacing : float
        [1/angstrom]
    spot_template, direct_template : ndarray, shape (k + 1, k + 1, 2 w + 1, 2 w + 1)
        Entry [a, b] is a disk of sum 1 at (w + a / k, w + b / k).
    hot : ndarray of int, shape (h, 2)
        Rows and columns of the hot pixels.
    hot_counts : ndarray, shape (h,)
        What they count on average without electrons.
    """
    offsets, qx, qy, electrons = spots
    frame = np.empty(out.shape[1:])
    profile = np.empty(profiles.shape[1])
    for n in range(len(out)):
        row, column = centres[n]
        frame[:] = 0.0
        profile[:] = 0.0
        for k in range(len(profiles)):
            profile += shares[n, k] * profiles[k]
        _add_background(frame, row, column, inverse, profile, spacing)
        for s in range(offsets[n], offsets[n + 1]):
            down = matrix[0, 0] * qx[s] + matrix[0, 1] * qy[s]
            across = matrix[1, 0] * qx[s] + matrix[1, 1] * qy[s]
            _paint_disk(frame, row + down, column + across, electrons[s], spot_template)
        _paint_disk(frame, row, column, direct[n], direct_template)
        for h in range(len(hot)):
            frame[hot[h, 0], hot[h, 1]] += hot_counts[h]
        _count_electrons(frame, states[n], out[n])

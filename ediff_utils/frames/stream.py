"""A whole scan from frames on disk to Bragg lists, in blocks: memory stays bounded.

frames = open_frames("scan.hspy")
looks = compute_looks(frames, settings)
origins = fit_descan(find_origins(frames, looks))
calibration = compute_calibration(origins, pixel_size=frames.pixel_size)
lists = detect_scan(frames, looks, calibration)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ediff_utils.bragg import (
    DIRECT_BEAM_RADIUS,
    BraggLists,
    build_bragg_lists,
    drop_direct_beam,
)
from ediff_utils.errors import UserError
from ediff_utils.frames.calibrate import (
    Calibration,
    compute_beam,
    compute_hot_pixels,
    compute_origins,
    replace_pixels,
)
from ediff_utils.frames.detect import (
    DetectionSettings,
    DiskDetector,
    compute_detector,
    compute_noise,
    detect_spots,
)
from ediff_utils.frames.reading import BLOCK_BYTES, Frames
from ediff_utils.progress import tqdm

#: Bytes of the frames that the median and the noise are taken of, and most such frames.
_SAMPLE_BYTES, _SAMPLED = 2**27, 200


@dataclass(frozen=True)
class Looks:
    """What frames of a scan look like, from a sample of them; made by :func:`compute_looks`.

    Attributes
    ----------
    mean : ndarray, shape (height, width)
        Over the sample, hot pixels replaced.
    hot : ndarray of bool, shape (height, width)
    detector : DiskDetector
    """

    mean: np.ndarray
    hot: np.ndarray
    detector: DiskDetector


def compute_looks(
    frames: Frames, settings: DetectionSettings, template: np.ndarray | None = None
) -> Looks:
    """Hot pixels, mean frame and noise from up to 200 frames, evenly spread over the scan.

    Parameters
    ----------
    frames : Frames
    settings : DetectionSettings
    template : ndarray, shape (height, width), optional
        See :func:`ediff_utils.frames.disks.compute_profile`.

    Returns
    -------
    Looks
    """
    size = math.prod(frames.detector_shape) * frames.data.dtype.itemsize
    sample = frames.sample(int(np.clip(_SAMPLE_BYTES // size, 1, _SAMPLED)))
    hot = compute_hot_pixels(sample.mean(axis=0), np.median(sample, axis=0))
    sample = replace_pixels(sample, hot)
    some = sample[:: max(1, len(sample) // 20)]
    detector = compute_detector(settings, compute_noise(some, settings), template)
    return Looks(sample.mean(axis=0), hot, detector)


def _clean_blocks(
    frames: Frames, looks: Looks, block_bytes: int, title: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with tqdm(total=math.prod(frames.scan_shape), desc=title, unit="frames") as bar:
        for numbers, block in frames.blocks(block_bytes):
            yield numbers, replace_pixels(block, looks.hot)
            bar.update(len(numbers))


def find_origins(
    frames: Frames,
    looks: Looks,
    *,
    guess: tuple[float, float] | None = None,
    search: float = 15.0,
    block_bytes: int = BLOCK_BYTES,
) -> np.ndarray:
    """Where the direct beam is at every probe position.

    Parameters
    ----------
    frames : Frames
    looks : Looks
    guess : tuple of float, optional
        About where it is, row and column; by default the strongest disk of the mean [pixel].
    search : float
        How far from there it may be [pixel].
    block_bytes : int
        See :meth:`Frames.blocks`.

    Returns
    -------
    ndarray, shape (nx, ny, 2)
        Row and column, NaN where it was not found [pixel].

    Raises
    ------
    UserError
        No direct beam in the mean frame.
    """
    guess = guess or compute_beam(looks.mean, looks.detector)
    origins = np.full((math.prod(frames.scan_shape), 2), np.nan)
    for numbers, block in _clean_blocks(frames, looks, block_bytes, "origins"):
        origins[numbers] = compute_origins(block, looks.detector, guess, search)
    return origins.reshape(*frames.scan_shape, 2)


def detect_scan(
    frames: Frames,
    looks: Looks,
    calibration: Calibration,
    *,
    direct_beam_radius: float | None = None,
    threads: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> BraggLists:
    """Find the spots of a whole scan.

    Parameters
    ----------
    frames : Frames
    looks : Looks
    calibration : Calibration
    direct_beam_radius : float, optional
        Spots so near to the origin are the direct beam [1/angstrom]; by default the least
        distance of two spots, and 0.02 at least.
    threads : int, optional
        One a core by default.
    block_bytes : int
        See :meth:`Frames.blocks`; memory is some six times that and the lists themselves.

    Returns
    -------
    BraggLists
        Without the direct beam; intensities in counts above the background.

    Raises
    ------
    UserError
        The calibration is of another scan, frames cannot be read, or no spot is found.
    """
    if calibration.origins.shape[:2] != frames.scan_shape:
        raise UserError(
            f"calibration: origins for a scan of {calibration.origins.shape[:2]}, "
            f"expected {frames.scan_shape}"
        )
    if direct_beam_radius is None:
        own = looks.detector.spacing * calibration.pixel_size
        direct_beam_radius = max(DIRECT_BEAM_RADIUS, own)
    found, owners = [np.empty((0, 3))], [np.empty(0, np.int64)]
    for numbers, block in _clean_blocks(frames, looks, block_bytes, "spots"):
        spots, offsets = detect_spots(block, looks.detector, threads)
        owners.append(np.repeat(numbers, np.diff(offsets)))
        found.append(spots[:, :3].copy())
    spots, owner = np.concatenate(found), np.concatenate(owners)
    qx, qy = calibration.apply(spots[:, 0], spots[:, 1], owner)
    x, y = np.divmod(owner, frames.scan_shape[1])
    where = f"{frames.path}: "
    lists = build_bragg_lists(x, y, qx, qy, spots[:, 2], shape=frames.scan_shape, where=where)
    lists = drop_direct_beam(lists, direct_beam_radius)
    if len(lists) == 0:
        raise UserError(f"{where}no spots besides the direct beam")
    return lists

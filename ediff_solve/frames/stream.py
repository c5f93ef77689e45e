"""A whole scan from frames on disk to Bragg lists, in blocks: memory stays bounded.

frames = open_frames("scan.hspy")
looks = compute_looks(frames)
detected = detect_scan(frames, looks)
calibration, ring = calibrate_scan(detected, pixel_size=frames.pixel_size)
lists = build_lists(detected, calibration)

Every frame is read once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ediff_solve.frames.bragg import DIRECT_BEAM_RADIUS, build_checked_lists
from ediff_solve.frames.calibrate import (
    Calibration,
    choose_origins,
    compute_beam,
    compute_calibration,
    compute_disk_radius,
    compute_hot_pixels,
    fit_descan,
    replace_pixels,
)
from ediff_solve.frames.detect import (
    DetectionSettings,
    DiskDetector,
    compute_detector,
    detect_spots,
)
from ediff_solve.frames.kernels.dark_field import ring_sums
from ediff_solve.frames.noise import compute_noise, compute_offset
from ediff_solve.frames.reading import BLOCK_BYTES, Frames
from ediff_solve.frames.rings import Ring, fit_ring
from ediff_utils.core.errors import UserError
from ediff_utils.core.progress import tqdm
from ediff_utils.paper.scan.bragg import BraggLists

#: Bytes of the frames that the median and the noise are taken of, most such frames, and those that
#: noise and disk radius are measured on.
_SAMPLE_BYTES, _SAMPLED, _MEASURED = 2**27, 200, 20
#: Largest share of a sample's pixels that may be at the detector's ceiling: a direct beam's.
MAX_SATURATED = 0.01
#: Ceilings of detectors, beside that of the type of number.
_CEILINGS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 15, 16))
#: The direct beam is within this share of the frame's side of its place in the mean.
_SEARCH = 1 / 16
#: Dark-field ring, as shares of half the frame's smaller side.
DARK_FIELD = (0.2, 0.8)
#: Other rings are at least so far from a known one, as a share of its radius.
_RING_WIDTH = 0.07
#: Order of the surface that the descan is: the beam wanders, but smoothly.
DESCAN_ORDER = 2


@dataclass(frozen=True)
class Looks:
    """What frames of a scan look like, from a sample of them; made by :func:`compute_looks`.

    Attributes
    ----------
    mean : ndarray, shape (height, width)
        Over the sample, hot pixels replaced.
    hot : ndarray of bool, shape (height, width)
    settings : DetectionSettings
    detector : DiskDetector
    beam : tuple of float
        Row and column of the direct beam in the mean [pixel].
    saturated : float
        Share of the sample's pixels at the detector's ceiling.
    """

    mean: np.ndarray
    hot: np.ndarray
    settings: DetectionSettings
    detector: DiskDetector
    beam: tuple[float, float]
    saturated: float


@dataclass(frozen=True)
class Detected:
    """Spots of a scan in pixels, the direct beam among them; made by :func:`detect_scan`.

    Attributes
    ----------
    path : str
        Of the frames.
    position : ndarray of int64, shape (n_spots,)
        x * ny + y of each.
    x, y : ndarray, shape (n_spots,)
        Row and column on the detector [pixel].
    intensity : ndarray, shape (n_spots,)
        Counts above the background.
    origins : ndarray, shape (nx, ny, 2)
        Row and column of the direct beam, NaN where it was not found [pixel].
    dark_field : ndarray, shape (nx, ny)
        Counts on a ring about the direct beam.
    spacing : float
        Least distance of two spots [pixel].
    """

    path: str
    position: np.ndarray
    x: np.ndarray
    y: np.ndarray
    intensity: np.ndarray
    origins: np.ndarray
    dark_field: np.ndarray
    spacing: float

    @property
    def shape(self) -> tuple[int, int]:
        """Probe positions along x and y."""
        nx, ny = self.origins.shape[:2]
        return nx, ny


def compute_looks(
    frames: Frames, settings: DetectionSettings | None = None, template: np.ndarray | None = None
) -> Looks:
    """Hot pixels, mean frame, noise and disks from up to 200 frames, evenly spread over the scan.

    Parameters
    ----------
    frames : Frames
    settings : DetectionSettings, optional
        By default the disks' radius is measured on the direct beam.
    template : ndarray, shape (height, width), optional
        See :func:`ediff_solve.frames.disks.compute_profile`.

    Raises
    ------
    UserError
        Values that are not finite, saturated frames, no direct beam.
    """
    where = f"{frames.path}: "
    size = math.prod(frames.detector_shape) * frames.data.dtype.itemsize
    sample = frames.sample(int(np.clip(_SAMPLE_BYTES // size, 1, _SAMPLED)))
    if not np.isfinite(sample.sum(dtype=float)):
        raise UserError(f"{where}a value is not finite (NaN or infinity); expected counts")
    saturated = _saturation(sample)
    if saturated > MAX_SATURATED:
        raise UserError(
            f"{where}saturated: {saturated:.0%} of the pixels are at the detector's ceiling of "
            f"{sample.max():g}; expected at most {MAX_SATURATED:.0%}"
        )
    hot = compute_hot_pixels(sample.mean(axis=0), np.median(sample, axis=0))
    sample = replace_pixels(sample, hot)
    some = sample[:: max(1, len(sample) // _MEASURED)]
    try:
        if settings is None:
            settings = DetectionSettings(radius=compute_disk_radius(some))
        rough = compute_detector(settings, compute_noise(some, settings), template)
        beam = compute_beam(sample.mean(axis=0), rough)
        offset = compute_offset(some, settings, beam)
        noise = compute_noise(some, settings, offset)
        detector = compute_detector(settings, noise, template, offset)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    return Looks(sample.mean(axis=0), hot, settings, detector, beam, saturated)


def _saturation(sample: np.ndarray) -> float:
    """Share of the pixels at the ceiling, where the largest value is one."""
    if sample.dtype.kind not in "iu":
        return 0.0
    largest = int(sample.max())
    if largest != np.iinfo(sample.dtype).max and largest not in _CEILINGS:
        return 0.0
    return float(np.mean(sample == largest))


def _clean_blocks(
    frames: Frames, looks: Looks, block_bytes: int, title: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with tqdm(total=math.prod(frames.scan_shape), desc=title, unit="frames") as bar:
        for numbers, block in frames.blocks(block_bytes):
            yield numbers, replace_pixels(block, looks.hot)
            bar.update(len(numbers))


def detect_scan(
    frames: Frames,
    looks: Looks,
    *,
    dark_field: tuple[float, float] | None = None,
    search: float | None = None,
    threads: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Detected:
    """Find the spots of a whole scan, its direct beam, and its virtual dark field.

    Parameters
    ----------
    frames : Frames
    looks : Looks
    dark_field : tuple of float, optional
        Radii of the dark field's ring [pixel]; by default :data:`DARK_FIELD` of half the frame.
    search : float, optional
        The direct beam is the strongest spot so near to ``looks.beam`` [pixel]; by default a
        sixteenth of the frame's smaller side.
    threads : int, optional
        One a core by default.
    block_bytes : int
        See :meth:`Frames.blocks`; memory is some six times that and the spots themselves.

    Returns
    -------
    Detected

    Raises
    ------
    UserError
        Frames cannot be read, or a value is not finite.
    """
    small = min(frames.detector_shape)
    inner, outer = dark_field or (share * small / 2 for share in DARK_FIELD)
    search = search or max(_SEARCH * small, looks.settings.radius + 2)
    n = math.prod(frames.scan_shape)
    origins, sums = np.full((n, 2), np.nan), np.zeros(n)
    found, owners = [np.empty((0, 3))], [np.empty(0, np.int64)]
    for numbers, block in _clean_blocks(frames, looks, block_bytes, "spots"):
        try:
            spots, offsets = detect_spots(block, looks.detector, threads)
        except UserError as error:
            raise UserError(f"{frames.path}: {error}") from None
        origins[numbers] = choose_origins(spots, offsets, looks.beam, search)
        centres = np.where(np.isnan(origins[numbers]), looks.beam, origins[numbers])
        sums[numbers] = _sum_rings(block, centres, inner, outer, threads)
        owners.append(np.repeat(numbers, np.diff(offsets)))
        found.append(spots[:, :3].copy())
    x, y, intensity = np.concatenate(found).T
    return Detected(
        path=str(frames.path),
        position=np.concatenate(owners),
        x=x,
        y=y,
        intensity=intensity,
        origins=origins.reshape(*frames.scan_shape, 2),
        dark_field=sums.reshape(frames.scan_shape),
        spacing=looks.detector.spacing,
    )


def _sum_rings(
    block: np.ndarray, centres: np.ndarray, inner: float, outer: float, threads: int | None
) -> np.ndarray:
    """The dark field of a block of frames."""

    def sum_part(part: np.ndarray) -> np.ndarray:
        frames = np.ascontiguousarray(block[part[0] : part[-1] + 1], np.float32)
        return ring_sums(frames, centres[part], inner, outer)

    parts = np.array_split(np.arange(len(block)), max(1, len(block) // 16))
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(sum_part, parts)))


def calibrate_scan(
    detected: Detected,
    *,
    pixel_size: float | None = None,
    ring_radius: float | None = None,
    ring_window: tuple[float, float] | None = None,
    rotation: float = 0.0,
    order: int = DESCAN_ORDER,
) -> tuple[Calibration, Ring | None]:
    """Origin and descan, ellipse and pixel size of a scan, from its spots.

    Parameters
    ----------
    detected : Detected
    pixel_size : float, optional
        The file's or the user's [1/angstrom]. With a ring only where the ring is looked for.
    ring_radius : float, optional
        1 / spacing of a ring that the sample is known to have [1/angstrom].
    ring_window : tuple of float, optional
        Radii between which it is, and no other [pixel]; by default 7 % about where ``pixel_size``
        has it.
    rotation : float
        See :class:`ediff_solve.frames.calibrate.Calibration` [degree].
    order : int
        See :func:`ediff_solve.frames.calibrate.fit_descan`.

    Returns
    -------
    Calibration
    Ring or None
        None where no ring is known.

    Raises
    ------
    UserError
        The direct beam or the ring is not found, or the pixel size is missing: it is not guessed.
    """
    try:
        origins = fit_descan(detected.origins, order)
        ring = None
        if ring_radius is not None:
            if ring_window is None:
                ring_window = _find_window(ring_radius, pixel_size)
            centre = origins.reshape(-1, 2)[detected.position]
            off = detected.x - centre[:, 0], detected.y - centre[:, 1]
            ring = fit_ring(*off, *ring_window)
        calibration = compute_calibration(
            origins, pixel_size=pixel_size, ring=ring, ring_radius=ring_radius, rotation=rotation
        )
    except UserError as error:
        raise UserError(f"{detected.path}: {error}") from None
    return calibration, ring


def _find_window(ring_radius: float, pixel_size: float | None) -> tuple[float, float]:
    if pixel_size is None:
        raise UserError(
            "pixel_size: the file has none in units that are known, to look for the ring with; "
            "give it in 1/angstrom, or ring_window, the radii in pixels that the ring lies between"
        )
    middle = ring_radius / pixel_size
    return (1 - _RING_WIDTH) * middle, (1 + _RING_WIDTH) * middle


def build_lists(
    detected: Detected, calibration: Calibration, direct_beam_radius: float | None = None
) -> BraggLists:
    """Spots in pixels to Bragg lists in reciprocal space.

    Parameters
    ----------
    detected : Detected
    calibration : Calibration
    direct_beam_radius : float, optional
        Spots so near to the origin are the direct beam [1/angstrom]; by default the least distance
        of two spots, and 0.02 at least.

    Returns
    -------
    BraggLists
        Without the direct beam; intensities in counts above the background.

    Raises
    ------
    UserError
        The calibration is of another scan, or no spot is found.
    """
    where = f"{detected.path}: "
    if calibration.origins.shape[:2] != detected.shape:
        raise UserError(
            f"{where}calibration: origins for a scan of {calibration.origins.shape[:2]}, "
            f"expected {detected.shape}"
        )
    if direct_beam_radius is None:
        own = detected.spacing * calibration.pixel_size
        direct_beam_radius = max(DIRECT_BEAM_RADIUS, own)
    spots = *calibration.apply(detected.x, detected.y, detected.position), detected.intensity
    x, y = np.divmod(detected.position, detected.shape[1])
    return build_checked_lists(
        x, y, *spots, shape=detected.shape, radius=direct_beam_radius, where=where
    )

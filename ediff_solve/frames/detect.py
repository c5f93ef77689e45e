"""Bragg disks of small convergence angles in detector frames, many frames a second.

Arrays in, arrays out, all in pixels; rows are x and columns y. What the kernels do with a frame
stands in :mod:`ediff_solve.frames.kernels.spots`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ediff_solve.frames.disks import compute_bank, compute_profile
from ediff_solve.frames.kernels import spots as kernels
from ediff_solve.frames.kernels.band_pass import band_pass
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Settings

#: Narrow Gaussian of the band-pass over one of the disk's second moment, and wide over narrow. A
#: disk on white noise then has 92 to 95 % of the best filter's signal to noise.
_NARROW, _WIDE = 1.2, 2.5
#: Gaussians end after so many standard deviations.
_CUT = 3.0
#: Frames that one call of the kernel works on.
_CHUNK = 16


class DetectionSettings(Settings):
    """What a Bragg disk is on this detector, and how sure one must be of it."""

    radius: float = Field(gt=0, le=30, description="of the disks: convergence angle [pixel]")
    # A fibre-coupled camera's point spread. Direct detectors have less.
    blur: float = Field(
        0.7, ge=0, le=10, description="standard deviation of the point spread [pixel]"
    )
    # Of Poisson noise alone, about one spot in five frames of 128 x 128 pixels and radius 3.
    threshold: float = Field(
        4.5, gt=0, le=1000, description="least response to a disk, in standard deviations of noise"
    )
    spacing: float | None = Field(
        None, gt=0, description="least distance of two spots [pixel]; None: radius + 2 blur + 1"
    )
    edge: int | None = Field(
        None, ge=1, description="no spots so close to the edge [pixel]; None: the disk's radius"
    )
    max_spots: int = Field(1000, ge=1, description="the strongest so many of a frame are kept")
    gain: float | None = Field(
        None, ge=0, description="detector counts an electron; None: measured, as is read_noise"
    )
    read_noise: float | None = Field(
        None, ge=0, description="standard deviation without electrons [counts]; None: measured"
    )

    def model_post_init(self, _context: object) -> None:
        """Check what a field alone cannot."""
        if (self.gain is None) != (self.read_noise is None):
            raise UserError("gain, read_noise: expected both, or neither to have them measured")
        if self.gain == 0 and self.read_noise == 0:
            raise UserError("gain, read_noise: expected one of them above 0")


@dataclass(frozen=True)
class DiskDetector:
    """Settings turned into what the kernels need; made by :func:`compute_detector`.

    Attributes
    ----------
    narrow, wide : ndarray of float32
        Halves of one-dimensional Gaussians.
    bank : ndarray of float32, shape (shifts, shifts, 3, width * width)
        The disk on a window of odd width, and its derivatives by the shift along rows and columns.
        The shifts are (k + 1/2) / shifts - 1/2, k from 0.
    unit : float
        Response in the middle of a disk of amplitude 1.
    noise : ndarray, shape (2,)
        Variance of the response: noise[0] + noise[1] * background [counts^2].
    offset : ndarray of float32, shape (height, width)
        See :func:`ediff_solve.frames.noise.compute_offset`; shape (0, 0) where nothing is taken
        off [counts].
    variance : ndarray, shape (2,)
        A pixel's variance is variance[0] + variance[1] * expected value.
    radii : ndarray, shape (3,)
        Aperture, and inner and outer radius of the ring for the background [pixel].
    threshold, spacing, edge, max_spots
        See :class:`DetectionSettings`.
    """

    narrow: np.ndarray
    wide: np.ndarray
    bank: np.ndarray
    unit: float
    noise: np.ndarray
    offset: np.ndarray
    variance: np.ndarray
    radii: np.ndarray
    threshold: float
    spacing: float
    edge: int
    max_spots: int


def _half_gaussian(sigma: float) -> np.ndarray:
    reach = 2 * int(np.ceil(_CUT * sigma / 2))
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    return (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32)


def compute_band(settings: DetectionSettings) -> tuple[np.ndarray, np.ndarray, float]:
    """Filters of the band-pass, and the variance of its response to white noise of variance 1.

    Narrow and wide are float32 of shape (reach + 1,), from the middle outwards. A flat disk that is
    blurred has the second moment radius^2 / 4 + blur^2 along each axis.
    """
    sigma = max(_NARROW * np.hypot(settings.radius / 2, settings.blur), 0.8)
    # Halving the frame and doubling it again blur by 1/2 pixel^2 together.
    wide_sigma = np.sqrt(max((_WIDE * sigma) ** 2 - 0.5, 1)) / 2
    narrow, wide = _half_gaussian(sigma), _half_gaussian(wide_sigma)
    impulse = np.zeros((8 * len(wide),) * 2, np.float32)
    impulse[4 * len(wide), 4 * len(wide)] = 1
    response, _ = band_pass(impulse, narrow, wide)
    return narrow, wide, float(np.sum(response.astype(float) ** 2))


def find_spacing(settings: DetectionSettings) -> float:
    """Least distance of two spots [pixel]."""
    return settings.spacing or settings.radius + 2 * settings.blur + 1


def compute_detector(
    settings: DetectionSettings,
    noise: np.ndarray,
    template: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> DiskDetector:
    """Everything that does not change from frame to frame.

    Parameters
    ----------
    settings : DetectionSettings
    noise : ndarray, shape (2,)
        See :func:`ediff_solve.frames.noise.compute_noise`.
    template : ndarray, shape (height, width), optional
        See :func:`ediff_solve.frames.disks.compute_profile`.
    offset : ndarray, shape (height, width), optional
        See :func:`ediff_solve.frames.noise.compute_offset`.

    Returns
    -------
    DiskDetector
    """
    narrow, wide, power = compute_band(settings)
    profile = compute_profile(settings.radius, settings.blur, template)
    bank, unit = compute_bank(profile, narrow, wide)
    noise = np.asarray(noise, float)
    # Without any background or read-out noise a frame's empty parts would have no variance at all.
    noise = noise + np.array([1e-6 * max(noise.max(), 1e-12), 0])
    aperture = settings.radius + 1.5 * settings.blur + 0.5
    if offset is None:
        offset = np.empty((0, 0), np.float32)
    return DiskDetector(
        narrow=narrow,
        wide=wide,
        bank=bank,
        unit=unit,
        noise=noise,
        offset=np.ascontiguousarray(offset, np.float32),
        variance=noise / power,
        radii=np.array([aperture, aperture + 1, aperture + 3]),
        threshold=settings.threshold,
        spacing=find_spacing(settings),
        edge=settings.edge or max(int(np.ceil(settings.radius)), 1),
        max_spots=settings.max_spots,
    )


def detect_spots(
    frames: np.ndarray, detector: DiskDetector, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Spots of many frames, the direct beam among them.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
        Counts, hot pixels replaced.
    detector : DiskDetector
    threads : int, optional
        One a core by default.

    Returns
    -------
    spots : ndarray, shape (n_spots, 4)
        Row x and column y [pixel], sum above the background [counts], response in standard
        deviations of the noise; a frame's strongest response first.
    offsets : ndarray of int64, shape (n + 1,)
        Frame i has the spots ``offsets[i]`` to ``offsets[i + 1] - 1``.

    Raises
    ------
    UserError
        Not a stack of frames, one smaller than the filters, or a value that is not finite.
    """
    frames = _check_stack(frames, detector)
    parts = [frames[start : start + _CHUNK] for start in range(0, len(frames), _CHUNK)]
    threads = threads or os.cpu_count() or 1
    if threads == 1 or len(parts) == 1:
        found = [_detect_part(part, detector) for part in parts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda part: _detect_part(part, detector), parts))
    spots = [np.empty((0, 4)), *(part[0] for part in found)]
    counts = [np.zeros(1, np.int64), *(part[1] for part in found)]
    return np.concatenate(spots), np.cumsum(np.concatenate(counts))


def _check_stack(frames: np.ndarray, detector: DiskDetector) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype.kind not in "iuf":
        raise UserError(
            f"frames: expected a stack of frames of counts, got shape {frames.shape} "
            f"of {frames.dtype.name}"
        )
    if detector.offset.size and detector.offset.shape != frames.shape[1:]:
        raise UserError(
            f"frames: {frames.shape[1]} x {frames.shape[2]} pixels; expected "
            f"{detector.offset.shape[0]} x {detector.offset.shape[1]}, as in the sample"
        )
    least = 2 * detector.edge + 3
    if min(frames.shape[1:]) < least:
        raise UserError(
            f"frames: {frames.shape[1]} x {frames.shape[2]} pixels; expected at least {least} "
            f"each way for disks of this radius"
        )
    return frames


def _detect_part(frames: np.ndarray, d: DiskDetector) -> tuple[np.ndarray, np.ndarray]:
    frames = np.ascontiguousarray(frames, np.float32)
    # One number tells: a sum is finite only if all it adds up are.
    if not np.isfinite(frames.sum(dtype=float)):
        raise UserError("frames: a value is not finite; expected counts")
    looks = (d.narrow, d.wide, d.noise, d.offset, d.bank, d.unit, d.variance, d.radii)
    return kernels.find_spots(frames, *looks, d.threshold, d.spacing, d.edge, d.max_spots)

"""What in a frame's response to disks is none: noise, and the rings that all frames show."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.optimize import nnls

from ediff_solve.frames.detect import DetectionSettings, compute_band, find_spacing
from ediff_solve.frames.kernels.band_pass import band_pass
from ediff_utils.core.errors import UserError

#: Least share of the pixels without spots near them that the noise is measured again on.
_QUIET = 0.02
#: Pixels whose noise is measured, classes of equal background among them, and the share of the
#: pixels, the darker ones, that is used: bright backgrounds are next to strong spots.
_NOISE_PIXELS, _NOISE_CLASSES, _NOISE_SHARE = 400_000, 16, 0.9
#: Electrons within the filter's effective area that are added to a mean of m electrons, so that
#: m + threshold * sqrt(m + this) is as improbable for Poisson counts as the threshold for a normal
#: distribution: 4.2 electrons at m = 0.1, 7 at 1, 25 at 10 for a threshold of 4.5.
_TAIL = 0.75
#: Pixels on a circle that a median is taken of.
_FEWEST_ON_CIRCLE = 30
#: Counts stored as floating-point numbers have few different values.
_FEW_VALUES = 65536


def compute_offset(
    frames: np.ndarray, settings: DetectionSettings, beam: tuple[float, float]
) -> np.ndarray:
    """Response to rings that all frames show, such as a film's: no disks, yet above the background.

    The median over a few frames, shape (n, height, width), hot pixels replaced, then over each
    circle about the beam [pixel]: spots are but a small part of a circle, those of a single crystal
    that all frames show too. It is float32 of shape (height, width), never below 0, and 0 about the
    direct beam, where it is the beam's own [counts].
    """
    narrow, wide, _ = compute_band(settings)
    pairs = [band_pass(np.ascontiguousarray(f, np.float32), narrow, wide) for f in frames]
    response = np.median([pair[0] for pair in pairs], axis=0)
    rows, columns = np.indices(response.shape)
    radius = np.hypot(rows - beam[0], columns - beam[1])
    circle = np.rint(radius).astype(int)
    order = np.argsort(circle, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(circle.ravel()))
    values = np.split(response.ravel()[order], ends[:-1])
    profile = np.array([np.median(v) if v.size >= _FEWEST_ON_CIRCLE else 0.0 for v in values])
    profile[: int(np.ceil(3 * find_spacing(settings)))] = 0
    # The dark ring that the band-pass draws about the direct beam moves with it: what is taken off
    # must not leave a bright one.
    profile = np.maximum(profile, 0)
    # Between the circles, so that no steps are left.
    return np.interp(radius, np.arange(len(profile)), profile).astype(np.float32)


def compute_noise(
    frames: np.ndarray, settings: DetectionSettings, offset: np.ndarray | None = None
) -> np.ndarray:
    """Noise of the response to disks: c0 and c1 of its variance c0 + c1 * background; shape (2,).

    Most pixels of a frame show no disk, so that the spread of the response among pixels of about
    the same background, by its median absolute deviation, is the noise. Whatever correlates
    neighbouring pixels is in it, which a detector's gain would miss.

    Counts are of electrons, and where there are few of them their spread says little: most pixels
    are zero. The noise is at least that of Poisson counts of the values' common unit, with as much
    again as makes the threshold of a normal distribution right for a mean of a few electrons or of
    next to none.

    A few frames, shape (n, height, width), hot pixels replaced; for ``offset`` see
    :func:`compute_offset`. Blank frames have no noise, a UserError. Neither number is below 0
    [counts^2, counts].
    """
    narrow, wide, power = compute_band(settings)
    if settings.gain is not None and settings.read_noise is not None:
        least = _poisson(narrow, power, settings.gain)
        return least + power * np.array([settings.read_noise**2, 0])
    least = _poisson(narrow, power, _unit(frames))
    pairs = [band_pass(np.ascontiguousarray(f, np.float32), narrow, wide) for f in frames]
    response, background = (np.stack([pair[k] for pair in pairs]) for k in (0, 1))
    if offset is not None:
        response -= offset
    noise = _fit_noise(response.ravel(), background.ravel(), least)
    # Spots and the dark rings that the band-pass draws around them are no noise.
    square = 3**2 * (noise[0] + noise[1] * np.maximum(background, 0))
    spots = (response > 0) & (response**2 > square)
    reach = 4 * len(narrow) // 3
    quiet = ~maximum_filter(spots, (1, 2 * reach + 1, 2 * reach + 1))
    if quiet.mean() > _QUIET:
        noise = _fit_noise(response[quiet], background[quiet], least)
    return noise


def _unit(frames: np.ndarray) -> float:
    """What all counts are multiples of; 0 where they are no whole numbers."""
    values = np.unique(frames)
    if frames.dtype.kind == "f":
        if len(values) > _FEW_VALUES or np.any(values != np.rint(values)):
            return 0.0
        values = values.astype(np.int64)
    return float(np.gcd.reduce(values))


def _poisson(narrow: np.ndarray, power: float, gain: float) -> np.ndarray:
    """c0 and c1 of counts of ``gain`` an electron, and of their tail (see :data:`_TAIL`)."""
    # The filter's effective area is one over the sum of its squares, which is separable.
    area = 1 / float(narrow[0] ** 2 + 2 * np.sum(narrow[1:].astype(float) ** 2)) ** 2
    return power * np.array([_TAIL * gain**2 / area, gain])


def _fit_noise(response: np.ndarray, background: np.ndarray, least: np.ndarray) -> np.ndarray:
    """c0 and c1 of the response's variance, from its spread in classes of like background."""
    every = max(1, response.size // _NOISE_PIXELS)
    response, background = response[::every], background[::every]
    order = np.argsort(background)[: int(_NOISE_SHARE * background.size)]
    classes = [c for c in np.array_split(order, _NOISE_CLASSES) if c.size]
    level = np.array([background[c].mean() for c in classes], float)
    spread = np.array(
        [1.4826 * np.median(np.abs(response[c] - np.median(response[c]))) for c in classes], float
    )
    level = np.maximum(level, 0)
    variance = np.maximum(spread**2, least[0] + least[1] * level)
    seen = variance > 0
    if not seen.any() or not (spread.any() or level.any()):
        raise UserError("frames: no noise in them, all blank? expected counts; or give gain")
    variance = variance[seen]
    rows = np.column_stack([np.ones(seen.sum()), level[seen]]) / variance[:, None]
    scale = np.linalg.norm(rows, axis=0)
    scale[scale == 0] = 1
    return np.maximum(nnls(rows / scale, np.ones(len(rows)))[0] / scale, least)

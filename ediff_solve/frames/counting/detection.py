"""Bragg spots of one frame, found by that frame alone.

In this order: direct beam; background, the mean on circles times a local factor; the noise's gain,
variance over mean, about each place; significance under a Gaussian of the spots' width; a threshold
that leaves the false alarms asked for; and two tests, against lone pixels and against ridges. Three
times, each time with the spots found before masked. Rows and columns are x and y [pixel].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.ndimage import label
from scipy.optimize import brentq

from ediff_solve.frames.kernels import counting as kernels
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Settings

#: Maxima from here to the threshold are noise for the greater part.
_LOW = 3.5
#: Times that spots are found. The first time only what stands out by so much, whatever the noise:
#: where noise is masked, the gain comes out too low; where spots are not, too high.
_TURNS, _FIRST = 3, 12.0
#: Times that the gain is measured in each turn: it changes what is measured. With one
#: time in the second turn it comes out too low, and noise is masked for spots.
_UPDATES = (0, 2, 3)
#: Gaussians of the local background and of the local gain [pixel], and of the beam's blob.
_WIDE, _LOCAL, _BLOB = 9.0, 24.0, 2.0
#: Standard deviations above the mean on its circle beyond which a pixel is left out of it.
_CLIPPED = 5.0
#: Pixels around the brightest place in which the direct beam is measured.
_BEAM_REACH = 48
#: Share of its peak below which a blob's middle is dark.
_HOLLOW = 0.5
#: Smallest frames [pixel].
SMALLEST = 32


class SpotSettings(Settings):
    """What a spot is in frames of few electrons, and how sure one must be of it."""

    sigma: float | None = Field(
        None, ge=0.5, le=8, description="of a spot, a Gaussian [pixel]; None: measured"
    )
    false_alarms: float = Field(
        0.1, gt=0, le=100, description="spots a frame that noise alone may be taken for"
    )
    least_alone: float = Field(
        0.4, ge=0, lt=1, description="share of the significance without the brightest pixel"
    )
    least_peaked: float = Field(
        0.77, ge=0, lt=1, description="how far a spot stands out along the worst direction"
    )
    core: float | None = Field(
        None, gt=0, description="no spots so near to the direct beam [pixel]; None: measured"
    )


@dataclass(frozen=True)
class FrameSpots:
    """What one frame shows.

    Attributes
    ----------
    spots : ndarray, shape (n, 5)
        Row and column [pixel], intensity above the background and its standard error [counts],
        significance in standard deviations; the most significant first, no direct beam.
    beam : ndarray, shape (2,)
        Row and column of the direct beam's blob, or of where it was said to be [pixel].
    core : float
        Radius about it in which nothing was looked for [pixel].
    hollow : bool
        Whether the blob is dark in its middle: a beam stop hides the beam.
    gain : float
        Median of the variance over the mean of the noise [counts].
    threshold : float
        Least significance.
    background : ndarray of float32, shape (height, width)
        [counts]
    maxima : ndarray, shape (m,)
        Significance of all maxima from 3.5 on, most of which are noise.
    """

    spots: np.ndarray
    beam: np.ndarray
    core: float
    hollow: bool
    gain: float
    threshold: float
    background: np.ndarray
    maxima: np.ndarray


def count_maxima(z: float, pixels: int, sigma: float) -> float:
    """Maxima above ``z`` of white noise smoothed by ``sigma`` [pixel]: its Euler characteristic.

    Adler, The Geometry of Random Fields (1981); right for high maxima.
    """
    return float(pixels * z * np.exp(-z * z / 2) / ((2 * np.pi) ** 1.5 * 2 * sigma**2))


def find_threshold(number: float, pixels: int, sigma: float) -> float:
    """Significance above which noise has so many maxima; see :func:`count_maxima`."""
    return float(brentq(lambda z: count_maxima(z, pixels, sigma) - number, 1.0, 40.0))


@dataclass(frozen=True)
class Camera:
    """What does not change from frame to frame of a series; made by :func:`compute_camera`."""

    bad: np.ndarray
    sigma: float
    half: np.ndarray


def compute_camera(bad: np.ndarray, sigma: float) -> Camera:
    """Filter and bad pixels, bool, for frames of one camera."""
    height, width = bad.shape
    if min(height, width) < SMALLEST:
        raise UserError(f"frames: {height} x {width} pixels, expected {SMALLEST} or more each way")
    return Camera(bad, sigma, _half(sigma))


def _half(sigma: float) -> np.ndarray:
    reach = int(np.ceil(3 * sigma))
    return np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2).astype(np.float32)


def _normal(sigma: float) -> np.ndarray:
    half = _half(sigma)
    return half / (half[0] + 2 * half[1:].sum())


def find_beam(frame: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Centre and radius of the direct beam: the brightest blob of the smoothed frame [pixel].

    And whether it is none: what is bright around a beam stop is dark in its middle.

    A hot pixel loses against a blob, and of a streak what is below half of the maximum is cut off.
    Of a saturated beam the centre is a few pixels off q = 0:
    :func:`ediff_solve.frames.counting.centre.find_centre` tells by how much.
    """
    block = kernels.BLOCK
    coarse = kernels.blur(kernels.average_blocks(frame, good), _normal(0.7))
    place = np.array(np.unravel_index(np.argmax(coarse), coarse.shape)) * block + block // 2
    low = np.maximum(place - _BEAM_REACH, 0)
    cut = tuple(slice(a, p + _BEAM_REACH) for a, p in zip(low, place, strict=True))
    raw = np.where(good[cut], frame[cut], np.float32(0))
    smooth = kernels.blur(raw, _normal(_BLOB))
    top = np.unravel_index(np.argmax(smooth), smooth.shape)
    regions, _ = label(smooth > 0.5 * smooth[top])
    own = regions == regions[top]
    # The plateau of a saturated beam has weight 1, its rim less.
    weight = np.where(own, np.clip(raw / max(np.percentile(raw[own], 90), 1e-9), 0, 1), 0)
    rows, columns = np.indices(weight.shape)
    total = weight.sum()
    centre = np.array([(weight * rows).sum(), (weight * columns).sum()]) / max(total, 1e-9) + low
    size = float(np.sqrt(own.sum() / np.pi))
    row, column = np.rint(centre - low).astype(int)
    inside = 0 <= row < smooth.shape[0] and 0 <= column < smooth.shape[1]
    hollow = not inside or smooth[row, column] < _HOLLOW * smooth[top]
    return centre, size, bool(hollow)


def _first_gain(frame: np.ndarray, good: np.ndarray) -> float:
    """Variance over mean of a quiet one of the blocks that count anything."""
    found = kernels.block_dispersion(frame, good)
    return float(max(np.percentile(found, 25), 1e-6)) if found.size else 1.0


def _compute_background(
    frame: np.ndarray, good: np.ndarray, radius: np.ndarray, gain: float, profile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Background, and the radial mean that it is made of; ``profile`` is that of the turn before.

    An empty one is made first.
    """
    for _ in range(2 if profile.size == 0 else 1):
        profile = kernels.radial_mean(frame, good, radius, _CLIPPED, gain, profile)
    background = np.empty_like(frame)
    parts = kernels.spread_profile(frame, good, radius, profile, background)
    seen, expected = (kernels.blur(part, _normal(_WIDE / kernels.BLOCK)) for part in parts)
    # Where there is next to nothing, the radial mean.
    few = np.float32(0.05 * gain)
    kernels.stretch((seen + few) / (expected + few), kernels.BLOCK, background)
    return background, profile


def _update_gain(gain: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Gain that makes the clipped squares what they are for Poisson counts.

    It is no less than single pixels' dispersion, which alone tells where there is next to nothing.
    """
    weights = _normal(_LOCAL / kernels.COARSE)
    square, expected, single, mean = (kernels.blur(part, weights) for part in sums)
    known = expected > 1e-3 * expected.max()
    ratio = np.where(known, square / np.maximum(expected, 1e-9), 1)
    dispersion = single / np.maximum(mean, 1e-9)
    return np.maximum(gain * np.clip(ratio, 0.1, 10), dispersion).astype(np.float32)


def find_tail_threshold(maxima: np.ndarray, frames: int, false_alarms: float) -> float:
    """Threshold for noise whose tail is clearly longer than a normal one's, or 0.

    How fast the low maxima of many frames, shape (n,), get fewer tells the tail: they are taken to
    go with z exp(-z^2 / (2 s^2)). What is there between 5.5 and 7 is taken for spots, of which as
    many are below.
    """
    first = float(np.sum((maxima >= 3.5) & (maxima < 4)))
    second = float(np.sum((maxima >= 4) & (maxima < 5)))
    spots = float(np.sum((maxima >= 5.5) & (maxima < 7))) / 1.5
    n, m = first - spots / 2, second - spots

    def shape(z: float, s: float) -> float:
        return float(z * np.exp(-z * z / (2 * s * s)))

    def ratio(s: float) -> float:
        return (shape(4, s) - shape(5, s)) / (shape(3.5, s) - shape(4, s))

    if n < 30 or m - ratio(1) * n < 4 * np.sqrt(second + ratio(1) ** 2 * first):
        return 0.0
    width = float(brentq(lambda s: ratio(s) - min(m / n, ratio(3.0)), 0.9, 3.0))
    density = n / frames / (shape(3.5, width) - shape(4, width))
    return float(brentq(lambda z: density * shape(z, width) - false_alarms, width, 60.0))


def _widen(peaks: np.ndarray, threshold: float, pixels: int, sigma: float) -> float:
    """Threshold for noise of a longer tail, where low maxima are clearly too many."""
    seen = int(np.sum((peaks[:, 2] >= _LOW) & (peaks[:, 2] < threshold)))
    expected = count_maxima(_LOW, pixels, sigma) - count_maxima(threshold, pixels, sigma)
    if seen < expected + 2 * np.sqrt(expected):
        return threshold
    return threshold * _LOW / min(find_threshold(seen, pixels, sigma), _LOW)


def find_frame_spots(
    frame: np.ndarray,
    camera: Camera,
    settings: SpotSettings,
    beam: tuple[float, float] | np.ndarray | None = None,
) -> FrameSpots:
    """Find the spots of one frame, of which the direct beam is none.

    Parameters
    ----------
    frame : ndarray, shape (height, width)
        Counts, or what is proportional to them; negative ones and NaN are bad pixels.
    camera : Camera
    settings : SpotSettings
        Its ``sigma`` is the camera's.
    beam : pair of float, optional
        Row and column of the direct beam, where it is known [pixel].

    Returns
    -------
    FrameSpots
    """
    frame = np.ascontiguousarray(frame, np.float32)
    good = np.isfinite(frame) & (frame >= 0) & ~camera.bad
    frame = np.where(good, frame, np.float32(0))
    level = _first_gain(frame, good)
    kernels.mark_lone(frame, good, 10 * level)
    if beam is None:
        beam, blob, hollow = find_beam(frame, good)
    else:
        beam, blob, hollow = np.asarray(beam, float), 0.0, False
    core = settings.core or 2.5 * blob + 2 * camera.sigma
    radius = kernels.measure_radius(frame.shape[0], frame.shape[1], float(beam[0]), float(beam[1]))
    usable = good & (radius > kernels.FINE * core)
    found = _search(frame, usable, radius, camera, settings, level)
    return FrameSpots(found[0], beam, core, hollow, *found[1:])


def _search(
    frame: np.ndarray,
    usable: np.ndarray,
    radius: np.ndarray,
    camera: Camera,
    settings: SpotSettings,
    level: float,
) -> tuple[np.ndarray, float, float, np.ndarray, np.ndarray]:
    """Spots, gain, threshold, background and maxima of a frame.

    ``usable`` says where to look, ``level`` is a first guess of the gain.
    """
    half, sigma = camera.half, camera.sigma
    one = float(half[0] + 2 * half[1:].sum()) ** 2
    two = float(half[0] ** 2 + 2 * (half[1:] ** 2).sum()) ** 2
    pixels = max(int(usable.sum()), 1)
    threshold = find_threshold(settings.false_alarms, pixels, sigma)
    gain = np.full([-(-n // kernels.COARSE) for n in frame.shape], level, np.float32)
    quiet, response, profile = usable, frame, np.empty(0)
    sums, room = np.empty((4, *gain.shape), np.float32), np.empty((frame.size // 4, 3))
    for turn in range(_TURNS):
        background, profile = _compute_background(frame, quiet, radius, level, profile)
        if turn == 0:
            # Masked pixels say nothing: they hold the background.
            response = kernels.blur(np.where(usable, frame, background), half)
        else:
            for _ in range(_UPDATES[turn]):
                kernels.sum_squares(frame, response, background, quiet, gain, one, two, 3, sums)
                gain = _update_gain(gain, sums)
            level = float(np.median(gain))
        least = (_FIRST, threshold, min(_LOW, threshold))[turn]
        looks = (response, background, usable, gain, one, two, least)
        peaks = kernels.find_candidates(*looks, max(int(np.ceil(sigma)), 1), 3 * sigma, room)
        if turn == _TURNS - 1:
            threshold, maxima = _widen(peaks, threshold, pixels, sigma), peaks[:, 2]
            peaks = peaks[peaks[:, 2] >= threshold]
        else:
            quiet = usable.copy()
            kernels.paint(quiet, peaks, sigma)
    found = kernels.measure_peaks(frame, usable, background, response, gain, one, sigma, peaks)
    real = (found[:, 5] > settings.least_alone) & (found[:, 6] > settings.least_peaked)
    return found[real, :5], level, threshold, background, maxima

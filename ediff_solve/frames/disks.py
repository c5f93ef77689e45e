"""What a Bragg disk looks like: flat and blurred, or the probe without a sample."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from ediff_solve.frames.kernels.band_pass import band_pass
from ediff_utils.core.errors import UserError

#: Samples a pixel of the disk's radial profile, and places a pixel of the disks to fit with.
_OVERSAMPLING, _SHIFTS = 8, 8


def compute_profile(radius: float, blur: float, template: np.ndarray | None = None) -> np.ndarray:
    """A disk as a function of the distance from its centre, 0, 1/8, 2/8 ... pixel, at most 1.

    It is flat with that radius and blur [pixel], or the mean of a template, the probe without a
    sample anywhere in a frame, around its centre of mass, as far as they reach; shape (n,).
    """
    reach = radius + 2.5 * blur + 1
    radii = np.arange(0, reach + 2, 1 / _OVERSAMPLING)
    if template is None:
        half = int(np.ceil((reach + 1) * _OVERSAMPLING))
        axis = np.arange(-half, half + 1) / _OVERSAMPLING
        distance = np.hypot(axis[:, None], axis[None])
        # A pixel integrates over its area, which blurs like a Gaussian of the same second moment.
        width = np.sqrt(blur**2 + 1 / 12)
        disk = gaussian_filter((distance <= radius).astype(float), width * _OVERSAMPLING)
        values = np.interp(radii, axis[half:], disk[half, half:])
    else:
        values = _template_profile(np.asarray(template, float), reach, radii)
    return values / values.max()


def compute_bank(
    profile: np.ndarray, narrow: np.ndarray, wide: np.ndarray
) -> tuple[np.ndarray, float]:
    """The disk at places between the pixels, and the band-pass's response in the middle of it.

    For ``profile`` see :func:`compute_profile`, for the filters
    :func:`ediff_solve.frames.detect.compute_band`, and for the bank, float32 of shape (8, 8, 3,
    width * width), :class:`ediff_solve.frames.detect.DiskDetector`.
    """
    half = (len(profile) - 2) // _OVERSAMPLING - 1
    axis = np.arange(-half, half + 1)
    shifts = (np.arange(_SHIFTS) + 0.5) / _SHIFTS - 0.5
    grid = np.arange(len(profile)) / _OVERSAMPLING
    slope = np.gradient(profile, 1 / _OVERSAMPLING)
    p, q = (axis - shifts[:, None])[:, None, :, None], (axis - shifts[:, None])[None, :, None, :]
    distance = np.hypot(p, q)
    shape = np.interp(distance, grid, profile)
    rate = -np.interp(distance, grid, slope) / np.maximum(distance, 1e-9)
    bank = np.stack([shape, rate * p, rate * q], axis=2)
    canvas = np.zeros((2 * half + 8 * len(wide),) * 2, np.float32)
    middle = len(canvas) // 2
    distance = np.hypot(*np.ogrid[-middle:middle, -middle:middle])
    canvas[:] = np.interp(distance, grid, profile, right=0)
    response, _ = band_pass(canvas, narrow, wide)
    return (
        np.ascontiguousarray(bank.reshape(_SHIFTS, _SHIFTS, 3, -1), np.float32),
        float(response[middle, middle]),
    )


def _template_profile(template: np.ndarray, reach: float, radii: np.ndarray) -> np.ndarray:
    if template.ndim != 2 or not np.isfinite(template).all():
        raise UserError("template: expected one frame of finite numbers, the probe alone")
    above = template - np.median(template)
    bright = above > 0.2 * above.max()
    if above.max() <= 0 or bright.mean() > 0.25:
        raise UserError("template: expected a bright disk on a dark background, found none")
    place = np.argwhere(bright)
    centre = np.average(place, axis=0, weights=above[bright])
    distance = np.hypot(*(np.indices(template.shape) - centre[:, None, None]))
    near = distance < reach + 1
    # Means over rings of half a pixel; the ring inside is the smallest that has a pixel.
    bins = np.rint(2 * distance[near]).astype(int)
    counts = np.bincount(bins)
    sums = np.bincount(bins, weights=above[near])
    where = np.bincount(bins, weights=distance[near])
    there = counts > 0
    return np.interp(radii, where[there] / counts[there], sums[there] / counts[there])

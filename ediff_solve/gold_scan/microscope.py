"""Lenses and detector of a simulated scan: where a spot falls, how wide, and on what ground.

A vector q in the scan's axes falls on the pixel centre + E R q / pixel_size. R turns from x towards
y by the detector's rotation; E stretches by 1 + e / 2 along one axis and 1 - e / 2 across it, as in
:mod:`ediff_solve.detector.effects`. Rows of the detector are the first coordinate, columns the
second, and the centre of pixel (0, 0) is at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.integrate import trapezoid

from ediff_solve.detector.effects import distortion
from ediff_solve.gold_scan.settings import GoldScanSettings

#: Positions and widths of the film's rings, standard deviation, and their weights [1/angstrom].
#: Near 1 / (2 angstrom) and 1 / (1.2 angstrom), where Czigany and Hultman (Ultramicroscopy 110, 815
#: (2010)) have the rings of carbon with the short-range order of graphite; the exact positions, the
#: widths and the weights are assumptions.
CARBON_RINGS = ((0.48, 0.06, 0.5), (0.83, 0.08, 0.2))
#: Diffuse scattering of the film and of gold: 1 / (q^2 + q0^2)^2, as of a screened atom; the widths
#: q0 are assumptions [1/angstrom].
CARBON_WIDTH, GOLD_WIDTH = 0.15, 0.4
#: Share of the film's scattering that is diffuse, the rest being rings.
_CARBON_DIFFUSE = 1 - sum(ring[2] for ring in CARBON_RINGS)
#: Distance of the background's sampling points [1/angstrom], and how far it goes.
BACKGROUND_SPACING, BACKGROUND_END = 0.005, 10.0
#: Places between two pixels at which a disk is tabulated, and points a pixel it is summed from.
_PHASES, _FINE = 8, 8
#: Half width of the tabulated disks beyond their radius: the direct beam's tails go far [pixels].
_SPOT_MARGIN, _DIRECT_MARGIN = 6, 24


@dataclass(frozen=True)
class Microscope:
    """What a scan's frames share, drawn once; made by :func:`draw_microscope`."""

    rotation: float  # [degree]
    ellipticity: float  # (major - minor) / mean axis
    axis: float  # the major one's direction on the detector, from rows towards columns [degree]
    matrix: np.ndarray  # (2, 2), E R / pixel_size [angstrom pixels]
    centres: np.ndarray  # (scan_size, scan_size, 2), of the direct beam: row, column [pixels]
    hot: np.ndarray  # (h, 2), rows and columns of hot pixels
    hot_counts: np.ndarray  # (h,), their mean counts a frame


def draw_microscope(settings: GoldScanSettings) -> Microscope:
    """Draw distortion, shifts and hot pixels from the settings' seed."""
    rng = np.random.default_rng([settings.seed, 1])
    rotation, axis = rng.uniform(-180, 180), rng.uniform(0, 180)
    rotation = rotation if settings.rotation is None else settings.rotation
    ellipticity = rng.uniform(*settings.ellipticity)
    xx, xy, yy = distortion(*(np.array([v]) for v in (1.0, ellipticity, axis)))[0]
    cosine, sine = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    offset = settings.centre_offset * rng.uniform(-1, 1, 2)
    shift = settings.descan * _slow_shift(settings.scan_size, rng)
    size = settings.frame_size
    n_hot = round(settings.hot_pixels * size**2)
    hot = rng.choice(size**2, n_hot, replace=False)
    low, high = np.log(settings.hot_counts)
    return Microscope(
        rotation=float(rotation),
        ellipticity=float(ellipticity),
        axis=float(axis),
        matrix=np.array([[xx, xy], [xy, yy]]) @ turn / settings.pixel_size,
        centres=(size - 1) / 2 + offset + shift,
        hot=np.column_stack(np.divmod(hot, size)),
        hot_counts=np.exp(rng.uniform(low, high, n_hot)),
    )


def _slow_shift(n: int, rng: np.random.Generator) -> np.ndarray:
    """Polynomials of second order over the scan, largest value 1; shape (n, n, 2)."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, n)] * 2, indexing="ij")
    terms = np.stack([x, y, x * x, x * y, y * y], axis=-1)
    shift = terms @ (rng.normal(size=(5, 2)) * np.array([1, 1, 0.4, 0.4, 0.4])[:, None])
    shift -= shift.mean(axis=(0, 1))
    return shift / np.abs(shift).max(axis=(0, 1))


def disk_templates(
    settings: GoldScanSettings, microscope: Microscope
) -> tuple[np.ndarray, np.ndarray]:
    """Disks at every place between two pixels, of the spots and of the direct beam.

    A disk is the probe's aperture, stretched as the pattern is, blurred by the point spread and
    summed over pixels. The spread is (1 - w) Gaussian + w Lorentzian, the latter of the form
    width / (2 pi (r^2 + width^2)^(3/2)); beyond the template its tails are left out, and the rest
    has a sum of 1. Both are as :func:`ediff_solve.gold_scan.kernels.frames.paint_frames` has them.
    """
    radius = settings.disk_radius / settings.pixel_size
    half = int(np.ceil(radius + 4 * settings.point_spread))
    spot, direct = (
        _template(settings, microscope, half + margin) for margin in (_SPOT_MARGIN, _DIRECT_MARGIN)
    )
    return spot, direct


def _template(settings: GoldScanSettings, microscope: Microscope, half: int) -> np.ndarray:
    """A disk's images; shape (_PHASES + 1, _PHASES + 1, 2 half + 1, 2 half + 1)."""
    # a pixel more on either side, as the disk moves by up to one
    n = (2 * half + 3) * _FINE
    u = (np.arange(n) - n // 2) / _FINE
    square = u[:, None] ** 2 + u**2
    # the disk's centre between two fine points, the spread's on one: together between two, in the
    # middle of a pixel's even number of points
    x, y = np.meshgrid(u + 0.5 / _FINE, u + 0.5 / _FINE, indexing="ij")
    inverse = np.linalg.inv(microscope.matrix)
    q = np.hypot(inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y)
    # half covered at the rim, or the area would depend on the fine grid
    fine_pixel = settings.pixel_size / _FINE
    disk = np.clip((settings.disk_radius - q) / fine_pixel + 0.5, 0, 1)
    sigma = max(settings.point_spread, 0.5 / _FINE)
    gauss = np.exp(-square / (2 * sigma**2))
    lorentz = (square + settings.tail_width**2) ** -1.5
    spread = (1 - settings.tails) * gauss / gauss.sum() + settings.tails * lorentz / lorentz.sum()
    # zeros around, or the tails would come in again from the other side
    padded = (2 * n, 2 * n)
    blurred = irfft2(rfft2(disk, padded) * rfft2(spread, padded), padded)
    blurred = np.maximum(blurred[n // 2 : n // 2 + n, n // 2 : n // 2 + n], 0)
    template = np.empty((_PHASES + 1,) * 2 + (2 * half + 1,) * 2)
    sums = np.pad(np.cumsum(np.cumsum(blurred, axis=0), axis=1), ((1, 0), (1, 0)))
    first = n // 2 - _FINE // 2 - half * _FINE
    edges = first + _FINE * np.arange(2 * half + 2)
    for a, b in np.ndindex(template.shape[:2]):
        corners = sums[np.ix_(edges - a * _FINE // _PHASES, edges - b * _FINE // _PHASES)]
        image = np.diff(np.diff(corners, axis=0), axis=1)
        template[a, b] = image / image.sum()
    return template


def background_profiles(settings: GoldScanSettings, microscope: Microscope) -> np.ndarray:
    """Electrons a pixel of one electron scattered by the film, and of one by gold diffusely.

    Shape (2, n), at |q| = 0, :data:`BACKGROUND_SPACING` ...; an endless detector's sum is 1.
    """
    q = np.arange(0, BACKGROUND_END, BACKGROUND_SPACING)
    carbon = _CARBON_DIFFUSE * _normalised(q, (q**2 + CARBON_WIDTH**2) ** -2.0)
    for place, width, weight in CARBON_RINGS:
        carbon += weight * _normalised(q, np.exp(-((q - place) ** 2) / (2 * width**2)))
    gold = _normalised(q, (q**2 + GOLD_WIDTH**2) ** -2.0)
    pixel = 1 / abs(np.linalg.det(microscope.matrix))
    # nothing beyond the end
    profiles = np.stack([carbon, gold]) * pixel
    profiles[:, -1] = 0
    return profiles


def _normalised(q: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """A profile whose integral over the plane is 1."""
    return profile / trapezoid(2 * np.pi * q * profile, q)

"""Hot pixels, centres, ellipse and pixel size of detector frames.

Arrays in, arrays out, in pixels; rows are x and columns y. Nothing is guessed: what no ring and no
user tells is missing, and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.ndimage import gaussian_filter, label, median_filter, rank_filter, zoom

from ediff_solve.detector.effects import distortion
from ediff_solve.frames.detect import DiskDetector
from ediff_solve.frames.kernels.band_pass import band_pass
from ediff_solve.frames.rings import Ring
from ediff_utils.core.errors import UserError

#: How far a hot pixel's excess is above the spread of its like, in standard deviations.
_HOT = 8.0
#: A real spot is blurred: a pixel is hot where it is above its third-brightest neighbour by this
#: share of it too.
_HOT_SHARE = 0.5
#: Centres farther than this from the fitted surface are outliers, in robust standard deviations.
_OUTLYING = 4.0
#: Samples a pixel by which the direct beam's rim is measured.
_FINE = 4


@dataclass(frozen=True)
class Calibration:
    """From pixels to reciprocal space; made by :func:`compute_calibration`.

    Attributes
    ----------
    origins : ndarray, shape (nx, ny, 2)
        Row and column of the direct beam at each probe position [pixel].
    pixel_size : float
        [1/angstrom, without 2 pi]
    ellipticity, axis : float
        See :class:`Ring`.
    rotation : float
        Of the detector against the scan, from x (rows) towards y (columns): a vector along the
        scan's x falls on the detector turned by so much [degree].
    """

    origins: np.ndarray
    pixel_size: float
    ellipticity: float = 0.0
    axis: float = 0.0
    rotation: float = 0.0

    def apply(self, x: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Reciprocal coordinates qx and qy of spots, the ellipse made a circle of its mean axis.

        Spots x and y are rows and columns [pixel], ``numbers`` their probe positions x * ny + y;
        the result counts from the direct beam along the scan's x and y [1/angstrom]. All are of
        shape (n_spots,).
        """
        centre = self.origins.reshape(-1, 2)[numbers]
        u, v = x - centre[:, 0], y - centre[:, 1]
        xx, xy, yy = distortion(np.ones(1), np.array([self.ellipticity]), np.array([self.axis]))[0]
        scale = self.pixel_size / (xx * yy - xy * xy)
        u, v = scale * (yy * u - xy * v), scale * (xx * v - xy * u)
        cosine, sine = np.cos(np.radians(self.rotation)), np.sin(np.radians(self.rotation))
        return cosine * u + sine * v, cosine * v - sine * u


def compute_hot_pixels(mean: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Pixels that are bright whatever is under them; bool, shape (height, width).

    A pixel stands out by the difference to the third-brightest of its eight neighbours, so that two
    hot pixels beside each other do not hide each other, against the spread of that difference among
    pixels of its background: its median absolute deviation, scaled with the square root of the
    background as counts are. It must stand out in both the mean and the median over frames, shape
    (height, width), the latter of fewer maybe: a lone cosmic ray is in the mean alone.
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
    """Frames, (n, height, width), whose masked pixels are the median of their neighbours.

    Neighbours are the eight around it that are not masked, of a larger square where there are none.
    The mask is bool of shape (height, width); unless it is empty, the result is a copy of the same
    type.
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
        squares = (_square(i, j, reach) for reach in count(1))
        rows, columns = next(square for square in squares if not mask[square].all())
        good = frames[:, rows, columns][:, ~mask[rows, columns]]
        out[:, i, j] = np.median(good, axis=1)
    return out


def _square(i: int, j: int, reach: int) -> tuple[slice, slice]:
    return slice(max(i - reach, 0), i + reach + 1), slice(max(j - reach, 0), j + reach + 1)


def compute_disk_radius(frames: np.ndarray) -> float:
    """Radius of the direct beam [pixel]: half way down its rim, median over frames.

    A few frames, shape (n, height, width), hot pixels replaced. A UserError where none has a bright
    disk near the place where their mean has one.
    """
    mean = gaussian_filter(np.mean(frames, axis=0), 1)
    i, j = np.unravel_index(np.argmax(mean), mean.shape)
    reach = max(min(mean.shape) // 6, 8)
    rows, columns = _square(int(i), int(j), reach)
    radii = []
    for frame in frames[:, rows, columns]:
        fine = zoom(frame.astype(float), _FINE, order=1)
        fine -= np.median(fine)
        plateau = np.median(fine[fine > fine.max() / 2]) if fine.max() > 0 else np.inf
        regions, _ = label(fine > plateau / 2)
        own = regions[np.unravel_index(np.argmax(fine), fine.shape)]
        if own:
            radii.append(np.sqrt(np.sum(regions == own) / np.pi) / _FINE)
    if not radii or not np.median(radii) < reach:
        raise UserError("disk_radius: no direct beam that it can be measured of; give it in pixels")
    return float(np.median(radii))


def choose_origins(
    spots: np.ndarray, offsets: np.ndarray, guess: tuple[float, float], search: float
) -> np.ndarray:
    """Which of each frame's spots is the direct beam: the strongest one near the guess.

    For ``spots`` and ``offsets`` see :func:`ediff_solve.frames.detect.detect_spots`; ``guess`` is
    row and column of about where it is, and ``search`` how far from there it may be. Rows and
    columns, shape (n, 2), NaN where no disk is there [pixel].
    """
    origins = np.full((len(offsets) - 1, 2), np.nan)
    owner = np.repeat(np.arange(len(origins)), np.diff(offsets))
    near = np.hypot(*(spots[:, :2] - np.asarray(guess)).T) <= search
    owner, place, strength = owner[near], spots[near, :2], spots[near, 3]
    order = np.argsort(strength, kind="stable")
    # The last one written is the strongest.
    origins[owner[order]] = place[order]
    return origins


def compute_beam(mean: np.ndarray, detector: DiskDetector) -> tuple[float, float]:
    """Row and column of the direct beam in the mean over frames [pixel]: its strongest disk.

    A UserError where there is none, behind a beam stop for instance.
    """
    response, _ = band_pass(np.ascontiguousarray(mean, np.float32), detector.narrow, detector.wide)
    inside = np.zeros(response.shape, bool)
    edge = detector.edge
    inside[edge:-edge, edge:-edge] = True
    place = np.unravel_index(np.argmax(np.where(inside, response, -np.inf)), response.shape)
    if not response[place] > 0:
        raise UserError("origin: no direct beam in the mean frame; give its row and column")
    return float(place[0]), float(place[1])


def fit_descan(origins: np.ndarray, order: int = 1) -> np.ndarray:
    """A smooth surface through the centres, what the descan leaves; shape (nx, ny, 2) [pixel].

    By least squares, without outliers, through row and column at each probe position, shape (nx,
    ny, 2), NaN where not found. The order is 0 for one centre for all, 1 for a plane, up to 3.
    """
    if order not in (0, 1, 2, 3):
        raise UserError(f"order: expected 0, 1, 2 or 3, got {order!r}")
    origins = np.asarray(origins, float)
    nx, ny = origins.shape[:2]
    # A scan of one row says nothing of how the centre changes with the row.
    u, v = (a.ravel() / max(n - 1, 1) for a, n in zip(np.indices((nx, ny)), (nx, ny), strict=True))
    powers = [
        (i, j) for i in range(min(order, nx - 1) + 1) for j in range(min(order - i, ny - 1) + 1)
    ]
    rows = np.column_stack([u**i * v**j for i, j in powers])
    flat = origins.reshape(-1, 2)
    good = np.isfinite(flat).all(axis=1)
    if good.sum() < max(len(powers), 1):
        raise UserError(
            f"origin: the direct beam was found in {good.sum()} frames, a surface of order {order} "
            f"needs {len(powers)}; give its row and column"
        )
    for _ in range(10):
        factors = np.linalg.lstsq(rows[good], flat[good], rcond=None)[0]
        off = np.hypot(*(flat - rows @ factors).T)
        spread = np.median(off[good]) / 1.1774
        new = np.isfinite(off) & (off <= _OUTLYING * max(spread, 1e-6))
        if np.array_equal(new, good) or new.sum() < len(powers):
            break
        good = new
    return (rows @ factors).reshape(origins.shape)


def compute_calibration(
    origins: np.ndarray,
    *,
    pixel_size: float | None = None,
    ring: Ring | None = None,
    ring_radius: float | None = None,
    rotation: float = 0.0,
) -> Calibration:
    """Put a calibration together; what is missing is not guessed.

    Origins, shape (nx, ny, 2), are those of :func:`fit_descan` [pixel]. The pixel size, that of the
    file as a rule, gives way to ``ring_radius``, 1 / spacing of the ring, where that is given
    [1/angstrom, without 2 pi]; the ring's ellipse is used. For ``rotation`` see
    :class:`Calibration`.
    """
    origins = np.asarray(origins, float)
    if origins.ndim != 3 or origins.shape[2] != 2 or not np.isfinite(origins).all():
        raise UserError("origins: expected a row and column for every probe position; fit_descan")
    if ring_radius is not None:
        if ring is None:
            raise UserError("ring_radius: expected the ring too, as fit_ring finds it")
        pixel_size = ring_radius / ring.radius
    if pixel_size is None:
        raise UserError(
            "pixel_size: the file has none in units that are known; give it in 1/angstrom, or a "
            "ring and its ring_radius"
        )
    if not (np.isfinite(pixel_size) and pixel_size > 0):
        raise UserError(f"pixel_size: expected 1/angstrom above 0, got {pixel_size}")
    ellipse = (ring.ellipticity, ring.axis) if ring else (0.0, 0.0)
    return Calibration(origins, float(pixel_size), *ellipse, rotation)

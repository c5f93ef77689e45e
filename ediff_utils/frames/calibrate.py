"""Hot pixels, centres, ellipse and pixel size of detector frames.

Arrays in, arrays out, in pixels; rows are x and columns y. Nothing is guessed: what no ring and no
user tells is missing, and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, median_filter, rank_filter

from ediff_utils.detector import distortion
from ediff_utils.errors import UserError
from ediff_utils.frames.detect import DiskDetector
from ediff_utils.kernels import spots as kernels
from ediff_utils.kernels.band_pass import band_pass

#: How far a hot pixel's excess is above the spread of its like, in standard deviations.
_HOT = 8.0
#: A real spot is blurred: a pixel is hot where it is above its third-brightest neighbour by this
#: share of it too.
_HOT_SHARE = 0.5
#: Centres farther than this from the fitted surface are outliers, in robust standard deviations.
_OUTLYING = 4.0
#: Rays that a ring is looked for along, samples a pixel, and the least share of rays that show it.
_RAYS, _PER_PIXEL, _SEEN = 180, 4, 0.5


@dataclass(frozen=True)
class Ring:
    """An ellipse that a ring of one spacing draws on the detector.

    Attributes
    ----------
    centre : ndarray, shape (2,)
        Row and column [pixel].
    radius : float
        Mean of the half axes [pixel].
    ellipticity : float
        (major - minor) / mean axis.
    axis : float
        Direction of the major axis, from rows towards columns in [0, 180) [degree].
    """

    centre: np.ndarray
    radius: float
    ellipticity: float
    axis: float


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
    """

    origins: np.ndarray
    pixel_size: float
    ellipticity: float = 0.0
    axis: float = 0.0

    def apply(self, x: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Reciprocal coordinates of spots.

        Parameters
        ----------
        x, y : ndarray, shape (n_spots,)
            Rows and columns [pixel].
        numbers : ndarray of int, shape (n_spots,)
            Probe position of each, x * ny + y.

        Returns
        -------
        qx, qy : ndarray, shape (n_spots,)
            From the direct beam, the ellipse made a circle of its mean axis [1/angstrom].
        """
        centre = self.origins.reshape(-1, 2)[numbers]
        u, v = x - centre[:, 0], y - centre[:, 1]
        xx, xy, yy = distortion(np.ones(1), np.array([self.ellipticity]), np.array([self.axis]))[0]
        scale = self.pixel_size / (xx * yy - xy * xy)
        return scale * (yy * u - xy * v), scale * (xx * v - xy * u)


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


def compute_origins(
    frames: np.ndarray, detector: DiskDetector, guess: tuple[float, float], search: float
) -> np.ndarray:
    """Where the direct beam is in each frame.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
    detector : DiskDetector
    guess : tuple of float
        Row and column of about where it is, as of :func:`compute_beam` [pixel].
    search : float
        It is the strongest disk within this distance of the guess [pixel].

    Returns
    -------
    ndarray, shape (n, 2)
        Row and column [pixel]; NaN where no disk is there.
    """
    origins = np.full((len(frames), 2), np.nan)
    low = np.maximum(np.floor(np.asarray(guess) - search).astype(int), 0)
    reach = 2 * len(detector.wide) + 4
    start = np.maximum(low - reach, 0)
    stop = np.ceil(np.asarray(guess) + search).astype(int) + reach + 1
    part = np.ascontiguousarray(frames[:, start[0] : stop[0], start[1] : stop[1]], np.float32)
    spots, counts = kernels.find_spots(
        part, detector.narrow, detector.wide, detector.noise, detector.bank, detector.unit,
        detector.variance, detector.radii, detector.threshold, detector.spacing, detector.edge,
        detector.max_spots,
    )  # fmt: skip
    owner = np.repeat(np.arange(len(frames)), counts)
    place = spots[:, :2] + start
    near = np.hypot(*(place - np.asarray(guess)).T) <= search
    owner, place, strength = owner[near], place[near], spots[near, 2]
    order = np.argsort(strength, kind="stable")
    # The last one written is the strongest.
    origins[owner[order]] = place[order]
    return origins


def compute_beam(mean: np.ndarray, detector: DiskDetector) -> tuple[float, float]:
    """Row and column of the direct beam in the mean over frames: its strongest disk.

    Raises
    ------
    UserError
        There is none, behind a beam stop for instance.
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
    """A smooth surface through the centres: what the descan leaves.

    Parameters
    ----------
    origins : ndarray, shape (nx, ny, 2)
        Row and column at each probe position, NaN where not found [pixel].
    order : int
        0 one centre for all, 1 a plane, up to 3.

    Returns
    -------
    ndarray, shape (nx, ny, 2)
        By least squares, without outliers.

    Raises
    ------
    UserError
        Fewer centres than such a surface needs, or an order that is not known.
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


def compute_ring(
    image: np.ndarray, centre: tuple[float, float], inner: float, outer: float
) -> Ring:
    """Ellipse of a diffraction ring, of amorphous carbon or a polycrystal.

    Along each ray from the centre the ring is the centroid of what lies above the line from inner
    to outer radius; a conic goes through these points by least squares, twice, the second time
    without outliers.

    Parameters
    ----------
    image : ndarray, shape (height, width)
        Mean over frames, as a rule, their centres alike.
    centre : tuple of float
        Row and column of the direct beam [pixel].
    inner, outer : float
        Radii between which there is this ring and no other [pixel].

    Returns
    -------
    Ring

    Raises
    ------
    UserError
        The radii are none, or no ring is seen between them.
    """
    if not 0 < inner < outer:
        raise UserError(f"ring: expected radii 0 < inner < outer, got {inner:g} and {outer:g}")
    radii = np.linspace(inner, outer, int(np.ceil((outer - inner) * _PER_PIXEL)) + 1)
    angles = 2 * np.pi * np.arange(_RAYS) / _RAYS
    directions = np.stack([np.cos(angles), np.sin(angles)])
    centre = np.asarray(centre, float)
    points = centre[:, None, None] + directions[:, :, None] * radii
    inside = np.all((points >= 0) & (points <= np.array(image.shape)[:, None, None] - 1), axis=0)
    values = map_coordinates(np.asarray(image, float), points, order=1, mode="nearest")
    # Rays beside each other share pixels and noise; a few together show a weak ring.
    values = sum(np.roll(values, k, axis=0) for k in (-2, -1, 0, 1, 2)) / 5
    part = (radii - inner) / (outer - inner)
    ends = max(len(radii) // 8, 1)
    low, high = values[:, :ends].mean(axis=1), values[:, -ends:].mean(axis=1)
    above = np.maximum(values - (low[:, None] * (1 - part) + high[:, None] * part), 0)
    # Centroid of the upper half alone: the feet are background.
    above = np.maximum(above - 0.5 * above.max(axis=1, keepdims=True), 0)
    weight = above.sum(axis=1)
    middle = (above @ radii) / np.where(weight > 0, weight, 1)
    good = inside.all(axis=1) & (weight > 0) & (middle > radii[ends]) & (middle < radii[-ends - 1])
    if good.mean() < _SEEN:
        raise UserError(
            f"ring: no ring between {inner:g} and {outer:g} pixels, or half of it is off the frame"
        )
    for _ in range(2):
        ring = _fit_conic(directions[:, good] * middle[good], middle[good].mean())
        off = np.abs(middle - np.median(middle[good]))
        good &= off <= max(_OUTLYING * 1.4826 * np.median(off[good]), 1)
    return Ring(ring.centre + centre, ring.radius, ring.ellipticity, ring.axis)


def _fit_conic(points: np.ndarray, scale: float) -> Ring:
    """Ellipse through points, shape (2, n)."""
    x, y = points / scale
    rows = np.column_stack([x * x, 2 * x * y, y * y, x, y])
    a, b, c, d, e = np.linalg.lstsq(rows, np.ones(len(x)), rcond=None)[0]
    form = np.array([[a, b], [b, c]])
    if not np.all(np.linalg.eigvalsh(form) > 0):
        raise UserError("ring: what lies between the radii is no ellipse")
    centre = -0.5 * np.linalg.solve(form, [d, e])
    values, vectors = np.linalg.eigh(form / (1 + centre @ form @ centre))
    major, minor = 1 / np.sqrt(values)
    mean = (major + minor) / 2
    angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])) % 180
    return Ring(centre * scale, float(mean * scale), float((major - minor) / mean), float(angle))


def compute_calibration(
    origins: np.ndarray,
    *,
    pixel_size: float | None = None,
    ring: Ring | None = None,
    ring_radius: float | None = None,
) -> Calibration:
    """Put a calibration together; what is missing is not guessed.

    Parameters
    ----------
    origins : ndarray, shape (nx, ny, 2)
        See :func:`fit_descan` [pixel].
    pixel_size : float, optional
        [1/angstrom]; that of the file, as a rule.
    ring : Ring, optional
        See :func:`compute_ring`; its ellipse is used.
    ring_radius : float, optional
        Of that ring [1/angstrom, without 2 pi]: 1 / spacing. Goes before ``pixel_size``.

    Returns
    -------
    Calibration

    Raises
    ------
    UserError
        No pixel size, a centre that is missing, or a number out of its range.
    """
    origins = np.asarray(origins, float)
    if origins.ndim != 3 or origins.shape[2] != 2 or not np.isfinite(origins).all():
        raise UserError("origins: expected a row and column for every probe position; fit_descan")
    if ring_radius is not None:
        if ring is None:
            raise UserError("ring_radius: expected the ring too, as compute_ring finds it")
        pixel_size = ring_radius / ring.radius
    if pixel_size is None:
        raise UserError(
            "pixel_size: the file has none in units that are known; give it in 1/angstrom, or a "
            "ring and its ring_radius"
        )
    if not (np.isfinite(pixel_size) and pixel_size > 0):
        raise UserError(f"pixel_size: expected 1/angstrom above 0, got {pixel_size}")
    if ring is None:
        return Calibration(origins, float(pixel_size))
    return Calibration(origins, float(pixel_size), ring.ellipticity, ring.axis)

"""Rings of one spacing on the detector: where the ellipse and the pixel size come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from ediff_utils.core.errors import UserError

#: Rays that a ring is looked for along, samples a pixel, and the least share of rays that show it.
_RAYS, _PER_PIXEL, _SEEN = 180, 4, 0.5
#: Points farther from the fitted ring than so many robust standard deviations are outliers.
_OUTLYING = 4.0
#: Fewest spots that make a ring, and how evenly they must lie around it: least singular value of
#: the conic's equations, which is 1/2 for an even ring.
_FEWEST, _EVEN = 20, 0.1


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


def fit_ring(x: np.ndarray, y: np.ndarray, inner: float, outer: float) -> Ring:
    """Ellipse of a ring of Bragg spots, from grains of many orientations.

    A conic about the direct beam by least squares, again and again without the spots that lie off.

    Parameters
    ----------
    x, y : ndarray, shape (n_spots,)
        Rows and columns from the direct beam [pixel].
    inner, outer : float
        Radii between which there are spots of this ring and of no other [pixel].

    Returns
    -------
    Ring
        Its centre is the direct beam.

    Raises
    ------
    UserError
        The radii are none, or the spots between them are too few or all in some directions.
    """
    if not 0 < inner < outer:
        raise UserError(f"ring: expected radii 0 < inner < outer, got {inner:g} and {outer:g}")
    radius = np.hypot(x, y)
    middle, half = (inner + outer) / 2, (outer - inner) / (inner + outer)
    expected = np.full(radius.shape, middle)
    good = np.abs(radius - expected) <= half * expected
    ring = Ring(np.zeros(2), middle, 0.0, 0.0)
    for _ in range(10):
        rows = np.column_stack([x * x, 2 * x * y, y * y])[good] / middle**2
        if len(rows) < _FEWEST or _least_singular(rows) < _EVEN:
            raise UserError(
                f"ring: {len(rows)} spots between {inner:.4g} and {outer:.4g} pixels, too few or "
                f"in too few directions for an ellipse; expected {_FEWEST} or more all around, or "
                f"no ring and a pixel_size"
            )
        a, b, c = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
        ring = _to_ring(np.array([[a, b], [b, c]]), np.zeros(2), middle)
        form = (a * x * x + 2 * b * x * y + c * y * y) / middle**2
        expected = radius / np.sqrt(np.where(form > 0, form, np.inf))
        off = np.abs(radius - expected)
        spread = 1.4826 * np.median(off[good])
        new = (off <= half * expected) & (off <= _OUTLYING * max(spread, 1e-6)) & (form > 0)
        if np.array_equal(new, good):
            break
        good = new
    return ring


def _least_singular(rows: np.ndarray) -> float:
    """Of the equations, each made of length about one, a spot."""
    scaled = rows / rows[:, [0, 2]].sum(axis=1, keepdims=True)
    return float(np.linalg.svd(scaled, compute_uv=False)[-1] / np.sqrt(len(rows)))


def _fit_conic(points: np.ndarray, scale: float) -> Ring:
    """Ellipse through points, shape (2, n)."""
    x, y = points / scale
    rows = np.column_stack([x * x, 2 * x * y, y * y, x, y])
    a, b, c, d, e = np.linalg.lstsq(rows, np.ones(len(x)), rcond=None)[0]
    form = np.array([[a, b], [b, c]])
    if not np.all(np.linalg.eigvalsh(form) > 0):
        raise UserError("ring: what lies between the radii is no ellipse")
    centre = -0.5 * np.linalg.solve(form, [d, e])
    return _to_ring(form / (1 + centre @ form @ centre), centre, scale)


def _to_ring(form: np.ndarray, centre: np.ndarray, scale: float) -> Ring:
    """The ellipse (p - centre) form (p - centre) = 1, of lengths in units of ``scale``."""
    if not np.all(np.linalg.eigvalsh(form) > 0):
        raise UserError("ring: what lies between the radii is no ellipse")
    values, vectors = np.linalg.eigh(form)
    major, minor = 1 / np.sqrt(values)
    mean = (major + minor) / 2
    angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])) % 180
    return Ring(centre * scale, float(mean * scale), float((major - minor) / mean), float(angle))

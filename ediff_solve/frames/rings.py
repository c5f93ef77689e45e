"""Rings of one spacing on the detector: where the ellipse and the pixel size come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_utils.core.errors import UserError

#: Points farther from the fitted ring than so many robust standard deviations are outliers.
_OUTLYING = 4.0
#: Fewest spots that make a ring, and how evenly they must lie around it: least singular value of
#: the conic's equations, which is 1/2 for an even ring.
_FEWEST, _EVEN = 20, 0.1


@dataclass(frozen=True)
class Ring:
    """An ellipse about the direct beam that a ring of one spacing draws on the detector.

    Attributes
    ----------
    radius : float
        Mean of the half axes [pixel].
    ellipticity : float
        (major - minor) / mean axis.
    axis : float
        Direction of the major axis, from rows towards columns in [0, 180) [degree].
    """

    radius: float
    ellipticity: float
    axis: float


def fit_ring(x: np.ndarray, y: np.ndarray, inner: float, outer: float) -> Ring:
    """Ellipse of a ring of Bragg spots, from grains of many orientations.

    A conic about the direct beam by least squares, again and again without the spots that lie off.
    Spots x and y are rows and columns from the direct beam, shape (n_spots,); between the radii
    ``inner`` and ``outer`` there are spots of this ring and of no other [pixel].
    """
    if not 0 < inner < outer:
        raise UserError(f"ring: expected radii 0 < inner < outer, got {inner:g} and {outer:g}")
    radius = np.hypot(x, y)
    middle, half = (inner + outer) / 2, (outer - inner) / (inner + outer)
    expected = np.full(radius.shape, middle)
    good = np.abs(radius - expected) <= half * expected
    ring = Ring(middle, 0.0, 0.0)
    for _ in range(10):
        rows = np.column_stack([x * x, 2 * x * y, y * y])[good] / middle**2
        if len(rows) < _FEWEST or _least_singular(rows) < _EVEN:
            raise UserError(
                f"ring: {len(rows)} spots between {inner:.4g} and {outer:.4g} pixels, too few or "
                f"in too few directions for an ellipse; expected {_FEWEST} or more all around, or "
                f"no ring and a pixel_size"
            )
        a, b, c = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
        ring = _to_ring(np.array([[a, b], [b, c]]), middle)
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


def _to_ring(form: np.ndarray, scale: float) -> Ring:
    """The ellipse p form p = 1, of lengths in units of ``scale``."""
    if not np.all(np.linalg.eigvalsh(form) > 0):
        raise UserError("ring: what lies between the radii is no ellipse")
    values, vectors = np.linalg.eigh(form)
    major, minor = 1 / np.sqrt(values)
    mean = (major + minor) / 2
    angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])) % 180
    return Ring(float(mean * scale), float((major - minor) / mean), float(angle))

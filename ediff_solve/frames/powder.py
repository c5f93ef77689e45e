"""Camera length and ellipse from the rings of a known sample, such as gold on a cross grating.

All rings at once: of the rings that the crystal has, drawn with one scale, one ellipse and one
centre, those are the right ones under which the picture is brightest against its surroundings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.optimize import minimize

from ediff_solve.frames.counting.detection import find_beam
from ediff_utils.bloch.simulation import structure_factors
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.settings import CrystalSettings, check
from ediff_utils.crystals.crystal import Crystal

#: Face-centred cubic metals [angstrom] that samples are made of: edge at room temperature, number.
#: Swanson and Tatge, NBS Circular 539 I (1953): Au 4.0786, Ag 4.0862, Al 4.0494, Pt 3.9237,
#: Cu 3.6150; gold as everywhere here.
METALS = {
    "gold": (4.0782, 79), "silver": (4.0862, 47), "aluminium": (4.0494, 13),
    "platinum": (3.9237, 78), "copper": (3.6150, 29),
}  # fmt: skip
#: Rings that are looked at [1/angstrom], closer than this share they are one, the weakest shown.
_REACH, _SAME, _WEAKEST = 1.5, 0.02, 0.03
#: Directions and steps a pixel of the picture in polar coordinates; Gaussians that a ring and its
#: surroundings are smoothed with [pixel].
_DIRECTIONS, _STEPS, _RING, _AROUND = 180, 2, 1.2, 5.0
#: Rings are so far from the direct beam [pixel], and at least so far out in all directions.
_INNER = 8.0
#: Scales tried per factor of e, and how far the camera length may be off where it is known.
_SCALES, _OFF = 400, 0.2
#: Least contrast of a ring, and of all together, that is believed [standard deviations].
_LEAST, _BELIEVED = 4.0, 8.0
#: Rings are used up to this share of the way from the centre to the nearest edge.
_WHOLE = 0.93
#: Rings nearer to each other are one peak [pixel].
_UNRESOLVED = 5.0


@dataclass(frozen=True)
class RingCalibration:
    """Scale and distortion of a camera; made by :func:`calibrate_rings`, and a file's content.

    Attributes
    ----------
    pixel_size : float
        [1/angstrom, without 2 pi]
    ellipticity, axis : float
        See :class:`ediff_solve.frames.rings.Ring`.
    centre : tuple of float
        Row and column of the rings' centre [pixel].
    rings : tuple of dict
        Of each ring: indices ``hkl``, ``q`` [1/angstrom], ``radius`` [pixel], the ``pixel_size``
        that it alone has, and its ``contrast``, in standard deviations of the picture's noise.
    contrast : float
        Of all rings together.
    sample : str
    source : str
        The picture.
    """

    pixel_size: float
    ellipticity: float
    axis: float
    centre: tuple[float, float]
    rings: tuple[dict[str, Any], ...]
    contrast: float
    sample: str
    source: str = ""

    def write(self, path: str | Path) -> Path:
        """Write a JSON file that :func:`read_calibration` gives back, in one step."""
        with atomic_write(Path(path)) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return Path(path)


def read_calibration(path: str | Path) -> RingCalibration:
    """Read what ``ediff calibrate rings`` wrote; a UserError where it did not."""
    try:
        read = json.loads(Path(path).read_text())
        found = RingCalibration(
            float(read["pixel_size"]),
            float(read["ellipticity"]),
            float(read["axis"]),
            (float(read["centre"][0]), float(read["centre"][1])),
            tuple(read["rings"]),
            float(read["contrast"]),
            str(read["sample"]),
            str(read["source"]),
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a calibration") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: not a calibration as 'ediff calibrate rings' writes it: {error!r}"
        ) from None
    if not (found.pixel_size > 0 and 0 <= found.ellipticity < 1):
        raise UserError(f"{path}: pixel_size, ellipticity: expected above 0, and from 0 to 1")
    return found


def find_crystal(name: str) -> Crystal:
    """One of :data:`METALS` by its name, or the crystal of a CIF."""
    if name.lower() in METALS:
        edge, number = METALS[name.lower()]
        lattice = edge / 2 * (1 - np.eye(3))
        return Crystal(
            name.lower(), lattice, np.array([number]), np.zeros((1, 3)), edge * np.eye(3)
        )
    if not Path(name).exists():
        raise UserError(f"--crystal {name}: expected a CIF or one of {', '.join(METALS)}")
    from ediff_utils.crystals.sources import load_crystals

    found = load_crystals(check(CrystalSettings, crystals=name, max_volume=1e5), progress=False)
    if len(found.table) != 1:
        raise UserError(f"{name}: {len(found.table)} crystals; expected one, in a CIF")
    return Crystal.from_row(found.table.iloc[0])


def list_rings(crystal: Crystal, reach: float = _REACH) -> list[dict[str, Any]]:
    """Rings of a powder up to ``reach`` [1/angstrom], kinematical: indices, q and weight.

    The weight, 1 for the strongest, is that of the brightness of the ring's line: multiplicity
    times the structure factor's square over q, the ring's length. Rings closer than two per cent
    are one.
    """
    factors = structure_factors(crystal, reach)
    middle = [n // 2 for n in factors.shape]
    index = (np.moveaxis(np.indices(factors.shape), 0, -1) - np.array(middle)).reshape(-1, 3)
    q = np.linalg.norm(index @ crystal.reciprocal_lattice, axis=1)
    strength = np.abs(factors.ravel()) ** 2
    seen = (q > 1e-6) & (q <= reach)
    # Miller indices of the conventional cell.
    to_conventional = np.linalg.inv(crystal.lattice).T @ crystal.conventional_lattice.T
    hkl = np.rint(index @ to_conventional).astype(int)
    order = np.flatnonzero(seen)[np.argsort(q[seen], kind="stable")]
    rings: list[dict[str, Any]] = []
    first = 0
    while first < len(order):
        last = first
        while last < len(order) and q[order[last]] <= q[order[first]] * (1 + _SAME):
            last += 1
        own = order[first:last]
        total = strength[own].sum()
        if total > 0:
            name = _name_ring(hkl[own], strength[own])
            where = float((q[own] * strength[own]).sum() / total)
            rings.append({"hkl": name, "q": where, "weight": float(total / where)})
        first = last
    top = max((ring["weight"] for ring in rings), default=0.0)
    return [
        ring | {"weight": ring["weight"] / top} for ring in rings if ring["weight"] > _WEAKEST * top
    ]


def _name_ring(hkl: np.ndarray, strength: np.ndarray) -> str:
    """Indices of those reflections of a ring that add most to it."""
    shares: dict[str, float] = {}
    for indices, value in zip(np.sort(np.abs(hkl), axis=1)[:, ::-1], strength, strict=True):
        name = " ".join(map(str, indices))
        shares[name] = shares.get(name, 0.0) + float(value)
    return max(shares, key=lambda name: shares[name])


def unroll(frame: np.ndarray, centre: Sequence[float] | np.ndarray) -> tuple[np.ndarray, float]:
    """Contrast of a picture in polar coordinates, and its noise.

    What is brighter than its surroundings along the radius, as a share of them, over the spread of
    that at the radius: shape (directions, steps), half a pixel a step; NaN off the picture.
    """
    frame = np.asarray(frame, float)
    reach = float(np.hypot(frame.shape[0], frame.shape[1])) / 2
    radius = np.arange(0, reach, 1 / _STEPS)
    angle = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    rows = centre[0] + radius * np.cos(angle)[:, None]
    columns = centre[1] + radius * np.sin(angle)[:, None]
    inside = (rows >= 0) & (columns >= 0)
    inside &= (rows <= frame.shape[0] - 1) & (columns <= frame.shape[1] - 1)
    polar = map_coordinates(frame, [rows, columns], order=1, mode="nearest")
    # The background falls off by orders of magnitude: along the radius its logarithm is smooth.
    low = max(float(np.percentile(frame, 20)), 1e-3 * float(frame.mean()), 1e-12)
    polar = np.log(np.maximum(polar, 0) + low)
    band = gaussian_filter1d(polar, _RING * _STEPS, axis=1)
    band -= gaussian_filter1d(polar, _AROUND * _STEPS, axis=1)
    inside &= radius >= _INNER
    spread = np.array(
        [np.std(column[own]) if own.sum() > 8 else np.inf
         for column, own in zip(band.T, inside.T, strict=True)]
    )  # fmt: skip
    usable = np.isfinite(spread)
    level = np.interp(radius, radius[usable], gaussian_filter1d(spread[usable], 4 * _STEPS))
    return np.where(inside, band / level, np.nan), float(radius[-1])


def _brightness(polar: np.ndarray, radii: np.ndarray) -> float:
    """Mean contrast along a curve, radii at each direction [pixel]; nothing off the picture."""
    place = radii * _STEPS
    low = np.floor(place).astype(int)
    good = (low >= 0) & (low < polar.shape[1] - 1)
    rows = np.flatnonzero(good)
    share = place[rows] - low[rows]
    value = polar[rows, low[rows]] * (1 - share) + polar[rows, low[rows] + 1] * share
    value = value[np.isfinite(value)]
    return float(value.mean() * np.sqrt(len(value) / len(radii))) if len(value) else 0.0


def _curve(parameters: np.ndarray, q: float) -> np.ndarray:
    """Radii of a ring [pixel]: scale, cosine and sine of the ellipse, and the centre's shift."""
    scale, cosine, sine, row, column = parameters
    angle = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    ellipse = scale * (1 + cosine * np.cos(2 * angle) + sine * np.sin(2 * angle))
    return q * ellipse + row * np.cos(angle) + column * np.sin(angle)


def _score(parameters: np.ndarray, polar: np.ndarray, rings: list[dict[str, Any]]) -> float:
    total = sum(
        np.sqrt(r["weight"]) * _brightness(polar, _curve(parameters, r["q"])) for r in rings
    )
    return float(total / np.sqrt(sum(r["weight"] for r in rings)))


def calibrate_rings(
    frame: np.ndarray,
    crystal: Crystal,
    *,
    pixel_size: float | None = None,
    source: str = "",
) -> RingCalibration:
    """Find scale, ellipse and centre of the rings of a known crystal.

    Parameters
    ----------
    frame : ndarray, shape (height, width)
    crystal : Crystal
    pixel_size : float, optional
        Where it is known to within a fifth [1/angstrom].
    source : str
        The picture's name.

    Returns
    -------
    RingCalibration

    Raises
    ------
    UserError
        No rings of this crystal are seen.
    """
    frame = np.where(np.isfinite(frame), frame, 0).astype(np.float32)
    centre, _, _ = find_beam(frame, np.ones(frame.shape, bool))
    rings = list_rings(crystal)
    polar, reach = unroll(frame, centre)
    scale = _find_scale(polar, reach, rings, pixel_size)
    # Rings that the picture holds whole, clear of a dark margin.
    whole = _WHOLE * min(*centre, *(np.array(frame.shape) - 1 - centre))
    seen = [r for r in rings if r["q"] * scale < whole]
    if not seen:
        raise UserError(
            f"{source or 'frame'}: no rings of {crystal.material_id} are seen within the picture"
        )
    start = np.array([scale, 0.0, 0.0, 0.0, 0.0])
    for _ in range(2):
        start = _refine(start, polar, seen)
        moved = np.hypot(start[3], start[4])
        centre = centre + start[3:]
        start[3:] = 0
        if moved < 0.05:
            break
        polar, reach = unroll(frame, centre)
    start = _refine(start, polar, seen)
    measured, contrast = _judge(start, polar, seen)
    if not measured or contrast < _BELIEVED:
        raise UserError(
            f"{source or 'frame'}: no rings of {crystal.material_id} are seen (contrast "
            f"{contrast:.1f}, expected {_BELIEVED:g} or more); is it the right sample? "
            "a pixel_size to within a fifth helps"
        )
    ellipticity = 2 * np.hypot(start[1], start[2])
    axis = np.degrees(np.arctan2(start[2], start[1])) / 2
    return RingCalibration(
        1 / start[0],
        float(ellipticity),
        float(axis % 180),
        (float(centre[0] + start[3]), float(centre[1] + start[4])),
        tuple(measured),
        contrast,
        crystal.material_id,
        source,
    )


def _find_scale(
    polar: np.ndarray, reach: float, rings: list[dict[str, Any]], pixel_size: float | None
) -> float:
    """Pixels a reciprocal angstrom under which the rings fall on what is bright."""
    seen = np.isfinite(polar)
    profile = np.nansum(polar, axis=0) / np.maximum(seen.sum(axis=0), 1)
    profile *= np.sqrt(seen.mean(axis=0))
    if pixel_size is None:
        # The innermost ring clear of the beam, and two rings in the picture at least.
        low = 1.5 * _INNER / rings[0]["q"]
        high = 0.9 * reach / rings[min(1, len(rings) - 1)]["q"]
    else:
        low, high = (1 - _OFF) / pixel_size, (1 + _OFF) / pixel_size
    many = max(int(_SCALES * np.log(high / low)), 50)
    scales = np.exp(np.linspace(np.log(low), np.log(high), many))
    q = np.array([r["q"] for r in rings])
    weight = np.sqrt([r["weight"] for r in rings])
    places = np.outer(scales, q) * _STEPS
    found = np.interp(places, np.arange(len(profile)), profile, right=0)
    inside = places < len(profile)
    norm = np.sqrt((inside * weight**2).sum(axis=1))
    return float(scales[np.argmax((found * weight).sum(axis=1) / norm)])


def _refine(start: np.ndarray, polar: np.ndarray, rings: list[dict[str, Any]]) -> np.ndarray:
    units = np.array([0.02 * start[0], 0.02, 0.02, 1.0, 1.0])
    simplex = start + np.vstack([np.zeros(5), np.diag(units)])
    found = minimize(
        lambda p: -_score(p, polar, rings),
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-5, "maxiter": 1500},
    )
    return found.x


def _judge(
    parameters: np.ndarray, polar: np.ndarray, rings: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], float]:
    """Each ring that is seen, by its own scale, and the contrast of all."""
    half = np.arange(_DIRECTIONS) // (_DIRECTIONS // 12) % 2 == 0
    shifts = np.arange(-8, 8.01, 0.25)
    measured, squares = [], 0.0
    for ring in _join(rings, _UNRESOLVED / parameters[0]):
        curve = _curve(parameters, ring["q"])
        values = np.array([_brightness(polar, curve + d) for d in shifts])
        # Every other twelfth of the ring against the rest: what differs between them is noise.
        parts = [[_brightness(polar[own], curve[own] + d) for d in shifts] for own in (half, ~half)]
        noise = max(float(np.std(np.array(parts[0]) - np.array(parts[1])) / 2), 1e-9)
        near = np.abs(shifts) < max(0.04 * curve.mean(), 1.0)
        best = int(np.argmax(np.where(near, values, -np.inf)))
        beside = np.abs(np.abs(shifts - shifts[best]) - 5) < 1
        contrast = float((values[best] - values[beside].mean()) / noise)
        if contrast < _LEAST or not (near[best - 1] and near[best + 1]):
            continue
        squares += contrast**2
        radius = float(curve.mean()) + _peak(shifts, values, best)
        measured.append(
            {
                "hkl": ring["hkl"],
                "q": round(ring["q"], 5),
                "radius": round(radius, 3),
                "pixel_size": round(ring["q"] / radius, 7),
                "contrast": round(contrast, 1),
            }
        )
    return measured, float(np.sqrt(squares))


def _join(rings: list[dict[str, Any]], apart: float) -> list[dict[str, Any]]:
    """Rings, those nearer to each other than ``apart`` [1/angstrom] as one at their mean."""
    groups: list[list[dict[str, Any]]] = []
    for ring in rings:
        if groups and ring["q"] - groups[-1][-1]["q"] < apart:
            groups[-1].append(ring)
        else:
            groups.append([ring])
    return [
        {
            "hkl": ", ".join(r["hkl"] for r in group),
            "q": float(np.average([r["q"] for r in group], weights=[r["weight"] for r in group])),
        }
        for group in groups
    ]


def _peak(x: np.ndarray, y: np.ndarray, best: int) -> float:
    """Top of the parabola through the highest value and those beside it."""
    if not 0 < best < len(x) - 1:
        return float(x[best])
    left, top, right = y[best - 1 : best + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(x[best] + shift * (x[1] - x[0]))


def compute_ring_profile(
    frame: np.ndarray, found: RingCalibration
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness above the background, as a share of it, along q; the ellipse made a circle.

    Of shape (n,) each, q [1/angstrom] from the innermost ring's surroundings to the picture's edge.
    """
    frame = np.asarray(frame, float)
    u, v = (a - c for a, c in zip(np.indices(frame.shape), found.centre, strict=True))
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    stretched = 1 + found.ellipticity / 2 * np.cos(2 * (angle - np.radians(found.axis)))
    step = np.rint(_STEPS * radius / stretched).astype(int)
    count = np.maximum(np.bincount(step.ravel()), 1)
    mean = np.bincount(step.ravel(), frame.ravel()) / count
    smooth = np.log(np.maximum(gaussian_filter1d(mean, 1), 1e-12))
    above = np.exp(smooth - gaussian_filter1d(smooth, 2 * _AROUND * _STEPS)) - 1
    q = np.arange(len(mean)) / _STEPS * found.pixel_size
    first = found.rings[0]["q"] * 0.75 if found.rings else 0.0
    shown = (q > first) & (q < found.pixel_size * min(frame.shape) / 2)
    return q[shown], above[shown]


def format_rings(found: RingCalibration) -> str:
    """Lines that say what was found."""
    sizes = [ring["pixel_size"] for ring in found.rings]
    spread = (max(sizes) - min(sizes)) / found.pixel_size if len(sizes) > 1 else 0.0
    lines = [
        f"{found.source}: {len(found.rings)} rings of {found.sample}",
        f"{'pixel size':16} {found.pixel_size:.6f} 1/angstrom; rings alone within {spread:.1%}",
        f"{'ellipse':16} {found.ellipticity:.2%}, long axis {found.axis:.0f} degrees from rows",
        f"{'centre':16} row {found.centre[0]:.2f}, column {found.centre[1]:.2f}",
    ]
    lines += [
        f"{'ring ' + ring['hkl']:16} {ring['q']:.4f} 1/angstrom at {ring['radius']:.2f} pixels: "
        f"{ring['pixel_size']:.6f}, contrast {ring['contrast']:.0f}"
        for ring in found.rings
    ]
    return "\n".join(lines)

"""What the net of one zone says: its shape, the symmetry of its intensities, absences, layers.

Near a zone axis the cell is often not in the pattern, but the net is, and which systems have such a
net, with such intensities, is.
"""

from __future__ import annotations

import itertools
from functools import cache
from math import gcd

import numpy as np

from ediff_solve.lattice import LatticeCandidate
from ediff_solve.lattice.nets import Net
from ediff_solve.predictor.evidence.reflections import HALF_WEIGHT, residuals

#: Operations on (h, k) of a reduced net, and the shape of net that each belongs to.
OPERATIONS = {
    "two_fold": ("any", ((-1, 0), (0, -1))),
    "mirror_1": ("rectangle", ((1, 0), (0, -1))),
    "mirror_2": ("rectangle", ((-1, 0), (0, 1))),
    "swap": ("rhombus", ((0, 1), (1, 0))),
    "other_swap": ("rhombus", ((0, -1), (-1, 0))),
    "shear": ("half", ((1, 0), (1, -1))),
    "other_shear": ("half", ((-1, 0), (-1, 1))),
    "four_fold": ("square", ((0, 1), (-1, 0))),
    "three_fold": ("hexagon", ((-1, 1), (-1, 0))),
    "six_fold": ("hexagon", ((0, 1), (-1, 1))),
}
#: A net may be so far off a shape for its operations to be tried.
NEAR_SHAPE = 0.04
SHAPES = ("rectangle", "rhombus", "half", "square", "hexagon")
PARITIES = ((1, 0), (0, 1), (1, 1))
#: Fewest spots of a zone whose intensities are looked at, and pairs that are compared.
FEWEST_SPOTS, FEWEST_PAIRS = 6, 4
#: Spots whose excitation errors differ by so much count half as a pair [1/angstrom].
UNLIKE = 0.01
#: How far from the beam a net's occupancy is counted [1/angstrom].
OCCUPIED = 0.8
_LAYERS = np.array(list(itertools.product(range(-3, 4), repeat=3)))
#: Least height of a layer over the net's plane [1/angstrom].
_LEAST_RISE = 0.01
NAMES = tuple(
    f"net_{name}"
    for name in (
        *("length_1", "length_2", "ratio", "cosine", "size", "sigma", "gain"),
        *("on", "on_intensity", "in_zone", "in_zone_intensity", "spots", "tilt"),
        *("spread", "reach", "occupancy", "away_nearest", "away_median"),
        *SHAPES,
        *("cubic", "cubic_axis", "cubic_square", "tetragonal", "hexagonal"),
        *(f"{name}_{what}" for name in OPERATIONS for what in ("likeness", "factor", "partners")),
        *(f"parity_{h}{k}_{what}" for h, k in PARITIES for what in ("weakness", "share")),
        *(f"row_{axis}_{what}" for axis in (1, 2) for what in ("weakness", "odd", "count")),
        *("within", "layer_rise", "layer_shift_1", "layer_shift_2", "condition", "along_error"),
    )
)


@cache
def cubic_sections() -> np.ndarray:
    """Nets of cubic lattices, axes up to 3: ratio, cosine, h^2 + k^2 + l^2 of the shorter vector.

    Shape (n, 3); primitive, body-centred and face-centred lattices.
    """
    found = set()
    hkl = np.array(list(itertools.product(range(-6, 7), repeat=3)))
    hkl = hkl[(hkl != 0).any(axis=1)]
    hkl = hkl[np.argsort((hkl**2).sum(axis=1), kind="stable")]
    allowed = (
        np.ones(len(hkl), bool),
        hkl.sum(axis=1) % 2 == 0,
        (hkl % 2 == hkl[:, :1] % 2).all(axis=1),
    )
    for axis in itertools.combinations_with_replacement(range(4), 3):
        if gcd(*axis) != 1:
            continue
        for keep in allowed:
            own = hkl[keep & (hkl @ axis == 0)]
            first = own[0]
            second = next(g for g in own if np.cross(first, g).any())
            one, two = first @ first, second @ second
            cosine = abs(first @ second) / np.sqrt(one * two)
            found.add((round(np.sqrt(two / one), 6), round(cosine, 6), int(one)))
    return np.array(sorted(found))


@cache
def uniaxial_conditions(hexagonal: bool) -> np.ndarray:
    """What g1.g1, g1.g2, g2.g2 of a net of a tetragonal or hexagonal lattice obey: unit rows.

    Of vectors with indices up to 1. Their scalar products are A p + C q with p and q of the
    indices, so that the three of a net lie in a plane; that of rectangular nets alone is left out.
    """
    hkl = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    hkl = hkl[(hkl != 0).any(axis=1)]
    i, j = np.nonzero(~np.eye(len(hkl), dtype=bool))
    one, two = hkl[i], hkl[j]

    def plane(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1]
        return product + hexagonal * (a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]) / 2

    in_plane = np.column_stack([plane(one, one), plane(one, two), plane(two, two)])
    along = np.column_stack([one[:, 2] ** 2, one[:, 2] * two[:, 2], two[:, 2] ** 2])
    normal = np.cross(in_plane, along).astype(float)
    size = np.linalg.norm(normal, axis=1)
    normal = normal[size > 0] / size[size > 0, None]
    largest = np.argmax(np.abs(normal), axis=1)[:, None]
    normal *= np.sign(np.take_along_axis(normal, largest, axis=1))
    normal = normal[np.abs(normal[:, [0, 2]]).max(axis=1) > 1e-6]
    return np.unique(np.round(normal, 6), axis=0)


def zone_numbers(
    net: Net | None,
    spots: tuple[np.ndarray, np.ndarray, np.ndarray],
    best: LatticeCandidate | None,
) -> np.ndarray:
    """Numbers of :data:`NAMES`, shape (len(NAMES),); NaN where there is no net.

    Spots are qx, qy [1/angstrom] and intensity about the centre, shape (n,); ``best`` is the
    lattice that explains them best.
    """
    found = dict.fromkeys(NAMES, np.nan)
    if net is None:
        return np.array(list(found.values()))
    x, y, intensity = spots
    q, zone, away = np.hypot(x, y), net.in_zone, ~net.in_zone
    shape, total = _shape_numbers(net), max(float(intensity.sum()), 1e-30)
    numbers = shape | {
        "on": net.on.mean(),
        "on_intensity": intensity[net.on].sum() / total,
        "in_zone": zone.mean(),
        "in_zone_intensity": intensity[zone].sum() / total,
        "spots": np.log1p(zone.sum()),
        "tilt": np.degrees(np.hypot(*net.tilt)),
    }
    if away.any():
        numbers["away_nearest"] = q[away].min()
        numbers["away_median"] = np.median(np.abs(net.z[away]))
    chosen = np.flatnonzero(zone & (intensity > 0))
    if len(chosen) >= FEWEST_SPOTS:
        numbers |= _intensity_numbers(net, intensity, q, chosen, shape)
    if best is not None:
        numbers |= _layer_numbers(net, best)
    return np.array(list((found | {f"net_{k}": float(v) for k, v in numbers.items()}).values()))


def _shape_numbers(net: Net) -> dict[str, float]:
    """How far the net is from each shape, and from the nets of symmetric lattices."""
    a, b = net.basis
    metric = np.array([a @ a, a @ b, b @ b])
    one, two = np.sqrt(metric[[0, 2]])
    ratio, cosine = two / one, metric[1] / (one * two)
    table = cubic_sections()
    distance = np.hypot(np.log(ratio / table[:, 0]), cosine - table[:, 1])
    nearest = int(np.argmin(distance))
    metric /= np.linalg.norm(metric)
    return {
        "length_1": one,
        "length_2": two,
        "ratio": ratio,
        "cosine": cosine,
        "size": np.sqrt(abs(np.linalg.det(net.basis))),
        "sigma": net.sigma,
        "gain": net.gain,
        "rectangle": cosine,
        "rhombus": np.log(ratio),
        "half": abs(2 * cosine * ratio - 1) / 2,
        "square": np.hypot(cosine, np.log(ratio)),
        "hexagon": np.hypot(cosine - 0.5, np.log(ratio)),
        "cubic": distance[nearest],
        "cubic_axis": np.sqrt(table[nearest, 2]) / one,
        "cubic_square": table[nearest, 2],
        "tetragonal": np.abs(uniaxial_conditions(False) @ metric).min(),
        "hexagonal": np.abs(uniaxial_conditions(True) @ metric).min(),
    }


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else np.nan


def _intensity_numbers(
    net: Net, intensity: np.ndarray, q: np.ndarray, chosen: np.ndarray, shape: dict[str, float]
) -> dict[str, float]:
    """Symmetry of the zone's intensities about the centre, and what is absent or weak."""
    hk, z, strength, radius = net.hk[chosen], net.z[chosen], intensity[chosen], q[chosen]
    reach = float(np.quantile(radius, 0.95))
    amplitude, near = np.sqrt(strength), min(reach, OCCUPIED)
    left = residuals(strength, radius**2, z, np.zeros(len(chosen), int))
    weight = 1 / (1 + (z / HALF_WEIGHT) ** 2)
    # Points of the net in a circle, by its area, less the direct beam.
    points = max(np.pi * near**2 / shape["size"] ** 2 - 1, 1)
    found = {
        "spread": np.sqrt(_mean(z**2, amplitude)),
        "reach": reach,
        "occupancy": min((radius < near).sum() / points, 2.0),
    }
    found |= _symmetry_numbers(hk, z, amplitude, left, weight, shape)
    odd_even = hk % 2
    even = ~odd_even.any(axis=1)
    for h, k in PARITIES:
        odd = (odd_even == (h, k)).all(axis=1)
        found[f"parity_{h}{k}_share"] = odd.mean()
        found[f"parity_{h}{k}_weakness"] = _mean(left[even], weight[even]) - _mean(
            left[odd], weight[odd]
        )
    for axis in (0, 1):
        row = hk[:, 1 - axis] == 0
        odd, even = row & (odd_even[:, axis] == 1), row & (odd_even[:, axis] == 0)
        found[f"row_{axis + 1}_count"] = np.log1p(row.sum())
        found[f"row_{axis + 1}_odd"] = odd.sum() / row.sum() if row.any() else np.nan
        found[f"row_{axis + 1}_weakness"] = _mean(left[even], weight[even]) - _mean(
            left[odd], weight[odd]
        )
    return found


def _symmetry_numbers(
    hk: np.ndarray,
    z: np.ndarray,
    amplitude: np.ndarray,
    left: np.ndarray,
    weight: np.ndarray,
    shape: dict[str, float],
) -> dict[str, float]:
    """How alike the spots are that an operation takes into each other, by operation."""
    found: dict[str, float] = {}
    most = 2 * int(np.abs(hk).max()) + 1
    place = np.full((2 * most + 1, 2 * most + 1), -1)
    place[tuple((hk + most).T)] = np.arange(len(hk))
    for name, (kind, matrix) in OPERATIONS.items():
        if kind != "any" and shape[kind] > NEAR_SHAPE:
            continue
        turned = hk @ np.array(matrix)
        partner = place[tuple((turned + most).T)]
        other = (hk != turned).any(axis=1)
        found[f"{name}_partners"] = _mean((partner >= 0)[other], (amplitude * weight)[other])
        i = np.flatnonzero((partner >= 0) & other)
        if len(i) < FEWEST_PAIRS:
            continue
        j = partner[i]
        # Spots that the tilt excites unlike say little.
        own = np.sqrt(weight[i] * weight[j]) / (1 + ((z[i] - z[j]) / UNLIKE) ** 2)
        square = np.sum(own * (left[i] ** 2 + left[j] ** 2))
        found[f"{name}_likeness"] = 2 * np.sum(own * left[i] * left[j]) / max(square, 1e-12)
        size = np.sum(own * (amplitude[i] + amplitude[j]))
        difference = np.sum(own * np.abs(amplitude[i] - amplitude[j]))
        found[f"{name}_factor"] = difference / max(size, 1e-30)
    return found


def _layer_numbers(net: Net, best: LatticeCandidate) -> dict[str, float]:
    """Whether the best lattice has the net, where its first layer is, and how well it is known."""
    own = np.column_stack([net.basis, net.basis @ net.tilt])
    indices = own @ np.linalg.inv(best.reciprocal)
    found = {"within": np.abs(indices - np.rint(indices)).max()}
    points = _LAYERS @ best.reciprocal
    rise = points[:, 2] - points[:, :2] @ net.tilt
    above = np.flatnonzero(rise > _LEAST_RISE)
    if len(above):
        first = above[np.argmin(rise[above])]
        shift = points[first, :2] @ np.linalg.inv(net.basis)
        found["layer_rise"] = rise[first]
        found["layer_shift_1"], found["layer_shift_2"] = np.abs(shift - np.rint(shift))
    hkl = best.hkl[best.indexed].astype(float)
    values = np.linalg.eigvalsh(hkl.T @ hkl)
    found["condition"] = np.log10(max(values[-1], 1e-6) / max(values[0], 1e-6))
    lengths = np.linalg.norm(best.reciprocal, axis=1)
    found["along_error"] = best.errors[:, 2].max() / lengths.min()
    return found

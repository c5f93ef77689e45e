"""Which reflections glide planes and screw axes would extinguish, and how much of them is seen.

Multiple scattering lights up forbidden reflections, so absence is a matter of degree: their share
among the reflections of a zone, and how much weaker they are than the others there. Conditions are
those of International Tables A, section 2.1.3.13, in the conventional basis; those of equivalent
zones are taken together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ediff_solve.predictor.evidence.laue import metric_system
from ediff_solve.predictor.evidence.reflections import Reflections

_Condition = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Zone(NamedTuple):
    """Reflections of a plane or a row, and what would be extinct among them.

    - ``name``: of the plane or row, and which are extinct, as in "h00: not 2n".
    - ``members``: of h, k, l; which reflections belong to it.
    - ``extinct``: of h, k, l; which of them would be extinct.
    """

    name: str
    members: _Condition
    extinct: _Condition


def _odd(n: int) -> _Condition:
    return lambda h, k, l: (
        (n == 0) * (h % 2 != 0) | (n == 1) * (k % 2 != 0) | (n == 2) * (l % 2 != 0)
    )


def _plane(zero: int) -> list[Zone]:
    """Glide planes perpendicular to an axis."""
    name = "".join("0" if i == zero else "hkl"[i] for i in range(3))
    i, j = (n for n in range(3) if n != zero)

    def members(*hkl: np.ndarray) -> np.ndarray:
        return (hkl[zero] == 0) & (hkl[i] != 0) & (hkl[j] != 0)

    def diagonal(*hkl: np.ndarray) -> np.ndarray:
        return (hkl[i] + hkl[j]) % 2 != 0

    def diamond(*hkl: np.ndarray) -> np.ndarray:
        return ((hkl[i] + hkl[j]) % 4 != 0) & ((hkl[i] + hkl[j]) % 2 == 0)

    letters = "hkl"
    return [
        Zone(f"{name}: {letters[i]} odd", members, _odd(i)),
        Zone(f"{name}: {letters[j]} odd", members, _odd(j)),
        Zone(f"{name}: {letters[i]}+{letters[j]} odd", members, diagonal),
        Zone(f"{name}: {letters[i]}+{letters[j]} not 4n", members, diamond),
    ]


def _row(axis: int, *multiples: int) -> list[Zone]:
    """Screw axes along an axis."""
    name = "".join("hkl"[i] if i == axis else "0" for i in range(3))

    def members(*hkl: np.ndarray) -> np.ndarray:
        return np.logical_and.reduce([hkl[i] == 0 for i in range(3) if i != axis])

    def beyond(multiple: int) -> _Condition:
        return lambda *hkl: hkl[axis] % multiple != 0

    return [Zone(f"{name}: not {m}n", members, beyond(m)) for m in multiples]


def _equal(h: np.ndarray, k: np.ndarray, l: np.ndarray) -> np.ndarray:
    return (h == k) & (h != 0) & (l != 0)


def _opposite(h: np.ndarray, k: np.ndarray, l: np.ndarray) -> np.ndarray:
    return (h == -k) & (h != 0) & (l != 0)


def _diagonal_diamond(h: np.ndarray, k: np.ndarray, l: np.ndarray) -> np.ndarray:
    return (2 * h + l) % 4 != 0


#: By system of axes. Members of one line are numbered alike, so that a tree can ask for one.
ZONES: dict[str, list[Zone]] = {
    "triclinic": [],
    "monoclinic": [*_plane(1)[:3], *_row(1, 2)],
    "orthorhombic": [
        *(zone for axis in range(3) for zone in _plane(axis)),
        *(zone for axis in range(3) for zone in _row(axis, 2)),
    ],
    "tetragonal": [
        *_plane(2),
        *_plane(0)[:3],
        Zone("hhl: l odd", _equal, _odd(2)),
        Zone("hhl: 2h+l not 4n", _equal, _diagonal_diamond),
        *_row(2, 2, 4),
        *_row(0, 2),
    ],
    "hexagonal": [
        Zone("hhl: l odd", _equal, _odd(2)),
        Zone("h-hl: l odd", _opposite, _odd(2)),
        *_row(2, 2, 3, 6),
    ],
    "cubic": [
        *_plane(0),
        Zone("hhl: l odd", _equal, _odd(2)),
        Zone("hhl: 2h+l not 4n", _equal, _diagonal_diamond),
        *_row(0, 2, 4),
    ],
}
N_SLOTS = max(len(zones) for zones in ZONES.values())
NAMES = tuple(
    f"zone_{k}_{what}" for k in range(N_SLOTS) for what in ("count", "extinct", "weakness")
)
#: Of the rows that are made equivalent: signs do not matter to a condition but in hexagonal axes.
_CYCLES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def _equivalents(hkl: np.ndarray, system: str) -> list[np.ndarray]:
    """Indices, and those that the lowest Laue class of a system of axes makes of them."""
    if system == "cubic":
        return [hkl[:, list(cycle)] for cycle in _CYCLES]
    if system == "tetragonal":
        return [hkl, hkl[:, [1, 0, 2]] * [-1, 1, 1]]
    if system == "hexagonal":
        third = -hkl[:, 0] - hkl[:, 1]
        turned = [hkl]
        turned.append(np.column_stack([hkl[:, 1], third, hkl[:, 2]]))
        turned.append(np.column_stack([third, hkl[:, 0], hkl[:, 2]]))
        return turned
    return [hkl]


def absence_scores(reflections: Reflections, symbol: str) -> np.ndarray:
    """How much is seen of what would be extinct.

    The indices belong to the conventional basis of the Bravais lattice ``symbol``. See
    :data:`NAMES`: of each zone the logarithm of the number of reflections, the share that would be
    extinct, and by how much these are weaker than the others; NaN where there are none.
    """
    system = metric_system(symbol)
    found = np.full((N_SLOTS, 3), np.nan)
    if not len(reflections.hkl):
        return found.ravel()
    copies = _equivalents(reflections.hkl, system)
    h, k, l = np.concatenate(copies).T
    value = np.tile(reflections.value, len(copies))
    weight = np.tile(reflections.weight, len(copies))
    for slot, zone in enumerate(ZONES[system]):
        chosen = np.flatnonzero(zone.members(h, k, l))
        found[slot, 0] = np.log1p(len(chosen))
        if not len(chosen):
            continue
        extinct = zone.extinct(h[chosen], k[chosen], l[chosen])
        own = weight[chosen]
        found[slot, 1] = extinct.mean()
        sums = [np.sum(own[part]) for part in (extinct, ~extinct)]
        if min(sums) > 0:
            weak, strong = (
                np.sum((own * value[chosen])[part]) / total
                for part, total in zip((extinct, ~extinct), sums, strict=True)
            )
            found[slot, 2] = strong - weak
    return found.ravel()

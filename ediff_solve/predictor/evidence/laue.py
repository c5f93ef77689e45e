"""Which rotations of the lattice the intensities obey: Laue class scores.

A trigonal crystal's lattice may be hexagonal, a cubic one's may lack the four-fold axis. Each
rotation of the lattice maps reflections onto others; where it belongs to the Laue class, these are
as strong, but for what differs in excitation.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import spglib

from ediff_solve.lattice.bravais import SYMBOLS
from ediff_solve.predictor.evidence.reflections import Reflections, friedel_sign
from ediff_utils.crystals.groups import FAMILIES, hall_number

#: Kinds of axes, up to five a system: what a score belongs to.
AXES = {
    "triclinic": (),
    "monoclinic": ("2 [010]",),
    "orthorhombic": ("2 [001]", "2 [100]", "2 [010]"),
    "tetragonal": ("2 [001]", "2 [100]", "2 [110]", "4 [001]"),
    "hexagonal": ("2 [001]", "2 [100]", "2 [210]", "6 [001]", "3 [001]"),
    "cubic": ("2 [100]", "3 [111]", "2 [110]", "4 [100]"),
}
N_SLOTS = max(len(axes) for axes in AXES.values())
#: Score, share of reflections with a partner, and logarithm of the number of pairs of each.
NAMES = tuple(f"laue_{k}_{what}" for k in range(N_SLOTS) for what in ("score", "share", "pairs"))
#: Index beyond which two reflections might be taken for one.
LARGEST_INDEX = 500


def metric_system(symbol: str) -> str:
    """System of a Bravais lattice's axes: that of hR is hexagonal."""
    return FAMILIES[symbol[0]]


def _axis(rotation: np.ndarray) -> tuple[int, np.ndarray]:
    """Order of a rotation in a conventional basis, and its axis as smallest integers."""
    order = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}[int(np.trace(rotation))]
    power, total = np.eye(3, dtype=int), np.zeros((3, 3), dtype=int)
    for _ in range(order):
        total, power = total + power, power @ rotation
    axis = total[:, np.argmax(np.abs(total).sum(axis=0))]
    axis = axis // max(np.gcd.reduce(axis), 1)
    return order, axis * (1 if axis[np.argmax(axis != 0)] > 0 else -1)


def _kind(system: str, order: int, axis: np.ndarray) -> str:
    """The name in :data:`AXES` of an axis and those equivalent to it."""
    if system == "cubic":
        name = "1" * int(np.abs(axis).sum())
        return f"{order} [{name:0<3}]"
    if system == "hexagonal" and not axis[2]:
        # [100], [010] and [110] are equivalent, as are [210], [120] and [1-10].
        short = axis @ np.array([[2, -1, 0], [-1, 2, 0], [0, 0, 2]]) @ axis == 2
        return f"{order} [{'100' if short else '210'}]"
    if system == "tetragonal" and not axis[2]:
        return f"{order} [{'110' if axis.all() or abs(axis[:2]).sum() == 2 else '100'}]"
    return f"{order} [{''.join(map(str, np.abs(axis)))}]"


@cache
def rotations(symbol: str) -> tuple[tuple[int, np.ndarray], ...]:
    """Rotations of a Bravais lattice in its conventional basis, with the slots of their axes."""
    system = metric_system(symbol)
    number = {value: key for key, value in SYMBOLS.items()}[symbol]
    found = {}
    symmetry = spglib.get_symmetry_from_database(hall_number(number))
    assert symmetry is not None  # as every space group has one
    for rotation in symmetry["rotations"]:
        proper = rotation * int(np.rint(np.linalg.det(rotation)))
        order, axis = _axis(proper)
        if order == 1:
            continue
        slot = AXES[system].index(_kind(system, order, axis))
        found[proper.tobytes()] = (slot, proper)
    return tuple(found.values())


@cache
def _stacked(symbol: str) -> tuple[tuple[int, ...], np.ndarray]:
    """Slots and matrices of :func:`rotations`."""
    found = rotations(symbol)
    matrices = np.array([rotation for _, rotation in found]).reshape(-1, 3, 3)
    return tuple(slot for slot, _ in found), matrices


def _code(hkl: np.ndarray) -> np.ndarray:
    base = 2 * LARGEST_INDEX + 1
    h, k, l = (hkl * friedel_sign(hkl)[:, None] + LARGEST_INDEX).T.astype(np.int64)
    return (h * base + k) * base + l


def laue_scores(reflections: Reflections, symbol: str) -> np.ndarray:
    """Agreement of reflections that the axes of a lattice make equivalent; shape (15,).

    The indices belong to the conventional basis of the Bravais lattice ``symbol``. See
    :data:`NAMES`: correlation of the pairs' values, share of the reflections that have a partner,
    and logarithm of the number of pairs; NaN for axes that the lattice does not have.
    """
    found = np.full((N_SLOTS, 3), np.nan)
    hkl = reflections.hkl
    if not len(hkl) or np.abs(hkl).max() > LARGEST_INDEX // 2:
        return found.ravel()
    codes = _code(hkl)
    order = np.argsort(codes)
    codes = codes[order]
    value, weight = reflections.value, reflections.weight
    product, size, pairs, total = (np.zeros(N_SLOTS) for _ in range(4))
    slots, matrices = _stacked(symbol)
    # All rotations at once: most of the time would go into the calls.
    every = _code((hkl @ matrices).reshape(-1, 3)).reshape(len(slots), len(hkl))
    places = np.searchsorted(codes, every)
    places[places == len(codes)] = 0
    partners = order[places]
    found_there = (codes[places] == every) & (partners != np.arange(len(hkl)))
    for slot, partner, there in zip(slots, partners, found_there, strict=True):
        i, j = np.flatnonzero(there), partner[there]
        both = np.sqrt(weight[i] * weight[j])
        product[slot] += 2 * np.sum(both * value[i] * value[j])
        size[slot] += np.sum(both * (value[i] ** 2 + value[j] ** 2))
        pairs[slot] += there.sum()
        total[slot] += len(hkl)
    some = size > 0
    found[some, 0] = product[some] / size[some]
    found[total > 0, 1] = pairs[total > 0] / total[total > 0]
    found[total > 0, 2] = np.log1p(pairs[total > 0])
    return found.ravel()

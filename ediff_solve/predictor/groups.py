"""From probabilities of space groups to those of their classes."""

from __future__ import annotations

from functools import cache

import numpy as np

from ediff_utils.crystals.groups import N_GROUPS, bravais, crystal_system, laue_group


@cache
def _classes(kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes of a kind, and to which of them each space group belongs."""
    name = {"laue_class": laue_group, "bravais": bravais, "system": crystal_system}[kind]
    keys = [name(number) for number in range(1, N_GROUPS + 1)]
    names = tuple(dict.fromkeys(keys))
    return names, np.array([names.index(key) for key in keys])


def sum_classes(probabilities: np.ndarray, kind: str) -> dict[str, float]:
    """Probabilities of each "laue_class", "bravais" or "system", likeliest first.

    From those of the space groups, shape (230,).
    """
    names, members = _classes(kind)
    sums = np.bincount(members, probabilities, minlength=len(names))
    return {names[k]: float(sums[k]) for k in np.argsort(-sums, kind="stable")}

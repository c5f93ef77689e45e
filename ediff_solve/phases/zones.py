"""Cubic lattices that have a plane net as a zone: guesses that need no further parameter."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

#: Largest index of a zone axis, and of a reflection in it.
LARGEST_ZONE, LARGEST_INDEX = 3, 5
#: Largest relative error of the ratio of the two lengths; of the angle twice as much [radian].
RATIO = 0.01


@dataclass(frozen=True)
class CubicZone:
    """A cubic lattice in an orientation.

    Parameters
    ----------
    centring : {"P", "I", "F"}
    zone : tuple of int
        Zone axis u <= v <= w.
    a : float
        Of the conventional cell [angstrom].
    misfit : float
        Error of the ratio of the lengths or of the angle [radian], the larger.
    """

    centring: str
    zone: tuple[int, int, int]
    a: float
    misfit: float


def _reflections() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    axis = np.arange(-LARGEST_INDEX, LARGEST_INDEX + 1)
    g = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    g = g[(g != 0).any(axis=1)]
    g = g[np.argsort((g**2).sum(axis=1), kind="stable")]
    even = g % 2
    return g, {
        "P": np.ones(len(g), bool),
        "I": g.sum(axis=1) % 2 == 0,
        "F": (even == even[:, :1]).all(axis=1),
    }


def _zone_net(g: np.ndarray, zone: tuple[int, int, int]) -> tuple[float, float, float] | None:
    """Two shortest lengths, in units of 1/a, and their angle [degree] of a zone's net."""
    plane = g[g @ zone == 0]
    if not len(plane):
        return None
    first = plane[0].astype(float)
    others = plane[(np.cross(plane, first) != 0).any(axis=1)].astype(float)
    if not len(others):
        return None
    second = others[0]
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    cosine = abs(first @ second) / (lengths[0] * lengths[1])
    return *lengths, float(np.degrees(np.arccos(min(cosine, 1.0))))


def find_cubic_zones(vectors: np.ndarray) -> list[CubicZone]:
    """Cubic lattices with zone indices up to 3 that have a net, best fit first.

    Rows of the net, shape (2, 2), are its two shortest vectors [1/angstrom].
    """
    short, long = np.linalg.norm(vectors, axis=1)
    cosine = abs(vectors[0] @ vectors[1]) / (short * long)
    angle = np.degrees(np.arccos(min(cosine, 1.0)))
    g, centrings = _reflections()
    top = range(LARGEST_ZONE + 1)
    zones = [(u, v, w) for w in top[1:] for v in top[: w + 1] for u in top[: v + 1]]
    found = []
    for centring, allowed in centrings.items():
        for zone in zones:
            net = _zone_net(g[allowed], zone) if gcd(*zone) == 1 else None
            if net is None:
                continue
            ratio = abs((net[1] / net[0]) / (long / short) - 1)
            turned = float(np.radians(abs(net[2] - angle)))
            if ratio < RATIO and turned < 2 * RATIO:
                a = float(np.sqrt(net[0] * net[1] / (short * long)))
                found.append(CubicZone(centring, zone, a, max(float(ratio), turned)))
    return sorted(found, key=lambda z: z.misfit)

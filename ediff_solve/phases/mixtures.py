"""Simulated scans of overlapping grains of several phases, behind a detector, with their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ediff_solve.detector.effects import apply_detector
from ediff_solve.detector.settings import DetectorSettings
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import compute_spots, prepare
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.paper.scan.bragg import BraggLists, build_bragg_lists

#: Farthest spots of the detector, and of the simulation behind it [1/angstrom].
Q_MAX, Q_SIMULATED = 1.2, 1.35
#: Grains are so thick [angstrom], and scatter so much of the brightest one's intensity.
THICKNESSES, BRIGHTNESS = (100.0, 500.0), (0.3, 1.0)
#: Spots that are nearer become one, where the stronger is [1/angstrom].
MERGED = 0.012


@dataclass(frozen=True)
class Mixture:
    """A simulated scan.

    Parameters
    ----------
    lists : BraggLists
    layers : ndarray of int, shape (layers, nx, ny)
        The grain of each layer at each position; -1 for none.
    phase : ndarray of int, shape (grains,)
        Number of each grain's crystal.
    rotations : ndarray, shape (grains, 3, 3)
        Columns are the pattern's axes in the crystal's frame.
    scale : float
        Measured lengths over true ones: an error of the camera length, which no spot tells.
    """

    lists: BraggLists
    layers: np.ndarray
    phase: np.ndarray
    rotations: np.ndarray
    scale: float


def simulate_mixture(
    crystals: Sequence[Crystal],
    seed: int,
    size: int = 20,
    grains: Sequence[int] = (30, 30, 30),
    shares: Sequence[float] = (1.0, 0.5, 0.25),
    detector: DetectorSettings | None = None,
    strains: float = 0.0,
) -> Mixture:
    """Simulate a scan of layers of Voronoi grains, each of a random phase and orientation.

    Parameters
    ----------
    crystals : sequence of Crystal
    seed : int
    size : int
        Positions along x, and along y.
    grains : sequence of int
        Grains of each layer.
    shares : sequence of float
        Of each layer's grains that are there.
    detector : DetectorSettings, optional
        By default the usual one to :data:`Q_MAX`.
    strains : float
        Largest strain by which each grain differs from its crystal. Of some per cent and more no
        two grains share a cell, and there is no phase to be found.

    Returns
    -------
    Mixture
    """
    rng = np.random.default_rng(seed)
    settings = SimulationSettings(q_max=Q_SIMULATED, thicknesses=(200.0,))
    blochs = [prepare(crystal, settings) for crystal in crystals]
    layers: list[np.ndarray] = []
    phase: list[int] = []
    rotations: list[np.ndarray] = []
    spots: list[np.ndarray] = []
    for number, share in zip(grains, shares, strict=True):
        layer = _draw_layer(rng, size, number, share)
        layers.append(np.where(layer >= 0, layer + len(phase), -1))
        for rotation in random_orientations(number, rng):
            k = int(rng.integers(len(crystals)))
            thickness = (float(rng.uniform(*THICKNESSES)),)
            beams, intensity, *_ = compute_spots(blochs[k], rotation, thickness)
            g = blochs[k].g[beams] @ _draw_strain(rng, strains) @ rotation
            spots.append(np.column_stack([g[:, :2], np.asarray(intensity).reshape(len(g), -1)]))
            phase.append(k)
            rotations.append(rotation)
    stacked = np.stack(layers)
    detector = detector or DetectorSettings(q_max_range=(Q_MAX, Q_MAX))
    lists, scale = _look(rng, stacked, spots, detector, seed)
    return Mixture(lists, stacked, np.array(phase), np.array(rotations), scale)


def _draw_layer(rng: np.random.Generator, size: int, grains: int, share: float) -> np.ndarray:
    """Numbers of Voronoi grains, -1 where there is none; shape (size, size)."""
    seeds = rng.random((grains, 2)) * size
    x, y = np.indices((size, size))
    square = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2
    nearest = square.argmin(axis=-1)
    return np.where((rng.random(grains) < share)[nearest], nearest, -1)


def _draw_strain(rng: np.random.Generator, largest: float) -> np.ndarray:
    if not largest:
        return np.eye(3)
    strain = rng.uniform(-largest, largest, (3, 3))
    return np.eye(3) + (strain + strain.T) / 2


def _look(
    rng: np.random.Generator,
    layers: np.ndarray,
    spots: list[np.ndarray],
    detector: DetectorSettings,
    seed: int,
) -> tuple[BraggLists, float]:
    """Bragg lists as a detector sees the grains that lie over each other, and its scale."""
    x, y = (grid.ravel() for grid in np.indices(layers.shape[1:]))
    seen = []
    for i, j in zip(x, y, strict=True):
        own = [g for g in layers[:, i, j] if g >= 0]
        parts = [spots[g] * (1, 1, rng.uniform(*BRIGHTNESS)) for g in own]
        seen.append(_merge(np.concatenate([np.empty((0, 3)), *parts])))
    qx, qy, intensity = np.concatenate(seen).T
    offsets = np.cumsum([0, *map(len, seen)])
    keys = np.arange(len(x))
    found = apply_detector(
        qx, qy, intensity, offsets, np.full(len(x), "scan"), keys, detector, seed
    )
    sizes = np.diff(found.offsets)
    owners = np.repeat(x, sizes), np.repeat(y, sizes)
    shape = (layers.shape[1], layers.shape[2])
    lists = build_bragg_lists(*owners, found.qx, found.qy, found.intensity, shape=shape)
    return lists, float(found.scale[0])


def _merge(spots: np.ndarray) -> np.ndarray:
    spots = spots[np.argsort(-spots[:, 2], kind="stable")]
    kept = np.ones(len(spots), bool)
    for n in range(len(spots)):
        if kept[n]:
            kept[n + 1 :] &= np.hypot(*(spots[n + 1 :, :2] - spots[n, :2]).T) > MERGED
    return spots[kept]


def shuffle_azimuths(lists: BraggLists, seed: int) -> BraggLists:
    """Bragg lists whose spots keep their distances from the beam alone: no lattice is in them.

    Spots of neighbouring positions that belong together stay together: each of the spots that lie
    at one place of the detector is turned by the same angle.
    """
    cells = np.rint(np.column_stack([lists.qx, lists.qy]) / (2 * MERGED)).astype(int)
    _, place = np.unique(cells, axis=0, return_inverse=True)
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, place.max() + 1)[place.ravel()]
    qx = lists.qx * np.cos(angles) - lists.qy * np.sin(angles)
    qy = lists.qx * np.sin(angles) + lists.qy * np.cos(angles)
    x, y = (np.repeat(v, lists.n_spots) for v in (lists.x, lists.y))
    return build_bragg_lists(x, y, qx, qy, lists.intensity, shape=lists.shape)


def simulate_amorphous(seed: int, size: int = 20, grains: int = 60, spots: int = 40) -> BraggLists:
    """Bragg lists of grains whose spots lie anywhere, on two broad rings for the most part."""
    rng = np.random.default_rng(seed)
    layer = _draw_layer(rng, size, grains, 1.0)
    radius = np.where(
        rng.random((grains, spots)) < 0.7,
        rng.choice([0.42, 0.78], (grains, spots)) + 0.06 * rng.normal(size=(grains, spots)),
        Q_MAX * np.sqrt(rng.random((grains, spots))),
    )
    radius = np.clip(radius, 0.1, Q_MAX)
    angle = rng.uniform(0, 2 * np.pi, (grains, spots))
    strength = rng.exponential(size=(grains, spots))
    x, y = (np.repeat(grid.ravel(), spots) for grid in np.indices(layer.shape))
    own = layer.ravel()
    noise = 0.003 * rng.normal(size=(2, len(x)))
    qx = (radius * np.cos(angle))[own].ravel() + noise[0]
    qy = (radius * np.sin(angle))[own].ravel() + noise[1]
    return build_bragg_lists(x, y, qx, qy, strength[own].ravel(), shape=(size, size))

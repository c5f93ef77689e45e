"""Synthetic patterns for the lattice solver's tests: geometry alone, no scattering."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from ediff_utils.bloch.scattering import wavelength

#: Bravais symbol: conventional a, b, c [angstrom], alpha, beta, gamma [degree], none special.
CELLS = {
    "aP": (4.31, 5.17, 6.43, 83.1, 76.2, 69.3),
    "mP": (4.83, 5.61, 7.27, 90, 103.4, 90),
    "mC": (9.12, 5.23, 6.31, 90, 107.9, 90),
    "oP": (4.17, 5.53, 7.12, 90, 90, 90),
    "oC": (5.11, 8.17, 6.29, 90, 90, 90),
    "oF": (6.13, 8.41, 10.27, 90, 90, 90),
    "oI": (4.39, 6.23, 8.51, 90, 90, 90),
    "tP": (4.29, 4.29, 6.13, 90, 90, 90),
    "tI": (4.61, 4.61, 9.77, 90, 90, 90),
    "hR": (4.87, 4.87, 13.1, 90, 90, 120),
    "hP": (4.41, 4.41, 6.83, 90, 90, 120),
    "cP": (4.73, 4.73, 4.73, 90, 90, 90),
    "cF": (6.97, 6.97, 6.97, 90, 90, 90),
    "cI": (5.83, 5.83, 5.83, 90, 90, 90),
}
#: Primitive vectors as rows in the conventional ones.
CENTRINGS = {
    "P": np.eye(3),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


def conventional_lattice(symbol: str) -> np.ndarray:
    """Rows a, b, c of one of :data:`CELLS` [angstrom]."""
    a, b, c, *angles = CELLS[symbol]
    alpha, beta, gamma = np.cos(np.radians(angles))
    metric = np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
    return np.linalg.cholesky(metric * np.outer((a, b, c), (a, b, c)))


def primitive_lattice(symbol: str) -> np.ndarray:
    """Rows are primitive vectors of one of :data:`CELLS` [angstrom]."""
    return CENTRINGS[symbol[1]] @ conventional_lattice(symbol)


def synthetic_pattern(
    lattice: np.ndarray,
    rotation: np.ndarray,
    rng: np.random.Generator,
    *,
    energy: float = 300e3,
    q_max: float = 1.8,
    slab: float = 0.03,
    keep: float = 0.8,
    noise: float = 0.0,
    spurious: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spots of a crystal: every reciprocal lattice vector near the Ewald sphere, or most of them.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are primitive vectors [angstrom].
    rotation : ndarray, shape (3, 3)
        Columns are the pattern's axes in the crystal's frame.
    rng : numpy.random.Generator
    energy : float
        [eV]
    q_max, slab : float
        Largest |g| and excitation error [1/angstrom].
    keep : float
        Share of the spots that are seen.
    noise : float
        Standard deviation of each coordinate [1/angstrom].
    spurious : int
        Spots anywhere, at the end.

    Returns
    -------
    qx, qy, intensity : ndarray, shape (n,)
    hkl : ndarray of int, shape (n, 3)
        Indices in the reciprocal basis of ``lattice``; zero for spurious ones.
    """
    reciprocal = np.linalg.inv(lattice).T
    most = np.floor(q_max * np.linalg.norm(lattice, axis=1)).astype(int)
    hkl = np.array(list(product(*(range(-m, m + 1) for m in most))))
    g = hkl @ reciprocal @ rotation
    square = (g**2).sum(axis=1)
    lam = wavelength(energy)
    error = (2 * g[:, 2] - lam * square) / (2 - 2 * lam * g[:, 2])
    seen = (np.abs(error) < slab) & (square > 0) & (square < q_max**2) & (rng.random(len(g)) < keep)
    # Strong where the excitation error is small, and otherwise by chance.
    intensity = rng.exponential(0.01, seen.sum()) / (1 + (error[seen] / 0.008) ** 2)
    qx, qy = g[seen, 0], g[seen, 1]
    qx, qy = (v + noise * rng.normal(size=v.size) for v in (qx, qy))
    extra = q_max * (2 * rng.random((spurious, 2)) - 1)
    return (
        np.concatenate([qx, extra[:, 0]]),
        np.concatenate([qy, extra[:, 1]]),
        np.concatenate([intensity, rng.exponential(0.002, spurious)]),
        np.concatenate([hkl[seen], np.zeros((spurious, 3), int)]),
    )


def synthetic_patterns(symbol: str, n: int, seed: int, **options: float) -> list[tuple]:
    """Patterns of one of :data:`CELLS` in random orientations: qx, qy and intensity of each."""
    rng = np.random.default_rng(seed)
    lattice = primitive_lattice(symbol)
    return [
        synthetic_pattern(lattice, Rotation.random(random_state=rng).as_matrix(), rng, **options)[
            :3
        ]
        for _ in range(n)
    ]


def gold_pattern(rotation, seed=0, **options):
    """Spots of fcc gold as a scan's detector has them: few."""
    values = {"q_max": 1.9, "slab": 0.03, "keep": 1.0, "noise": 0.002} | options
    return synthetic_pattern(4.08 * CENTRINGS["F"], rotation, np.random.default_rng(seed), **values)


def random_rotations(n, seed=0):
    return Rotation.random(n, random_state=seed).as_matrix()

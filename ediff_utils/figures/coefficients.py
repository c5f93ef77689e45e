"""For figure 2: a pattern's coefficients T[m, p], and what they keep of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from ediff_utils.bloch.simulation import SpotPattern
from ediff_utils.figures.spots import frame_pattern
from ediff_utils.paper.features import (
    N_ANGULAR,
    N_RADIAL,
    STEP,
    compute_features,
    reconstruct,
    to_coefficients,
)

#: Once around from -pi to pi: yellow, vermilion, dark blue, sky blue, yellow. It goes from light to
#: dark on the side of yellow, and back on that of blue, which the colour-blind tell apart too.
PHASE_MAP = LinearSegmentedColormap.from_list(
    "phase", ["#F0E442", "#D55E00", "#1B1464", "#56B4E9", "#F0E442"]
)


@dataclass(frozen=True)
class Decomposition:
    """A pattern, its coefficients and what they keep of it.

    Parameters
    ----------
    pattern : SpotPattern
    coefficients : ndarray of complex, shape (41, 13)
        T[m, p] as the forests take them.
    reconstruction : ndarray, shape (n, n)
        See :func:`ediff_utils.paper.features.reconstruct`; rows are qy, columns qx, from -q_max to
        q_max.
    q_max : float
        [1/angstrom]
    """

    pattern: SpotPattern
    coefficients: np.ndarray
    reconstruction: np.ndarray
    q_max: float


def pixel_grid(n_pixels: int, q_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of pixels of a square of half-width q_max; rows are qy, upwards."""
    edges = np.linspace(-q_max, q_max, n_pixels + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    return np.meshgrid(middles, middles)


def compute_coefficients(pattern: SpotPattern, normalisation: str = "scattered") -> np.ndarray:
    """T[m, p] of one pattern as the forests take them; complex, shape (41, 13)."""
    offsets = np.array([0, len(pattern.qx)])
    vector = compute_features(pattern.qx, pattern.qy, pattern.intensity, offsets, normalisation)
    return to_coefficients(vector)[0]


def compute_decomposition(
    pattern: SpotPattern,
    normalisation: str = "scattered",
    n_pixels: int = 301,
    q_max: float = 2.0,
) -> Decomposition:
    """Take a pattern apart into T[m, p] and put it together again.

    Parameters
    ----------
    pattern : SpotPattern
    normalisation : {"scattered", "incident"}
        See :func:`ediff_utils.paper.features.compute_features`.
    n_pixels : int
        Width of the picture of the reconstruction.
    q_max : float
        Half its width [1/angstrom].

    Returns
    -------
    Decomposition
    """
    coefficients = compute_coefficients(pattern, normalisation)
    image = reconstruct(coefficients, *pixel_grid(n_pixels, q_max))
    return Decomposition(pattern, coefficients, image, q_max)


def plot_phase_bar(fig: Figure, **options: object) -> None:
    """Add the key to the phases' colours; ``options``, where to, go to ``Figure.colorbar``."""
    mappable = ScalarMappable(Normalize(-np.pi, np.pi), PHASE_MAP)
    bar = fig.colorbar(mappable, label="phase (rad)", **options)
    bar.set_ticks([-np.pi, 0, np.pi], labels=[r"$-\pi$", "0", r"$\pi$"])


def _plot_coefficients(values: np.ndarray, ax: Axes, **style: object) -> QuadMesh:
    edges = (np.arange(N_RADIAL + 1) - 0.5) * STEP
    mesh = ax.pcolormesh(np.arange(N_ANGULAR + 1) - 0.5, edges, values, **style)
    ax.set_xticks(range(0, N_ANGULAR, 2))
    ax.set(xlabel="angular order $p$", ylabel=r"radius $m\,\Delta q$ (1/Å)")
    return mesh


def plot_magnitude(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw |T[m, p]|, rings upwards and orders to the right.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (41, 13)
    ax : Axes
    """
    magnitude = np.abs(coefficients)
    norm = PowerNorm(0.5, 0, magnitude.max() or 1)
    mesh = _plot_coefficients(magnitude, ax, cmap="cividis", norm=norm)
    ax.set_title("magnitude $|T_{m,p}|$")
    bar = ax.figure.colorbar(mesh, ax=ax)
    bar.locator.set_params(nbins=4)
    bar.update_ticks()


def plot_argument(coefficients: np.ndarray, ax: Axes) -> None:
    """Draw arg T[m, p] in the colours of the phases, blank where the coefficient vanishes.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (41, 13)
    ax : Axes
    """
    magnitude = np.abs(coefficients)
    gone = magnitude <= 1e-3 * magnitude[:, :1]
    angle = np.ma.masked_where(gone, np.angle(coefficients))
    _plot_coefficients(angle, ax, cmap=PHASE_MAP, norm=Normalize(-np.pi, np.pi))
    ax.set_title("argument of $T_{m,p}$")


def plot_reconstruction(decomposition: Decomposition, ax: Axes) -> None:
    """Draw the pattern that the coefficients hold, weak spots brought out.

    Parameters
    ----------
    decomposition : Decomposition
    ax : Axes
    """
    q_max, image = decomposition.q_max, decomposition.reconstruction
    norm = PowerNorm(0.35, 0, image.max() if image.max() > 0 else 1)
    look = {"origin": "lower", "extent": (-q_max, q_max, -q_max, q_max), "cmap": "gray_r"}
    # a Fourier series that is cut off also swings below zero
    ax.imshow(np.clip(image, 0, None), norm=norm, **look)
    frame_pattern(ax, q_max)
    ax.set_title("put together again")

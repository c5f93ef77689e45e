"""Atomic scattering factors for electrons, and the electron's wavelength.

The table ``tables/lobato_2014.csv`` holds the parameters of I. Lobato and D. Van Dyck, Acta Cryst.
A70, 636 (2014) for Z = 1 to 103. It obeys the sum rule Z = 2 pi^2 a0 sum_i a_i / b_i (Mott's
formula at large g), which also settles that py4DSTEM 0.14.18 has the rows of Rb and Sr swapped.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy import constants

from ediff_utils.core.errors import UserError

#: Rest energy of the electron [eV].
REST_ENERGY = constants.electron_mass * constants.c**2 / constants.e


@lru_cache(maxsize=1)
def lobato_table() -> np.ndarray:
    """Parameters by atomic number.

    Returns
    -------
    ndarray, shape (104, 10)
        Row Z: a1..a5 [angstrom], b1..b5 [angstrom^2]. Row 0 is NaN.
    """
    table = np.full((104, 10), np.nan)
    text = files("ediff_utils.bloch").joinpath("tables/lobato_2014.csv").read_text(encoding="ascii")
    for row in csv.DictReader(text.splitlines()):
        names = [f"{letter}{i}" for letter in "ab" for i in range(1, 6)]
        table[int(row["number"])] = [float(row[name]) for name in names]
    table.setflags(write=False)
    return table


def lobato_parameters(numbers: np.ndarray) -> np.ndarray:
    """Parameters of Lobato and Van Dyck 2014 for some elements.

    Parameters
    ----------
    numbers : ndarray of int, shape (n,)
        Atomic numbers.

    Returns
    -------
    ndarray, shape (n, 10)

    Raises
    ------
    UserError
        An atomic number outside 1 to 103.
    """
    numbers = np.asarray(numbers)
    wrong = numbers[(numbers < 1) | (numbers > 103)]
    if wrong.size:
        raise UserError(f"atomic number {wrong[0]}: scattering factors are known for 1 to 103")
    return lobato_table()[numbers]


def wavelength(energy: float) -> float:
    """Relativistic wavelength of an electron.

    Parameters
    ----------
    energy : float
        Kinetic energy [eV].

    Returns
    -------
    float
        h c / sqrt(E (E + 2 m c^2)) [angstrom].
    """
    hc = constants.h * constants.c / constants.e * 1e10
    return hc / np.sqrt(energy * (energy + 2 * REST_ENERGY))


def relativistic_factor(energy: float) -> float:
    """Ratio of the electron's mass to its rest mass, gamma = 1 + E / (m c^2)."""
    return 1 + energy / REST_ENERGY


def extinction_distance(structure_factor: float, volume: float, energy: float) -> float:
    """Two-beam extinction distance at the Bragg condition.

    Parameters
    ----------
    structure_factor : float
        |F_g| of the cell [angstrom].
    volume : float
        Of the same cell [cubic angstrom].
    energy : float
        [eV]

    Returns
    -------
    float
        xi_g = pi V / (gamma lambda |F_g|) [angstrom] (Hirsch et al. 1965, equation 4.15, with the
        Bragg angle's cosine left out).
    """
    gamma = relativistic_factor(energy)
    return np.pi * volume / (gamma * wavelength(energy) * abs(structure_factor))

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
_REST_ENERGY = constants.electron_mass * constants.c**2 / constants.e


@lru_cache(maxsize=1)
def _lobato_table() -> np.ndarray:
    """Row Z holds the parameters of that atomic number, row 0 is NaN; shape (104, 10)."""
    table = np.full((104, 10), np.nan)
    text = files("ediff_utils.bloch").joinpath("tables/lobato_2014.csv").read_text(encoding="ascii")
    for row in csv.DictReader(text.splitlines()):
        names = [f"{letter}{i}" for letter in "ab" for i in range(1, 6)]
        table[int(row["number"])] = [float(row[name]) for name in names]
    table.setflags(write=False)
    return table


def lobato_parameters(numbers: np.ndarray) -> np.ndarray:
    """Parameters of Lobato and Van Dyck 2014 for some atomic numbers from 1 to 103, shape (n,).

    Their shape is (n, 10): a1..a5 [angstrom], b1..b5 [angstrom^2].
    """
    numbers = np.asarray(numbers)
    wrong = numbers[(numbers < 1) | (numbers > 103)]
    if wrong.size:
        raise UserError(f"atomic number {wrong[0]}: scattering factors are known for 1 to 103")
    return _lobato_table()[numbers]


def wavelength(energy: float) -> float:
    """Relativistic wavelength h c / sqrt(E (E + 2 m c^2)) [angstrom] at a kinetic energy [eV]."""
    hc = constants.h * constants.c / constants.e * 1e10
    return hc / np.sqrt(energy * (energy + 2 * _REST_ENERGY))


def relativistic_factor(energy: float) -> float:
    """Ratio of the electron's mass to its rest mass, gamma = 1 + E / (m c^2)."""
    return 1 + energy / _REST_ENERGY

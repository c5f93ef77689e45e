"""Scattering factors, wavelengths and extinction distances against the literature."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from sample_crystals import make_crystal
from scipy import constants

from ediff_utils.bloch.exit_wave import exit_waves
from ediff_utils.bloch.kernels.packed import pack_matrix
from ediff_utils.bloch.kernels.potential import electron_scattering_factor
from ediff_utils.bloch.scattering import (
    lobato_parameters,
    relativistic_factor,
    wavelength,
)
from ediff_utils.bloch.simulation import prepare, structure_factors
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.symmetry import standardise

BOHR_RADIUS = constants.physical_constants["Bohr radius"][0] * 1e10
RUBIDIUM, STRONTIUM = 37, 38

#: Extinction distances in nm: from Lobato's factors, and as printed in a textbook (Silicon: Hirsch
#: et al. 1965; aluminium: Williams and Carter, table 23.1).
EXTINCTION_100_KV = {
    ("silicon", (2, 2, 0)): (76.2, 75.7),
    ("silicon", (4, 0, 0)): (124.1, 126.8),
    ("silicon", (4, 4, 0)): (202.0, 209.3),
    ("aluminium", (1, 1, 1)): (55.6, 55.6),
    ("aluminium", (2, 0, 0)): (66.7, 67.3),
    ("aluminium", (2, 2, 0)): (105.7, 105.7),
    ("gold", (1, 1, 1)): (17.8, None),
    ("gold", (2, 0, 0)): (19.6, None),
}
EXTINCTION_300_KV = {
    ("silicon", (2, 2, 0)): 108.0,
    ("aluminium", (1, 1, 1)): 78.8,
    ("gold", (1, 1, 1)): 25.2,
}


@lru_cache
def crystal_of(name: str) -> Crystal:
    if name != "aluminium":
        return make_crystal(name)
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0495), ["Al"], [[0, 0, 0]])
    return Crystal.from_row(standardise(structure, 0.01) | {"material_id": name})


def primitive_indices(crystal: Crystal, hkl: tuple[int, int, int]) -> tuple[int, ...]:
    g = np.array(hkl) @ np.linalg.inv(crystal.conventional_lattice).T
    indices = crystal.lattice @ g
    np.testing.assert_allclose(indices, np.rint(indices), atol=1e-9)
    return tuple(int(i) for i in np.rint(indices))


def extinction_distance(structure_factor: complex, volume: float, energy: float) -> float:
    """xi_g = pi V / (gamma lambda |F_g|) [angstrom] at the Bragg condition.

    Hirsch et al. 1965, equation 4.15, with the Bragg angle's cosine left out.
    """
    gamma = relativistic_factor(energy)
    return np.pi * volume / (gamma * wavelength(energy) * abs(structure_factor))


def extinction_nm(crystal: Crystal, hkl: tuple[int, int, int], energy: float) -> float:
    grid = structure_factors(crystal, 1.2)
    entry = tuple(
        n // 2 + i for n, i in zip(grid.shape, primitive_indices(crystal, hkl), strict=True)
    )
    return extinction_distance(abs(grid[entry]), crystal.volume, energy) / 10


# Mott's formula at large g: f_e -> Z / (2 pi^2 a0 g^2) (Lobato and Van Dyck 2014).
@pytest.mark.parametrize("number", range(1, 104))
def test_sum_rule(number):
    a, b = np.split(lobato_parameters([number])[0], 2)
    assert 2 * np.pi**2 * BOHR_RADIUS * np.sum(a / b) == pytest.approx(number, rel=2e-4)


@given(st.integers(1, 103), st.floats(20, 60))
def test_far_out_an_atom_scatters_as_its_bare_nucleus(number, g):
    factor = electron_scattering_factor(g**2, lobato_parameters([number])[0])
    bare = number / (2 * np.pi**2 * BOHR_RADIUS * g**2)
    assert factor == pytest.approx(bare, rel=0.05)


@given(st.integers(1, 103), st.floats(0, 6))
def test_the_kernel_is_equation_16(number, g):
    a, b = np.split(lobato_parameters([number])[0], 2)
    expected = np.sum(a * (2 + b * g**2) / (1 + b * g**2) ** 2)
    assert electron_scattering_factor(g**2, lobato_parameters([number])[0]) == pytest.approx(
        expected, rel=1e-9
    )


def test_same_table_as_py4dstem_but_for_rubidium_and_strontium():
    """py4DSTEM 0.14.18 has the rows of these two swapped; the sum rule says who is right."""
    diffraction = pytest.importorskip("py4DSTEM").process.diffraction
    atoms = diffraction.crystal_bloch.single_atom_scatter()
    theirs = np.full((104, 10), np.nan)
    theirs[1:] = np.hstack(
        [atoms.e_scattering_factors[:103, ::2], atoms.e_scattering_factors[:103, 1::2]]
    )
    ours = np.vstack([theirs[:1], lobato_parameters(np.arange(1, 104))])
    same = [z for z in range(1, 104) if z not in (RUBIDIUM, STRONTIUM)]
    np.testing.assert_allclose(ours[same], theirs[same], rtol=1e-9)
    pair, swapped = [RUBIDIUM, STRONTIUM], [STRONTIUM, RUBIDIUM]
    np.testing.assert_allclose(ours[pair], theirs[swapped], rtol=1e-9)


def test_rubidium_is_the_alkali_metal():
    """One more s electron far out: f_e(0) of Rb exceeds that of Kr, and Sr's lies below Rb's."""
    at_zero = {z: 2 * lobato_parameters([z])[0, :5].sum() for z in (36, RUBIDIUM, STRONTIUM, 39)}
    assert at_zero[36] < at_zero[RUBIDIUM]
    z = np.array([RUBIDIUM, STRONTIUM])
    sums = (
        (lobato_parameters(z)[:, :5] / lobato_parameters(z)[:, 5:]).sum(axis=1)
        * 2
        * np.pi**2
        * BOHR_RADIUS
    )
    np.testing.assert_allclose(sums, [37, 38], atol=0.05)


@pytest.mark.parametrize("number", [-1, 0, 104, 118])
def test_unknown_element(number):
    with pytest.raises(UserError, match=rf"atomic number {number}: .*1 to 103"):
        lobato_parameters(np.array([14, number]))


# De Graef 2003, table 2.2.
@pytest.mark.parametrize(
    ("energy", "expected"), [(100e3, 0.0370144), (200e3, 0.0250793), (300e3, 0.0196875)]
)
def test_wavelength(energy, expected):
    assert wavelength(energy) == pytest.approx(expected, abs=6e-8)


def test_relativistic_factor_at_300_kv():
    assert relativistic_factor(300e3) == pytest.approx(1.587085, abs=1e-6)


@pytest.mark.parametrize(("name", "hkl"), EXTINCTION_100_KV)
def test_extinction_distance_at_100_kv(name, hkl):
    lobato, textbook = EXTINCTION_100_KV[name, hkl]
    distance = extinction_nm(crystal_of(name), hkl, 100e3)
    last_digit = 1.0 if lobato == 202.0 else 0.1
    assert distance == pytest.approx(lobato, abs=last_digit)
    if textbook is not None:
        assert distance == pytest.approx(textbook, rel=0.04)


@pytest.mark.parametrize(("name", "hkl"), EXTINCTION_300_KV)
def test_extinction_distance_at_300_kv(name, hkl):
    distance = extinction_nm(crystal_of(name), hkl, 300e3)
    assert distance == pytest.approx(EXTINCTION_300_KV[name, hkl], abs=0.06)


@pytest.mark.parametrize("energy", [100e3, 300e3])
@pytest.mark.parametrize(("name", "hkl"), EXTINCTION_300_KV)
def test_two_beams_swing_with_the_extinction_distance(name, hkl, energy):
    """At the Bragg condition the direct beam is gone at xi / 2 and back at xi."""
    crystal = crystal_of(name)
    bloch = prepare(crystal, SimulationSettings(q_max=1.0, energy=energy))
    beams = np.array([(0, 0, 0), primitive_indices(crystal, hkl)], dtype=np.int32)
    matrix = pack_matrix(beams, np.zeros(2), bloch.planes)
    xi = 10 * extinction_nm(crystal, hkl, energy)
    waves = exit_waves(*matrix, np.zeros(2), (xi / 4, xi / 2, 3 * xi / 4, xi))
    intensities = np.abs(waves) ** 2
    np.testing.assert_allclose(intensities[:, 0], [0.5, 0, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(intensities[:, 1], [0.5, 1, 0.5, 0], atol=1e-4)
    around = np.linspace(0.4, 0.6, 41) * xi
    direct = np.abs(exit_waves(*matrix, np.zeros(2), tuple(around))[:, 0]) ** 2
    assert around[direct.argmin()] == pytest.approx(xi / 2, rel=1e-9)


def test_structure_factors_are_the_sum_over_atoms(any_crystal):
    """The grid against the formula written out, at every point inside the radius."""
    g_max = 0.9
    grid = structure_factors(any_crystal, g_max)
    middle = np.array(grid.shape) // 2
    hkl = np.argwhere(np.ones(grid.shape)) - middle
    g = hkl @ any_crystal.reciprocal_lattice
    length = np.linalg.norm(g, axis=1)
    inside = length < g_max - 1e-9
    a, b = np.split(lobato_parameters(any_crystal.numbers), 2, axis=1)
    g2 = length[inside, None, None] ** 2
    factors = np.sum(a * (2 + b * g2) / (1 + b * g2) ** 2, axis=2)
    phases = np.exp(-2j * np.pi * hkl[inside] @ any_crystal.frac_coords.T)
    expected = np.sum(factors * phases, axis=1)
    np.testing.assert_allclose(grid.ravel()[inside], expected, atol=1e-8)
    assert not grid.ravel()[length > g_max + 1e-9].any()

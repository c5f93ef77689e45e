"""Our patterns against py4DSTEM's Bloch waves, on crystals of all seven systems."""

from __future__ import annotations

import numpy as np
import pytest
from sample_crystals import CRYSTALS, NON_CENTROSYMMETRIC, make_crystal

from ediff_utils.bloch.orientations import lattice_fixed_orientation, random_orientations
from ediff_utils.bloch.simulation import prepare, simulate_orientation
from ediff_utils.core.settings import SimulationSettings

Q_MAX = 1.5
THICKNESS = 200.0


@pytest.fixture(scope="module")
def py4dstem_crystal():
    return pytest.importorskip("py4DSTEM").process.diffraction.Crystal


def py4dstem_pattern(kind, crystal, orientation, method):
    """Spots of py4DSTEM in the primitive cell: {hkl: (qx, qy, intensity)}."""
    other = kind(crystal.frac_coords, crystal.numbers, crystal.lattice)
    other.setup_diffraction(300e3)
    other.calculate_dynamical_structure_factors(
        300e3, method, k_max=2 * Q_MAX, tol_structure_factor=-1
    )
    # A negative tolerance, or kinematically forbidden beams vanish before the calculation.
    beams = other.generate_diffraction_pattern(
        orientation_matrix=orientation,
        sigma_excitation_error=0.02,
        tol_excitation_error_mult=3,
        tol_intensity=-1,
        k_max=Q_MAX,
    )
    pattern = other.generate_dynamical_diffraction_pattern(
        beams, thickness=THICKNESS, zone_axis_cartesian=orientation[:, 2]
    ).data
    hkl = np.column_stack([pattern["h"], pattern["k"], pattern["l"]]).astype(int)
    values = np.column_stack([pattern["qx"], pattern["qy"], pattern["intensity"]])
    return {tuple(key): value for key, value in zip(hkl.tolist(), values, strict=True)}


@pytest.mark.parametrize("name", sorted(CRYSTALS))
@pytest.mark.parametrize("absorption", [False, True])
def test_same_beams_positions_and_intensities(name, absorption, py4dstem_crystal, capsys):
    crystal = make_crystal(name)
    scattering = "lobato-absorptive" if absorption else "lobato"
    settings = SimulationSettings(
        q_max=Q_MAX, thicknesses=(THICKNESS,), intensity_floor=0.0, scattering=scattering
    )
    bloch = prepare(crystal, settings)
    orientations = [
        lattice_fixed_orientation([0, 0, 1]),
        random_orientations(1, np.random.default_rng(7))[0],
    ]
    for orientation in orientations:
        (ours,) = simulate_orientation(bloch, orientation)
        theirs = py4dstem_pattern(py4dstem_crystal, crystal, orientation, scattering.capitalize())
        direct = theirs.pop((0, 0, 0))
        to_primitive = crystal.lattice @ np.linalg.inv(crystal.conventional_lattice)
        hkl = np.rint(ours.hkl @ to_primitive.T).astype(int)
        assert {tuple(key) for key in hkl.tolist()} == set(theirs)
        expected = np.array([theirs[tuple(key)] for key in hkl.tolist()])
        np.testing.assert_allclose(ours.qx, expected[:, 0], atol=1e-9)
        np.testing.assert_allclose(ours.qy, expected[:, 1], atol=1e-9)
        np.testing.assert_allclose(ours.intensity, expected[:, 2], atol=1e-5)
        assert ours.direct_beam == pytest.approx(direct[2], abs=1e-5)
    capsys.readouterr()


@pytest.mark.parametrize("name", NON_CENTROSYMMETRIC)
def test_these_crystals_tell_the_sign_of_the_coupling(name):
    """With the coupling's sign turned (the crystal inverted) the intensities are far off."""
    crystal = make_crystal(name)
    inverted = make_crystal(name, inverted=True)
    settings = SimulationSettings(q_max=Q_MAX, intensity_floor=0.0)
    differences = []
    for orientation in random_orientations(8, np.random.default_rng(7)):
        (ours,) = simulate_orientation(prepare(crystal, settings), orientation)
        (other,) = simulate_orientation(prepare(inverted, settings), orientation)
        differences.append(np.abs(ours.intensity - other.intensity).max())
    assert max(differences) > 1e-3

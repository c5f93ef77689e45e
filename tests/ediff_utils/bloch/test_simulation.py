"""Bloch waves: the fast propagation against the obvious one, and the symmetries of physics."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sample_crystals import CRYSTALS, NON_CENTROSYMMETRIC, make_crystal
from scipy.spatial.transform import Rotation

from ediff_utils.bloch import exit_wave, simulation
from ediff_utils.bloch.exit_wave import SimulationError
from ediff_utils.bloch.kernels.packed import multiply, pack_matrix
from ediff_utils.bloch.kernels.propagation import spectral_interval, structure_matrix
from ediff_utils.bloch.kernels.reference import exit_wave_dense
from ediff_utils.bloch.orientations import lattice_fixed_orientation, random_orientations
from ediff_utils.bloch.scattering import lobato_parameters, relativistic_factor, wavelength
from ediff_utils.bloch.simulation import (
    SpotPattern,
    find_beams,
    full_matrix,
    inversion_centre,
    prepare,
    propagate_beams,
    simulate,
    simulate_orientation,
)
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal

CENTROSYMMETRIC = sorted(set(CRYSTALS) - set(NON_CENTROSYMMETRIC))
THICKNESSES = (20.0, 200.0, 2000.0)
ALL_SPOTS = SimulationSettings(q_max=1.5, intensity_floor=0.0)
ABSORPTIVE = ALL_SPOTS.model_copy(update={"scattering": "lobato-absorptive"})
any_name = st.sampled_from(sorted(CRYSTALS))
any_orientation = st.integers(0, 2**32 - 1).map(
    lambda seed: random_orientations(1, np.random.default_rng(seed))[0]
)


cached = lru_cache(make_crystal)


def by_index(pattern: SpotPattern) -> dict[tuple[int, int, int], np.ndarray]:
    values = np.column_stack([pattern.qx, pattern.qy, pattern.intensity])
    return {tuple(key): row for key, row in zip(pattern.hkl.tolist(), values, strict=True)}


def assert_same_spots(first: SpotPattern, second: SpotPattern, atol: float = 5e-6) -> None:
    one, other = by_index(first), by_index(second)
    assert set(one) == set(other)
    keys = sorted(one)
    a, b = np.array([one[k] for k in keys]), np.array([other[k] for k in keys])
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=1e-7)
    np.testing.assert_allclose(a[:, 2], b[:, 2], atol=atol)
    assert first.direct_beam == pytest.approx(second.direct_beam, abs=atol)


def departure(pattern: SpotPattern, angle: float) -> float:
    """Largest difference between a pattern and itself turned by an angle [degree].

    Spots of different Laue zones may lie on top of one another: intensities are summed by place.
    """
    spots = np.column_stack([pattern.qx, pattern.qy])
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()[:2, :2]
    here, there = (
        (np.linalg.norm(places[:, None] - spots[None], axis=2) < 1e-4) @ pattern.intensity
        for places in (spots, spots @ turn.T)
    )
    return float(np.abs(there - here).max())


def zone(crystal: Crystal, uvw: tuple[int, int, int]) -> np.ndarray:
    return lattice_fixed_orientation(np.array(uvw, dtype=float) @ crystal.conventional_lattice)


def direct_matrix(crystal: Crystal, axis: np.ndarray, q_max: float, s_max: float, energy: float):
    """Beams and structure matrix spelled out, atom by atom, from a search of a large box."""
    lam = wavelength(energy)
    # |h| = |g . a| <= |g| |a|; the box is one wider than that on every side.
    n = (np.ceil(q_max * np.linalg.norm(crystal.lattice, axis=1)) + 1).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-i, i + 1) for i in n], indexing="ij"), -1).reshape(
        -1, 3
    )
    g = hkl @ crystal.reciprocal_lattice
    gz, g2 = g @ axis, np.sum(g**2, axis=1)
    s = (2 * gz - lam * g2) / (2 - 2 * lam * gz)
    keep = (np.sqrt(g2) <= q_max) & (np.abs(s) <= s_max)
    keep[len(hkl) // 2] = False
    hkl = np.concatenate([[[0, 0, 0]], hkl[keep]])
    s = np.concatenate([[0.0], s[keep]])
    difference = hkl[:, None] - hkl[None, :]
    g2 = np.sum((difference @ crystal.reciprocal_lattice) ** 2, axis=2)
    factor = np.zeros(g2.shape, complex)
    for number, position in zip(crystal.numbers, crystal.frac_coords, strict=True):
        a, b = np.split(lobato_parameters(np.array([number]))[0], 2)
        f = sum(a[i] * (2 + b[i] * g2) / (1 + b[i] * g2) ** 2 for i in range(5))
        factor += f * np.exp(-2j * np.pi * difference @ position)
    matrix = relativistic_factor(energy) * factor / (np.pi * crystal.volume) * lam / 2
    np.fill_diagonal(matrix, s)
    return hkl, matrix


@pytest.mark.parametrize("name", sorted(CRYSTALS))
@pytest.mark.parametrize("scattering", ["lobato", "lobato-absorptive"])
def test_exit_waves_against_eigendecomposition(name, scattering):
    options = ALL_SPOTS.model_copy(update={"scattering": scattering})
    bloch = prepare(cached(name), options)
    (orientation,) = random_orientations(1, np.random.default_rng(3))
    beams = find_beams(bloch, orientation)
    matrix = full_matrix(bloch, *beams)
    start = np.eye(1, len(matrix))[0]
    waves = propagate_beams(bloch, *beams, THICKNESSES)
    for wave, thickness in zip(waves, THICKNESSES, strict=True):
        expected = np.abs(exit_wave_dense(matrix, start, thickness)) ** 2
        np.testing.assert_allclose(np.abs(wave) ** 2, expected, atol=1e-5)
        # the single-thickness path has code of its own
        (alone,) = propagate_beams(bloch, *beams, (thickness,))
        np.testing.assert_allclose(np.abs(alone) ** 2, expected, atol=1e-5)


@given(name=any_name, orientation=any_orientation, thickness=st.floats(1, 3000))
@settings(max_examples=40)
def test_exit_waves_against_eigendecomposition_anywhere(name, orientation, thickness):
    bloch = prepare(cached(name), ALL_SPOTS.model_copy(update={"q_max": 1.2}))
    beams = find_beams(bloch, orientation)
    matrix = full_matrix(bloch, *beams)
    (wave,) = propagate_beams(bloch, *beams, (thickness,))
    expected = np.abs(exit_wave_dense(matrix, np.eye(1, len(matrix))[0], thickness)) ** 2
    np.testing.assert_allclose(np.abs(wave) ** 2, expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_the_whole_calculation_spelled_out(name):
    """Beams from a box search, U(g - h) atom by atom in double precision, full diagonalisation."""
    crystal = cached(name)
    (orientation,) = random_orientations(1, np.random.default_rng(11))
    options = SimulationSettings(q_max=1.1, intensity_floor=0.0, thicknesses=(300.0,))
    hkl, matrix = direct_matrix(crystal, orientation[:, 2], 1.1, 0.06, 300e3)
    expected = np.abs(exit_wave_dense(matrix, np.eye(1, len(hkl))[0], 300.0)) ** 2
    g = hkl @ crystal.reciprocal_lattice
    conventional = np.rint(g @ crystal.conventional_lattice.T).astype(int)
    other = SpotPattern(
        *(g[1:] @ orientation[:, :2]).T, expected[1:], conventional[1:], expected[0], 300.0
    )
    ((pattern,),) = simulate(crystal, [orientation], options)
    assert_same_spots(pattern, other, atol=1e-5)


@pytest.mark.parametrize("name", ["wollastonite-like triclinic", "bismuth telluride", "zirconia"])
@given(orientation=any_orientation)
@settings(max_examples=10)
def test_no_beam_is_missed_in_skewed_cells(name, orientation):
    crystal = cached(name)
    bloch = prepare(crystal, SimulationSettings())
    index, _ = find_beams(bloch, orientation)
    n = (np.ceil(2.0 * np.linalg.norm(crystal.lattice, axis=1)) + 2).astype(int)
    box = np.stack(np.meshgrid(*[np.arange(-i, i + 1) for i in n], indexing="ij"), -1).reshape(
        -1, 3
    )
    g = box @ crystal.reciprocal_lattice
    lam = bloch.wavelength
    gz, g2 = g @ orientation[:, 2], np.sum(g**2, axis=1)
    s = (2 * gz - lam * g2) / (2 - 2 * lam * gz)
    length = np.sqrt(g2)
    keep = (length <= 2.0) & (np.abs(s) <= 0.06)
    on_the_edge = (np.abs(length - 2) < 1e-9) | (np.abs(np.abs(s) - 0.06) < 1e-9)
    ours = {tuple(key) for key in bloch.hkl[index].tolist()}
    assert len(ours) == len(index)
    assert ours | {tuple(k) for k in box[on_the_edge].tolist()} == {
        tuple(k) for k in box[keep | on_the_edge].tolist()
    }


@pytest.mark.parametrize("a", [60, 75, 105, 118])
def test_no_beam_is_missed_in_a_cell_that_is_not_reduced(a):
    """A tiling by the edges of the cell misses points here (py4DSTEM on mp-23771)."""
    silicon = cached("silicon")
    shear = np.array([[1, 0, 0], [a // 30, 1, 0], [-2, 3, 1]])
    skewed = replace(
        silicon,
        lattice=shear @ silicon.lattice,
        frac_coords=silicon.frac_coords @ np.linalg.inv(shear),
    )
    (orientation,) = random_orientations(1, np.random.default_rng(a))
    ((pattern,),) = simulate(silicon, [orientation], ALL_SPOTS)
    ((other,),) = simulate(skewed, [orientation], ALL_SPOTS)
    assert len(pattern.qx) > 20
    assert_same_spots(pattern, other)


@given(name=any_name, orientation=any_orientation)
@settings(max_examples=40)
def test_intensity_is_conserved(name, orientation):
    options = ALL_SPOTS.model_copy(
        update={"q_max": 1.2, "thicknesses": tuple(np.arange(50.0, 2001, 150))}
    )
    ((*patterns,),) = simulate(cached(name), [orientation], options)
    totals = [p.direct_beam + p.intensity.sum() for p in patterns]
    np.testing.assert_allclose(totals, 1, atol=2e-5)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_absorption_loses_intensity_steadily(name):
    thicknesses = tuple(np.arange(20.0, 1001, 70))
    options = ABSORPTIVE.model_copy(update={"thicknesses": thicknesses})
    (orientation,) = random_orientations(1, np.random.default_rng(5))
    ((*patterns,),) = simulate(cached(name), [orientation], options)
    totals = np.array([1.0] + [p.direct_beam + p.intensity.sum() for p in patterns])
    assert np.all(np.diff(totals) < 0)
    assert 0 < totals[-1] < 0.95


@given(
    name=any_name,
    orientation=any_orientation,
    thicknesses=st.lists(st.floats(5, 1200), min_size=2, max_size=4, unique=True),
    scattering=st.sampled_from(["lobato", "lobato-absorptive"]),
)
@settings(max_examples=25)
def test_a_series_is_its_single_thicknesses(name, orientation, thicknesses, scattering):
    """In any order, unsorted ones too."""
    options = ALL_SPOTS.model_copy(
        update={"thicknesses": tuple(thicknesses), "scattering": scattering, "q_max": 1.0}
    )
    bloch = prepare(cached(name), options)
    series = simulate_orientation(bloch, orientation)
    assert [p.thickness for p in series] == thicknesses
    for pattern in series:
        single = options.model_copy(update={"thicknesses": (pattern.thickness,)})
        (alone,) = simulate_orientation(replace(bloch, settings=single), orientation)
        assert_same_spots(pattern, alone, atol=1e-5)


@given(
    name=any_name,
    orientation=any_orientation,
    shift=st.tuples(*[st.floats(-1, 1)] * 3),
    scattering=st.sampled_from(["lobato", "lobato-absorptive"]),
)
@settings(max_examples=40)
def test_the_origin_does_not_matter(name, orientation, shift, scattering):
    options = ALL_SPOTS.model_copy(update={"q_max": 1.2, "scattering": scattering})
    crystal = cached(name)
    moved = replace(crystal, frac_coords=crystal.frac_coords + np.array(shift))
    ((pattern,),) = simulate(crystal, [orientation], options)
    ((other,),) = simulate(moved, [orientation], options)
    assert_same_spots(pattern, other)


@pytest.mark.parametrize("name", CENTROSYMMETRIC)
def test_the_real_path_is_the_complex_path(name, monkeypatch):
    crystal = cached(name)
    # off the inversion centre, so that the structure factors are complex indeed
    crystal = replace(crystal, frac_coords=crystal.frac_coords + [0.13, 0.07, 0.29])
    orientations = random_orientations(2, np.random.default_rng(1))
    options = ALL_SPOTS.model_copy(update={"thicknesses": (150.0, 900.0)})
    assert prepare(crystal, options).coupling.dtype == np.float32
    real = simulate(crystal, orientations, options)
    monkeypatch.setattr(simulation, "inversion_centre", lambda *_: None)
    bloch = prepare(crystal, options)
    assert bloch.coupling.dtype == np.complex64
    assert np.abs(bloch.coupling.imag).max() > 0.1 * np.abs(bloch.coupling.real).max()
    for first, second in zip(real, simulate(crystal, orientations, options), strict=True):
        for a, b in zip(first, second, strict=True):
            assert_same_spots(a, b, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_inversion_centre_by_space_group(name):
    """P-1, P2_1/c, Pnma, P4_2/mnm, R-3m, P6_3/mmc, Pa-3, Fm-3m and Fd-3m have one."""
    crystal = cached(name)
    shifted = replace(crystal, frac_coords=crystal.frac_coords + [0.11, 0.23, 0.31])
    centre = inversion_centre(shifted)
    assert (centre is not None) == (name in CENTROSYMMETRIC)
    if centre is not None:
        images = 2 * centre - shifted.frac_coords
        for image, number in zip(images, shifted.numbers, strict=True):
            same = shifted.frac_coords[shifted.numbers == number]
            offset = (image - same) - np.rint(image - same)
            assert np.linalg.norm(offset @ shifted.lattice, axis=1).min() < 1e-3


def test_a_slightly_broken_inversion_is_no_inversion():
    """Barium titanate's polar shift made small: 0.01 angstrom is seen, and stays complex."""
    ideal = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    cubic = Crystal("bto", np.eye(3) * 4.0, np.array([56, 22, 8, 8, 8]), ideal, np.eye(3) * 4.0)
    assert inversion_centre(cubic) is not None
    moved = ideal.copy()
    moved[1, 2] += 0.01 / 4.0
    assert inversion_centre(replace(cubic, frac_coords=moved)) is None


@given(name=any_name, orientation=any_orientation, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_turning_crystal_and_microscope_together_changes_nothing(name, orientation, seed):
    crystal = cached(name)
    turn = random_orientations(1, np.random.default_rng(seed))[0]
    turned = replace(
        crystal,
        lattice=crystal.lattice @ turn.T,
        conventional_lattice=crystal.conventional_lattice @ turn.T,
    )
    options = ALL_SPOTS.model_copy(update={"q_max": 1.2})
    ((pattern,),) = simulate(crystal, [orientation], options)
    ((other,),) = simulate(turned, [turn @ orientation], options)
    assert_same_spots(pattern, other)


@given(name=any_name, orientation=any_orientation, angle=st.floats(-180, 180))
@settings(max_examples=30)
def test_turning_the_pattern_turns_its_spots(name, orientation, angle):
    """Columns x, y turned by -angle in the crystal: every spot goes by +angle, same intensity."""
    options = ALL_SPOTS.model_copy(update={"q_max": 1.2})
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    ((pattern,), (other,)) = simulate(cached(name), [orientation, orientation @ turn.T], options)
    qx, qy = turn[:2, :2] @ np.array([pattern.qx, pattern.qy])
    assert_same_spots(replace(pattern, qx=qx, qy=qy), other)


@pytest.mark.parametrize(
    ("name", "uvw", "fold"),
    [
        ("silicon", (0, 0, 1), 4),
        ("silicon", (1, 1, 1), 3),
        ("silicon", (0, 1, 1), 2),
        ("gold", (0, 0, 1), 4),
        ("gold", (1, 1, 1), 3),
        ("zinc blende", (1, 1, 1), 3),
        ("pyrite", (0, 0, 1), 2),
        ("manganese silicide (chiral)", (1, 1, 1), 3),
        ("magnesium", (0, 0, 1), 6),
        ("wurtzite (polar)", (0, 0, 1), 6),
        ("quartz (chiral)", (0, 0, 1), 3),
        ("bismuth telluride", (0, 0, 1), 3),
        ("rutile", (0, 0, 1), 4),
        ("barium titanate (polar)", (0, 0, 1), 4),
        ("forsterite", (1, 0, 0), 2),
        ("zirconia", (0, 1, 0), 2),
    ],
)
def test_symmetry_of_the_pattern_along_an_axis(name, uvw, fold):
    crystal = cached(name)
    options = ALL_SPOTS.model_copy(update={"thicknesses": (350.0,), "excitation_error_max": 0.2})
    ((pattern,),) = simulate(crystal, [zone(crystal, uvw)], options)
    assert pattern.intensity.max() > 1e-3
    assert departure(pattern, 360 / fold) < 2e-5


def test_a_three_fold_axis_is_not_six_fold():
    """Beams above and below the zero layer tell a rotation by 60 degrees along [001] of R-3m."""
    crystal = cached("bismuth telluride")
    ((pattern,),) = simulate(crystal, [zone(crystal, (0, 0, 1))], ALL_SPOTS)
    assert departure(pattern, 120) < 2e-6
    assert departure(pattern, 60) > 2e-5


@pytest.mark.parametrize("name", CENTROSYMMETRIC)
def test_friedel_pairs_of_a_zero_layer(name):
    """Along an axis with a two-fold axis or in projection: spots of the zero layer come in pairs.

    Only beams of the zero Laue zone take part (|s| cut short), so that the projected potential,
    which has an inversion centre, is all that matters.
    """
    crystal = cached(name)
    axis = crystal.conventional_lattice[2]
    options = ALL_SPOTS.model_copy(update={"thicknesses": (400.0,)})
    bloch = prepare(crystal, options)
    zero = np.abs(bloch.g @ axis) < 1e-6
    bloch = replace(
        bloch, hkl=bloch.hkl[zero], hkl_conventional=bloch.hkl_conventional[zero], g=bloch.g[zero]
    )
    (pattern,) = simulate_orientation(bloch, lattice_fixed_orientation(axis))
    spots = by_index(pattern)
    assert len(spots) >= 6
    for (h, k, l), (qx, qy, intensity) in spots.items():
        opposite = spots[-h, -k, -l]
        np.testing.assert_allclose(opposite, [-qx, -qy, intensity], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "uvw", "hkl"),
    [
        ("silicon", (0, 1, 1), (2, 0, 0)),
        ("silicon", (0, 1, 1), (2, 2, -2)),
        ("rutile", (1, 1, 0), (0, 0, 1)),
        ("pyrite", (0, 0, 1), (0, 1, 0)),
    ],
)
def test_forbidden_spots_appear_by_multiple_scattering(name, uvw, hkl):
    """Kinematically their structure factor is nil; py4DSTEM's users miss them (its issue 530)."""
    crystal = cached(name)
    options = SimulationSettings(thicknesses=(400.0,))
    g = np.array(hkl) @ np.linalg.inv(crystal.conventional_lattice).T
    primitive = np.rint(crystal.lattice @ g).astype(int)
    bloch = prepare(crystal, options)
    factors = np.abs(bloch.coupling)
    middle = np.array(factors.shape) // 2
    assert factors[tuple(middle + primitive)] < 1e-5 * factors.max()
    orientation = zone(crystal, uvw)
    if name in ("rutile", "pyrite"):
        # A glide plane or screw axis extinguishes them dynamically as well, but only along the
        # exact zone axis and the plane that holds it (Gjonnes and Moodie 1965): off by a degree.
        orientation = orientation @ Rotation.from_rotvec([0.013, 0.011, 0]).as_matrix()
    ((pattern,),) = simulate(crystal, [orientation], options)
    assert by_index(pattern)[hkl][2] > 1e-4


@pytest.mark.parametrize("thicknesses", [(1500.0,), (100.0, 2500.0)])
@pytest.mark.parametrize("name", ["gold", "zinc blende"])
def test_a_spectral_bound_that_is_too_narrow_is_found_and_mended(name, thicknesses, monkeypatch):
    crystal = cached(name)
    bloch = prepare(crystal, ALL_SPOTS)
    beams = find_beams(bloch, zone(crystal, (0, 0, 1)))
    right = np.abs(propagate_beams(bloch, *beams, thicknesses)) ** 2
    calls = []
    monkeypatch.setattr(exit_wave, "_LANCZOS_PHASE", 0.0)
    wide = exit_wave._spectral_interval

    def too_narrow(*matrix):
        low, high = wide(*matrix)
        calls.append(high - low)
        centre = (low + high) / 2
        return centre - 0.3 * (high - low), centre + 0.3 * (high - low)

    monkeypatch.setattr(exit_wave, "_spectral_interval", too_narrow)
    mended = np.abs(propagate_beams(bloch, *beams, thicknesses)) ** 2
    np.testing.assert_allclose(mended, right, atol=1e-5)
    assert calls


def test_a_hopeless_spectral_bound_is_an_error(monkeypatch):
    bloch = prepare(cached("bismuth telluride"), ALL_SPOTS)
    beams = find_beams(bloch, lattice_fixed_orientation([0, 0, 1]))
    monkeypatch.setattr(exit_wave, "_LANCZOS_PHASE", 0.0)
    monkeypatch.setattr(exit_wave, "_spectral_interval", lambda *_: (-1e-3, 1e-3))
    with pytest.raises(SimulationError, match="intensity is not conserved"):
        propagate_beams(bloch, *beams, (1000.0,))


def test_where_lanczos_steps_do_not_suffice_chebyshev_takes_over(monkeypatch):
    # without symmetry, or the steps exhaust their space and are exact
    bloch = prepare(cached("zirconia"), ALL_SPOTS)
    beams = find_beams(bloch, random_orientations(1, np.random.default_rng(2))[0])
    right = np.abs(propagate_beams(bloch, *beams, (200.0,))) ** 2
    monkeypatch.setattr(exit_wave, "_LANCZOS_TOLERANCE", -1.0)
    other = np.abs(propagate_beams(bloch, *beams, (200.0,))) ** 2
    assert 0 < np.abs(other - right).max() < 1e-5


@given(
    n=st.integers(1, 70),
    planes=st.integers(1, 2),
    seed=st.integers(0, 10**6),
)
def test_packed_product_is_that_of_the_full_matrix(n, planes, seed):
    rng = np.random.default_rng(seed)
    hkl = rng.permutation(np.indices((5, 5, 5)).reshape(3, -1).T - 2)[:n]
    half = rng.normal(size=(9, 9, 9)) + 1j * rng.normal(size=(9, 9, 9)) * (planes - 1)
    grid = half + np.conj(half[::-1, ::-1, ::-1])
    grid[4, 4, 4] = 0
    coupling = np.array([grid.real, grid.imag][:planes], dtype=np.float32)
    error = rng.normal(size=n)
    full = structure_matrix(hkl, error, grid, True)
    blocks, corners = pack_matrix(hkl, error, coupling)
    x = rng.normal(size=(2, 4 * len(corners)))
    x[:, n:] = 0
    out = np.empty(planes * x.shape[1], np.float32)
    multiply(blocks, corners, x[:planes].ravel().astype(np.float32), out)
    product = out.reshape(planes, -1)
    expected = full @ (x[0, :n] + 1j * x[1, :n] * (planes - 1))
    np.testing.assert_allclose(product[0, :n], expected.real, atol=1e-4)
    last = expected.imag if planes == 2 else expected.real
    np.testing.assert_allclose(product[-1, :n], last, atol=1e-4)
    assert not product[:, n:].any()


@pytest.mark.parametrize(
    ("name", "uvw"),
    [
        ("gold", (0, 0, 1)),
        ("gold", (0, 1, 1)),
        ("gold", (1, 1, 1)),
        ("bismuth telluride", (0, 0, 1)),
        ("bismuth telluride", (1, 0, 0)),
    ],
)
def test_spectral_bounds_hold_for_heavy_columns(name, uvw):
    """Strong channelling pulls single eigenvalues far out of the bulk of the spectrum."""
    crystal = cached(name)
    bloch = prepare(crystal, SimulationSettings())
    matrix = full_matrix(bloch, *find_beams(bloch, zone(crystal, uvw)))
    low, high = spectral_interval(matrix, 14)
    values = np.linalg.eigvalsh(matrix.astype(np.complex128))
    assert low <= values[0] + 1e-6
    assert high >= values[-1] - 1e-6
    # and they are bounds worth having: time goes with the width
    assert high - low < 1.6 * (values[-1] - values[0])


# In these two a beam at the edge of the excitation errors hardly couples to any other.
@example(name="zirconia", orientation=random_orientations(1, np.random.default_rng(634))[0])
@example(name="zirconia", orientation=random_orientations(1, np.random.default_rng(635))[0])
@given(name=any_name, orientation=any_orientation)
@settings(max_examples=40)
def test_spectral_bounds_hold(name, orientation):
    bloch = prepare(cached(name), ALL_SPOTS.model_copy(update={"q_max": 1.2}))
    matrix = full_matrix(bloch, *find_beams(bloch, orientation))
    low, high = spectral_interval(matrix, 14)
    # a little less than what exit_waves adds to them
    margin = 0.005 * (high - low) + 1e-4
    values = np.linalg.eigvalsh(matrix.astype(np.complex128))
    assert low - margin <= values[0]
    assert high + margin >= values[-1]


def test_miller_indices_are_those_of_the_conventional_cell(any_crystal):
    (orientation,) = random_orientations(1, np.random.default_rng(2))
    ((pattern,),) = simulate(any_crystal, [orientation], ALL_SPOTS)
    g = pattern.hkl @ np.linalg.inv(any_crystal.conventional_lattice).T
    np.testing.assert_allclose(g @ orientation[:, 0], pattern.qx, atol=1e-5)
    np.testing.assert_allclose(g @ orientation[:, 1], pattern.qy, atol=1e-5)
    assert len(np.unique(pattern.hkl, axis=0)) == len(pattern.hkl)


def test_fcc_indices_are_all_even_or_all_odd():
    (orientation,) = random_orientations(1, np.random.default_rng(2))
    ((pattern,),) = simulate(cached("gold"), [orientation], ALL_SPOTS)
    assert len(pattern.hkl) > 10
    assert np.all(np.ptp(pattern.hkl % 2, axis=1) == 0)


def test_floor_and_direct_beam():
    options = SimulationSettings(intensity_floor=1e-3, thicknesses=(100.0, 400.0))
    orientations = random_orientations(3, np.random.default_rng(2))
    everything = options.model_copy(update={"intensity_floor": 0.0})
    crystal = cached("pyrite")
    for some, every in zip(
        simulate(crystal, orientations, options),
        simulate(crystal, orientations, everything),
        strict=True,
    ):
        for a, b in zip(some, every, strict=True):
            assert a.intensity.min() >= 1e-3
            assert np.count_nonzero(b.intensity >= 1e-3) == len(a.intensity)
            assert len(b.intensity) > len(a.intensity)
            assert np.all(np.any(b.hkl != 0, axis=1))
            assert b.direct_beam + b.intensity.sum() == pytest.approx(1, abs=2e-5)


def test_no_beam_but_the_direct_one():
    """A cell so small that no other reciprocal lattice point is within reach."""
    cell = np.eye(3) * 0.9
    crystal = Crystal("dot", cell, np.array([1]), np.zeros((1, 3)), cell)
    ((pattern,),) = simulate(
        crystal, [np.eye(3)], SimulationSettings(q_max=1.0, intensity_floor=0.0)
    )
    assert len(pattern.qx) == len(pattern.hkl) == 0
    assert pattern.direct_beam == 1


@pytest.mark.parametrize("fault", ["flat", "nan cell", "infinite cell", "nan atom"])
def test_a_cell_that_is_none(fault):
    crystal = cached("gold")
    lattice, coords = crystal.lattice.copy(), crystal.frac_coords.copy()
    if fault == "flat":
        lattice[2] = lattice[0] + lattice[1]
    elif fault == "nan cell":
        lattice[1, 1] = np.nan
    elif fault == "infinite cell":
        lattice[1, 1] = np.inf
    else:
        coords[0, 2] = np.nan
    broken = replace(crystal, lattice=lattice, frac_coords=coords)
    with pytest.raises(SimulationError, match="gold: expected a cell of finite volume"):
        prepare(broken, SimulationSettings())


def test_an_element_without_scattering_factors():
    crystal = replace(cached("gold"), numbers=np.array([111]))
    with pytest.raises(UserError, match="atomic number 111"):
        prepare(crystal, SimulationSettings())


class TestPrecession:
    """The beam goes round a cone; intensities add up incoherently."""

    def pattern(self, name, orientation, **values):
        settings = ALL_SPOTS.model_copy(update=values)
        (pattern,) = simulate_orientation(prepare(cached(name), settings), orientation)
        return {
            tuple(key): i for key, i in zip(pattern.hkl.tolist(), pattern.intensity, strict=True)
        }

    def test_is_the_mean_of_tilted_patterns(self):
        """Each azimuth is the pattern of the crystal tilted the other way."""
        crystal = cached("gold")
        still = ALL_SPOTS
        total: dict[tuple[int, ...], float] = {}
        for azimuth in 2 * np.pi * np.arange(5) / 5:
            tilt = Rotation.from_rotvec(0.02 * np.array([-np.sin(azimuth), np.cos(azimuth), 0]))
            (pattern,) = simulate_orientation(prepare(crystal, still), tilt.as_matrix())
            for key, i in zip(pattern.hkl.tolist(), pattern.intensity, strict=True):
                total[tuple(key)] = total.get(tuple(key), 0) + i / 5
        precessed = self.pattern("gold", np.eye(3), precession=20.0, precession_steps=5)
        assert set(precessed) == set(total)
        for key, value in precessed.items():
            assert value == pytest.approx(total[key], abs=1e-6)

    @pytest.mark.parametrize("name", ["silicon", "wurtzite (polar)", "rutile"])
    def test_converges_with_the_azimuths(self, name):
        orientation = lattice_fixed_orientation([0.3, 0.5, 1.0])
        coarse = self.pattern(name, orientation, precession=10.0, precession_steps=64)
        fine = self.pattern(name, orientation, precession=10.0, precession_steps=256)
        strong = [key for key, i in fine.items() if i > 1e-3]
        assert strong
        for key in strong:
            assert coarse[key] == pytest.approx(fine[key], rel=0.05)

    def test_small_angle_is_no_precession(self):
        orientation = lattice_fixed_orientation([0.1, 0.2, 1.0])
        still = self.pattern("rutile", orientation)
        precessed = self.pattern("rutile", orientation, precession=1e-4, precession_steps=3)
        for key, value in still.items():
            assert precessed[key] == pytest.approx(value, abs=1e-5)

    def test_conserves_intensity(self):
        settings = ALL_SPOTS.model_copy(update={"precession": 15.0, "thicknesses": (100.0, 400.0)})
        patterns = simulate_orientation(prepare(cached("gold"), settings), np.eye(3))
        for pattern in patterns:
            assert pattern.intensity.sum() + pattern.direct_beam == pytest.approx(1, abs=1e-4)

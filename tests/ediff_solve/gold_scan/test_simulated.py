"""The simulated gold scan: its geometry, its physics, its frames, and the truth beside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rsciio.hspy
from gold_scans import small_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from other_code import edit
from scipy import ndimage
from scipy.integrate import trapezoid
from scipy.spatial.transform import Rotation

from ediff_solve.frames.kernels.dark_field import ring_sums
from ediff_solve.gold_scan import files as gold_files
from ediff_solve.gold_scan.crystal import GOLD_LATTICE, gold_crystal
from ediff_solve.gold_scan.files import (
    GoldScanFiles,
    prepare_files,
    read_truth,
    write_frames,
    write_gold_scan,
)
from ediff_solve.gold_scan.kernels import columns as column_kernels
from ediff_solve.gold_scan.kernels import frames as frame_kernels
from ediff_solve.gold_scan.microscope import background_profiles, disk_templates, draw_microscope
from ediff_solve.gold_scan.render import (
    FramePainter,
    GoldScan,
    _probe_columns,
    iterate_frames,
    prepare_gold_scan,
    scatter_positions,
)
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.gold_scan.specimen import KINDS, Specimen, build_specimen
from ediff_solve.gold_scan.tables import compute_tables
from ediff_solve.gold_scan.truth import QUATERNION, compute_domains, compute_positions
from ediff_solve.gold_scan.twins import (
    PLANES_111,
    Domains,
    _twin_orientation,
    decahedron,
    lamellar_twin,
    single_crystal,
)
from ediff_utils.bloch.orientations import lattice_fixed_orientation, random_orientations
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.bloch.simulation import simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings, check

SMALL = small_settings(seed=3)
#: A microscope without faults.
PLAIN = {
    "ellipticity": (0, 0),
    "rotation": 0,
    "hot_pixels": 0,
    "descan": 0,
    "centre_offset": 0,
    "tails": 0,
}
#: Shells of fcc with a = 4.0782 angstrom: sqrt(h^2 + k^2 + l^2) / a [1/angstrom].
SHELLS = {
    name: np.sqrt(square) / 4.0782
    for name, square in {"111": 3, "200": 4, "220": 8, "311": 11, "222": 12, "400": 16}.items()
}


@pytest.fixture(scope="module")
def scan() -> GoldScan:
    return prepare_gold_scan(SMALL)


@pytest.fixture(scope="module")
def frames(scan) -> np.ndarray:
    painter = FramePainter(scan)
    return np.stack([painter.frames(row) for row in range(SMALL.scan_size)])


@pytest.fixture(scope="module")
def positions(scan) -> pd.DataFrame:
    return compute_positions(scan)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> GoldScanFiles:
    return write_gold_scan(SMALL, tmp_path_factory.mktemp("scan"), jobs=3)


def one_particle(domains: Domains, radius: float, centre: tuple[float, float]) -> Specimen:
    n = len(domains.orientations)
    return Specimen(
        centres=np.array([[*centre, radius]]),
        radii=np.array([radius]),
        kinds=np.array([0]),
        textured=np.array([False]),
        cell_offsets=np.array([0, len(domains.cell_domain)]),
        cell_domain=domains.cell_domain,
        cell_planes=domains.cell_planes,
        domain_particle=np.zeros(n, np.int64),
        orientations=domains.orientations,
    )


def scan_of(domains: Domains, radius: float = 60.0, **values: object) -> GoldScan:
    """Three by three positions about the middle of one particle."""
    how = GoldScanSettings(**{"scan_size": 3, "step": 10.0, "dose": 1e4} | values)
    specimen = one_particle(domains, radius, (how.step, how.step))
    return GoldScan(how, specimen, compute_tables(specimen, how), draw_microscope(how))


def found_spots(frame: np.ndarray, threshold: float, half: int = 3) -> np.ndarray:
    """Centres of mass about the local maxima of a frame; shape (n, 2)."""
    frame = frame.astype(float)
    smooth = ndimage.gaussian_filter(frame, 1.0)
    peaks = np.argwhere((smooth == ndimage.maximum_filter(smooth, 9)) & (smooth > threshold))
    inside = np.all((peaks >= half) & (peaks < len(frame) - half), axis=1)
    u = np.arange(-half, half + 1)
    centres = []
    for row, column in peaks[inside]:
        own = frame[row - half : row + half + 1, column - half : column + half + 1]
        own = np.clip(own - np.median(own), 0, None)
        aside = own.sum(axis=1) @ u, own.sum(axis=0) @ u
        centres.append(np.array([row, column]) + np.array(aside) / own.sum())
    return np.array(centres)


def misorientation(first: np.ndarray, second: np.ndarray) -> float:
    """Smallest angle between two orientations of a cubic crystal [degree]."""
    between = Rotation.from_matrix(first @ second.T)
    return float(np.degrees((Rotation.create_group("O") * between).magnitude().min()))


# --- twins ----------------------------------------------------------------------------------------
def any_domains(kind: int, seed: int, radius: float) -> Domains:
    rng = np.random.default_rng(seed)
    (orientation,) = random_orientations(1, rng)
    low, high = np.sort(rng.uniform(-0.8, 0.8, 2)) * radius
    normal = PLANES_111[rng.integers(4)]
    return [
        lambda: single_crystal(orientation),
        lambda: lamellar_twin(orientation, normal, (low,)),
        lambda: lamellar_twin(orientation, normal, (low, high)),
        lambda: decahedron(orientation, (0.2 * low, 0.2 * high)),
    ][kind]()


@pytest.mark.parametrize("normal", PLANES_111)
def test_twin_is_sigma_3_and_shares_its_111_plane(normal):
    for orientation in random_orientations(5, np.random.default_rng(1)):
        twin = _twin_orientation(orientation, normal)
        np.testing.assert_allclose(twin @ twin.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(twin) == pytest.approx(1)
        # coincidence site lattice theory: Sigma 3 is 60 degrees about <111>
        assert misorientation(orientation, twin) == pytest.approx(60)
        np.testing.assert_allclose(twin.T @ normal, orientation.T @ normal, atol=1e-12)
        others = [n for n in PLANES_111 if not np.allclose(n, normal)]
        for other in others:
            cosines = np.abs(PLANES_111 @ twin @ (orientation.T @ other))
            assert cosines.max() < 0.99


@pytest.mark.parametrize("seed", range(4))
def test_wedges_of_a_decahedron_share_the_planes_between_them(seed):
    domains = any_domains(3, seed, 50.0)
    for k in range(4):
        first, second = domains.orientations[k : k + 2]
        assert misorientation(first, second) == pytest.approx(60)
        normal = domains.cell_planes[k, 1, :3]
        np.testing.assert_allclose(domains.cell_planes[k + 1, 0, :3], -normal, atol=1e-12)
        for orientation in (first, second):
            assert np.abs(PLANES_111 @ orientation @ normal).max() == pytest.approx(1)
    # the gap of 360 - 5 * 70.53 degrees lies at the last boundary
    last = Rotation.from_matrix(domains.orientations[0] @ domains.orientations[4].T)
    assert np.degrees(last.magnitude()) == pytest.approx(70.5288 + 7.3561, abs=1e-3)


@given(
    kind=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    x=st.floats(-1.1, 1.1),
    y=st.floats(-1.1, 1.1),
)
def test_cells_fill_the_sphere_once(kind, seed, x, y):
    """The chords of all cells add up to the sphere's, 2 sqrt(r^2 - x^2 - y^2)."""
    radius = 70.0
    domains = any_domains(kind, seed, radius)
    ends = [
        column_kernels._cut_column(x * radius, y * radius, radius, planes)
        for planes in domains.cell_planes
    ]
    chord = 2 * radius * np.sqrt(max(0.0, 1 - x * x - y * y))
    assert sum(high - low for low, high in ends) == pytest.approx(chord, abs=1e-6)
    # what the cell says, point by point
    for (low, high), planes in zip(ends, domains.cell_planes, strict=True):
        if high - low > 1e-6:
            point = np.array([x * radius, y * radius, (low + high) / 2])
            assert np.all(planes[:, :3] @ point <= planes[:, 3] + 1e-9)


# --- specimen -------------------------------------------------------------------------------------
def test_particles_cover_what_was_asked_for_and_keep_apart():
    how = GoldScanSettings(scan_size=80, overlapping=0, coverage=0.3)
    specimen = build_specimen(how)
    area = (79 * 21.0) ** 2
    largest = np.pi * 100.0**2
    assert 0.3 * area <= np.pi * np.sum(specimen.radii**2) < 0.3 * area + largest
    assert specimen.radii.min() >= 15
    assert specimen.radii.max() <= 100
    apart = specimen.centres[:, None, :2] - specimen.centres[None, :, :2]
    gap = np.linalg.norm(apart, axis=2) - specimen.radii - specimen.radii[:, None]
    assert gap[~np.eye(len(gap), dtype=bool)].min() > 0
    np.testing.assert_allclose(specimen.centres[:, 2], specimen.radii)


def test_overlapping_particles_touch_and_do_not_enter_each_other():
    specimen = build_specimen(GoldScanSettings(scan_size=80, overlapping=0.4, coverage=0.3))
    apart = specimen.centres[:, None] - specimen.centres[None]
    sums = specimen.radii + specimen.radii[:, None]
    off = ~np.eye(len(sums), dtype=bool)
    assert np.all((np.linalg.norm(apart, axis=2) >= sums - 1e-6)[off])
    share = np.any((np.linalg.norm(apart[..., :2], axis=2) < sums) & off, axis=1).mean()
    assert 0.4 < share < 0.95


def test_shares_of_kinds_and_texture():
    how = GoldScanSettings(
        scan_size=90,
        diameters=(30, 60),
        twinned=0.5,
        five_fold=0.4,
        textured=0.3,
        texture_spread=0,
    )
    specimen = build_specimen(how)
    n = len(specimen.radii)
    shares = np.bincount(specimen.kinds, minlength=len(KINDS)) / n
    # five standard deviations of a share
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=2.5 / np.sqrt(n))
    assert specimen.textured.mean() == pytest.approx(0.3, abs=2.5 / np.sqrt(n))
    parents = specimen.orientations[np.searchsorted(specimen.domain_particle, np.arange(n))]
    along = parents[:, :, 2] @ np.ones(3) / np.sqrt(3)
    np.testing.assert_allclose(along[specimen.textured], 1)
    assert np.count_nonzero(np.abs(along) > 0.999) < specimen.textured.sum() + 0.05 * n
    # the texture leaves the turn about the beam free
    turned = np.arctan2(*parents[specimen.textured][:, :2, 0].T)
    assert len(np.unique(turned.round(6))) == specimen.textured.sum()


# --- what a position scatters ---------------------------------------------------------------------
def test_nothing_is_lost_or_gained(scan):
    for row in range(SMALL.scan_size):
        found = scatter_positions(scan, row)
        position = np.repeat(np.arange(SMALL.scan_size), np.diff(found.domain_offsets))
        scattered = np.bincount(position, found.scattered, SMALL.scan_size)
        total = found.direct + found.diffuse + scattered
        # the weakest beams are left out
        np.testing.assert_allclose(total, 1, atol=1e-3)


def test_intensities_are_bloch_waves_at_the_local_thickness():
    """A column through the middle of a sphere is a foil of its diameter."""
    (orientation,) = random_orientations(1, np.random.default_rng(4))
    radius = 61.3
    how = {"convergence": 40.0, "diffuse_length": 1e12}
    scan = scan_of(single_crystal(orientation), radius, **how)
    found = scatter_positions(scan, 1, slice(1, 2))
    wanted = SimulationSettings(thicknesses=(2 * radius,), intensity_floor=1e-6)
    ((pattern,),) = simulate(gold_crystal(), orientation[None], wanted)
    # a probe of 40 mrad is so narrow that its columns are alike; the rest is the interpolation
    assert np.abs(_probe_columns(scan.settings)[:, :2]).max() < 0.5
    for qx, qy, intensity in zip(pattern.qx, pattern.qy, pattern.intensity, strict=True):
        if intensity > 1e-3:
            same = np.hypot(found.qx - qx, found.qy - qy) < 1e-6
            assert found.intensity[same].sum() == pytest.approx(intensity, rel=0.02, abs=2e-4)
    assert found.direct[0] == pytest.approx(pattern.direct_beam, rel=0.01)


def test_spots_are_reflections_of_the_domain_that_scatters(scan, positions):
    """On single positions, where the orientation has them: at integers of the cubic cell."""
    checked = 0
    for row in range(SMALL.scan_size):
        found = scatter_positions(scan, row)
        for y in np.flatnonzero(positions.loc[positions["x"] == row, "single"]):
            own = slice(*found.spot_offsets[y : y + 2])
            q = np.column_stack([found.qx[own], found.qy[own]])[found.intensity[own] > 0.01]
            domain = positions["domain"].to_numpy()[row * SMALL.scan_size + y]
            orientation = scan.specimen.orientations[domain - 1]
            # the sag of the Ewald sphere is below half a spacing
            sag = wavelength(300e3) * (q**2).sum(axis=1) / 2
            h = np.column_stack([q, sag]) @ orientation.T * GOLD_LATTICE
            miss = (h - np.rint(h)) @ orientation[:, :2]
            assert np.abs(miss).max(initial=0) < 1e-6
            checked += len(q)
    assert checked > 10


def test_domains_on_top_of_each_other_share_the_beam():
    """A twin plane across the beam: the upper half gets it first, and nothing is seen twice."""
    orientation = lattice_fixed_orientation(PLANES_111[0])
    scan = scan_of(lamellar_twin(orientation, PLANES_111[0], (0.0,)), 60.0, diffuse_length=1e12)
    found = scatter_positions(scan, 1, slice(1, 2))
    # the first is met first: the twin, on the side of the normal, where the source is
    assert list(found.domain) == [1, 0]
    np.testing.assert_allclose(found.thickness[0], found.thickness[1], rtol=1e-6)
    # along the twin axis the two patterns are mirror images, of the same strength
    left = 1 - found.scattered[0]
    assert found.scattered[1] == pytest.approx(found.scattered[0] * left, rel=0.01)
    assert found.thickness.sum() == pytest.approx(120, rel=0.05)


def test_probe_has_the_width_of_an_airy_disk():
    columns = _probe_columns(GoldScanSettings())
    assert columns[:, 2].sum() == pytest.approx(1)
    # full width at half maximum 0.514 lambda / alpha; of a Gaussian 2.355 sigma
    sigma = np.sqrt(columns[:, 2] @ columns[:, 0] ** 2)
    expected = 0.514 * wavelength(300e3) / 0.63e-3
    assert 2.355 * sigma == pytest.approx(expected, rel=2e-3)
    assert columns[:, 2] @ columns[:, 1] ** 2 == pytest.approx(sigma**2)


def test_merged_spots_lie_at_their_centre_of_intensity():
    qx = np.array([0.5, 0.51, -0.5, 0.5])
    qy = np.array([0.0, 0.0, 0.0, 0.0])
    merged = column_kernels.merge_spots(
        qx, qy, np.array([3.0, 1.0, 2.0, 9.0]), np.array([0, 3, 4]), 0.02
    )
    np.testing.assert_allclose(merged[0], [0.5025, -0.5, 0.5])
    np.testing.assert_allclose(merged[2], [4, 2, 9])
    np.testing.assert_array_equal(merged[3], [0, 2, 3])


# --- frames ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "expected"),
    [([0, 0, 1], {"200", "220"}), ([1, -1, 0], {"111", "200", "220"})],
)
@pytest.mark.parametrize("faults", [PLAIN, {"ellipticity": (0.03, 0.03), "hot_pixels": 0}])
def test_painted_spots_lie_on_the_shells_of_gold(zone, expected, faults):
    """Measured in the frame itself; distortion, rotation and shift are undone by the truth."""
    domains = single_crystal(lattice_fixed_orientation(np.array(zone, float)))
    scan = scan_of(domains, 60.0, **faults)
    frame = FramePainter(scan).frames(1, slice(1, 2))[0]
    centre = scan.microscope.centres[1, 1]
    spots = found_spots(frame, 60.0) - centre
    assert np.linalg.norm(spots, axis=1).min() < 0.05
    q = np.linalg.norm(spots @ np.linalg.inv(scan.microscope.matrix).T, axis=1)
    q = q[(q > 0.1) & (q < 0.75)]
    names, radii = np.array(list(SHELLS)), np.array(list(SHELLS.values()))
    nearest = np.abs(q[:, None] - radii).argmin(axis=1)
    # a tenth of a pixel
    np.testing.assert_allclose(q, radii[nearest], atol=0.0015)
    assert set(names[nearest]) == expected
    if faults is not PLAIN:
        raw = np.linalg.norm(spots, axis=1) * scan.settings.pixel_size
        raw = raw[(raw > 0.1) & (raw < 0.72)]
        assert np.abs(raw[:, None] - radii).min(axis=1).max() > 0.002


def test_rotation_turns_from_rows_to_columns():
    domains = single_crystal(np.eye(3))
    straight, turned = (scan_of(domains, **PLAIN | {"rotation": r}) for r in (0, 30))
    q = np.array([1 / GOLD_LATTICE, 0.0])
    size = straight.settings.pixel_size
    np.testing.assert_allclose(straight.microscope.matrix @ q, q / size, atol=1e-9)
    wanted = np.linalg.norm(q) / size * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    np.testing.assert_allclose(turned.microscope.matrix @ q, wanted)


def test_ellipse_is_as_long_as_it_says():
    microscope = draw_microscope(GoldScanSettings(ellipticity=(0.02, 0.02)))
    _, stretch, _ = np.linalg.svd(microscope.matrix * 0.015)
    np.testing.assert_allclose(stretch, [1.01, 0.99])


def test_total_electrons(scan, frames, positions):
    """All that the dose brings, but for what passes by the detector."""
    hot = scan.microscope.hot_counts.sum()
    profile, gold = background_profiles(SMALL, scan.microscope)
    assert np.all(profile >= 0)
    bare = positions["thickness"].to_numpy() == 0
    assert bare.sum() > 10
    sums = frames.sum(axis=(2, 3)).ravel() - hot
    assert SMALL.electrons == 400 * 21**2
    # within a square of 1.44 1/angstrom the film's rings lie whole
    mean = sums[bare].mean() / SMALL.electrons
    assert 0.995 < mean < 1 + 5 / np.sqrt(SMALL.electrons * bare.sum())
    assert sums.max() < SMALL.electrons + 6 * np.sqrt(SMALL.electrons)
    assert gold[0] > 0


def test_background_adds_up_to_one():
    microscope = draw_microscope(GoldScanSettings())
    profiles = background_profiles(GoldScanSettings(), microscope)
    q = 0.005 * np.arange(profiles.shape[1])
    pixel = 1 / abs(np.linalg.det(microscope.matrix))
    total = trapezoid(2 * np.pi * q * profiles / pixel, q)
    np.testing.assert_allclose(total, 1, rtol=1e-3)
    # the rings of the film
    assert q[60 + profiles[0, 60:].argmax()] == pytest.approx(0.48, abs=0.03)


@given(row=st.floats(20, 40), column=st.floats(20, 40))
@hypothesis_settings(max_examples=25)
def test_painted_disk_keeps_sum_and_place(row, column):
    frame = np.zeros((64, 61))
    frame_kernels._paint_disk(frame, row, column, 7.0, spot_template())
    assert frame.sum() == pytest.approx(7)
    assert frame.sum(axis=1) @ np.arange(64) / 7 == pytest.approx(row, abs=2e-3)
    assert frame.sum(axis=0) @ np.arange(61) / 7 == pytest.approx(column, abs=2e-3)


def spot_template(**values: object) -> np.ndarray:
    how = GoldScanSettings(**PLAIN | values)
    key = tuple(sorted(values.items()))
    if key not in _TEMPLATES:
        _TEMPLATES[key] = disk_templates(how, draw_microscope(how))[0]
    return _TEMPLATES[key]


_TEMPLATES: dict[tuple, np.ndarray] = {}


def test_disk_has_the_radius_of_the_probe():
    """Second moment of a uniform disk R^2 / 4 an axis, of the spread and the pixel besides."""
    how = GoldScanSettings(**PLAIN)
    assert how.disk_radius == pytest.approx(0.63e-3 / 0.0196874, rel=1e-5)
    radius = how.disk_radius / 0.015
    assert radius == pytest.approx(2.133, abs=1e-3)
    for place in (30.0, 30.4):
        frame = np.zeros((64, 64))
        frame_kernels._paint_disk(frame, place, 31.0, 1.0, spot_template())
        moment = frame.sum(axis=1) @ (np.arange(64) - place) ** 2
        assert moment == pytest.approx(radius**2 / 4 + 0.5**2 + 1 / 12, rel=0.01)


def test_painted_disk_is_the_covered_area():
    """Without a spread: against each pixel's points that lie in the disk, one by one."""
    row, column, radius = 20.37, 21.81, 5.0
    sharp = {"point_spread": 0, "convergence": 5 * 0.015 * wavelength(300e3) * 1e3}
    frame = np.zeros((41, 43))
    frame_kernels._paint_disk(frame, row, column, 1.0, spot_template(**sharp))
    fine = (np.arange(50) + 0.5) / 50 - 0.5
    i, j = np.indices(frame.shape)
    points = np.hypot(i[..., None, None] + fine[:, None] - row, j[..., None, None] + fine - column)
    slow = np.mean(points < radius, axis=(2, 3)) / (np.pi * radius**2)
    np.testing.assert_allclose(frame, slow, atol=0.08 * slow.max())
    assert np.abs(frame - slow).sum() < 0.02


def test_disk_across_the_edge_loses_what_lies_beyond():
    frame = np.zeros((50, 50))
    frame_kernels._paint_disk(frame, -0.5, 25.0, 1.0, spot_template())
    assert frame.sum() == pytest.approx(0.5, abs=0.01)
    frame_kernels._paint_disk(frame, -200.0, 300.0, 1.0, spot_template())
    assert frame.sum() == pytest.approx(0.5, abs=0.01)


def test_tails_reach_farther_than_the_gaussian():
    sharp, wide = (np.zeros((64, 64)) for _ in range(2))
    frame_kernels._paint_disk(sharp, 32, 32, 1.0, spot_template())
    frame_kernels._paint_disk(wide, 32, 32, 1.0, spot_template(tails=0.2))
    far = np.hypot(*(np.indices((64, 64)) - 32)) > 6
    assert sharp[far].sum() < 1e-6
    assert 0.02 < wide[far].sum() < 0.2


def test_counts_are_poisson():
    expected = np.tile(np.geomspace(0.05, 5000, 50), (4000, 1))
    counts = np.empty(expected.shape, np.uint16)
    frame_kernels._count_electrons(expected, np.uint64(5), counts)
    deviation = np.sqrt(expected[0] / 4000)
    assert np.all(np.abs(counts.mean(axis=0) - expected[0]) < 5 * deviation)
    np.testing.assert_allclose(counts.var(axis=0) / expected[0], 1, atol=0.3)
    frame_kernels._count_electrons(np.full((2, 2), 1e6), np.uint64(5), counts[:2, :2])
    assert np.all(counts[:2, :2] == 65535)


def test_hot_pixels_count_without_electrons(scan, frames):
    hot, counts = scan.microscope.hot, scan.microscope.hot_counts
    assert len(hot) == round(SMALL.hot_pixels * SMALL.frame_size**2) > 0
    corner = np.hypot(*(hot - SMALL.frame_size / 2).T) > 30
    mean = frames[:, :, hot[:, 0], hot[:, 1]].mean(axis=(0, 1))
    np.testing.assert_allclose(mean[corner], counts[corner], rtol=0.2, atol=2)


# --- truth ----------------------------------------------------------------------------------------
def test_truth_has_a_row_a_position_and_consistent_flags(scan, positions):
    n = SMALL.scan_size
    np.testing.assert_array_equal(positions["x"], np.repeat(np.arange(n), n))
    np.testing.assert_array_equal(positions["y"], np.tile(np.arange(n), n))
    gold = positions["particle"] > 0
    np.testing.assert_array_equal(gold, positions["thickness"] > 0)
    np.testing.assert_array_equal(gold, positions["domain"] > 0)
    assert gold.any()
    assert not gold.all()
    assert positions.loc[gold, "share"].between(0, 1).all()
    assert positions.loc[~gold, ["share", *QUATERNION]].isna().all(axis=None)
    assert not (positions["single"] & (positions["twinned"] | positions["overlapping"])).any()
    seen = positions["n_domains"] > 0
    np.testing.assert_array_equal(
        seen, positions["single"] | positions["twinned"] | positions["overlapping"]
    )
    owner = scan.specimen.domain_particle[positions.loc[gold, "domain"] - 1] + 1
    np.testing.assert_array_equal(owner, positions.loc[gold, "particle"])


def test_truth_of_the_thickness_is_the_spheres(scan, positions):
    place = SMALL.step * positions[["x", "y"]].to_numpy(float)
    probe = _probe_columns(SMALL)
    expected = np.zeros(len(place))
    for (x, y, _), radius in zip(scan.specimen.centres, scan.specimen.radii, strict=True):
        for dx, dy, weight in probe:
            square = radius**2 - (place[:, 0] + dx - x) ** 2 - (place[:, 1] + dy - y) ** 2
            expected += weight * 2 * np.sqrt(np.clip(square, 0, None))
    np.testing.assert_allclose(positions["thickness"], expected, atol=1e-6)


def test_truth_of_domains_gives_the_orientations_back(scan):
    domains = compute_domains(scan)
    matrices = np.stack(domains["orientation"]).reshape(-1, 3, 3)
    np.testing.assert_array_equal(matrices, scan.specimen.orientations)
    w_last = domains[[*QUATERNION[1:], QUATERNION[0]]].to_numpy()
    np.testing.assert_allclose(Rotation.from_quat(w_last).as_matrix(), matrices, atol=1e-12)
    assert (domains["quaternion_w"] >= 0).all()
    sizes = domains.groupby("particle").agg(kind=("kind", "first"), n=("domain", "size"))
    wanted = {"single": 1, "lamellar": 2, "decahedron": 5}
    np.testing.assert_array_equal(sizes["n"], sizes["kind"].map(wanted))


def test_truth_of_the_centre_is_where_the_beam_lies(frames, positions):
    bare = positions[positions["thickness"] == 0]
    for row in bare.itertuples():
        spots = found_spots(frames[row.x, row.y], 500.0)
        centre = np.array([row.centre_row, row.centre_column])
        assert np.linalg.norm(spots - centre, axis=1).min() < 0.05
    spread = np.ptp(positions[["centre_row", "centre_column"]].to_numpy(), axis=0)
    assert np.all((spread > 1) & (spread <= 4))


def test_frames_are_bright_where_the_truth_has_crystals(scan, positions):
    """Electrons on the ring of 111 to 220 are those of the truth's spots, and the film's."""
    clean = SMALL.model_copy(update={"diffuse_length": 1e12, "tails": 0.0})
    scan = replace(scan, settings=clean)
    painter = FramePainter(scan)
    flat = np.concatenate([painter.frames(row) for row in range(SMALL.scan_size)])
    flat[:, scan.microscope.hot[:, 0], scan.microscope.hot[:, 1]] = 0
    centres = positions[["centre_row", "centre_column"]].to_numpy()
    inner, outer = 0.38 / SMALL.pixel_size, 0.75 / SMALL.pixel_size
    field = ring_sums(flat, centres, inner, outer)
    bare = positions["thickness"].to_numpy() == 0
    ground = field[bare].mean()
    assert field[bare].std() < 3 * np.sqrt(ground)
    strong = positions["scattered"].to_numpy() > 0.05
    assert strong.sum() > 3
    expected = []
    for row in range(SMALL.scan_size):
        found = scatter_positions(scan, row)
        q = np.hypot(found.qx, found.qy)
        position = np.repeat(np.arange(SMALL.scan_size), np.diff(found.spot_offsets))
        ring = (q > 0.41) & (q < 0.72)
        expected.append(np.bincount(position[ring], found.intensity[ring], SMALL.scan_size))
    electrons = SMALL.electrons * (1 - SMALL.carbon) * np.concatenate(expected)
    noise = 6 * np.sqrt(ground + electrons.max())
    np.testing.assert_allclose(field - ground, electrons, rtol=0.02, atol=noise)
    assert electrons[strong].max() > 10 * noise


# --- files ----------------------------------------------------------------------------------------
def test_file_is_read_back_as_it_was_made(files, frames, scan):
    (signal,) = rsciio.hspy.file_reader(files.frames)
    assert signal["data"].dtype == np.uint16
    np.testing.assert_array_equal(signal["data"], frames)
    assert [axis["name"] for axis in signal["axes"]] == ["x", "y", "qx", "qy"]
    assert [axis["navigate"] for axis in signal["axes"]] == [True, True, False, False]
    assert [axis["scale"] for axis in signal["axes"]] == [1.0] * 4
    assert all(axis["units"] is None for axis in signal["axes"])
    (lazy,) = rsciio.hspy.file_reader(files.frames, lazy=True)
    assert lazy["data"].chunksize == (1, SMALL.scan_size, 96, 96)


def test_truth_is_read_back(files, positions, scan):
    found, domains = read_truth(files.folder)
    pd.testing.assert_frame_equal(found, positions)
    assert len(domains) == len(scan.specimen.orientations)
    record = json.loads(files.microscope.read_text())
    np.testing.assert_allclose(record["matrix_angstrom_pixels"], scan.microscope.matrix)
    assert GoldScanSettings(**record["settings"]) == SMALL
    assert [h["row"] for h in record["hot_pixels"]] == list(scan.microscope.hot[:, 0])


def test_same_seed_same_bytes_whatever_the_threads(files, tmp_path):
    again = write_gold_scan(SMALL, tmp_path, jobs=1)
    for name in ("frames", "positions", "domains", "microscope"):
        first, second = (
            hashlib.sha256(getattr(f, name).read_bytes()).digest() for f in (files, again)
        )
        assert first == second, name
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        getattr(again, name).name for name in ("frames", "positions", "domains", "microscope")
    )


def test_a_scan_is_written_once(files, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(files.folder, tmp_path / "scan")
    written = []
    write = gold_files.write_gold_scan
    monkeypatch.setattr(
        gold_files, "write_gold_scan", lambda *a, **k: written.append(a) or write(*a, **k)
    )
    assert prepare_files(SMALL, folder) == GoldScanFiles(folder)
    assert written == []
    assert capsys.readouterr().err == ""
    edit(monkeypatch, "ediff_solve.gold_scan.kernels.frames")
    prepare_files(SMALL, folder, jobs=1)
    prepare_files(SMALL, folder, jobs=1)
    assert len(written) == 1
    line = "files of the simulated scan: made again, since ediff_solve.gold_scan.kernels.frames"
    assert capsys.readouterr().err == f"{line} has changed\n"
    prepare_files(SMALL.model_copy(update={"seed": 4}), folder, jobs=1)
    assert "settings differ: seed" in capsys.readouterr().err
    # Stopped on the way: the record is not there.
    (folder / "microscope.json").unlink()
    prepare_files(SMALL, folder, jobs=1)
    assert len(written) == 3


def test_another_seed_is_another_scan(scan):
    other = prepare_gold_scan(SMALL.model_copy(update={"seed": 4}))
    assert not np.array_equal(other.specimen.centres, scan.specimen.centres)
    assert other.microscope.rotation != scan.microscope.rotation


@pytest.mark.parametrize("width", [1, 5, 12])
def test_pieces_show_no_seam(scan, frames, width):
    pieces = list(iterate_frames(scan, width, jobs=2))
    assert max(len(piece) for piece in pieces) == width
    np.testing.assert_array_equal(np.concatenate(pieces), frames.reshape(-1, 96, 96))


def test_calibration_is_in_the_file_if_asked_for(scan, tmp_path):
    calibrated = replace(scan, settings=SMALL.model_copy(update={"calibrated": True}))
    write_frames(calibrated, tmp_path / "own.hspy")
    (signal,) = rsciio.hspy.file_reader(tmp_path / "own.hspy", lazy=True)
    assert [axis["scale"] for axis in signal["axes"]] == [21.0, 21.0, 0.03, 0.03]
    assert [axis["units"] for axis in signal["axes"]] == ["angstrom"] * 2 + ["1/angstrom"] * 2


def test_uneven_last_chunk(tmp_path):
    how = small_settings(scan_size=18, frame_size=16, pixel_size=0.1, coverage=0.1)
    small = prepare_gold_scan(how)
    write_frames(small, tmp_path / "own.hspy", jobs=2)
    (signal,) = rsciio.hspy.file_reader(tmp_path / "own.hspy")
    painter = FramePainter(small)
    np.testing.assert_array_equal(signal["data"][7], painter.frames(7))


def test_stopped_writing_leaves_no_file(scan, tmp_path, monkeypatch):
    def fail(self: FramePainter, row: int, columns: slice) -> np.ndarray:
        if row == 5:
            raise KeyboardInterrupt
        return np.zeros((len(range(12)[columns]), 96, 96), np.uint16)

    monkeypatch.setattr(FramePainter, "frames", fail)
    with pytest.raises(KeyboardInterrupt):
        write_frames(scan, tmp_path / "frames.hspy")
    assert not list(tmp_path.iterdir())


# --- settings -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scan_size": 1}, "scan_size: "),
        ({"dose": 0}, "dose: "),
        ({"diameters": (200, 30)}, "diameters: expected two rising values from 4 to 10000"),
        ({"diameters": (30,)}, "diameters"),
        ({"ellipticity": (0.1, 0.9)}, "ellipticity: expected two rising values from 0 to 0.5"),
        ({"hot_counts": (0, 5)}, "hot_counts: expected"),
        ({"twinned": 1.5}, "twinned: "),
        ({"voltage": 3}, "voltage: not a parameter"),
        ({"seed": -1}, "seed: "),
        ({"step": float("nan")}, "step: "),
    ],
)
def test_bad_settings_get_one_line(values, message):
    with pytest.raises(UserError, match=f"^{message}") as caught:
        check(GoldScanSettings, **values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scan_size": 4}, "coverage: 0.4 of a scan of 63 angstrom is less than one"),
        ({"coverage": 0.8, "scan_size": 120, "overlapping": 0}, "coverage: only"),
    ],
)
def test_particles_that_do_not_fit_get_one_line(values, message):
    how = small_settings(**{"diameters": (80, 200)} | values)
    with pytest.raises(UserError, match=f"^{message}") as caught:
        build_specimen(how)
    assert "\n" not in str(caught.value)


def test_other_mistakes_get_one_line(scan, tmp_path):
    with pytest.raises(UserError, match=r"unknown ending '\.tif', expected \.hspy$"):
        write_frames(scan, tmp_path / "frames.tif")
    with pytest.raises(UserError, match=r"^jobs: expected a number of threads"):
        write_gold_scan(SMALL, tmp_path, jobs=0)
    with pytest.raises(UserError, match="not there; it is made by write_gold_scan"):
        read_truth(tmp_path)

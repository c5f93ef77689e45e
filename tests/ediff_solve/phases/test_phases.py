"""Phases of a scan: found where there are some, none where there is none, a net where one turns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix import io

from ediff_solve.detector.settings import DetectorSettings
from ediff_solve.lattice import cell_parameters, same_lattice
from ediff_solve.phases import mixtures, nets, zones
from ediff_solve.phases.assigning import compute_misorientation
from ediff_solve.phases.grains import find_centre, find_grains, find_tracks
from ediff_solve.phases.indexing import best_grain
from ediff_solve.phases.judging import View, distances
from ediff_solve.phases.orienting import TIGHT, orient_cell, stack_patterns
from ediff_solve.phases.report import describe_phases, format_phases, tabulate_phases
from ediff_solve.phases.scan import find_phases, position_spots
from ediff_solve.phases.superlattices import find_changes
from ediff_solve.phases.twinning import find_untwinned
from ediff_solve.scans.phase_maps import compute_phase_maps, orix_cell, write_phase_maps
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.settings import ScanSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.paper.scan.bragg import build_bragg_lists

HALF = wavelength(300e3) / 2
SCAN = {"size": 12, "grains": (16, 12), "shares": (1.0, 0.4)}


def rutile() -> Crystal:
    u = 0.305
    oxygen = [(u, u, 0), (-u, -u, 0), (0.5 - u, 0.5 + u, 0.5), (0.5 + u, 0.5 - u, 0.5)]
    places = np.array([(0, 0, 0), (0.5, 0.5, 0.5), *oxygen], float) % 1
    cell = np.diag([4.594, 4.594, 2.959])
    return Crystal("rutile", cell, np.array([22, 22, 8, 8, 8, 8]), places, cell)


def salt() -> Crystal:
    lattice = 5.64 / 2 * np.array([(0.0, 1, 1), (1, 0, 1), (1, 1, 0)])
    places = np.array([(0.0, 0, 0), (0.5, 0.5, 0.5)])
    return Crystal("salt", lattice, np.array([11, 17]), places, 5.64 * np.eye(3))


@pytest.fixture(scope="module")
def mixture():
    detector = DetectorSettings(q_max_range=(1.2, 1.2))
    return mixtures.simulate_mixture([rutile(), salt()], 5, detector=detector, **SCAN)


@pytest.fixture(scope="module")
def found(mixture):
    return find_phases(mixture.lists)


# --- a mixture ------------------------------------------------------------------------------------
def test_both_phases_are_found_and_no_other(mixture, found):
    told = found.discovered.phases
    cells = [phase.bravais.niggli * mixture.scale for phase in told]
    assert len(told) == 2
    for crystal in (rutile(), salt()):
        assert sum(same_lattice(cell, crystal.lattice, 0.01) for cell in cells) == 1
    for phase in told:
        assert phase.gain > 4 * phase.decoy_gain
        assert phase.explained > 0.6 > phase.decoy_explained


def test_positions_of_one_grain_have_its_phase(mixture, found):
    rutiles = [
        same_lattice(p.bravais.niggli * mixture.scale, rutile().lattice, 0.01)
        for p in found.discovered.phases
    ]
    first = found.positions[found.positions["layer"] == 0].set_index("position")["phase"]
    right, asked = 0, 0
    for n, (x, y) in enumerate(zip(found.lists.x, found.lists.y, strict=True)):
        grains = [g for g in mixture.layers[:, x, y] if g >= 0]
        if len(grains) == 1:
            asked += 1
            right += n in first.index and rutiles[first[n]] == (mixture.phase[grains[0]] == 0)
    assert asked > 40
    assert right > 0.9 * asked


def test_indices_give_the_spots_back(found):
    for phase in found.discovered.phases:
        grain = best_grain(found, phase, 300e3)
        q = np.linalg.norm(grain.hkl @ np.linalg.inv(phase.bravais.conventional).T, axis=1)
        seen = np.hypot(*grain.spots[:, :2].T)
        assert grain.own.sum() >= 5
        np.testing.assert_allclose(q[grain.own], seen[grain.own], atol=0.02)
        assert not grain.hkl[~grain.own].any()


def test_what_is_told(found):
    table = tabulate_phases(found)
    assert table["phase"].tolist() == [1, 2]
    told = json.loads(json.dumps(describe_phases(found, table)))
    assert not told["one_orientation"]
    assert [one["bravais"] for one in told["phases"]] == table["bravais"].tolist()
    lines = format_phases(found, table)
    assert all(symbol in lines for symbol in table["bravais"])


def test_orix_reads_phases_and_orientations_back(found, tmp_path):
    maps = compute_phase_maps(found)
    files = write_phase_maps(found, maps, tmp_path, "phases", 20.0)
    for path in files.values():
        back = io.load(str(path))
        assert back.shape == found.lists.shape
        own = np.isfinite(maps.rotations[..., 0, 0])
        told = back.phase_id.reshape(back.shape)
        np.testing.assert_array_equal(told[own], maps.phase[0][own] + 1)
        assert (told[~own] == -1).all()
        again = back.rotations.to_matrix().reshape(*back.shape, 3, 3)
        np.testing.assert_allclose(again[own], maps.rotations[own], atol=1e-3)
    for n, phase in enumerate(found.discovered.phases):
        cell = io.load(str(files["h5"])).phases[n + 1].structure.lattice
        wanted = cell_parameters(orix_cell(phase.bravais))
        np.testing.assert_allclose(cell.abcABG(), wanted, rtol=1e-4)


# --- nothing to be found --------------------------------------------------------------------------
def test_grains_strained_by_themselves_share_no_cell():
    strained = mixtures.simulate_mixture([rutile(), salt()], 5, strains=0.2, **SCAN)
    told = find_phases(strained.lists)
    assert len(told.grains) > 5
    assert not told.discovered.phases
    assert "none: no cell" in format_phases(told, tabulate_phases(told))


def test_amorphous_spots_have_no_phase():
    told = find_phases(mixtures.simulate_amorphous(3, size=12, grains=20))
    assert len(told.grains) > 5
    assert not told.discovered.phases


# --- one orientation ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def net_scan():
    """A scan of one net whose odd rows along b are seen on a third of it."""
    rng = np.random.default_rng(0)
    a, b = np.array([0.2, 0.03]), np.array([-0.05, 0.31])
    index = np.array([(h, k) for h in range(-4, 5) for k in range(-3, 4) if h or k])
    rows = []
    for x in range(12):
        for y in range(12):
            shown = (rng.random(len(index)) < 0.5) & ((x < 4) | (index[:, 1] % 2 == 0))
            q = index[shown] @ [a, b] + 0.003 * rng.normal(size=(shown.sum(), 2))
            rows += [(x, y, *one, 1.0) for one in q]
    return build_bragg_lists(*np.array(rows).T), np.array([a, b])


def test_one_orientation_gives_the_net_and_no_cell(net_scan):
    lists, true = net_scan
    told = find_phases(lists)
    assert told.prevailing.prevails
    assert told.net is not None
    a, b, angle = nets.describe_net(nets.reduce_net(true))
    np.testing.assert_allclose(told.net.lengths, [a, b], rtol=0.005)
    assert abs(told.net.angle - angle) < 0.5
    assert not told.discovered.phases
    (weak,) = [s for s in told.net.sub_nets if s.is_weak and s.modulus == 2]
    assert weak.seen[lists.x >= 4].max() == 0
    assert np.median(weak.seen[lists.x < 4]) >= 3
    table = tabulate_phases(told)
    assert "third axis: not seen" in format_phases(told, table)
    assert describe_phases(told, table)["net"]["third_axis"] == "not seen"


def test_grains_turned_at_random_do_not_prevail(found):
    assert not found.prevailing.prevails


def test_spinel_along_112_is_among_the_cubic_zones():
    """LiMn2O4, F, 8.245 angstrom: 111 and 220 are perpendicular in zone 112."""
    a = 8.245
    net = np.diag([np.sqrt(3) / a, np.sqrt(8) / a])
    found = zones.find_cubic_zones(net)
    own = [z for z in found if z.centring == "F" and z.zone == (1, 1, 2)]
    assert own[0].a == pytest.approx(a)
    assert own[0].misfit == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_reduced_net_is_the_same_net(seed):
    net = np.random.default_rng(seed).normal(size=(2, 2))
    reduced = nets.reduce_net(net)
    change = reduced @ np.linalg.inv(net)
    np.testing.assert_allclose(change, np.rint(change), atol=1e-6)
    assert abs(abs(np.linalg.det(change)) - 1) < 1e-6
    assert 60 - 1e-6 <= nets.describe_net(reduced)[2] <= 90 + 1e-6


# --- parts ----------------------------------------------------------------------------------------
def clean_spots(reciprocal: np.ndarray) -> np.ndarray:
    """Spots of a lattice in one orientation, strongest first; shape (n, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    g = index @ reciprocal
    error = np.abs(g[:, 2] - HALF * (g[:, :2] ** 2).sum(axis=1))
    q = np.hypot(g[:, 0], g[:, 1])
    near = (error < 0.025) & (q > 0.05) & (q < 1.2)
    spots = np.column_stack([g[near, :2], np.exp(-((error[near] / 0.015) ** 2))])
    return spots[np.argsort(-spots[:, 2])]


def test_orientations_of_clean_spots_are_found():
    """Nine of ten; a beam along a zone axis whose rows are long may show few spots."""
    reciprocal = np.linalg.inv(2 * rutile().lattice).T
    rotations = random_orientations(30, np.random.default_rng(0))
    stack = stack_patterns([clean_spots(reciprocal @ r) for r in rotations], HALF, TIGHT)
    told = orient_cell(reciprocal, stack)
    right = stack.sum(told.explained) > 0.9 * stack.sizes
    assert right.mean() > 0.9
    for n in np.flatnonzero(right):
        own = stack.vectors[stack.part(n)][told.explained[stack.part(n)]]
        assert np.median(distances(told.bases[n], own)[0]) < 0.004


@pytest.mark.parametrize(("index", "number"), [(2, 7), (3, 13)])
def test_every_sublattice_of_a_prime_index(index, number):
    """Of index p there are p^2 + p + 1 (Santoro and Mighell 1972)."""
    changes = find_changes(index)
    assert len({c.tobytes() for c in changes}) == number
    assert {round(float(np.linalg.det(c))) for c in changes} == {index}


@pytest.mark.parametrize("twins", [True, False])
def test_twins_of_a_cubic_crystal_are_no_hexagonal_phase(twins):
    """Twins on (111) share a lattice of index 3, hexagonal with c/a = sqrt(6)."""
    cubic = np.linalg.inv(2 * salt().lattice).T
    about = np.ones(3) / np.sqrt(3)
    half_turn = 2 * np.outer(about, about) - np.eye(3)
    large = np.array([(1.0, -1, 0), (0, 1, -1), (2, 2, 2)]) * 5.64
    patterns = []
    for rotation in random_orientations(6, np.random.default_rng(3)):
        if twins:
            parts = [clean_spots(cubic @ r) for r in (rotation, half_turn @ rotation)]
        else:
            parts = [clean_spots(np.linalg.inv(large).T @ rotation)]
        spots = np.concatenate(parts)
        patterns.append(spots[np.argsort(-spots[:, 2])])
    found = find_untwinned(np.linalg.inv(large).T, View(patterns, HALF, np.zeros(4)))
    assert (found is not None) == twins
    if twins:
        assert same_lattice(np.linalg.inv(found).T, 2 * salt().lattice, 0.01)


def test_orientations_that_symmetry_takes_to_each_other_are_one():
    lattice = salt().lattice
    rotation = random_orientations(1, np.random.default_rng(1))[0]
    quarter = np.array([(0.0, -1, 0), (1, 0, 0), (0, 0, 1)])
    turned = quarter @ rotation
    assert compute_misorientation(rotation, turned, lattice) == pytest.approx(0, abs=1e-4)
    angle = np.radians(2)
    c, s = np.cos(angle), np.sin(angle)
    small = np.array([(c, -s, 0), (s, c, 0), (0, 0, 1)])
    assert compute_misorientation(rotation, small @ turned, lattice) == pytest.approx(2)


def test_a_spot_that_neighbours_share_is_one_track():
    places = np.array([(0, 0), (0, 1), (5, 5)])
    spots = [np.array([(0.5, 0.0, 1.0)]), np.array([(0.503, 0, 1.0), (0.2, 0, 1)])]
    track, owner, mean = find_tracks(places, [*spots, spots[0]], 0.01)
    assert owner.tolist() == [0, 1, 1, 2]
    assert track[0] == track[1]
    assert len(set(track)) == 3
    assert mean[track[0], 0] == pytest.approx(0.5015)


def test_two_grains_over_each_other_are_told_apart():
    rng = np.random.default_rng(2)
    places = np.array([(x, y) for x in range(8) for y in range(8)])
    first, second = (np.column_stack([rng.uniform(-1, 1, (12, 2)), np.ones(12)]) for _ in "ab")
    left, top = places[:, 0] < 4, places[:, 1] < 4
    patterns = [
        np.concatenate([first[: 12 * a], second[: 12 * b]]) for a, b in zip(left, top, strict=True)
    ]
    found = find_grains(places, patterns)
    assert [len(g.spots) for g in found] == [12, 12]
    assert {len(g.positions) for g in found} == {int(left.sum()), int(top.sum())}


def test_the_centre_is_where_opposite_spots_meet():
    rng = np.random.default_rng(4)
    patterns = []
    for _ in range(20):
        half = rng.uniform(-1, 1, (10, 2))
        both = np.concatenate([half, -half]) + [0.012, -0.007]
        patterns.append(np.column_stack([both, np.ones(20)]))
    np.testing.assert_allclose(find_centre(patterns), [0.012, -0.007], atol=1e-3)
    assert not find_centre([p[:1] for p in patterns]).any()


def test_strongest_spots_come_first(mixture):
    assert all((np.diff(s[:, 2]) <= 0).all() for s in position_spots(mixture.lists))


# --- the files ------------------------------------------------------------------------------------
def test_what_is_written(net_scan, tmp_path):
    from ediff_solve.scans.phases import tell_phases

    tell_phases(net_scan[0], ScanSettings(), tmp_path, 20.0)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"phases.parquet", "phase_positions.parquet", "phases.txt", "phases.json"}
    assert json.loads((tmp_path / "phases.json").read_text())["one_orientation"]
    assert pd.read_parquet(tmp_path / "phase_positions.parquet").empty

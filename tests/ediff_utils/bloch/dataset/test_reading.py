"""One crystal's rows, and the readers of a dataset: what they give, and what they refuse."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dataset_runs import NAMES, SETTINGS, checksums, copy_dataset, run
from sample_crystals import make_crystal
from scipy import stats

from ediff_utils.bloch.dataset import table as pattern_tables
from ediff_utils.bloch.dataset.reading import read_patterns, spots
from ediff_utils.bloch.dataset.table import (
    SCHEMA,
    crystal_orientations,
    crystal_thicknesses,
    pattern_table,
)
from ediff_utils.bloch.dataset.writing import read_report
from ediff_utils.bloch.orientations import grid_orientations, lattice_fixed_orientation
from ediff_utils.bloch.simulation import simulate
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings, check
from ediff_utils.crystals.crystal import Crystal

RANDOM = SETTINGS.model_copy(update={"sampling": "random", "thicknesses": (150.0,)})
RANGE = RANDOM.model_copy(update={"thickness_range": (50.0, 350.0)})


cached = cache(make_crystal)


def renamed(crystal: Crystal, name: str) -> Crystal:
    return Crystal(**vars(crystal) | {"material_id": name})


def test_a_dataset_holds_what_simulate_gives(crystals, finished):
    table = read_patterns(finished)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == len(NAMES) * 3 * 2
    rows = table.to_pylist()
    number = 0
    for _, line in crystals.iterrows():
        crystal = Crystal.from_row(line)
        orientations = grid_orientations(crystal, 3)
        for i, patterns in enumerate(simulate(crystal, orientations, SETTINGS)):
            for pattern in patterns:
                row = rows[number]
                number += 1
                assert (row["material_id"], row["pattern"]) == (crystal.material_id, i)
                assert row["thickness"] == pattern.thickness
                assert row["direct_beam"] == pytest.approx(pattern.direct_beam, abs=1e-6)
                # 0, up to a round-off that may fall below it
                assert (row["rotation"] + 180) % 360 == pytest.approx(180, abs=1e-4)
                np.testing.assert_allclose(row["qx"], pattern.qx, atol=1e-6)
                np.testing.assert_allclose(row["qy"], pattern.qy, atol=1e-6)
                np.testing.assert_allclose(row["intensity"], pattern.intensity, atol=1e-6)
                hkl = np.column_stack([row["h"], row["k"], row["l"]])
                np.testing.assert_array_equal(hkl, pattern.hkl)
                axis = np.array(row["zone_axis_cartesian"])
                np.testing.assert_allclose(axis, orientations[i][:, 2], atol=1e-6)
                uvw = np.array(row["zone_axis_lattice"])
                assert np.abs(uvw).max() == pytest.approx(1)
                direction = uvw @ crystal.conventional_lattice
                np.testing.assert_allclose(direction / np.linalg.norm(direction), axis, atol=1e-6)
    assert number == len(rows)


def test_no_direct_beam_and_none_below_the_floor(finished):
    for row in read_patterns(finished).to_pylist():
        assert min(row["intensity"]) >= SETTINGS.intensity_floor * (1 - 1e-6)
        assert np.hypot(row["qx"], row["qy"]).max() <= SETTINGS.q_max * (1 + 1e-6)
        assert (0, 0, 0) not in zip(row["h"], row["k"], row["l"], strict=True)
        assert 0 < row["direct_beam"] < 1
        assert row["direct_beam"] + sum(row["intensity"]) <= 1 + 1e-5


def test_orientation_columns_rebuild_the_orientation(crystals):
    """Zone axis and rotation are all that a reader needs to simulate a random pattern again."""
    crystal = Crystal.from_row(crystals.iloc[2])
    for row in pattern_table(crystal, RANDOM).to_pylist():
        matrix = lattice_fixed_orientation(row["zone_axis_cartesian"], row["rotation"])
        ((pattern,),) = simulate(crystal, [matrix], RANDOM)
        np.testing.assert_allclose(pattern.qx, row["qx"], atol=1e-6)
        np.testing.assert_allclose(pattern.intensity, row["intensity"], atol=1e-5)


def test_random_orientations_hang_on_seed_and_name_alone(crystals, tmp_path):
    def by_material(name: str) -> dict[str, list[dict]]:
        found: dict[str, list[dict]] = {}
        for row in read_patterns(tmp_path / name).to_pylist():
            found.setdefault(row["material_id"], []).append(row)
        return found

    run(crystals, tmp_path / "a", RANDOM, block_size=2)
    run(crystals.iloc[[4, 0, 2]], tmp_path / "b", RANDOM, block_size=1)
    run(crystals, tmp_path / "c", RANDOM.model_copy(update={"seed": 1}), block_size=2)
    a, b, c = (by_material(name) for name in "abc")
    assert set(b) == {"silicon", "rutile", "quartz (chiral)"}
    for name, rows in b.items():
        assert rows == a[name]
        assert all(x["rotation"] != y["rotation"] for x, y in zip(rows, c[name], strict=True))
    first = Crystal.from_row(crystals.iloc[0])
    other = crystal_orientations(renamed(first, "other"), RANDOM)
    assert not np.allclose(other, crystal_orientations(first, RANDOM))


class TestThicknessRange:
    def test_each_pattern_is_the_one_of_its_thickness(self, crystals):
        crystal = Crystal.from_row(crystals.iloc[3])
        orientations = crystal_orientations(crystal, RANGE)
        thicknesses = crystal_thicknesses(crystal, RANGE)
        rows = pattern_table(crystal, RANGE).to_pylist()
        assert len(rows) == RANGE.orientations == len(thicknesses)
        for row, orientation, (thickness,) in zip(rows, orientations, thicknesses, strict=True):
            alone = RANGE.model_copy(update={"thicknesses": (thickness,)})
            ((pattern,),) = simulate(crystal, [orientation], alone)
            assert row["thickness"] == np.float32(thickness)
            assert row["direct_beam"] == pytest.approx(pattern.direct_beam, abs=1e-6)
            np.testing.assert_allclose(row["qx"], pattern.qx, atol=1e-6)
            np.testing.assert_allclose(row["intensity"], pattern.intensity, atol=1e-6)
            hkl = np.column_stack([row["h"], row["k"], row["l"]])
            np.testing.assert_array_equal(hkl, pattern.hkl)

    def test_every_thickness_of_the_range_is_as_likely(self):
        many = RANGE.model_copy(update={"orientations": 600})
        drawn = crystal_thicknesses(cached("gold"), many)
        assert drawn.shape == (600, 1)
        assert len(np.unique(drawn)) == 600
        # uniform on [50, 350]
        assert stats.kstest(drawn.ravel(), "uniform", args=(50, 300)).pvalue > 0.01

    def test_they_hang_on_seed_and_name_alone(self):
        gold = cached("gold")
        first = crystal_thicknesses(gold, RANGE)
        elsewhere = renamed(cached("magnesium"), "gold")
        other_beam = RANGE.model_copy(update={"energy": 200e3, "sampling": "grid", "jobs": 2})
        np.testing.assert_array_equal(crystal_thicknesses(elsewhere, other_beam), first)
        other_seed = RANGE.model_copy(update={"seed": 1})
        assert not np.isclose(crystal_thicknesses(gold, other_seed), first).any()
        assert not np.isclose(crystal_thicknesses(renamed(gold, "Au"), RANGE), first).any()

    def test_orientations_are_those_of_a_dataset_of_one_thickness(self):
        gold = cached("gold")
        expected = crystal_orientations(gold, RANDOM)
        np.testing.assert_array_equal(crystal_orientations(gold, RANGE), expected)

    def test_they_are_drawn_apart_from_the_orientations(self):
        """The same numbers for both would tie a pattern's thickness to its orientation."""
        gold = cached("gold")
        of_orientations = pattern_tables._generator(gold, RANGE, 0).uniform(50, 350, 3)
        assert not np.isin(crystal_thicknesses(gold, RANGE), of_orientations).any()

    @pytest.mark.parametrize(
        "given",
        [[300, 100], [0, 100], [-5, 100], [1, 2e5], [float("nan"), 5], [100], [1, 2, 3], "thick"],
        ids=str,
    )
    def test_a_range_that_is_none(self, given):
        with pytest.raises(
            UserError, match=r"^mine: thickness_range.*(expected|should|required)"
        ) as caught:
            check(SimulationSettings, where="mine: ", thickness_range=given)
        assert "\n" not in str(caught.value)

    def test_a_range_of_one_value(self):
        settings = check(SimulationSettings, thickness_range=[120, 120], orientations=4)
        assert (crystal_thicknesses(cached("gold"), settings) == 120).all()


def test_thickness_and_columns_can_be_chosen(finished):
    table = read_patterns(finished, ["material_id", "qx", "qy", "intensity"], thickness=200.0)
    assert table.column_names == ["material_id", "qx", "qy", "intensity"]
    every = read_patterns(finished)
    wanted = [row for row in every.to_pylist() if row["thickness"] == 200]
    assert table["qx"].to_pylist() == [row["qx"] for row in wanted]
    qx, qy, intensity, offsets = spots(table)
    assert len(qx) == len(qy) == len(intensity) == offsets[-1]
    for i, row in enumerate(wanted):
        own = slice(offsets[i], offsets[i + 1])
        np.testing.assert_array_equal(qx[own], np.float32(row["qx"]))
        np.testing.assert_array_equal(intensity[own], np.float32(row["intensity"]))
    one = read_patterns(finished, thickness=200.0, material_id="rutile")
    assert set(one["material_id"].to_pylist()) == {"rutile"}
    assert one.num_rows == 3
    # a slice starts in the middle of the flat arrays
    part = spots(table.slice(2, 3))
    np.testing.assert_array_equal(part[3], offsets[2:6] - offsets[2])
    np.testing.assert_array_equal(part[0], qx[offsets[2] : offsets[5]])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"thickness": 150.0}, "thickness 150"), ({"material_id": "gold"}, "of material gold")],
)
def test_what_is_not_there(finished, choice, expected):
    with pytest.raises(UserError, match=expected):
        read_patterns(finished, **choice)


@pytest.mark.parametrize("fault", ["truncated", "text", "empty", "other columns", "folder empty"])
def test_a_damaged_part(crystals, finished, tmp_path, fault):
    folder = tmp_path / "patterns"
    if fault == "folder empty":
        folder.mkdir()
    else:
        copy_dataset(finished, folder)
        part = folder / "part-00001.parquet"
        if fault == "truncated":
            part.write_bytes(part.read_bytes()[:-100])
        elif fault == "text":
            part.write_text("qx,qy,intensity\n")
        elif fault == "empty":
            part.write_bytes(b"")
        else:
            pd.DataFrame({"a": [1]}).to_parquet(part)
    with pytest.raises(UserError) as caught:
        read_patterns(folder, ["material_id", "qx"], thickness=100.0)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    if fault != "folder empty":
        with pytest.raises(UserError, match=r"part-00001\.parquet: damaged; remove it"):
            run(crystals, folder)
        part.unlink()
        run(crystals, folder)
        assert checksums(folder) == checksums(finished)


def test_a_part_that_is_gone_is_missed(finished, tmp_path):
    folder = copy_dataset(finished, tmp_path / "patterns")
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(UserError, match=r"part-00001\.parquet: missing"):
        read_patterns(folder)


def test_parts_of_an_unfinished_dataset_are_not_read_as_if_they_were_all(crystals, tmp_path):
    """All parts are there, but nobody has said so."""
    folder = tmp_path / "patterns"
    run(crystals, folder)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"finished": true', '"finished": false'))
    for reader in (read_patterns, read_report):
        with pytest.raises(UserError, match="not finished; simulate again to go on") as caught:
            reader(folder)
        assert str(caught.value).startswith(str(folder))
        assert "\n" not in str(caught.value)


def test_no_rows_make_an_empty_table():
    assert [len(part) for part in spots(SCHEMA.empty_table())] == [0, 0, 0, 1]


def test_rows_without_spots_keep_their_place():
    empty = {name: [] for name in ("qx", "qy", "intensity", "h", "k", "l")}
    full = {name: [1, 2] for name in empty}
    shared = {
        "material_id": "x",
        "pattern": 0,
        "zone_axis_cartesian": [0, 0, 1],
        "zone_axis_lattice": [0, 0, 1],
        "rotation": 0.0,
        "thickness": 100.0,
        "direct_beam": 1.0,
    }
    rows = [shared | empty, shared | full, shared | empty]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    np.testing.assert_array_equal(spots(table)[3], [0, 0, 2, 2])


def test_a_pattern_below_the_floor_is_a_row_without_spots():
    """Thin enough, nothing is scattered; the row is there all the same."""
    settings = SETTINGS.model_copy(update={"thicknesses": (0.01, 100.0)})
    table = pattern_table(cached("silicon"), settings)
    assert table.num_rows == 6
    counts = np.diff(spots(table)[3])
    assert (counts[::2] == 0).all()
    assert (counts[1::2] > 0).all()
    assert table["thickness"].to_pylist() == pytest.approx([0.01, 100] * 3)
    assert table["h"].to_pylist()[0] == []

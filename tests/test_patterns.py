"""The patterns stage on real files: complete, repeatable, resumable, careful with what is there."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import make_structure

from ediff_utils.crystal import Crystal
from ediff_utils.errors import UserError
from ediff_utils.orientations import grid_orientations, lattice_fixed_orientation
from ediff_utils.pattern_rows import SCHEMA, crystal_orientations, pattern_rows, rows_to_table
from ediff_utils.patterns import (
    read_patterns,
    read_report,
    read_settings,
    simulate_dataset,
    spots,
)
from ediff_utils.settings import SimulationSettings
from ediff_utils.simulation import simulate
from ediff_utils.structures.symmetry import standardise

NAMES = ["silicon", "magnesium", "rutile", "zinc blende", "quartz (chiral)"]
SETTINGS = SimulationSettings(
    orientations=3, thicknesses=(100.0, 200.0), q_max=1.2, intensity_floor=1e-4, jobs=1
)

#: Simulates the table that it is given; argv: table, settings as JSON, folder, block size.
PROGRAM = """
import sys
from pathlib import Path
import pandas as pd
from ediff_utils.patterns import simulate_dataset
from ediff_utils.settings import SimulationSettings
table, settings, folder, block = sys.argv[1:]
simulate_dataset(
    pd.read_parquet(table),
    SimulationSettings.model_validate_json(settings),
    Path(folder),
    block_size=int(block),
    progress=False,
)
"""


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return pd.DataFrame(
        [standardise(make_structure(name), 0.01) | {"material_id": name} for name in NAMES]
    )


def run(crystals: pd.DataFrame, folder: Path, settings=SETTINGS, block_size: int = 2):
    return simulate_dataset(crystals, settings, folder, block_size=block_size, progress=False)


def checksums(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*")
        if not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def finished(crystals, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "patterns"
    run(crystals, folder)
    return folder


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
                assert row["rotation"] % 360 == pytest.approx(0, abs=1e-4)
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
    settings = SETTINGS.model_copy(update={"protocol": "random", "thicknesses": (150.0,)})
    crystal = Crystal.from_row(crystals.iloc[2])
    for row in pattern_rows(crystal, settings):
        matrix = lattice_fixed_orientation(row["zone_axis_cartesian"], row["rotation"])
        ((pattern,),) = simulate(crystal, [matrix], settings)
        np.testing.assert_allclose(pattern.qx, row["qx"], atol=1e-6)
        np.testing.assert_allclose(pattern.intensity, row["intensity"], atol=1e-5)


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


def test_a_missing_shard_is_made_again_bit_by_bit(crystals, tmp_path):
    folder = tmp_path / "patterns"
    report = run(crystals, folder)
    before = checksums(folder)
    assert set(before) == {"manifest.json", *(f"part-0000{i}.parquet" for i in range(3))}
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "part-00001.parquet").unlink()
    again = run(crystals, folder)
    assert checksums(folder) == before
    assert again.n_patterns == report.n_patterns == 30
    untouched = {p.name for p in folder.iterdir() if p.stat().st_mtime_ns == times[p.name]}
    assert untouched == set(before) - {"part-00001.parquet"}


def test_a_killed_run_goes_on_where_it_was(crystals, tmp_path, finished):
    table, folder = tmp_path / "crystals.parquet", tmp_path / "patterns"
    many = pd.concat(
        [crystals.assign(material_id=crystals["material_id"] + f" {i}") for i in range(6)]
    )
    many.to_parquet(table)
    settings = SETTINGS.model_copy(update={"orientations": 40, "q_max": 2.0})
    arguments = [sys.executable, "-c", PROGRAM, table, settings.model_dump_json(), folder, "5"]
    process = subprocess.Popen(arguments)
    try:
        while not (folder / "part-00000.parquet").exists():
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = sorted(p.name for p in folder.glob("part-*.parquet"))
    assert 1 <= len(left) < 6
    # what is there is whole
    assert read_patterns(folder).num_rows == len(left) * 5 * 40 * 2
    subprocess.run(arguments, check=True, timeout=120)
    whole = tmp_path / "uninterrupted"
    run(pd.read_parquet(table), whole, settings, block_size=5)
    assert checksums(folder) == checksums(whole)
    assert len(checksums(whole)) == 7


def test_any_number_of_processes_gives_the_same(crystals, finished, tmp_path):
    folder = tmp_path / "patterns"
    run(crystals, folder, SETTINGS.model_copy(update={"jobs": 2}))
    assert checksums(folder) == checksums(finished)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"thicknesses": (100.0,)}, "thicknesses"),
        ({"orientations": 4}, "orientations"),
        ({"protocol": "random"}, "protocol"),
        ({"energy": 200e3}, "energy"),
        ({"scattering": "lobato-absorptive", "q_max": 1.3}, "q_max, scattering"),
    ],
)
def test_other_settings_are_refused(crystals, finished, change, named):
    before = checksums(finished)
    with pytest.raises(UserError) as caught:
        run(crystals, finished, SETTINGS.model_copy(update=change))
    assert str(caught.value).startswith(f"{finished}: holds patterns made with another {named};")
    assert "\n" not in str(caught.value)
    assert checksums(finished) == before


@pytest.mark.parametrize(
    "change", ["fewer", "order", "name", "lattice", "atoms", "elements", "block size"]
)
def test_other_crystals_are_refused(crystals, finished, change):
    other, block_size = crystals.copy(deep=True), 2
    other["lattice"] = other["lattice"].map(list)
    if change == "fewer":
        other = other.iloc[:4]
    elif change == "order":
        other = other.iloc[::-1]
    elif change == "name":
        other.loc[0, "material_id"] = "germanium"
    elif change == "lattice":
        other.at[0, "lattice"] = list(np.array(other.at[0, "lattice"]) * 1.001)
    elif change == "atoms":
        other.at[2, "frac_coords"] = list(np.array(other.at[2, "frac_coords"]) + 0.01)
    elif change == "elements":
        # isostructural: same cell, same positions
        other.at[0, "numbers"] = [32] * len(other.at[0, "numbers"])
    else:
        block_size = 3
    with pytest.raises(UserError, match="holds patterns made with another"):
        run(other, finished, block_size=block_size)


@pytest.mark.parametrize("protocol", ["grid", "random"])
@pytest.mark.parametrize("fault", ["flat", "nan", "element"])
def test_a_crystal_that_cannot_be_simulated_is_listed(crystals, tmp_path, fault, protocol):
    broken = crystals.iloc[:3].copy(deep=True)
    cell = np.array(broken.at[broken.index[1], "lattice"], dtype=float)
    if fault == "flat":
        cell[6:] = cell[:3]
    elif fault == "nan":
        cell[4] = np.nan
    else:
        numbers = broken.at[broken.index[1], "numbers"]
        broken.at[broken.index[1], "numbers"] = [110] * len(numbers)
    broken.at[broken.index[1], "lattice"] = list(cell)
    settings = SETTINGS.model_copy(update={"protocol": protocol})
    report = run(broken, tmp_path / "patterns", settings)
    assert report.failures["material_id"].tolist() == ["magnesium"]
    expected = "atomic number 110" if fault == "element" else "cell of finite volume"
    assert expected in report.failures["reason"][0]
    assert report.n_patterns == 2 * 3 * 2
    found = set(read_patterns(tmp_path / "patterns")["material_id"].to_pylist())
    assert found == {"silicon", "rutile"}
    # the list is in the files, not in memory
    pd.testing.assert_frame_equal(read_report(tmp_path / "patterns").failures, report.failures)


def test_nothing_can_be_simulated(crystals, tmp_path):
    broken = crystals.iloc[:1].copy(deep=True)
    broken.at[0, "lattice"] = [0.0] * 9
    report = run(broken, tmp_path / "patterns")
    assert report.n_patterns == 0
    assert report.failures["material_id"].tolist() == ["silicon"]


def rows_by_material(folder: Path) -> dict[str, list[dict]]:
    out: dict[str, list[dict]] = {}
    for row in read_patterns(folder).to_pylist():
        out.setdefault(row["material_id"], []).append(row)
    return out


def test_random_orientations_hang_on_seed_and_name_alone(crystals, tmp_path):
    settings = SETTINGS.model_copy(update={"protocol": "random", "thicknesses": (100.0,)})
    run(crystals, tmp_path / "a", settings, block_size=2)
    run(crystals.iloc[[4, 0, 2]], tmp_path / "b", settings, block_size=1)
    run(crystals, tmp_path / "c", settings.model_copy(update={"seed": 1}), block_size=2)
    a, b, c = (rows_by_material(tmp_path / name) for name in "abc")
    assert set(b) == {"silicon", "rutile", "quartz (chiral)"}
    for name, rows in b.items():
        assert rows == a[name]
        assert all(x["rotation"] != y["rotation"] for x, y in zip(rows, c[name], strict=True))
    first = crystal_orientations(Crystal.from_row(crystals.iloc[0]), settings)
    renamed = crystals.iloc[0].to_dict() | {"material_id": "other"}
    assert not np.allclose(crystal_orientations(Crystal.from_row(renamed), settings), first)


@pytest.mark.parametrize("fault", ["truncated", "text", "empty", "other columns", "folder empty"])
def test_a_damaged_part(crystals, finished, tmp_path, fault):
    folder = tmp_path / "patterns"
    folder.mkdir()
    if fault != "folder empty":
        for path in finished.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
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
    if fault in ("truncated", "text", "empty"):
        with pytest.raises(UserError, match=r"part-00001\.parquet: damaged; remove it"):
            run(crystals, folder)
        part.unlink()
        run(crystals, folder)
        assert checksums(folder) == checksums(finished)


def test_settings_are_kept_beside_the_patterns(finished, tmp_path):
    kept = read_settings(finished)
    assert kept == SETTINGS.model_copy(update={"jobs": kept.jobs})
    with pytest.raises(UserError, match=r"manifest\.json: not there"):
        read_settings(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="not a manifest of patterns"):
        read_settings(tmp_path)


def test_a_damaged_manifest(crystals, tmp_path):
    folder = tmp_path / "patterns"
    run(crystals.iloc[:1], folder)
    for text in ("{", "[1, 2]", json.dumps({"settings": 3})):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=str(folder)):
            run(crystals.iloc[:1], folder)


def test_a_folder_that_is_a_file(crystals, tmp_path):
    (tmp_path / "patterns").write_text("")
    with pytest.raises(UserError, match="patterns"):
        run(crystals, tmp_path / "patterns")


def test_no_rows_make_an_empty_table():
    table = rows_to_table([])
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 0
    assert [len(part) for part in spots(table)] == [0, 0, 0, 1]


def test_rows_without_spots_keep_their_place():
    empty = {name: np.empty(0) for name in ("qx", "qy", "intensity", "h", "k", "l")}
    full = {name: np.arange(1, 3) for name in empty}
    shared = {
        "material_id": "x",
        "pattern": 0,
        "zone_axis_cartesian": [0, 0, 1],
        "zone_axis_lattice": [0, 0, 1],
        "rotation": 0.0,
        "thickness": 100.0,
        "direct_beam": 1.0,
    }
    table = rows_to_table([shared | empty, shared | full, shared | empty])
    assert isinstance(table, pa.Table)
    np.testing.assert_array_equal(spots(table)[3], [0, 0, 2, 2])
    assert table["h"].to_pylist() == [[], [1, 2], []]

"""The patterns stage on real files: complete, repeatable, resumable, careful with what is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dataset_runs import NAMES, SETTINGS, checksums, copy_dataset, make_table, run, stopped_in
from hypothesis import given
from hypothesis import strategies as st

from ediff_utils.bloch.dataset import writing
from ediff_utils.bloch.dataset.manifest import read_log, read_manifest
from ediff_utils.bloch.dataset.reading import read_patterns
from ediff_utils.bloch.dataset.table import SCHEMA, pattern_table
from ediff_utils.bloch.dataset.writing import read_report, verify
from ediff_utils.bloch.simulation import SimulationError
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    return copy_dataset(finished, tmp_path / "patterns")


class TestStopped:
    @pytest.mark.parametrize(
        ("function", "after", "blocks", "parts"),
        [("_write_block", 2, 2, 0), ("_write_shard", 2, 3, 2), ("_finish", 0, 3, 3)],
    )
    def test_it_is_no_dataset_yet_and_goes_on(
        self, crystals, finished, tmp_path, monkeypatch, function, after, blocks, parts
    ):
        folder = tmp_path / "patterns"
        with stopped_in(monkeypatch, function, after):
            run(crystals, folder)
        made = {p: p.stat().st_mtime_ns for p in (folder / "blocks").glob("block-*")}
        assert len(made) == blocks
        assert len(list(folder.glob("part-*"))) == parts
        for reader in (read_patterns, read_report, verify):
            with pytest.raises(UserError, match="not finished; simulate again to go on") as caught:
                reader(folder)
            assert str(caught.value).startswith(f"{folder}: ")
            assert "\n" not in str(caught.value)
        # What is there is not made again.
        written = []
        monkeypatch.setattr(writing, "_write_block", _listening(writing._write_block, written))
        run(crystals, folder)
        assert {arguments[2] for arguments in written}.isdisjoint(made)
        assert len(written) == 3 - blocks
        assert checksums(folder) == checksums(finished)
        assert read_report(folder).n_patterns == 30

    def test_between_the_manifest_and_the_tidying_up(self, crystals, finished, copied):
        (copied / "blocks").mkdir()
        (copied / "blocks" / "block-00000.parquet").write_bytes(b"PAR1")
        run(crystals, copied)
        assert checksums(copied) == checksums(finished)

    def test_half_written_files_of_a_killed_run_are_swept_up(self, crystals, finished, tmp_path):
        folder = tmp_path / "patterns"
        (folder / "blocks").mkdir(parents=True)
        for name in ("blocks/.block-00001.parquet", ".part-00002.parquet", ".manifest.json"):
            (folder / f"{name}.4711.partial").write_bytes(b"PAR1")
        run(crystals, folder)
        assert checksums(folder) == checksums(finished)


def _listening(function: Callable, calls: list) -> Callable:
    def listening(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return listening


class TestShards:
    @pytest.fixture(scope="class")
    def sharded(self, tmp_path_factory) -> Path:
        """Thirteen blocks of one crystal or two, about three blocks to a shard."""
        folder = tmp_path_factory.mktemp("sharded") / "patterns"
        run(make_table(5), folder, block_size=2, shard_bytes=30_000)
        return folder

    def test_manifest_and_files_agree(self, sharded):
        manifest = read_manifest(sharded)
        table = read_patterns(sharded)
        assert [shard["file"] for shard in manifest["shards"]] == sorted(
            path.name for path in sharded.glob("part-*")
        )
        assert len(manifest["shards"]) > 3
        for shard in manifest["shards"]:
            path = sharded / shard["file"]
            part = pq.read_table(path)
            assert shard["patterns"] == part.num_rows
            assert shard["spots"] == sum(map(len, part["qx"].to_pylist()))
            assert shard["bytes"] == path.stat().st_size
            assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert manifest["patterns"] == table.num_rows == 25 * 3 * 2
        assert manifest["spots"] == sum(shard["spots"] for shard in manifest["shards"])
        digest = hashlib.sha256((sharded / "crystals.parquet").read_bytes()).hexdigest()
        assert manifest["crystals_file_sha256"] == digest
        assert table["material_id"].to_pylist()[::6] == make_table(5)["material_id"].tolist()

    def test_a_row_group_is_a_block_and_no_shard_is_too_large(self, sharded):
        names = make_table(5)["material_id"].tolist()
        block = 0
        for shard in read_manifest(sharded)["shards"]:
            assert shard["first_block"] == block
            assert shard["bytes"] <= 30_000
            file = pq.ParquetFile(sharded / shard["file"])
            assert file.num_row_groups == shard["last_block"] - block + 1
            for group in range(file.num_row_groups):
                found = file.read_row_group(group)["material_id"].unique().to_pylist()
                assert found == names[2 * block : 2 * block + 2]
                block += 1
        assert block == 13

    @given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12), limit=st.integers(1, 60))
    def test_blocks_are_shared_out_in_order_as_many_as_fit(self, tmp_path_factory, sizes, limit):
        folder = tmp_path_factory.mktemp("plan")
        (folder / "blocks").mkdir()
        for number, size in enumerate(sizes):
            (folder / "blocks" / f"block-{number:05d}.parquet").write_bytes(bytes(size))
        shards = writing._plan_shards(folder, len(sizes), limit)
        ranges = [range(s["first_block"], s["last_block"] + 1) for s in shards]
        assert [block for blocks in ranges for block in blocks] == list(range(len(sizes)))
        assert [s["file"] for s in shards] == [f"part-{i:05d}.parquet" for i in range(len(shards))]
        for blocks in ranges:
            total = sum(sizes[block] for block in blocks)
            # One that is too large for any has its own; otherwise the next one would not fit.
            assert total <= limit or len(blocks) == 1
            assert blocks.stop == len(sizes) or total + sizes[blocks.stop] > limit

    def test_one_large_block_has_its_own(self, crystals, tmp_path):
        run(crystals, tmp_path / "patterns", block_size=1, shard_bytes=1)
        shards = read_manifest(tmp_path / "patterns")["shards"]
        assert [(s["first_block"], s["last_block"]) for s in shards] == [(i, i) for i in range(5)]


class TestAgain:
    def test_a_finished_dataset_is_left_alone(self, crystals, copied):
        times = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
        assert run(crystals, copied).n_patterns == 30
        assert {path.name: path.stat().st_mtime_ns for path in copied.iterdir()} == times

    def test_a_missing_shard_is_made_again_bit_by_bit(self, crystals, finished, copied):
        times = {path.name: path.stat().st_mtime_ns for path in copied.glob("part-*")}
        assert set(times) == {f"part-0000{i}.parquet" for i in range(3)}
        (copied / "part-00001.parquet").unlink()
        assert run(crystals, copied).n_patterns == 30
        assert checksums(copied) == checksums(finished)
        untouched = {p.name for p in copied.glob("part-*") if p.stat().st_mtime_ns == times[p.name]}
        assert untouched == set(times) - {"part-00001.parquet"}
        assert read_log(copied)["session"].nunique() == 2

    def test_a_missing_table_of_crystals_too(self, crystals, finished, copied):
        (copied / "crystals.parquet").unlink()
        run(crystals, copied)
        assert checksums(copied) == checksums(finished)

    def test_a_shard_that_comes_out_otherwise_is_an_error(self, crystals, copied):
        manifest = read_manifest(copied)
        manifest["shards"][1]["sha256"] = "0" * 64
        (copied / "manifest.json").write_text(json.dumps(manifest))
        (copied / "part-00001.parquet").unlink()
        with pytest.raises(UserError, match=r"part-00001\.parquet: made again, it differs"):
            run(crystals, copied)
        assert not (copied / "part-00001.parquet").exists()

    @pytest.mark.parametrize("name", ["part-00002.parquet", "crystals.parquet"])
    def test_a_flipped_byte_is_found(self, crystals, finished, copied, name):
        verify(copied)
        path = copied / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^{path}: missing or damaged; remove it"):
            verify(copied)
        path.unlink()
        run(crystals, copied)
        verify(copied)
        assert checksums(copied) == checksums(finished)


def test_any_number_of_processes_gives_the_same(crystals, finished, tmp_path):
    folder = tmp_path / "patterns"
    run(crystals, folder, SETTINGS.model_copy(update={"jobs": 2}))
    assert checksums(folder) == checksums(finished)


class TestFailures:
    @pytest.mark.parametrize("sampling", ["grid", "random"])
    @pytest.mark.parametrize("fault", ["flat", "nan", "element"])
    def test_a_crystal_that_cannot_be_simulated_is_listed(
        self, crystals, tmp_path, fault, sampling
    ):
        broken = crystals.iloc[:3].copy(deep=True)
        cell = np.array(broken.at[1, "lattice"], dtype=float)
        if fault == "flat":
            cell[6:] = cell[:3]
        elif fault == "nan":
            cell[4] = np.nan
        else:
            broken.at[1, "numbers"] = [110] * len(broken.at[1, "numbers"])
        broken.at[1, "lattice"] = list(cell)
        settings = SETTINGS.model_copy(update={"sampling": sampling})
        report = run(broken, tmp_path / "patterns", settings)
        assert report.failures["material_id"].tolist() == ["magnesium"]
        expected = "atomic number 110" if fault == "element" else "cell of finite volume"
        assert expected in report.failures["reason"][0]
        assert report.n_patterns == 2 * 3 * 2
        found = set(read_patterns(tmp_path / "patterns")["material_id"].to_pylist())
        assert found == {"silicon", "rutile"}
        # the list is in the manifest, not in memory
        assert read_manifest(tmp_path / "patterns")["failures"] == report.failures.to_dict(
            "records"
        )
        pd.testing.assert_frame_equal(read_report(tmp_path / "patterns").failures, report.failures)

    def test_nothing_can_be_simulated(self, crystals, tmp_path):
        broken = crystals.iloc[:1].copy(deep=True)
        broken.at[0, "lattice"] = [0.0] * 9
        report = run(broken, tmp_path / "patterns")
        assert report.n_patterns == 0
        assert report.failures["material_id"].tolist() == ["silicon"]
        verify(tmp_path / "patterns")

    def test_failures_of_all_shards_come_in_the_order_of_the_crystals(self, crystals, tmp_path):
        broken = crystals.copy(deep=True)
        for row in (4, 1, 0):
            broken.at[row, "lattice"] = [0.0] * 9
        report = run(broken, tmp_path / "patterns", block_size=1, shard_bytes=1)
        assert report.failures["material_id"].tolist() == [NAMES[row] for row in (0, 1, 4)]

    @pytest.mark.parametrize("error", [SimulationError, MemoryError, ZeroDivisionError])
    def test_what_fails_once_is_tried_again_and_not_listed(
        self, crystals, finished, tmp_path, monkeypatch, error
    ):
        tried = fail_at_first(monkeypatch, error, times=1)
        report = run(crystals, tmp_path / "patterns")
        assert tried == [name for name in NAMES for _ in range(2)]
        assert report.failures.empty
        assert checksums(tmp_path / "patterns") == checksums(finished)

    def test_what_fails_twice_is_listed_with_its_last_reason(self, crystals, tmp_path, monkeypatch):
        tried = fail_at_first(monkeypatch, SimulationError, times=2)
        report = run(crystals.iloc[:3], tmp_path / "patterns")
        assert tried == [name for name in NAMES[:3] for _ in range(2)]
        assert report.failures["reason"].tolist() == ["attempt 2"] * 3

    def test_an_error_of_the_program_is_not_taken_for_one_of_a_crystal(
        self, crystals, tmp_path, monkeypatch
    ):
        fail_at_first(monkeypatch, AssertionError, times=1)
        with pytest.raises(AssertionError, match="attempt 1"):
            run(crystals, tmp_path / "patterns")


def fail_at_first(monkeypatch, error: type[Exception], times: int) -> list[str]:
    """Have each crystal fail some times; gives the list to which each attempt adds its name."""
    tried: list[str] = []

    def failing(crystal: Crystal, settings: SimulationSettings):
        tried.append(crystal.material_id)
        attempt = tried.count(crystal.material_id)
        if attempt <= times:
            raise error(f"attempt {attempt}\nand a second line")
        return pattern_table(crystal, settings)

    monkeypatch.setattr(writing, "pattern_table", failing)
    return tried


def test_a_block_holds_its_crystals_and_says_what_it_took(crystals, tmp_path):
    some = [Crystal.from_row(row) for _, row in crystals.iloc[:2].iterrows()]
    *done, peak_gib = writing._write_block(some, SETTINGS, tmp_path / "block.parquet")
    assert done == [2, 12]
    # More than the interpreter alone, less than this machine could bear.
    assert 0.02 < peak_gib < 16
    found = pq.read_table(tmp_path / "block.parquet")
    assert found.schema.equals(SCHEMA)
    for crystal in some:
        own = found.filter(pq.filters_to_expression([("material_id", "=", crystal.material_id)]))
        assert own.to_pylist() == pattern_table(crystal, SETTINGS).to_pylist()


def test_a_folder_that_is_a_file(crystals, tmp_path):
    (tmp_path / "patterns").write_text("")
    with pytest.raises(UserError, match="patterns"):
        run(crystals, tmp_path / "patterns")

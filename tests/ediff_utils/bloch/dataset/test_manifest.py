"""What a dataset says of itself, whom it lets in, and the command that makes one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dataset_runs import SETTINGS, checksums, copy_dataset, make_table, run
from other_code import edit
from sample_crystals import make_structure

from ediff_utils.__main__ import main
from ediff_utils.bloch.dataset import manifest as manifests
from ediff_utils.bloch.dataset.manifest import (
    Session,
    alone,
    build_identity,
    claim,
    fingerprint,
    read_log,
    read_manifest,
    read_settings,
    summarise,
)
from ediff_utils.core import paths
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals import sources
from ediff_utils.crystals.sources import prepare_crystals


@pytest.fixture
def begun(crystals, tmp_path) -> Path:
    """Claimed as :func:`run` would, nothing simulated yet."""
    layout = {"block_size": 2, "shard_bytes": 10_000}
    claim(tmp_path / "begun", build_identity(crystals, SETTINGS, **layout), len(crystals))
    return tmp_path / "begun"


class TestRefused:
    def refuses(self, folder: Path, named: str, *arguments, **layout) -> None:
        before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
        with pytest.raises(UserError) as caught:
            run(*arguments, **layout)
        expected = f"{folder}: holds patterns that were made otherwise: {named}; remove the folder"
        assert str(caught.value).startswith(expected)
        assert "\n" not in str(caught.value)
        assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"thicknesses": (100.0,)}, "settings differ: thicknesses"),
            ({"thickness_range": (100.0, 200.0)}, "settings differ: thickness_range"),
            ({"orientations": 4}, "settings differ: orientations"),
            ({"sampling": "random"}, "settings differ: sampling"),
            ({"energy": 200e3}, "settings differ: energy"),
            ({"seed": 1}, "settings differ: seed"),
            ({"scattering": "lobato-absorptive", "q_max": 1}, "settings differ: q_max, scattering"),
        ],
    )
    def test_other_settings(self, crystals, finished, begun, change, named):
        for folder in (finished, begun):
            self.refuses(folder, named, crystals, folder, SETTINGS.model_copy(update=change))

    @pytest.mark.parametrize("change", ["fewer", "order", "name", "lattice", "atoms", "elements"])
    def test_other_crystals(self, crystals, finished, begun, change):
        other = crystals.copy(deep=True)
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
        else:
            # isostructural: same cell, same positions
            other.at[0, "numbers"] = [32] * len(other.at[0, "numbers"])
        for folder in (finished, begun):
            self.refuses(folder, "crystals are others", other, folder)

    def test_another_layout(self, crystals, finished, begun):
        for folder in (finished, begun):
            self.refuses(folder, "sizes differ: block_size", crystals, folder, block_size=3)
            self.refuses(folder, "sizes differ: shard_bytes", crystals, folder, shard_bytes=10_001)

    def test_other_packages_while_it_is_not_finished(self, crystals, begun, monkeypatch):
        """Half of one version and half of another would be a dataset of neither."""
        pretend(monkeypatch, numpy="1.0", numba="0.1")
        self.refuses(begun, "packages differ: numpy, numba", crystals, begun)

    def test_workers_are_no_property_of_patterns(self, crystals, begun, finished):
        run(crystals, begun, SETTINGS.model_copy(update={"jobs": 1}))
        elsewhere = SETTINGS.model_copy(update={"jobs": 2, "cluster": "tcp://10.0.0.1:8786"})
        run(crystals, begun, elsewhere)
        assert checksums(begun) == checksums(finished)


def pretend(monkeypatch, **versions: str) -> None:
    """Have some packages installed in other versions."""
    true = manifests.metadata.version
    monkeypatch.setattr(manifests.metadata, "version", lambda name: versions.get(name, true(name)))


def test_a_finished_dataset_is_read_with_any_packages(crystals, finished, tmp_path, monkeypatch):
    folder = copy_dataset(finished, tmp_path / "patterns")
    pretend(monkeypatch, numpy="1.0", numba="0.1")
    assert run(crystals, folder).n_patterns == 30
    # With the versions that it was made with.
    assert checksums(folder) == checksums(finished)
    # A shard that comes out the same is as good as the one that was there.
    (folder / "part-00000.parquet").unlink()
    run(crystals, folder)
    assert checksums(folder) == checksums(finished)


class TestOtherCode:
    @pytest.fixture
    def folder(self, finished, tmp_path, monkeypatch) -> Path:
        """A dataset that was made before somebody edited the simulation."""
        edit(monkeypatch, "ediff_utils.bloch.simulation")
        return copy_dataset(finished, tmp_path / "patterns")

    def test_a_small_dataset_is_made_again(self, crystals, finished, folder, capfd):
        (folder / "blocks").mkdir()
        (folder / "blocks" / "block-00000.parquet").write_bytes(b"of other code")
        assert run(crystals, folder).n_patterns == 30
        line = "patterns: made again, since ediff_utils.bloch.simulation has changed\n"
        assert capfd.readouterr().err == line
        # The code is the same in truth, and so are the patterns; the log is of this run alone.
        after, before = checksums(folder), checksums(finished)
        assert after.pop("manifest.json") != before.pop("manifest.json")
        assert after == before
        assert read_log(folder)["patterns"].sum() == 30
        run(crystals, folder)
        assert capfd.readouterr().err == ""

    def test_so_is_one_that_is_not_finished(self, crystals, begun, monkeypatch, capfd):
        edit(monkeypatch, "ediff_utils.bloch.dataset.table")
        assert run(crystals, begun).n_patterns == 30
        assert "made again, since ediff_utils.bloch.dataset.table has" in capfd.readouterr().err

    def test_a_large_one_is_neither_used_nor_lost(self, crystals, folder, monkeypatch, capfd):
        monkeypatch.setattr(manifests, "SMALL", 29)
        before = {p: p.read_bytes() for p in folder.iterdir()}
        with pytest.raises(UserError) as caught:
            run(crystals, folder)
        assert str(caught.value) == (
            f"{folder}: holds patterns that were made otherwise: ediff_utils.bloch.simulation has "
            "changed; remove the folder or choose another run name, or set EDIFF_OLD_CODE=use to "
            "take them as they are"
        )
        monkeypatch.setenv("EDIFF_OLD_CODE", "use")
        assert run(crystals, folder).n_patterns == 30
        line = "patterns: used again by EDIFF_OLD_CODE=use, though ediff_utils.bloch.simulation"
        assert capfd.readouterr().err == f"{line} has changed\n"
        assert {p: p.read_bytes() for p in folder.iterdir()} == before

    def test_other_settings_are_refused_first(self, crystals, folder):
        with pytest.raises(UserError, match=r"settings differ: seed; .*simulation has changed"):
            run(crystals, folder, SETTINGS.model_copy(update={"seed": 1}))
        assert run(crystals, folder).n_patterns == 30

    def test_another_run_at_work_there_is_left_alone(self, crystals, folder):
        before = {p: p.read_bytes() for p in folder.iterdir()}
        with alone(folder), pytest.raises(UserError, match="another run is at work there"):
            run(crystals, folder)
        assert before == {p: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    def test_whoever_reads_it_is_told(self, folder, capfd):
        assert fingerprint(folder) == summarise(folder)["shards_sha256"]
        line = "patterns: read as they are, though ediff_utils.bloch.simulation has changed\n"
        assert capfd.readouterr().err == line


def test_a_folder_without_a_manifest_is_known_by_its_files(finished, tmp_path):
    folder = copy_dataset(finished, tmp_path / "patterns")
    (folder / "manifest.json").unlink()
    assert fingerprint(folder) == fingerprint(finished)
    (folder / "part-00000.parquet").write_bytes(b"")
    assert fingerprint(folder) != fingerprint(finished)


def test_settings_are_kept_beside_the_patterns(finished, tmp_path):
    kept = read_settings(finished)
    assert kept == SETTINGS.model_copy(update={"jobs": kept.jobs})
    with pytest.raises(UserError, match=r"manifest\.json: not there"):
        read_settings(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="not a manifest of patterns"):
        read_settings(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"settings": 3}', '{"settings": {}}', ""])
def test_a_damaged_manifest(crystals, begun, text):
    (begun / "manifest.json").write_text(text)
    for reader in (read_manifest, summarise, lambda folder: run(crystals, folder)):
        with pytest.raises(UserError, match=rf"^{begun}/manifest\.json: not a manifest") as caught:
            reader(begun)
        assert "\n" not in str(caught.value)


class TestLog:
    def test_a_run_writes_down_each_block(self, finished):
        log = read_log(finished)
        # three blocks of two, two and one crystals, and the end
        assert log["patterns"].tolist() == [12, 12, 6, 0]
        assert log["elapsed"].is_monotonic_increasing
        assert len(set(log["session"])) == 1
        assert log["workers"].tolist() == [1] * 4
        assert summarise(finished)["worker_peak_gib"] > 0

    def test_minutes_add_up_all_sessions(self, finished, tmp_path):
        folder = copy_dataset(finished, tmp_path / "patterns")
        lines = [("a", 60.0, 0.5, 2), ("a", 90.0, 0.75, 2), ("b", 300.0, 0.25, 4), ("b", 6.0, 0, 4)]
        keys = ("session", "elapsed", "peak_gib", "workers")
        rows = [json.dumps(dict(zip(keys, line, strict=True)) | {"patterns": 1}) for line in lines]
        (folder / "log.jsonl").write_text("\n".join(rows) + "\n")
        summary = summarise(folder)
        assert summary["minutes"] == (90 + 300) / 60
        assert summary["worker_peak_gib"] == 0.75
        assert summary["workers"] == 4

    def test_a_torn_line_costs_no_more_than_itself(self, tmp_path):
        Session(tmp_path, workers=1).note(5)
        whole = (tmp_path / "log.jsonl").read_text()
        for torn in range(1, len(whole) - 1):
            (tmp_path / "log.jsonl").write_text(whole + whole[:torn])
            assert read_log(tmp_path)["patterns"].tolist() == [5]
        Session(tmp_path, workers=2).note(7)
        Session(tmp_path, workers=2).note(9)
        assert read_log(tmp_path)["patterns"].tolist() == [5, 7, 9]
        assert read_log(tmp_path)["workers"].tolist() == [1, 2, 2]

    def test_a_full_disk(self, tmp_path):
        """As far as the process can tell: no file of it may grow, whoever runs it."""
        code = (
            "import resource, sys, pathlib\n"
            "from ediff_utils.bloch.dataset.manifest import Session\n"
            "session = Session(pathlib.Path(sys.argv[1]), workers=1)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
            "session.note(5)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
        )
        assert re.search(r"UserError: .*log\.jsonl: cannot be written: File too large", done.stderr)

    def test_summary_is_that_of_the_manifest(self, finished):
        manifest, summary = read_manifest(finished), summarise(finished)
        shards = manifest.pop("shards")
        assert manifest.items() <= summary.items()
        assert summary["n_shards"] == len(shards)
        size = sum(path.stat().st_size for path in finished.glob("part-*"))
        assert summary["gib"] == pytest.approx(size / 2**30, abs=5e-4)

    def test_no_summary_of_half_a_dataset(self, begun):
        with pytest.raises(UserError, match=rf"^{begun}: not finished"):
            summarise(begun)


class TestPreparedCrystals:
    @pytest.fixture
    def made(self, tmp_path, monkeypatch):
        """Prepare crystals of a file of the user's; gives the function and what it loaded."""
        monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
        loaded, load = [], sources.load_crystals

        def listening(settings, progress):
            loaded.append(settings)
            return load(settings, progress)

        monkeypatch.setattr(sources, "load_crystals", listening)
        source = tmp_path / "source.parquet"
        make_table().to_parquet(source)

        def make(**changes):
            settings = CrystalSettings(**{"crystals": str(source), "symprec": 0.01} | changes)
            return prepare_crystals(settings, paths.Run("test"), progress=False)

        return make, loaded, source

    def test_the_same_again_is_only_read(self, made):
        make, loaded, _ = made
        first, second = make(max_volume=100.0), make(max_volume=100.0)
        assert len(loaded) == 1
        assert second.skipped["material_id"].tolist() == ["quartz (chiral)"]
        pd.testing.assert_frame_equal(first.skipped, second.skipped)
        assert first.table["material_id"].tolist() == second.table["material_id"].tolist()
        for name in ("lattice", "numbers", "frac_coords", "conventional_lattice"):
            for before, after in zip(first.table[name], second.table[name], strict=True):
                np.testing.assert_array_equal(np.ravel(before), after)

    @pytest.mark.parametrize("change", [{"max_crystals": 3}, {"max_volume": 100.0}, {"seed": 1}])
    def test_other_settings_make_it_anew(self, made, change):
        make, loaded, _ = made
        make()
        again = make(**change)
        assert len(loaded) == 2
        assert (
            len(again.table) == {"max_crystals": 3, "max_volume": 4, "seed": 5}[next(iter(change))]
        )

    def test_a_copy_of_the_file_is_the_same(self, made):
        make, loaded, source = made
        make()
        copy = source.with_name("copy.parquet")
        copy.write_bytes(source.read_bytes())
        make(crystals=str(copy))
        assert len(loaded) == 1

    def test_another_file_under_the_same_name_makes_it_anew(self, made):
        make, loaded, source = made
        make()
        make_table().iloc[:2].to_parquet(source)
        assert make().table["material_id"].tolist() == ["silicon", "magnesium"]
        assert len(loaded) == 2

    def test_other_code_makes_it_anew(self, made, monkeypatch, capsys):
        make, loaded, _ = made
        make()
        edit(monkeypatch, "ediff_utils.crystals.symmetry")
        make()
        assert len(loaded) == 2
        line = "crystals: made again, since ediff_utils.crystals.symmetry has changed\n"
        assert capsys.readouterr().err == line
        make()
        assert len(loaded) == 2

    def test_a_folder_of_cifs_is_known_by_its_files(self, made, tmp_path):
        make, loaded, _ = made
        folder = tmp_path / "cifs"
        (folder / "inner").mkdir(parents=True)
        cif = make_structure("gold").to(fmt="cif")
        for name in ("a.cif", "inner/b.CIF"):
            (folder / name).write_text(cif)
        first = make(crystals=str(folder))
        assert make(crystals=str(folder)).table["material_id"].tolist() == ["a", "b"]
        assert len(loaded) == 1
        assert first.table["material_id"].tolist() == ["a", "b"]
        (folder / "inner" / "b.CIF").rename(folder / "inner" / "c.cif")
        assert make(crystals=str(folder)).table["material_id"].tolist() == ["a", "c"]
        (folder / "a.cif").write_text(make_structure("silicon").to(fmt="cif"))
        assert make(crystals=str(folder)).table["formula"].tolist() == ["Si", "Au"]
        assert len(loaded) == 3

    @pytest.mark.parametrize("name", ["crystals", "skipped"])
    def test_a_file_that_is_gone_makes_it_anew(self, made, name):
        make, loaded, _ = made
        make()
        getattr(paths.Run("test"), name).unlink()
        assert len(make().table) == 5
        assert len(loaded) == 2


class TestCommand:
    @pytest.fixture(scope="class")
    def project(self, tmp_path_factory) -> Path:
        """A user's own crystals and preset; a table is read faster than the embedded ones."""
        root = tmp_path_factory.mktemp("project")
        shutil.copytree(paths.PRESETS, root / "data" / "presets")
        make_table().to_parquet(root / "mine.parquet")
        preset = "crystals: mine.parquet\nsymprec: 0.01\norientations: 4\nq_max: 1.0\njobs: 1\n"
        (root / "few.yml").write_text(preset)
        return root

    @pytest.fixture(scope="class")
    def shown(self, project) -> str:
        """What the command shows, in a process of its own."""
        command = [sys.executable, "-m", "ediff_utils", "dataset"]
        done = subprocess.run(
            [*command, "--preset", "few.yml", "--name", "x"],
            cwd=project,
            env=os.environ | {"EDIFF_HOME": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    @pytest.fixture
    def ediff(self, project, shown, monkeypatch):
        """The command again, on what the first one left, in this process."""
        assert shown
        monkeypatch.setattr(paths, "RUNS", project / "data/runs")
        monkeypatch.chdir(project)
        given = ["dataset", "--preset", "few.yml", "--name", "x"]
        return lambda *arguments: CliRunner().invoke(main, [*given, *arguments])

    def test_it_ends_with_the_summary_of_the_manifest(self, project, shown):
        lines = dict(line.split(maxsplit=1) for line in shown.splitlines() if line)
        manifest = read_manifest(project / "data/runs/x/patterns")
        assert manifest["finished"]
        assert lines["n_crystals"] == str(manifest["n_crystals"]) == "5"
        assert lines["patterns"] == str(manifest["patterns"]) == "20"
        assert lines["spots"].replace(",", "") == str(manifest["spots"])
        assert lines["failures"] == "0"
        assert float(lines["worker_peak_gib"]) > 0
        assert lines["Patterns:"] == str(project / "data/runs/x/patterns")
        assert lines["Summary:"] == str(project / "data/runs/x/dataset.json")
        kept = json.loads((project / "data/runs/x/dataset.json").read_text())
        shards = manifest.pop("shards")
        assert manifest.items() <= kept.items()
        assert kept["n_shards"] == len(shards) == 1

    def test_the_second_time_it_only_reads_and_says_the_same(self, project, shown, ediff):
        again = ediff()
        assert again.exit_code == 0
        first, second = (
            [line for line in text.splitlines() if not line.startswith("minutes")]
            for text in (shown, again.stdout)
        )
        assert first == second
        log = read_log(project / "data/runs/x/patterns")
        assert log["patterns"].sum() == 20
        assert len(set(log.loc[log["patterns"] > 0, "session"])) == 1

    def test_a_summary_for_others_knows_no_folders_of_this_machine(self, project, shown):
        assert shown
        text = (project / "data/runs/x/dataset.json").read_text()
        assert str(project) not in text
        assert '"/' not in text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["-p", "orientations", "many"], "parameter orientations: Input should be a valid int"),
            (["-p", "orientations", "5"], "were made otherwise: settings differ: orientations;"),
            (["-p", "thickness_range", "[300, 100]"], "parameter thickness_range: expected two"),
            (["-p", "colour", "red"], "parameter colour: not a parameter"),
            (["-p", "jobs", "[1"], "--parameter jobs: not a YAML file or value"),
            (["--name", "../x"], "run '../x': expected letters"),
            (["--crystals", "no/such/place"], "no/such/place: no such file or folder"),
            (["--preset", "nonesuch"], "nonesuch.yml: no such preset; expected one of detector, "),
        ],
        ids=lambda value: value[-1] if isinstance(value, list) else "",
    )
    def test_a_mistake_is_one_line(self, project, ediff, arguments, words):
        before = (project / "data/runs/x/dataset.json").read_bytes()
        done = ediff(*arguments)
        assert done.exit_code == 2
        (line,) = [s for s in done.stderr.splitlines() if s.startswith("Error: ")]
        assert done.stderr.splitlines()[-1] == line
        assert words in line
        assert "Traceback" not in done.output
        assert (project / "data/runs/x/dataset.json").read_bytes() == before

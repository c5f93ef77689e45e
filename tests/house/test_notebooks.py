"""The notebooks: their form, that a preset runs each of them, and what a run of them leaves."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from click.testing import CliRunner
from frame_files import signal_of, write_emd, write_hspy
from predictor_world import CARD, make_world

from ediff_solve.__main__ import main
from ediff_solve.detector.effects import CLEAN, DetectorSettings
from ediff_solve.forests.ablation import CHANGES
from ediff_solve.forests.protocols import detect_test_patterns
from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.frames.reading import open_frames
from ediff_solve.predictor.store import save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_utils.core import paths
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import NOTEBOOKS, PRESETS, ROOT, Run
from ediff_utils.core.settings import Preset
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.figures import style
from ediff_utils.paper.feature_files import read_features
from ediff_utils.reproduce import list_notebooks

BOOKS = sorted(NOTEBOOKS.glob("*.ipynb"))


def code_cells(path) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def parse(cell) -> ast.Module:
    """A cell's code, without its magics."""
    return ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE))


def is_parameters(cell) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def test_every_notebook_is_run():
    assert list_notebooks() == BOOKS
    assert [path.name[:2] for path in BOOKS] == [f"{i:02d}" for i in range(1, len(BOOKS) + 1)]
    assert len(BOOKS) >= 6


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
class TestForm:
    def test_outputs_are_stripped(self, path):
        assert all(not c.outputs and c.execution_count is None for c in code_cells(path))

    def test_no_definitions(self, path):
        for cell in code_cells(path):
            for node in ast.walk(parse(cell)):
                assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)

    def test_thin_and_narrated(self, path):
        cells = code_cells(path)
        statements = [len(parse(c).body) for c in cells if not is_parameters(c)]
        assert max(statements) <= 8
        texts = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
        assert len(texts) >= len(cells) / 2

    def test_one_annotated_parameters_cell(self, path):
        (cell,) = [c for c in code_cells(path) if is_parameters(c)]
        for line in cell.source.splitlines():
            node = ast.parse(line).body[0]
            assert isinstance(node, ast.AnnAssign), line
            assert "#" in line, f"{line}: what is it?"

    def test_parameters_are_known_and_their_defaults_fit(self, path):
        declared = papermill.inspect_notebook(str(path))
        values = {name: ast.literal_eval(p["default"]) for name, p in declared.items()}
        own = {"run_name", "material_id", "zone_axis", "m", "p"}
        for name in own:
            values.pop(name, None)
        if path.stem.startswith("02"):
            values.pop("thickness")
        Preset(**values)


#: What `ediff dataset` alone is for.
DATASETS = {"zone"}


@pytest.mark.parametrize(
    "preset",
    [path for path in sorted(PRESETS.glob("*.yml")) if path.stem not in DATASETS],
    ids=lambda path: path.stem,
)
def test_every_entry_of_a_preset_reaches_a_notebook(preset):
    declared = set().union(*(papermill.inspect_notebook(str(path)) for path in BOOKS))
    assert set(yaml.safe_load(preset.read_text())) <= declared


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what a run needs, so that tests leave the checkout alone, and a small predictor."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for folder in ("presets", "examples"):
        shutil.copytree(ROOT / "data" / folder, root / "data" / folder)
    settings = BoostingSettings(rounds=12, group_rounds=3, min_data_in_leaf=2, jobs=1)
    models = train_predictor(*make_world({"cF": 225, "tI": 141, "oI": 71}, 8), settings)
    save_models(models, CARD, root / "data" / "models" / "small")
    return root


def ediff(project, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "ediff_solve", *arguments],
        cwd=project,
        env=os.environ | {"EDIFF_HOME": str(project)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def map_scan(project, bragg_file):
    """Notebook 06 alone on a user's file, with the models of the smoke run."""
    return ediff(
        project,
        *("reproduce", "--preset", "smoke", "--name", "mine", "--only", "06"),
        *("-p", "models_run", "smoke", "-p", "bragg_file", bragg_file),
    )


@pytest.fixture(scope="module")
def smoke(project):
    """The whole pipeline at the smoke preset, as a user starts it."""
    done = ediff(project, "reproduce", "--preset", "smoke", "-p", "predictor", "small")
    assert done.returncode == 0, done.stderr[-3000:]
    return project, done


class TestSmokeRun:
    def test_results(self, smoke):
        project, _ = smoke
        results = json.loads((project / "data/runs/smoke/results.json").read_text())
        for part in ("crystal_system", "space_group", "lattice"):
            for protocol in ("one", "ten"):
                assert results[part][protocol]
                assert results["paper"][part][protocol]
        assert results["dataset"]["patterns"] == 6 * (
            results["dataset"]["crystals"] - results["dataset"]["failed"]
        )
        assert results["dataset"]["max_intensity_difference_to_dense"] < 1e-5
        # Six classes, and a forest that has learned something tells them better than by chance: by
        # more than one standard error of 174 patterns, which another processor may well shift.
        assert results["crystal_system"]["one"]["accuracy"] > 1.2 / 6
        for key in ("train_grid_test_grid", "train_random_test_random", "train_grid_test_random"):
            for name, part in ((key, results), (key, results["prototype_split"])):
                assert 0 < part[name]["one"] < 1
                assert 0 < part[name]["ten"] < 1
                assert part[name]["n"]["one"] > part[name]["n"]["ten"] > 0
        assert len(results["protocols"]["cross"]) == 32
        changes = pd.DataFrame(results["ablation"]["rows"])
        assert changes.groupby("patterns")["change"].agg(list).to_dict() == {
            patterns: list(CHANGES) for patterns in ("one", "ten")
        }
        assert 0 < results["plain_reading"]["one"] < 1
        assert results["plain_reading"]["n"]["one"] == results["crystal_system"]["one"]["n"]
        for part in results["behind_detector"].values():
            assert 0 <= part["one"] <= 1
            assert part["n"]["ten"] == results["train_random_test_random"]["n"]["ten"]
        curves = pd.DataFrame(results["aggregation"]["curves"])
        first = curves[(curves["method"] == "difference") & (curves["n_patterns"] == 1)]
        assert len(first) == 1
        assert curves["accuracy"].between(0, 1).all()
        assert all(0 <= part["ece"] <= 1 for part in results["calibration"].values())
        scan = results["scan"]
        assert 0 < scan["detection_recall"] <= 1
        assert 0 < scan["detection_precision"] <= 1
        assert scan["detection_vs_py4dstem"] > 0
        assert scan["peak_gib"] < 4
        assert scan["map_seconds"]["forests"] > 0
        for key in ("pixel_accuracy_single_domain", "particle_accuracy"):
            assert 0 <= scan[key]["forests"] <= 1
        assert scan["lattice_median_error"]["forests"] >= 0
        assert sum(scan["confusion"]["forests"]["single"].values()) > 10

    def test_a_second_run_trains_nothing_again(self, smoke):
        project, _ = smoke
        stamps = {p: p.stat().st_mtime_ns for p in (project / "data/runs/smoke").rglob("*.skops")}
        # Also the seven-class one, the protocols, those by prototype, the changes and the headline.
        assert len(stamps) == 13 + 1 + 4 + 2 + len(CHANGES) + 1
        done = ediff(project, "reproduce", "--preset", "smoke", "--only", "03")
        assert done.returncode == 0, done.stderr[-3000:]
        assert stamps == {p: p.stat().st_mtime_ns for p in stamps}

    def test_a_perfect_detector_shows_the_patterns_themselves(self, smoke, monkeypatch):
        monkeypatch.setattr("ediff_utils.core.paths.RUNS", smoke[0] / "data/runs")
        run = Run("smoke")
        split = pd.read_parquet(run.split)
        seen = detect_test_patterns(run, split, CLEAN, 4)
        own = read_features(run.random_features)
        test = own.index["material_id"].isin(split.loc[split["part"] == "test", "material_id"])
        rows = np.flatnonzero(test & (own.index["pattern"] < 4))
        assert (own.index.iloc[rows].reset_index(drop=True) == seen.index).all(axis=None)
        np.testing.assert_allclose(own.take(rows), seen.vectors, atol=1e-5)
        behind = detect_test_patterns(run, split, DetectorSettings(), 4).vectors
        assert np.abs(behind - seen.vectors).max() > 1e-3

    def test_results_are_those_of_the_predictions(self, smoke):
        project, _ = smoke
        results = json.loads((project / "data/runs/smoke/results.json").read_text())
        one = pd.read_parquet(project / "data/runs/smoke/predictions.parquet")
        accuracy = (one["system"] == one["true_system"]).mean()
        assert results["crystal_system"]["one"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)

    def test_every_figure_of_the_paper(self, smoke):
        project, _ = smoke
        figures = {path.stem for path in (project / "data/runs/smoke/figures").glob("*.png")}
        expected = {f"figure_{i}" for i in range(1, 8)} | {f"figure_S{i}" for i in range(1, 11)}
        scan = {"scan_frames", "scan_detection", "scan_origins", "scan_calibration"}
        scan |= {"scan_particles", "scan_truth"}
        assert expected | scan | {"aggregation", "calibration", "protocols", "ablation"} <= figures
        assert {"unknown", "unknown_patterns", "unknown_growth"} <= figures

    def test_nothing_tracked_is_written_until_it_is_published(self, smoke):
        project, _ = smoke
        assert not (project / "figures").exists()
        done = ediff(project, "publish", "smoke")
        assert done.returncode == 0, done.stderr
        run, published = project / "data/runs/smoke", project / "figures/smoke"
        assert done.stdout.strip() == str(published)
        for path in [*(run / "figures").glob("*.png"), run / "results.json"]:
            assert (published / path.name).read_bytes() == path.read_bytes()
        shutil.rmtree(project / "figures")

    def test_nothing_to_publish(self, project):
        done = ediff(project, "publish", "nobody")
        assert done.returncode == 2
        expected = "nothing to publish; it is made by make reproduce"
        assert done.stderr.strip() == f"Error: {project / 'data/runs/nobody'}: {expected}"

    def test_split_is_by_material(self, smoke):
        project, _ = smoke
        data = project / "data/runs/smoke"
        split = pd.read_parquet(data / "split.parquet")
        test = set(split.loc[split["part"] == "test", "material_id"])
        one = pd.read_parquet(data / "predictions.parquet")
        assert set(one["material_id"]) <= test
        assert set(one["true_system"]) <= set(SYSTEMS)

    def test_executed_notebooks_have_no_errors(self, smoke):
        project, _ = smoke
        executed = sorted((project / "data/runs/smoke/notebooks").glob("*.ipynb"))
        assert [path.name for path in executed] == [path.name for path in BOOKS]
        for path in executed:
            outputs = [o for cell in code_cells(path) for o in cell.outputs]
            assert outputs
            assert not [o for o in outputs if o.output_type == "error"]

    def test_figures_are_seen_in_the_notebooks(self, smoke):
        project, _ = smoke
        pictures = 0
        for path in (project / "data/runs/smoke/notebooks").glob("*.ipynb"):
            outputs = [o for cell in code_cells(path) for o in cell.outputs]
            pictures += sum("image/png" in o.get("data", {}) for o in outputs)
        # Figures 1 to 7 and S1 to S10, and those that the paper has not.
        assert pictures >= 20

    def test_terminal_shows_progress_and_ends_with_the_table(self, smoke):
        _, done = smoke
        for name in ("crystals simulated", "trees grown", "[8/8]"):
            assert name in done.stderr
        assert "Paper" in done.stdout or "paper" in done.stdout

    def test_own_bragg_lists(self, smoke):
        """A user's file instead of the simulated scan: notebook 06 alone, on the run's models."""
        project, _ = smoke
        rows = [
            (x, y, 0.1 * i, 0.05 * j, 1 + i * j)
            for x in range(6)
            for y in range(6)
            for i in range(1, 4)
            for j in range(1, 4)
        ]
        lists = pd.DataFrame(rows, columns=["x", "y", "qx", "qy", "intensity"])
        lists.to_csv(project / "mine.csv", index=False)
        done = map_scan(project, "mine.csv")
        assert done.returncode == 0, done.stderr[-3000:]
        maps = pd.read_parquet(project / "data/runs/mine/scan_maps.parquet")
        assert len(maps) == 36
        assert (maps["n_spots"] == 9).all()
        assert len(set(maps["system"])) == 1

    def test_an_unknown_crystal(self, smoke):
        """The example is anatase, 3.785 and 9.514 angstrom, behind a scale error of up to 3 %."""
        project, _ = smoke
        found = json.loads((project / "data/runs/smoke/results.json").read_text())["unknown"]
        assert found["file"] == "anatase.csv"
        assert found["lattice"]["bravais"] == "tI"
        assert found["lattice"]["a"] == pytest.approx(3.785, rel=0.03)
        assert found["lattice"]["c"] / found["lattice"]["a"] == pytest.approx(
            9.514 / 3.785, rel=0.01
        )
        assert found["system"] == "tetragonal"
        assert [row["patterns"] for row in found["growth"]] == [1, 2, 3, 5, 7, 10, 12]
        assert [row["draws"] for row in found["growth"]] == [10, 10, 10, 10, 10, 10, 1]
        for row in found["growth"]:
            shares = [row[name] for name in ("sure", "not sure", "cannot tell")]
            assert sum(shares) == pytest.approx(1)

    def test_own_spots_and_known_crystals(self, smoke):
        """A user's file of spots, elements and table of crystals: notebook 08 alone."""
        project, _ = smoke
        spots = pd.read_csv(project / "data/examples/anatase.csv")
        spots[spots["frame"] < 4].to_parquet(project / "mine.parquet")
        done = ediff(
            project,
            *("reproduce", "--preset", "smoke", "--name", "spots", "--only", "08"),
            *("--crystals", "data/runs/smoke/crystals.parquet", "-p", "predictor", "small"),
            *("-p", "spots_file", "mine.parquet", "-p", "elements", "Ti,O", "-p", "draws", "2"),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads((project / "data/runs/spots/results.json").read_text())["unknown"]
        assert found["file"] == "mine.parquet"
        assert found["elements"] == ["Ti", "O"]
        assert len(found["fits"]) == 4

    def test_no_predictor_is_one_line(self, smoke):
        project, _ = smoke
        done = ediff(
            project,
            *("reproduce", "--preset", "smoke", "--name", "spots", "--only", "08"),
            *("-p", "predictor", "nonesuch"),
        )
        assert_one_line(done.returncode, done.stderr, ["nonesuch", "no predictor there"])

    def test_mistake_in_a_notebook_is_one_line(self, smoke):
        project, _ = smoke
        (project / "bad.csv").write_text("x,y,qx,qy\n0,0,0.1,0.2\n")
        done = map_scan(project, "bad.csv")
        assert done.returncode == 2
        assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
        assert "bad.csv" in done.stderr
        assert "intensity" in done.stderr
        assert "Traceback" not in done.stderr


def run_cells(path, **parameters):
    """Execute a notebook's cells in this process, and give their names."""
    names = {"display": lambda shown: None}
    for cell in code_cells(path):
        exec(compile(parse(cell), path.name, "exec"), names)
        if is_parameters(cell):
            assert set(parameters) <= set(names)
            names |= parameters
    return names


#: What each file needs to be told, and the scan's step that is read from it [angstrom].
SCAN_FILES = {
    "scan.hspy": ({}, 21.0),
    "scan.nxs": ({}, 21.0),
    "scan.h5": ({}, 20.0),
    "scan.blo": ({"pixel_size": 0.03}, 21.0),
    "scan.npy": ({"pixel_size": 0.03, "signal_axes": [2, 3], "step": 15.0}, 15.0),
}


class TestScanFiles:
    """Notebook 6 from a user's raw frames to its last cell, for files of several programs."""

    @pytest.fixture(scope="class")
    def frames(self, smoke):
        project, _ = smoke
        return np.asarray(open_frames(project / "data/runs/smoke/gold_scan/frames.hspy").data)

    @pytest.fixture
    def run_scan(self, smoke, monkeypatch):
        """The notebook with the smoke run's models; pictures are drawn, but not into files."""
        project, _ = smoke
        monkeypatch.setattr(paths, "RUNS", project / "data" / "runs")
        monkeypatch.setattr(style, "save_figure", lambda fig, path: path)

        def run(name, **parameters):
            values = {"run_name": name, "models_run": "smoke", "jobs": 1} | parameters
            return run_cells(BOOKS[5], **values), project / "data" / "runs" / name

        return run

    @staticmethod
    def write(path, frames):
        """Calibrated where the format can hold it."""
        units, scale = ("nm", "nm", "1/nm", "1/nm"), (2.1, 2.1, 0.3, 0.3)
        signal = signal_of(frames, units, scale=scale)
        if path.suffix == ".npy":
            np.save(path, frames)
        elif path.suffix == ".h5":
            write_emd(path, frames, pixel_size=0.03)
        elif path.suffix == ".hspy":
            write_hspy(path, frames, units=units, scale=scale)
        elif path.suffix == ".nxs":
            from rsciio.nexus import file_writer

            file_writer(str(path), signal)
        else:
            from rsciio.blockfile import file_writer

            eight_bits = np.minimum(frames, 255).astype(np.uint8)
            signal = signal_of(eight_bits, ("nm", "nm", "cm", "cm"), scale=scale)
            file_writer(str(path), signal, navigator=None)

    @pytest.mark.parametrize("file", SCAN_FILES)
    def test_from_frames_to_maps(self, run_scan, frames, tmp_path, file):
        given, step = SCAN_FILES[file]
        self.write(tmp_path / file, frames)
        name = "own-" + file.replace(".", "-")
        names, data = run_scan(name, scan_file=str(tmp_path / file), **given)
        assert names["distance"] == pytest.approx(step)
        assert names["calibration"].pixel_size == pytest.approx(0.03)
        maps = pd.read_parquet(data / "scan_maps.parquet")
        assert len(maps) == 12 * 12
        assert maps["system"].notna().sum() > 10
        assert (maps["space_group"] > 0).sum() == maps["system"].notna().sum()
        lists = read_bragg_lists(data / "bragg_lists.parquet")
        assert lists.shape == (12, 12)
        assert {"scan_maps.h5", "scan_maps.ang"} <= {path.name for path in data.iterdir()}
        # Of a scan of one's own nobody knows the truth.
        assert not (data / "gold_scan").exists()
        assert set(names["summary"]) >= {"map_seconds", "peak_gib", "share"}
        assert "particle_accuracy" not in names["summary"]

    def test_files_of_all_programs_give_the_same_spots(self, run_scan, frames, tmp_path):
        """A transposed axis or a lost frame would show."""
        for file in ("scan.hspy", "scan.nxs", "scan.h5", "scan.npy"):
            self.write(tmp_path / file, frames)
            axes = (2, 3) if file.endswith("npy") else None
            read = open_frames(tmp_path / file, signal_axes=axes)
            np.testing.assert_array_equal(np.asarray(read.data), frames)

    def test_missing_calibration_stops_it_before_anything_is_written(
        self, run_scan, frames, tmp_path
    ):
        np.save(tmp_path / "scan.npy", frames)
        with pytest.raises(UserError, match=r"scan\.npy: pixel_size: .* give it in 1/angstrom"):
            run_scan("uncalibrated", scan_file=str(tmp_path / "scan.npy"), signal_axes=[2, 3])
        assert not (paths.RUNS / "uncalibrated").exists()

    def test_one_position_of_a_list_is_no_scan(self, run_scan, tmp_path):
        q = np.linspace(0.2, 0.9, 8)
        pd.DataFrame({"qx": q, "qy": -q, "intensity": 1.0}).to_csv(tmp_path / "one.csv")
        with pytest.raises(UserError, match=r"one\.csv: a scan of one probe position"):
            run_scan("single", bragg_file=str(tmp_path / "one.csv"))

    def test_a_predictor_takes_part(self, run_scan, tmp_path):
        """A tiny one, on the simulated scan: both stand beside each other in the results."""
        groups = {"cF": 225, "hP": 194, "oP": 47}
        boosting = BoostingSettings(rounds=5, group_rounds=2, min_data_in_leaf=2, jobs=1)
        models = train_predictor(*make_world(groups, 6), boosting)
        save_models(models, CARD, tmp_path / "tiny")
        names, data = run_scan(
            "both",
            predictor=str(tmp_path / "tiny"),
            scan_size=12,
            frame_size=96,
            pixel_size=0.03,
        )
        assert names["answers"].note.startswith("Predictor")
        maps = pd.read_parquet(data / "predictor_maps.parquet")
        assert maps["one_grain"].notna().any()
        summary = names["summary"]
        for key in ("pixel_accuracy_single_domain", "particle_accuracy", "map_seconds"):
            assert set(summary[key]) == {"forests", "predictor"}
        assert {"flagged", "false_alarms", "flagged_at_false_alarms"} == set(summary["flags"])

    def test_a_predictor_that_is_named_but_missing(self, run_scan, smoke):
        lists = smoke[0] / "data/runs/smoke/bragg_lists.parquet"
        with pytest.raises(UserError, match="nowhere"):
            run_scan("missing", bragg_file=str(lists), predictor="nowhere")


def assert_one_line(returncode: int, stderr: str, words: list[str]) -> None:
    assert returncode == 2
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert all(word in last for word in words)
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "nonesuch"], ["nonesuch", "quick"]),
        (["--preset", "smoke", "-p", "thicknesses", "[-20]"], ["thicknesses"]),
        (["--preset", "smoke", "-p", "orientations", "many"], ["orientations", "many"]),
        (["--preset", "smoke", "-p", "colour", "red"], ["colour"]),
        # What datasets know and notebooks do not is not taken and forgotten.
        (["--preset", "smoke", "-p", "q_max", "1.5"], ["q_max", "no notebook"]),
        (["--preset", "smoke", "--name", "../elsewhere"], ["../elsewhere"]),
        (["--preset", "smoke", "--only", "99"], ["99"]),
    ],
)
def test_mistakes_on_the_command_line(arguments, words):
    """These end before a notebook starts, so that this process can do."""
    done = CliRunner().invoke(main, ["reproduce", *arguments])
    assert_one_line(done.exit_code, done.stderr, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "smoke", "--crystals", "no/such/place", "--only", "01"], ["no/such/place"]),
        (["--preset", "smoke", "--name", "fresh", "--only", "05"], ["notebook 04"]),
    ],
)
def test_mistakes_that_a_notebook_meets(project, arguments, words):
    done = ediff(project, "reproduce", *arguments)
    assert_one_line(done.returncode, done.stderr, words)


def test_materials_project_without_a_key(project):
    done = ediff(
        project,
        "reproduce",
        "--preset",
        "smoke",
        "--crystals",
        "materials-project",
        "--only",
        "01",
        MP_API_KEY="",
    )
    assert done.returncode == 2
    assert "MP_API_KEY" in done.stderr.strip().splitlines()[-1]

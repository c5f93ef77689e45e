"""From crystals to a predictor that answers, by the commands that users give."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ediff_solve.predictor.training.model_card import format_card
from ediff_solve.predictor.training.sample import compare_answers
from ediff_utils.core.paths import SHIPPED

SMALL = ["-p", "max_crystals", "16", "-p", "jobs", "2", "--crystals", "embedded"]


def run(root, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"EDIFF_HOME": str(root), "EDIFF_PROGRESS": "off"}
    return subprocess.run(
        [sys.executable, "-m", "ediff_solve", *arguments],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which a predictor has been trained on 16 crystals."""
    root = tmp_path_factory.mktemp("project")
    presets = root / "data" / "presets"
    presets.mkdir(parents=True)
    for name in ("random", "detector"):
        (presets / f"{name}.yml").write_text((SHIPPED / f"data/presets/{name}.yml").read_text())
        found = run(
            root, "dataset", "--preset", name, *SMALL, "-p", "orientations", "10",
            *(["-p", "thickness_range", "[20, 300]"] if name == "detector" else []),
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
    few = "{rounds: 5, group_rounds: 3, min_data_in_leaf: 2, jobs: 1}"
    found = run(root, "predictor", "train", "-p", "singles", "2", "-p", "boosting", few)
    assert found.returncode == 0, found.stderr
    return root, found.stdout


def test_the_card(trained):
    root, said = trained
    card = json.loads((root / "data/models/default/card.json").read_text())
    assert card["materials"]["train"] + card["materials"]["test"] == 16
    for condition in ("clean", "detector"):
        figures = card[condition]
        assert f"one {figures['one']:.1%}" in said
        for name in ("one", "ten", "space_group_top1_ten", "space_group_top5_ten", "ece_ten"):
            assert 0 <= figures[name] <= 1
        for name in ("one", "ten"):
            told = figures[f"right_of_told_{name}"] * (1 - figures[f"cannot_tell_{name}"])
            assert figures[name] == pytest.approx(told)
        assert figures["n"] == {"one": 8, "ten": 4}
        assert sum(system["materials"] for system in figures["by_system"].values()) == 4
        assert 0 < figures["ms_one"] < figures["ms_ten"]
        # Four test materials: two single patterns, a group of ten and one of any size.
        mixtures = card["second_grain"][condition]
        assert {kind: mixtures[kind]["n"] for kind in mixtures} == {"single": 8, "several": 8}
        # A second grain takes spots away from the share that one lattice explains.
        assert mixtures["several"]["noticed"] > mixtures["several"]["false_alarms"]
    assert card["detectors"]["clean"]["position_noise"] == 0
    assert card["detectors"]["detector"]["position_noise"] > 0
    assert card["simulation"]["detector"]["thickness_range"] == [20, 300]
    assert card["clean"]["axes_relative_ten"] < 1e-3
    # Random orientations have hardly a pattern of one zone alone to fit a limit on.
    assert 0 < min(card["least_indexed"][kind] for kind in ("single", "several")) < 1


def test_the_card_in_words(trained):
    folder = trained[0] / "data/models/default"
    card, words = json.loads((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert words == format_card(card)
    lines = dict(line[2:].split(" | ", 1) for line in words.splitlines() if line.startswith("| "))
    shown = lines["crystal system, ten patterns"].removesuffix(" |").split(" | ")
    assert shown == [f"{100 * card[p]['ten']:.1f} %" for p in ("clean", "detector")]
    assert "any orientation, 20 nm, 300 kV; *detector*: at any orientation, 2 to 30 nm" in words
    systems = {name for p in ("clean", "detector") for name in card[p]["by_system"]}
    assert all(any(line.startswith(f"{name} (") for line in lines) for name in systems)
    for condition in ("clean", "detector"):
        for key in ("by_spots", "by_thickness"):
            ranges = card[condition][key]
            assert sum(one["n"] for one in ranges) == card[condition]["n"]["one"]
            share = sum(one["accuracy"] * one["n"] for one in ranges)
            assert share / card[condition]["n"]["one"] == pytest.approx(card[condition]["one"])
        assert f"{condition}, several" in lines
    # A predictor of one condition has a column less.
    alone = card | {"detectors": {"clean": card["detectors"]["clean"]}}
    assert "| crystal system, ten patterns | " + shown[0] + " |\n" in format_card(alone)


def test_a_second_run_computes_nothing_again(trained):
    root, _ = trained
    runs = root / "data/runs"
    files = [p for kind in ("examples", "answers") for p in runs.glob(f"*/{kind}-*/*.parquet")]
    assert {path.parent.name for path in files} == {
        f"{kind}-{condition}"
        for kind in ("examples", "answers-apart", "answers-test")
        for condition in ("clean", "detector")
    }
    stamps = [path.stat().st_mtime_ns for path in files]
    few = "{rounds: 5, group_rounds: 3, min_data_in_leaf: 2, jobs: 1}"
    before = (root / "data/models/default/several.npz").read_bytes()
    arguments = ("-p", "singles", "2", "-p", "boosting", few, "--name", "again")
    found = run(root, "predictor", "train", *arguments)
    assert found.returncode == 0, found.stderr
    assert [path.stat().st_mtime_ns for path in files] == stamps
    assert (root / "data/models/again/several.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--clean", "nothing"), "nothing"),
        (("-p", "singles", "0"), "singles: Input should be greater"),
        (("-p", "wings", "2"), "wings: not a parameter"),
    ],
)
def test_mistakes(trained, arguments, line):
    found = run(trained[0], "predictor", "train", *arguments)
    assert found.returncode == 2
    assert found.stderr.startswith("Error: ")
    assert line in found.stderr
    assert found.stderr.count("\n") == 1


class TestCard:
    def test_its_figures_are_made_again(self, trained):
        root, _ = trained
        found = run(root, "predictor", "check", "--figure", str(root / "card.png"))
        assert found.returncode == 0, found.stderr
        assert (root / "card.png").read_bytes().startswith(b"\x89PNG")
        card = json.loads((root / "data/models/default/card.json").read_text())
        line = next(x for x in found.stdout.splitlines() if x.startswith("crystal system, one"))
        assert line.split()[-4:] == [
            word for p in ("clean", "detector") for word in (f"{100 * card[p]['one']:.1f}", "%")
        ]
        # Four test materials, each with two single patterns, one group of ten and one of any size.
        assert "processor time, ten patterns [ms]" in found.stdout
        assert "32 answers made again from their spots: 100.0% the same" in found.stdout

    def test_all_test_patterns_are_asked_about_again(self, trained, changed):
        names = ("answers.parquet", "card.json", "README.md")
        before = {name: (changed / name).read_bytes() for name in names}
        table = pd.read_parquet(changed / "answers.parquet").assign(status="sure", confidence=1.0)
        table.to_parquet(changed / "answers.parquet")
        card = json.loads(before["card.json"])
        card["detector"]["one"] = 1.0
        (changed / "card.json").write_text(json.dumps(card))
        found = run(trained[0], "predictor", "check", "--model", str(changed), "--again")
        assert found.returncode == 0, found.stderr
        again = pd.read_parquet(changed / "answers.parquet")
        first = pd.read_parquet(trained[0] / "data/models/default/answers.parquet")
        pd.testing.assert_frame_equal(again, first)
        assert (changed / "README.md").read_bytes() == before["README.md"]
        assert json.loads((changed / "card.json").read_text()) == json.loads(before["card.json"])

    def test_other_patterns_are_refused(self, trained, changed):
        arguments = (
            "predictor",
            "check",
            "--model",
            str(changed),
            "--again",
            "--clean",
            "detector",
        )
        found = run(trained[0], *arguments)
        assert found.returncode == 2
        assert "not simulated as" in found.stderr
        found = run(
            trained[0], "predictor", "check", "--model", str(changed), "--again", "--clean", ""
        )
        assert found.returncode == 2
        assert "clean: expected patterns of this condition" in found.stderr

    @pytest.fixture
    def changed(self, trained, tmp_path):
        folder = tmp_path / "predictor"
        shutil.copytree(trained[0] / "data/models/default", folder)
        return folder

    def test_a_card_that_boasts(self, trained, changed):
        card = json.loads((changed / "card.json").read_text())
        card["detector"]["ten"] = 1.01
        (changed / "card.json").write_text(json.dumps(card))
        found = run(trained[0], "predictor", "check", "--model", str(changed))
        assert found.returncode == 2
        assert "card.json: detector.ten: expected" in found.stderr
        assert len(found.stderr.splitlines()) == 1

    @pytest.mark.parametrize("name", ["answers.parquet", "test_patterns.parquet"])
    @pytest.mark.parametrize("fate", ["missing", "cut"])
    def test_files_that_are_not_whole(self, trained, changed, name, fate):
        path = changed / name
        if fate == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:100])
        found = run(trained[0], "predictor", "check", "--model", str(changed))
        assert found.returncode == 2
        assert f"{name}: " in found.stderr
        assert len(found.stderr.splitlines()) == 1

    def test_answers_that_are_others(self, trained, changed):
        table = pd.read_parquet(changed / "answers.parquet")
        table["confidence"] = 1 - table["confidence"] / 2
        table["system"] = np.roll(table["system"], 1)
        same = compare_answers(table, pd.read_parquet(changed / "answers.parquet"))
        assert same["same"] < 1
        assert same["answers"] == len(table)

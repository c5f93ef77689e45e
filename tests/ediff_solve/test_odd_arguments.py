"""Whatever a user types, or a settings file says: one line, and no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ediff_solve.__main__ import main
from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.predictor.answering import find_predictor
from ediff_solve.predictor.known import read_known
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import EXAMPLE
from ediff_utils.paper.features import compute_features

LONG = "x" * 5000
NAMES = [LONG, f"{LONG}.csv", "folder", "folder.csv", "folder.h5", "nope.csv"]
NAMES += ["nope/deep/x.parquet", "caf\udce9.csv", "/dev/null", "spots.csv/x.csv", ".", ""]
NUMBERS = ["inf", "-inf", "nan", "1e308", "9" * 5000, "-1", "abc", ""]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in ("RUNS", "FIGURES"):
        monkeypatch.setattr(f"ediff_utils.core.paths.{module}", tmp_path / module.lower())
    for name in ("folder", "folder.csv", "folder.h5"):
        (tmp_path / name).mkdir()
    shutil.copy(EXAMPLE, tmp_path / "spots.csv")
    return tmp_path


def check(*arguments):
    """Exit code 2 and one line that begins with Error, or what click says of its own options."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == 2
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("Error: ")
    assert "Traceback" not in done.stderr
    return last


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names(place, name):
    check("predict", name)
    check("maps", name)
    check("simulate", name, "--zone", 0, 0, 1)
    check("dataset", "--preset", name)
    check("dataset", "--name", name, "--crystals", "nope")
    for command in (("figure", "5", "--run"), ("publish",), ("ablation",), ("summary",)):
        check(*command, name)
    if name:
        check("predict", "spots.csv", "--crystals", name)


def test_a_name_that_no_command_line_can_have(place):
    with pytest.raises(UserError):
        read_bragg_lists(Path("a\0b.csv"))
    with pytest.raises(UserError):
        read_known(Path("a\0b.csv"))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("", ".")], ids=lambda n: n[:8])
def test_names_of_predictors(place, name):
    check("predict", "spots.csv", "--model", name)
    check("predictor", "check", "--model", name)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: n[:8])
@pytest.mark.parametrize(
    "field", ["orientations", "thicknesses", "max_crystals", "energy", "q_max", "seed", "tilt"]
)
def test_numbers(place, number, field):
    check("dataset", "--name", "t", "-p", field, number or '""', "--crystals", "nope")


@pytest.mark.parametrize("number", [n for n in NUMBERS if n != "-1"], ids=lambda n: n[:8])
def test_numbers_of_options(place, number):
    for option in ("--energy", "--draws"):
        check("predict", "spots.csv", option, number)
    check("maps", "spots.csv", "--energy", number)


PRESETS = [
    "preset: self.yml",
    "self: &a [*a]",
    "&a {x: *a}",
    "a: " + "[" * 5000,
    "x: !!python/object:os.system [ls]",
    "orientations: " + "9" * 5000,
    "seed: 0x" + "f" * 4000,
    "\0",
    "- a\n- b",
    "? {a: b}\n: c",
    "orientations: .inf",
    "orientations: 1e400",
    "crystals: 5",
    "a: *b",
    "2020-01-01: x",
    "a: 2020-99-99",
    "[1]: 2",
]


@pytest.mark.parametrize("text", PRESETS, ids=range(len(PRESETS)))
def test_presets(place, text):
    (place / "self.yml").write_text(text)
    check("dataset", "--preset", "self.yml")
    check("reproduce", "--preset", "self.yml")


CARDS = ["", "{", "[]", '{"format":1}', "[" * 100_000, '{"a":' * 50_000, "null", "9" * 5000]
CARDS += [
    '{"format": NaN, "packages": 1, "sha256": 2}',
    '{"format": 2, "packages": [], "sha256": []}',
]


@pytest.fixture
def model(place):
    shutil.copytree(find_predictor("default"), place / "model")
    return place / "model"


@pytest.mark.parametrize("text", CARDS, ids=range(len(CARDS)))
def test_cards_that_are_none(model, text):
    (model / "card.json").write_text(text)
    assert "card.json: damaged" in check("predict", "spots.csv", "--model", model)


@pytest.mark.parametrize("key", ["thresholds", "least_indexed", "sha256", "packages", "features"])
def test_cards_with_something_else(model, key):
    whole = json.loads((model / "card.json").read_text())
    for value in (None, [], {}, "x", 1e300, -1, {"single": "x", "several": []}):
        if key == "packages" and isinstance(value, dict):
            continue
        (model / "card.json").write_text(json.dumps(whole | {key: value}))
        check("predict", "spots.csv", "--model", model)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "null"], ids=range(5))
def test_results_that_are_none(place, text):
    (place / "figures" / "r").mkdir(parents=True)
    (place / "figures" / "r" / "results.json").write_text(text)
    check("summary", "r")
    check("ablation", "r")


@pytest.mark.parametrize("far", [2.0, 2.05, 5.0, 1e6, 1e12, 1e300, -1e300])
def test_spots_beyond_the_rings(far):
    near = np.array([0.5, 0.3]), np.array([0.1, -0.7]), np.array([1.0, 2.0])
    more = [np.append(values, extra) for values, extra in zip(near, (far, far, 1.0), strict=True)]
    found = compute_features(*more, np.array([0, 3]), normalisation="incident")
    if abs(far) > 2.1:
        own = compute_features(*near, np.array([0, 2]), normalisation="incident")
        np.testing.assert_allclose(found, own, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 1), (1, 2), (2, 2)])
def test_maps_of_few_positions(place, shape):
    grid = [(h, k) for h in range(-2, 3) for k in range(-2, 3) if (h, k) != (0, 0)]
    rows = [(x, y, h / 4, k / 4, 1.0) for x, y in np.ndindex(shape) for h, k in grid]
    lists = pd.DataFrame(rows, columns=["x", "y", "qx", "qy", "intensity"])
    lists.to_csv("scan.csv", index=False)
    words = ("maps", "scan.csv", "-p", "jobs", "1", "--json", "--figure", "maps.png")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["shape"] == list(shape)

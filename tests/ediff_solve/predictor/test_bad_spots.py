"""What is wrong with a user's file of spots is said, through the command that a user gives."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from lattice_patterns import synthetic_patterns
from predictor_world import CARD, make_world

from ediff_solve.__main__ import main
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.spot_checks import MOST_PATTERNS, check_patterns, gather_notes
from ediff_solve.predictor.store import save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_utils.core.errors import UserError

SPOTS = synthetic_patterns("tP", 3, seed=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a predictor of two lattices, sure of whatever it is asked."""
    settings = BoostingSettings(rounds=8, group_rounds=3, min_data_in_leaf=2, jobs=1)
    models = train_predictor(*make_world({"cF": 225, "tP": 123}, 8), settings)
    folder = tmp_path_factory.mktemp("model")
    save_models(models, CARD | {"thresholds": {"single": 0.0, "several": 0.0, "zone": 0.0}}, folder)
    return folder


def table(patterns: list[tuple]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(dict(zip(("qx", "qy", "intensity"), p, strict=True))).assign(frame=n)
        for n, p in enumerate(patterns)
    ]
    return pd.concat(frames, ignore_index=True)


def ask(spots: pd.DataFrame, model, tmp_path, *arguments: str, ending: str = "csv"):
    path = tmp_path / f"spots.{ending}"
    if ending == "npz":
        np.savez(path, **{name: spots[name].to_numpy() for name in spots})
    else:
        spots.to_csv(path, index=False)
    return CliRunner().invoke(main, ["predict", str(path), "--model", str(model), *arguments])


def answer(*arguments, **options) -> dict:
    found = ask(*arguments, "--json", **options)
    assert found.exit_code == 0, found.output
    return json.loads(found.output)


def with_spot(qx: float, qy: float, intensity: float) -> list[tuple]:
    extra = (qx, qy, intensity)
    return [tuple(np.append(v, e) for v, e in zip(p, extra, strict=True)) for p in SPOTS]


def one(qx, qy, intensity=None) -> pd.DataFrame:
    qx = np.asarray(qx, float)
    return table([(qx, np.broadcast_to(qy, qx.shape), np.arange(len(qx)) + 1.0)])


def test_good_spots_are_answered(model, tmp_path):
    found = answer(table(SPOTS), model, tmp_path)
    assert found["status"] == "sure"
    assert found["system"] == "tetragonal"
    assert not found["notes"]


@pytest.mark.parametrize(
    ("spots", "line"),
    [
        (one([0.2, 0.3, 0.5, -0.3], [0.1, 0.2, -0.2, 0.4]), "4 spots, expected at least 5"),
        (one(np.linspace(-1, 1, 12), np.linspace(-2, 2, 12)), "on one line"),
        (one(np.linspace(-1, 1, 12), 0.3), "on one line"),
        (one([0.3] * 40, 0.2), "1 spot, expected at least 5"),
        (one(0.01 * SPOTS[0][0], 0.01 * SPOTS[0][1]), "0 spots"),
        (one(0.1 * SPOTS[0][0], 0.1 * SPOTS[0][1]), "is the scale right?"),
        (one(1 + SPOTS[0][0] / 2, 1 + SPOTS[0][1] / 2), "positions counted from the direct beam"),
    ],
)
def test_nothing_is_told(model, tmp_path, spots, line):
    found = answer(spots, model, tmp_path)
    assert found["status"] == "cannot tell"
    assert found["system"] is None
    assert found["systems"] == {}
    assert any("cannot tell" in note and line in note for note in found["notes"])


def spoilt(**changes) -> pd.DataFrame:
    spots = table(SPOTS)
    for name, change in changes.items():
        spots[name] = change(spots[name])
    return spots


def first(value: float):
    return lambda column: column.where(column.index > 6, value)


@pytest.mark.parametrize(
    ("spots", "line"),
    [
        (spoilt(qx=first(np.nan)), "qx: spot 1 is nan, expected a number"),
        (spoilt(intensity=first(np.inf)), "intensity: spot 1 is inf"),
        (spoilt(intensity=first(-3.0)), "intensity: spot 1 has -3, expected 0 or more"),
        (spoilt(intensity=lambda c: 0 * c), "no spots: expected at least one of intensity above 0"),
        (spoilt(qx=lambda c: 60 * c + 128, qy=lambda c: 60 * c + 128), "pixels"),
        (spoilt(qx=lambda c: 60 * c, qy=lambda c: 60 * c), "pixels"),
        (spoilt(qx=lambda c: 10 * c, qy=lambda c: 10 * c), "1/nm"),
        (spoilt(qx=lambda c: 2 * np.pi * c, qy=lambda c: 2 * np.pi * c), "2 pi"),
        (table(SPOTS).drop(columns="intensity"), "no column intensity"),
    ],
)
def test_a_line_says_what_is_wrong(model, tmp_path, spots, line):
    found = ask(spots, model, tmp_path)
    assert found.exit_code == 2
    assert "spots.csv: " in found.output
    assert line in found.output
    assert found.output.count("\n") == 1


def test_two_pi_is_seen_in_short_patterns_too(model, tmp_path):
    short = [tuple(v[np.hypot(p[0], p[1]) < 0.8] for v in p) for p in SPOTS]
    assert answer(table(short), model, tmp_path)["system"]
    factor = [(2 * np.pi * x, 2 * np.pi * y, i) for x, y, i in short]
    assert "2 pi" in ask(table(factor), model, tmp_path).output


def test_a_million_spots(model, tmp_path):
    rng = np.random.default_rng(0)
    spots = pd.DataFrame(rng.uniform(-1, 1, (10**6, 2)), columns=["qx", "qy"]).assign(intensity=1.0)
    found = ask(spots, model, tmp_path, ending="npz")
    assert found.exit_code == 2
    assert "1000000 spots in one pattern, expected at most 20000" in found.output
    spots["frame"] = np.arange(10**6) // 40
    found = ask(spots, model, tmp_path, ending="npz")
    assert f"expected 1 to {MOST_PATTERNS} of one crystal, got 25000" in found.output


@pytest.mark.parametrize("n", [20, 60, 400])
def test_noise_is_never_sure(model, tmp_path, n):
    rng = np.random.default_rng(n)
    noise = [(*rng.uniform(-1.5, 1.5, (2, n)), rng.random(n)) for _ in range(3)]
    for patterns in (noise, noise[:1]):
        assert answer(table(patterns), model, tmp_path)["status"] != "sure"


def test_the_direct_beam_may_be_there_or_not(model, tmp_path):
    without = answer(table(SPOTS), model, tmp_path)
    beams = with_spot(0.004, -0.01, 1e6)
    found = answer(table(beams), model, tmp_path)
    assert found.pop("notes") == ["patterns 1, 2, 3: direct beam left out"]
    assert found == {key: value for key, value in without.items() if key != "notes"}


def test_spots_and_patterns_that_come_twice(model, tmp_path):
    once = answer(table(SPOTS), model, tmp_path)
    doubled = [tuple(np.tile(v, 2) for v in p) for p in SPOTS]
    found = answer(table([*doubled, SPOTS[0]]), model, tmp_path)
    assert found["systems"] == once["systems"]
    assert found["fits"] == [*once["fits"], None]
    assert found["notes"][-1] == "pattern 4: the same spots as pattern 1, left out"
    assert all("listed twice" in note for note in found["notes"][:-1])


def test_spots_without_intensity_are_counted(model, tmp_path):
    dark = with_spot(0.5, 0.123, 0)
    found = answer(table(dark), model, tmp_path)
    assert found["notes"] == ["3 spots of intensity 0 left out"]
    assert found["status"] == "sure"


def test_intensities_that_are_all_alike(model, tmp_path):
    found = answer(table([(x, y, np.ones_like(x)) for x, y, _ in SPOTS]), model, tmp_path)
    assert found["status"] == "not sure"
    assert "all intensities are alike" in found["notes"][0]


def test_another_lattice_over_the_first(model, tmp_path):
    """Spots of a second crystal, about as many as of the first: it is said, and nothing sure."""
    others = synthetic_patterns("mP", 3, seed=3)
    pairs = zip(SPOTS, others, strict=True)
    both = [tuple(map(np.concatenate, zip(*pair, strict=True))) for pair in pairs]
    careful = Predictor.load(model)
    careful.card["least_indexed"] = {"single": 0.8, "several": 0.8, "zone": 0.8}
    found = careful.predict(both)
    assert found.status == "not sure"
    assert "a second grain" in found.notes[-1]


def test_one_pattern_of_another_crystal(model, tmp_path):
    other = synthetic_patterns("oF", 1, seed=8)
    found = answer(table([*synthetic_patterns("tP", 5, seed=40), *other]), model, tmp_path)
    assert found["system"] == "tetragonal"
    assert found["fits"][5] < 0.5 < min(found["fits"][:5])
    assert found["notes"] == ["pattern 6: few of the spots fit: another grain or crystal?"]


@pytest.mark.parametrize("energy", ["0.3", "300000"])
def test_energies_that_no_microscope_has(model, tmp_path, energy):
    found = ask(table(SPOTS), model, tmp_path, "--energy", energy)
    assert found.exit_code == 2
    assert "energy: expected 20 keV to 2 MeV" in found.output


def test_another_energy_than_that_of_the_training(model):
    predictor = Predictor.load(model)
    predictor.card["simulation"] = {"clean": {"energy": 300e3}, "detector": {"energy": 300e3}}
    assert not predictor.predict(SPOTS).notes
    assert "trained on patterns at 300 kV" in predictor.predict(SPOTS, 200e3).notes[0]


def test_notes_of_many_patterns_become_few():
    few = (np.array([0.3, 0.5]), np.ones(2))
    notes = gather_notes(check_patterns([few] * 3 + [SPOTS[0]] + [few] * 4))
    assert notes == ("7 of 8 patterns: cannot tell: 2 spots, expected at least 5",)
    with pytest.raises(UserError, match="expected 1 to"):
        check_patterns([])

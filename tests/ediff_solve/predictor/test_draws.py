"""Many patterns of one crystal: each alone, random draws, growth, and the command for them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from lattice_patterns import synthetic_patterns
from predictor_world import CARD, make_world

from ediff_solve.__main__ import main
from ediff_solve.figures.unknown import figure_growth, figure_patterns
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.draws import (
    Draws,
    read_truth,
    summarise_answers,
    summarise_growth,
)
from ediff_solve.predictor.indexing import compute_strays
from ediff_solve.predictor.known import look_up
from ediff_solve.predictor.report import read_patterns
from ediff_solve.predictor.store import save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.example_file import MINERAL, simulate_example
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import EXAMPLE
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.embedded import load_prototypes
from ediff_utils.crystals.groups import NUMBERED_SYSTEMS

FEW = (np.array([0.3, 0.5]), np.ones(2), np.ones(2))
PATTERNS = [FEW, *synthetic_patterns("tP", 4, seed=40)]


@pytest.fixture(scope="module")
def predictor():
    settings = BoostingSettings(rounds=8, group_rounds=3, min_data_in_leaf=2, jobs=1)
    return Predictor(train_predictor(*make_world({"cF": 225, "tP": 123}, 8), settings), CARD)


@pytest.fixture(scope="module")
def asked(predictor):
    return Draws(predictor, PATTERNS)


def test_answers_are_the_predictors_own(predictor, asked):
    each = asked.ask_each()
    assert each["status"].tolist()[0] == "cannot tell"
    for n in (1, 3):
        own = predictor.predict([PATTERNS[n]])
        assert each["confidence"][n] == own.confidence
        assert each["system"][n] == own.system
    together = asked.ask_together(3, 4, seed=1)
    for row in together.itertuples():
        own = predictor.predict([PATTERNS[n] for n in row.chosen])
        assert row.confidence == own.confidence
        assert row.space_groups == tuple(n for n, _, _ in own.space_groups)
        np.testing.assert_equal([row.a, row.b, row.c], own.lattice.parameters[:3])


def test_draws(asked):
    found = asked.ask_together(3, 30, seed=5)
    assert found["chosen"].map(lambda c: len(set(c))).eq(3).all()
    assert found["chosen"].nunique() > 5
    assert found["chosen"].tolist() == asked.ask_together(3, 30, seed=5)["chosen"].tolist()
    assert found["chosen"].tolist() != asked.ask_together(3, 30, seed=6)["chosen"].tolist()
    with pytest.raises(UserError, match="together: expected 1 to 5 patterns, got 6"):
        asked.ask_together(6, 1)
    with pytest.raises(UserError, match="draws: expected 1 or more"):
        asked.ask_together(2, 0)


def test_growth(asked):
    growth = summarise_growth(asked.grow(3))
    assert growth["patterns"].tolist() == [1, 2, 3, 5]
    assert growth["draws"].tolist() == [3, 3, 3, 1]
    np.testing.assert_allclose(growth[["sure", "not sure", "cannot tell"]].sum(axis=1), 1)
    told = growth[growth["cannot tell"] == 0]
    np.testing.assert_allclose(told[[f"p_{name}" for name in NUMBERED_SYSTEMS]].sum(axis=1), 1)
    assert growth["agree"].iloc[-1] == 1


def answers(*rows: tuple) -> pd.DataFrame:
    names = ("status", "system", "confidence", "space_groups", "bravais", "indexed", "a")
    cell = {"b": 2.0, "c": 3.0, "alpha": 90.0, "beta": 90.0, "gamma": 90.0, "patterns": 1}
    return pd.DataFrame([dict(zip(names, row, strict=True)) | cell for row in rows])


def test_shares_by_hand():
    table = answers(
        ("sure", "cubic", 0.9, (225, 221, 166, 194, 191), "cF", 0.9, 4.0),
        ("sure", "trigonal", 0.8, (166, 225, 194, 191, 1), "hR", 0.8, 7.0),
        ("not sure", "cubic", 0.4, (221, 225, 227, 229, 200), "cF", 0.7, 4.2),
        ("cannot tell", None, 0.0, (), None, np.nan, np.nan),
    )
    found = summarise_answers(table, read_truth("225"))
    assert found["systems"] == {"cubic": 0.5, "trigonal": 0.25, "cannot tell": 0.25}
    assert found["status"] == {"sure": 0.5, "not sure": 0.25, "cannot tell": 0.25}
    assert found["confidence"] == pytest.approx(0.7)
    assert found["accuracy"] == 0.5
    assert found["accuracy_sure"] == 0.5
    assert found["space_group_top1"] == 0.25
    assert found["space_group_top5"] == 0.75
    assert found["cell"]["a"] == pytest.approx(4.1)
    nothing = summarise_answers(table.iloc[3:], read_truth("trigonal"))
    assert nothing["confidence"] is None
    assert nothing["cell"] is None
    assert nothing["accuracy"] == 0
    assert "space_group_top1" not in nothing


@pytest.mark.parametrize("text", ["0", "231", "Cubic", "-3", "1.5"])
def test_truth_that_is_none(text):
    with pytest.raises(UserError, match="truth: expected a space group from 1 to 230 or one of"):
        read_truth(text)


def test_truths():
    assert read_truth("154") == {"system": "trigonal", "space_group": 154}
    assert read_truth("monoclinic") == {"system": "monoclinic"}


def test_the_command(predictor, tmp_path):
    save_models(predictor.models, CARD, tmp_path / "model")
    path = tmp_path / "series.csv"
    tables = [
        pd.DataFrame(dict(zip(("qx", "qy", "intensity"), p, strict=True))).assign(frame=n)
        for n, p in enumerate(PATTERNS)
    ]
    pd.concat(tables).to_csv(path, index=False)
    start = ["predict", str(path), "--model", str(tmp_path / "model"), "--draws", "4"]
    run = CliRunner().invoke(main, [*start, "--together", "3", "--truth", "123"])
    assert run.exit_code == 0, run.output
    assert "one alone    3 together" in run.stdout
    assert "right system" in run.stdout
    run = CliRunner().invoke(main, [*start, "--together", "2", "--truth", "tetragonal", "--json"])
    found = json.loads(run.stdout)
    assert found["alone"]["answers"] == 5
    assert found["together"]["answers"] == 4
    assert found["together"]["patterns"] == 2
    assert 0 < found["together"]["accuracy"] <= 1
    for arguments, line in (
        (["--each"], "--draws: goes with --together"),
        ([], "together: expected 1 to 5 patterns, got 10"),
        (["--together", "2", "--truth", "glass"], "truth: expected"),
    ):
        run = CliRunner().invoke(main, [*start, *arguments])
        assert run.exit_code == 2
        assert line in run.output


def test_figures_and_strays(predictor, asked):
    answer = predictor.predict(PATTERNS)
    assert answer.solved_from.tolist() == [1, 2, 3, 4]
    assert len(figure_patterns(answer).axes) == 4
    assert len(figure_patterns(predictor.predict([FEW])).axes) == 4
    assert len(figure_growth(summarise_growth(asked.grow(2))).axes) == 2
    strays = compute_strays(answer.evidence, answer.solved_from + 1)
    total = sum(len(p[0]) for p in PATTERNS[1:])
    assert len(strays) == round((1 - answer.indexed) * total)
    assert set(strays["pattern"]) <= {2, 3, 4, 5}
    assert compute_strays(None, []).empty


def test_the_example_is_what_its_function_makes():
    shipped, made = pd.read_csv(EXAMPLE), simulate_example()
    assert EXAMPLE.stat().st_size < 200_000
    assert len(shipped) == len(made)
    for name, close in (("frame", 0), ("qx", 1.1e-4), ("qy", 1.1e-4), ("intensity", 0.2)):
        np.testing.assert_allclose(shipped[name], made[name], atol=close, rtol=1e-3)


def test_the_example_is_found_among_known_crystals(predictor):
    """Its cell is off by the detector's error of the scale, up to 3 %, and found all the same."""
    prototypes, _ = load_prototypes(CrystalSettings().symprec)
    names = (MINERAL, "A2B_tP6_136_f_a-TiO2", "A2B_oP24_61_2c_c-TiO2", "A4BC_tI24_141_h_b_a-ZrSiO4")
    crystals = pd.DataFrame([p.row for p in prototypes if p.name in names])
    assert len(crystals) == 4
    answer = predictor.predict(read_patterns(EXAMPLE))
    assert answer.lattice.symbol == "tI"
    assert look_up(answer, crystals, ["Ti", "O"])["material_id"].tolist() == [MINERAL]
    assert look_up(answer, crystals)["material_id"].tolist() == [MINERAL]
    assert look_up(answer, crystals, ["Si", "O"]).empty
    assert look_up(answer, None).empty

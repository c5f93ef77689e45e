"""`ediff predict`: files of spots, answers in lines and JSON, known crystals, the figure."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from lattice_patterns import primitive_lattice, synthetic_patterns
from matplotlib.figure import Figure
from predictor_world import CARD, make_world
from pymatgen.core import Lattice, Structure

from ediff_solve.__main__ import main
from ediff_solve.figures.unknown import plot_answer
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.known import match_known, read_known
from ediff_solve.predictor.report import format_answer, format_number
from ediff_solve.predictor.store import save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_utils.core.errors import UserError

WORLD = {"cF": 225, "tP": 123, "oI": 71}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a predictor of three lattices."""
    settings = BoostingSettings(rounds=8, group_rounds=3, min_data_in_leaf=2, jobs=1)
    models = train_predictor(*make_world(WORLD, 10), settings)
    folder = tmp_path_factory.mktemp("model")
    save_models(models, CARD, folder)
    return folder


@pytest.fixture
def spots(tmp_path):
    """A CSV of three patterns of a tetragonal crystal."""
    tables = [
        pd.DataFrame({"frame": n, "qx": x, "qy": y, "intensity": i})
        for n, (x, y, i) in enumerate(synthetic_patterns("tP", 3, seed=40))
    ]
    path = tmp_path / "spots.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


@pytest.fixture
def table(tmp_path):
    """Known crystals: the right one, one of other elements, one of another cell."""
    lattice = primitive_lattice("tP")
    crystals = pd.DataFrame(
        {
            "material_id": ["right", "elements", "cell"],
            "formula": ["TiO2", "NaCl", "TiO2"],
            "lattice": [np.ravel(lattice), np.ravel(lattice), np.ravel(1.1 * lattice)],
            "space_group": [123, 221, 123],
            "space_group_symbol": ["P4/mmm", "Pm-3m", "P4/mmm"],
        }
    )
    path = tmp_path / "known.parquet"
    crystals.to_parquet(path)
    return path


def ask(*arguments: object):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_lines(model, spots):
    found = ask(spots, "--model", model)
    assert found.exit_code == 0, found.output
    assert "3 patterns" in found.output
    assert "crystal system   tetragonal" in found.output
    assert "tP: a 4.29" in found.output


def test_json(model, spots):
    found = ask(spots, "--model", model, "--json")
    answer = json.loads(found.output)
    assert answer["system"] == "tetragonal"
    assert answer["lattice"]["c"] == pytest.approx(6.13, rel=1e-3)
    assert len(answer["fits"]) == 3


def test_each_pattern_alone(model, spots):
    found = ask(spots, "--model", model, "--each", "--json")
    answers = json.loads(found.output)
    assert [answer["x"] for answer in answers] == [0, 1, 2]
    lines = ask(spots, "--model", model, "--each").output.strip().splitlines()
    assert len(lines) == 4
    assert "confidence" in lines[0]


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_other_files(model, spots, tmp_path, ending):
    table = pd.read_csv(spots)
    path = tmp_path / f"spots.{ending}"
    if ending == "npz":
        np.savez(path, **{name: table[name].to_numpy() for name in table})
    else:
        table.to_parquet(path)
    assert "tetragonal" in ask(path, "--model", model).output


def test_known_crystals(model, spots, table):
    found = ask(spots, "--model", model, "--crystals", table, "--elements", "Ti,O")
    assert "1 with such a cell" in found.output
    assert "right TiO2 P4/mmm" in found.output
    answer = json.loads(ask(spots, "--model", model, "--crystals", table, "--json").output)
    assert {row["material_id"] for row in answer["known"]} == {"right", "elements"}


def test_known_crystals_are_ranked_by_space_group(table):
    probabilities = np.zeros(230)
    probabilities[220] = 0.9
    found = match_known(primitive_lattice("tP"), read_known(table), (), probabilities)
    assert found["material_id"].tolist() == ["elements", "right"]
    assert found["volume_ratio"].to_numpy() == pytest.approx(1)
    assert match_known(primitive_lattice("tP"), read_known(table).iloc[:0]).empty
    with pytest.raises(UserError, match="symbols such as Si, got 'silicon'"):
        match_known(primitive_lattice("tP"), read_known(table), ["silicon"])


#: fcc Au, in its primitive and in its conventional cell of four atoms [angstrom].
GOLD = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0782), ["Au"], [[0, 0, 0]])


@pytest.fixture(params=["table", "file", "folder"])
def conventional(request, tmp_path):
    """Gold in its conventional cell, as databases give it, beside another crystal."""
    copper = GOLD.copy()
    copper.replace_species({"Au": "Cu"})
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]
    )
    crystals = {"gold": GOLD, "disguised": copper, "salt": salt}
    if request.param == "table":
        rows = [
            {
                "material_id": name,
                "lattice": one.lattice.matrix.ravel(),
                "numbers": list(one.atomic_numbers),
                "frac_coords": one.frac_coords.ravel(),
            }
            for name, one in crystals.items()
        ]
        # One that nobody can make a crystal of is passed over.
        rows.append(rows[0] | {"material_id": "broken", "frac_coords": [0.0]})
        pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
        return tmp_path / "table.parquet"
    for name, one in crystals.items():
        one.to(filename=str(tmp_path / f"{name}.cif"))
    return tmp_path / "gold.cif" if request.param == "file" else tmp_path


def test_known_crystals_in_any_cell(conventional):
    primitive = GOLD.get_primitive_structure().lattice.matrix
    found = match_known(primitive, read_known(conventional), ["Au"])
    assert found["material_id"].tolist() == ["gold"]
    assert found["space_group"].tolist() == [225]
    assert found["formula"].tolist() == ["Au"]
    assert found["volume_ratio"].to_numpy() == pytest.approx(1, abs=1e-3)
    both = match_known(primitive, read_known(conventional))
    assert set(both["material_id"]) <= {"gold", "disguised"}
    assert match_known(1.2 * primitive, read_known(conventional)).empty


def test_what_is_no_table_of_crystals(tmp_path):
    pd.DataFrame({"material_id": ["x"], "lattice": [np.zeros(9)]}).to_parquet(tmp_path / "a")
    with pytest.raises(UserError, match="a: column formula missing"):
        read_known(tmp_path / "a")
    (tmp_path / "b.cif").write_text("nothing")
    with pytest.raises(
        UserError, match=r"b\.cif: no crystal that can be used: b: not read as a CIF"
    ):
        read_known(tmp_path / "b.cif")
    (tmp_path / "c.txt").write_text("nothing")
    with pytest.raises(
        UserError, match=r"c\.txt: not a Parquet .*expected a Parquet table of crystals, a CIF"
    ):
        read_known(tmp_path / "c.txt")


def test_the_figure(model, spots, tmp_path):
    target = tmp_path / "answer.png"
    found = ask(spots, "--model", model, "--figure", target)
    assert found.exit_code == 0, found.output
    assert target.read_bytes().startswith(b"\x89PNG")
    predictor = Predictor.load(model)
    for patterns in (synthetic_patterns("tP", 1, seed=1), [(np.arange(3) * 0.1, np.ones(3))]):
        assert isinstance(plot_answer(predictor.predict(patterns)), Figure)


def test_nothing_can_be_told(model, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("qx,qy,intensity\n0.2,0.1,5\n0.3,-0.2,4\n")
    found = ask(path, "--model", model)
    assert found.exit_code == 0
    assert "cannot tell: 2 spots" in found.output
    assert "crystal system" not in found.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere.csv",), "nowhere.csv: no such file"),
        (("{spots}", "--crystals", "{spots}"), "expected a Parquet table of crystals"),
        (("{spots}", "--model", "unheard-of"), "unheard-of"),
        (("{pixels}",), "pixels"),
    ],
)
def test_mistakes_get_one_line(model, spots, tmp_path, arguments, line):
    pixels = tmp_path / "pixels.csv"
    table = pd.read_csv(spots)
    table[["qx", "qy"]] = 128 + 60 * table[["qx", "qy"]]
    table.to_csv(pixels, index=False)
    arguments = [a.format(spots=spots, pixels=pixels) for a in arguments]
    if "--model" not in arguments:
        arguments += ["--model", str(model)]
    found = ask(*arguments)
    assert found.exit_code == 2
    assert line in found.output
    assert found.output.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (5.4321, 0.0012, "5.4321(12)"),
        (5.4321, 0.02, "5.43(2)"),
        (90.0, 0.0, "90"),
        (120.0, 1e-13, "120"),
        (4.922602, 5e-6, "4.922602(5)"),
        (4.2, np.nan, "4.200"),
        (103.41, 1.3, "103.4(13)"),
    ],
)
def test_numbers_with_uncertainties(value, error, text):
    assert format_number(value, error) == text


def test_an_answer_without_a_lattice(model):
    answer = Predictor.load(model).predict([(np.arange(3) * 0.1, np.ones(3))])
    assert format_answer(answer).splitlines()[0].split() == ["answer", "cannot", "tell"]

"""The command line as a whole, and its commands for a zone axis and a scan."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from gold_scans import FINE, find_lists, small_settings
from numba import njit
from predictor_world import CARD, make_world

from ediff_solve.__main__ import main, show_compiling
from ediff_solve.figures.zone import simulate_zone, tabulate_zone
from ediff_solve.frames.bragg import write_bragg_lists
from ediff_solve.gold_scan.render import prepare_gold_scan
from ediff_solve.predictor.store import save_models
from ediff_solve.predictor.training.boosting import BoostingSettings
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.crystal import Crystal

#: Rock salt; the paper's own structure type of figure 1.
ROCK_SALT = """data_salt
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""
A = 5.64
ZONE = ("--zone", 0, 0, 1)


@pytest.fixture
def salt(tmp_path):
    path = tmp_path / "salt.cif"
    path.write_text(ROCK_SALT.format(a=A))
    return path


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output + str(done.exception)
    return done


def list_commands(group, before=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from list_commands(command, (*before, name))
        else:
            yield (*before, name), command


COMMANDS = list(list_commands(main))


class TestAll:
    @pytest.mark.parametrize(("names", "command"), COMMANDS, ids=lambda x: str(x)[:30])
    def test_help_has_an_example_that_is_understood(self, names, command):
        program, *words = shlex.split(command.epilog.removeprefix("Example: ").split(" >> ")[0])
        assert [program, *words[: len(names)]] == ["ediff", *names]
        command.make_context(names[-1], words[len(names) :])

    @pytest.mark.parametrize(("names", "command"), COMMANDS, ids=lambda x: str(x)[:30])
    def test_energies_are_voltages(self, names, command):
        (*found,) = (option for option in command.params if option.name == "energy")
        assert all("[kV]" in option.help for option in found)
        # Or the file's own.
        assert all(o.default == 300 or "if the file lacks it" in o.help for o in found)

    def test_the_commands_that_are_promised(self):
        names = {" ".join(names) for names, _ in COMMANDS}
        assert names >= {"simulate", "predict", "maps", "reproduce", "dataset", "figure"}
        assert names >= {"predictor train", "predictor check", "completion"}

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, shell):
        assert "_EDIFF_COMPLETE" in run("completion", shell).output

    def test_home(self, tmp_path):
        words = ("--home", str(tmp_path / "mine"), "figure", "5", "--run", "any")
        own = {name: value for name, value in os.environ.items() if name != "EDIFF_HOME"}
        done = subprocess.run(
            [sys.executable, "-m", "ediff_solve", *words],
            env=own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        expected = tmp_path / "mine" / "data" / "runs" / "any" / "predictions.parquet"
        assert done.stderr.startswith(f"Error: {expected}: not there")


class TestSimulate:
    def test_spots_are_those_of_the_library(self, salt, tmp_path):
        out, picture = tmp_path / "spots.csv", tmp_path / "spots.png"
        words = ("--zone", 1, 1, 0, "-t", 150, "--energy", 200, "--q-max", 1.5)
        done = run("simulate", salt, *words, "-o", out, "--figure", picture)
        assert done.output.startswith("NaCl, Fm-3m (225), [1 1 0], 150 Å, 200 kV: ")
        assert picture.read_bytes()[:4] == b"\x89PNG"
        found = pd.read_csv(out)
        cell = np.array([[0, A / 2, A / 2], [A / 2, 0, A / 2], [A / 2, A / 2, 0]])
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
        crystal = Crystal("salt", cell, np.array([11, 17]), sites, A * np.eye(3))
        settings = SimulationSettings(thicknesses=(150.0,), energy=200e3, q_max=1.5)
        own = tabulate_zone(simulate_zone(crystal, (1, 1, 0), settings))
        columns = ["h", "k", "l"]
        found, own = (t.sort_values(columns, ignore_index=True) for t in (found, own))
        assert found[columns].to_numpy().tolist() == own[columns].to_numpy().tolist()
        np.testing.assert_allclose(found["intensity"], own["intensity"], atol=1e-5)
        # Spots of the zone's own layer stand where their indices say.
        zero = found[found["h"] + found["k"] == 0]
        g = np.linalg.norm(zero[columns], axis=1) / A
        np.testing.assert_allclose(np.hypot(zero["qx"], zero["qy"]), g, atol=1e-5)
        assert np.hypot(found["qx"], found["qy"]).max() <= 1.5

    def test_json_and_rotation(self, salt):
        words = ("--zone", 0, 0, 1, "--json")
        straight, turned = (
            pd.DataFrame(json.loads(run("simulate", salt, *words, *more).stdout))
            for more in ((), ("--rotation", 90))
        )
        np.testing.assert_allclose(turned["qx"], -straight["qy"], atol=2e-6)
        np.testing.assert_allclose(turned["qy"], straight["qx"], atol=2e-6)

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("--zone", 0, 0, 0), "zone axis [0.0, 0.0, 0.0]: expected three numbers"),
            (("--zone", 0, 0, "nan"), "zone axis [0.0, 0.0, nan]: expected three numbers"),
            (("--zone", 0, 0, 1, "-t", "inf"), "thicknesses"),
            (("--zone", 0, 0, 1, "-t", 0), "thicknesses: expected values above 0"),
            (("--zone", 0, 0, 1, "--energy", 300e3), "energy: Input should be less"),
            (("--zone", 0, 0, 1, "--q-max", 1e9), "q_max: Input should be less"),
            (("--zone", 0, 0, 1, "-o", "spots.xyz"), "spots.xyz: unknown ending"),
        ],
    )
    def test_mistakes(self, salt, words, line):
        done = run("simulate", salt, *words, code=2)
        assert done.stderr.startswith("Error: ")
        assert line in done.stderr
        assert done.stderr.count("\n") == 1

    def test_no_crystal(self, tmp_path):
        assert "no such file" in run("simulate", tmp_path / "x.cif", *ZONE, code=2).stderr
        for name in ("one", "two"):
            (tmp_path / f"{name}.cif").write_text(ROCK_SALT.format(a=A))
        assert "2 crystals; expected one" in run("simulate", tmp_path, *ZONE, code=2).stderr


class TestMaps:
    @pytest.fixture(scope="class")
    def scan(self, tmp_path_factory):
        """Bragg lists of a small gold scan, and a predictor of three lattices."""
        folder = tmp_path_factory.mktemp("scan")
        lists = find_lists(prepare_gold_scan(small_settings(seed=3, **FINE)))
        write_bragg_lists(lists, folder / "gold.parquet")
        settings = BoostingSettings(rounds=6, group_rounds=2, min_data_in_leaf=2, jobs=1)
        models = train_predictor(*make_world({"cF": 225, "hP": 194, "oP": 47}, 6), settings)
        save_models(models, CARD, folder / "model")
        return folder

    def test_lists(self, scan, tmp_path):
        words = ("--model", scan / "model", "-p", "jobs", 1, "--step", 20)
        out, picture = tmp_path / "out", tmp_path / "maps.png"
        run_in = ("maps", scan / "gold.parquet", *words, "-o", out, "--figure", picture)
        done = run(*run_in, "--json")
        found = json.loads(done.stdout)
        maps = pd.read_parquet(out / "maps.parquet")
        assert found["shape"] == [12, 12]
        assert found["positions"] == maps["system"].notna().sum() > 10
        assert sum(own["positions"] for own in found["systems"].values()) == found["positions"]
        assert found["particles"] == len(pd.read_parquet(out / "particles.parquet"))
        assert {path.name for path in out.iterdir()} >= {"maps.h5", "maps.ang"}
        whole = json.loads((out / "phases.json").read_text())
        assert whole == found["whole_scan"]
        assert {"phases", "net", "too_few"} <= set(whole)
        assert picture.read_bytes()[:4] == b"\x89PNG"
        lines = run(*run_in).stdout.splitlines()
        assert lines[0].startswith("12 x 12 positions")
        last = next(n for n, line in enumerate(lines) if line.startswith("nothing told"))
        counts = [int(line.split()[1]) for line in lines[2:last]] + [int(lines[last].split()[-1])]
        assert sum(counts) == 144

    def test_no_scan(self, tmp_path):
        assert "no such file" in run("maps", tmp_path / "scan.hspy", code=2).stderr
        (tmp_path / "scan.h5").write_bytes(b"nothing")
        assert run("maps", tmp_path / "scan.h5", code=2).stderr.startswith("Error: ")


def test_compiling_is_shown_once(capsys):
    def double(x):
        return 2 * x

    double.__module__ = "ediff_utils.somewhere"
    compiled = njit(double)
    with show_compiling():
        assert compiled(2) == 4
    assert capsys.readouterr().err.startswith("compiled, once after an install: 1 functions")
    with show_compiling():
        assert compiled(3) == 6
        assert njit(lambda x: x + 1)(np.float64(1)) == 2
    assert not capsys.readouterr().err

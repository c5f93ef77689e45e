"""What the README claims is what the committed results say."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from functools import reduce

import pandas as pd
import pytest
from click.testing import CliRunner

from ediff_solve.__main__ import main
from ediff_solve.forests.ablation import CHANGES
from ediff_solve.predictor.store import read_card
from ediff_solve.predictor.training.model_card import format_card
from ediff_utils.core.paths import ROOT, Run
from ediff_utils.paper import results
from ediff_utils.paper.comparison import summary_table, to_markdown

README = (ROOT / "README.md").read_text(encoding="utf-8")
#: The README and the pages that it leads to.
TEXT = README + "".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
#: Of the table of the predictor.
HEAD = (
    "| | clean | detector | zone | lowest | zone_detector | lowest_detector |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
#: Of a table of real crystals: frames alone, and ten of them.
PARTS = ("alone", "together")
#: Heading of each column, and the run that it stands for.
RUNS = {
    "22,740 real crystals": "paper",
    "embedded": "quick",
}


def test_table_of_results():
    runs = {heading: results.read_results(Run(name).published) for heading, name in RUNS.items()}
    assert to_markdown(summary_table(runs)) in TEXT


def test_table_of_what_the_accuracy_is_made_of():
    done = CliRunner().invoke(main, ["ablation", "paper"])
    assert done.exit_code == 0
    shown = list(CHANGES.values())
    assert re.findall(r"^\| (?!vectors|---)(.*?) \|", done.stdout, re.MULTILINE) == shown
    assert done.stdout in TEXT


def test_a_run_without_that_table(monkeypatch, tmp_path):
    monkeypatch.setattr("ediff_utils.core.paths.FIGURES", tmp_path)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "results.json").write_text("{}")
    done = CliRunner().invoke(main, ["ablation", "bare"])
    assert done.exit_code == 2
    assert done.stderr == "Error: run 'bare': no table of changes; it is made by notebook 07\n"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_snippets_name_what_there_is(snippet):
    names = {}
    for node in ast.parse(snippet).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ediff_"):
            exec(compile(ast.Module([node], []), "README.md", "exec"), names)
    called = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
    checked = 0
    for call in called:
        parts = ast.unparse(call.func).split(".")
        if parts[0] not in names:
            continue
        function = reduce(getattr, parts[1:], names[parts[0]])
        keywords = {keyword.arg: None for keyword in call.keywords}
        inspect.signature(function).bind(*call.args, **keywords)
        checked += 1
    assert checked


def test_the_paper_from_python(tmp_path):
    """The snippet runs as it stands, but for fewer crystals and trees."""
    (snippet,) = (s for s in SNIPPETS if "comparison_table" in s)
    for large, small in {"crystals=300": "crystals=40", "fraction=0.25": "fraction=0.05"}.items():
        assert large in snippet
        snippet = snippet.replace(large, small)
    done = subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__':\n{textwrap.indent(snippet, '    ')}"],
        env=os.environ | {"EDIFF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "crystal system accuracy" in done.stdout, done.stderr[-2000:]
    assert (tmp_path / "data/runs/mine/models").is_dir()


@pytest.mark.parametrize("command", ["reproduce", "dataset", "test", "lab", "bench"])
def test_commands_are_targets_of_make(command):
    assert f"make {command}" in README
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_prose_of_the_paper_run():
    """The sentences below the table, and the table of what happens away from the grid."""
    run = results.read_results(Run("paper").published)
    one, ten = (run["crystal_system"][key] for key in ("one", "ten"))
    right, wrong = (
        [f"{100 * part['confidence'][key]:.0f}" for part in (one, ten)]
        for key in ("right", "wrong")
    )
    false = [100 * p["systems"]["orthorhombic"]["false_positive_rate"] for p in (one, ten)]
    seven = run["with_triclinic"]["one"]
    found = seven["systems"]["triclinic"]["sensitivity"]
    for sentence in (
        f"{right[0]} % where right and {wrong[0]} % where wrong for one pattern",
        f"{right[1]} and {wrong[1]} % for ten",
        f"False positives of orthorhombic: {false[0]:.0f} % (43 %) and {false[1]:.0f} % (29 %)",
        f"a seventh class {100 * seven['accuracy']:.1f} % (63 %), and {100 * found:.0f} % of the",
    ):
        assert sentence in TEXT
    for system in ("orthorhombic", "monoclinic"):
        given = run["space_group"]["ten"]["systems"][system]["accuracy_given_system"]
        assert f"{100 * given:.0f} % of the {system}" in TEXT
    cross = pd.DataFrame(run["protocols"]["cross"])
    keys = ["train", "train_rotation", "test", "test_rotation", "patterns"]
    accuracy = cross.set_index(keys)["accuracy"]
    fixed = ("grid", "fixed")
    for pair in (
        (*fixed, *fixed),
        (*fixed, "grid", "free"),
        (*fixed, "random", "free"),
        ("random", "free", "random", "free"),
    ):
        cells = [f"{100 * accuracy[(*pair, patterns)]:.1f} %" for patterns in ("one", "ten")]
        assert f"| {cells[0]} | {cells[1]} |" in TEXT
    behind = run["behind_detector"]["train_random"]
    assert f"| {100 * behind['one']:.1f} % | {100 * behind['ten']:.1f} % |" in TEXT


def test_the_paper_presets_forests_on_the_scan():
    scan = results.read_results(Run("paper").published)["scan"]
    rows = {(row["stage"], row["kind"]): row["cubic"] for row in scan["stages"]["forests"]}
    pixels, together = (100 * rows[(s, "single")] for s in ("pixel", "particle, together"))
    said = (
        f"{pixels:.1f} % of the single-domain positions and {together:.1f} % of the single-crystal"
    )
    assert said in TEXT
    assert f"a is {scan['lattice_median_error']['forests']:.3f} Å off" in TEXT


def test_table_of_the_scan():
    """Shares of the 256 x 256 scan, as its table has them."""
    scan = results.read_results(Run("gold").published)["scan"]
    stages = {
        name: {(row["stage"], row["kind"]): row for row in rows}
        for name, rows in scan["stages"].items()
    }
    for place, column in (
        (("filtered pixel", "single"), "cubic"),
        (("filtered pixel", "single"), "right"),
        (("filtered pixel", "twinned"), "cubic"),
        (("particle, together", "single"), "cubic"),
        (("particle, together", "twinned"), "cubic"),
    ):
        shares = [f"{100 * stages[name][place][column]:.1f} %" for name in stages]
        assert f"| {' | '.join(shares)} |" in TEXT
    errors = [f"{scan['lattice_median_error'][name]:.4f} Å" for name in stages]
    assert f"| {' | '.join(errors)} |" in TEXT
    assert f"| {100 * scan['flags']['flagged_at_false_alarms']:.1f} % |" in TEXT
    for found in scan["detection"].values():
        assert f"| {100 * found['recall']:.1f} % | {100 * found['precision']:.1f} % |" in TEXT


def test_table_of_the_predictor():
    """The model card of the predictor that ships is of its card, and so is the README's table."""
    folder = ROOT / "data" / "models" / "default"
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == format_card(read_card(folder))
    assert read_card(folder.parent) == read_card(folder)
    table = TEXT.split(HEAD)[1].split("\n\n")[0]
    for row in table.splitlines():
        assert row in text
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 30e6


def read_real(name: str) -> dict:
    """What the predictor says of a real crystal's frames, as `predict --draws 100 --json`."""
    return json.loads((ROOT / f"figures/predictor/{name}.json").read_text())


def test_table_of_real_crystals():
    found = [read_real(name)[part] for name in ("quartz", "glycine") for part in PARTS]
    rows = {
        "right crystal system": [f"{100 * own['accuracy']:.0f} %" for own in found],
        "mean confidence": [f"{100 * own['confidence']:.0f} %" for own in found],
        "right space group, among the first five": [
            f"{100 * own['space_group_top1']:.0f} %, {100 * own['space_group_top5']:.0f} %"
            for own in found
        ],
    }
    for label, cells in rows.items():
        assert f"| {label} | {' | '.join(cells)} |" in TEXT


def test_how_far_to_trust_it():
    """The README's own table, row by row, from the model card, a benchmark's page and a run."""
    card = read_card(ROOT / "data" / "models" / "default")

    def cells(*pairs: tuple[float, float]) -> str:
        return " | ".join(f"{100 * clean:.0f} %, {100 * seen:.0f} %" for clean, seen in pairs)

    for label, condition in (
        ("any orientation: clean, detector", ""),
        ("near zone axes: clean, detector", "zone"),
    ):
        names = ("zone", "zone_detector") if condition else ("clean", "detector")
        pairs = [tuple(card[name][key] for name in names) for key in ("one", "ten")]
        assert f"| {label} | {cells(*pairs)} | |\n" in README
    found = [read_real(name) for name in ("quartz", "glycine")]
    pairs = [tuple(own[part]["accuracy"] for own in found) for part in ("alone", "together")]
    assert f"| real crystals: quartz, glycine | {cells(*pairs)} | |\n" in README
    run = results.read_results(Run("paper").published)["crystal_system"]
    one, ten = (f"{100 * run[key]['accuracy']:.0f} %" for key in ("one", "ten"))
    row = f"| the paper's protocol, 22,740 crystals | {one} | {ten} | 67 %, 79 % |"
    assert row in README
    sure = min(card[name]["right_of_sure_one"] for name in ("clean", "detector", "zone"))
    assert f"{100 * sure:.0f} % or more are right" in README
    assert len(README) < 5000

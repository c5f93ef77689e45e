"""What the README claims is what the committed results say."""

from __future__ import annotations

import re

import pytest

from ediff_utils import results
from ediff_utils.comparison import summary_table
from ediff_utils.paths import ROOT, Run

README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Heading of each column, and the run that it stands for.
RUNS = {"embedded crystals": "quick", "2,000 real crystals": "quick-mp_experimental"}


def test_table_of_results():
    runs = {heading: results.read_results(Run(name)) for heading, name in RUNS.items()}
    assert results.to_markdown(summary_table(runs)) in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", ["reproduce", "test", "lab"])
def test_commands_are_targets_of_make(command):
    assert f"make {command}" in README
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

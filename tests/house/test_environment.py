"""environment.yml is written by hand; it and the constraints are held against pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ediff_utils.core.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = [*PROJECT["dependencies"], *EXTRAS["reproduce"], *EXTRAS["test"]]


def conda_requirements() -> dict[str, Requirement]:
    """Every requirement of environment.yml, those of pip too, by name."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    flat = [line for line in lines if isinstance(line, str) and line != "pip"]
    (pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    flat += [line for line in pip if not line.startswith("--")]
    return {r.name.lower(): r for r in map(Requirement, flat)}


def test_environment_asks_for_the_same_versions():
    conda = conda_requirements()
    python = conda.pop("python")
    assert python.specifier == SpecifierSet(PROJECT["requires-python"]) & SpecifierSet("<3.12")
    wanted: dict[str, SpecifierSet] = {}
    for requirement in map(Requirement, WANTED):
        name = requirement.name.lower()
        wanted[name] = wanted.get(name, SpecifierSet()) & requirement.specifier
    assert {name: r.specifier for name, r in conda.items()} == wanted


def test_environment_installs_the_project_itself():
    assert "--editable ." in (ROOT / "environment.yml").read_text()


@pytest.mark.parametrize("line", WANTED)
def test_constraints_pin_a_version_that_is_allowed_and_here(line):
    pins = {}
    for pin in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = pin.partition("==")
        pins[name.lower().replace("_", "-")] = version
    requirement = Requirement(line)
    name = requirement.name.lower()
    assert name in pins
    assert requirement.specifier.contains(pins[name])
    assert metadata.version(name) == pins[name]

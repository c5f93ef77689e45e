"""Imports run downwards and kernels know only arrays: the contracts hold, and notice a breach."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from ediff_utils.core.paths import ROOT

PACKAGES = ("ediff_utils", "ediff_solve")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sysconfig.get_path("scripts")) / "lint-imports"
    if not program.exists():
        pytest.skip("import-linter is not installed")
    return subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_the_contracts_hold():
    done = lint_imports(ROOT)
    assert " 0 broken" in done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("ediff_utils/paper/kernels/radial.py", "import pandas", "kernels know only arrays"),
        (
            "ediff_solve/lattice/kernels/search.py",
            "def f():\n    from sklearn.tree import DecisionTreeClassifier",
            "kernels know only arrays",
        ),
        (
            # through another module of the package
            "ediff_utils/bloch/kernels/packed.py",
            "from ediff_utils.core.estimates import estimate_rate\nimport pyarrow",
            "kernels know only arrays",
        ),
        (
            "ediff_utils/core/errors.py",
            "from ediff_utils.crystals.groups import SYSTEMS",
            "the paper's rooms import downwards",
        ),
        (
            "ediff_solve/frames/rings.py",
            "from ediff_solve.lattice.single import solve_pattern",
            "the solver's rooms import downwards",
        ),
        (
            "ediff_solve/predictor/few.py",
            "from ediff_solve.phases.nets import find_net",
            "the solver's rooms import downwards",
        ),
        (
            "ediff_utils/paper/votes.py",
            "def f():\n    from ediff_solve.lattice import solve_pattern",
            "the paper knows nothing of what goes beyond it",
        ),
        (
            "ediff_solve/lattice/bravais.py",
            "from ediff_solve.lattice.joint import solve_patterns",
            "no module imports itself by way of others",
        ),
        (
            "ediff_solve/predictor/evidence/rings.py",
            "from ediff_utils.paper.features import N_FEATURES",
            "the predictor's evidence does not change with the paper's features",
        ),
    ],
)
def test_a_breach_is_noticed(copy, file, line, contract):
    module = copy / file
    module.write_text(module.read_text() + f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout


# The solver has a room more, the phases of a scan: they need the predictor, and maps need them.
@pytest.mark.parametrize(("package", "most"), [("ediff_utils", 10), ("ediff_solve", 11)])
def test_few_rooms_and_no_prefixes(package, most):
    """Few entries at the top; inside a folder nothing repeats the folder's name."""
    top = [p for p in (ROOT / package).iterdir() if p.name not in ("__pycache__", "py.typed")]
    assert len({p.stem for p in top}) <= most
    repeated = [
        str(path)
        for path in (ROOT / package).rglob("*.py")
        if path.stem.startswith(path.parent.name + "_")
        or path.stem.startswith(path.parent.name.removesuffix("s") + "_")
    ]
    assert not repeated


def test_compiled_code_lives_in_rooms_named_for_it():
    compiled = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "from numba import" in path.read_text() and path.parent.name != "kernels"
    ]
    assert not compiled


@pytest.mark.parametrize(("room", "most"), [("ediff_utils", 12_000), ("ediff_utils/paper", 4_500)])
def test_the_paper_stays_thin(room, most):
    """Someone who comes for the paper can still read it: lines, docstrings and blank ones too."""
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / room).rglob("*.py"))
    assert lines < most

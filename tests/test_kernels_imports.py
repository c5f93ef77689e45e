"""The kernels know only arrays: the import contract holds, and would notice a breach."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "kernels know only arrays"


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
    shutil.copytree(
        ROOT / "ediff_utils",
        tmp_path / "ediff_utils",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path


def test_the_contract_holds():
    done = lint_imports(ROOT)
    assert f"{CONTRACT} KEPT" in done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "culprit"),
    [
        ("import pandas", "pandas"),
        ("from matplotlib import pyplot", "matplotlib"),
        ("def f():\n    from sklearn.tree import DecisionTreeClassifier", "sklearn"),
        # through another module of the package
        ("from ediff_utils.feature_files import INDEX", "pandas"),
    ],
)
def test_a_breach_is_noticed(copy, line, culprit):
    module = copy / "ediff_utils" / "kernels" / "radial.py"
    module.write_text(module.read_text() + f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{CONTRACT} BROKEN" in done.stdout
    assert f"ediff_utils.kernels is not allowed to import {culprit}" in done.stdout

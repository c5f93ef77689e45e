"""Every stage that keeps its results knows the code that makes them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys

import pytest

from ediff_solve.gold_scan.files import SCAN
from ediff_solve.predictor.training.examples import EXAMPLES
from ediff_solve.predictor.training.judging import ANSWERS
from ediff_utils.bloch.dataset.manifest import PATTERNS
from ediff_utils.core import made_from
from ediff_utils.core.made_from import Stage
from ediff_utils.core.paths import ROOT
from ediff_utils.crystals.materials_project import FETCHED
from ediff_utils.crystals.sources import CRYSTALS
from ediff_utils.paper.feature_files import FEATURES
from ediff_utils.paper.models import FORESTS
from ediff_utils.paper.predictions import TABLES

STAGES = (FETCHED, CRYSTALS, PATTERNS, FEATURES, FORESTS, TABLES, EXAMPLES, ANSWERS, SCAN)
PACKAGES = ("ediff_utils", "ediff_solve")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    root = tmp_path_factory.mktemp("copied")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def tree(copied, monkeypatch):
    """A copy of the packages that may be edited; what is edited is put back."""
    monkeypatch.setattr(made_from, "_ROOT", copied)
    before = {path: path.read_bytes() for path in copied.rglob("*.*")}
    made_from._read_module.cache_clear()
    yield copied
    for path, content in before.items():
        path.write_bytes(content)
    made_from._read_module.cache_clear()


def test_every_stage_is_here():
    """One that is defined elsewhere would be tested by nobody."""
    sources = [p for name in PACKAGES for p in (ROOT / name).rglob("*.py")]
    texts = [path.read_text() for path in sources if path.name != "made_from.py"]
    defined = [
        node.value
        for text in texts
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func).split(".")[-1] == "Stage"
    ]
    assert len(defined) == len(STAGES)


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("ediff_utils/crystals/embedded.py", {CRYSTALS}),
        ("ediff_utils/crystals/materials_project.py", {FETCHED, CRYSTALS}),
        ("ediff_utils/crystals/files.py", {CRYSTALS}),
        ("ediff_utils/crystals/symmetry.py", {CRYSTALS}),
        ("ediff_utils/crystals/crystal.py", {PATTERNS, TABLES, ANSWERS, SCAN}),
        ("ediff_utils/bloch/simulation.py", {PATTERNS, TABLES, SCAN}),
        ("ediff_utils/bloch/kernels/propagation.py", {PATTERNS, TABLES, SCAN}),
        ("ediff_utils/bloch/kernels/potential.py", {PATTERNS, TABLES, SCAN}),
        ("ediff_utils/bloch/orientations.py", {PATTERNS, TABLES, ANSWERS, SCAN}),
        ("ediff_utils/bloch/tables/lobato_2014.csv", {PATTERNS, TABLES, EXAMPLES, ANSWERS, SCAN}),
        ("ediff_utils/bloch/dataset/table.py", {PATTERNS, TABLES}),
        ("ediff_utils/bloch/dataset/reading.py", {FEATURES, FORESTS, TABLES, EXAMPLES, ANSWERS}),
        ("ediff_solve/detector/effects.py", {EXAMPLES, ANSWERS, SCAN}),
        ("ediff_utils/paper/features.py", {FEATURES, FORESTS, TABLES, SCAN}),
        ("ediff_utils/paper/kernels/radial.py", {FEATURES, FORESTS, TABLES, SCAN}),
        ("ediff_utils/paper/feature_files.py", {FEATURES, FORESTS, TABLES}),
        ("ediff_utils/paper/labels.py", {FORESTS, TABLES}),
        ("ediff_utils/paper/training.py", {FORESTS, TABLES}),
        ("ediff_solve/predictor/evidence/compute.py", {EXAMPLES, ANSWERS}),
        ("ediff_solve/lattice/kernels/search.py", {EXAMPLES, ANSWERS}),
        ("ediff_solve/lattice/bravais.py", {EXAMPLES, ANSWERS}),
        ("ediff_solve/gold_scan/render.py", {SCAN}),
        ("ediff_solve/gold_scan/truth.py", {SCAN}),
        # What asks the forests, draws, or runs the work, makes none of it.
        ("ediff_utils/paper/votes.py", {TABLES}),
        ("ediff_utils/paper/published.py", {TABLES}),
        ("ediff_utils/figures/votes.py", set()),
        ("ediff_utils/core/workers.py", set()),
        ("ediff_utils/core/made_from.py", set()),
        ("ediff_utils/bloch/dataset/writing.py", set()),
        ("ediff_utils/bloch/dataset/manifest.py", {TABLES}),
        ("ediff_solve/predictor/boosting.py", {ANSWERS}),
    ],
)
def test_an_edit_is_seen_by_the_stages_that_it_matters_to(tree, path, stages):
    before = {stage: stage.code() for stage in STAGES}
    text = (tree / path).read_text()
    more = "EDITED = 1\n" if path.endswith(".py") else text.splitlines()[-1]
    (tree / path).write_text(text + more)
    made_from._read_module.cache_clear()
    assert {stage for stage in STAGES if stage.code() != before[stage]} == stages


def test_what_is_imported_is_found():
    """The interpreter's own account of what a stage needs holds no module that was not found."""
    modules = [name for stage in STAGES for name in stage.modules]
    program = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name for name in shown.stdout.split() if name.split(".")[0] in PACKAGES}
    # Rooms are imported on the way to their modules; they hold a docstring.
    rooms = {name for name in loaded if (ROOT / name.replace(".", "/")).is_dir()}
    assert FEATURES.modules[0] in loaded
    assert loaded - rooms - made_from._NEUTRAL <= set(Stage("all", tuple(modules)).code())


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_comments_docstrings_and_annotations_do_not_count(tree, stage):
    before = stage.code()
    for name in before:
        path = tree.joinpath(*name.split("."))
        path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        path.write_text(ast.unparse(Stripped().visit(ast.parse(path.read_text()))))
    made_from._read_module.cache_clear()
    assert stage.code() == before


class Stripped(ast.NodeTransformer):
    """Takes off what does not count, as far as the code still means the same."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

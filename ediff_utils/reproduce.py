"""Run the notebooks, one after another, and collect what they recorded."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ediff_utils.bloch.dataset import checks, manifest, writing
from ediff_utils.core.errors import UserError, import_extra
from ediff_utils.core.paths import NOTEBOOKS, ROOT, Run, atomic_write
from ediff_utils.core.settings import (
    CrystalSettings,
    Preset,
    S,
    SimulationSettings,
    check,
    load_preset,
)
from ediff_utils.crystals import sources
from ediff_utils.crystals.sources import EMBEDDED
from ediff_utils.paper import results


def list_notebooks() -> list[Path]:
    """The numbered notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def name_run(preset: str | Path, crystals: str | None) -> str:
    """Name of a run: its preset, and its crystals where they replace the embedded ones.

    Other presets have no crystals that every user has, so that whatever they are given is theirs.
    """
    name = Path(preset).stem
    if crystals and load_preset(preset).get("crystals", EMBEDDED) == EMBEDDED:
        name += "-" + re.sub(r"[^A-Za-z0-9_]+", "-", Path(crystals).stem).strip("-")
    return name


def gather_parameters(
    preset: str | Path, crystals: str | None, overrides: Mapping[str, object]
) -> dict[str, object]:
    """Parameters of a run: the preset's, then those given by hand.

    ``preset`` is its name or the path of a YAML file; ``crystals`` overrides its source of
    crystals, a path counts from where the command is called. An unknown preset or parameter, or a
    value that does not fit, is a UserError.
    """
    values = load_preset(preset) | dict(overrides)
    if crystals:
        values["crystals"] = crystals
    for name in ("crystals", "bragg_file", "scan_file", "spots_file", "predictor"):
        # Notebooks run in the project's root, not where the user stands.
        given = values.get(name)
        if isinstance(given, str) and given and Path(given).exists():
            values[name] = str(Path(given).resolve())
    check(Preset, where="parameter ", **values)
    return values


def _check_declared(names: Iterable[str]) -> None:
    """Raise a UserError that names the first parameter that no notebook would look at."""
    # Here, since a dataset needs no notebooks and this takes a while.
    papermill = import_extra("papermill")
    declared = {name for path in list_notebooks() for name in papermill.inspect_notebook(str(path))}
    for name in names:
        if name not in declared:
            raise UserError(f"parameter {name}: no notebook has it; `ediff dataset` takes it")


def run_notebook(notebook: Path, run: Run, parameters: Mapping[str, object]) -> float:
    """Execute one notebook with those of the parameters that it declares; gives its wall time [s].

    The run keeps the executed copy. What the notebook raised as the user's mistake is a UserError.
    """
    papermill = import_extra("papermill")
    declared = papermill.inspect_notebook(str(notebook))
    own = {name: value for name, value in parameters.items() if name in declared}
    executed = run.notebooks / notebook.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=own | {"run_name": run.name},
            cwd=str(ROOT),
            progress_bar=False,
            stderr_file=sys.stderr,
        )
    except papermill.PapermillExecutionError as error:
        if error.ename == UserError.__name__:
            raise UserError(error.evalue) from None
        raise
    return time.perf_counter() - start


def reproduce(
    preset: str | Path = "quick",
    *,
    crystals: str | None = None,
    name: str | None = None,
    overrides: Mapping[str, object] | None = None,
    only: str = "",
) -> dict:
    """Run all notebooks at a preset and collect what ``results.json`` holds.

    For ``crystals`` and ``overrides`` see :func:`gather_parameters`; ``name`` is the run's, by
    default :func:`name_run`'s. Only the notebooks whose names start with ``only`` are run.
    """
    parameters = gather_parameters(preset, crystals, overrides or {})
    run = Run(name or name_run(preset, crystals))
    chosen = [path for path in list_notebooks() if path.name.startswith(only)]
    if not chosen:
        raise UserError(f"notebook '{only}': expected the start of a name such as 06_gold_scan")
    _check_declared(overrides or {})
    os.environ["EDIFF_PROGRESS"] = "terminal"
    for number, notebook in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {notebook.stem}", file=sys.stderr, flush=True)
        seconds = round(run_notebook(notebook, run, parameters), 1)
        results.record(run, f"timings.{notebook.stem.lower()}", {"seconds": seconds})
    return results.collect(run)


def publish(run: Run) -> Path:
    """Copy a run's figures, ``results.json`` and ``dataset.json`` to where they are committed.

    Gives that folder, :attr:`Run.published`; what the run has not made is left as it is there. A
    run that has made nothing yet is a UserError.
    """
    made = [*sorted(run.figures.glob("*.png")), run.results, run.dataset]
    made = [path for path in made if path.exists()]
    if not made:
        raise UserError(f"{run.data}: nothing to publish; it is made by make reproduce")
    for path in made:
        with atomic_write(run.published / path.name) as partial:
            shutil.copyfile(path, partial)
    return run.published


def make_dataset(
    run: Run,
    preset: str | Path,
    *,
    crystals: str | None = None,
    overrides: Mapping[str, object] | None = None,
    check_patterns: int = 0,
) -> dict[str, Any]:
    """Simulate the patterns of a run without its notebooks, as notebook 01 would.

    For ``crystals`` and ``overrides`` see :func:`gather_parameters`. With ``check_patterns`` the
    files are held against their checksums, and so many patterns against a dense
    eigen-decomposition. Gives :func:`ediff_utils.bloch.dataset.manifest.summarise`, as the run's
    ``dataset.json`` holds it.
    """
    values = gather_parameters(preset, crystals, overrides or {})
    start = time.perf_counter()
    chosen = sources.prepare_crystals(_part(CrystalSettings, values), run)
    spent = time.perf_counter() - start
    settings = _part(SimulationSettings, values)
    writing.simulate_dataset(chosen.table, settings, run.patterns, spent=spent)
    summary = manifest.summarise(run.patterns)
    if check_patterns:
        writing.verify(run.patterns)
        found = checks.compute_dataset_differences(run.patterns, check_patterns)
        summary["check"] = {
            "patterns": len(found),
            "difference": float(found["difference"].max()),
            "difference_strong": float(found["difference_strong"].max()),
            "missing": int(found["missing"].sum()),
            "by_system": found.groupby("crystal_system")["difference"].max().to_dict(),
        }
    with atomic_write(run.dataset) as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _part(kind: type[S], values: Mapping[str, Any]) -> S:
    return check(kind, **{name: values[name] for name in kind.model_fields if name in values})

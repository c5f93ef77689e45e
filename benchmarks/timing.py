"""What every benchmark process shares, in whichever environment it runs: no ediff_utils in here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def use_one_core() -> None:
    """One thread for BLAS, OpenMP and numba; only works before they are imported."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))


def measure(function: Callable[[], object], at_least: float = 0.5) -> float:
    """Processor time of a function, on one core the time it takes.

    Not the clock's: on a machine that does something else too, the shortest of many short runs
    escapes that and a run of seconds does not, which would flatter the faster of two.

    Parameters
    ----------
    function : callable
    at_least : float
        It is repeated for so long, up to 200 times, and at least three times [s].

    Returns
    -------
    float
        Shortest of the runs [s of processor time], after one that is not counted.
    """
    function()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < at_least and len(times) < 200):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def run_tasks(
    source: Path,
    target: Path,
    packages: tuple[str, ...],
    prepare: Callable[[dict, dict], tuple[Callable[[], Any], Callable[[Any], tuple[list, list]]]],
) -> None:
    """Time one pattern of each crystal in a file, as another library makes it.

    Parameters
    ----------
    source : Path
        JSON with ``energy`` [eV], ``thickness`` [angstrom], ``q_max`` and ``excitation_error_max``
        [1/angstrom], and ``crystals``: for each its ``material_id``, primitive ``lattice`` as rows
        [angstrom], ``numbers``, ``frac_coords`` and ``orientation``, whose columns are the
        pattern's axes in the crystal's frame, the beam along -z.
    target : Path
        JSON that is written: ``versions``, and in ``crystals`` for each its ``seconds``, ``beams``
        (000 among them), ``hkl`` and ``intensity`` [fractions of the incident beam].
    packages : tuple of str
        Whose versions are noted.
    prepare : callable
        Takes the settings and a crystal, does what is not counted, and returns the function that is
        timed and one that takes its result and gives Miller indices and intensities of all beams.
    """
    tasks = json.loads(source.read_text(encoding="utf-8"))
    crystals = {}
    for crystal in tasks["crystals"]:
        simulate, read = prepare(tasks, crystal)
        seconds = measure(simulate)
        hkl, intensity = read(simulate())
        crystals[crystal["material_id"]] = {
            "seconds": seconds,
            "beams": len(hkl),
            "hkl": hkl,
            "intensity": intensity,
        }
    versions = {name: version(name) for name in packages}
    target.write_text(json.dumps({"versions": versions, "crystals": crystals}), encoding="utf-8")

"""Kernels give the same bits whether a process compiles them or finds them in numba's cache.

Datasets are compared by checksum, and a run that goes on does so in another process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "helpers"
#: Prints a checksum of patterns: with and without inversion centre and absorption, thin and thick.
PROGRAM = """
import hashlib
from sample_crystals import make_crystal
from ediff_utils.bloch.dataset.table import pattern_table
from ediff_utils.core.settings import SimulationSettings

digest = hashlib.sha256()
for name in ("silicon", "zinc blende", "quartz (chiral)"):
    for options in (
        {"thicknesses": (50.0, 200.0, 400.0), "orientations": 12, "q_max": 1.6},
        {"thicknesses": (3000.0,), "orientations": 2, "q_max": 1.6},
        {"scattering": "lobato-absorptive", "orientations": 2, "q_max": 1.0},
    ):
        settings = SimulationSettings(sampling="random", intensity_floor=0.0, **options)
        table = pattern_table(make_crystal(name), settings)
        for column in ("direct_beam", "qx", "intensity", "h"):
            digest.update(str(table[column].to_pylist()).encode())
print(digest.hexdigest())
"""


def checksum(cache: Path) -> str:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_compiled_now_or_found_in_the_cache(tmp_path):
    fresh = checksum(tmp_path)
    assert list(tmp_path.rglob("*.nbc"))
    assert checksum(tmp_path) == fresh


def test_where_nothing_can_be_written(tmp_path):
    """Neither the package nor a home: compiled code lives as long as the process."""
    code = (
        "import os, tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "os.access = lambda *_: False\n"
        "import ediff_solve.lattice\n"
        "print(os.environ['NUMBA_CACHE_DIR'], os.path.isdir(os.environ['NUMBA_CACHE_DIR']))\n"
    )
    own = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True
    )
    folder, there = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert there == "True"
    assert not Path(folder).exists()

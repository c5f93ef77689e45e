"""Crystals, orientations and settings of the benchmarks, and the file of their results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import inversion_centre
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.settings import CrystalSettings, SimulationSettings
from ediff_utils.crystals import sources
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.symmetry import build_structure, standardise

#: Materials Project crystals of 116 to 787 beams; where a table lacks them, others of like size.
MATERIALS = ("mp-1072208", "mp-11281", "mp-20143", "mp-4387", "mp-570400")
#: Volumes of the embedded prototypes that stand in for them [cubic angstrom].
VOLUMES = (100.0, 200.0, 300.0, 450.0, 600.0)
#: All of those have an inversion centre, whose matrices are real; these have none.
WITHOUT_CENTRE = ("mp-1079620", "mp-606393")
VOLUMES_WITHOUT_CENTRE = (150.0, 300.0)
#: One pattern of 20 nm, every beam reported.
ONE = SimulationSettings(intensity_floor=0.0)
#: Spots below this fraction of the incident beam play no part in the accuracies.
FLOOR = 1e-3
#: Every benchmark writes its own keys of this file.
RESULTS = Path(__file__).parent / "results.json"


def _by_name(source: str, names: tuple[str, ...]) -> list[Crystal]:
    """Those crystals of a table; fewer where it lacks some."""
    table = pd.read_parquet(source, filters=[("material_id", "in", names)])
    table = table.drop_duplicates("material_id").set_index("material_id")
    found = []
    for name in [name for name in names if name in table.index]:
        cell = table.loc[name, ["lattice", "numbers", "frac_coords"]]
        row = standardise(build_structure(*cell), 0.1)
        found.append(Crystal.from_row(row | {"material_id": name}))
    return found


def _by_volume(source: str, volumes: tuple[float, ...], centred: bool) -> list[Crystal]:
    """Crystals of about those volumes, each once, with an inversion centre or without one."""
    settings = CrystalSettings(crystals=source, max_crystals=280)
    table = sources.load_crystals(settings, progress=False).table
    # Without Rb and Sr, whose scattering factors py4DSTEM has swapped.
    crystals = [
        Crystal.from_row(row) for _, row in table.iterrows() if not {37, 38} & set(row["numbers"])
    ]
    left = [crystal for crystal in crystals if (inversion_centre(crystal) is not None) == centred]
    chosen = []
    for volume in volumes:
        nearest = min(range(len(left)), key=lambda i: abs(left[i].volume - volume))
        chosen.append(left.pop(nearest))
    return chosen


def choose_crystals(source: str, centred: bool = True) -> list[Crystal]:
    """The benchmarks' crystals out of a table, or others of like volume where it lacks some.

    Parameters
    ----------
    source : str
        Parquet table, or "embedded".
    centred : bool
        The five that the figures to reach speak of, which all have an inversion centre, or two
        that have none.

    Returns
    -------
    list of Crystal
    """
    names = MATERIALS if centred else WITHOUT_CENTRE
    found = _by_name(source, names) if source.endswith(".parquet") else []
    if len(found) == len(names):
        return found
    return _by_volume(source, VOLUMES if centred else VOLUMES_WITHOUT_CENTRE, centred)


def choose_orientation() -> np.ndarray:
    """The orientation in which every crystal is simulated; columns are the pattern's axes."""
    return random_orientations(1, np.random.default_rng(1))[0]


def record(path: Path = RESULTS, **entries: object) -> None:
    """Write entries of ``results.json`` and keep those of other benchmarks."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with atomic_write(path) as partial:
        text = json.dumps(results | entries, indent=2, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")

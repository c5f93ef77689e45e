"""The file of spots that ships as an example: anatase, as a detector shows it.

The structure is the AFLOW library's (Mehl et al., Computational Materials Science 136, S1, 2017) as
pymatgen ships it. Orientations, thicknesses and what the detector does are drawn from one seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ediff_solve.detector.effects import DetectorSettings, apply_detector
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import prepare, simulate_orientation
from ediff_utils.core.paths import EXAMPLE, atomic_write
from ediff_utils.core.settings import CrystalSettings, SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.embedded import load_prototypes

#: Name of the prototype.
MINERAL = "A2B_tI12_141_e_a-TiO2"
#: Thicknesses are drawn between these [angstrom].
THICKNESSES = (150.0, 500.0)
#: Counts of the incident beam in one pattern.
BEAM_COUNTS = 2e5
#: Digits of positions and intensities in the file.
_POSITION, _INTENSITY = 4, 1


def simulate_example(patterns: int = 12, seed: int = 0) -> pd.DataFrame:
    """Spots of anatase at random orientations, behind the default detector.

    A row a spot: ``frame``, ``qx``, ``qy`` [1/angstrom] and ``intensity`` [counts]; the direct beam
    is among them, as spot finders have it.
    """
    prototypes, _ = load_prototypes(CrystalSettings().symprec)
    crystal = Crystal.from_row(next(p.row for p in prototypes if p.name == MINERAL))
    rng = np.random.default_rng(seed)
    orientations = random_orientations(patterns, rng)
    thicknesses = rng.uniform(*THICKNESSES, patterns)
    seen = []
    for orientation, thickness in zip(orientations, thicknesses, strict=True):
        settings = SimulationSettings(thicknesses=(float(thickness),))
        seen.append(simulate_orientation(prepare(crystal, settings), orientation)[0])
    offsets = np.cumsum([0, *(len(one.qx) for one in seen)])
    qx, qy, intensity = (
        np.concatenate([getattr(p, name) for p in seen]) for name in ("qx", "qy", "intensity")
    )
    groups, keys = np.full(patterns, MINERAL), np.arange(patterns)
    found = apply_detector(qx, qy, intensity, offsets, groups, keys, DetectorSettings(), seed)
    tables = []
    for n, one in enumerate(seen):
        own = slice(found.offsets[n], found.offsets[n + 1])
        # The direct beam is where the spot finder takes the centre to be, or next to it.
        columns = {
            "qx": np.append(found.centre[n, 0], found.qx[own]),
            "qy": np.append(found.centre[n, 1], found.qy[own]),
            "intensity": BEAM_COUNTS * np.append(one.direct_beam, found.intensity[own]),
        }
        tables.append(pd.DataFrame({"frame": n, **columns}))
    table = pd.concat(tables, ignore_index=True)
    return table.round({"qx": _POSITION, "qy": _POSITION, "intensity": _INTENSITY})


def write_example(path: Path = EXAMPLE) -> Path:
    """Write the example again, as running this module does."""
    table = simulate_example()
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    return Path(path)


if __name__ == "__main__":
    print(write_example())

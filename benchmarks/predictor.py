"""How long a predictor takes over one pattern and over ten together, its model loaded.

    python benchmarks/predictor.py [--model default] [--crystals 40] [--patterns FOLDER]

Prints `ms_one` and `ms_ten`, as a model card has them: medians over patterns of many crystals at
random orientations, as simulated and as the detector shows them, [ms of processor time] on one
core. Ten patterns are solved together. Without --patterns, the dataset of a run at random
orientations, embedded crystals are simulated.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from ediff_solve.detector.effects import apply_detector
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.training.card import TEN
from ediff_solve.predictor.training.examples import DETECTORS
from ediff_solve.predictor.training.trials import measure_times
from ediff_utils.bloch.dataset.reading import read_patterns, spots
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import prepare, simulate_orientation
from ediff_utils.core.settings import CrystalSettings, SimulationSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.sources import load_crystals


def simulated(count: int, seed: int) -> Iterator[tuple[str, list[tuple]]]:
    """Names of embedded crystals, and ten patterns of each."""
    rng = np.random.default_rng(seed)
    table = load_crystals(CrystalSettings(max_crystals=count, seed=seed), progress=False).table
    for _, row in table.iterrows():
        bloch = prepare(Crystal.from_row(row), SimulationSettings())
        found = [simulate_orientation(bloch, one)[0] for one in random_orientations(TEN, rng)]
        yield row["material_id"], [(p.qx, p.qy, p.intensity) for p in found]


def stored(folder: Path, count: int) -> Iterator[tuple[str, list[tuple]]]:
    """Names of a dataset's crystals, and the first ten patterns of each."""
    table = read_patterns(folder, columns=["material_id", "qx", "qy", "intensity"])
    *columns, offsets = spots(table)
    names = np.array(table["material_id"].to_pylist())
    for name in list(dict.fromkeys(names))[:count]:
        rows = np.flatnonzero(names == name)[:TEN]
        yield (
            name,
            [tuple(c[offsets[j] : offsets[j + 1]].astype(float) for c in columns) for j in rows],
        )


def seen(name: str, patterns: list[tuple], condition: str, seed: int) -> list[tuple]:
    """The patterns as a condition shows them."""
    offsets = np.cumsum([0, *(len(p[0]) for p in patterns)])
    columns = (np.concatenate(column) for column in zip(*patterns, strict=True))
    groups, keys = np.full(len(patterns), name), np.arange(len(patterns))
    found = apply_detector(*columns, offsets, groups, keys, DETECTORS[condition], seed)
    own = [slice(*found.offsets[j : j + 2]) for j in range(len(patterns))]
    return [(found.qx[o], found.qy[o], found.intensity[o]) for o in own]


@click.command(help=__doc__)
@click.option("--model", default="default", show_default=True, help="Name or folder of one.")
@click.option("--crystals", default=40, show_default=True, help="How many.")
@click.option("--patterns", type=click.Path(path_type=Path), help="A dataset's folder.")
@click.option("--seed", default=0, show_default=True)
def main(model: str, crystals: int, patterns: Path | None, seed: int) -> None:
    predictor = Predictor.load(model)
    source = stored(patterns, crystals) if patterns else simulated(crystals, seed)
    chosen = [(name, each) for name, each in source if len(each) == TEN]
    found = {}
    for condition in DETECTORS:
        shown = [seen(name, each, condition, seed) for name, each in chosen]
        found[condition] = measure_times(predictor, shown) | {"crystals": len(shown)}
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

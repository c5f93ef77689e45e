"""Time of one pattern of 20 nm against the number of beams and the volume of the cell, one core.

    python benchmarks/scaling.py [--crystals table.parquet]

Half of the crystals have an inversion centre, whose matrices are real, half have none. Writes
``scaling`` into ``benchmarks/results.json`` and draws ``figures/scaling.png``.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import click
import numpy as np
import pandas as pd
from cases import ONE, choose_orientation, record

from ediff_solve.figures.scaling import FIT_FROM, compute_power_law, figure_scaling, read_scaling
from ediff_utils.bloch.simulation import find_beams, inversion_centre, prepare, simulate_orientation
from ediff_utils.core.paths import FIGURES
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.sources import load_crystals
from ediff_utils.figures.style import save_figure

#: Crystals of a table that are looked through for ones of every volume.
DRAWN = 600
#: Largest volume [cubic angstrom].
LARGEST = 1000.0


def spread(volumes: pd.Series, number: int) -> list:
    """Labels of crystals whose volumes are spread evenly in logarithm, each once.

    Parameters
    ----------
    volumes : Series
        [cubic angstrom]
    number : int
        How many, or all where there are fewer.

    Returns
    -------
    list
    """
    left = np.log(volumes)
    chosen = []
    for target in np.linspace(left.min(), left.max(), min(number, len(left))):
        chosen.append((left - target).abs().idxmin())
        left = left.drop(chosen[-1])
    return chosen


def choose_spread(source: str, number: int) -> list[tuple[Crystal, bool]]:
    """Crystals of all volumes, and whether each has an inversion centre; half of them have."""
    settings = CrystalSettings(crystals=source, max_crystals=DRAWN, max_volume=LARGEST)
    table = load_crystals(settings, progress=False).table
    crystals = {label: Crystal.from_row(row) for label, row in table.iterrows()}
    centred = pd.Series({label: inversion_centre(c) is not None for label, c in crystals.items()})
    return [
        (crystals[label], kind)
        for kind in (True, False)
        for label in spread(table["volume"][centred == kind], number // 2)
    ]


def time_crystal(crystal: Crystal, centrosymmetric: bool, orientation: np.ndarray) -> dict:
    """Time one pattern."""
    bloch = prepare(crystal, ONE)
    return {
        "material_id": crystal.material_id,
        "beams": len(find_beams(bloch, orientation)[0]),
        "volume": crystal.volume,
        "centrosymmetric": centrosymmetric,
        "seconds": timing.measure(lambda: simulate_orientation(bloch, orientation), 0.3),
    }


@click.command()
@click.option("--crystals", default="embedded", help="a Parquet table or folder that holds them")
@click.option("--number", default=60, help="crystals that are timed")
def main(crystals: str, number: int) -> None:
    """Time crystals of all volumes, write results.json and draw figures/scaling.png."""
    orientation = choose_orientation()
    records = [
        time_crystal(crystal, kind, orientation)
        for crystal, kind in choose_spread(crystals, number)
    ]
    record(scaling=records)
    table = read_scaling()
    columns = ["material_id", "beams", "volume", "centrosymmetric", "milliseconds"]
    click.echo(table[columns].to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    for kind, rows in table[table["beams"] >= FIT_FROM].groupby("centrosymmetric"):
        factor, exponent = compute_power_law(rows["beams"], rows["milliseconds"])
        name = "with" if kind else "without"
        law = f"{factor:.2e} ms x beams^{exponent:.2f} from {FIT_FROM} beams"
        click.echo(f"{name} inversion centre: {law}")
    click.echo(save_figure(figure_scaling(table), FIGURES / "scaling.png"))


if __name__ == "__main__":
    main()

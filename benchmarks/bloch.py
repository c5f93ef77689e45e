"""Our Bloch waves against py4DSTEM's, on the same beams, one core, in one run.

    python benchmarks/bloch.py [--crystals table.parquet]

Prints, for each crystal, how many times faster one pattern of 20 nm, a series of 100 thicknesses to
200 nm, and the structure factors are, with the largest difference of any intensity to a dense
eigen-decomposition beside it, and writes ``benchmarks/results.json``.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import contextlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd
from py4DSTEM.process.diffraction import Crystal as OtherCrystal

from ediff_utils import structures
from ediff_utils.crystal import Crystal
from ediff_utils.kernels.reference import exit_wave_dense
from ediff_utils.orientations import random_orientations
from ediff_utils.paths import atomic_write
from ediff_utils.settings import CrystalSettings, SimulationSettings
from ediff_utils.simulation import BlochCrystal, find_beams, prepare, simulate_orientation
from ediff_utils.structures.symmetry import build_structure, standardise

#: Materials Project crystals of 122 to 781 beams; where a table lacks them, others of like size.
MATERIALS = ("mp-1072208", "mp-11281", "mp-20143", "mp-4387", "mp-570400")
#: Volumes of the embedded prototypes that stand in for them [cubic angstrom].
VOLUMES = (100.0, 200.0, 300.0, 450.0, 600.0)
ONE = SimulationSettings(intensity_floor=0.0)
SERIES = ONE.model_copy(update={"thicknesses": tuple(np.arange(20.0, 2001.0, 20.0))})


def choose_crystals(source: str) -> list[Crystal]:
    """The benchmark's crystals out of a table, or embedded ones of like volume."""
    if source != "embedded":
        table = pd.read_parquet(source, filters=[("material_id", "in", MATERIALS)])
        cells = table[["lattice", "numbers", "frac_coords"]].itertuples(index=False)
        rows = [standardise(build_structure(*cell), 0.1) for cell in cells]
        return [
            Crystal.from_row(row | {"material_id": name})
            for row, name in zip(rows, table["material_id"], strict=True)
        ]
    table = structures.load_crystals(CrystalSettings(max_crystals=280), progress=False).table
    # Without Rb and Sr, whose scattering factors py4DSTEM has swapped.
    plain = table[[not {37, 38} & set(numbers) for numbers in table["numbers"]]]
    rows = [(plain["volume"] - volume).abs().idxmin() for volume in VOLUMES]
    return [Crystal.from_row(row) for _, row in plain.loc[rows].iterrows()]


def measure(function: Callable[[], object], at_least: float = 0.5) -> float:
    """Shortest of several runs [s], after one that is not counted."""
    function()
    times: list[float] = []
    while sum(times) < at_least and len(times) < 200:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def build_other(crystal: Crystal) -> OtherCrystal:
    """py4DSTEM's crystal with its structure factors, couplings between outer beams included."""
    other = OtherCrystal(crystal.frac_coords, crystal.numbers, crystal.lattice)
    other.setup_diffraction(ONE.energy)
    with contextlib.redirect_stdout(io.StringIO()):
        other.calculate_dynamical_structure_factors(
            ONE.energy, "Lobato", k_max=2 * ONE.q_max, tol_structure_factor=-1
        )
    return other


def other_pattern(other: OtherCrystal, orientation: np.ndarray, thicknesses: list[float]) -> object:
    """py4DSTEM's pattern from the same beams, their selection included as in ours."""
    beams = other.generate_diffraction_pattern(
        orientation_matrix=orientation,
        sigma_excitation_error=ONE.excitation_error_max / 3,
        tol_excitation_error_mult=3,
        tol_intensity=-1,
        k_max=ONE.q_max,
    )
    return other.generate_dynamical_diffraction_pattern(
        beams, thickness=thicknesses, zone_axis_cartesian=orientation[:, 2]
    )


def dense_difference(bloch: BlochCrystal, orientation: np.ndarray, floor: float = 1e-3) -> float:
    """Largest difference of a spot above ``floor`` to the dense solution, over all thicknesses."""
    index, matrix = find_beams(bloch, orientation)
    start = np.zeros(len(index))
    start[0] = 1
    patterns = simulate_orientation(bloch, orientation)
    worst = 0.0
    for pattern in patterns[:: max(1, len(patterns) // 4)]:
        dense = np.abs(exit_wave_dense(matrix, start, pattern.thickness)) ** 2
        strong = dense[1:] > floor
        worst = max(worst, float(np.abs(pattern.intensity - dense[1:])[strong].max(initial=0)))
    return worst


def compare(crystal: Crystal) -> dict[str, float]:
    """Time one crystal both ways."""
    orientation = random_orientations(1, np.random.default_rng(1))[0]
    one, series = prepare(crystal, ONE), prepare(crystal, SERIES)
    other = build_other(crystal)
    ours = {
        "one": measure(lambda: simulate_orientation(one, orientation)),
        "series": measure(lambda: simulate_orientation(series, orientation)),
        "structure_factors": measure(lambda: prepare(crystal, ONE)),
    }
    theirs = {
        "one": measure(lambda: other_pattern(other, orientation, [200.0])),
        "series": measure(lambda: other_pattern(other, orientation, list(SERIES.thicknesses))),
        "structure_factors": measure(lambda: build_other(crystal)),
    }
    return {
        "beams": len(find_beams(one, orientation)[0]),
        "volume": crystal.volume,
        "one_ms": 1e3 * ours["one"],
        **{f"{name}_times_faster": theirs[name] / ours[name] for name in ours},
        "max_intensity_error": max(
            dense_difference(one, orientation), dense_difference(series, orientation)
        ),
    }


@click.command()
@click.option("--crystals", default="embedded", help="a Parquet table that holds the crystals")
def main(crystals: str) -> None:
    """Compare with py4DSTEM and write benchmarks/results.json."""
    rows = {crystal.material_id: compare(crystal) for crystal in choose_crystals(crystals)}
    table = pd.DataFrame(rows).T
    click.echo(table.to_string(float_format=lambda x: f"{x:.3g}"))
    names = ("one", "series", "structure_factors")
    means = {n: float(np.exp(np.log(table[f"{n}_times_faster"]).mean())) for n in names}
    results = {
        "bloch_one_vs_py4dstem": means["one"],
        "bloch_series_vs_py4dstem": means["series"],
        "structure_factors_vs_py4dstem": means["structure_factors"],
        "max_intensity_error": float(table["max_intensity_error"].max()),
        "crystals": {name: dict(row) for name, row in table.iterrows()},
    }
    with atomic_write(Path(__file__).parent / "results.json") as partial:
        partial.write_text(json.dumps(results, indent=2) + "\n")
    click.echo({name: results[name] for name in list(results)[:4]})


if __name__ == "__main__":
    main()

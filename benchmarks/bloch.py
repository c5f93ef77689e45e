"""Our Bloch waves against py4DSTEM's, abTEM's and quantem's, one core, in one run.

    python benchmarks/bloch.py [--crystals table.parquet]

Prints, for each crystal, how many times faster one pattern of 20 nm is than each of them makes it,
and against py4DSTEM also a series of 100 thicknesses to 200 nm and the structure factors, with the
largest difference of any intensity to a dense eigen-decomposition and to theirs beside it. Writes
its keys of ``benchmarks/results.json``. abTEM and quantem need numpy 2 and run in environments of
their own, which ``make bench`` sets up.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pandas as pd
from cases import FLOOR, ONE, choose_crystals, choose_orientation, record
from with_py4dstem import build_other, other_intensities, other_pattern

from ediff_utils.bloch.dataset.checks import dense_intensities
from ediff_utils.bloch.simulation import (
    BlochCrystal,
    compute_spots,
    find_beams,
    prepare,
    simulate_orientation,
)
from ediff_utils.core.paths import ROOT, require
from ediff_utils.crystals.crystal import Crystal

SERIES = ONE.model_copy(update={"thicknesses": tuple(np.arange(20.0, 2001.0, 20.0))})
#: Peers in environments of their own, each with a script ``with_<name>.py`` beside this one.
APART = ("abtem", "quantem")
#: Times faster than py4DSTEM that are averaged, and their names in the results.
AVERAGED = {
    "one_vs_py4dstem": "bloch_one_vs_py4dstem",
    "series_vs_py4dstem": "bloch_series_vs_py4dstem",
    "structure_factors_vs_py4dstem": "structure_factors_vs_py4dstem",
    "one_vs_abtem": "bloch_one_vs_abtem",
    "one_vs_quantem": "bloch_one_vs_quantem",
}
#: Miller indices of the primitive cell to fractions of the incident beam.
Intensities = dict[tuple[int, int, int], float]


def run_apart(
    name: str, crystals: list[Crystal], orientation: np.ndarray, environments: Path
) -> dict:
    """Time a peer in its own environment.

    Parameters
    ----------
    name : str
        Of the peer and of its environment.
    crystals : list of Crystal
    orientation : ndarray, shape (3, 3)
    environments : Path
        Folder of the environments.

    Returns
    -------
    dict
        See :func:`timing.run_tasks`.
    """
    python = require(environments / name / "bin" / "python", "make bench")
    tasks = {
        "energy": ONE.energy,
        "thickness": ONE.thicknesses[0],
        "q_max": ONE.q_max,
        "excitation_error_max": ONE.excitation_error_max,
        "crystals": [
            {
                "material_id": crystal.material_id,
                "lattice": crystal.lattice.tolist(),
                "numbers": crystal.numbers.tolist(),
                "frac_coords": crystal.frac_coords.tolist(),
                "orientation": orientation.tolist(),
            }
            for crystal in crystals
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "tasks.json", Path(folder) / "times.json"
        source.write_text(json.dumps(tasks), encoding="utf-8")
        script = Path(__file__).with_name(f"with_{name}.py")
        subprocess.run([python, script, source, target], check=True)
        return json.loads(target.read_text(encoding="utf-8"))


def our_intensities(bloch: BlochCrystal, orientation: np.ndarray) -> Intensities:
    """Intensities of one pattern by Miller indices of the primitive cell, without 000."""
    beam, intensity, _, _ = compute_spots(bloch, orientation, ONE.thicknesses)
    keys = map(tuple, bloch.hkl[beam].tolist())
    return dict(zip(keys, intensity.tolist(), strict=True))


def largest_difference(ours: Intensities, theirs: Intensities) -> float:
    """Largest difference of a spot that both have, above the floor in either."""
    shared = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
    return max((abs(a - b) for a, b in shared if max(a, b) > FLOOR), default=0.0)


def dense_difference(bloch: BlochCrystal, orientation: np.ndarray) -> float:
    """Largest difference of a spot above the floor to the dense solution, over the thicknesses."""
    patterns = simulate_orientation(bloch, orientation)
    worst = 0.0
    for pattern in patterns[:: max(1, len(patterns) // 4)]:
        dense = dense_intensities(bloch, orientation, pattern.thickness)[1][1:]
        difference = np.abs(pattern.intensity - dense)[dense > FLOOR]
        worst = max(worst, float(difference.max(initial=0)))
    return worst


def compare(crystal: Crystal, orientation: np.ndarray, apart: dict[str, dict]) -> dict[str, float]:
    """Time one crystal by us and by py4DSTEM, and hold both against what was timed apart."""
    one, series = prepare(crystal, ONE), prepare(crystal, SERIES)
    other = build_other(crystal, ONE)
    thicknesses = list(SERIES.thicknesses)
    ours = {
        "one": timing.measure(lambda: simulate_orientation(one, orientation)),
        "series": timing.measure(lambda: simulate_orientation(series, orientation)),
        "structure_factors": timing.measure(lambda: prepare(crystal, ONE)),
    }
    theirs = {
        "one": timing.measure(lambda: other_pattern(other, orientation, [200.0], ONE)),
        "series": timing.measure(lambda: other_pattern(other, orientation, thicknesses, ONE)),
        "structure_factors": timing.measure(lambda: build_other(crystal, ONE)),
    }
    spots = our_intensities(one, orientation)
    peer_spots = {"py4dstem": other_intensities(other, orientation, ONE)}
    row = {
        "beams": len(find_beams(one, orientation)[0]),
        "volume": crystal.volume,
        "one_ms": 1e3 * ours["one"],
        **{f"{name}_vs_py4dstem": theirs[name] / ours[name] for name in ours},
    }
    for name, times in apart.items():
        result = times["crystals"][crystal.material_id]
        row[f"one_vs_{name}"] = result["seconds"] / ours["one"]
        keys = map(tuple, result["hkl"])
        peer_spots[name] = dict(zip(keys, result["intensity"], strict=True))
    for name, intensities in peer_spots.items():
        intensities.pop((0, 0, 0), None)
        row[f"beams_{name}"] = len(intensities) + 1
        row[f"difference_to_{name}"] = largest_difference(spots, intensities)
    row["max_intensity_error"] = max(
        dense_difference(one, orientation), dense_difference(series, orientation)
    )
    return row


def average(table: pd.DataFrame) -> dict[str, float]:
    """Geometric means over the crystals, which are the columns, under the results' names."""
    return {key: float(np.exp(np.log(table.loc[name]).mean())) for name, key in AVERAGED.items()}


@click.command()
@click.option("--crystals", default="embedded", help="a Parquet table that holds the crystals")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    default=ROOT / ".venv-bench",
    help="folder of the environments of abTEM and quantem",
)
def main(crystals: str, environments: Path) -> None:
    """Compare with py4DSTEM, abTEM and quantem and write benchmarks/results.json."""
    orientation = choose_orientation()
    chosen = {kind: choose_crystals(crystals, kind) for kind in (True, False)}
    every = [*chosen[True], *chosen[False]]
    apart = {name: run_apart(name, every, orientation, environments) for name in APART}
    tables = {}
    for kind, some in chosen.items():
        rows = {crystal.material_id: compare(crystal, orientation, apart) for crystal in some}
        tables[kind] = pd.DataFrame(rows)
        click.echo(f"{'with' if kind else 'without'} inversion centre")
        click.echo(tables[kind].to_string(float_format=lambda x: f"{x:.3g}"))
    means = average(tables[True])
    worst = max(float(table.loc["max_intensity_error"].max()) for table in tables.values())
    ours = {name: version(name) for name in ("ediff-utils", "py4dstem", "numpy", "numba")}
    record(
        **means,
        max_intensity_error=worst,
        crystals=tables[True].to_dict(),
        without_inversion_centre=average(tables[False]) | {"crystals": tables[False].to_dict()},
        versions={"ediff_utils": ours, **{name: apart[name]["versions"] for name in APART}},
    )
    click.echo("geometric means of those with inversion centre, times faster")
    for name, value in means.items():
        click.echo(f"  {name:32s} {value:8.1f}")
    click.echo(f"largest difference to a dense eigen-decomposition: {worst:.1e}")
    if worst > 1e-5:
        sys.exit("Error: expected a largest difference below 1e-5")


if __name__ == "__main__":
    main()

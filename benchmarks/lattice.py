"""How often the lattice solver finds a crystal's cell from ten simulated patterns, and how fast.

    python benchmarks/lattice.py --patterns FOLDER --crystals crystals.parquet [--count 100]

Prints a Markdown table: clean spots, spots with errors of position and intensity of which the weak
ones are lost, and what the detector protocol leaves, with errors of scale, centre and ellipse;
triclinic crystals and others apart. Runs on one core.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from ediff_solve.detector.effects import CLEAN, DetectorSettings, apply_detector
from ediff_solve.lattice import find_bravais, same_lattice, solve_pattern, solve_patterns
from ediff_utils.bloch.dataset.reading import read_patterns, spots

#: Metric deviation up to which a tabulated cell has a symmetry: its rounding.
TABLE_TOLERANCE = 1e-4
#: Two cells are the same within this, beside the error of the scale, which nothing tells.
SAME_CELL = 0.01


@dataclass(frozen=True)
class Seen:
    """What is left of the spots.

    Parameters
    ----------
    name : str
    detector : DetectorSettings
    free_distortion : bool
        Whether the solver looks for centres and an ellipse.
    """

    name: str
    detector: DetectorSettings
    free_distortion: bool = False

    def apply(self, name: str, patterns: list[tuple], seed: int) -> list[tuple]:
        """Spots of one crystal's patterns, qx, qy and intensity, as they are seen."""
        offsets = np.concatenate([[0], np.cumsum([len(p[0]) for p in patterns])])
        columns = (np.concatenate(column) for column in zip(*patterns, strict=True))
        groups, keys = np.full(len(patterns), name), np.arange(len(patterns))
        found = apply_detector(*columns, offsets, groups, keys, self.detector, seed)
        own = [slice(*found.offsets[j : j + 2]) for j in range(len(patterns))]
        return [(found.qx[o], found.qy[o], found.intensity[o]) for o in own]


SIGHTS = (
    Seen("clean", CLEAN),
    Seen(
        "noise",
        CLEAN.model_copy(
            update={"position_noise": 0.003, "intensity_noise": 0.2, "dynamic_range": 1e-3}
        ),
    ),
    Seen("detector", DetectorSettings(), free_distortion=True),
)


def read_crystals(folder: Path, crystals: Path, count: int) -> Iterator[tuple[pd.Series, list]]:
    """Rows of the crystals' table and the patterns of each crystal."""
    table = read_patterns(folder, columns=["material_id", "qx", "qy", "intensity"])
    qx, qy, intensity, offsets = spots(table)
    names = np.array(table["material_id"].to_pylist())
    rows = pd.read_parquet(crystals).set_index("material_id")
    for name in list(dict.fromkeys(names))[:count]:
        patterns = [
            tuple(v[offsets[j] : offsets[j + 1]].astype(float) for v in (qx, qy, intensity))
            for j in np.flatnonzero(names == name)
        ]
        yield rows.loc[name], patterns


def measure(row: pd.Series, patterns: list[tuple], seen: Seen) -> dict[str, float]:
    """One crystal's results."""
    lattice = np.array(row["lattice"], dtype=float).reshape(3, 3)
    truth = find_bravais(lattice, tolerance=TABLE_TOLERANCE)
    start = time.process_time()
    for pattern in patterns:
        solve_pattern(*pattern)
    single = (time.process_time() - start) / len(patterns)
    start = time.process_time()
    found = solve_patterns(patterns, free_distortion=seen.free_distortion)
    result = {"single": single, "joint": time.process_time() - start}
    lengths = np.sort(truth.parameters[:3])
    off = np.full(3, np.inf)
    if found:
        off = np.abs(np.sort(found[0].bravais.parameters[:3]) - lengths)
        direct = np.linalg.inv(found[0].reciprocal).T
        tolerance = SAME_CELL + seen.detector.scale_error
        result["right"] = same_lattice(direct, lattice, tolerance)
        result["symmetry"] = found[0].bravais.symbol == truth.symbol
    defaults = {"right": False, "symmetry": False}
    return defaults | result | {"error": np.median(off), "relative": np.median(off / lengths)}


def summarise(name: str, kind: str, rows: pd.DataFrame) -> dict[str, object]:
    """One line of the table."""
    return {
        "spots": name,
        "crystals": f"{len(rows)} {kind}",
        "right cell": f"{rows['right'].mean():.0%}",
        "right Bravais lattice": f"{rows['symmetry'].mean():.0%}",
        "median error of a, b, c [Å]": f"{rows['error'].median():.2g}",
        "relative": f"{rows['relative'].median():.2%}",
        "one pattern [ms]": f"{1e3 * rows['single'].median():.1f}",
        "all patterns [ms]": f"{1e3 * rows['joint'].median():.0f}",
        "all patterns, mean [ms]": f"{1e3 * rows['joint'].mean():.0f}",
    }


@click.command(help=__doc__)
@click.option("--patterns", type=click.Path(path_type=Path), required=True)
@click.option("--crystals", type=click.Path(path_type=Path), required=True)
@click.option("--count", default=100, show_default=True, help="Crystals.")
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
def main(patterns: Path, crystals: Path, count: int, seed: int) -> None:
    lines = []
    chosen = list(read_crystals(patterns, crystals, count))
    # Compiles, or reads what is compiled.
    solve_patterns(chosen[0][1])
    for seen in SIGHTS:
        rows = pd.DataFrame(
            [
                measure(row, seen.apply(str(row.name), each, seed), seen)
                | {"triclinic": row["crystal_system"] == "triclinic"}
                for row, each in chosen
            ]
        )
        for kind, part in (
            ("not triclinic", rows[~rows["triclinic"]]),
            ("triclinic", rows[rows["triclinic"]]),
        ):
            if len(part):
                lines.append(summarise(seen.name, kind, part))
    click.echo(_markdown(lines))


def _markdown(lines: list[dict[str, object]]) -> str:
    cells = [list(lines[0]), ["---"] * len(lines[0]), *(list(line.values()) for line in lines)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


if __name__ == "__main__":
    main()

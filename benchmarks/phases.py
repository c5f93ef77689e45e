"""How many phases of simulated scans are found blind, how many are false, where, and how fast.

    python benchmarks/phases.py [--crystals crystals.parquet] [--checkpoint phases.json]

Ten mixtures of two to four phases whose crystals are drawn from the table, or from the embedded
ones; two of them with more noise; and scans in which there is no phase. Writes ``phases`` into
``benchmarks/results.json``. Runs on one core; what a checkpoint has is not measured again.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import click
import numpy as np

from ediff_solve.detector.settings import DetectorSettings
from ediff_solve.lattice import find_bravais, same_lattice
from ediff_solve.phases import mixtures
from ediff_solve.phases.assigning import ROTATION, compute_misorientation
from ediff_solve.phases.scan import ScanPhases, find_phases
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals import sources
from ediff_utils.crystals.crystal import Crystal

#: Crystal systems of each mixture.
MIXTURES = (
    ("cubic", "hexagonal"),
    ("tetragonal", "orthorhombic", "cubic"),
    ("monoclinic", "trigonal"),
    ("cubic", "orthorhombic", "hexagonal", "tetragonal"),
    ("monoclinic", "triclinic", "cubic"),
    ("orthorhombic", "monoclinic"),
    ("cubic", "trigonal", "monoclinic"),
    ("tetragonal", "hexagonal"),
    ("triclinic", "orthorhombic", "cubic"),
    ("monoclinic", "tetragonal", "trigonal", "hexagonal"),
)
#: Mixtures that are measured with more noise too, and how much [1/angstrom].
NOISY, NOISE = (1, 7), 0.008
#: Mixtures whose grains make the nulls.
NULLS = (1, 5)
#: Primitive cells that are drawn [cubic angstrom].
VOLUMES = (50.0, 500.0)
#: Two cells are one within this.
SAME = 0.01
#: Grains of a null are strained by up to this.
STRAIN = 0.2


def draw_crystals(table: Any, systems: tuple[str, ...], seed: int) -> list[Crystal]:
    """One crystal of each system, whose lattice has the system's symmetry."""
    rng = np.random.default_rng(seed)
    chosen: list[Crystal] = []
    for system in systems:
        rows = table[(table["crystal_system"] == system) & table["volume"].between(*VOLUMES)]
        for n in rng.permutation(len(rows)):
            crystal = Crystal.from_row(rows.iloc[int(n)])
            if all(c.volume != crystal.volume for c in chosen):
                chosen.append(crystal)
                break
    return chosen


def measure_mixture(crystals: list[Crystal], seed: int, noise: float | None) -> dict[str, Any]:
    """Simulate and solve one scan."""
    changed = {} if noise is None else {"position_noise": noise}
    detector = DetectorSettings(q_max_range=(mixtures.Q_MAX, mixtures.Q_MAX), **changed)
    mixture = mixtures.simulate_mixture(crystals, seed, detector=detector)
    start = time.process_time()
    found = find_phases(mixture.lists)
    seconds = time.process_time() - start
    # What the camera length is off by no spot tells.
    cells = [phase.bravais.niggli * mixture.scale for phase in found.discovered.phases]
    hits = [_find(cell, crystals) for cell in cells]
    return {
        "true": [find_bravais(c.lattice, tolerance=1e-3).symbol for c in crystals],
        "volumes": [round(c.volume, 1) for c in crystals],
        "told": [phase.bravais.symbol for phase in found.discovered.phases],
        "told_volumes": [round(phase.bravais.volume, 1) for phase in found.discovered.phases],
        "found": len(set(hits) - {-1}),
        "false": hits.count(-1),
        "too_few": found.discovered.too_few is not None,
        "seconds": seconds,
        **_measure_positions(mixture, found, crystals, hits),
    }


def _find(cell: np.ndarray, crystals: list[Crystal]) -> int:
    for n, crystal in enumerate(crystals):
        if same_lattice(cell, crystal.lattice, SAME):
            return n
    return -1


def _measure_positions(
    mixture: mixtures.Mixture, found: ScanPhases, crystals: list[Crystal], hits: list[int]
) -> dict[str, Any]:
    """Counts of single and overlapping grains, and angles of single ones."""
    counts = dict.fromkeys(("single", "single_told", "single_right"), 0)
    counts |= dict.fromkeys(("overlapping", "recalled", "wrong"), 0)
    angles = []
    told = dict(list(found.positions.groupby("position")))
    for n, (x, y) in enumerate(zip(mixture.lists.x, mixture.lists.y, strict=True)):
        grains = [g for g in mixture.layers[:, x, y] if g >= 0]
        rows = told.get(n)
        if len(grains) != 1:
            true = {int(mixture.phase[g]) for g in grains}
            own = set() if rows is None else {hits[k] for k in rows["phase"]}
            counts["overlapping"] += len(true)
            counts["recalled"] += len(true & own)
            counts["wrong"] += len(own - true)
            continue
        counts["single"] += 1
        if rows is None:
            continue
        counts["single_told"] += 1
        k = int(rows["phase"].iloc[0])
        if hits[k] != mixture.phase[grains[0]]:
            continue
        counts["single_right"] += 1
        rotation = rows[ROTATION].iloc[0].to_numpy(float).reshape(3, 3)
        reciprocal = np.linalg.inv(crystals[hits[k]].lattice).T
        basis = np.linalg.inv(found.discovered.phases[k].bravais.niggli).T @ rotation
        angles.append(_angle(basis, reciprocal @ mixture.rotations[grains[0]]))
    return {**counts, "angles": [round(a, 3) for a in angles]}


def _angle(basis: np.ndarray, true: np.ndarray) -> float:
    """Angle between two reciprocal lattices in one frame [degree]."""
    lattice = np.linalg.inv(true).T
    change = np.rint(basis @ np.linalg.inv(true))
    if abs(abs(np.linalg.det(change)) - 1) > 1e-6:
        return 180.0
    left, _, right = np.linalg.svd((change @ true).T @ basis)
    turn = left @ right
    return compute_misorientation(np.eye(3), turn * np.sign(np.linalg.det(turn)), lattice)


def measure_null(kind: str, crystals: list[Crystal], seed: int) -> dict[str, Any]:
    """Phases that are found where there is none."""
    if kind == "amorphous":
        lists = mixtures.simulate_amorphous(seed)
    elif kind == "strained":
        lists = mixtures.simulate_mixture(crystals, seed, strains=STRAIN).lists
    else:
        lists = mixtures.shuffle_azimuths(mixtures.simulate_mixture(crystals, seed).lists, seed)
    found = find_phases(lists)
    return {
        "phases": len(found.discovered.phases),
        "volumes": [round(phase.bravais.volume, 1) for phase in found.discovered.phases],
        "grains": len(found.grains),
    }


def tasks(seed: int) -> Iterator[tuple[str, int, str | float | None]]:
    """Name, number of the mixture, and the kind of null or the noise; the cheap ones mixed in."""
    for n in range(len(MIXTURES)):
        yield f"{n + 1}", n, None
        if n in NOISY:
            yield f"{n + 1} noisy", n, NOISE
        if n in NULLS:
            for kind in ("shuffled", "strained", "amorphous"):
                yield f"{n + 1} {kind}", n, kind


def summarise(done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Shares over all mixtures, and medians."""
    usual = {name: one for name, one in done.items() if name.isdigit()}
    noisy = [one for name, one in done.items() if name.endswith("noisy")]
    true = sum(len(one["true"]) for one in usual.values())

    def total(name: str, ones: Any) -> int:
        return sum(one[name] for one in ones)

    angles = np.concatenate([one["angles"] for one in usual.values()])
    summary = {
        "mixtures": len(usual),
        "true": true,
        "found": total("found", usual.values()) / true,
        "false": total("false", usual.values()) / true,
        "single_grain_right": total("single_right", usual.values())
        / max(total("single", usual.values()), 1),
        "orientation_degrees": float(np.median(angles)),
        "orientation_degrees_90": float(np.quantile(angles, 0.9)),
        "overlapping_recalled": total("recalled", usual.values())
        / max(total("overlapping", usual.values()), 1),
        "seconds": float(np.median([one["seconds"] for one in usual.values()])),
        "seconds_most": float(max(one["seconds"] for one in usual.values())),
        "null": total("phases", [one for one in done.values() if "phases" in one]),
        "nulls": sum("phases" in one for one in done.values()),
    }
    if noisy:
        summary["noisy_recalled"] = total("recalled", noisy) / max(total("overlapping", noisy), 1)
        summary["noisy_found"] = total("found", noisy) / sum(len(one["true"]) for one in noisy)
    shown = {name: {k: v for k, v in one.items() if k != "angles"} for name, one in done.items()}
    return summary | {"each": shown}


@click.command(help=__doc__)
@click.option("--crystals", default="embedded", show_default=True)
@click.option("--checkpoint", type=click.Path(path_type=Path), default="phases.json")
@click.option("--seed", default=2000, show_default=True)
def main(crystals: str, checkpoint: Path, seed: int) -> None:
    """Measure and write benchmarks/results.json."""
    settings = CrystalSettings(crystals=crystals, max_crystals=400, max_volume=VOLUMES[1])
    table = sources.load_crystals(settings, progress=False).table
    find_phases(mixtures.simulate_amorphous(0, size=6, grains=6))  # compiles
    known = checkpoint.exists()
    done = json.loads(checkpoint.read_text(encoding="utf-8")) if known else {}
    for name, n, kind in tasks(seed):
        if name in done:
            continue
        own = draw_crystals(table, MIXTURES[n], seed + n)
        if isinstance(kind, str):
            done[name] = measure_null(kind, own, seed + n)
        else:
            done[name] = measure_mixture(own, seed + n, kind)
        shown = {k: v for k, v in done[name].items() if k != "angles"}
        click.echo(f"{name}: {shown}")
        checkpoint.write_text(json.dumps(done), encoding="utf-8")
    summary = summarise(done)
    cases.record(phases=summary)
    click.echo(json.dumps({k: v for k, v in summary.items() if k != "each"}, indent=2))


if __name__ == "__main__":
    main()

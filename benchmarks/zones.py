"""How often a pattern of one zone is told, and its net right.

    python benchmarks/zones.py --zone zone --zone-detector zone_detector --clean random \
        --detector detector

Takes datasets of patterns by the names of their runs, near zone axes and at random, of the same
crystals; of these the test materials of the predictor. One zone: of the simulated spots at most 2 %
lie off the zone. The true net is what the zone's spots span, since no spot tells of rows that are
extinct. A net is right where, scaled to the true area, its lengths are within 2 % (the
ellipse of the detector's model) and its angle within 2 degrees. Writes ``zone`` into
``benchmarks/results.json``.
"""

from __future__ import annotations

import click
import numpy as np
import pandas as pd
from cases import record

from ediff_solve.lattice.kernels.centre import find_centre
from ediff_solve.lattice.nets import find_net
from ediff_solve.predictor.answering import find_predictor
from ediff_solve.predictor.training.examples import DETECTORS, show_patterns, split_materials
from ediff_solve.predictor.training.judging import nearest_axes
from ediff_solve.predictor.training.sample import read_test_materials
from ediff_solve.predictor.zone_net import FEWEST_SPOTS, describe_net, is_one_zone
from ediff_utils.bloch.dataset.reading import read_patterns
from ediff_utils.core.paths import Run
from ediff_utils.crystals.tables import read_crystals

#: Share of the spots off a zone that is none, and tolerances of a net.
ONE_ZONE, LENGTHS, ANGLE = 0.02, 0.02, 2.0
#: Vectors nearer than this are one [1/angstrom].
SAME = 1e-4


def true_net(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Lengths [1/angstrom] and angle [degree] of the reduced net that spots of a zone span.

    Of reciprocal lattice vectors, shape (n, 3), in one plane: what extinctions leave of the net.
    """
    order = np.argsort(np.linalg.norm(points, axis=1), kind="stable")
    a, b = np.zeros(3), np.zeros(3)
    for g in points[order]:
        while np.linalg.norm(g) > SAME:
            # Euclid's algorithm in the plane: what the net leaves of a vector is a shorter one.
            if not a.any():
                a, g = g, np.zeros(3)
            elif not b.any():
                g = g - np.rint(g @ a / (a @ a)) * a
                line = np.linalg.norm(np.cross(a, g)) < SAME * np.linalg.norm(a)
                if line and np.linalg.norm(g) > SAME:
                    a, g = g, a
                elif np.linalg.norm(g) > SAME:
                    b, g = g, np.zeros(3)
            else:
                parts = np.linalg.lstsq(np.column_stack([a, b]), g, rcond=None)[0]
                g = g - np.rint(parts) @ np.array([a, b])
                if np.linalg.norm(g) > SAME:
                    a, b, g = _shorter(a, b, g)
        a, b = _reduced(a, b)
    lengths = np.array([np.linalg.norm(a), np.linalg.norm(b)])
    return lengths, float(np.degrees(np.arccos(min(abs(a @ b) / lengths.prod(), 1))))


def _reduced(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's reduction, the shorter first."""
    while a.any() and b.any():
        if a @ a > b @ b:
            a, b = b, a
        times = np.rint(a @ b / (a @ a))
        if times == 0:
            break
        b = b - times * a
    return a, b


def _shorter(
    a: np.ndarray, b: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two of three vectors that span the smallest area, and the third."""
    pairs = [(a, g, b), (b, g, a)]
    areas = [np.linalg.norm(np.cross(one, two)) for one, two, _ in pairs]
    areas = [area if area > SAME**2 else np.inf for area in areas]
    return pairs[int(np.argmin(areas))]


def look_at(run: Run, condition: str, materials: set[str]) -> pd.DataFrame:
    """A row a pattern: ``one`` (zone in truth), ``flagged``, ``right`` (of the net)."""
    crystals = read_crystals(run.crystals).set_index("material_id")
    rows, floor = [], DETECTORS[condition].dynamic_range
    for material, part in split_materials(read_patterns(run.patterns)):
        if material not in materials:
            continue
        conventional = np.reshape(crystals.at[material, "conventional_lattice"], (3, 3)).astype(
            float
        )
        axes = part["zone_axis_cartesian"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
        nearest = nearest_axes(axes, conventional)
        shown = show_patterns(material, part, DETECTORS[condition], 0)
        table = part.select(["h", "k", "l", "intensity"]).to_pylist()
        for n, (x, y, intensity) in enumerate(shown):
            hkl = np.column_stack([table[n][name] for name in "hkl"])
            if len(x) < FEWEST_SPOTS:
                continue
            centre, _ = find_centre(x, y)
            net = find_net(x - centre[0], y - centre[1], intensity, 300e3)
            flagged = is_one_zone(net)
            one, right = bool((hkl @ nearest[n] != 0).mean() <= ONE_ZONE), None
            if one and flagged:
                found = describe_net(net, 300e3)
                strength = np.array(table[n]["intensity"])
                seen = (hkl @ nearest[n] == 0) & (strength > floor * strength.max())
                lengths, angle = true_net(hkl[seen] @ np.linalg.inv(conventional).T)
                own = found.lengths * np.sqrt(
                    lengths.prod()
                    * np.sin(np.radians(angle))
                    / (found.lengths.prod() * np.sin(np.radians(found.angle)))
                )
                right = bool(
                    np.abs(own / lengths - 1).max() < LENGTHS and abs(found.angle - angle) < ANGLE
                )
            rows.append({"one": one, "flagged": flagged, "right": right})
    return pd.DataFrame(rows)


@click.command()
@click.option("--zone", default="zone", show_default=True)
@click.option("--zone-detector", default="zone_detector", show_default=True)
@click.option("--clean", default="random", show_default=True)
@click.option("--detector", default="detector", show_default=True)
@click.option("--model", default="default", show_default=True)
@click.option("--crystals", default=0, help="so many of the test materials; 0: all")
def main(model: str, crystals: int, **names: str) -> None:
    """Look at patterns near zone axes and at random, and write benchmarks/results.json."""
    materials = sorted(read_test_materials(find_predictor(model)))
    chosen = set(np.random.default_rng(0).permutation(materials)[: crystals or None])
    found = {}
    for near, random in (("zone", "clean"), ("zone_detector", "detector")):
        table = look_at(Run(names[near]), near, chosen)
        other = look_at(Run(names[random]), random, chosen)
        one = table["one"]
        found[random] = {
            "crystals": len(chosen),
            "one_zone": float(one.mean()),
            "flagged": float(table.loc[one, "flagged"].mean()),
            "flagged_of_other_zone_patterns": float(table.loc[~one, "flagged"].mean()),
            "false_flags": float(other.loc[~other["one"], "flagged"].mean()),
            "nets_right": float(table["right"].dropna().astype(bool).mean()),
        }
        figures = ", ".join(f"{name} {value:.3g}" for name, value in found[random].items())
        click.echo(f"{random}: {figures}")
    record(zone=found)


if __name__ == "__main__":
    main()

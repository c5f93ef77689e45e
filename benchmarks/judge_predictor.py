"""Have a predictor judged anew without the datasets that it was trained on.

    python benchmarks/judge_predictor.py TABLE --work FOLDER [--model default] [--crystals 0]

TABLE holds the crystals, as `make dataset CRYSTALS=TABLE` takes them. Of the test materials named
in the predictor's answers, only the patterns that are asked about are simulated: some ten of each.
They are the same as in the whole datasets, as orientations and thicknesses hang on the seed and the
material's name. Files go to FOLDER, one a block of materials, and a run that was stopped goes on
where it was. With all materials, the predictor's answers, card and README are written again;
with --crystals, those of a few are compared with the answers that are there, and nothing is
written. Takes some 80 minutes of one core.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ediff_solve.predictor.answering import find_predictor
from ediff_solve.predictor.store import read_card
from ediff_solve.predictor.training.card import format_figures
from ediff_solve.predictor.training.checking import judge_again
from ediff_solve.predictor.training.examples import ExampleSettings, choose_groups
from ediff_solve.predictor.training.judging import ask_dataset
from ediff_solve.predictor.training.pipeline import PredictorSettings, example_settings
from ediff_solve.predictor.training.sample import compare_answers, read_answers, read_test_materials
from ediff_utils.bloch.dataset.table import crystal_orientations, crystal_thicknesses
from ediff_utils.bloch.simulation import compute_spots, prepare
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import CrystalSettings, SimulationSettings, check
from ediff_utils.core.workers import run_tasks
from ediff_utils.crystals.crystal import Crystal
from ediff_utils.crystals.files import find_candidates, label_candidates
from ediff_utils.crystals.tables import COLUMNS, read_crystals, write_table

#: Materials a file.
BLOCK = 25


def simulate_used(
    crystal: Crystal, simulation: SimulationSettings, examples: ExampleSettings
) -> pa.Table:
    """Those of a crystal's patterns that examples are made of, as a dataset holds them."""
    n = simulation.orientations
    used = np.unique(np.concatenate(choose_groups(n, examples, crystal.material_id)))
    bloch = prepare(crystal, simulation)
    orientations = crystal_orientations(crystal, simulation)[used]
    thicknesses = crystal_thicknesses(crystal, simulation)[used]
    lists: dict[str, list[np.ndarray]] = {"qx": [], "qy": [], "intensity": []}
    for orientation, thickness in zip(orientations, thicknesses, strict=True):
        beams, intensity, _, _ = compute_spots(bloch, orientation, tuple(thickness))
        place = bloch.g[beams] @ orientation[:, :2]
        for name, values in zip(lists, (*place.T, intensity), strict=True):
            lists[name].append(values.astype(np.float32))
    columns = {
        "material_id": pa.array([crystal.material_id] * len(used)),
        "pattern": pa.array(used, pa.int32()),
        "zone_axis_cartesian": pa.FixedSizeListArray.from_arrays(
            pa.array(orientations[:, :, 2].astype(np.float32).ravel()), 3
        ),
        "thickness": pa.array(thicknesses[:, 0], pa.float32()),
        **{name: pa.array(values, pa.list_(pa.float32())) for name, values in lists.items()},
        "position": pa.array(used, pa.int64()),
        "of": pa.array([n] * len(used), pa.int64()),
    }
    return pa.table(columns)


def write_block(
    crystals: list[Crystal],
    simulation: SimulationSettings,
    examples: ExampleSettings,
    path: Path,
) -> int:
    """Simulate some crystals into one file; runs in a worker process."""
    table = pa.concat_tables([simulate_used(one, simulation, examples) for one in crystals])
    with atomic_write(path) as partial:
        pq.write_table(table, partial, compression="zstd", row_group_size=table.num_rows)
    return len(crystals)


def simulate_all(
    crystals: pd.DataFrame,
    simulation: SimulationSettings,
    examples: ExampleSettings,
    folder: Path,
    jobs: int,
) -> None:
    """Simulate what is left of a table of crystals, block by block."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for start in range(0, len(crystals), BLOCK):
        path = folder / f"part-{start // BLOCK:05d}.parquet"
        part = crystals.iloc[start : start + BLOCK]
        if not path.exists():
            each = [Crystal.from_row(row) for _, row in part.iterrows()]
            tasks.append((each, simulation, examples, path))
    with tqdm(total=len(tasks), desc=f"blocks of patterns, {folder.name}") as bar:
        for _ in run_tasks(write_block, tasks, jobs=jobs):
            bar.update()


def read_test_crystals(table: Path, materials: set[str], work: Path) -> pd.DataFrame:
    """The test materials' rows of a table of crystals, standardised once."""
    kept = work / "crystals.parquet"
    if not kept.exists():
        wanted = [one for one in find_candidates(table) if one.material_id in materials]
        rows, _ = label_candidates(wanted, CrystalSettings(max_crystals=len(materials)))
        work.mkdir(parents=True, exist_ok=True)
        write_table(pd.DataFrame(rows, columns=list(COLUMNS)), kept)
    return read_crystals(kept)


@click.command(help=__doc__)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Where files go.")
@click.option("--model", default="default", show_default=True, help="Name or folder of one.")
@click.option("--crystals", default=0, help="Only so many of the test materials; 0: all.")
@click.option("--jobs", default=-1, show_default=True, help="Worker processes.")
def main(table: Path, work: Path, model: str, crystals: int, jobs: int) -> None:
    folder = find_predictor(model)
    card = read_card(folder)
    chosen = read_test_crystals(table, read_test_materials(folder), work)
    if crystals:
        chosen, work = chosen.iloc[:crystals], work / f"first-{crystals}"
    settings = check(PredictorSettings, **card["settings"])
    examples = example_settings(settings, card["detectors"])
    for name, each in examples.items():
        simulation = check(SimulationSettings, **card["simulation"][name])
        simulate_all(chosen, simulation, each, work / name, jobs)
    if not crystals:
        sources = {name: work / name for name in examples}
        made = judge_again(folder, sources, chosen, jobs=jobs)
        click.echo(format_figures({name: made[name] for name in sources}))
        return
    for name, each in examples.items():
        kept = work / f"answers-test-{name}"
        found = ask_dataset(folder, work / name, kept, each, chosen, jobs=jobs)
        same = compare_answers(found, read_answers(folder))
        click.echo(
            f"{name}: {same['answers']:,} answers, {same['same']:.1%} the same, confidences within "
            f"{same['largest']:.1g}"
        )


if __name__ == "__main__":
    main()

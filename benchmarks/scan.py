"""How long it takes from Bragg lists to maps of a scan, and from one pattern to its answer.

    python benchmarks/scan.py --run quick [--size 256] [--predictor default] [--jobs 2]

The Bragg lists are those of the simulated gold scan, its spots counted and shifted as if disks had
been found well. Wall time of one run after a small one that compiles and loads everything:
features, votes, median filter and lattice by the paper's forests; evidence, boosters and median
filter by the predictor. Prints a Markdown table.
"""

from __future__ import annotations

import os
import time

import click
import numpy as np

from ediff_solve.gold_scan.kernels.columns import merge_spots
from ediff_solve.gold_scan.render import GoldScan, prepare_gold_scan, scatter_positions
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.predictor.answering import Predictor
from ediff_solve.scans.maps import compute_predictor_maps
from ediff_utils.core.errors import UserError
from ediff_utils.core.memory import peak_memory
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper import feature_files, models
from ediff_utils.paper.scan.bragg import BraggLists, build_bragg_lists
from ediff_utils.paper.scan.maps import compute_scan_maps

#: Patterns that the time of one is the median of.
_PATTERNS = 50
#: Of a listed spot, standard deviation [1/angstrom], and electrons of the weakest that is listed.
_POSITION_NOISE, _MIN_ELECTRONS = 0.003, 20.0


def draw_lists(scan: GoldScan) -> BraggLists:
    """Bragg lists in the scan's axes, without the direct beam; intensities in electrons.

    Spots closer than a disk's radius to a stronger one become part of it, weak ones or those beyond
    half the frame's width are lost, and the others are counted and shifted.
    """
    settings = scan.settings
    rng = np.random.default_rng([settings.seed, 3])
    parts: list[tuple[np.ndarray, ...]] = []
    limit = settings.pixel_size * settings.frame_size / 2
    for row in range(settings.scan_size):
        found = scatter_positions(scan, row)
        spots = found.qx, found.qy, found.intensity, found.spot_offsets
        qx, qy, intensity, offsets = merge_spots(*spots, settings.disk_radius)
        y = np.repeat(np.arange(settings.scan_size), np.diff(offsets))
        expected = settings.electrons * (1 - settings.carbon) * intensity
        kept = (expected >= _MIN_ELECTRONS) & (np.hypot(qx, qy) < limit)
        counts = rng.poisson(expected[kept])
        noise = rng.normal(0, _POSITION_NOISE, (2, len(counts)))
        parts.append(
            (np.full(len(counts), row), y[kept], qx[kept] + noise[0], qy[kept] + noise[1], counts)
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return build_bragg_lists(*columns, shape=(settings.scan_size,) * 2)


def head(lists: BraggLists, n: int) -> BraggLists:
    """The lists of the first n positions alone."""
    return lists.keep_positions(np.arange(len(lists)) < n)


def median_ms(predictor: Predictor, lists: BraggLists, least: int) -> float:
    """Time from one Bragg list to its answer [ms]."""
    seconds = []
    # From all over the scan: the first ones would all be of a few particles.
    enough = np.random.default_rng(0).permutation(np.flatnonzero(lists.n_spots >= least))
    for k in enough[:_PATTERNS]:
        start = time.perf_counter()
        predictor.predict([lists.spots(k)])
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


@click.command(help=__doc__)
@click.option("--run", default="quick", show_default=True, help="whose forests are asked")
@click.option("--predictor", "name", default="default", show_default=True)
@click.option("--size", default=256, show_default=True, help="positions each way")
@click.option("--jobs", default=-1, show_default=True, help="worker processes of the predictor")
@click.option("--seed", default=0, show_default=True)
def main(run: str, name: str, size: int, jobs: int, seed: int) -> None:
    settings = ScanSettings(jobs=jobs, scan_size=size)
    lists = draw_lists(prepare_gold_scan(GoldScanSettings(scan_size=size, seed=seed)))
    patterns = int((lists.n_spots >= settings.min_spots).sum())
    click.echo(
        f"{size} x {size} positions, {patterns} of them with {settings.min_spots} spots or more, "
        f"{int(np.median(lists.n_spots))} spots a pattern; {os.cpu_count()} cores\n"
    )
    hierarchy = models.load_hierarchy(Run(run).models)
    normalisation = feature_files.read_settings(Run(run).features).normalisation
    compute_scan_maps(head(lists, 200), hierarchy, settings, normalisation)
    start = time.perf_counter()
    compute_scan_maps(lists, hierarchy, settings, normalisation)
    lines = [("forests", time.perf_counter() - start, "")]
    try:
        predictor = Predictor.load(name)
    except UserError as error:
        click.echo(f"no predictor: {error}\n")
    else:
        compute_predictor_maps(head(lists, 600), predictor, settings)
        start = time.perf_counter()
        compute_predictor_maps(lists, predictor, settings)
        seconds = time.perf_counter() - start
        one = median_ms(predictor, lists, settings.min_spots)
        lines.append(("predictor", seconds, f"{one:.1f} ms"))
    click.echo("| | lists to maps | patterns a second | one pattern, model loaded |")
    click.echo("| --- | --- | --- | --- |")
    for title, seconds, one in lines:
        click.echo(f"| {title} | {seconds:.1f} s | {patterns / seconds:.0f} | {one} |")
    click.echo(f"\npeak memory of this process: {peak_memory():.2f} GiB")


if __name__ == "__main__":
    main()

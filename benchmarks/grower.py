"""The paper's trees, all features in every split, grown by us and by scikit-learn.

    python benchmarks/grower.py --run NAME [--trees 2]

Three sizes, the same features in bytes and the same bootstraps for both: processor time of a tree
on one core, nodes, and how often the trees together are right about a single pattern. Writes
``grower`` into ``benchmarks/results.json``.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cases
import click
import numpy as np
from forest_data import draw
from sklearn.tree import DecisionTreeClassifier
from summary import to_markdown

from ediff_solve.figures.scaling import compute_power_law
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.progress import tqdm
from ediff_utils.crystals.crystal import SYSTEMS
from ediff_utils.forest.binning import draw_sample, find_cuts, to_bins
from ediff_utils.forest.grower import bootstrap, grow_tree
from ediff_utils.forest.trees import to_tree
from ediff_utils.paper.published import HYPERPARAMETERS

#: Shares of the training patterns.
SHARES = (0.1, 0.3, 1.0)
DEPTH = int(HYPERPARAMETERS["crystal_system"]["depth"].value)


class Data(NamedTuple):
    """The same patterns for either.

    Parameters
    ----------
    columns : ndarray of uint8, shape (n_features, n)
    rows : ndarray of float32, shape (n, n_features)
        Feature by feature in memory, which scikit-learn is faster with.
    classes : ndarray of int, shape (n,)
    """

    columns: np.ndarray
    rows: np.ndarray
    classes: np.ndarray


def make_data(columns: np.ndarray, classes: np.ndarray, own: np.ndarray) -> Data:
    """Those of some patterns."""
    columns = np.ascontiguousarray(columns[:, own])
    return Data(columns, columns.T.astype(np.float32), classes[own])


def grow_ours(data: Data, weights: np.ndarray, seed: int) -> DecisionTreeClassifier:
    """A tree of ours; its thresholds are bytes, as scikit-learn's are."""
    rng = np.random.default_rng(seed)
    options = {"n_classes": len(SYSTEMS), "max_depth": DEPTH, "rng": rng}
    grown = grow_tree(data.columns, data.classes, weights, **options)
    cuts = np.tile(np.arange(255.0), (len(data.columns), 1))
    return to_tree(grown, cuts, regression=False)


def grow_theirs(data: Data, weights: np.ndarray, seed: int) -> DecisionTreeClassifier:
    """A tree of scikit-learn's."""
    tree = DecisionTreeClassifier(max_depth=DEPTH, random_state=seed)
    return tree.fit(data.rows, data.classes, sample_weight=weights)


def measure(grow: Callable, train: Data, test: Data, seeds: range) -> dict[str, float]:
    """Time, nodes and accuracy of a few trees.

    Parameters
    ----------
    grow : callable
        :func:`grow_ours` or :func:`grow_theirs`.
    train, test : Data
    seeds : range
        One a tree.

    Returns
    -------
    dict
        ``seconds`` of processor time of the fastest tree, ``nodes`` a tree, ``right``: share of the
        test patterns that the trees together are right about.
    """
    seconds, nodes, shares = [], [], np.zeros((len(test.classes), len(SYSTEMS)))
    for seed in seeds:
        weights = bootstrap(len(train.classes), np.random.default_rng(seed))
        start = time.process_time()
        tree = grow(train, weights, seed)
        seconds.append(time.process_time() - start)
        nodes.append(tree.tree_.node_count)
        shares += tree.predict_proba(test.rows)
    right = float(np.mean(shares.argmax(axis=1) == test.classes))
    return {"seconds": min(seconds), "nodes": float(np.mean(nodes)), "right": right}


def compare(run: Run, materials: int, patterns: int, trees: int, seed: int) -> dict[str, object]:
    """Measure both at every size; see :func:`main` for the parameters."""
    labels, vectors, train, test = draw(run, materials, patterns, seed)
    start = time.process_time()
    cuts = find_cuts(vectors[train][draw_sample(len(train), seed)])
    columns = to_bins([vectors], cuts, len(vectors))
    binning = time.process_time() - start
    del vectors
    classes = labels["crystal_system"].map(SYSTEMS.index).to_numpy()
    known = make_data(columns, classes, test)
    # Compiled, or read from the cache, before any is timed.
    grow_ours(known, np.ones(len(test), int), seed)
    sizes = [round(share * len(train)) for share in SHARES]
    rows = []
    for size in tqdm(sizes, desc="sizes"):
        part = make_data(columns, classes, train[:size])
        seeds = range(seed, seed + trees)
        ours, theirs = (measure(grow, part, known, seeds) for grow in (grow_ours, grow_theirs))
        faster = theirs["seconds"] / ours["seconds"]
        rows.append({"patterns": size, "ours": ours, "theirs": theirs, "times_faster": faster})
    seconds = {name: [row[name]["seconds"] for row in rows] for name in ("ours", "theirs")}
    return {
        "run": run.name,
        "test_patterns": len(test),
        "trees": trees,
        "seed": seed,
        "load": os.getloadavg()[1],
        "binning_us": 1e6 * binning / len(labels),
        "sizes": rows,
        "exponent": {
            name: float(compute_power_law(np.array(sizes), np.array(times))[1])
            for name, times in seconds.items()
        },
        "versions": {name: version(name) for name in ("ediff-utils", "scikit-learn", "numba")},
    }


def format_sizes(found: dict) -> str:
    """Table of the sizes."""
    head = ["patterns", "a tree", "scikit-learn's", "times faster", "nodes", "right"]
    lines = []
    for row in found["sizes"]:
        pair = row["ours"], row["theirs"]
        lines.append(
            [
                f"{row['patterns']:,}",
                *(f"{one['seconds']:.3g} s" for one in pair),
                f"{row['times_faster']:.1f}",
                ", ".join(f"{one['nodes']:,.0f}" for one in pair),
                ", ".join(f"{one['right']:.1%}" for one in pair),
            ]
        )
    return to_markdown(head, lines)


@click.command(context_settings={"show_default": True})
@click.option("--run", "name", required=True, help="a run with patterns, or with features")
@click.option("--materials", default=2000, type=click.IntRange(8), help="drawn at random")
@click.option("--patterns", default=15, type=click.IntRange(1), help="of each material")
@click.option("--trees", default=3, type=click.IntRange(1), help="the fastest one counts")
@click.option("--seed", default=0, type=click.IntRange(0))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=cases.RESULTS,
    help="the file that is written; its other entries are kept",
)
def main(name: str, materials: int, patterns: int, trees: int, seed: int, output: Path) -> None:
    """Time trees of all features beside scikit-learn's and write benchmarks/results.json."""
    try:
        found = compare(Run(name), materials, patterns, trees, seed)
        cases.record(output, grower=found)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    click.echo(format_sizes(found) + "\n")
    growth = ", ".join(f"{name} {value:.2f}" for name, value in found["exponent"].items())
    click.echo(f"exponents: {growth}; bins of a pattern: {found['binning_us']:.0f} us")


if __name__ == "__main__":
    main()

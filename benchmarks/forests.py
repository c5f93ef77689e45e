"""What the crystal-system forest loses and saves where it is not grown as the paper has it.

    python benchmarks/forests.py --run NAME [--materials 1000] [--patterns 15]

Table 1 of the paper has every split look at all 1,066 features of a bootstrap of all patterns,
until leaves are pure, which on the whole dataset is out of reach here. On a part of a run where all
settings can be had, each is held against it: accuracy, time, memory, size. Every setting runs in a
process of its own on one core. Writes ``forests`` into ``benchmarks/results.json``.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cases
import click
import numpy as np
import pandas as pd
from forest_data import draw, write_data
from summary import to_markdown

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run
from ediff_utils.core.progress import tqdm
from ediff_utils.figures.scaling import compute_power_law

#: Patterns of a material that are taken together.
TOGETHER = 10


@dataclass(frozen=True)
class Setting:
    """How a forest is grown; the defaults are the paper's.

    Parameters
    ----------
    max_features : float or str
        Features that a split looks at: a fraction, or "sqrt", 32 of the 1,066.
    max_samples : float, optional
        Patterns that are drawn for a tree, as a fraction.
    min_samples_leaf : int
    data : {"rows", "columns", "coarse", "bins"}
        Vectors one after another in memory, or features, these rounded, or bins instead of values.
    """

    max_features: float | str = 1.0
    max_samples: float | None = None
    min_samples_leaf: int = 1
    data: str = "rows"


PAPER = "all features (paper)"
SQRT, SQRT_COLUMNS = "sqrt", "sqrt, Fortran order"
SETTINGS = {
    PAPER: Setting(),
    "all features, 0.25 of the samples": Setting(max_samples=0.25),
    "all features, 0.1 of the samples": Setting(max_samples=0.1),
    "0.3 of the features": Setting(0.3),
    "0.1 of the features": Setting(0.1),
    "0.1, leaf 5, 0.25 of the samples": Setting(0.1, 0.25, 5),
    SQRT: Setting("sqrt"),
    "sqrt, 0.25 of the samples": Setting("sqrt", 0.25),
    "sqrt, leaf 3": Setting("sqrt", min_samples_leaf=3),
    "sqrt, leaf 5": Setting("sqrt", min_samples_leaf=5),
    "sqrt, leaf 10": Setting("sqrt", min_samples_leaf=10),
    "sqrt, leaf 5, 0.5 of the samples": Setting("sqrt", 0.5, 5),
    "0.1 of the features, leaf 5": Setting(0.1, min_samples_leaf=5),
    SQRT_COLUMNS: Setting("sqrt", data="columns"),
    "sqrt, rounded": Setting("sqrt", data="coarse"),
    "sqrt, leaf 5, rounded": Setting("sqrt", min_samples_leaf=5, data="coarse"),
    "sqrt, leaf 5, 0.25 of the samples, rounded": Setting("sqrt", 0.25, 5, data="coarse"),
    "0.1, leaf 5, 0.25 of the samples, rounded": Setting(0.1, 0.25, 5, data="coarse"),
    "sqrt, 256 bins": Setting("sqrt", data="bins"),
    "all features, 256 bins, 0.25 of the samples": Setting(max_samples=0.25, data="bins"),
}
#: Those whose time is followed as the patterns become more, and shares of the patterns.
GROWN, SHARES = (PAPER, SQRT, SQRT_COLUMNS), (0.25, 0.5, 1.0)
#: Trees that are grown for it: no two are alike, and one alone may be a lucky one.
GROWN_TREES = 4
#: Column of the table: its heading and how it is written.
COLUMNS = {
    "one": ("one pattern", "{:.1%}"),
    "ten": ("ten patterns", "{:.1%}"),
    "seconds": ("fit", "{:.3g} s"),
    "peak_mib": ("peak memory", "{:.0f} MiB"),
    "added_mib": ("of it by the fit", "{:.0f} MiB"),
    "nodes": ("nodes a tree", "{:,.0f}"),
    "megabytes": ("file", "{:.3g} MB"),
}


def run_apart(folder: Path, setting: Setting, **task: object) -> dict:
    """Fit in a process of its own; see :func:`forest_fit.measure` for what goes in and out."""
    arguments = asdict(setting)
    task |= {"folder": str(folder), "data": arguments.pop("data"), "arguments": arguments}
    source, target = folder / "task.json", folder / "result.json"
    source.write_text(json.dumps(task), encoding="utf-8")
    script = Path(__file__).with_name("forest_fit.py")
    subprocess.run([sys.executable, script, source, target], check=True)
    return json.loads(target.read_text(encoding="utf-8"))


def compute_ratio(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Ratio of two sums over the same materials, and its standard error by the materials."""
    ratio = own.sum() / other.sum()
    spread = np.std(own - ratio * other, ddof=1) if len(own) > 1 else 0.0
    return float(ratio), float(spread * np.sqrt(len(own)) / other.sum())


def summarise(results: dict[str, dict], n_patterns: int) -> dict[str, dict]:
    """Put each setting beside the paper's.

    Parameters
    ----------
    results : dict of str to dict
        Of :func:`forest_fit.measure`, by setting.
    n_patterns : int
        Test patterns.

    Returns
    -------
    dict of str to dict
        The setting, what was measured, ``ratio`` of each to the paper's setting, and ``error``,
        the standard errors of the accuracies' ratios.
    """
    right = {name: pd.DataFrame(result["right"]) for name, result in results.items()}
    rows = {}
    for name, result in results.items():
        row = {key: result[key] for key in ("seconds", "peak_mib", "nodes", "megabytes")}
        row["added_mib"] = result["peak_mib"] - result["loaded_mib"]
        row["one"] = right[name]["one"].sum() / n_patterns
        row["ten"] = right[name]["ten"].mean()
        rows[name] = asdict(SETTINGS[name]) | row
    for name, row in rows.items():
        row["ratio"] = {
            key: row[key] / rows[PAPER][key] if rows[PAPER][key] else None for key in COLUMNS
        }
        row["error"] = {}
        for key in ("one", "ten"):
            # Without a single pattern put right there is nothing to compare with.
            if right[PAPER][key].any():
                _, row["error"][key] = compute_ratio(
                    right[name][key].to_numpy(), right[PAPER][key].to_numpy()
                )
    return rows


def measure_growth(folder: Path, n_train: int, seeds: list[int]) -> dict[str, dict]:
    """Time a tree against the number of training patterns.

    Returns
    -------
    dict of str to dict
        By setting: ``patterns``, ``seconds`` and the ``exponent`` of a power law through them.
    """
    sizes = [round(share * n_train) for share in SHARES]
    growth = {}
    for name in tqdm(GROWN, desc="growth"):
        task = {"trees": GROWN_TREES, "seeds": seeds, "together": 0}
        found = [run_apart(folder, SETTINGS[name], rows=size, **task) for size in sizes]
        seconds = [result["seconds"] / GROWN_TREES for result in found]
        _, exponent = compute_power_law(np.array(sizes), np.array(seconds))
        growth[name] = {"patterns": sizes, "seconds": seconds, "exponent": exponent}
    return growth


def format_settings(rows: dict[str, dict]) -> str:
    """Table of the settings, in brackets how many times the paper's setting."""
    lines = []
    for name, row in rows.items():
        line = [name]
        for key, (_, form) in COLUMNS.items():
            ratio = "-" if row["ratio"][key] is None else f"{row['ratio'][key]:.2g}"
            if key in row["error"]:
                ratio = f"{row['ratio'][key]:.3f} ± {row['error'][key]:.3f}"
            line.append(f"{form.format(row[key])} ({ratio})")
        lines.append(line)
    return to_markdown(["setting", *(head for head, _ in COLUMNS.values())], lines)


def format_growth(growth: dict[str, dict]) -> str:
    """Table of the time a tree."""
    sizes = next(iter(growth.values()))["patterns"]
    lines = [
        [name, *(f"{value:.3g} s" for value in row["seconds"]), f"{row['exponent']:.2f}"]
        for name, row in growth.items()
    ]
    return to_markdown(["time a tree", *(f"{n:,} patterns" for n in sizes), "exponent"], lines)


def compare(
    run: Run, n_materials: int, n_patterns: int, trees: int, repeats: int, seed: int
) -> dict[str, object]:
    """Measure every setting on one draw; see :func:`main` for the parameters."""
    labels, vectors, train, test = draw(run, n_materials, n_patterns, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        turning = write_data(labels, vectors, train, test, folder)
        del vectors
        # Every repetition is a forest with a seed of its own, which makes accuracies steadier too.
        task = {"rows": len(train), "trees": trees, "together": TOGETHER}
        task["seeds"] = list(range(seed, seed + repeats))
        results = {
            name: run_apart(folder, setting, **task)
            for name, setting in tqdm(SETTINGS.items(), desc="settings")
        }
        growth = measure_growth(folder, len(train), [seed] * repeats)
    if results[SQRT]["digest"] != results[SQRT_COLUMNS]["digest"]:
        sys.exit("Error: expected the same trees in either order of memory")
    materials = labels["material_id"]
    return {
        "run": run.name,
        "materials": {
            "train": int(materials.iloc[train].nunique()),
            "test": int(materials.iloc[test].nunique()),
        },
        "patterns": {"train": len(train), "test": len(test)},
        "trees": trees,
        "repeats": repeats,
        "seed": seed,
        "turning_seconds": turning,
        "settings": summarise(results, len(test)),
        "growth": growth,
        "versions": {name: version(name) for name in ("ediff-utils", "scikit-learn", "numpy")},
    }


@click.command(context_settings={"show_default": True})
@click.option("--run", "name", required=True, help="a run with patterns, or with features")
@click.option("--materials", default=1000, type=click.IntRange(8), help="drawn at random")
@click.option("--patterns", default=15, type=click.IntRange(TOGETHER), help="of each material")
@click.option("--trees", default=20, type=click.IntRange(1), help="of each forest")
@click.option("--repeats", default=3, type=click.IntRange(1), help="forests of each setting")
@click.option("--seed", default=0, type=click.IntRange(0))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=cases.RESULTS,
    help="the file that is written; its other entries are kept",
)
def main(
    name: str, materials: int, patterns: int, trees: int, repeats: int, seed: int, output: Path
) -> None:
    """Hold cheaper forests against the paper's setting and write benchmarks/results.json."""
    try:
        found = compare(Run(name), materials, patterns, trees, repeats, seed)
        cases.record(output, forests=found)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    for part in ("train", "test"):
        counts = f"{found['materials'][part]:,} materials, {found['patterns'][part]:,} patterns"
        click.echo(f"{part}: {counts}")
    click.echo(f"rows to columns of the training vectors: {found['turning_seconds']:.2g} s\n")
    click.echo(format_settings(found["settings"]) + "\n")
    click.echo(format_growth(found["growth"]))


if __name__ == "__main__":
    main()

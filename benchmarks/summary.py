"""Print the tables of ``benchmarks/README.md`` from ``benchmarks/results.json``.

python benchmarks/summary.py
"""

from __future__ import annotations

import json

import click
import pandas as pd
from cases import RESULTS, record

from ediff_utils.bloch.dataset.manifest import read_summaries

#: Key of the results: what it is, the figure to reach, how it is written.
FIGURES = {
    "bloch_one_vs_py4dstem": ("one pattern, 20 nm, against py4DSTEM", "150 times", "{:.0f} times"),
    "bloch_series_vs_py4dstem": (
        "100 thicknesses to 200 nm in one go, against py4DSTEM",
        "30 times",
        "{:.0f} times",
    ),
    "structure_factors_vs_py4dstem": (
        "structure factors of a crystal, against py4DSTEM",
        "40 times",
        "{:.0f} times",
    ),
    "bloch_one_vs_abtem": ("one pattern, 20 nm, against abTEM", "20 times", "{:.0f} times"),
    "bloch_one_vs_quantem": ("one pattern, 20 nm, against quantem", "20 times", "{:.0f} times"),
    "max_intensity_error": (
        "largest difference of a spot above 10⁻³ to a dense eigen-decomposition",
        "below 1e-05",
        "{:.1e}",
    ),
    "dataset_minutes": ("whole dataset", "60 minutes", "{:.0f} minutes"),
    "worker_peak_gib": ("peak memory of a worker", "1.5 GiB", "{:.2f} GiB"),
}
#: Row of the crystals' table: its heading and how it is written.
CRYSTALS = {
    "beams": ("beams", "{:.0f}"),
    "one_ms": ("one pattern", "{:.2f} ms"),
    "one_vs_py4dstem": ("py4DSTEM", "{:.0f}"),
    "one_vs_abtem": ("abTEM", "{:.0f}"),
    "one_vs_quantem": ("quantem", "{:.0f}"),
    "series_vs_py4dstem": ("series, py4DSTEM", "{:.0f}"),
    "structure_factors_vs_py4dstem": ("structure factors, py4DSTEM", "{:.0f}"),
    "max_intensity_error": ("to dense", "{:.0e}"),
    "difference_to_py4dstem": ("to py4DSTEM", "{:.0e}"),
    "difference_to_abtem": ("to abTEM", "{:.0e}"),
    "difference_to_quantem": ("to quantem", "{:.0e}"),
}


def to_markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summarise_bethe(records: list[dict]) -> list[list[str]]:
    """For each choice of strong beams, the range over crystals of what was gained and lost."""
    groups = pd.DataFrame(records).groupby(["strong_by", "fraction"])
    return [
        [
            f"{fraction:.0%} strong by {by}",
            f"{rows['times_faster'].min():.1f} to {rows['times_faster'].max():.1f}",
            f"{rows['max_intensity_error'].min():.0e} to {rows['max_intensity_error'].max():.0e}",
        ]
        for (by, fraction), rows in groups
    ]


def summarise_batches(records: list[dict]) -> list[list[str]]:
    """For each way of multiplying several matrices, the range over crystals of what was gained."""
    table = pd.DataFrame(records)
    names = {
        "numba_stack_times_faster": "numba, stack of packed matrices in step",
        "numpy_stack_times_faster": "numpy's product of a stack of full matrices",
    }
    return [
        [name, f"{table[column].min():.1f} to {table[column].max():.1f}", "same products"]
        for column, name in names.items()
    ]


def collect_datasets() -> dict[str, float]:
    """Time, patterns and memory of the slowest dataset whose summary stands beside the figures."""
    summaries = read_summaries()
    if summaries.empty:
        return {}
    slowest = summaries.loc[summaries["minutes"].idxmax()]
    return {
        "dataset_minutes": float(slowest["minutes"]),
        "dataset_patterns": int(slowest["patterns"]),
        "worker_peak_gib": float(summaries["worker peak [GiB]"].max()),
    }


@click.command()
def main() -> None:
    """Print the tables."""
    record(**collect_datasets())
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [
        [what, reach, form.format(results[key]) if key in results else "not yet"]
        for key, (what, reach, form) in FIGURES.items()
    ]
    click.echo(to_markdown(["what", "figure to reach", "measured"], rows) + "\n")
    crystals = results["crystals"] | results["without_inversion_centre"]["crystals"]
    rows = [
        [name, *(form.format(values[key]) for key, (_, form) in CRYSTALS.items())]
        for name, values in crystals.items()
    ]
    click.echo(to_markdown(["crystal", *(head for head, _ in CRYSTALS.values())], rows) + "\n")
    reductions = results["reductions"]
    rows = summarise_bethe(reductions["bethe"]) + summarise_batches(reductions["batches"])
    click.echo(to_markdown(["idea", "times faster", "largest error"], rows))


if __name__ == "__main__":
    main()

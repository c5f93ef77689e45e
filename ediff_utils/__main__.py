"""The command line: ``python -m ediff_utils`` or ``ediff``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import yaml

from ediff_utils import __version__
from ediff_utils.errors import UserError


class _OneLineErrors(click.Group):
    """Prints a user's mistake as one line, not a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Crystal structure from electron diffraction patterns, after Gleason et al. 2024."""


def _overrides(parameter: tuple[tuple[str, str], ...]) -> dict[str, object]:
    try:
        return {key: yaml.safe_load(value) for key, value in parameter}
    except yaml.YAMLError:
        raise UserError("--parameter: expected NAME VALUE, the value as YAML has it") from None


@main.command()
@click.option(
    "--preset", default="quick", show_default=True, help="quick, smoke, paper or a YAML file"
)
@click.option("--crystals", help="embedded, materials-project, a folder of CIFs or a Parquet table")
@click.option("--name", help="name of the run; by default the preset's, and that of the crystals")
@click.option("--only", default="", help="run only notebooks whose names start so, such as 06")
@click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="override a parameter"
)
def reproduce(
    preset: str,
    crystals: str | None,
    name: str | None,
    only: str,
    parameter: tuple[tuple[str, str], ...],
) -> None:
    """Run the notebooks and set the results beside the paper's."""
    from ediff_utils import paths, results
    from ediff_utils.reproduce import name_run
    from ediff_utils.reproduce import reproduce as run_all

    overrides = _overrides(parameter)
    found = run_all(preset, crystals=crystals, name=name, overrides=overrides, only=only)
    run = paths.Run(name or name_run(preset, crystals))
    if found["crystal_system"]:
        click.echo(results.format_table(results.comparison_table(found)))
    click.echo(f"\nFigures, executed notebooks and results.json: {run.figures}")


@main.command()
@click.option("--preset", default="grid", show_default=True, help="grid, random or a YAML file")
@click.option("--crystals", help="embedded, materials-project, a folder of CIFs or a Parquet table")
@click.option("--name", help="name of the run; by default the preset's")
@click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="override a parameter"
)
@click.option(
    "--check",
    default=0,
    help="hold so many patterns, from all crystal systems, against a dense eigen-decomposition",
)
def dataset(
    preset: str,
    crystals: str | None,
    name: str | None,
    parameter: tuple[tuple[str, str], ...],
    check: int,
) -> None:
    """Simulate a dataset of patterns; a run that was stopped goes on where it was."""
    from ediff_utils import paths
    from ediff_utils.reproduce import make_dataset

    run = paths.Run(name or Path(preset).stem)
    summary = make_dataset(
        run,
        preset,
        crystals=crystals,
        overrides=_overrides(parameter),
        check_patterns=check,
    )
    for key in ("n_crystals", "patterns", "spots", "gib", "minutes", "worker_peak_gib"):
        click.echo(f"{key:16} {summary[key]:>14,}")
    click.echo(f"{'failures':16} {len(summary['failures']):>14,}")
    if check:
        click.echo(f"{'largest error':16} {summary['check']['difference']:>14.1e}")
    click.echo(f"\nPatterns: {run.patterns}\nSummary:  {run.figures / 'dataset.json'}")


@main.command()
@click.option("--clean", default="random", show_default=True, help="run whose patterns are clean")
@click.option(
    "--detector", default="detector", show_default=True, help="run that a detector looks at"
)
@click.option("--name", default="default", show_default=True, help="folder under data/models")
@click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="override a parameter"
)
@click.option("--jobs", default=-1, show_default=True, help="worker processes")
def train(
    clean: str, detector: str, name: str, parameter: tuple[tuple[str, str], ...], jobs: int
) -> None:
    """Train the predictor on two datasets at random orientations; goes on where it stopped."""
    from ediff_utils import paths
    from ediff_utils.predictor.pipeline import PredictorSettings, build_predictor
    from ediff_utils.predictor.predictor import SHIPPED
    from ediff_utils.settings import check

    settings = check(PredictorSettings, **_overrides(parameter))
    names = {"clean": clean, "detector": detector}
    runs = {protocol: paths.Run(run) for protocol, run in names.items() if run}
    if not runs:
        raise UserError("--clean, --detector: expected the name of a run")
    card = build_predictor(runs, SHIPPED / name, settings, jobs=jobs)
    for protocol in runs:
        figures = {key: card[protocol][key] for key in ("one", "ten", "space_group_top1_ten")}
        line = ", ".join(f"{key} {value:.1%}" for key, value in figures.items())
        click.echo(f"{protocol:10} {line}")
    click.echo(f"\nPredictor: {SHIPPED / name}")


@main.command()
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the figures into")
def card(model: str, figure: Path | None) -> None:
    """Compute a predictor's figures again from its answers, and some answers from their spots."""
    from ediff_utils.predictor.card import format_figures
    from ediff_utils.predictor.pipeline import check_predictor
    from ediff_utils.predictor.predictor import find_predictor

    folder = find_predictor(model)
    figures, comparison = check_predictor(folder)
    click.echo(format_figures(figures))
    click.echo(
        f"\n{comparison['answers']:,} answers made again from their spots: "
        f"{comparison['same']:.1%} the same, confidences within {comparison['largest']:.1g}"
    )
    if figure:
        from ediff_utils.figures.predictor import figure_card
        from ediff_utils.figures.style import save_figure
        from ediff_utils.predictor.card import TEN, compute_growth
        from ediff_utils.predictor.sample import read_answers

        answers = read_answers(folder)
        drawn = figure_card(answers, compute_growth(answers), TEN)
        click.echo(f"\nFigure: {save_figure(drawn, figure)}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@click.option("--energy", default=300.0, show_default=True, help="of the electrons [keV]")
@click.option("--each", is_flag=True, help="every pattern alone; otherwise all are of one crystal")
@click.option("--node", help="which list of spots in a file of py4DSTEM")
@click.option("--crystals", help="known crystals: a Parquet table, a CIF or a folder of CIFs")
@click.option("--elements", default="", help="those present, such as Si,O")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the answer into")
@click.option(
    "--draws", default=0, help="ask about every pattern alone, and so many random draws of some"
)
@click.option("--together", default=10, show_default=True, help="patterns of a draw")
@click.option("--truth", default="", help="known crystal system or space group number, with draws")
@click.option("--seed", default=0, show_default=True, help="of the draws")
def predict(
    file: Path,
    model: str,
    energy: float,
    each: bool,
    node: str | None,
    crystals: str | None,
    elements: str,
    as_json: bool,
    figure: Path | None,
    draws: int,
    together: int,
    truth: str,
    seed: int,
) -> None:
    """Say what crystal the spots in FILE (.csv, .npz, .parquet or py4DSTEM's .h5) are of."""
    from ediff_utils.predictor.predictor import Predictor
    from ediff_utils.predictor.report import answer_file, read_patterns

    if draws:
        from ediff_utils.predictor.draws import answer_draws

        if each or figure or crystals or elements:
            raise UserError("--draws: goes with --together, --truth, --seed and --json alone")
        text = answer_draws(
            Predictor.load(model),
            read_patterns(file, node),
            energy=1e3 * energy,
            together=together,
            draws=draws,
            seed=seed,
            truth=truth,
            as_json=as_json,
            progress=True,
        )
        click.echo(text)
        return
    answers, text = answer_file(
        Predictor.load(model),
        file,
        energy=1e3 * energy,
        each=each,
        node=node,
        crystals=crystals,
        elements=[name.strip() for name in elements.split(",") if name.strip()],
        as_json=as_json,
    )
    click.echo(text)
    if figure:
        from ediff_utils.figures.style import save_figure
        from ediff_utils.figures.unknown import plot_answer

        click.echo(f"\nFigure: {save_figure(plot_answer(answers[0]), figure)}", err=as_json)


@main.command()
@click.argument("run", nargs=-1, required=True)
def summary(run: tuple[str, ...]) -> None:
    """Print the rows of the paper's abstract for some runs, as Markdown. RUN is NAME=HEADING."""
    from ediff_utils import paths, results
    from ediff_utils.comparison import summary_table

    runs = {}
    for item in run:
        name, _, heading = item.partition("=")
        runs[heading or name] = results.read_results(paths.Run(name))
    click.echo(results.to_markdown(summary_table(runs)), nl=False)


if __name__ == "__main__":
    main()

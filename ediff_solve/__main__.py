"""The command line ``ediff``: the paper's commands, and those for an unknown crystal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ediff_utils import __version__
from ediff_utils.__main__ import PARAMETER, OneLineErrors, read_overrides
from ediff_utils.__main__ import main as paper
from ediff_utils.core.errors import UserError


@click.group(
    cls=OneLineErrors,
    commands=dict(paper.commands),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
def main() -> None:
    """Crystal system, space group and lattice from electron diffraction patterns."""


@main.command()
@click.option("--clean", default="random", show_default=True, help="run whose patterns are clean")
@click.option(
    "--detector", default="detector", show_default=True, help="run that a detector looks at"
)
@click.option("--name", default="default", show_default=True, help="folder under data/models")
@PARAMETER
@click.option("--jobs", default=-1, show_default=True, help="worker processes")
def train(
    clean: str, detector: str, name: str, parameter: tuple[tuple[str, str], ...], jobs: int
) -> None:
    """Train the predictor on two datasets at random orientations; goes on where it stopped."""
    from ediff_solve.predictor.answering import MODELS
    from ediff_solve.predictor.training.pipeline import PredictorSettings, build_predictor
    from ediff_utils.core import paths
    from ediff_utils.core.settings import check

    overrides: dict[str, Any] = read_overrides(parameter)
    settings = check(PredictorSettings, **overrides)
    names = {"clean": clean, "detector": detector}
    runs = {condition: paths.Run(run) for condition, run in names.items() if run}
    if not runs:
        raise UserError("--clean, --detector: expected the name of a run")
    card = build_predictor(runs, MODELS / name, settings, jobs=jobs)
    for condition in runs:
        figures = {key: card[condition][key] for key in ("one", "ten", "space_group_top1_ten")}
        line = ", ".join(f"{key} {value:.1%}" for key, value in figures.items())
        click.echo(f"{condition:10} {line}")
    click.echo(f"\nPredictor: {MODELS / name}")


@main.command()
@click.argument("run")
def ablation(run: str) -> None:
    """Print what a published run's accuracy on the grid is made of, as Markdown."""
    import pandas as pd

    from ediff_solve.forests.ablation import tabulate
    from ediff_utils.core import paths
    from ediff_utils.paper import results
    from ediff_utils.paper.comparison import to_markdown

    found = results.read_results(paths.Run(run).published).get("ablation")
    if not found:
        raise UserError(f"run '{run}': no table of changes; it is made by notebook 07")
    click.echo(to_markdown(tabulate(pd.DataFrame(found["rows"]))), nl=False)


@main.command()
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the figures into")
@click.option("--again", is_flag=True, help="first ask about all test patterns of two runs again")
@click.option("--clean", default="random", show_default=True, help="run whose patterns are clean")
@click.option(
    "--detector", default="detector", show_default=True, help="run that a detector looks at"
)
@click.option("--jobs", default=-1, show_default=True, help="worker processes, to ask again")
def card(
    model: str, figure: Path | None, again: bool, clean: str, detector: str, jobs: int
) -> None:
    """Compute a predictor's figures again from its answers, and some answers from their spots."""
    from ediff_solve.predictor.answering import find_predictor
    from ediff_solve.predictor.training.card import format_figures
    from ediff_solve.predictor.training.checking import check_predictor, judge_runs_again
    from ediff_utils.core import paths

    folder = find_predictor(model)
    if again:
        names = {"clean": clean, "detector": detector}
        judge_runs_again(
            folder, {name: paths.Run(run) for name, run in names.items() if run}, jobs=jobs
        )
    figures, comparison = check_predictor(folder)
    click.echo(format_figures(figures))
    click.echo(
        f"\n{comparison['answers']:,} answers made again from their spots: "
        f"{comparison['same']:.1%} the same, confidences within {comparison['largest']:.1g}"
    )
    if figure:
        from ediff_solve.figures.predictor import figure_card
        from ediff_solve.predictor.training.card import TEN, compute_growth
        from ediff_solve.predictor.training.sample import read_answers
        from ediff_utils.figures.style import save_figure

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
    from ediff_solve.predictor.answering import Predictor
    from ediff_solve.predictor.report import answer_file, read_patterns

    if draws:
        from ediff_solve.predictor.draws import answer_draws

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
        from ediff_solve.figures.unknown import plot_answer
        from ediff_utils.figures.style import save_figure

        click.echo(f"\nFigure: {save_figure(plot_answer(answers[0]), figure)}", err=as_json)


if __name__ == "__main__":
    main()

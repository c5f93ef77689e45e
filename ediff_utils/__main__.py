"""The paper's commands: ``python -m ediff_utils``; ``ediff`` has these and the solver's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ediff_utils import __version__
from ediff_utils.core.errors import UserError


class Commands(click.Group):
    """Prints a user's mistake as one line, not a traceback, and ends with exit code 2."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except UserError as error:
            text = str(error)
        except OSError as error:
            # Of a name that the system itself does not take, or that is not the user's.
            if error.filename is None:
                raise
            text = f"{str(error.filename)[:100]}: {error.strerror}"
        except ValueError as error:
            if "embedded null byte" not in str(error):
                raise
            text = "a name with a NUL in it; expected the name of a file"
        click.echo(f"Error: {text}", err=True)
        sys.exit(2)


def _set_home(_context: click.Context, _option: click.Parameter, home: Path | None) -> None:
    """Set it before any command imports what looks for it."""
    if home is not None:
        os.environ["EDIFF_HOME"] = str(home.absolute())


HOME = click.option(
    "--home",
    envvar="EDIFF_HOME",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_set_home,
    expose_value=False,
    help="folder whose data/runs and figures are meant; by default the checkout, or where you are",
)
SETTINGS = {"help_option_names": ["-h", "--help"]}
AS_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(__version__)
@HOME
def main() -> None:
    """Crystal structure from electron diffraction patterns, after Gleason et al. 2024."""


def read_overrides(parameter: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    from ediff_utils.core.settings import read_yaml

    return {key: read_yaml(value, f"--parameter {key}") for key, value in parameter}


_CRYSTALS = click.option(
    "--crystals", help="embedded, materials-project, a folder of CIFs or a Parquet table"
)
PARAMETER = click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="override a parameter"
)


@main.command(epilog="Example: ediff reproduce --preset smoke")
@click.option(
    "--preset", default="quick", show_default=True, help="quick, smoke, paper or a YAML file"
)
@_CRYSTALS
@click.option("--name", help="name of the run; by default the preset's, and that of the crystals")
@click.option("--only", default="", help="run only notebooks whose names start so, such as 06")
@PARAMETER
def reproduce(
    preset: str,
    crystals: str | None,
    name: str | None,
    only: str,
    parameter: tuple[tuple[str, str], ...],
) -> None:
    """Run the notebooks and set the results beside the paper's."""
    from ediff_utils.core import paths
    from ediff_utils.paper import comparison
    from ediff_utils.reproduce import name_run
    from ediff_utils.reproduce import reproduce as run_all

    overrides = read_overrides(parameter)
    found = run_all(preset, crystals=crystals, name=name, overrides=overrides, only=only)
    run = paths.Run(name or name_run(preset, crystals))
    if found["crystal_system"]:
        click.echo(comparison.format_table(comparison.comparison_table(found)))
    click.echo(f"\nFigures, executed notebooks and results.json: {run.data}")


@main.command(epilog="Example: ediff dataset --preset random --crystals cifs -p orientations 20")
@click.option("--preset", default="grid", show_default=True, help="grid, random or a YAML file")
@_CRYSTALS
@click.option("--name", help="name of the run; by default the preset's")
@PARAMETER
@click.option(
    "--check",
    default=0,
    help="hold so many patterns, from all crystal systems, against a dense eigen-decomposition",
)
@AS_JSON
def dataset(
    preset: str,
    crystals: str | None,
    name: str | None,
    parameter: tuple[tuple[str, str], ...],
    check: int,
    as_json: bool,
) -> None:
    """Simulate a dataset of patterns; a run that was stopped goes on where it was."""
    from ediff_utils.core import paths
    from ediff_utils.reproduce import make_dataset

    run = paths.Run(name or Path(preset).stem)
    summary = make_dataset(
        run,
        preset,
        crystals=crystals,
        overrides=read_overrides(parameter),
        check_patterns=check,
    )
    if as_json:
        click.echo(json.dumps(summary))
        return
    for key in ("n_crystals", "patterns", "spots", "gib", "minutes", "worker_peak_gib"):
        click.echo(f"{key:16} {summary[key]:>14,}")
    click.echo(f"{'failures':16} {len(summary['failures']):>14,}")
    if check:
        click.echo(f"{'largest error':16} {summary['check']['difference']:>14.1e}")
    click.echo(f"\nPatterns: {run.patterns}\nSummary:  {run.dataset}")


@main.command(epilog="Example: ediff publish quick")
@click.argument("run", nargs=-1, required=True)
def publish(run: tuple[str, ...]) -> None:
    """Copy what runs have drawn and measured to where it is committed, figures/RUN."""
    from ediff_utils.core.paths import Run
    from ediff_utils.reproduce import publish as publish_run

    for name in run:
        click.echo(publish_run(Run(name)))


@main.command(epilog="Example: ediff summary quick='embedded crystals'")
@click.argument("run", nargs=-1, required=True)
def summary(run: tuple[str, ...]) -> None:
    """Print the rows of the paper's abstract for published runs, as Markdown: NAME=HEADING."""
    from ediff_utils.core import paths
    from ediff_utils.paper import results
    from ediff_utils.paper.comparison import summary_table, to_markdown

    runs = {}
    for item in run:
        name, _, heading = item.partition("=")
        runs[heading or name] = results.read_results(paths.Run(name).published)
    click.echo(to_markdown(summary_table(runs)), nl=False)


if __name__ == "__main__":
    main()

"""The command line ``ediff``: the paper's commands, and those for an unknown crystal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ediff_utils import __version__
from ediff_utils.__main__ import AS_JSON, HOME, PARAMETER, SETTINGS, Commands, read_overrides
from ediff_utils.__main__ import main as paper
from ediff_utils.core.errors import UserError

if TYPE_CHECKING:
    from ediff_utils.core.paths import Run

CALIBRATION = click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="file of 'ediff calibrate rings': pixel size and ellipse",
)
ENERGY = click.option(
    "--energy", default=300.0, show_default=True, help="of the electrons, the voltage [kV]"
)


@contextmanager
def show_compiling() -> Iterator[None]:
    """Show that functions are compiled, which takes a while once after an install."""
    from numba.core import event

    from ediff_utils.core.progress import tqdm

    class Listener(event.Listener):
        bar = None

        def on_start(self, found: event.Event) -> None:
            if self.bar is None and _is_own(found):
                self.bar = tqdm(desc="compiled, once after an install", unit=" functions")

        def on_end(self, found: event.Event) -> None:
            if self.bar is not None and _is_own(found):
                self.bar.update()

    listener = Listener()
    with event.install_listener("numba:compile", listener):
        yield
    if listener.bar is not None:
        listener.bar.close()


@contextmanager
def naming(own: Path, named: Path) -> Iterator[None]:
    """Name in an error the file that the user named, not the one made of it."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(own), str(named))) from None


def _is_own(found: Any) -> bool:
    function = getattr(found.data.get("dispatcher"), "py_func", None)
    return getattr(function, "__module__", "").startswith("ediff_")


@click.group(cls=Commands, commands=dict(paper.commands), context_settings=SETTINGS)
@click.version_option(__version__)
@HOME
def main() -> None:
    """Crystal system, space group and lattice from electron diffraction patterns."""


@main.command(epilog="Example: ediff completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete ediff's commands and options."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "ediff", "_EDIFF_COMPLETE").source())


@main.command(
    epilog="Example: ediff simulate anatase.cif --zone 1 1 0 -t 200 -o spots.csv --figure spots.png"
)
@click.argument("crystal", type=click.Path(path_type=Path))
@click.option("--zone", type=float, nargs=3, required=True, help="zone axis u v w")
@click.option("-t", "--thickness", default=200.0, show_default=True, help="[angstrom]")
@ENERGY
@click.option("--q-max", default=2.0, show_default=True, help="[1/angstrom]")
@click.option("--rotation", default=0.0, help="of the pattern, from qx towards qy [degree]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="spots as .csv or .parquet")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the spots into")
@AS_JSON
def simulate(
    crystal: Path,
    zone: tuple[float, float, float],
    thickness: float,
    energy: float,
    q_max: float,
    rotation: float,
    output: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Simulate the spots of CRYSTAL, a CIF, along a zone axis, with multiple scattering."""
    from ediff_solve.figures import zone as along
    from ediff_utils.core.settings import CrystalSettings, SimulationSettings, check
    from ediff_utils.crystals.crystal import Crystal
    from ediff_utils.crystals.sources import load_crystals
    from ediff_utils.figures.style import save_figure

    own: dict[str, Any] = {"thicknesses": (thickness,), "energy": 1e3 * energy, "q_max": q_max}
    settings = check(SimulationSettings, **own)
    source = check(CrystalSettings, crystals=str(crystal), max_volume=1e5)
    found = load_crystals(source, progress=False)
    if len(found.table) != 1:
        raise UserError(f"{crystal}: {len(found.table)} crystals; expected one, in a CIF")
    row = found.table.iloc[0]
    with show_compiling():
        pattern = along.simulate_zone(Crystal.from_row(row), zone, settings, rotation)
    spots = along.tabulate_zone(pattern)
    name = f"{row['formula']}, {row['space_group_symbol']} ({row['space_group']})"
    title = f"{name}, [{' '.join(f'{u:g}' for u in zone)}], {thickness:g} Å, {energy:g} kV"
    click.echo(
        spots.to_json(orient="records") if as_json else along.format_zone(title, pattern, spots)
    )
    if output:
        click.echo(f"Spots: {along.write_zone(spots, output)}", err=True)
    if figure:
        drawn = along.figure_zone(pattern, title, q_max)
        click.echo(f"Figure: {save_figure(drawn, figure)}", err=True)


@main.command(epilog="Example: ediff maps scan.hspy --pixel-size 0.015 --figure maps.png")
@click.argument("scan", type=click.Path(path_type=Path))
@ENERGY
@click.option("--pixel-size", type=float, help="of the detector, if the file lacks it [1/angstrom]")
@click.option("--ring-spacing", type=float, help="of a ring the sample is known to have [angstrom]")
@click.option("--scan-shape", type=int, nargs=2, help="positions along x and y, of a mere stack")
@CALIBRATION
@click.option("--step", type=float, help="between positions, if the file lacks it [angstrom]")
@click.option("--node", default="", help="which DataCube or list, where the file holds several")
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@PARAMETER
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="folder; by default SCAN-maps"
)
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the maps into")
@AS_JSON
def maps(
    scan: Path,
    energy: float,
    pixel_size: float | None,
    ring_spacing: float | None,
    scan_shape: tuple[int, int] | None,
    calibration: Path | None,
    step: float | None,
    node: str,
    model: str,
    parameter: tuple[tuple[str, str], ...],
    output: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Map the crystal systems of SCAN, 4D-STEM frames or Bragg lists, by the predictor.

    Beside what the predictor says of each position, the phases that explain the whole scan.
    """
    from ediff_solve.figures.phases import figure_net, figure_phases
    from ediff_solve.frames.powder import read_calibration
    from ediff_solve.phases.scan import map_net
    from ediff_solve.scans.mapping import (
        format_scan,
        map_scan,
        prepare_phase_figure,
        take_scan,
    )
    from ediff_utils.core.settings import ScanSettings, check
    from ediff_utils.figures.scan import figure_7
    from ediff_utils.figures.style import save_figure

    known = None if calibration is None else read_calibration(calibration)
    own: dict[str, Any] = {"pixel_size": pixel_size, "ring_spacing": ring_spacing, "step": step}
    own |= {"scan_shape": scan_shape or None, "node": node or None, "predictor": model}
    own = {name: value for name, value in own.items() if value is not None}
    own |= take_scan(scan) | {"energy": 1e3 * energy} | read_overrides(parameter)
    settings = check(ScanSettings, **own)
    folder = output or Path(f"{scan.stem}-maps")
    with show_compiling():
        mapped = map_scan(settings, folder, known)
    click.echo(json.dumps(mapped.to_dict()) if as_json else format_scan(mapped))
    if figure:
        by = "the predictor's cells, where cubic"
        drawn = figure_7(mapped.maps, mapped.lists, step=mapped.step, lattice_by=by)
        click.echo(f"Figure: {save_figure(drawn, figure)}", err=True)
        path = figure.with_name(f"{figure.stem}-phases{figure.suffix}")
        if (told := prepare_phase_figure(mapped, settings.energy)) is not None:
            click.echo(f"Figure: {save_figure(figure_phases(**told), path)}", err=True)
        elif (net := mapped.phases.net) is not None:
            shown = figure_net(net, *map_net(mapped.phases, net), mapped.step)
            click.echo(f"Figure: {save_figure(shown, path)}", err=True)
    click.echo(f"Tables and maps: {folder}", err=True)


@main.command(
    epilog="Example: ediff spots frames/ --pixel-size 0.005 -o spots.parquet --figure spots.png"
)
@click.argument("files", nargs=-1, required=True)
@click.option("--pixel-size", type=float, help="of the detector, if the file lacks it [1/angstrom]")
@click.option("--energy", type=float, help="of the electrons, if the file lacks it [kV]")
@click.option(
    "--false-alarms", default=0.1, show_default=True, help="spots a frame that noise may show"
)
@click.option("--sigma", type=float, help="of a spot; measured by default [pixel]")
@click.option("--beam", type=float, nargs=2, help="row and column behind a beam stop [pixel]")
@click.option("--gap", type=float, help="rows and columns missing between the chips [pixel]")
@click.option("--alpha", type=float, nargs=2, help="goniometer's first angle and step [degree]")
@CALIBRATION
@click.option("--tilt-axis", type=float, help="its axis, from qx towards qy [degree]")
@click.option("--node", help="which list in a file of py4DSTEM")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="spots, .parquet or .csv")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG: spots drawn over frames")
def spots(files: tuple[str, ...], output: Path | None, figure: Path | None, **given: Any) -> None:
    """Find the spots in FILES: pictures, stacks or folders of frames that are no scan.

    Of a spot list of DIALS, XDS, PETS2, Jana or pyxem it says what is in it, and converts it.
    """
    from ediff_solve.frames.finding import find_in_files, read_lists

    if (lists := read_lists(files, given["pixel_size"], given.pop("node"))) is not None:
        click.echo(lists.source)
        if output:
            click.echo(f"Spots: {lists.write(output)}", err=True)
        return
    if given["energy"] is not None:
        given["energy"] *= 1e3
    with show_compiling():
        done = find_in_files(files, listed=output is not None, **given)
    click.echo(done.text)
    if output and done.spots is not None:
        click.echo(f"Spots: {done.spots.write(output)}", err=True)
    if figure:
        from ediff_solve.figures.spots import figure_spots
        from ediff_utils.figures.style import save_figure

        drawn = figure_spots(done.series.frames, done.found)
        click.echo(f"Figure: {save_figure(drawn, figure)}", err=True)


@main.group()
def calibrate() -> None:
    """Find out a camera's scale and distortion."""


@calibrate.command(epilog="Example: ediff calibrate rings gold.tif --crystal gold -o camera.json")
@click.argument("files", nargs=-1, required=True)
@click.option("--crystal", default="gold", show_default=True, help="a metal's name, or a CIF")
@click.option(
    "--pixel-size", type=float, help="to within a fifth, if the rings are many [1/angstrom]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="calibration, a JSON file")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG: the rings over the picture")
def rings(
    files: tuple[str, ...],
    crystal: str,
    pixel_size: float | None,
    output: Path | None,
    figure: Path | None,
) -> None:
    """Find scale and ellipse from the rings of a known sample in FILES, a picture or several."""
    from ediff_solve.frames.pictures import open_series
    from ediff_solve.frames.powder import calibrate_rings, find_crystal, format_rings

    known = find_crystal(crystal)
    series = open_series(files)
    mean = series.frames.mean(axis=0)
    with show_compiling():
        found = calibrate_rings(mean, known, pixel_size=pixel_size, source=series.name)
    click.echo(format_rings(found))
    if output:
        click.echo(f"Calibration: {found.write(output)}", err=True)
    if figure:
        from ediff_solve.figures.spots import figure_rings
        from ediff_utils.figures.style import save_figure

        click.echo(f"Figure: {save_figure(figure_rings(mean, found), figure)}", err=True)


@main.command(epilog="Example: ediff figure 5 --run quick")
@click.argument("number")
@click.option("--run", default="quick", show_default=True, help="whose stored tables are drawn")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="PNG; by default the run's own"
)
def figure(number: str, run: str, output: Path | None) -> None:
    """Draw a figure again from a run's stored tables: 4, 5, 6, S5 to S9, or all of them."""
    from ediff_solve.figures.again import draw_again
    from ediff_utils.core.paths import Run

    for path in draw_again(Run(run), number, output):
        click.echo(path)


@main.group()
def predictor() -> None:
    """Train a predictor, or check the one that there is."""


#: Runs of patterns by condition; an empty name leaves one out.
_CONDITIONS = {
    "clean": ("random", "run whose patterns are clean"),
    "detector": ("detector", "run that a detector looks at"),
    "zone": ("", "run near zone axes whose patterns are clean"),
    "zone_detector": ("", "run near zone axes that a detector looks at"),
}


def _with_runs(command: Callable[..., None]) -> Callable[..., None]:
    """Options that name a run for each condition."""
    for condition, (default, text) in reversed(_CONDITIONS.items()):
        name, shown = "--" + condition.replace("_", "-"), bool(default)
        command = click.option(name, default=default, show_default=shown, help=text)(command)
    return command


def _find_runs(names: Mapping[str, str]) -> dict[str, Run]:
    from ediff_utils.core import paths

    runs = {condition: paths.Run(run) for condition, run in names.items() if run}
    if not runs:
        raise UserError("--clean, --detector: expected the name of a run")
    return runs


@predictor.command(epilog="Example: ediff predictor train --name mine")
@_with_runs
@click.option("--name", default="default", show_default=True, help="folder under data/models")
@PARAMETER
@click.option("--jobs", default=-1, show_default=True, help="worker processes")
def train(name: str, parameter: tuple[tuple[str, str], ...], jobs: int, **names: str) -> None:
    """Train the predictor on datasets of patterns; goes on where it stopped."""
    from ediff_solve.predictor.answering import MODELS
    from ediff_solve.predictor.training.pipeline import PredictorSettings, build_predictor
    from ediff_utils.core.settings import check

    overrides: dict[str, Any] = read_overrides(parameter)
    settings = check(PredictorSettings, **overrides)
    runs = _find_runs(names)
    card = build_predictor(runs, MODELS / name, settings, jobs=jobs)
    for condition in runs:
        figures = {key: card[condition][key] for key in ("one", "ten", "space_group_top1_ten")}
        line = ", ".join(f"{key} {value:.1%}" for key, value in figures.items())
        click.echo(f"{condition:10} {line}")
    click.echo(f"\nPredictor: {MODELS / name}")


@main.command(epilog="Example: ediff ablation paper")
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


@predictor.command(epilog="Example: ediff predictor check --figure card.png")
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG to draw the figures into")
@click.option("--again", is_flag=True, help="first ask about all test patterns of the runs again")
@_with_runs
@click.option("--jobs", default=-1, show_default=True, help="worker processes, to ask again")
def check(model: str, figure: Path | None, again: bool, jobs: int, **names: str) -> None:
    """Compute a predictor's figures again from its answers, and some answers from their spots."""
    from ediff_solve.predictor.answering import find_predictor
    from ediff_solve.predictor.training.card import format_figures
    from ediff_solve.predictor.training.checking import check_predictor, judge_runs_again

    folder = find_predictor(model)
    if again:
        judge_runs_again(folder, _find_runs(names), jobs=jobs)
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


@main.command(epilog="Example: ediff predict spots.csv --figure answer.png")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default="default", show_default=True, help="name or folder of a predictor")
@ENERGY
@click.option("--each", is_flag=True, help="every pattern alone; otherwise all are of one crystal")
@click.option("--node", help="which list of spots in a file of py4DSTEM")
@CALIBRATION
@click.option("--crystals", help="known crystals: a Parquet table, a CIF or a folder of CIFs")
@click.option("--elements", default="", help="those present, such as Si,O")
@AS_JSON
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
    calibration: Path | None,
    crystals: str | None,
    elements: str,
    as_json: bool,
    figure: Path | None,
    draws: int,
    together: int,
    truth: str,
    seed: int,
) -> None:
    """Say what crystal the spots in FILE are of: a table, or a list of another program."""
    from ediff_solve.predictor.answering import Predictor
    from ediff_solve.predictor.report import answer_file, read_patterns

    named = file
    told = click.get_current_context().get_parameter_source("energy")
    if told is click.core.ParameterSource.DEFAULT:
        from ediff_solve.frames.finding import find_energy

        energy = (find_energy(file) or 1e3 * energy) / 1e3
    if calibration is not None:
        from ediff_solve.frames.finding import recalibrated

        file = click.get_current_context().with_resource(recalibrated(file, calibration))
    if draws:
        from ediff_solve.predictor.draws import answer_draws

        if each or figure or crystals or elements:
            raise UserError("--draws: goes with --together, --truth, --seed and --json alone")
        with show_compiling(), naming(file, named):
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
    with show_compiling(), naming(file, named):
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
    click.echo(text.replace(str(file), str(named)))
    if figure:
        from ediff_solve.figures.unknown import plot_answer
        from ediff_utils.figures.style import save_figure

        click.echo(f"\nFigure: {save_figure(plot_answer(answers[0]), figure)}", err=as_json)


if __name__ == "__main__":
    main()

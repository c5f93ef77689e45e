"""A run beside the paper, row by row: the abstract, figure 5 and what the text adds to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper import published
from ediff_utils.paper.evaluation import INDEPENDENT_AXES
from ediff_utils.paper.published import Published

COLUMNS = (
    *("quantity", "protocol", "this run", "95 % interval", "n", "paper", "difference"),
    "paper source",
)
_EQUAL_AXES = {"cubic": {"a": "a = b = c"}} | {
    system: {"a": "a = b", "c": "c"} for system in ("hexagonal", "trigonal", "tetragonal")
}
#: What notebook 07 adds to the rows of the abstract.
_CROSS = {
    "train_grid_test_grid": "crystal system, trained and asked on the grid",
    "train_grid_test_random": "crystal system, trained on the grid, asked at random",
    "train_random_test_random": "crystal system, trained and asked at random",
}
_PATTERNS = {"one": "1", "ten": "10"}
_SYSTEM, _GROUP, _LATTICE = "crystal_system/{}", "space_group/{}", "lattice/{}"


class _Row(NamedTuple):
    """One line of the table.

    ``path`` has the keys of its number in ``results.json``, with the protocol for ``{}``, or is
    what computes it.
    """

    quantity: str
    protocol: str
    path: str | Callable[[Mapping], float | None]
    paper: Published


def _abstract_rows(protocol: str) -> Iterator[_Row]:
    accuracy, error = "crystal system accuracy", "median lattice error, range of"
    paper = published.CRYSTAL_SYSTEM_ACCURACY[protocol]
    # Notebook 07's: arguments of coefficients that symmetry extinguishes are those of round-off.
    yield _Row(f"{accuracy}, plainest reading", protocol, "plain_reading/{}", paper)
    # Of everything else, too: these arguments are 0.
    yield _Row(f"{accuracy}, round-off zeroed", protocol, f"{_SYSTEM}/accuracy", paper)
    if protocol == "ten":
        accuracy = "space group accuracy, range of cubic to tetragonal"
        yield _Row(accuracy, protocol, f"{_GROUP}/range", published.SPACE_GROUP_RANGE)
    range_ = f"{_LATTICE}/range"
    yield _Row(f"{error} cubic to tetragonal", protocol, range_, published.LATTICE_RANGE)
    low, paper = f"{range_}_low_symmetry", published.LATTICE_RANGE_LOW_SYMMETRY
    yield _Row(f"{error} orthorhombic and monoclinic", protocol, low, paper)


def _figure_5_rows(protocol: str) -> Iterator[_Row]:
    for system in SYSTEMS:
        quantity = f"space group accuracy, predicted {system}"
        paper = published.SPACE_GROUP_ACCURACY[protocol][system]
        yield _Row(quantity, protocol, f"{_GROUP}/systems/{system}/accuracy", paper)
    for system in SYSTEMS:
        for axis in INDEPENDENT_AXES[system]:
            name = _EQUAL_AXES.get(system, {}).get(axis, axis)
            quantity = f"median error of {name}, predicted {system}"
            paper = published.LATTICE_MEDIAN_ERROR[protocol][system][axis]
            yield _Row(quantity, protocol, f"{_LATTICE}/systems/{system}/{axis}", paper)


def _further_rows(protocol: str) -> Iterator[_Row]:
    for outcome, paper in published.MEAN_CONFIDENCE[protocol].items():
        quantity = f"mean confidence of {outcome} crystal systems"
        yield _Row(quantity, protocol, f"{_SYSTEM}/confidence/{outcome}", paper)
    for system, paper in published.FALSE_POSITIVE_RATE[protocol].items():
        path = f"{_SYSTEM}/systems/{system}/false_positive_rate"
        yield _Row(f"false positives among predicted {system}", protocol, path, paper)
    for system, paper in published.SPACE_GROUP_GIVEN_SYSTEM.get(protocol, {}).items():
        path = f"{_GROUP}/systems/{system}/accuracy_given_system"
        yield _Row(f"space group accuracy where {system} is right", protocol, path, paper)


def _gain(system: str) -> Callable[[Mapping], float | None]:
    """How much more of a system's test set is found with ten patterns than with one; relative."""

    def gain(results: Mapping) -> float | None:
        path = f"{_SYSTEM}/systems/{system}/sensitivity"
        one, ten = (_find(results, path.format(protocol)) for protocol in ("one", "ten"))
        return ten / one - 1 if one and ten is not None else None

    return gain


def _text_rows() -> Iterator[_Row]:
    """What the text adds to figures 4 and S6."""
    for system, paper in published.GAIN.items():
        yield _Row(f"gain of {system}, one to ten patterns", "ten", _gain(system), paper)
    for protocol, paper in published.ORTHORHOMBIC_CALLED_MONOCLINIC.items():
        path = f"{_SYSTEM}/confusion/orthorhombic/monoclinic"
        yield _Row("orthorhombic called monoclinic, of the test set", protocol, path, paper)
    for (low, high), paper in published.HEXAGONAL_BY_CONFIDENCE.items():
        path = f"{_SYSTEM}/by_confidence/hexagonal/{published.name_range(low, high)}"
        quantity = f"right among hexagonal calls of confidence {low:.0%} to {high:.0%}"
        yield _Row(quantity, "one", path, paper)


def _particle_share(system: str) -> Callable[[Mapping], float | None]:
    def share(results: Mapping) -> float | None:
        particles = _find(results, "scan/particles_brightest")
        return particles.get(system, 0) / sum(particles.values()) if particles else None

    return share


def _gold_rows() -> Iterator[_Row]:
    """Figure 7; the paper's scan is a measured one, the run's as a rule a simulated one."""
    paper = published.GOLD_MEDIAN_LATTICE
    yield _Row("gold: median lattice where cubic", "one", "scan/median_a_cubic", paper)
    paper = published.GOLD_CUBIC_PIXELS
    yield _Row("gold: positions called cubic", "one", "scan/share/cubic", paper)
    for system, paper in published.GOLD_PARTICLE_SHARES.items():
        yield _Row(f"gold: particles called {system}", "one", _particle_share(system), paper)


def _triclinic_rows() -> Iterator[_Row]:
    for quantity, path, paper in (
        ("accuracy", "accuracy", published.TRICLINIC_ACCURACY),
        (
            "sensitivity to triclinic",
            "systems/triclinic/sensitivity",
            published.TRICLINIC_SENSITIVITY,
        ),
        ("precision of triclinic", "systems/triclinic/precision", published.TRICLINIC_PRECISION),
    ):
        yield _Row(f"with triclinic: {quantity}", "one", f"with_triclinic/{{}}/{path}", paper)


def _rows(results: Mapping) -> Iterator[_Row]:
    for part in (_abstract_rows, _figure_5_rows, _further_rows):
        for protocol in ("one", "ten"):
            yield from part(protocol)
    yield from _text_rows()
    if "with_triclinic" in results:
        yield from _triclinic_rows()
    if "scan" in results:
        yield from _gold_rows()


def _find(results: Mapping, path: str) -> Any:
    """What stands at a path of ``results.json``, or None."""
    value: Any = results
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _look_up(results: Mapping, row: _Row) -> tuple[Any, Any, Any]:
    """A row's number, its interval and its n; the latter two stand beside it."""
    if callable(row.path):
        return row.path(results), None, None
    parent, _, key = row.path.format(row.protocol).rpartition("/")
    value = _find(results, f"{parent}/{key}")
    if isinstance(value, list):
        return value, None, None
    beside = (_find(results, f"{parent}/{name}") for name in ("interval", "n"))
    interval, n = (found.get(key) if isinstance(found, Mapping) else found for found in beside)
    return value, interval, n


def _format(value: Any, unit: str) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "none" if None in value else " to ".join(_number(v, unit) for v in value)
    return _number(value, unit)


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f}" if unit == "fraction" else f"{value:.3g}"


def _with_unit(text: str, unit: str) -> str:
    return text if text == "none" else f"{text} {'%' if unit == 'fraction' else 'Å'}"


def _difference(value: object, paper: Published) -> str:
    """Subtract the paper from this run, where both are single numbers."""
    if not isinstance(value, int | float) or paper.value is None:
        return ""
    difference = value - paper.value
    if paper.unit == "fraction":
        return f"{100 * difference:+.1f} points"
    return _with_unit(f"{difference:+.3f}", paper.unit)


def _protocol_name(results: Mapping, protocol: str) -> str:
    n = _find(results, f"crystal_system/{protocol}/patterns_per_prediction")
    count = n if isinstance(n, int) else {"one": 1, "ten": 10}[protocol]
    return "1 pattern" if count == 1 else f"{count} patterns"


def compute_comparison(results: Mapping) -> pd.DataFrame:
    """Numbers of a run (:func:`ediff_utils.paper.results.collect`), each with the paper's.

    A row for each row of the abstract and of figures 4, 5, 7, S3 and S6: ``quantity``, ``protocol``
    ("one", "ten"), ``value`` (a float, a list of two for a range over systems, ``None`` where the
    run has no such group), ``interval`` (95 %), ``n``, ``paper``
    (:class:`~ediff_utils.paper.published.Published`). Of a range there is no interval.
    """
    rows = [
        (row.quantity, row.protocol, *_look_up(results, row), row.paper) for row in _rows(results)
    ]
    columns = ["quantity", "protocol", "value", "interval", "n", "paper"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def comparison_table(results: Mapping) -> pd.DataFrame:
    """Set a run beside the paper, to be read.

    Parameters
    ----------
    results : mapping
        What :func:`ediff_utils.paper.results.collect` returns.

    Returns
    -------
    DataFrame of str
        Its rows. "none": the run has no such group; "not stated": the paper has no such number.
    """
    rows = []
    for row in compute_comparison(results).itertuples():
        unit, note = row.paper.unit, f"; {row.paper.note}" if row.paper.note else ""
        rows.append(
            (
                row.quantity,
                _protocol_name(results, row.protocol),
                _with_unit(_format(row.value, unit), unit),
                _with_unit(_format(row.interval, unit), unit).replace("none", ""),
                "" if row.n is None else f"{row.n:,}",
                str(row.paper),
                _difference(row.value, row.paper),
                f"{row.paper.source}{note}",
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary_table(runs: Mapping[str, Mapping]) -> pd.DataFrame:
    """Set several runs, results by headings, beside each other and the paper, as strings.

    The rows of the abstract for one and several patterns, and the crystal system away from the
    grid, which the paper does not report.
    """
    rows = []
    for protocol in ("one", "ten"):
        for row in _abstract_rows(protocol):
            values = [_look_up(run, row)[0] for run in runs.values()]
            cells = [_with_unit(_format(value, row.paper.unit), row.paper.unit) for value in values]
            rows.append([row.quantity, _PATTERNS[protocol], *cells, str(row.paper)])
    for protocol in ("one", "ten"):
        for key, quantity in _CROSS.items():
            values = [_find(run, f"{key}/{protocol}") for run in runs.values()]
            cells = [_with_unit(_format(value, "fraction"), "fraction") for value in values]
            rows.append([quantity, _PATTERNS[protocol], *cells, "not reported"])
    return pd.DataFrame(rows, columns=["", "patterns", *runs, "paper"])


def format_table(table: pd.DataFrame) -> str:
    """Write the comparison for a terminal, without the sources."""
    columns = [column for column in table.columns if column != "paper source"]
    return table[columns].to_string(index=False, justify="left")


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table of strings as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    lines = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)

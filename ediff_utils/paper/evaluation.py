"""How good predictions are: figures 4 to 6, S3 and S5 to S9.

Every function takes a ``table``: ``predictions`` (one pattern a row) or ``aggregates`` (one
material a row), which share their columns' names. Groups without members have ``nan`` and
``n = 0``; intervals: see :mod:`ediff_utils.core.estimates`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from ediff_utils.core.errors import UserError
from ediff_utils.core.estimates import Estimate, estimate_median, estimate_rate
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS

AXES = ("a", "b", "c")
#: Axes that symmetry leaves independent, as figure 6 of the paper shows them.
INDEPENDENT_AXES = {
    "cubic": ("a",),
    "hexagonal": ("a", "c"),
    "trigonal": ("a", "c"),
    "tetragonal": ("a", "c"),
    "orthorhombic": AXES,
    "monoclinic": AXES,
    "triclinic": AXES,
}
#: Whose rows a group holds: see :func:`compute_space_group_accuracy`.
_GROUPINGS = ("predicted", "true", "given", "known")
_REQUIRED = ("material_id", "true_system", "system", "confidence")


def check_table(table: pd.DataFrame, columns: Sequence[str] = _REQUIRED) -> None:
    """Raise a UserError that names the first column that ``table`` lacks."""
    for column in columns:
        if column not in table.columns:
            raise UserError(f"predictions: column '{column}' is missing; run the prediction again")


def systems_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a table: seven where its model knows triclinic, else six."""
    triclinic = {"votes_triclinic", "weight_triclinic", "score_triclinic"} & set(table.columns)
    return ALL_SYSTEMS if triclinic else SYSTEMS


def confidence_column(table: pd.DataFrame) -> str:
    """Name what the paper shows as confidence: share of the trees, or of the weights."""
    return "vote_share" if "vote_share" in table.columns else "confidence"


def right_system(table: pd.DataFrame) -> np.ndarray:
    """Tell for each row whether its crystal system is right; bool, shape (n,)."""
    check_table(table, ("true_system", "system"))
    true, predicted = table["true_system"], table["system"]
    return true.to_numpy(dtype=object) == predicted.to_numpy(dtype=object)


def compute_accuracy(table: pd.DataFrame, *, seed: int = 0) -> Estimate:
    """Compute the share of rows whose crystal system is right.

    Parameters
    ----------
    table : DataFrame
    seed : int
        Of the interval.

    Returns
    -------
    Estimate
    """
    check_table(table)
    return estimate_rate(
        right_system(table), table["material_id"].to_numpy(dtype=object), seed=seed
    )


# --- crystal system -------------------------------------------------------------------------------
def _cells(table: pd.DataFrame, systems: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows' true and predicted class as indices into ``systems``, -1 for others."""
    index = pd.Index(systems)
    true = index.get_indexer(pd.Index(table["true_system"].to_numpy(dtype=object)))
    return true, index.get_indexer(pd.Index(table["system"].to_numpy(dtype=object)))


def _confusion(
    table: pd.DataFrame,
    systems: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Rows, or the sum of their weights, by true (rows) and predicted (columns) crystal system."""
    check_table(table, ("true_system", "system"))
    systems = systems_of(table) if systems is None else systems
    labels = np.arange(-1, len(systems))
    sums = np.zeros((len(labels), len(labels)), int)
    if len(table):
        sums = confusion_matrix(*_cells(table, systems), labels=labels, sample_weight=weights)
    names = (pd.Index(systems, name=name) for name in ("true_system", "system"))
    matrix = pd.DataFrame(sums[1:, 1:], *names)
    matrix.attrs["n"] = len(table)
    return matrix


def compute_confusion(table: pd.DataFrame, systems: Sequence[str] | None = None) -> pd.DataFrame:
    """Compute figure 4 a and b: fractions of the whole test set.

    Parameters
    ----------
    table : DataFrame
    systems : sequence of str, optional
        The classes; by default those that the table's model knows.

    Returns
    -------
    DataFrame, shape (n_systems, n_systems)
        Rows are true systems, columns predicted ones; ``attrs["n"]`` is the size of the test set.
    """
    return _confusion(table, systems) / (len(table) or np.nan)


def compute_confidence_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Compute figure 4 c and d: the mean confidence in each cell, ``nan`` where a cell is empty."""
    counts = _confusion(table)
    return _confusion(
        table, weights=table[confidence_column(table)].to_numpy(dtype=float)
    ) / counts.where(counts > 0)


def compute_system_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Compute how reliable a prediction of each crystal system is, and how often it is found.

    A row a system: ``n_true``, ``n_predicted``, ``n_right``; ``share`` of the test set;
    ``precision`` (the "True Pos Rate" of figure S3) and ``false_positive_rate = 1 - precision``
    (figure S5), both shares of the predictions of that system; ``sensitivity``, the share of its
    members that is found. ``precision_low``, ``precision_high``, ``sensitivity_low``,
    ``sensitivity_high`` bound 95 %.
    """
    check_table(table)
    systems = systems_of(table)
    right, true, predicted = (right_system(table), *_cells(table, systems))
    materials = table["material_id"].to_numpy(dtype=object)
    rows = []
    for i in range(len(systems)):
        called, member = predicted == i, true == i
        precision = estimate_rate(right[called], materials[called])
        sensitivity = estimate_rate(right[member], materials[member])
        rows.append(
            {"n_true": sensitivity.n, "n_predicted": precision.n}
            | {"n_right": int((right & member).sum())}
            | {"share": sensitivity.n / len(table) if len(table) else np.nan}
            | _with_bounds("precision", precision)
            | {"false_positive_rate": 1 - precision.value}
            | _with_bounds("sensitivity", sensitivity)
        )
    return pd.DataFrame(rows, index=pd.Index(systems, name="system"))


def _with_bounds(name: str, rate: Estimate) -> dict[str, float]:
    """A rate and its interval, as columns."""
    return {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}


def compute_confidence_by_outcome(table: pd.DataFrame) -> pd.DataFrame:
    """Mean ``confidence`` and ``n`` of right and of wrong predictions, a row each."""
    right = right_system(table)
    confidence = table[confidence_column(table)].to_numpy(dtype=float)
    parts = {"right": confidence[right], "wrong": confidence[~right]}
    return pd.DataFrame(
        {
            "confidence": {k: float(v.mean()) if v.size else np.nan for k, v in parts.items()},
            "n": {k: v.size for k, v in parts.items()},
        }
    )


def compute_confidence_histogram(table: pd.DataFrame, n_bins: int = 20) -> pd.DataFrame:
    """Compute figure S6: right and wrong predictions by confidence, for each predicted system.

    Of ``n_bins`` between 0 and 1 a bin holds its lower edge, the last one both: ``system``,
    ``low``, ``high`` (its edges), ``right``, ``wrong``, ``n`` and ``accuracy``.
    """
    right = right_system(table)
    confidence = table[confidence_column(table)].to_numpy(dtype=float)
    predicted = table["system"].to_numpy(dtype=object)
    edges = np.linspace(0, 1, n_bins + 1)
    parts = []
    for system in systems_of(table):
        called = predicted == system
        hits = np.histogram(confidence[called & right], edges)[0]
        misses = np.histogram(confidence[called & ~right], edges)[0]
        n = hits + misses
        accuracy = np.divide(hits, n, out=np.full(n_bins, np.nan), where=n > 0)
        columns = {"low": edges[:-1], "high": edges[1:], "right": hits, "wrong": misses}
        part = pd.DataFrame(columns | {"n": n, "accuracy": accuracy})
        part.insert(0, "system", system)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


# --- space group and lattice ----------------------------------------------------------------------
def _groups(
    table: pd.DataFrame, groupings: Sequence[str], given: str
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield name of the grouping, name of the group and the mask of its rows."""
    right = right_system(table)
    system = {name: table[name].to_numpy(dtype=object) for name in ("system", "true_system")}
    for name in groupings:
        if name == "known" and given not in table.columns:
            continue
        among = right if name == "given" else np.ones(len(table), dtype=bool)
        member = system["system" if name == "predicted" else "true_system"]
        for group in systems_of(table):
            yield name, group, among & (member == group)
        yield name, "all", among


def compute_space_group_accuracy(
    table: pd.DataFrame, groupings: Sequence[str] = _GROUPINGS
) -> pd.DataFrame:
    """Compute space group accuracies, by groupings of the rows.

    ``predicted`` is by predicted system, wrong ones included (figure 5 of the paper); ``true`` by
    true system; ``given`` where the system was predicted right; ``known``, where the table has it,
    by the forest of the true system on every row. Columns: ``grouping``, ``system`` (or ``"all"``),
    ``accuracy``, ``low``, ``high``, ``n``, ``n_materials``.
    """
    check_table(table, ("true_space_group", "space_group"))
    materials = table["material_id"].to_numpy(dtype=object)
    true = table["true_space_group"].to_numpy(dtype=float)
    rows = []
    for name, system, mask in _groups(table, groupings, "space_group_given"):
        column = "space_group_given" if name == "known" else "space_group"
        right = table[column].to_numpy(dtype=float) == true
        e = estimate_rate(right[mask], materials[mask])
        rows.append((name, system, e.value, e.low, e.high, e.n, e.n_materials))
    columns = ["grouping", "system", "accuracy", "low", "high", "n", "n_materials"]
    return pd.DataFrame(rows, columns=columns)


def compute_lattice_errors(
    table: pd.DataFrame, groupings: Sequence[str] = _GROUPINGS
) -> pd.DataFrame:
    """Compute median absolute errors of the lattice parameters a, b and c.

    Parameters
    ----------
    table, groupings
        See :func:`compute_space_group_accuracy`.

    Returns
    -------
    DataFrame
        ``grouping``, ``system`` (or ``"all"``), ``axis``, ``median_error``, ``low``, ``high``
        [angstrom], ``n``, ``n_materials``.
    """
    check_table(table, (*AXES, *(f"true_{axis}" for axis in AXES)))
    materials = table["material_id"].to_numpy(dtype=object)
    rows = []
    for name, system, mask in _groups(table, groupings, "a_given"):
        for axis in AXES:
            column = f"{axis}_given" if name == "known" else axis
            error = compute_absolute_error(table, axis, column)[mask]
            e = estimate_median(error, materials[mask])
            rows.append((name, system, axis, e.value, e.low, e.high, e.n, e.n_materials))
    columns = ["grouping", "system", "axis", "median_error", "low", "high", "n", "n_materials"]
    return pd.DataFrame(rows, columns=columns)


def compute_absolute_error(table: pd.DataFrame, axis: str, column: str | None = None) -> np.ndarray:
    """Compute the absolute error of lattice parameter ``axis`` [angstrom]; shape (n,)."""
    predicted = table[column or axis].to_numpy(dtype=float)
    return np.abs(predicted - table[f"true_{axis}"].to_numpy(dtype=float))


def compute_error_by_length(
    table: pd.DataFrame, edges: Sequence[float] = (0, 5, 10, 20, np.inf)
) -> pd.DataFrame:
    """Compute how the lattice error grows with the length of the axis.

    In bins of the true length [angstrom], of which the paper names 10 and 20: ``axis``, ``from``,
    ``to``, ``median_error`` [angstrom], ``n``; bins without a case are left out.
    """
    check_table(table, (*AXES, *(f"true_{axis}" for axis in AXES)))
    rows = []
    for axis in AXES:
        length, error = table[f"true_{axis}"].to_numpy(), compute_absolute_error(table, axis)
        for low, high in itertools.pairwise(edges):
            inside = (length >= low) & (length < high)
            if inside.any():
                rows.append((axis, low, high, float(np.median(error[inside])), int(inside.sum())))
    return pd.DataFrame(rows, columns=["axis", "from", "to", "median_error", "n"])

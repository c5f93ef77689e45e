"""``results.json``: what a run measured, beside what the paper prints.

Each notebook records its part as a file; :func:`collect` merges them, and
:mod:`ediff_utils.paper.comparison` turns the whole into a table.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import Run, atomic_write, require
from ediff_utils.paper import evaluation, published
from ediff_utils.paper.provenance import compute_environment

PARTS = ("crystal_system", "space_group", "lattice")
_PART = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


# --- recording ------------------------------------------------------------------------------------
def to_plain(value: object) -> Any:
    """Turn numpy and pandas types into what JSON knows; a TypeError where there is no counterpart.

    Floats keep six significant digits; ``nan`` and infinities become ``None``.
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [to_plain(item) for item in items]
    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return to_plain(value.tolist())
    if isinstance(value, pd.DataFrame):
        return to_plain(value.to_dict(orient="index"))
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if value is None or value is pd.NA or isinstance(value, bool | int | str):
        return None if value is pd.NA else value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__}: not a value for results.json")


def _write_json(path: Path, values: object) -> None:
    text = json.dumps(to_plain(values), indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def record(run: Run, part: str, values: Mapping[str, object]) -> Path:
    """Write one part of the results of a run; an earlier one of that name is replaced.

    ``part`` is a key in ``results.json``; dots nest, so that ``timings.patterns`` lands in
    ``timings``. ``values`` are numbers, strings, lists and mappings of them, of numpy and pandas
    too.
    """
    if not _PART.fullmatch(part):
        raise UserError(f"part '{part}': expected lower-case letters, digits, '_' and '.' only")
    path = run.records / f"{part}.json"
    _write_json(path, values)
    return path


def _read_part(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file: {error}; remove it and run again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object; remove it and run again")
    return values


def _merge(into: dict, values: Mapping) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def collect(run: Run) -> dict:
    """Merge the recorded parts of a run into its ``results.json``.

    ``crystal_system``, ``space_group`` and ``lattice`` (each with ``one`` and ``ten``), ``paper``
    (its numbers, same nesting: a range is a list of two, ``None`` is not stated),
    ``paper_as_printed`` (same nesting, with "about" and units), ``protocol``, ``environment``,
    ``timings``, and every other part under its own name.
    """
    require(run.records, "the notebooks")
    results: dict = {part: {} for part in PARTS}
    results |= compute_paper_parts()
    results |= {"protocol": {}, "environment": compute_environment(), "timings": {}}
    for path in sorted(run.records.glob("*.json")):
        values: dict = _read_part(path)
        for key in reversed(path.stem.split(".")):
            values = {key: values}
        _merge(results, values)
    results = to_plain(results)
    _write_json(run.results, results)
    return results


def read_results(folder: Path) -> dict:
    """Read the ``results.json`` of a folder: a run's (``run.data``) or a published one.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    UserError
        There is none, or it is not a JSON object.
    """
    return _read_part(require(folder / "results.json", "make reproduce"))


def compute_paper_parts() -> dict[str, dict]:
    """Return the parts ``paper`` and ``paper_as_printed`` of ``results.json``."""

    def convert(tree: Any, leaf: Callable[[published.Published], object]) -> Any:
        if isinstance(tree, published.Published):
            return leaf(tree)
        return {key: convert(value, leaf) for key, value in tree.items()}

    paper = published.compute_paper_results()
    return {
        "paper": convert(paper, lambda leaf: leaf.numbers),
        "paper_as_printed": convert(paper, lambda leaf: f"{leaf} ({leaf.source})"),
    }


# --- evaluating a run -----------------------------------------------------------------------------
def _sizes(table: pd.DataFrame) -> dict[str, object]:
    per_prediction = table["n_patterns"].max() if "n_patterns" in table.columns else 1
    return {
        "n": len(table),
        "n_materials": table["material_id"].nunique(),
        "patterns_per_prediction": per_prediction if len(table) else None,
    }


def _evaluate_crystal_system(table: pd.DataFrame) -> dict[str, object]:
    accuracy = evaluation.compute_accuracy(table)
    confidence = evaluation.compute_confidence_by_outcome(table)
    systems = {}
    for system, row in evaluation.compute_system_rates(table).iterrows():
        counts = {key: int(row[key]) for key in ("n_true", "n_predicted", "n_right")}
        rates = ("share", "precision", "false_positive_rate", "sensitivity")
        low, high = row["precision_low"], row["precision_high"]
        interval = {
            "precision": [low, high],
            "false_positive_rate": [1 - high, 1 - low],
            "sensitivity": [row["sensitivity_low"], row["sensitivity_high"]],
        }
        n = dict.fromkeys(("precision", "false_positive_rate"), counts["n_predicted"])
        n["sensitivity"] = counts["n_true"]
        values = {key: row[key] for key in rates}
        systems[system] = counts | values | {"interval": interval, "n": n}
    return {
        "accuracy": accuracy.value,
        "interval": [accuracy.low, accuracy.high],
        **_sizes(table),
        "confidence": confidence["confidence"].to_dict() | {"n": confidence["n"].to_dict()},
        "systems": systems,
        "confusion": evaluation.compute_confusion(table),
        "by_confidence": {"hexagonal": _right_by_confidence(table, "hexagonal")},
    }


def _right_by_confidence(table: pd.DataFrame, system: str) -> dict[str, float]:
    """Share of right calls of a system in the ranges of confidence that the paper names (S6)."""
    called = table[table["system"] == system]
    confidence = called[evaluation.confidence_column(table)]
    right = evaluation.right_system(called)
    ranges = {published.name_range(*ends): ends for ends in published.HEXAGONAL_BY_CONFIDENCE}
    inside = {name: (confidence >= a) & (confidence < b) for name, (a, b) in ranges.items()}
    return {name: right[own].mean() if own.any() else np.nan for name, own in inside.items()}


def _span(values: pd.Series) -> list[float]:
    known = values.dropna()
    return [known.min(), known.max()] if len(known) else [np.nan, np.nan]


def _evaluate_space_group(table: pd.DataFrame) -> dict[str, object]:
    rates = evaluation.compute_space_group_accuracy(table)
    keys = {
        "predicted": "accuracy",
        "true": "accuracy_true_system",
        "given": "accuracy_given_system",
        "known": "accuracy_known_system",
    }
    groups: dict[str, dict] = {}
    for row in rates.itertuples():
        entry = groups.setdefault(row.system, {"interval": {}, "n": {}})
        key = keys[row.grouping]
        entry[key] = row.accuracy
        entry["interval"][key] = [row.low, row.high]
        entry["n"][key] = row.n
    total = groups.pop("all")
    by_predicted = rates[rates["grouping"] == "predicted"].set_index("system")["accuracy"]
    span = _span(by_predicted.reindex(published.ABSTRACT_SYSTEMS))
    return total | _sizes(table) | {"range": span, "systems": groups}


def _evaluate_lattice(table: pd.DataFrame) -> dict[str, object]:
    errors = evaluation.compute_lattice_errors(table)
    names = {"predicted": "systems", "true": "true_systems", "given": "given_systems"}
    names["known"] = "known_systems"
    out: dict[str, dict] = {}
    for row in errors.itertuples():
        group = out.setdefault(names[row.grouping], {})
        entry = group.setdefault(row.system, {"interval": {}})
        entry[row.axis] = row.median_error
        entry["interval"][row.axis] = [row.low, row.high]
        entry["n"] = row.n
    overall = {key: group.pop("all") for key, group in out.items()}
    predicted = errors[errors["grouping"] == "predicted"]
    high = predicted[predicted["system"].isin(published.ABSTRACT_SYSTEMS)]
    low = predicted[predicted["system"].isin(published.LOW_SYMMETRY)]
    ranges = {
        "range": _span(high["median_error"]),
        "range_low_symmetry": _span(low["median_error"]),
    }
    return overall["systems"] | _sizes(table) | ranges | out


def evaluate_run(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> dict[str, dict]:
    """Evaluate predictions from one pattern and from several.

    Parameters
    ----------
    predictions : DataFrame
        One pattern a row.
    aggregates : DataFrame
        One material a row.

    Returns
    -------
    dict
        The parts ``crystal_system``, ``space_group`` and ``lattice``, each with ``one`` and
        ``ten``; record each under its own name.
    """
    tables = {"one": predictions, "ten": aggregates}
    evaluate = {
        "crystal_system": _evaluate_crystal_system,
        "space_group": _evaluate_space_group,
        "lattice": _evaluate_lattice,
    }
    return {
        part: {protocol: to_plain(function(table)) for protocol, table in tables.items()}
        for part, function in evaluate.items()
    }


def evaluate_with_triclinic(predictions: pd.DataFrame, aggregates: pd.DataFrame) -> dict[str, dict]:
    """Evaluate the crystal system model with triclinic as a seventh class: ``one`` and ``ten``."""
    tables = {"one": predictions, "ten": aggregates}
    return {key: to_plain(_evaluate_crystal_system(table)) for key, table in tables.items()}

"""What a predictor's card says of its answers to test patterns.

"Cannot tell" counts as wrong, and is counted apart beside that.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from ediff_solve.forests.reliability import compute_accuracy_at_coverage, compute_ece
from ediff_solve.predictor.training.judging import ERRORS, LENGTHS
from ediff_utils.core.estimates import compute_wilson_interval
from ediff_utils.paper.evaluation import right_system

#: An answer is called sure where answers as confident are right so often.
SURE = 0.9
#: Fewer of the spots than this share of one-grain examples has indexed call for a second grain.
ONE_GRAIN = 0.02
#: Patterns that the card speaks of as "ten".
TEN = 10
#: What the card calls an answer to one pattern and to so many.
_NUMBERS = {"one": 1, "ten": TEN}
#: Conditions near zone axes begin with this, and those of axes of the lowest indices with that.
ZONE, LOWEST = "zone", "lowest"
#: Space groups of which one may be right.
_TOP = 5
#: Share of the answers that is left when the least confident are set aside.
_COVERAGE = 0.8
#: Where ranges of the number of spots and of thickness [angstrom] begin.
_SPOTS = (0, 15, 30, 60, 120)
_THICKNESSES = (0, 100, 200, 400, 700)
#: Lines of a card: key and form of each.
LINES = {
    "crystal system, one pattern": ("one", ".1%"),
    "cannot tell, one pattern": ("cannot_tell_one", ".1%"),
    "right where it tells, one pattern": ("right_of_told_one", ".1%"),
    "said to be sure, one pattern": ("sure_one", ".1%"),
    "right where it is sure, one pattern": ("right_of_sure_one", ".1%"),
    "crystal system, ten patterns": ("ten", ".1%"),
    "the most confident 80 % of these": ("ten_at_80_coverage", ".1%"),
    "cannot tell, ten patterns": ("cannot_tell_ten", ".1%"),
    "said to be sure, ten patterns": ("sure_ten", ".1%"),
    "right where it is sure, ten patterns": ("right_of_sure_ten", ".1%"),
    "space group, ten patterns": ("space_group_top1_ten", ".1%"),
    "among the first five": ("space_group_top5_ten", ".1%"),
    "space group, one pattern": ("space_group_top1_one", ".1%"),
    "calibration error, one pattern": ("ece_one", ".3f"),
    "calibration error, ten patterns": ("ece_ten", ".3f"),
    "median error of an axis, ten patterns": ("axes_relative_ten", ".2%"),
    "processor time, one pattern [ms]": ("ms_one", ".1f"),
    "processor time, ten patterns [ms]": ("ms_ten", ".0f"),
}


def describe(answers: pd.DataFrame) -> dict[str, dict]:
    """Figures of a card, for each condition.

    Conditions near zone axes have, beside themselves, single patterns near axes of the lowest
    indices: "lowest" of "zone". Figures of ten patterns are None there.

    Of one pattern and of ten: ``one`` and ``ten``, accuracies of the crystal system, and with
    ``_one`` and ``_ten`` behind them ``cannot_tell``, a share, ``right_of_told``, the accuracy of
    the others, ``sure`` and ``right_of_sure``, the same of those called sure (None without any),
    ``space_group_top1``, ``space_group_top5`` and, of answers that tell something, ``ece``. Then
    ``ten_at_80_coverage``, ``axes_relative_ten``, ``by_system`` (with median errors of ten
    patterns' axes, in angstrom and relative, and ``said_ten``, the shares of what was answered),
    ``without_triclinic``, and for one pattern ``by_spots`` and ``by_thickness``. The answers are
    those of :func:`ediff_solve.predictor.training.judging.answer_material`.
    """
    found = {}
    for condition, part in answers.groupby("condition", sort=False):
        found[str(condition)] = _describe(part)
        if str(condition).startswith(ZONE):
            name = str(condition).replace(ZONE, LOWEST)
            found[name] = _describe(part[part["lowest"] & (part["patterns"] == 1)])
    return found


def _describe(answers: pd.DataFrame) -> dict[str, object]:
    """Figures of one condition."""
    parts = {name: answers[answers["patterns"] == n] for name, n in _NUMBERS.items()}
    found: dict[str, object] = {}
    for name, part in parts.items():
        found |= {key.format(name): value for key, value in _shares(part).items()}
    ten = parts["ten"]
    known = {name: part[part["true_system"] != "triclinic"] for name, part in parts.items()}
    return found | {
        "ten_at_80_coverage": compute_accuracy_at_coverage(ten, "confidence", _COVERAGE)
        if len(ten)
        else None,
        "axes_relative_ten": float(np.median(_errors(ten)[1])) if len(ten) else None,
        "without_triclinic": {name: _accuracy(part) for name, part in known.items()},
        "by_system": {
            str(system): _describe_system(
                {name: part[part["true_system"] == system] for name, part in parts.items()}
            )
            for system in answers["true_system"].unique()
        },
        "by_spots": _by(parts["one"], "spots", _SPOTS),
        "by_thickness": _by(parts["one"], "thickness", _THICKNESSES),
        "n": {name: len(part) for name, part in parts.items()},
    }


_SHARES = (
    *("{}", "cannot_tell_{}", "right_of_told_{}", "sure_{}", "right_of_sure_{}"),
    *("space_group_top1_{}", "space_group_top5_{}", "ece_{}"),
)


def _shares(part: pd.DataFrame) -> dict[str, float | None]:
    """What is counted of one pattern and of ten alike."""
    told, sure = part[part["system"].notna()], part[part["status"] == "sure"]
    if not len(part):
        return dict.fromkeys(_SHARES)
    return {
        "{}": _accuracy(part),
        "cannot_tell_{}": 1 - len(told) / len(part),
        "right_of_told_{}": _accuracy(told),
        "sure_{}": len(sure) / len(part),
        "right_of_sure_{}": _accuracy(sure),
        "space_group_top1_{}": float((part["rank"] == 1).mean()),
        "space_group_top5_{}": float((part["rank"] <= _TOP).mean()),
        "ece_{}": compute_ece(told, "confidence"),
    }


def _accuracy(part: pd.DataFrame) -> float | None:
    """Share of right crystal systems, if there are any answers."""
    return float(right_system(part).mean()) if len(part) else None


def _errors(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the axes [angstrom] and relative; shape (n, 3)."""
    errors = part[list(ERRORS)].to_numpy()
    return errors, errors / part[list(LENGTHS)].to_numpy()


def _describe_system(parts: dict[str, pd.DataFrame]) -> dict[str, object]:
    """Figures of the materials of one crystal system."""
    ten = parts["ten"]
    accuracies = {name: _accuracy(part) for name, part in parts.items()}
    if not len(ten):
        return accuracies | {"materials": parts["one"]["material_id"].nunique()}
    errors, relative = _errors(ten)
    return {
        **accuracies,
        "space_group_top1_ten": float((ten["rank"] == 1).mean()),
        "axes_error_ten": np.median(errors, axis=0).tolist(),
        "axes_relative_ten": np.median(relative, axis=0).tolist(),
        "said_ten": ten["system"].fillna("cannot tell").value_counts(normalize=True).to_dict(),
        "materials": len(ten),
    }


def _by(table: pd.DataFrame, column: str, edges: tuple[int, ...]) -> list[dict]:
    """Accuracy of the crystal system between edges; the last range has no end."""
    ranges = np.searchsorted(edges, table[column], side="right") - 1
    found = []
    for n, low in enumerate(edges):
        part = table[ranges == n]
        high = edges[n + 1] if n + 1 < len(edges) else None
        if len(part):
            accuracy = float(right_system(part).mean())
            found.append({"from": low, "to": high, "accuracy": accuracy, "n": len(part)})
    return found


def compute_growth(table: pd.DataFrame) -> pd.DataFrame:
    """How answers (see :func:`describe`) gain with the number of patterns.

    By ``condition`` and ``patterns``: the shares ``system``, ``space_group`` and ``first_five`` of
    right answers, with 95 % intervals ``<name>_low`` and ``<name>_high`` (Wilson) and ``n``.
    """
    right = table[["condition", "patterns"]].assign(
        system=right_system(table),
        space_group=table["rank"] == 1,
        first_five=table["rank"] <= _TOP,
    )
    rows = []
    for (condition, patterns), part in right.groupby(["condition", "patterns"]):
        row = {"condition": condition, "patterns": patterns, "n": len(part)}
        for name in ("system", "space_group", "first_five"):
            row[name] = float(part[name].mean())
            row[f"{name}_low"], row[f"{name}_high"] = compute_wilson_interval(row[name], len(part))
        rows.append(row)
    return pd.DataFrame(rows)


def find_thresholds(table: pd.DataFrame) -> dict[str, float]:
    """Confidence from which :data:`SURE` of answers as confident are right.

    For "single", "zone" (single patterns that show one zone alone) and "several", from answers of
    materials that no tree was grown on. Accuracy as a
    rising function of confidence is what isotonic regression makes of them; one where it never
    rises so far.
    """
    found = {}
    for kind, part in _split_kinds(table).items():
        found[kind] = 1.0
        if len(part):
            rising = IsotonicRegression().fit(part["confidence"], right_system(part))
            enough = part["confidence"][rising.predict(part["confidence"]) >= SURE]
            found[kind] = float(enough.min()) if len(enough) else 1.0
    return found


def find_least_indexed(table: pd.DataFrame) -> dict[str, float]:
    """Share of the spots that all but :data:`ONE_GRAIN` of one-grain patterns have explained.

    For the kinds of :func:`find_thresholds`, from the ``indexed`` of materials that no tree was
    grown on.
    """
    return {
        kind: float(part["indexed"].quantile(ONE_GRAIN)) if part["indexed"].notna().any() else 0.0
        for kind, part in _split_kinds(table).items()
    }


def _split_kinds(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Answers to single patterns, to those of one zone alone, and to several together."""
    alone, flat = table["patterns"] == 1, table["one_zone"].astype(bool)
    return {"single": table[alone & ~flat], "zone": table[alone & flat], "several": table[~alone]}


def format_line(figures: dict[str, dict], key: str, form: str) -> list[str]:
    """A figure of every condition, as the terminal and the card in words show it."""
    values = [found.get(key) for found in figures.values()]
    return ["-" if value is None else f"{value:{form}}".replace("%", " %") for value in values]


def format_figures(figures: dict[str, dict]) -> str:
    """Lines for the terminal, a column a condition, with or without times."""
    lines = [("", list(figures))]
    for label, (key, form) in LINES.items():
        if all(key in found for found in figures.values()):
            lines.append((label, format_line(figures, key, form)))
    numbers = [max(found["n"]["ten"], found["n"]["one"]) for found in figures.values()]
    lines.append(("answers", [f"{n:,}" for n in numbers]))
    return "\n".join(f"{label:40}" + "".join(f"{v:>10}" for v in each) for label, each in lines)

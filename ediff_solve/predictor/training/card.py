"""What a predictor's card says of its answers to test patterns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from ediff_solve.predictor.training.fitting import ERRORS, LENGTHS, TOP, summarise
from ediff_utils.core.estimates import compute_wilson_interval
from ediff_utils.paper.evaluation import right_system

#: An answer is called sure where answers as confident are right so often.
SURE = 0.9
#: Fewer of the spots than this share of one-grain examples has indexed call for a second grain.
ONE_GRAIN = 0.02
#: Patterns that the card speaks of as "ten".
TEN = 10
#: Where ranges of the number of spots and of thickness [angstrom] begin.
SPOTS = (0, 15, 30, 60, 120)
THICKNESSES = (0, 100, 200, 400, 700)


def describe(table: pd.DataFrame) -> dict[str, dict]:
    """Figures of a card, by protocol.

    Parameters
    ----------
    table : DataFrame
        Answers (:func:`ediff_solve.predictor.training.fitting.judge`).

    Returns
    -------
    dict of str to dict
        For "clean" and "detector": ``one`` and ``ten``, accuracies of the crystal system;
        ``space_group_top1_ten``, ``space_group_top5_ten``, ``ece``, ``ece_one``,
        ``ten_at_80_coverage``, ``by_system`` (with median errors of ten patterns' axes, in angstrom
        and relative, and ``said_ten``, the shares of the systems that were answered),
        ``without_triclinic``, and for one pattern ``by_spots`` and ``by_thickness``.
    """
    errors, lengths = table[list(ERRORS)].to_numpy(), table[list(LENGTHS)].to_numpy()
    found = {}
    for protocol in table["protocol"].unique():
        own = (table["protocol"] == protocol).to_numpy()
        one, ten = (own & (table["patterns"] == n).to_numpy() for n in (1, TEN))
        single, joint = summarise(table[one]), summarise(table[ten])
        systems = {}
        for system in table["true_system"].unique():
            these = ten & (table["true_system"] == system).to_numpy()
            alone = one & (table["true_system"] == system).to_numpy()
            systems[system] = {
                "one": float(right_system(table[alone]).mean()),
                "ten": float(right_system(table[these]).mean()),
                "space_group_top1_ten": float((table.loc[these, "rank"] == 1).mean()),
                "axes_error_ten": np.median(errors[these], axis=0).tolist(),
                "axes_relative_ten": np.median(errors[these] / lengths[these], axis=0).tolist(),
                "said_ten": table.loc[these, "system"].value_counts(normalize=True).to_dict(),
                "materials": int(these.sum()),
            }
        known = table["true_system"] != "triclinic"
        found[protocol] = {
            "one": single["accuracy"],
            "ten": joint["accuracy"],
            "space_group_top1_one": single["space_group_top1"],
            "space_group_top5_one": single["space_group_top5"],
            "space_group_top1_ten": joint["space_group_top1"],
            "space_group_top5_ten": joint["space_group_top5"],
            "ece_one": single["ece"],
            "ece": joint["ece"],
            "ten_at_80_coverage": joint["at_80_coverage"],
            "axes_relative_ten": float(np.median(errors[ten] / lengths[ten])),
            "without_triclinic": {
                "one": float(right_system(table[one & known]).mean()),
                "ten": float(right_system(table[ten & known]).mean()),
            },
            "by_system": systems,
            "by_spots": _by(table[one], "spots", SPOTS),
            "by_thickness": _by(table[one], "thickness", THICKNESSES),
            "n": {"one": single["n"], "ten": joint["n"]},
        }
    return found


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
    """How answers gain with the number of patterns.

    Parameters
    ----------
    table : DataFrame
        See :func:`ediff_solve.predictor.training.fitting.judge`.

    Returns
    -------
    DataFrame
        By ``protocol`` and ``patterns``: the shares ``system``, ``space_group`` and ``first_five``
        of right answers, with 95 % intervals ``<name>_low`` and ``<name>_high`` (Wilson) and ``n``.
    """
    right = table[["protocol", "patterns"]].assign(
        system=right_system(table),
        space_group=table["rank"] == 1,
        first_five=table["rank"] <= TOP,
    )
    rows = []
    for (protocol, patterns), part in right.groupby(["protocol", "patterns"]):
        row = {"protocol": protocol, "patterns": patterns, "n": len(part)}
        for name in ("system", "space_group", "first_five"):
            row[name] = float(part[name].mean())
            row[f"{name}_low"], row[f"{name}_high"] = compute_wilson_interval(row[name], len(part))
        rows.append(row)
    return pd.DataFrame(rows)


def find_thresholds(table: pd.DataFrame) -> dict[str, float]:
    """Confidence of each kind from which :data:`SURE` of answers as confident are right.

    Parameters
    ----------
    table : DataFrame
        Answers of materials that no tree was grown on.

    Returns
    -------
    dict of str to float
        For "single" and "several"; accuracy as a rising function of confidence is what isotonic
        regression makes of the answers, and one where it never rises so far.
    """
    found = {}
    for kind, own in (("single", table["patterns"] == 1), ("several", table["patterns"] > 1)):
        part = table[own]
        found[kind] = 1.0
        if len(part):
            rising = IsotonicRegression().fit(part["confidence"], right_system(part))
            enough = part["confidence"][rising.predict(part["confidence"]) >= SURE]
            found[kind] = float(enough.min()) if len(enough) else 1.0
    return found


def find_least_indexed(table: pd.DataFrame) -> dict[str, float]:
    """Share of the spots that all but :data:`ONE_GRAIN` of one-grain patterns have explained.

    Parameters
    ----------
    table : DataFrame
        Answers of materials that no tree was grown on, with ``indexed``.

    Returns
    -------
    dict of str to float
        For "single" and "several".
    """
    kinds = (("single", table["patterns"] == 1), ("several", table["patterns"] > 1))
    return {
        kind: float(table.loc[own, "indexed"].quantile(ONE_GRAIN)) if own.any() else 0.0
        for kind, own in kinds
    }


#: Lines of :func:`format_figures`: shares, and times.
_LINES = {
    "one": "crystal system, one pattern",
    "ten": "crystal system, ten patterns",
    "ten_at_80_coverage": "the most confident 80 % of these",
    "space_group_top1_ten": "space group, ten patterns",
    "space_group_top5_ten": "among the first five",
    "ece_one": "calibration error, one pattern",
    "ece": "calibration error, ten patterns",
    "axes_relative_ten": "median error of an axis, ten patterns",
    "ms_one": "ms of processor time, one pattern",
    "ms_ten": "ms of processor time, ten patterns",
}


def format_figures(figures: dict[str, dict]) -> str:
    """Lines for the terminal, a column a protocol.

    Parameters
    ----------
    figures : dict of str to dict
        See :func:`describe`, with or without times.
    """
    names = list(figures)
    lines = [f"{'':40}" + "".join(f"{name:>10}" for name in names)]
    for key, label in _LINES.items():
        form = "10.1f" if key.startswith("ms_") else "10.2%"
        if all(key in figures[name] for name in names):
            values = "".join(f"{figures[name][key]:{form}}" for name in names)
            lines.append(f"{label:40}{values}")
    sizes = "".join(f"{figures[name]['n']['ten']:10,}" for name in names)
    return "\n".join([*lines, f"{'test materials':40}{sizes}"])

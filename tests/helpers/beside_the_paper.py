"""Committed runs beside the paper: within a tolerance, or as far off as is written down.

``tests/paper/differences.csv`` holds what is beyond the tolerance, with its reason. After a run was
published, ``python tests/helpers/beside_the_paper.py`` writes the differences anew; read its diff.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ediff_utils.core.paths import FIGURES
from ediff_utils.paper.comparison import compute_comparison
from ediff_utils.paper.published import Published
from ediff_utils.paper.results import read_results

FILE = Path(__file__).parents[1] / "paper" / "differences.csv"
KEYS = ["run", "quantity", "protocol"]
#: Of fractions, of lengths [angstrom]: differences up to these need no word.
TOLERANCES = {"fraction": 0.03, "angstrom": 0.02}
#: Of a difference as it is written, rounded to a thousandth.
ROUNDING = 6e-4
#: Runs that are complete, and why they differ as a whole.
REASONS = {
    "paper": "vectors are exact, ten axes a crystal, other crystals than the paper's",
    "quick": "relatives of pymatgen's prototypes stand on both sides of the split",
}


def distance(value: float | list[float], paper: Published) -> float:
    """From the published number, or from the nearer end of the published range; 0 inside of it.

    Of a run's own range the end that is farther off counts.
    """
    if isinstance(value, list):
        return max((distance(end, paper) for end in value), key=abs)
    if paper.exactness == "above":
        return min(value - paper.value, 0.0)
    if paper.value is not None:
        return value - paper.value
    return min(value - paper.low, 0.0) + max(value - paper.high, 0.0)


def compute_differences() -> pd.DataFrame:
    """Of all complete committed runs: indexed by run, quantity and protocol.

    ``difference`` (``None`` where the run has no such number) and ``tolerance``.
    """
    rows = []
    for run in REASONS:
        for row in compute_comparison(read_results(FIGURES / run)).itertuples():
            if row.paper.exactness != "not stated":
                found = None if row.value is None else distance(row.value, row.paper)
                tolerance = TOLERANCES[row.paper.unit]
                rows.append((run, row.quantity, row.protocol, found, tolerance))
    return pd.DataFrame(rows, columns=[*KEYS, "difference", "tolerance"]).set_index(KEYS)


def read_written() -> pd.DataFrame:
    """What is written of them: ``difference`` (empty: not recorded) and ``reason``."""
    return pd.read_csv(FILE).set_index(KEYS)


def hold(*starts: str) -> None:
    """Hold all rows whose quantity starts so against what is written of them."""
    found, written = compute_differences(), read_written()
    own = found[found.index.get_level_values("quantity").str.startswith(starts)]
    assert len(own)
    faults = []
    for key, row in own.iterrows():
        if key in written.index:
            expected = written.loc[key, "difference"]
            same = row["difference"] == pytest.approx(expected, abs=ROUNDING, nan_ok=True)
            if not same or not written.loc[key, "reason"]:
                faults.append(f"{key}: {expected} is written, {row['difference']:.4f} was found")
        elif not abs(row["difference"]) <= row["tolerance"]:
            faults.append(f"{key}: {row['difference']:.4f} is not written")
    assert not faults, "\n".join(faults)


def write_differences() -> None:
    """Write what is beyond the tolerances, with the reasons that were there before."""
    found = compute_differences()
    beyond = found[~(found["difference"].abs() <= found["tolerance"])]
    known = read_written()["reason"].to_dict() if FILE.exists() else {}
    reasons = [known.get(key, REASONS[key[0]]) for key in beyond.index]
    table = beyond[["difference"]].astype(float).round(3).assign(reason=reasons)
    table.to_csv(FILE)


if __name__ == "__main__":
    write_differences()

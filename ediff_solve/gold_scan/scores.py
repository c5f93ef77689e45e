"""Maps and particles of the simulated scan against its truth.

What a position is: *single* where one domain scatters, *twinned* where several of one particle do,
*overlapping* where several particles do; a position may be both of the latter
(:func:`ediff_solve.gold_scan.truth.compute_positions`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

_KINDS = ("single", "twinned", "overlapping")
STAGES = ("pixel", "filtered pixel", "particle, brightest", "particle, together")
#: What gold is.
TRUE_SYSTEM = "cubic"
NONE = "none"
#: Share of single-domain positions that a flag may call wrongly.
FALSE_ALARMS = 0.1
#: A region of the map belongs to a particle where it has this share of the region.
_MAJORITY = 0.5


def _match_particles(
    maps: pd.DataFrame, positions: pd.DataFrame, domains: pd.DataFrame
) -> pd.DataFrame:
    """Which true particle each found one is, 0 where none has half of its region, and its kind.

    With purity, the share of the region that it has; the kind of a single crystal is "single".
    """
    table = maps[["x", "y", "particle"]].merge(
        positions[["x", "y", "particle"]], on=["x", "y"], suffixes=("", "_true")
    )
    table = table[table["particle"] > 0]
    counts = table.groupby(["particle", "particle_true"]).size().rename("n").reset_index()
    best = counts.sort_values("n", ascending=False, kind="stable").drop_duplicates("particle")
    best = best.set_index("particle").sort_index()
    best["purity"] = best["n"] / table.groupby("particle").size()
    best["true_particle"] = best["particle_true"].where(best["purity"] >= _MAJORITY, 0)
    kinds = domains.drop_duplicates("particle").set_index("particle")["kind"]
    best["kind"] = best["true_particle"].map(kinds).fillna(NONE)
    return best.reset_index()[["particle", "true_particle", "purity", "kind"]]


def compute_stages(
    maps: pd.DataFrame,
    particles: pd.DataFrame,
    positions: pd.DataFrame,
    domains: pd.DataFrame,
    true_a: float,
) -> pd.DataFrame:
    """Crystal system and lattice against the truth, at each stage and for each kind of position.

    Parameters
    ----------
    maps : DataFrame
        See :func:`ediff_utils.paper.scan.maps.build_maps`, with ``particle``.
    particles : DataFrame
        particle, brightest, aggregated, and a [angstrom] where it is known, as ``true_a`` is.
    positions, domains : DataFrame
        See :mod:`ediff_solve.gold_scan.truth`.

    Returns
    -------
    DataFrame
        A row a stage and kind: stage, kind, n (positions or particles), answered (share of them
        with an answer), cubic (share of all called so), right (share of the answers), a_error
        (median distance of a from the truth), median_a and median_error (its distance from the
        truth) [angstrom].
        A particle's kind is "single" for a single crystal that nothing overlaps and "twinned" for
        one with twins; those that do not belong to one true particle are left out.
    """
    table = maps.merge(positions[["x", "y", *_KINDS]], on=["x", "y"], validate="one_to_one")
    rows = []
    for stage, column in zip(STAGES[:2], ("system_raw", "system"), strict=True):
        for kind in _KINDS:
            own = table[table[kind]]
            a = own["a_cubic"].where(own[column].notna())
            rows.append(_row(stage, kind, own[column], a, true_a))
    found = particles.merge(_match_particles(maps, positions, domains), on="particle")
    unknown = pd.Series(np.nan, found.index)
    lattices = unknown, found.get("a", unknown)
    for stage, column, a in zip(STAGES[2:], ("brightest", "aggregated"), lattices, strict=True):
        for kind, names in (("single", ("single",)), ("twinned", ("lamellar", "decahedron"))):
            own = found["kind"].isin(names)
            rows.append(_row(stage, kind, found.loc[own, column], a[own], true_a))
    return pd.DataFrame(rows)


def _row(stage: str, kind: str, systems: pd.Series, a: pd.Series, true_a: float) -> dict:
    """Means and medians of nothing, and of no numbers, are NaN."""
    a, answers = a.astype(float), systems.dropna()
    return {
        "stage": stage,
        "kind": kind,
        "n": len(systems),
        "answered": float(systems.notna().mean()),
        "cubic": float((systems == TRUE_SYSTEM).mean()),
        "right": float((answers == TRUE_SYSTEM).mean()),
        "a_error": float((a - true_a).abs().median()),
        "median_a": float(a.median()),
        "median_error": float(abs(a.median() - true_a)),
    }


def compute_confusion(maps: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """How many positions of each kind are called which system.

    Of maps and positions as in :func:`compute_stages`; a row a kind ("bare film" among them), a
    column a system, "none" last.
    """
    table = maps[["x", "y", "system"]].merge(positions, on=["x", "y"], validate="one_to_one")
    table["system"] = table["system"].fillna(NONE)
    systems = [n.removeprefix("probability_") for n in maps if n.startswith("probability_")]
    table["bare film"] = table["n_domains"] == 0
    counts = {
        kind: table.loc[table[kind], "system"].value_counts() for kind in (*_KINDS, "bare film")
    }
    return pd.DataFrame(counts).T.reindex(columns=[*systems, NONE]).fillna(0).astype(int)


def _answered(maps: pd.DataFrame, positions: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Positions of gold with an answer, and which of them are of several grains."""
    table = maps.merge(positions.drop(columns="particle"), on=["x", "y"], validate="one_to_one")
    table = table[table["unexplained"].notna() & (table["n_domains"] > 0)]
    return table, (table["twinned"] | table["overlapping"]).to_numpy(bool)


def compute_flags(maps: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """How well spots that one grain does not explain tell several grains from one.

    Of maps as :func:`ediff_solve.scans.maps.compute_predictor_maps` has them, and positions with an
    answer. A row a threshold: a position with more unexplained spots is called several grains;
    false_alarms, the share of single-domain positions that is, and flagged, the share of twinned
    and overlapping ones.
    """
    table, several = _answered(maps, positions)
    number = np.round(table["unexplained"].to_numpy(float), 6)
    if several.all() or not several.any():
        return pd.DataFrame(columns=["threshold", "false_alarms", "flagged"], dtype=float)
    thresholds = np.append(np.unique(number)[::-1], -1.0)
    rates = [
        1 - np.searchsorted(np.sort(own), thresholds, side="right") / len(own)
        for own in (number[~several], number[several])
    ]
    return pd.DataFrame({"threshold": thresholds, "false_alarms": rates[0], "flagged": rates[1]})


def summarise_flags(
    curve: pd.DataFrame, maps: pd.DataFrame, positions: pd.DataFrame
) -> dict[str, float | None]:
    """The flag's figures, of a curve of :func:`compute_flags`.

    flagged_at_false_alarms: of twinned and overlapping positions, at the threshold that calls at
    most :data:`FALSE_ALARMS` of the single ones wrongly; flagged and false_alarms at the
    predictor's own, ``two_grains``. None where there are no positions of both kinds.
    """
    names = ("flagged_at_false_alarms", "flagged", "false_alarms")
    if curve.empty:
        return dict.fromkeys(names)
    allowed = curve.loc[curve["false_alarms"] <= FALSE_ALARMS, "flagged"]
    table, several = _answered(maps, positions)
    rates = [float(table.loc[own, "two_grains"].mean()) for own in (several, ~several)]
    return dict(zip(names, [float(allowed.max()), *rates], strict=True))

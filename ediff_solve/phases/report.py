"""What is told of a scan's phases: a table, lines to read, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ediff_solve.phases.nets import Net
from ediff_solve.phases.scan import ScanPhases
from ediff_solve.predictor.answering import Answer

CELL = ("a", "b", "c", "alpha", "beta", "gamma")
#: Spots that make a position one where rows are seen.
_SEEN = 3


def tabulate_phases(found: ScanPhases, answers: Sequence[Answer] = ()) -> pd.DataFrame:
    """A row a phase.

    Parameters
    ----------
    found : ScanPhases
    answers : sequence of Answer, optional
        Of the predictor for each phase.

    Returns
    -------
    DataFrame
        phase (from 1), bravais, lattice_system, cell parameters [angstrom, degree] and their
        ``_error``, volume of the primitive cell [cubic angstrom], grains, directions, positions
        where it explains most, and all of them, explained and decoy_explained (shares of the
        grains' spots), gain and decoy_gain, enlarged; by the predictor system, confidence,
        space_group (number) and space_group_symbol.
    """
    rows = []
    for n, phase in enumerate(found.discovered.phases):
        own = found.positions[found.positions["phase"] == n]
        lattice = phase.bravais
        row: dict[str, Any] = {"phase": n + 1, "bravais": lattice.symbol}
        row |= {"lattice_system": lattice.system}
        row |= dict(zip(CELL, lattice.parameters.tolist(), strict=True))
        errors = lattice.errors.tolist()
        row |= {f"{name}_error": e for name, e in zip(CELL, errors, strict=True)}
        row |= {"volume": lattice.volume, "grains": len(phase.grains)}
        row |= {"directions": phase.directions, "most_at": int((own["layer"] == 0).sum())}
        row |= {"positions": own["position"].nunique(), "explained": phase.explained}
        row |= {"decoy_explained": phase.decoy_explained, "gain": phase.gain}
        row |= {"decoy_gain": phase.decoy_gain, "enlarged": phase.enlarged}
        answer = answers[n] if answers else None
        group = answer.space_groups[0] if answer and answer.space_groups else None
        row |= {"system": answer.system if answer else None}
        row |= {"confidence": answer.confidence if answer else np.nan}
        row |= {"space_group": group[0] if group else 0}
        row |= {"space_group_symbol": group[1] if group else None}
        rows.append(row)
    return pd.DataFrame(rows)


def count_unexplained(found: ScanPhases) -> tuple[int, int]:
    """Positions with spots where no phase is told, and positions with spots."""
    return len(found.lists) - found.positions["position"].nunique(), len(found.lists)


def describe_phases(found: ScanPhases, table: pd.DataFrame) -> dict[str, Any]:
    """What is told, as JSON has it."""
    none, positions = count_unexplained(found)
    few = found.discovered.too_few
    told: dict[str, Any] = {
        "one_orientation": found.net is not None,
        "far_positions_share": found.prevailing.shared,
        "far_positions_share_by_chance": found.prevailing.chance,
        "net": None if found.net is None else _describe_net(found.net),
        "grains": len(found.grains),
        "positions": positions,
        "positions_without_phase": none,
        "phases": [_plain(row) for row in table.to_dict("records")],
        "too_few": None if few is None else {"bravais": few.bravais.symbol},
    }
    if few is not None:
        told["too_few"] |= {"grains": len(few.grains), "directions": few.directions}
        told["too_few"] |= dict(zip(CELL, few.bravais.parameters.tolist(), strict=True))
    return told


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """A row without what JSON does not know."""
    return {str(k): None if pd.isna(v) else v for k, v in row.items()}


def _describe_net(net: Net) -> dict[str, Any]:
    return {
        "lengths": net.lengths.tolist(),
        "errors": net.errors.tolist(),
        "angle": net.angle,
        "third_axis": "not seen",
        "explained": net.explained,
        "by_chance": net.chance,
        "peaks": list(net.peaks),
        "weak_rows": [
            {
                "along": float(net.lengths[s.axis]),
                "index_not_divisible_by": s.modulus,
                "share": s.share,
                "seen_at": int((s.seen >= _SEEN).sum()),
                "not_seen_at": int(((s.seen == 0) & (s.spots >= _SEEN)).sum()),
            }
            for s in net.sub_nets
            if s.is_weak
        ],
        "cubic_lattices_that_have_it": [
            {"centring": z.centring, "zone": list(z.zone), "a": z.a, "misfit": z.misfit}
            for z in net.cubic
        ],
    }


def format_phases(found: ScanPhases, table: pd.DataFrame) -> str:
    """What is told, as lines."""
    if found.net is not None:
        return "\n".join(_net_lines(found, found.net))
    none, positions = count_unexplained(found)
    lines = [f"Phases of the whole scan, from {len(found.grains)} grains:"]
    for row in table.itertuples():
        cell = ", ".join(_value(row, name) for name in CELL)
        lines.append(f"{row.phase:3}. {row.bravais}  {cell}  (angstrom, degrees)")
        more = f"     {row.grains} grains, {row.positions} positions; "
        more += (
            f"{row.explained:.0%} of the grains' spots explained, decoys {row.decoy_explained:.0%}"
        )
        lines.append(more)
        if row.space_group_symbol is not None:
            group = f"{row.space_group_symbol} ({row.space_group})"
            line = (
                f"     predictor: {row.system}, confidence {row.confidence:.2f}; likeliest {group}"
            )
            lines.append(line)
        if row.enlarged:
            lines.append("     weak spots of a superlattice made this cell larger")
    if not len(table):
        lines.append("none: no cell explains the grains far better than strained ones do")
    few = found.discovered.too_few
    if few is not None:
        lines.append(
            f"too few: {len(few.grains)} grains in {few.directions} directions share a cell of "
            f"{few.bravais.volume:.0f} cubic angstrom; four in two directions would tell it"
        )
    if len(table):
        lines.append(f"none of these at {none} of {positions} positions with spots")
    return "\n".join(lines)


def _value(row: Any, name: str) -> str:
    value, error = getattr(row, name), getattr(row, f"{name}_error")
    if not error > 0:
        return f"{value:.4g}" if name in CELL[3:] else f"{value:.3f}"
    digits = max(0, min(4, int(np.ceil(-np.log10(error)))))
    return f"{value:.{digits}f}({max(1, round(error * 10**digits))})"


def _net_lines(found: ScanPhases, net: Net) -> list[str]:
    shared, chance = found.prevailing.shared, found.prevailing.chance
    a, b = net.lengths
    lines = [
        f"One orientation prevails: far positions share {shared:.0%} of their spots, "
        f"{chance:.0%} by chance. A net can be told, no cell.",
        f"  net {a:.4f} x {b:.4f} 1/angstrom, {net.angle:.2f} degrees; third axis: not seen",
        f"  {net.explained:.0%} of all spots on it, {net.chance:.0%} by chance; "
        f"{net.peaks[0]} of {net.peaks[1]} peaks",
    ]
    for s in net.sub_nets:
        if s.is_weak:
            seen, spots = int((s.seen >= _SEEN).sum()), s.spots >= _SEEN
            gone = int(((s.seen == 0) & spots).sum())
            kind = "odd rows" if s.modulus == 2 else "rows whose index 3 does not divide"
            lines.append(
                f"  {kind} along {net.lengths[s.axis]:.4f}: seen at {seen} positions, "
                f"not at {gone}: two phases that share a sub-net, or one that fades"
            )
    for z in net.cubic[:3]:
        zone = "".join(map(str, z.zone))
        lines.append(f"  one cubic lattice that has it: {z.centring}, a = {z.a:.2f}, zone {zone}")
    return lines

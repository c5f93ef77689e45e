"""Answers about a file of spots, as lines for the terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.predictor.answering import Answer, Predictor, check_energy
from ediff_solve.predictor.evidence import CELL
from ediff_solve.predictor.known import LEFT_OUT, check_elements, look_up, read_known
from ediff_solve.predictor.zone_net import ZoneNet
from ediff_utils.core.errors import UserError
from ediff_utils.paper.scan.bragg import BraggLists

if TYPE_CHECKING:
    import pandas as pd

#: Probabilities below this are not listed.
WORTH_SAYING = 0.01
#: Uncertainties below this are none: symmetry fixes the value.
ROUNDING = 5e-7


def _listed(probabilities: dict[str, float], n: int = 4) -> str:
    shown = list(probabilities.items())[:n]
    return ", ".join(f"{name} {value:.0%}" for name, value in shown if value >= WORTH_SAYING)


def format_number(value: float, error: float) -> str:
    """A value with its standard uncertainty in its last digits, as crystallographers write it."""
    if not np.isfinite(error):
        return f"{value:.3f}"
    if error < ROUNDING:
        return f"{value:g}"
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 6))
    if error * 10**digits >= 19.5:
        digits -= 1
    return f"{value:.{max(digits, 0)}f}({round(error * 10 ** max(digits, 0))})"


def format_answer(answer: Answer, known: pd.DataFrame | None = None) -> str:
    """Lines that say what was found; see :func:`ediff_solve.predictor.known.match_known`."""
    lines = [f"{'answer':16} {answer.status}"]
    if answer.systems:
        groups = {f"{symbol} ({number})": p for number, symbol, p in answer.space_groups}
        lines += [
            f"{'crystal system':16} {_listed(answer.systems)}",
            f"{'Bravais lattice':16} {_listed(answer.bravais_lattices)}",
            f"{'Laue class':16} {_listed(answer.laue_classes)}",
            f"{'space group':16} {_listed(groups, 5)}",
        ]
    if answer.lattice is not None:
        pairs = zip(CELL, answer.lattice.parameters, answer.lattice.errors, strict=True)
        cell = [f"{name} {format_number(value, error)}" for name, value, error in pairs]
        lines += [
            f"{'cell solved':16} {answer.lattice.symbol}: {', '.join(cell[:3])} angstrom",
            f"{'':16} {', '.join(cell[3:])} degrees",
            f"{'spots explained':16} {answer.indexed:.0%}",
        ]
        if np.isfinite(answer.lattice.errors[0]):
            lines.append(f"{'':16} uncertainties leave out that of the camera length")
    if answer.net is not None:
        lines += _net_lines(answer.net)
    lines += [f"{'note':16} {note}" for note in answer.notes]
    if known is not None:
        lines.append(f"{'known crystals':16} {len(known) or 'none'} with such a cell")
        for _, row in known.head(5).iterrows():
            symbol = row.get("space_group_symbol", "")
            lines.append(f"{'':16} {row['material_id']} {row['formula']} {symbol}")
        if LEFT_OUT in known.attrs:
            lines.append(f"{'':16} {known.attrs[LEFT_OUT]}")
    return "\n".join(lines)


def _net_lines(net: ZoneNet) -> list[str]:
    """What is known where the third axis is not seen."""
    values = zip((*net.lengths, net.angle), net.errors, strict=True)
    one, two, angle = (format_number(value, error) for value, error in values)
    spacings = ", ".join(f"{1 / length:.3f}" for length in net.lengths)
    return [
        f"{'net of the zone':16} {one}, {two} 1/angstrom, {angle} degrees",
        f"{'':16} spacings {spacings} angstrom; {net.shape}, {net.plane_group}",
        f"{'':16} tilted by {net.tilt:.1f} degrees, {net.share:.0%} of the spots",
        f"{'third axis':16} not seen",
    ]


def read_patterns(path: Path, node: str | None = None) -> list[tuple]:
    """Read a file of spots as :meth:`Predictor.predict` takes them, direct beams included.

    qx, qy [1/angstrom] and intensity of each pattern. For ``path`` and ``node`` see
    :func:`ediff_solve.frames.bragg.read_bragg_lists`.
    """
    lists = read_bragg_lists(path, node=node, direct_beam_radius=-1)
    return [lists.spots(n) for n in range(len(lists))]


def answer_file(
    predictor: Predictor,
    path: Path,
    *,
    energy: float = 300e3,
    each: bool = False,
    node: str | None = None,
    crystals: str | None = None,
    elements: Sequence[str] = (),
    as_json: bool = False,
) -> tuple[list[Answer], str]:
    """Read a file of spots, ask a predictor about it, and write down what it says.

    All patterns are taken to be of one crystal, with ``each`` every one is asked about alone; the
    energy is in eV. For ``path`` and ``node`` see
    :func:`ediff_solve.frames.bragg.read_bragg_lists`. The solved cell is looked up in the table
    ``crystals``, with the ``elements`` that are present. A UserError where the file cannot be read,
    or spots cannot be spots in 1/angstrom.
    """
    # What a user mistyped is said before anything takes long.
    check_energy(energy)
    check_elements(elements)
    known = read_known(Path(crystals)) if crystals else None
    lists = read_bragg_lists(path, node=node, direct_beam_radius=-1)
    patterns = [lists.spots(n) for n in range(len(lists))]
    groups = [[p] for p in patterns] if each else [patterns]
    try:
        answers = [predictor.predict(group, energy) for group in groups]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if lists.n_dark and not each:
        note = f"{lists.n_dark} spots of intensity 0 left out"
        answers = [replace(answers[0], notes=(note, *answers[0].notes))]
    found = [None if known is None else look_up(one, known, elements) for one in answers]
    if as_json:
        packed = []
        for answer, table in zip(answers, found, strict=True):
            row = answer.to_dict()
            if table is not None:
                row["known"] = json.loads(table.to_json(orient="records"))
                row["known_left_out"] = table.attrs.get(LEFT_OUT, "")
            packed.append(row)
        if each:
            for n, row in enumerate(packed):
                row["x"], row["y"] = int(lists.x[n]), int(lists.y[n])
        return answers, json.dumps(packed if each else packed[0], indent=1)
    if each:
        return answers, _table(lists, answers)
    heading = f"{path}: {len(patterns)} pattern{'s' if len(patterns) > 1 else ''}\n\n"
    return answers, heading + format_answer(answers[0], found[0])


def _lattice_name(answer: Answer) -> str:
    """The Bravais lattice, or that there is a net alone."""
    if answer.lattice is not None:
        return answer.lattice.symbol
    return "net" if answer.net is not None else "-"


def _table(lists: BraggLists, answers: Sequence[Answer]) -> str:
    """A line a pattern."""
    import pandas as pd  # takes half a second, which a single answer does not wait for

    rows = []
    for n, answer in enumerate(answers):
        groups = answer.space_groups
        rows.append(
            {
                "x": int(lists.x[n]),
                "y": int(lists.y[n]),
                "spots": int(lists.n_spots[n]),
                "answer": answer.status,
                "system": answer.system or "-",
                "confidence": f"{answer.confidence:.0%}" if answer.system else "-",
                "space group": groups[0][1] if groups else "-",
                "lattice": _lattice_name(answer),
                "explained": "-" if np.isnan(answer.indexed) else f"{answer.indexed:.0%}",
            }
        )
    return pd.DataFrame(rows).to_string(index=False)

"""What a predictor says of many patterns of one crystal: of each alone, of some drawn together.

Measured series hold more patterns than anybody needs, and one answer to all of them does not tell
how far to trust it. Answers to random draws do: how often they agree, how sure they are, and, where
the crystal is known, how often they are right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from ediff_solve.predictor.answering import Answer, Predictor
from ediff_solve.predictor.evidence import CELL, solve_alone
from ediff_solve.predictor.spot_checks import CheckedPattern, check_patterns
from ediff_utils.core.errors import UserError
from ediff_utils.core.progress import tqdm
from ediff_utils.crystals.groups import N_GROUPS, NUMBERED_SYSTEMS, crystal_system

#: Numbers of patterns at which growth is looked at, as far as there are so many.
SIZES = (1, 2, 3, 5, 7, 10, 15, 20)
STATUSES = ("sure", "not sure", "cannot tell")


def _row(answer: Answer, chosen: Sequence[int]) -> dict[str, object]:
    groups = [number for number, _, _ in answer.space_groups]
    cell = [np.nan] * 6 if answer.lattice is None else answer.lattice.parameters
    return {
        "patterns": len(chosen),
        "chosen": tuple(chosen),
        "status": answer.status,
        "system": answer.system,
        "confidence": answer.confidence,
        "space_groups": tuple(groups),
        "bravais": None if answer.lattice is None else answer.lattice.symbol,
        **dict(zip(CELL, map(float, cell), strict=True)),
        "indexed": answer.indexed,
        **{f"p_{name}": answer.systems.get(name, np.nan) for name in NUMBERED_SYSTEMS},
    }


class Draws:
    """Patterns of one crystal that a predictor is asked about again and again.

    The lattices of each pattern are looked for once.

    Parameters
    ----------
    predictor : Predictor
    patterns : sequence of tuple of array_like
        qx, qy [1/angstrom] and, if known, intensity of each.
    energy : float
        Of the electrons [eV].

    Raises
    ------
    UserError
        As :meth:`ediff_solve.predictor.answering.Predictor.predict`.
    """

    def __init__(
        self, predictor: Predictor, patterns: Sequence[tuple], energy: float = 300e3
    ) -> None:
        self.predictor = predictor
        self.energy = energy
        self.checked: list[CheckedPattern] = check_patterns(patterns)
        self.alone = [solve_alone(one.spots, energy) if one.usable else [] for one in self.checked]

    def answer(self, chosen: Sequence[int]) -> Answer:
        """Of some of the patterns, by their numbers from 0."""
        return self.predictor.answer(
            [self.checked[n] for n in chosen], self.energy, [self.alone[n] for n in chosen]
        )

    def ask_each(self) -> pd.DataFrame:
        """Answers to every pattern alone.

        Returns
        -------
        DataFrame
            A row a pattern: ``patterns`` (1), ``chosen`` (its number from 0), ``status``,
            ``system``, ``confidence``, ``space_groups`` (numbers of the five likeliest),
            ``bravais``, ``a`` to ``gamma`` [angstrom, degree], ``indexed`` and, for each crystal
            system, its probability ``p_<system>``.
        """
        return pd.DataFrame([_row(self.answer([n]), [n]) for n in range(len(self.checked))])

    def ask_together(
        self, together: int, draws: int, seed: int = 0, progress: bool = False
    ) -> pd.DataFrame:
        """Answers to patterns drawn at random, without repeats within a draw.

        Parameters
        ----------
        together : int
            Patterns of a draw.
        draws : int
        seed : int
        progress : bool
            Show a progress bar.

        Returns
        -------
        DataFrame
            A row a draw, with the columns of :meth:`ask_each`. Draws overlap: their spread is that
            of the choice of patterns, not that of other crystals.

        Raises
        ------
        UserError
            More patterns together than there are, or none.
        """
        n = len(self.checked)
        if not 1 <= together <= n:
            raise UserError(f"together: expected 1 to {n} patterns, got {together}")
        if draws < 1:
            raise UserError(f"draws: expected 1 or more, got {draws}")
        rng = np.random.default_rng(seed)
        rows = []
        for _ in tqdm(range(draws), desc=f"{together} together", disable=not progress):
            chosen = np.sort(rng.choice(n, together, replace=False)).tolist()
            rows.append(_row(self.answer(chosen), chosen))
        return pd.DataFrame(rows)

    def grow(self, draws: int = 10, seed: int = 0) -> pd.DataFrame:
        """Answers to one, two, three ... and all patterns.

        Parameters
        ----------
        draws : int
            Of each number of patterns; all of them can be taken only once.
        seed : int

        Returns
        -------
        DataFrame
            See :meth:`ask_together`.
        """
        n = len(self.checked)
        sizes = sorted({size for size in SIZES if size < n} | {n})
        parts = []
        for size in sizes:
            # No more draws than there are choices of patterns.
            parts.append(self.ask_together(size, min(draws, comb(n, size)), seed))
        return pd.concat(parts, ignore_index=True)


def summarise_growth(table: pd.DataFrame) -> pd.DataFrame:
    """What :meth:`Draws.grow` found, a row a number of ``patterns``.

    ``draws``, the mean ``confidence`` of those that tell something, the shares that are ``sure``,
    ``not sure`` or ``cannot tell``, ``agree``, the share with the system that most of all the draws
    name, and the mean probability ``p_<system>`` of each system, zero where nothing can be told.
    """
    common = next(iter(table["system"].value_counts().index), None)
    rows = []
    for patterns, part in table.groupby("patterns"):
        told = part[part["system"].notna()]
        row = {"patterns": int(patterns), "draws": len(part), "confidence": np.nan}
        if len(told):
            row["confidence"] = float(told["confidence"].mean())
        row |= {name: float((part["status"] == name).mean()) for name in STATUSES}
        row["agree"] = float((part["system"] == common).mean())
        row |= {f"p_{name}": float(part[f"p_{name}"].fillna(0).mean()) for name in NUMBERED_SYSTEMS}
        rows.append(row)
    return pd.DataFrame(rows)


def read_truth(text: str) -> dict[str, object]:
    """What is known of a crystal: ``system`` and, where its number is given, ``space_group``.

    A UserError where the text is neither a crystal system nor a space group's number.
    """
    if text in NUMBERED_SYSTEMS:
        return {"system": text}
    if text.isdecimal() and 1 <= int(text) <= N_GROUPS:
        return {"system": crystal_system(int(text)), "space_group": int(text)}
    raise UserError(
        f"truth: expected a space group from 1 to {N_GROUPS} or one of "
        f"{', '.join(NUMBERED_SYSTEMS)}, got '{text}'"
    )


def summarise_answers(
    table: pd.DataFrame, truth: dict[str, object] | None = None
) -> dict[str, object]:
    """Shares of some answers of :meth:`Draws.ask_each`.

    ``answers`` (how many), ``patterns`` (together), ``systems`` (share of each, commonest first,
    "cannot tell" among them), ``status`` (share of each), ``confidence`` (mean, of those that name
    a system), ``bravais`` (shares of the solved lattices), ``cell`` (medians of a to gamma where
    the commonest of them was solved), ``indexed`` (median) and, with a truth (:func:`read_truth`),
    ``accuracy`` (all answers, "cannot tell" as wrong), ``accuracy_sure`` (None without sure ones),
    ``space_group_top1`` and ``space_group_top5``.
    """
    named = table["system"].fillna("cannot tell")
    told = table[table["system"].notna()]
    shares = named.value_counts(normalize=True).to_dict()
    status = {name: float((table["status"] == name).mean()) for name in STATUSES}
    lattices = told["bravais"].value_counts(normalize=True).to_dict()
    own = told[told["bravais"] == next(iter(lattices), None)]
    found: dict[str, object] = {
        "answers": len(table),
        "patterns": int(table["patterns"].iloc[0]),
        "systems": shares,
        "status": status,
        "confidence": _mean(told["confidence"]),
        "bravais": lattices,
        "cell": {name: float(own[name].median()) for name in CELL} if len(own) else None,
        "indexed": float(told["indexed"].median()) if len(told) else None,
    }
    if truth is None:
        return found
    right = table["system"] == truth["system"]
    found["truth"] = dict(truth)
    found["accuracy"] = float(right.mean())
    found["accuracy_sure"] = _mean(right[table["status"] == "sure"])
    if "space_group" in truth:
        number = truth["space_group"]
        found["space_group_top1"] = float(
            np.mean([groups[:1] == (number,) for groups in table["space_groups"]])
        )
        found["space_group_top5"] = float(
            np.mean([number in groups for groups in table["space_groups"]])
        )
    return found


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _format_summaries(parts: Sequence[Mapping[str, Any]]) -> str:
    """Lines for the terminal, a column for each kind of answers."""
    heads = ["one alone" if p["patterns"] == 1 else f"{p['patterns']} together" for p in parts]
    lines = [("", heads), ("answers", [f"{p['answers']}" for p in parts])]
    names = dict.fromkeys(name for p in parts for name in p["systems"])
    lines += [(name, [_percent(p["systems"].get(name, 0.0)) for p in parts]) for name in names]
    lines += [("mean confidence", [_percent(p["confidence"]) for p in parts])]
    lines += [(name, [_percent(p["status"][name]) for p in parts]) for name in STATUSES[:2]]
    lines += [("spots explained", [_percent(p["indexed"]) for p in parts])]
    lattices = [next(iter(p["bravais"].items()), ("-", None)) for p in parts]
    lines += [("commonest lattice", [f"{n} {_percent(s)}" for n, s in lattices])]
    for axis in CELL:
        unit = "angstrom" if len(axis) == 1 else "degree"
        cells = ["-" if p["cell"] is None else f"{p['cell'][axis]:.3f}" for p in parts]
        lines.append((f"median {axis} [{unit}]", cells))
    rights = {
        "accuracy": "right system",
        "accuracy_sure": "right where sure",
        "space_group_top1": "right space group",
        "space_group_top5": "among first five",
    }
    for key, label in rights.items():
        if key in parts[0]:
            lines.append((label, [_percent(p[key]) for p in parts]))
    return "\n".join(f"{name:24}" + "".join(f"{v:>14}" for v in values) for name, values in lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def answer_draws(
    predictor: Predictor,
    patterns: Sequence[tuple],
    *,
    energy: float = 300e3,
    together: int = 10,
    draws: int = 100,
    seed: int = 0,
    truth: str = "",
    as_json: bool = False,
    progress: bool = False,
) -> str:
    """Ask about every pattern alone and about random draws, and write down the shares.

    See :class:`Draws`, :meth:`Draws.ask_together` and :func:`read_truth`, which say what is a
    UserError; the truth is empty where it is not known. JSON or lines.
    """
    known = read_truth(truth) if truth else None
    asked = Draws(predictor, patterns, energy)
    found = {
        "alone": summarise_answers(asked.ask_each(), known),
        "together": summarise_answers(
            asked.ask_together(together, draws, seed, progress=progress), known
        ),
    }
    if as_json:
        return json.dumps(found, indent=1)
    return _format_summaries(list(found.values()))

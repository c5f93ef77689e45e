"""The predictor: spots of one pattern, or of any number of one crystal, to what the crystal is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ediff_solve.lattice import BravaisLattice, LatticeCandidate
from ediff_solve.predictor.boosting import SpaceGroupModel
from ediff_solve.predictor.evidence import CELL, Evidence, compute_evidence, solve_alone
from ediff_solve.predictor.few import WEIGHTS, pool_few
from ediff_solve.predictor.groups import sum_classes
from ediff_solve.predictor.spot_checks import (
    CheckedPattern,
    check_patterns,
    gather_notes,
    name_patterns,
)
from ediff_solve.predictor.store import load_models
from ediff_solve.predictor.zone_net import ZoneNet, describe_net, is_one_zone
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import ROOT, find_shipped
from ediff_utils.crystals.groups import N_GROUPS, symbol

#: Where a user's own predictors lie, and the one that is meant where none is named.
MODELS = ROOT / "data" / "models"
DEFAULT = "default"
#: Space groups that an answer lists.
TOP = 5
#: Of microscopes' electrons [eV], and up to what part two of them count as one.
ENERGIES, SAME_ENERGY = (20e3, 2e6), 0.05


@dataclass(frozen=True)
class Answer:
    """What patterns say of their crystal.

    Parameters
    ----------
    status : {"sure", "not sure", "cannot tell"}
        By the confidence in the crystal system, against the predictor's own threshold; never
        sure where many spots do not fit, or all intensities are alike.
    systems, laue_classes, bravais_lattices : dict of str to float
        Probabilities, likeliest first; empty where nothing can be told.
    space_groups : list of tuple of (int, str, float)
        The five likeliest: number, symbol, probability.
    lattice : BravaisLattice or None
        The cell that was solved, with uncertainties where several patterns were. None where no
        spot is seen off one zone.
    net : ZoneNet or None
        Of one pattern that shows one zone alone: what is known instead of a cell.
    indexed : float
        Share of the spots that the lattice, or the net, explains.
    fits : ndarray, shape (patterns,)
        The same for each pattern; NaN for those not looked at.
    notes : tuple of str
        What was left out, and what to be wary of.
    evidence : Evidence or None
    probabilities : ndarray, shape (230,)
        Of all space groups; zeros where nothing can be told.
    """

    status: str
    systems: dict[str, float]
    laue_classes: dict[str, float]
    bravais_lattices: dict[str, float]
    space_groups: list[tuple[int, str, float]]
    lattice: BravaisLattice | None
    net: ZoneNet | None
    indexed: float
    fits: np.ndarray
    notes: tuple[str, ...]
    evidence: Evidence | None
    probabilities: np.ndarray

    @property
    def system(self) -> str | None:
        """The likeliest crystal system."""
        return next(iter(self.systems), None)

    @property
    def solved_from(self) -> np.ndarray:
        """Which patterns the lattice was solved from, counted from 0, as ``evidence`` has them."""
        return np.flatnonzero(np.isfinite(self.fits))

    @property
    def confidence(self) -> float:
        """In the crystal system."""
        return next(iter(self.systems.values()), 0.0)

    def to_dict(self) -> dict[str, object]:
        """The answer as JSON has it."""
        lattice = None
        if self.lattice is not None:
            errors = [None if np.isnan(e) else float(e) for e in self.lattice.errors]
            lattice = {
                "bravais": self.lattice.symbol,
                **dict(zip(CELL, map(float, self.lattice.parameters), strict=True)),
                "errors": dict(zip(CELL, errors, strict=True)),
                "volume": self.lattice.volume,
            }
        groups = [{"number": n, "symbol": s, "probability": p} for n, s, p in self.space_groups]
        return {
            "status": self.status,
            "system": self.system,
            "confidence": self.confidence,
            "systems": self.systems,
            "laue_classes": self.laue_classes,
            "bravais_lattices": self.bravais_lattices,
            "space_groups": groups,
            "lattice": lattice,
            "net": None if self.net is None else self.net.to_dict(),
            "indexed": None if np.isnan(self.indexed) else self.indexed,
            "fits": [None if np.isnan(f) else float(f) for f in self.fits],
            "notes": list(self.notes),
        }


def find_predictor(name_or_path: str | Path) -> Path:
    """The folder of a predictor that ships or is one's own, by its name, or the one given."""
    path = Path(name_or_path)
    return path if path.is_dir() else find_shipped(f"data/models/{name_or_path}")


def check_energy(energy: float) -> None:
    """Raise a UserError for an energy [eV] that no microscope has, such as keV taken for eV."""
    if not ENERGIES[0] <= energy <= ENERGIES[1]:
        raise UserError(f"energy: expected 20 keV to 2 MeV, got {energy / 1e3:g} keV")


class Predictor:
    """Space groups, and all that follows from them, by boosted trees on evidence.

    Parameters
    ----------
    models : dict of str to SpaceGroupModel
        "single" and "several".
    card : dict
        The model card; of it ``thresholds``: the least confidence of each kind that is sure, and
        ``least_indexed``: the least share of indexed spots of each kind that one grain leaves.
    """

    def __init__(self, models: dict[str, SpaceGroupModel], card: dict) -> None:
        self.models = models
        self.card = card

    @classmethod
    def load(cls, name_or_path: str | Path = DEFAULT) -> Predictor:
        """Load a predictor that ships by its name, or one of a folder.

        Raises
        ------
        UserError
            None there, damaged, or of another version.
        """
        return cls(*load_models(find_predictor(name_or_path)))

    def predict(self, patterns: Sequence[tuple], energy: float = 300e3) -> Answer:
        """Say what the crystal of one or more patterns is.

        Parameters
        ----------
        patterns : sequence of tuple of array_like
            qx, qy [1/angstrom] and, if known, intensity of each; of one crystal.
        energy : float
            Of the electrons [eV].

        Returns
        -------
        Answer

        Raises
        ------
        UserError
            No patterns, too many of them, or spots that cannot be spots in 1/angstrom.
        """
        return self.answer(check_patterns(patterns), energy)

    def answer(
        self,
        checked: Sequence[CheckedPattern],
        energy: float = 300e3,
        candidates: Sequence[list[LatticeCandidate]] | None = None,
    ) -> Answer:
        """Say what the crystal of patterns is that were put in order already.

        Parameters
        ----------
        checked : sequence of CheckedPattern
            See :func:`ediff_solve.predictor.spot_checks.check_patterns`.
        energy : float
            Of the electrons [eV].
        candidates : sequence of list of LatticeCandidate, optional
            Of each pattern, where :func:`ediff_solve.predictor.evidence.solve_alone` has found
            them already.

        Returns
        -------
        Answer

        Raises
        ------
        UserError
            An energy that no microscope has.
        """
        check_energy(energy)
        usable = [n for n, one in enumerate(checked) if one.usable]
        notes = gather_notes(checked)
        if not usable:
            return _nothing(len(checked), notes)
        spots = [checked[n].spots for n in usable]
        if candidates is None:
            known = [solve_alone(one, energy) for one in spots]
        else:
            known = [candidates[n] for n in usable]
        evidence = compute_evidence(spots, energy, known)
        flat = is_one_zone(evidence.net)
        if evidence.bravais is None and not flat:
            return _nothing(len(checked), (*notes, "cannot tell: no lattice explains the spots"))
        kind = "single" if len(usable) == 1 else "several"
        probabilities = self.models[kind].probabilities(evidence.vector[None])[0]
        if len(usable) in WEIGHTS:
            each = (compute_evidence([s], energy, [k]) for s, k in zip(spots, known, strict=True))
            vectors = [one.vector for one in each if one.bravais is not None]
            if vectors:
                alone = self.models["single"].probabilities(np.array(vectors))
                probabilities = pool_few(probabilities, alone, len(usable))
        asked = "zone" if flat else kind
        return self._answer(probabilities, evidence, asked, np.array(usable), checked, notes)

    def _answer(
        self,
        probabilities: np.ndarray,
        evidence: Evidence,
        kind: str,
        usable: np.ndarray,
        checked: Sequence[CheckedPattern],
        notes: tuple[str, ...],
    ) -> Answer:
        fits = np.full(len(checked), np.nan)
        net = None
        if kind == "zone" and evidence.net is not None:
            net = describe_net(evidence.net, evidence.energy)
            fits[usable[0]] = net.share
        elif evidence.lattice is not None:
            fits[usable[evidence.used]] = evidence.lattice.fractions
        else:
            fits[usable[0]] = evidence.candidates[0].fraction
        sizes = np.array([one.qx.size for one in checked])
        seen = np.isfinite(fits)
        indexed = float(np.average(fits[seen], weights=sizes[seen]))
        poor = np.flatnonzero(seen & (fits < self.card["least_indexed"]["single"])) + 1
        if len(checked) > 1 and len(poor):
            name = name_patterns(poor.tolist(), int(seen.sum()))
            notes = (*notes, f"{name}: few of the spots fit: another grain or crystal?")
        doubts = self._doubts(indexed, kind, [checked[n] for n in usable])
        systems = sum_classes(probabilities, "system")
        sure = max(systems.values()) >= self.card["thresholds"][kind] and not doubts
        order = np.argsort(-probabilities, kind="stable")[:TOP]
        return Answer(
            status="sure" if sure else "not sure",
            systems=systems,
            laue_classes=sum_classes(probabilities, "laue_class"),
            bravais_lattices=sum_classes(probabilities, "bravais"),
            space_groups=[(int(n) + 1, symbol(int(n) + 1), float(probabilities[n])) for n in order],
            lattice=evidence.bravais if net is None else None,
            net=net,
            indexed=indexed,
            fits=fits,
            notes=(*notes, *doubts, *_one_zone(net), *self._unlike_training(evidence.energy)),
            evidence=evidence,
            probabilities=probabilities,
        )

    def _doubts(self, indexed: float, kind: str, usable: Sequence[CheckedPattern]) -> list[str]:
        """Why no answer is sure, however confident the trees are."""
        doubts = []
        if indexed < self.card["least_indexed"][kind]:
            doubts.append(f"{1 - indexed:.0%} of the spots do not fit: a second grain, or noise?")
        if not any(one.graded for one in usable):
            doubts.append("all intensities are alike: symmetry is seen in positions alone")
        return doubts

    def _unlike_training(self, energy: float) -> list[str]:
        """What sets the patterns apart from those that the predictor has seen."""
        seen = {float(s["energy"]) for s in self.card.get("simulation", {}).values()}
        if not seen or any(abs(energy / one - 1) < SAME_ENERGY for one in seen):
            return []
        trained = ", ".join(f"{one / 1e3:g}" for one in sorted(seen))
        return [
            f"trained on patterns at {trained} kV: how far confidences hold at "
            f"{energy / 1e3:g} kV is not known"
        ]


def _nothing(n: int, notes: tuple[str, ...]) -> Answer:
    nowhere = np.full(n, np.nan)
    none = np.zeros(N_GROUPS)
    return Answer("cannot tell", {}, {}, {}, [], None, None, np.nan, nowhere, notes, None, none)


def _one_zone(net: ZoneNet | None) -> list[str]:
    if net is None:
        return []
    return ["third axis not seen: a pattern tilted by ten degrees or more would have it"]

"""Crystals that need no network: pymatgen's prototypes, and isostructural variants of them.

The prototypes are the 288 real crystals of the AFLOW library of crystallographic prototypes (Mehl
et al., Computational Materials Science 136, S1, 2017) that pymatgen ships.

The variants are for trying things out: they are **not real compounds**. Each is a prototype in
which elements are exchanged for chemically similar ones, and whose cell is scaled by the ratio of
the atomic radii (Chu et al., 2018; pymatgen's ``RLSVolumePredictor``). Nobody has made them, and
the axial ratios and the positions of the atoms stay those of the prototype.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from pymatgen.core import Composition, Element, Lattice, Structure

from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.crystals.symmetry import (
    MAX_ATOMIC_NUMBER,
    Row,
    UnusableCrystalError,
    build_structure,
    find_space_group,
    standardise,
    volume_reason,
)

#: A prototype has no more variants than this. Without a limit the two triclinic prototypes, say,
#: would give as many crystals as the 68 cubic ones.
_MAX_VARIANTS = 20
_TRIES = 60
_LENGTHS = ("a", "b", "c")


@dataclass(frozen=True)
class _Parent:
    """A prototype and what its variants are made from."""

    row: Row
    label: str
    structure: Structure

    @property
    def name(self) -> str:
        return str(self.row["material_id"])

    @property
    def system(self) -> str:
        return str(self.row["crystal_system"])


@cache
def _similar_elements() -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """For each symbol those of similar elements, and their probabilities, shape (n,).

    Similar are elements whose ions of the same charge replace each other in known compounds more
    often than by chance (Hautier et al., Inorganic Chemistry 50, 656, 2011; the table comes with
    pymatgen). Elements that it does not know, carbon say, are similar to those of their own group
    or series.
    """
    # pymatgen reads its tables when these are imported: seconds, which other sources need not wait.
    from pymatgen.analysis.structure_prediction.substitution_probability import (
        SubstitutionProbability,
    )

    table = SubstitutionProbability()
    ions = sorted((s for s in table.species if s.oxi_state is not None), key=str)
    usable = {e.symbol for e in Element if e.Z <= MAX_ATOMIC_NUMBER and e.atomic_radius}
    weights: dict[str, dict[str, float]] = {symbol: {} for symbol in sorted(usable)}
    for first in ions:
        for second in ions:
            pair = {first.symbol, second.symbol}
            if len(pair) == 1 or first.oxi_state != second.oxi_state or not pair <= usable:
                continue
            strength = float(table.get_lambda(first, second))
            if strength > 0:
                row = weights[first.symbol]
                row[second.symbol] = max(strength, row.get(second.symbol, 0.0))
    for symbol in weights:
        weights[symbol] = weights[symbol] or dict.fromkeys(_relatives(symbol, usable), 0.0)
    return {symbol: _shares(row) for symbol, row in weights.items()}


def _relatives(symbol: str, usable: set[str]) -> list[str]:
    own = Element(symbol)
    series = (own.is_lanthanoid, own.is_actinoid)

    def related(other: Element) -> bool:
        # pymatgen puts both series into group 3
        same = (other.is_lanthanoid, other.is_actinoid) == series
        return same and (any(series) or other.group == own.group) and other != own

    return sorted(s for s in usable if related(Element(s)))


def _shares(weights: dict[str, float]) -> tuple[tuple[str, ...], np.ndarray]:
    symbols = tuple(sorted(weights))
    strength = np.exp([weights[symbol] for symbol in symbols])
    return symbols, strength / strength.sum() if symbols else strength


@cache
def load_prototypes(
    symprec: float, progress: bool = False
) -> tuple[tuple[_Parent, ...], tuple[tuple[str, str], ...]]:
    """Standardise the prototypes that pymatgen ships: usable ones, names and reasons of others."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    parents, skipped = [], []
    for entry in tqdm(AFLOW_PROTOTYPE_LIBRARY, desc="prototypes", disable=not progress):
        structure, label = entry["snl"].structure, entry["tags"]["aflow"]
        # The AFLOW label alone is not unique: several crystals share some of them.
        name = f"{label}-{structure.composition.reduced_formula}"
        try:
            row = standardise(structure, symprec)
        except UnusableCrystalError as error:
            skipped.append((name, str(error)))
            continue
        row = {"material_id": name, "source": "prototype", **row}
        cell = build_structure(row["lattice"], row["numbers"], row["frac_coords"])
        parents.append(_Parent(row, label, cell))
    return tuple(parents), tuple(skipped)


def _round_robin(parents: list[_Parent]) -> Iterator[_Parent]:
    """Every parent once, the crystal systems taking turns as long as they have any left."""
    queues = [[p for p in parents if p.system == name] for name in ALL_SYSTEMS]
    for turn in range(max(map(len, queues), default=0)):
        for queue in queues:
            if turn < len(queue):
                yield queue[turn]


@cache
def _predict_volume() -> Callable[[Structure, Structure], float]:
    from pymatgen.analysis.structure_prediction.volume_predictor import RLSVolumePredictor

    return RLSVolumePredictor(check_isostructural=False, radii_type="atomic").predict


def _make_variant(
    parent: Structure, substitution: dict[str, str], space_group: int, symprec: float
) -> Structure | None:
    """Exchange elements and scale the cell; None where that changes the space group."""
    numbers = [Element(substitution[site.specie.symbol]).Z for site in parent]
    variant = Structure(parent.lattice, numbers, parent.frac_coords)
    scale = (_predict_volume()(variant, parent) / parent.volume) ** (1 / 3)
    variant = Structure(Lattice(parent.lattice.matrix * scale), numbers, parent.frac_coords)
    try:
        return variant if find_space_group(variant, symprec) == space_group else None
    except UnusableCrystalError:
        return None


def _substitute(symbols: list[str], rng: np.random.Generator) -> dict[str, str] | None:
    """Draw new elements, no two of them the same; None where the draw does not do."""
    choices = {}
    for symbol in symbols:
        similar, shares = _similar_elements().get(symbol, ((), None))
        # One element in four stays, so that ternary crystals also get close relatives.
        stays = not similar or (len(symbols) > 1 and rng.random() < 0.25)
        choices[symbol] = symbol if stays else str(rng.choice(similar, p=shares))
    changed = any(old != new for old, new in choices.items())
    return choices if changed and len(set(choices.values())) == len(choices) else None


def _variant_row(
    parent: _Parent,
    taken: set[tuple[str, str]],
    settings: CrystalSettings,
    rng: np.random.Generator,
) -> Row | None:
    symbols = sorted({site.specie.symbol for site in parent.structure})
    if any(Element(symbol).atomic_radius is None for symbol in symbols):
        return None
    for _ in range(_TRIES):
        substitution = _substitute(symbols, rng)
        if substitution is None:
            continue
        counts = parent.structure.composition.get_el_amt_dict()
        formula = Composition({substitution[s]: n for s, n in counts.items()}).reduced_formula
        if (parent.label, formula) in taken:
            continue
        taken.add((parent.label, formula))
        number = parent.row["space_group"]
        variant = _make_variant(parent.structure, substitution, number, settings.symprec)
        if variant is not None and variant.volume <= settings.max_volume:
            return _scaled_row(parent, variant, formula)
    return None


def _scaled_row(parent: _Parent, variant: Structure, formula: str) -> Row:
    """A variant's row: its parent's, whose labels it shares, with every length scaled."""
    scale = (variant.volume / parent.structure.volume) ** (1 / 3)
    row = parent.row
    return {
        **row,
        "material_id": f"{row['material_id']}-{formula}",
        "formula": formula,
        "source": "variant",
        "lattice": variant.lattice.matrix.ravel().tolist(),
        "numbers": [int(z) for z in variant.atomic_numbers],
        "conventional_lattice": [x * scale for x in row["conventional_lattice"]],
        **{name: row[name] * scale for name in _LENGTHS},
        "volume": float(variant.volume),
    }


def load_embedded(
    settings: CrystalSettings, progress: bool = True
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Prototypes first, then variants; the crystal systems take turns in both.

    Gives at most ``max_crystals`` rows of the crystals' table, at most :data:`_MAX_VARIANTS`
    variants of each prototype and no formula twice in one; and name and reason of each prototype
    that cannot be used.
    """
    rng = np.random.default_rng(settings.seed)
    prototypes, unusable = load_prototypes(settings.symprec, progress)
    skipped, usable = list(unusable), []
    for parent in prototypes:
        if parent.row["volume"] > settings.max_volume:
            skipped.append((parent.name, volume_reason(parent.row["volume"], settings.max_volume)))
        else:
            usable.append(parent)
    parents = list(_round_robin([usable[i] for i in rng.permutation(len(usable))]))
    rows = [dict(parent.row) for parent in parents[: settings.max_crystals]]
    bar = tqdm(
        total=settings.max_crystals, initial=len(rows), desc="variants", disable=not progress
    )
    with bar:
        variants = _variants(parents, settings, rng)
        for row in itertools.islice(variants, settings.max_crystals - len(rows)):
            rows.append(row)
            bar.update()
    return rows, skipped


def _variants(
    parents: list[_Parent], settings: CrystalSettings, rng: np.random.Generator
) -> Iterator[Row]:
    """Rows of variants: crystal systems take turns, and prototypes within a system."""
    queues = [deque(p for p in parents if p.system == name) for name in ALL_SYSTEMS]
    taken = {(parent.label, str(parent.row["formula"])) for parent in parents}
    made: Counter[str] = Counter()
    while any(queues):
        for queue in queues:
            while queue:
                parent = queue.popleft()
                row = _variant_row(parent, taken, settings, rng)
                if row is None:
                    continue
                made[parent.name] += 1
                if made[parent.name] < _MAX_VARIANTS:
                    queue.append(parent)
                yield row
                break

"""A structure from a CIF, held against what the file itself says of it.

Operations in the file come before symbols (Hall, then Hermann-Mauguin with its setting, then the
number). What is not understood, or does not agree, leaves the crystal out with the reason: nothing
is guessed, and nothing becomes P1 in silence.
"""

from __future__ import annotations

import re
from pathlib import Path

import gemmi
import numpy as np
from pymatgen.core import Composition, Element, Lattice, Structure

from ediff_utils.crystals.symmetry import MIN_DISTANCE, UnusableCrystalError, min_distance

#: Images of one site nearer than this are one atom on a special position [angstrom].
_SAME_SITE = 0.1
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop.operation_xyz",
)
_HALL = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
_SYMBOL = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M",
    "_space_group_name_H-M_ref",
    "_space_group_name_H-M_full",
)
_NUMBER = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
#: Origin choices and axes of the inorganic structure database, beside those of the tables.
_CHOICES = {"1": "1", "2": "2", "S": "1", "Z": "2", "H": "H", "R": "R"}

#: An element and fractional coordinates, shape (3,).
Site = tuple[str, np.ndarray]


def read_cif(path: Path) -> Structure:
    """The one structure of a CIF; an UnusableCrystalError where there is none, or several."""
    try:
        blocks = [b for b in gemmi.cif.read(str(path)) if b.find_loop("_atom_site_fract_x")]
        if not blocks:
            raise UnusableCrystalError("not read as a CIF: no block with sites")
        if len(blocks) != 1:
            raise UnusableCrystalError(f"{len(blocks)} structures in one CIF, expected one")
        return _read_block(blocks[0])
    except UnusableCrystalError:
        raise
    # The parser meets bad files with whatever its reading of them runs into.
    except Exception as error:
        raise UnusableCrystalError(f"not read as a CIF: {error}") from None


def _read_block(block: gemmi.cif.Block) -> Structure:
    numbers = [gemmi.cif.as_number(block.find_value(f"_cell_{name}") or "?") for name in _CELL]
    if not np.isfinite(numbers).all() or min(numbers) <= 0:
        raise UnusableCrystalError("cell: expected three lengths and three angles")
    lattice = Lattice.from_parameters(*numbers)
    if not lattice.volume > 0:
        raise UnusableCrystalError("cell: these angles make none")
    stated = _find_composition(block)
    sites = _read_sites(block, stated)
    units = gemmi.cif.as_number(_find(block, ("_cell_formula_units_Z",)) or "?")
    reasons = []
    for operations in _find_operations(block):
        structure = _expand(sites, operations, lattice)
        reasons.append(_disagreement(structure, stated, units))
        if not reasons[-1]:
            return structure
    raise UnusableCrystalError(reasons[0])


def _find(block: gemmi.cif.Block, tags: tuple[str, ...]) -> str:
    found = (gemmi.cif.as_string(block.find_value(tag) or "?").strip() for tag in tags)
    return next((value for value in found if value not in ("", "?", ".")), "")


def _find_composition(block: gemmi.cif.Block) -> Composition | None:
    formula = _find(block, ("_chemical_formula_sum",))
    try:
        found = Composition(re.sub(r"\bD(?=[\d\s]|$)", "H", formula).replace(" ", ""))
    except ValueError:
        return None
    return found if found and all(isinstance(e, Element) for e in found) else None


def _read_sites(block: gemmi.cif.Block, stated: Composition | None) -> list[Site]:
    tags = ["label", "?type_symbol", "fract_x", "fract_y", "fract_z", "?occupancy", "?calc_flag"]
    table = block.find("_atom_site_", tags)
    sites = []
    for row in table:
        kind = row[1] if table.has_column(1) and row[1] not in ("?", ".") else row[0]
        share = gemmi.cif.as_number(row[5]) if table.has_column(5) else 1.0
        is_dummy = table.has_column(6) and row[6].lower() == "dum"
        if is_dummy or share == 0:
            continue
        if abs(share - 1) > 1e-3:  # one that is not given counts as 1
            raise UnusableCrystalError("partial occupancy")
        place = np.array([gemmi.cif.as_number(row[k]) for k in (2, 3, 4)])
        if not np.isfinite(place).all():
            raise UnusableCrystalError(f"site {row[0]}: no position")
        sites.append((_find_element(gemmi.cif.as_string(kind), stated), place))
    if not sites:
        raise UnusableCrystalError("no sites")
    return sites


def _find_element(name: str, stated: Composition | None) -> str:
    """The element of a type or label such as Ti4+, O1, OH or CA2; the formula decides between two.

    An UnusableCrystalError where it is none.
    """
    letters = re.match(r"[A-Za-z]*", name).group()  # type: ignore[union-attr]
    known = {"D": "H", "T": "H"}
    options = [known.get(letters[:n].capitalize(), letters[:n].capitalize()) for n in (2, 1)]
    options = [symbol for symbol in options if symbol and Element.is_valid_symbol(symbol)]
    if stated is not None:
        options.sort(key=lambda symbol: Element(symbol) not in stated)
    if not options:
        raise UnusableCrystalError(f"site {name}: no element")
    return options[0]


def _find_operations(block: gemmi.cif.Block) -> list[gemmi.GroupOps]:
    """What the file says of its symmetry; several where it does not tell the choice of origin."""
    symbol, number = _find(block, _SYMBOL), _find(block, _NUMBER)
    groups = _find_groups(symbol)
    numbers = {group.number for group in groups} | ({int(number)} if number.isdigit() else set())
    if (symbol and not groups) or len(numbers) > 1:
        also = f", number {number}" if number else ""
        raise UnusableCrystalError(f"symmetry not understood: symbol '{symbol}'{also}")
    listed = next((c for tag in _OPERATIONS if len(c := block.find_values(tag))), None)
    hall = _find(block, _HALL)
    if listed is not None:
        operations = gemmi.GroupOps([gemmi.Op(gemmi.cif.as_string(xyz)) for xyz in listed])
    elif hall:
        operations = gemmi.symops_from_hall(hall)
    elif groups:
        return [group.operations() for group in groups]
    elif numbers:
        return [gemmi.find_spacegroup_by_number(*numbers).operations()]
    else:
        raise UnusableCrystalError("symmetry not understood: none is given")
    wanted = {len(group.operations()) for group in groups}
    if wanted and len(operations) not in wanted:
        raise UnusableCrystalError(
            f"symmetry not understood: {len(operations)} operations, {max(wanted)} of '{symbol}'"
        )
    return [operations]


def _find_groups(symbol: str) -> list[gemmi.SpaceGroup]:
    """Space groups of a Hermann-Mauguin symbol: one, or one for each choice of origin."""
    name, _, choice = symbol.partition(":")
    words = name.split()
    if len(words) > 1 and words[-1] in _CHOICES and words[-1].isalpha():
        name, choice = " ".join(words[:-1]), words[-1]
    # Other letters name the axes, as the symbol itself does.
    choice = _CHOICES.get(choice.strip().upper(), "")
    choices = [choice] if choice else ["", "1", "2"]
    found = {}
    for own in choices:
        group = gemmi.find_spacegroup_by_name(f"{name.strip()}:{own}" if own else name.strip())
        if group is not None:
            found[group.xhm()] = group
    return list(found.values())


def _expand(sites: list[Site], operations: gemmi.GroupOps, lattice: Lattice) -> Structure:
    """All atoms of the cell; images of a site that fall together are put into their middle."""
    species, places = [], []
    for element, place in sites:
        images = np.array([op.apply_to_xyz(place.tolist()) for op in operations])
        left = np.ones(len(images), dtype=bool)
        for k, image in enumerate(images):
            if not left[k]:
                continue
            shift = images - image
            shift -= np.round(shift)
            near = left & (np.linalg.norm(shift @ lattice.matrix, axis=1) < _SAME_SITE)
            left[near] = False
            species.append(element)
            places.append(image + shift[near].mean(axis=0))
    return Structure(lattice, species, np.array(places), to_unit_cell=True)


def _disagreement(structure: Structure, stated: Composition | None, units: float) -> str:
    """Why a structure is not the one that its file speaks of; empty where it is."""
    if min_distance(structure) < MIN_DISTANCE:
        return f"two atoms closer than {MIN_DISTANCE:g} angstrom"
    if stated is None:
        return ""
    found = structure.composition
    told = f"formula says {stated.formula}, sites give {found.reduced_formula}"
    if not _same(found, stated):
        bare = [
            Composition({e: n for e, n in c.items() if e.symbol != "H"}) for c in (found, stated)
        ]
        missing = bare[1] and stated["H"] and not found["H"] and _same(*bare)
        return f"{told}: hydrogens without positions" if missing else told
    # Some programs write what is in the whole cell, and Z of the reduced formula beside it.
    least = stated.reduced_composition.num_atoms
    whole = stated.num_atoms if stated.num_atoms > least else 0
    atoms = (units * stated.num_atoms, units * least, whole)
    if np.isfinite(units) and not any(abs(found.num_atoms - n) < 0.5 for n in atoms):
        n = found.num_atoms / stated.num_atoms
        return f"formula {stated.formula}: file says Z = {units:g}, sites give {n:g}"
    return ""


def _same(one: Composition, other: Composition) -> bool:
    elements = set(one) | set(other)
    shares = ((one.get_atomic_fraction(e), other.get_atomic_fraction(e)) for e in elements)
    return all(abs(a - b) < 5e-3 for a, b in shares)

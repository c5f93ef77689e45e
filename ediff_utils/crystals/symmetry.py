"""Standard cells and symmetry labels, the same for every source of crystals.

The conventional cell is pymatgen's standard one, which gives the labels. The simulation wants the
smallest cell instead: :func:`standardise` finds it among the lattice points of the conventional
cell, so that both share one Cartesian frame and one set of Miller indices.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import spglib
from pymatgen.core import Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

from ediff_utils.crystals.groups import crystal_system, laue_group

#: A row of the crystals' table, or some of it: text, numbers and lists of numbers by column.
Row = dict[str, Any]
#: Atomic numbers that the table of electron scattering factors covers.
MAX_ATOMIC_NUMBER = 103
#: No two atoms are closer than this; in H2 they are 0.74 apart [angstrom].
MIN_DISTANCE = 0.7
#: pymatgen's default for spglib [degrees].
_ANGLE_TOLERANCE = 5.0
#: Below this a cell is no cell [cubic angstrom]; solid hydrogen has 20 an atom.
_MIN_VOLUME = 1.0
# Relabelling the standardised crystal as a rule changes nothing. Near the tolerance it may find
# more symmetry, and then the loop follows; crystals that never settle are not used.
_ROUNDS = 4
#: Space groups whose crystals have a hand, by their numbers (Sohncke groups).
_HANDED = frozenset(
    (1, *range(3, 6), *range(16, 25), *range(75, 81), *range(89, 99), *range(143, 147))
    + (*range(149, 156), *range(168, 174), *range(177, 183), *range(195, 200), *range(207, 215))
)
#: Cells that a crystal may have, by the length of their axes [angstrom].
_SHORTEST, _LONGEST = 0.5, 1000.0


class UnusableCrystalError(ValueError):
    """A crystal that is left out, with the reason in one line."""

    def __init__(self, reason: object) -> None:
        super().__init__(" ".join(str(reason).split()))


def volume_reason(volume: float, max_volume: float) -> str:
    """Why a crystal with a large primitive cell is left out; volumes in cubic angstrom."""
    return f"primitive volume {volume:.0f} above {max_volume:g} cubic angstrom"


def flatten(value: object) -> np.ndarray:
    """Numbers of a list, or of a list of lists, as tables nest them; shape (n,)."""
    rows = np.ravel(np.array([] if value is None else value, dtype=object))
    nested = [np.ravel(row) for row in rows]
    if any(isinstance(x, str | bytes) for row in nested for x in row):
        raise TypeError("text")
    return np.concatenate([np.zeros(0), *nested]).astype(float)


def build_structure(
    lattice: object, numbers: object, frac_coords: object, closest: float = MIN_DISTANCE
) -> Structure:
    """Build a pymatgen structure from bare numbers; an UnusableCrystalError where they make none.

    Array-likes of 9 numbers, lattice vectors as rows [angstrom], of n atomic numbers, and of 3 n
    fractional coordinates.
    """
    try:
        cell, sites, z = (flatten(value) for value in (lattice, frac_coords, numbers))
    except (TypeError, ValueError):
        raise UnusableCrystalError("lattice, numbers, frac_coords: expected numbers") from None
    if cell.size != 9:
        raise UnusableCrystalError(f"lattice: expected 9 numbers, got {cell.size}")
    if z.size == 0:
        raise UnusableCrystalError("no sites")
    if sites.size != 3 * z.size:
        raise UnusableCrystalError(
            f"frac_coords: expected {3 * z.size} numbers for {z.size} sites, got {sites.size}"
        )
    if not (np.isfinite(cell).all() and np.isfinite(sites).all() and np.isfinite(z).all()):
        raise UnusableCrystalError("lattice, numbers or frac_coords not finite")
    wrong = z[(z < 1) | (z > MAX_ATOMIC_NUMBER) | (z != np.round(z))]
    if wrong.size:
        raise UnusableCrystalError(f"atomic number {wrong[0]:g}, expected 1 to {MAX_ATOMIC_NUMBER}")
    cell = cell.reshape(3, 3)
    lengths = np.linalg.norm(cell, axis=1)
    if lengths.min() < _SHORTEST or lengths.max() > _LONGEST:
        raise UnusableCrystalError(
            f"axes of {lengths.min():.3g} to {lengths.max():.3g} angstrom, expected {_SHORTEST:g} "
            f"to {_LONGEST:g}"
        )
    volume = abs(np.linalg.det(cell))
    if volume < _MIN_VOLUME:
        raise UnusableCrystalError(f"cell volume {volume:.3g} cubic angstrom")
    structure = Structure(Lattice(cell), [Element.from_Z(int(n)) for n in z], sites.reshape(-1, 3))
    if min_distance(structure) < closest:
        raise UnusableCrystalError(f"two atoms closer than {closest:g} angstrom")
    return structure


def min_distance(structure: Structure) -> float:
    """Shortest distance between two atoms, or images of one, below 1 angstrom; else 1."""
    # A neighbour list sees periodic images as well, and in small and skewed cells too.
    return float(structure.get_neighbor_list(1.0)[3].min(initial=1.0))


def atomic_numbers(structure: Structure) -> np.ndarray:
    """Atomic numbers, shape (n,); an UnusableCrystalError where occupancy or element is unclear."""
    if not structure.is_ordered:
        raise UnusableCrystalError("partial occupancy")
    symbols = [getattr(site.specie, "symbol", str(site.specie)) for site in structure]
    unknown = sorted({s for s in symbols if not Element.is_valid_symbol(s)})
    if unknown:
        raise UnusableCrystalError(f"unknown element {unknown[0]}")
    return np.array([Element(symbol).Z for symbol in symbols])


def _cell(structure: Structure) -> Any:
    """As spglib takes it; its stubs know of no arrays."""
    return structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers


def find_space_group(structure: Structure, symprec: float) -> int:
    """Space group number as spglib finds it; an UnusableCrystalError where it finds none."""
    try:
        dataset = spglib.get_symmetry_dataset(
            _cell(structure), symprec=symprec, angle_tolerance=_ANGLE_TOLERANCE
        )
    except spglib.SpglibError as error:
        raise UnusableCrystalError(f"no symmetry found: {error}") from None
    if dataset is None:
        raise UnusableCrystalError("no symmetry found")
    return int(dataset.number)


def _lattice_points(conventional: Structure, symprec: float) -> np.ndarray:
    """Lattice points in the conventional cell as fractions of it; shape (n, 3), exact."""
    # The cell is symmetrised already: what holds only within a wide tolerance is no translation.
    symmetry = spglib.get_symmetry(_cell(conventional), symprec=min(symprec, 0.01))
    if symmetry is None:
        raise UnusableCrystalError("no symmetry found in the conventional cell")
    pure = (symmetry["rotations"] == np.eye(3, dtype=int)).all(axis=(1, 2))
    points = symmetry["translations"][pure]
    n = len(points)
    # n lattice points in a cell form a group of order n: n times each is a lattice vector.
    exact = np.round(points * n) / n
    if np.abs((points - exact) @ conventional.lattice.matrix).max() > 0.05:
        raise UnusableCrystalError("lattice points of the conventional cell do not form a lattice")
    return exact % 1.0


def _shortest_basis(conventional: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Rows are the three shortest independent lattice vectors, right-handed; shape (3, 3).

    In three dimensions the successive minima of a lattice form a basis of it.
    """
    # A search through the neighbouring cells is complete in a compact cell only.
    compact = Lattice(conventional).get_lll_reduced_lattice().matrix
    cells = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ compact
    offsets = (points @ conventional) @ np.linalg.inv(compact)
    vectors = ((offsets - np.round(offsets)) @ compact)[:, None, :] + cells[None, :, :]
    vectors = vectors.reshape(-1, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    # Equal lengths are ordered by direction, so that rounding does not choose.
    order = np.lexsort((*np.round(-vectors.T[::-1], 5), np.round(lengths, 5)))
    basis: list[np.ndarray] = []
    for vector in vectors[order[lengths[order] > 1e-3]]:
        trial = np.array([*basis, vector])
        unit = trial / np.linalg.norm(trial, axis=1, keepdims=True)
        if np.linalg.svd(unit, compute_uv=False)[-1] > 1e-4:
            basis.append(vector)
        if len(basis) == 3:
            break
    primitive = np.array(basis)
    if np.linalg.det(primitive) < 0:
        primitive = -primitive
    ratio = np.linalg.det(conventional) / np.linalg.det(primitive)
    if not np.isclose(abs(ratio), len(points), rtol=1e-6):
        raise UnusableCrystalError("no primitive cell found")
    return primitive


def _wrap(frac_coords: np.ndarray) -> np.ndarray:
    """Fractional coordinates from 0 up to 1, where rounding leaves no 0.999..."""
    wrapped = frac_coords % 1.0
    wrapped[wrapped > 1 - 1e-9] = 0.0
    return wrapped


def _reduce_sites(conventional: Structure, primitive: np.ndarray, n: int) -> Structure:
    """One site of each set of ``n`` that lattice points carry into each other."""
    frac = _wrap(conventional.cart_coords @ np.linalg.inv(primitive))
    numbers = np.array(conventional.atomic_numbers)
    kept: list[int] = []
    left = np.ones(len(numbers), dtype=bool)
    for i in range(len(numbers)):
        if not left[i]:
            continue
        shift = frac - frac[i]
        distance = np.linalg.norm((shift - np.round(shift)) @ primitive, axis=1)
        same = left & (numbers == numbers[i]) & (distance < 0.05)
        if same.sum() != n:
            raise UnusableCrystalError("sites do not follow the lattice of the primitive cell")
        left[same] = False
        kept.append(i)
    return Structure(Lattice(primitive), [conventional.species[i] for i in kept], frac[kept])


def _find_primitive(conventional: Structure, symprec: float) -> Structure:
    """Smallest cell of a symmetrised conventional cell, in the same Cartesian frame.

    Its lattice vectors are the three shortest independent ones, right-handed. Every point of its
    reciprocal lattice has integer Miller indices in the conventional cell.
    """
    points = _lattice_points(conventional, symprec)
    primitive = _shortest_basis(conventional.lattice.matrix, points)
    return _reduce_sites(conventional, primitive, len(points))


def _conventional(structure: Structure, symprec: float) -> tuple[Structure, SpacegroupAnalyzer]:
    try:
        analyzer = SpacegroupAnalyzer(structure, symprec, _ANGLE_TOLERANCE)
        return analyzer.get_conventional_standard_structure(), analyzer
    except (SymmetryUndeterminedError, spglib.SpglibError) as error:
        raise UnusableCrystalError(f"no symmetry found: {error}") from None
    # pymatgen and spglib signal a failed standardisation in several ways; the crystal is listed.
    except (ValueError, TypeError, IndexError, np.linalg.LinAlgError) as error:
        raise UnusableCrystalError(f"no conventional cell found: {error}") from None


def _is_unchanged(analyzer: SpacegroupAnalyzer, conventional: Structure) -> bool:
    """Whether pymatgen took spglib's own standard cell, which keeps the hand, as it is."""
    refined = analyzer.get_refined_structure()
    return (
        len(refined) == len(conventional)
        and np.allclose(refined.lattice.parameters, conventional.lattice.parameters, atol=1e-6)
        and np.allclose(refined.frac_coords, conventional.frac_coords, atol=1e-6)
    )


def _restore_hand(analyzer: SpacegroupAnalyzer, primitive: Structure) -> Structure:
    """Undo the mirroring of a chiral crystal, by inversion, which leaves its lattice as it is."""
    from pymatgen.core.structure_matcher import StructureMatcher  # a second that few crystals need

    matcher = StructureMatcher(ltol=0.05, stol=0.1, angle_tol=2, primitive_cell=False, scale=False)
    try:
        original = analyzer.find_primitive()
    except (TypeError, spglib.SpglibError) as error:
        raise UnusableCrystalError(f"no primitive cell found: {error}") from None
    match = matcher.get_transformation(original, primitive)
    if match is None:
        return primitive
    hand = np.linalg.det(match[0]) * np.linalg.det(original.lattice.matrix)
    if hand > 0:
        return primitive
    return Structure(primitive.lattice, primitive.species, _wrap(-primitive.frac_coords))


def standardise(structure: Structure, symprec: float, closest: float = MIN_DISTANCE) -> Row:
    """Label a crystal and give its standard cells.

    Parameters
    ----------
    structure : Structure
        Any cell of the crystal; oxidation states and site properties play no part.
    symprec : float
        spglib tolerance [angstrom].
    closest : float
        No two atoms may be closer [angstrom].

    Returns
    -------
    dict
        The columns of the crystals' table from ``formula`` to ``n_sites``: ``prototype`` (what
        isostructural crystals share), ``lattice``, ``numbers`` and ``frac_coords`` of the primitive
        cell, ``conventional_lattice`` in the same Cartesian frame [angstrom], the labels, the
        lattice parameters of the conventional cell [angstrom, degrees] and the volume of the
        primitive one [cubic angstrom]. The labels are those of the returned, symmetrised crystal.

    Raises
    ------
    UnusableCrystalError
        The crystal cannot be used; the message is the reason.
    """
    plain = build_structure(
        structure.lattice.matrix, atomic_numbers(structure), structure.frac_coords, closest
    )
    for _ in range(_ROUNDS):
        conventional, analyzer = _conventional(plain, symprec)
        number = int(analyzer.get_space_group_number())
        primitive = _find_primitive(conventional, symprec)
        if number in _HANDED and not _is_unchanged(analyzer, conventional):
            primitive = _restore_hand(analyzer, primitive)
        if find_space_group(primitive, symprec) == number:
            return _row(conventional, primitive, analyzer)
        plain = primitive
    raise UnusableCrystalError(f"space group not settled at symprec {symprec:g}")


def _label_prototype(formula: str, dataset: spglib.SpglibDataset) -> str:
    """What isostructural crystals share, such as ``AB_225_4:m-3m_4:m-3m`` for rock salt.

    Anonymous formula, space group number, and the Wyckoff position of each orbit of sites as its
    multiplicity in the conventional cell and its site symmetry, sorted. Letters would not do: a
    shift of the origin exchanges 4a and 4b.
    """
    cells = len(dataset.std_positions) / len(dataset.crystallographic_orbits)
    _, first, counts = np.unique(
        dataset.crystallographic_orbits, return_index=True, return_counts=True
    )
    sites = sorted(
        (round(n * cells), dataset.site_symmetry_symbols[i])
        for i, n in zip(first, counts, strict=True)
    )
    return "_".join([formula, str(dataset.number), *(f"{n}:{symbol}" for n, symbol in sites)])


def _row(conventional: Structure, primitive: Structure, analyzer: SpacegroupAnalyzer) -> Row:
    number = int(analyzer.get_space_group_number())
    parameters = map(float, conventional.lattice.parameters)
    return {
        "formula": primitive.composition.reduced_formula,
        "prototype": _label_prototype(
            primitive.composition.anonymized_formula, analyzer.get_symmetry_dataset()
        ),
        "lattice": primitive.lattice.matrix.ravel().tolist(),
        "numbers": [int(z) for z in primitive.atomic_numbers],
        "frac_coords": primitive.frac_coords.ravel().tolist(),
        "conventional_lattice": conventional.lattice.matrix.ravel().tolist(),
        "crystal_system": crystal_system(number),
        "space_group": number,
        "space_group_symbol": str(analyzer.get_space_group_symbol()),
        "laue_group": laue_group(number),
        **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), parameters, strict=True)),
        "volume": float(primitive.volume),
        "n_sites": len(primitive),
    }

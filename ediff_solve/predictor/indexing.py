"""What the solved lattice makes of each spot of a pattern, and where it expects others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ediff_solve.lattice import BravaisLattice, cell_parameters, find_bravais
from ediff_solve.lattice.bravais import LARGEST_TOLERANCE
from ediff_solve.lattice.matching import lattice_points
from ediff_solve.predictor.evidence import CELL, Evidence
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Excitation errors up to which a reflection is expected [1/angstrom].
EXPECTED_SLAB = 0.02


def _geometry(evidence: Evidence, pattern: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Basis in the pattern's frame, map of the plane onto measured positions, and centre."""
    centre = evidence.patterns[pattern].centre
    if evidence.lattice is None:
        return evidence.candidates[0].reciprocal, np.eye(2), centre
    found = evidence.lattice
    e1, e2 = found.ellipse
    stretch = found.scales[pattern] * (np.eye(2) + np.array([[e1, e2], [e2, -e1]]))
    basis = found.reciprocal @ found.orientations[pattern]
    return basis, stretch, centre + found.centres[pattern]


def _check(evidence: Evidence, pattern: int) -> BravaisLattice:
    """The Bravais lattice, where there is one, and such a pattern."""
    if evidence.bravais is None:
        raise UserError("evidence: no lattice explains the spots")
    if not 0 <= pattern < len(evidence.patterns):
        raise UserError(f"pattern: expected 0 to {len(evidence.patterns) - 1}, got {pattern}")
    return evidence.bravais


def compute_indexing(evidence: Evidence, pattern: int = 0) -> pd.DataFrame:
    """Indices of a pattern's spots, and how far each lies from where the lattice has it.

    ``pattern`` is which of ``evidence.patterns``. A row a spot, strongest first: ``spot`` (its
    number as it came), ``qx, qy, intensity`` as measured, ``indexed``, ``h, k, l`` in the
    conventional cell, ``distance`` in the plane and ``excitation_error`` [1/angstrom]; the last
    five are missing where it has no indices. A UserError where there is no lattice, or no such
    pattern.
    """
    bravais = _check(evidence, pattern)
    one, joint = evidence.patterns[pattern], evidence.lattice
    x, y, intensity = one.spots
    hkl = evidence.candidates[0].hkl if joint is None else joint.hkl[pattern]
    indexed = (hkl != 0).any(axis=1)
    basis, stretch, centre = _geometry(evidence, pattern)
    reciprocal = basis if joint is None else joint.reciprocal
    change = np.rint(reciprocal @ bravais.conventional.T).astype(int)
    measured = np.column_stack([x, y]) + one.centre
    table = pd.DataFrame(
        {
            "spot": one.order,
            "qx": measured[:, 0],
            "qy": measured[:, 1],
            "intensity": intensity,
            "indexed": indexed,
        }
    )
    oriented = np.isfinite(basis).all()
    g = hkl @ basis if oriented else np.zeros((len(x), 3))
    far = np.linalg.norm(g[:, :2] @ stretch.T + centre - measured, axis=1)
    conventional = hkl @ change
    for k, name in enumerate("hkl"):
        table[name] = pd.array(np.where(indexed, conventional[:, k], 0), dtype="Int32")
        table.loc[~indexed, name] = pd.NA
    height = wavelength(evidence.energy) / 2 * (g[:, :2] ** 2).sum(axis=1)
    table["distance"] = np.where(indexed, far, np.nan)
    table["excitation_error"] = np.where(indexed, g[:, 2] - height, np.nan)
    return table


def compute_expected(
    evidence: Evidence, pattern: int = 0, q_max: float = 2.0, slab: float = EXPECTED_SLAB
) -> np.ndarray:
    """Where the lattice expects spots of a pattern: qx, qy as measured [1/angstrom], shape (n, 2).

    Up to ``q_max`` and an excitation error of ``slab`` [1/angstrom]; none of a pattern that it does
    not explain. A UserError as :func:`compute_indexing` raises it.
    """
    _check(evidence, pattern)
    basis, stretch, centre = _geometry(evidence, pattern)
    if not np.isfinite(basis).all():
        return np.empty((0, 2))
    g = lattice_points(basis, q_max)
    error = g[:, 2] - wavelength(evidence.energy) / 2 * (g[:, :2] ** 2).sum(axis=1)
    return g[np.abs(error) <= slab, :2] @ stretch.T + centre


def compute_strays(evidence: Evidence | None, numbers: Sequence[int]) -> pd.DataFrame:
    """Spots of all patterns that the lattice does not explain, the strongest first.

    ``numbers`` is what the patterns are called, in the order of ``Answer.solved_from``. A row a
    spot: ``pattern``, ``qx, qy`` [1/angstrom], ``intensity`` and ``relative``, the same over that
    of the pattern's strongest spot. Empty where nothing can be told.
    """
    columns = ["pattern", "qx", "qy", "intensity", "relative"]
    if evidence is None or evidence.bravais is None:
        return pd.DataFrame(columns=columns)
    tables = []
    for n, number in enumerate(numbers):
        table = compute_indexing(evidence, n)
        relative = table["intensity"] / table["intensity"].max()
        table = table.assign(pattern=int(number), relative=relative)
        tables.append(table.loc[~table["indexed"], columns])
    return pd.concat(tables).sort_values("relative", ascending=False, ignore_index=True)


def compute_cells(evidence: Evidence | None) -> pd.DataFrame:
    """The lattices that were found, best first.

    ``bravais``, ``a, b, c`` [angstrom] and ``alpha, beta, gamma`` [degree] of the conventional
    cell, ``volume`` of the primitive one [cubic angstrom], ``indexed`` (share of the spots) and
    ``gain``, by how much likelier it makes a spot than chance does [logarithm]. Symmetry is imposed
    on all of them as far as their errors allow, or, of one pattern, 1.5 % of a length.
    """
    columns = ["bravais", *CELL, "volume", "indexed", "gain"]
    if evidence is None:
        return pd.DataFrame(columns=columns)
    sizes = np.array([len(one.order) for one in evidence.patterns])
    found = []
    for joint in [] if evidence.lattice is None else [evidence.lattice, *evidence.rivals]:
        indexed = np.average(joint.fractions, weights=sizes)
        found.append((joint.bravais, indexed, joint.gain / sizes.sum()))
    for n, one in enumerate(evidence.candidates):
        first = evidence.bravais if n == 0 else None
        cell = first or find_bravais(one.lattice, tolerance=LARGEST_TOLERANCE)
        found.append((cell, one.fraction, one.gain / sizes.sum()))
    rows = [
        {
            "bravais": cell.symbol,
            **dict(zip(CELL, cell_parameters(cell.conventional), strict=True)),
            "volume": cell.volume,
            "indexed": float(indexed),
            "gain": float(gain),
        }
        for cell, indexed, gain in found
    ]
    return pd.DataFrame(rows, columns=columns)

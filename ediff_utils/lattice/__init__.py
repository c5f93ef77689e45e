"""The lattice of a crystal from the spots of its patterns, without any training.

:func:`solve_pattern` ranks reciprocal lattices of one pattern, :func:`solve_patterns` those that
several patterns of one crystal share, refined, with their Bravais lattice and uncertainties.
"""

from ediff_utils.lattice.bravais import (
    BravaisLattice,
    cell_parameters,
    find_bravais,
    niggli_cell,
    same_lattice,
)
from ediff_utils.lattice.joint import JointLattice, solve_patterns
from ediff_utils.lattice.single import LatticeCandidate, solve_pattern

__all__ = [
    "BravaisLattice",
    "JointLattice",
    "LatticeCandidate",
    "cell_parameters",
    "find_bravais",
    "niggli_cell",
    "same_lattice",
    "solve_pattern",
    "solve_patterns",
]

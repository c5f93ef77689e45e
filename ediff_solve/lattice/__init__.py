"""The lattice of a crystal from the spots of its patterns, without any training.

:func:`solve_pattern` ranks reciprocal lattices of one pattern, :func:`solve_patterns` those that
several patterns of one crystal share, refined, with their Bravais lattice and uncertainties.
:func:`solve_sparse` is for patterns of few spots, :func:`find_larger_twin` for two grains that make
one lattice.
"""

from ediff_solve.lattice.bravais import (
    BravaisLattice,
    cell_parameters,
    find_bravais,
    niggli_cell,
    same_lattice,
)
from ediff_solve.lattice.joint import JointLattice, solve_patterns
from ediff_solve.lattice.single import LatticeCandidate, solve_pattern
from ediff_solve.lattice.sparse import solve_sparse
from ediff_solve.lattice.twins import find_larger_twin

__all__ = [
    "BravaisLattice",
    "JointLattice",
    "LatticeCandidate",
    "cell_parameters",
    "find_bravais",
    "find_larger_twin",
    "niggli_cell",
    "same_lattice",
    "solve_pattern",
    "solve_patterns",
    "solve_sparse",
]

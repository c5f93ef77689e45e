"""What patterns of one crystal say of its symmetry, as numbers that a model can weigh.

:func:`compute_evidence` solves the lattice and looks at the intensities of the indexed spots.
"""

from ediff_solve.predictor.evidence.compute import (
    CELL,
    NAMES,
    Evidence,
    compute_evidence,
    solve_alone,
)
from ediff_solve.predictor.evidence.rings import VERSION

__all__ = ["CELL", "NAMES", "VERSION", "Evidence", "compute_evidence", "solve_alone"]

"""Space groups of a scan's phases, by the predictor from the patterns of their grains."""

from __future__ import annotations

from ediff_solve.phases.discovery import Phase
from ediff_solve.phases.indexing import index_grain
from ediff_solve.phases.scan import ScanPhases
from ediff_solve.predictor.answering import Answer, Predictor

#: Patterns that the predictor is asked about, those of most spots.
MOST_PATTERNS = 10


def name_phase(found: ScanPhases, phase: Phase, predictor: Predictor, energy: float) -> Answer:
    """What the predictor says of a phase, from its own spots in the patterns of its grains."""
    grains = [index_grain(found, phase, n, energy) for n in range(len(phase.grains))]
    own = sorted((g.spots[g.own] for g in grains), key=lambda s: -len(s))
    return predictor.predict([tuple(s.T) for s in own[:MOST_PATTERNS]], energy)

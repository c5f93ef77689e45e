"""Twins that pass for one crystal of a larger cell.

Two grains that share a third of their lattice's points, as fcc's on either side of a {111} plane
do, both fit a lattice of three times the volume of one (the coincidence lattice, sigma 3), and a
solver finds it: gold's twins make a hexagonal cell of 2.88 and 7.06 angstrom. Of the reflections of
that cell only those of the two grains are seen, in the manner of obverse and reverse settings.
"""

from __future__ import annotations

import numpy as np

from ediff_solve.lattice.single import LatticeCandidate

#: Share of the indexed spots that the two grains explain together, and more than which none of
#: them explains alone.
BOTH, ALONE = 0.95, 0.9
#: Smallest primitive cell of one grain [angstrom^3]: that of nickel has 10.9, and the scale along
#: the beam may be off.
SMALLEST_VOLUME = 10.0
#: Fewest spots that each grain has for itself.
FEWEST_OWN = 2
#: Sublattices of index three: h u + k v + l w = 0 modulo 3, the first of u, v, w beside 0 being 1.
_CONDITIONS = np.array(
    [c for c in np.ndindex(3, 3, 3) if any(c) and next(filter(None, c)) == 1], dtype=np.int64
)


def find_larger_twin(candidate: LatticeCandidate) -> np.ndarray | None:
    """Spots of the larger of two grains, where a lattice is the one that they have in common.

    Which of the pattern's spots the larger grain explains, bool of shape (n,); None where the
    lattice is that of one grain.
    """
    volume = 1 / abs(np.linalg.det(candidate.reciprocal))
    if volume / 3 < SMALLEST_VOLUME or not candidate.indexed.any():
        return None
    part = (candidate.hkl[candidate.indexed] @ _CONDITIONS.T) % 3 == 0
    alone = part.mean(axis=0)
    if alone.max() >= ALONE:
        return None
    together = (part[:, :, None] | part[:, None, :]).mean(axis=0)
    own = part.sum(axis=0)[:, None] - (part.astype(int).T @ part)
    fits = (together >= BOTH) & (np.minimum(own, own.T) >= FEWEST_OWN)
    if not fits.any():
        return None
    # The pair that explains most, and of such pairs the one with the largest grain.
    score = np.where(fits, together + np.maximum(alone[:, None], alone) / len(part), -1.0)
    first, second = np.unravel_index(score.argmax(), score.shape)
    larger = first if alone[first] >= alone[second] else second
    spots = np.zeros(len(candidate.indexed), bool)
    spots[np.flatnonzero(candidate.indexed)[part[:, larger]]] = True
    return spots

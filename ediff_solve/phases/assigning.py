"""Which phases, in which orientations, each position of a scan shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ediff_solve.phases.discovery import Phase, find_owned
from ediff_solve.phases.judging import PATTERN_GAIN, find_rotation, undistort
from ediff_solve.phases.orienting import Oriented, Stack, orient_cell, stack_patterns

#: Grains of a position at most, and fewest spots that are asked.
MOST_GRAINS, FEWEST_SPOTS = 3, 5
#: Spots whose pairs are tried, and orientations tried at most.
N_SEEDS, MOST_TRIALS = 10, 1500
#: How far a position's spots may lie from their points; see
#: :data:`ediff_solve.phases.orienting.TIGHT`.
TOLERANCE = (0.008, 0.002)
#: Entries of an orientation's matrix, by rows.
ROTATION = [f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)]


def assign_positions(
    patterns: Sequence[np.ndarray],
    phases: Sequence[Phase],
    distortion: np.ndarray,
    half: float,
    tolerance: tuple[float, float] = TOLERANCE,
) -> pd.DataFrame:
    """Phases of each position, up to three grains.

    Parameters
    ----------
    patterns : sequence of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of each position, strongest first.
    phases : sequence of Phase
    distortion : ndarray, shape (4,)
        See :class:`ediff_solve.phases.judging.View`.
    half : float
        Of the wavelength [angstrom].
    tolerance : tuple of float
        How far a spot may lie from its point: a length [1/angstrom] and a part of q.

    Returns
    -------
    DataFrame
        A row a grain of a position: position, layer (0 for the grain that explains most), phase,
        gain, spots, the number that it explains, and ``r11`` to ``r33``: columns of R are the
        pattern's axes in the frame of the phase's Niggli cell, g_pattern = g @ R. As inverting a
        lattice leaves it as it is, R is a proper rotation.
    """
    left = [undistort(p, distortion) if len(p) else p for p in patterns]
    rows: list[dict[str, object]] = []
    asked = list(range(len(left)))
    for layer in range(MOST_GRAINS):
        asked = [p for p in asked if len(left[p]) >= FEWEST_SPOTS]
        if not asked or not phases:
            break
        stack = stack_patterns([left[p] for p in asked], half, tolerance)
        told = [_orient(phase, stack) for phase in phases]
        best = np.array([t.gains for t in told]).argmax(axis=0)
        again = []
        for n, p in enumerate(asked):
            one = told[best[n]]
            if one.gains[n] < PATTERN_GAIN:
                continue
            own = stack.part(n)
            basis = one.bases[n]
            row: dict[str, object] = {"position": p, "layer": layer, "phase": int(best[n])}
            row |= {"gain": float(one.gains[n]), "spots": int(one.explained[own].sum())}
            rotation = _proper(phases[best[n]], basis)
            rows.append(row | dict(zip(ROTATION, rotation.ravel(), strict=True)))
            left[p] = left[p][~find_owned(basis, stack.vectors[own])]
            again.append(p)
        asked = again
    names = ["position", "layer", "phase", "gain", "spots", *ROTATION]
    return pd.DataFrame(rows, columns=names)


def _orient(phase: Phase, stack: Stack) -> Oriented:
    reciprocal = np.linalg.inv(phase.bravais.niggli).T
    return orient_cell(reciprocal, stack, N_SEEDS, MOST_TRIALS)


def _proper(phase: Phase, basis: np.ndarray) -> np.ndarray:
    """The rotation of a basis against the phase's, of which it may be the inverse."""
    reciprocal = np.linalg.inv(phase.bravais.niggli).T
    if np.linalg.det(reciprocal) * np.linalg.det(basis) < 0:
        basis = -basis
    return find_rotation(reciprocal, basis)


def compute_misorientation(first: np.ndarray, second: np.ndarray, lattice: np.ndarray) -> float:
    """Angle between two orientations of a lattice, its symmetry taken into account [degree].

    Rotations, shape (3, 3), with g_pattern = g @ R; rows of the lattice are primitive vectors.
    """
    reciprocal = np.linalg.inv(lattice).T
    one, other = reciprocal @ first, reciprocal @ second
    change = np.rint(one @ np.linalg.inv(other))
    # Where the two are far apart this is no change of basis, and no symmetry brings them together.
    if abs(abs(np.linalg.det(change)) - 1) > 1e-6:
        return 180.0
    turn = find_rotation(change @ other, one)
    cosine = (np.trace(turn) * np.sign(np.linalg.det(turn)) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

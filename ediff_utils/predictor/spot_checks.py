"""Spots of a user's, put in order before anything is said of them: nothing is guessed silently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_utils.bragg import DIRECT_BEAM_RADIUS, MAX_MEDIAN_Q
from ediff_utils.errors import UserError
from ediff_utils.lattice.fitting import FEWEST_SPOTS
from ediff_utils.lattice.single import FLAT, check_spots

#: No pattern has so many spots: noise that was taken for spots has.
MOST_SPOTS = 20_000
#: Two spots so near are one that was listed twice [1/angstrom].
SAME_SPOT = 1e-6
#: No crystal has its innermost reflections beyond this [1/angstrom]: they are 2 pi too large.
LARGEST_FIRST = 1.3


@dataclass(frozen=True)
class CheckedPattern:
    """Spots that can be asked about, and what was done to them.

    Parameters
    ----------
    qx, qy, intensity : ndarray, shape (n,)
        Without the direct beam, duplicates and spots of no intensity [1/angstrom].
    notes : tuple of str
        What was left out, and why nothing can be told.
    usable : bool
        Whether a lattice can be looked for.
    """

    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    notes: tuple[str, ...]
    usable: bool

    @property
    def spots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """qx, qy and intensity."""
        return self.qx, self.qy, self.intensity


def check_pattern(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray | None = None, where: str = ""
) -> CheckedPattern:
    """Put one pattern's spots in order.

    Parameters
    ----------
    qx, qy : array_like, shape (n,)
        From the direct beam [1/angstrom, without 2 pi].
    intensity : array_like, shape (n,), optional
        In any one unit; all alike where there is none.
    where : str
        What stands before the field's name in a message.

    Returns
    -------
    CheckedPattern

    Raises
    ------
    UserError
        Values that are not finite, negative intensities, lengths that differ, too many spots, or
        coordinates that are not in 1/angstrom.
    """
    try:
        x, y, strength = check_spots(qx, qy, intensity)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    if x.size > MOST_SPOTS:
        raise UserError(
            f"{where}qx: {x.size} spots in one pattern, expected at most {MOST_SPOTS}; "
            "is this noise, or several patterns without a column 'frame'?"
        )
    _check_units(x, y, where)
    notes = []
    direct = np.hypot(x, y) <= DIRECT_BEAM_RADIUS
    if direct.any():
        notes.append(f"direct beam left out ({direct.sum()} spots near the origin)")
    dark = (strength <= 0) & ~direct
    if dark.any():
        notes.append(f"{dark.sum()} spots of no intensity left out")
    keep = ~direct & ~dark
    x, y, strength = x[keep], y[keep], strength[keep]
    cells = np.round(np.column_stack([x, y]) / SAME_SPOT).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    if len(first) < len(x):
        notes.append(f"{len(x) - len(first)} spots that are listed twice left out")
        first = np.sort(first)
        x, y, strength = x[first], y[first], strength[first]
    reason = _reason_against(x, y)
    if reason:
        notes.append(reason)
    return CheckedPattern(x, y, strength, tuple(notes), not reason)


def _check_units(x: np.ndarray, y: np.ndarray, where: str) -> None:
    q = np.hypot(x, y)
    q = q[q > DIRECT_BEAM_RADIUS]
    if q.size < FEWEST_SPOTS:
        return
    if x.min() >= 0 and y.min() >= 0 and q.max() > MAX_MEDIAN_Q:
        raise UserError(
            f"{where}qx, qy: no negative coordinate and some of {q.max():.3g}; this looks like "
            "pixels, expected 1/angstrom from the direct beam"
        )
    if np.median(q) > MAX_MEDIAN_Q or q.min() > LARGEST_FIRST:
        raise UserError(
            f"{where}qx, qy: spots from {q.min():.3g} to {q.max():.3g}, half of them beyond "
            f"{np.median(q):.3g}; this looks like pixels, 1/nm or a factor 2 pi, expected "
            "1/angstrom without 2 pi"
        )


def _reason_against(x: np.ndarray, y: np.ndarray) -> str:
    """Why no lattice can be looked for, or nothing."""
    if x.size < FEWEST_SPOTS:
        return f"cannot tell: {x.size} spots, expected at least {FEWEST_SPOTS}"
    singular = np.linalg.svd(np.column_stack([x, y]), compute_uv=False)
    if singular[1] <= FLAT * singular[0]:
        return "cannot tell: all spots lie on one line through the direct beam"
    return ""

"""Spots of a user's, put in order before anything is said of them: nothing is guessed silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ediff_solve.frames.bragg import DIRECT_BEAM_RADIUS, MAX_MEDIAN_Q
from ediff_solve.lattice.kernels.fitting import FEWEST_SPOTS
from ediff_solve.lattice.single import FLAT, check_spots
from ediff_utils.core.errors import UserError

#: No pattern has so many spots: noise that was taken for spots has.
MOST_SPOTS = 20_000
#: Two spots so near are one that was listed twice [1/angstrom].
SAME_SPOT = 1e-6
#: No crystal has its innermost reflections beyond this [1/angstrom]: they are 2 pi too large.
LARGEST_FIRST = 1.3
#: Beyond this a tenth of the spots makes 1/angstrom doubtful: 59 mrad at 300 kV, half as much again
#: as any pattern that the predictor was trained on [1/angstrom].
LARGEST_REACH = 3.0
#: Within this no pattern has all of its spots but by a wrong scale, such as radian [1/angstrom].
SMALLEST_REACH = 0.25
#: The sector about the origin that has no spots, where it is so wide that the origin is no direct
#: beam but a corner of the image [degree].
WIDEST_GAP = 265.0
#: Patterns beyond this are those of a scan, not of one crystal.
MOST_PATTERNS = 10_000
#: Patterns that a note names one by one.
MOST_NAMED = 5


@dataclass(frozen=True)
class CheckedPattern:
    """Spots that can be asked about, and what was done to them.

    - ``qx, qy, intensity``, shape (n,): without the direct beam, duplicates and spots of no
      intensity [1/angstrom].
    - ``notes``: what was left out, and why nothing can be told.
    - ``usable``: whether a lattice can be looked for.
    - ``graded``: whether intensities differ from each other.
    """

    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray
    notes: tuple[str, ...]
    usable: bool
    graded: bool

    @property
    def spots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """qx, qy and intensity."""
        return self.qx, self.qy, self.intensity


def check_pattern(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray | None = None, *, where: str = ""
) -> CheckedPattern:
    """Put one pattern's spots in order.

    qx, qy from the direct beam [1/angstrom, without 2 pi], and intensity in any one unit, shape
    (n,); all alike where there is none. ``where`` stands before the field's name in a message. A
    UserError where values are not finite, intensities negative, lengths different, spots too many,
    or coordinates not in 1/angstrom.
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
        many = f" ({direct.sum()} spots near the origin)" if direct.sum() > 1 else ""
        notes.append(f"direct beam left out{many}")
    dark = (strength <= 0) & ~direct
    if dark.any():
        notes.append(f"{_spots(dark.sum())} of no intensity left out")
    keep = ~direct & ~dark
    x, y, strength = x[keep], y[keep], strength[keep]
    # One number a place: faster to compare than rows.
    column, row = (np.clip(np.round(v / SAME_SPOT), -(2**31), 2**31 - 1) for v in (x, y))
    _, first = np.unique(column.astype(np.int64) * 2**32 + row.astype(np.int64), return_index=True)
    if len(first) < len(x):
        notes.append(f"{_spots(len(x) - len(first))} listed twice left out")
        first = np.sort(first)
        x, y, strength = x[first], y[first], strength[first]
    reason = _reason_against(x, y)
    if reason:
        notes.append(reason)
    graded = bool(strength.size and strength.max() > strength.min())
    return CheckedPattern(x, y, strength, tuple(notes), not reason, graded)


def check_patterns(patterns: Sequence[tuple]) -> list[CheckedPattern]:
    """Put the spots of several patterns of one crystal in order, as :func:`check_pattern` does.

    A pattern that came before is not usable again: it would only look like more evidence. A
    UserError where there are no patterns, or too many.
    """
    if not 0 < len(patterns) <= MOST_PATTERNS:
        raise UserError(
            f"patterns: expected 1 to {MOST_PATTERNS} of one crystal, got {len(patterns)}"
        )
    where = "" if len(patterns) == 1 else "pattern {}: "
    checked = [check_pattern(*p, where=where.format(n + 1)) for n, p in enumerate(patterns)]
    known: dict[bytes, int] = {}
    for n, one in enumerate(checked):
        if not one.usable:
            continue
        first = known.setdefault(one.qx.tobytes() + one.qy.tobytes(), n)
        if first != n:
            note = f"the same spots as pattern {first + 1}, left out"
            checked[n] = replace(one, notes=(*one.notes, note), usable=False)
    return checked


def gather_notes(checked: Sequence[CheckedPattern]) -> tuple[str, ...]:
    """Notes on all patterns, each with the patterns that it belongs to."""
    if len(checked) == 1:
        return checked[0].notes
    owners: dict[str, list[int]] = {}
    for n, one in enumerate(checked):
        for note in one.notes:
            owners.setdefault(note, []).append(n + 1)
    return tuple(
        f"{name_patterns(numbers, len(checked))}: {note}" for note, numbers in owners.items()
    )


def name_patterns(numbers: Sequence[int], n: int) -> str:
    """Patterns by their numbers from 1, or how many of ``n`` where these are many."""
    if len(numbers) > MOST_NAMED:
        return f"{len(numbers)} of {n} patterns"
    return f"pattern{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _spots(n: int) -> str:
    return f"{n} spot{'' if n == 1 else 's'}"


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
    if np.count_nonzero(q > LARGEST_REACH) > q.size / 10 or q.min() > LARGEST_FIRST:
        raise UserError(
            f"{where}qx, qy: spots from {q.min():.3g} to {q.max():.3g}, half of them beyond "
            f"{np.median(q):.3g}; this looks like pixels, 1/nm or a factor 2 pi, expected "
            f"1/angstrom without 2 pi, and hardly a spot beyond {LARGEST_REACH:g}"
        )


def _reason_against(x: np.ndarray, y: np.ndarray) -> str:
    """Why no lattice can be looked for, or nothing."""
    if x.size < FEWEST_SPOTS:
        return f"cannot tell: {_spots(x.size)}, expected at least {FEWEST_SPOTS}"
    reach = np.hypot(x, y).max()
    if reach < SMALLEST_REACH:
        return (
            f"cannot tell: all spots within {reach:.2g} 1/angstrom of the direct beam; is the "
            "scale right?"
        )
    # Through the direct beam, and anywhere.
    if _on_one_line(x, y) or _on_one_line(x - x.mean(), y - y.mean()):
        return "cannot tell: all spots lie on one line"
    angles = np.sort(np.degrees(np.arctan2(y, x)))
    if max(np.diff(angles, append=angles[0] + 360)) > WIDEST_GAP:
        return (
            "cannot tell: all spots lie to one side of the origin; are positions counted from the "
            "direct beam?"
        )
    return ""


def _on_one_line(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the smaller singular value is next to nothing beside the larger one."""
    half, cross = (x @ x + y @ y) / 2, x @ y
    root = np.hypot((x @ x - y @ y) / 2, cross)
    return bool(half - root <= FLAT**2 * (half + root))

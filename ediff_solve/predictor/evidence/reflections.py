"""Intensities of indexed spots on one scale, and the reflections that they belong to.

A spot's intensity hangs on its excitation error as much as on its structure factor. A regression
takes out what is common to all spots of all patterns, ln I = a_pattern + b q^2 + c |s| + d s^2.
What is left, averaged over the spots of a reflection, is compared between reflections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Excitation error at which a spot says half of what one at the Bragg condition does [1/angstrom].
HALF_WEIGHT = 0.02
#: Residuals are cut at so many standard deviations.
CUT = 3.0
#: Least intensity that is told from none, as a fraction of a pattern's strongest.
FLOOR = 1e-7
#: Added to the diagonal of the regression, relative to the number of spots.
RIDGE = 1e-6


@dataclass(frozen=True)
class Reflections:
    """What all patterns say of each reflection.

    - ``hkl``, int, shape (n, 3): in the conventional basis; of g and -g one, see
      :func:`friedel_sign`.
    - ``value``, shape (n,): mean residual of the logarithm of the intensity over a typical spot's.
    - ``weight``, shape (n,): sum of the spots' weights, each up to 1.
    - ``spread``: standard deviation of the residuals.
    - ``skewness``: of the residuals: centric crystals have more weak reflections.
    - ``repeat``: correlation of the residuals of two patterns' spots of one reflection.
    - ``n_repeats``: pairs of such spots.
    - ``friedel``: correlation of the residuals of g and -g in one pattern.
    - ``n_friedel``: pairs of such spots.
    """

    hkl: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    spread: float
    skewness: float
    repeat: float
    n_repeats: int
    friedel: float
    n_friedel: int


def friedel_sign(hkl: np.ndarray) -> np.ndarray:
    """1 where the first index other than 0 is positive, -1 where it is negative; shape (n,)."""
    first = np.argmax(hkl != 0, axis=1)
    return np.where(np.take_along_axis(hkl, first[:, None], 1)[:, 0] < 0, -1, 1)


def residuals(
    intensity: np.ndarray, square: np.ndarray, error: np.ndarray, pattern: np.ndarray
) -> np.ndarray:
    """Logarithms of intensities without what the excitation error and |g| explain; shape (n,).

    ``square`` is q^2 [1/angstrom^2], ``error`` the excitation error [1/angstrom], ``pattern`` 0, 1,
    ... of each spot.
    """
    counts = np.maximum(np.bincount(pattern), 1)

    def centred(values: np.ndarray) -> np.ndarray:
        return values - (np.bincount(pattern, values) / counts)[pattern]

    value = centred(np.log(np.maximum(intensity, np.finfo(float).tiny)))
    design = np.column_stack(
        [centred(v) for v in (square, np.abs(error) / 0.02, (error / 0.02) ** 2)]
    )
    normal = design.T @ design + RIDGE * len(value) * np.eye(3)
    left: np.ndarray = value - design @ np.linalg.solve(normal, design.T @ value)
    limit = CUT * max(float(left.std()), float(np.finfo(float).tiny))
    return np.clip(left, -limit, limit)


def _correlation(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> float:
    """Of pairs whose order means nothing, about zero; NaN without pairs."""
    size = float(np.sum(weight * (first**2 + second**2)))
    return 2 * float(np.sum(weight * first * second)) / size if size > 0 else np.nan


def merge(
    hkl: np.ndarray,
    intensity: np.ndarray,
    square: np.ndarray,
    error: np.ndarray,
    pattern: np.ndarray,
) -> Reflections:
    """Reflections of the spots of several patterns.

    ``hkl``, shape (n, 3), is in the conventional basis; the others are those of :func:`residuals`.
    """
    left = residuals(intensity, square, error, pattern)
    weight = 1 / (1 + (error / HALF_WEIGHT) ** 2)
    sign = friedel_sign(hkl)
    unique, inverse = np.unique(hkl * sign[:, None], axis=0, return_inverse=True)
    inverse = inverse.ravel()
    total = np.bincount(inverse, weight, minlength=len(unique))
    value = np.bincount(inverse, weight * left, minlength=len(unique)) / np.maximum(total, 1e-12)
    deviation = left - left.mean()
    spread = float(deviation.std())
    # Pairs of neighbours in the list ordered by reflection, then by pattern.
    order = np.lexsort((pattern, inverse))
    one, other = order[:-1], order[1:]
    same = inverse[one] == inverse[other]
    friedel = same & (pattern[one] == pattern[other]) & (sign[one] != sign[other])
    repeated = same & (pattern[one] != pattern[other])
    pairs = []
    for chosen in (repeated, friedel):
        i, j = one[chosen], other[chosen]
        alike = _correlation(left[i], left[j], np.sqrt(weight[i] * weight[j]))
        pairs.append((alike, int(chosen.sum())))
    return Reflections(
        hkl=unique,
        value=value,
        weight=total,
        spread=spread,
        skewness=float((deviation**3).mean() / spread**3) if spread > 0 else 0.0,
        repeat=pairs[0][0],
        n_repeats=pairs[0][1],
        friedel=pairs[1][0],
        n_friedel=pairs[1][1],
    )

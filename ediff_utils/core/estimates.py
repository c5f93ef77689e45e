"""A rate or a median with its 95 % interval.

Patterns of one material are correlated, so intervals come from resampling materials, not patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

_Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and the sizes of its sample; ``nan`` where there is none."""

    value: float
    low: float
    high: float
    n: int
    n_materials: int


def compute_wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of ``rate`` seen in ``n`` independent trials."""
    if n == 0:
        return (np.nan, np.nan)
    centre = rate + _Z_95**2 / (2 * n)
    spread = _Z_95 * np.sqrt(rate * (1 - rate) / n + _Z_95**2 / (4 * n**2))
    scale = 1 + _Z_95**2 / n
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return (float(max(0.0, min(low, rate))), float(min(1.0, max(high, rate))))


def _resample(n_materials: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for _ in range(n_bootstrap):
        drawn = rng.integers(0, n_materials, n_materials)
        yield np.bincount(drawn, minlength=n_materials)


def estimate_rate(
    right: np.ndarray, materials: np.ndarray, *, n_bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """Estimate the share of ``True``, with an interval that respects what belongs together.

    Where a material has several rows, materials are resampled (bootstrap). Where each has one, or
    where all materials agree and the bootstrap would return a point, the interval is Wilson's with
    the number of materials for its trials. ``right``, bool, and ``materials`` are of shape (n,).
    """
    right = np.asarray(right, dtype=bool)
    if right.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    codes, names = pd.factorize(np.asarray(materials))
    size = np.bincount(codes)
    hits = np.bincount(codes, weights=right)
    rate = float(right.mean())
    if size.max() == 1 or np.ptp(hits / size) == 0:
        interval = compute_wilson_interval(rate, len(names))
    else:
        counts = _resample(len(names), n_bootstrap, seed)
        rates = [float(c @ hits) / float(c @ size) for c in counts]
        low, high = np.quantile(rates, (0.025, 0.975))
        interval = (float(low), float(high))
    return Estimate(rate, *interval, right.size, len(names))


def estimate_median(
    values: np.ndarray, materials: np.ndarray, *, n_bootstrap: int = 200, seed: int = 0
) -> Estimate:
    """Estimate a median of values, shape (n,), as :func:`estimate_rate` does a rate.

    ``nan`` values are left out.
    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    values, materials = values[known], np.asarray(materials)[known]
    if values.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    codes, names = pd.factorize(materials)
    order = np.argsort(values, kind="stable")
    ordered, codes = values[order], codes[order]
    medians = []
    for counts in _resample(len(names), n_bootstrap, seed):
        # sorted once: the resampled median is where the accumulated weight passes one half
        weight = np.cumsum(counts[codes])
        medians.append(ordered[np.searchsorted(weight, weight[-1] / 2)])
    low, high = np.quantile(medians, (0.025, 0.975))
    median = float(np.median(values))
    return Estimate(
        median, min(float(low), median), max(float(high), median), values.size, len(names)
    )

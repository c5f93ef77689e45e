"""Colours and markers of curves that belong together."""

from __future__ import annotations

from collections.abc import Iterable

from ediff_utils.core.errors import UserError
from ediff_utils.figures.style import Look

#: Colours (Okabe and Ito) and markers of curves, neighbours well apart.
_SERIES_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_SERIES = tuple(zip(_SERIES_COLORS, "os^Dv<>", strict=True))


def series_styles(names: Iterable[str]) -> dict[str, Look]:
    """Give each name its ``color`` and ``marker``, in their order; more than seven: UserError."""
    names = list(dict.fromkeys(names))
    if len(names) > len(_SERIES):
        raise UserError(f"figure: expected at most {len(_SERIES)} curves, got {len(names)}")
    pairs = zip(names, _SERIES, strict=False)
    return {name: {"color": color, "marker": marker} for name, (color, marker) in pairs}

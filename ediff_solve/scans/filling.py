"""Positions that cannot be told by themselves, from their neighbours in the same grain."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.votes import lead

#: What comes from the nearest neighbour that is called the same.
_COPIED = ("space_group", "a_cubic", "a", "b", "c")


def fill_from_grains(maps: pd.DataFrame, settings: ScanSettings) -> pd.DataFrame:
    """Let the median filter answer where a pattern has too few spots for a lattice.

    The same window as everywhere, but of positions of the same particle alone: support never turns
    into crystal, nor does one grain speak for another.

    Of :func:`ediff_solve.scans.maps.compute_predictor_maps`, with ``particle``, a copy: system and
    confidence of these positions are the window's, space_group, a_cubic, a, b and c those of the
    nearest position in it that is called the same. ``filled`` says which; system_raw and the
    probabilities stay empty there.
    """
    maps = maps.copy()
    columns = [name for name in maps if name.startswith("probability_")]
    names = np.array([name.removeprefix("probability_") for name in columns], dtype=object)
    shape = int(maps["x"].max()) + 1, int(maps["y"].max()) + 1
    values = maps[columns].to_numpy(float).reshape(*shape, len(columns))
    particle = maps["particle"].to_numpy().reshape(shape)
    system = maps["system"].to_numpy(dtype=object).reshape(shape)
    answered = ~np.isnan(values[..., 0])
    half = settings.median_size // 2
    rows, neighbours, called, confidences = [], [], [], []
    for x, y in np.argwhere((particle > 0) & ~answered):
        window = tuple(slice(max(k - half, 0), k + half + 1) for k in (x, y))
        own = answered[window] & (particle[window] == particle[x, y])
        if not own.any():
            continue
        (best,), (confidence,) = lead(np.median(values[window][own], axis=0)[None])
        alike = np.argwhere(own & (system[window] == names[best]))
        if confidence < settings.min_confidence or not len(alike):
            continue
        places = alike + [part.start for part in window]
        nearest = places[((places - (x, y)) ** 2).sum(axis=1).argmin()]
        rows.append(x * shape[1] + y)
        neighbours.append(nearest[0] * shape[1] + nearest[1])
        called.append(names[best])
        confidences.append(confidence)
    maps["filled"] = False
    maps.loc[rows, "filled"] = True
    maps.loc[rows, "system"] = called
    maps.loc[rows, "confidence"] = confidences
    for name in _COPIED:
        maps.loc[rows, name] = maps.loc[neighbours, name].to_numpy()
    return maps

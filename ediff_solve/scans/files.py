"""A scan's maps in the files of orix: HDF5 and .ang.

A ``CrystalMap`` of orix has x along columns and y along rows, in nanometres (.ang: micrometres);
the scan's own x runs along rows, so that the map's ``y`` is the table's x and the map's ``x`` the
table's y, and pictures look the same. Phases are crystal systems; phase id -1 (not indexed) is
where nothing is claimed. Rotations are the identity throughout: no orientation is claimed anywhere.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from ediff_utils.core.paths import atomic_write
from ediff_utils.crystals.groups import ALL_SYSTEMS, HOLOHEDRIES

# Two processes that import orix for the first time at once leave a cache of compiled functions that
# crashes every later one, so one waits for the other.
# Each user has a lock of their own, as another's cannot be opened in a shared folder.
_USER = getattr(os, "getuid", int)()
with FileLock(Path(tempfile.gettempdir()) / f"ediff-utils-orix-{_USER}.lock"):
    from orix import io
    from orix.crystal_map import CrystalMap, Phase, PhaseList
    from orix.quaternion import Rotation

#: Properties of a map beside the probabilities; NaN is written as 0.
_NUMBERS = ("confidence", "space_group", "a", "b", "c", "particle", "n_spots")
#: And those of the predictor's maps.
_PREDICTORS = ("indexed", "one_grain", "two_grains", "filled")
NOT_INDEXED = -1
UNITS = {"nm": 0.1, "um": 1e-4}


def to_crystal_map(maps: pd.DataFrame, step: float, unit: str = "nm") -> CrystalMap:
    """Maps as orix has them.

    Parameters
    ----------
    maps : DataFrame
        See :func:`ediff_utils.paper.scan.maps.build_maps`, with ``particle``.
    step : float
        Distance of probe positions [angstrom].
    unit : {"nm", "um"}
        Of the map's coordinates.

    Returns
    -------
    CrystalMap
        Phases are the crystal systems that occur, their ids the places in
        :data:`ediff_utils.crystals.groups.ALL_SYSTEMS`; ``prop`` holds the probabilities and the
        maps' other numbers, 0 where there is none.
    """
    ids = {name: number for number, name in enumerate(ALL_SYSTEMS)}
    phase_id = maps["system"].map(ids).fillna(NOT_INDEXED).to_numpy(int)
    named = [name for name in ALL_SYSTEMS if ids[name] in phase_id]
    phases = PhaseList(
        [Phase(name=name, point_group=HOLOHEDRIES[name]) for name in named],
        ids=[ids[name] for name in named],
    )
    names = [name for name in maps if name.startswith("probability_")] + list(_NUMBERS)
    names += [name for name in _PREDICTORS if name in maps]
    props = {name: np.nan_to_num(maps[name].to_numpy(float)) for name in names}
    return CrystalMap(
        rotations=Rotation.identity((len(maps),)),
        phase_id=phase_id,
        x=maps["y"].to_numpy() * step * UNITS[unit],
        y=maps["x"].to_numpy() * step * UNITS[unit],
        phase_list=phases,
        prop=props,
        scan_unit=unit,
    )


def write_crystal_maps(maps: pd.DataFrame, folder: Path, name: str, step: float) -> dict[str, Path]:
    """Write maps as orix's HDF5 and as .ang.

    Parameters
    ----------
    maps : DataFrame
        See :func:`ediff_utils.paper.scan.maps.build_maps`, with ``particle``.
    folder : Path
    name : str
        Of the files, without their endings.
    step : float
        Distance of probe positions [angstrom].

    Returns
    -------
    dict of str to Path
        "h5" and "ang"; each is replaced in one step. Where nothing is claimed anywhere there is no
        ``.ang``, whose readers need a phase; nor of fewer than four positions, which orix cannot
        write.
    """
    files = {ending: Path(folder) / f"{name}.{ending}" for ending in ("h5", "ang")}
    probabilities = [name for name in maps if name.startswith("probability_")]
    extra = {"confidence_index_prop": "confidence", "extra_prop": probabilities}
    # .ang files are in micrometres
    kinds = [("h5", "nm", {}), ("ang", "um", extra)]
    if maps["system"].isna().all() or len(maps) < 4:
        kinds.pop()
        files.pop("ang").unlink(missing_ok=True)
    for ending, unit, options in kinds:
        save_map(to_crystal_map(maps, step, unit), files[ending], **options)
    return files


def save_map(found: CrystalMap, path: Path, **options: object) -> None:
    """Write a map as orix does, by the file's ending, and replace the file in one step."""
    with atomic_write(path) as partial, warnings.catch_warnings():
        # orix tells formats by endings, and warns of what none of its readers minds
        warnings.simplefilter("ignore")
        own = partial.with_name(partial.name + path.suffix)
        try:
            io.save(str(own), found, overwrite=True, **options)
            own.replace(partial)
        finally:
            own.unlink(missing_ok=True)

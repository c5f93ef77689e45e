"""Which program a file of spots is of, and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ediff_solve.frames.lists.dials import read_dials
from ediff_solve.frames.lists.pets import holds_zones, read_pts, read_zones
from ediff_solve.frames.lists.pyxem import holds_vectors, read_vectors
from ediff_solve.frames.lists.xds import read_xds
from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError

_READERS: dict[str, Callable[[Path], SpotList]] = {
    ".refl": read_dials, ".pts": read_pts, ".cif_pets": read_zones, ".cif": read_zones,
    ".xds": read_xds, ".hspy": read_vectors, ".zspy": read_vectors,
}  # fmt: skip
LIST_ENDINGS = tuple(_READERS)


def holds_spots(path: Path) -> bool:
    """Whether a file is a spot list of one of these programs, rather than frames."""
    ending = path.suffix.lower()
    if ending in (".hspy", ".zspy"):
        return holds_vectors(path)
    if ending == ".cif":
        return holds_zones(path)
    if ending == ".pts":  # JEOL has files of this ending too
        return path.is_file() and b"imagelist" in path.read_bytes()[: 2**20]
    return ending in _READERS


def read_spot_list(path: str | Path, pixel_size: float | None = None) -> SpotList:
    """Read the spots of DIALS, XDS, PETS2, Jana or pyxem.

    Parameters
    ----------
    path : str or Path
        ``.refl`` with its ``.expt`` beside it, ``SPOT.XDS`` with XPARM.XDS or XDS.INP, ``.pts``
        with ``.rpl``, ``.cif_pets`` or another CIF with zones, ``.hspy`` or ``.zspy`` with
        diffraction vectors.
    pixel_size : float, optional
        In place of the scale of vectors whose units are not known [1/angstrom].

    Returns
    -------
    SpotList
        Without spots of no intensity; ``source`` is one line: what was read.

    Raises
    ------
    UserError
        The file cannot be read, is of another kind, or lacks its geometry or units.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise UserError(
            f"{path}: unknown ending '{path.suffix}', expected {', '.join(LIST_ENDINGS)}"
        )
    if not path.exists():
        raise UserError(f"{path}: no such file; expected spots")
    vectors = pixel_size is not None and ending in (".hspy", ".zspy")
    try:
        read = read_vectors(path, pixel_size) if vectors else _READERS[ending](path)
    except UserError:
        raise
    # Damaged files end in whatever numbers of other meanings lead to.
    except Exception as error:
        raise UserError(f"{path}: it or what lies beside it is damaged: {error!r}") from None
    bright = np.isfinite(read.intensity) & (read.intensity > 0)
    bright &= np.isfinite(read.qx) & np.isfinite(read.qy)
    if not bright.any():
        raise UserError(f"{path}: no spots: expected at least one of intensity above 0")
    kept = read.take(bright)
    return replace(kept, source=_describe(path, read.source, kept))


def _describe(path: Path, source: str, spots: SpotList) -> str:
    n = len(np.unique(spots.frame))
    parts = [f"{path}: {source}, {len(spots)} spots in {n} pattern{'s' if n > 1 else ''}"]
    if "scan_shape" in spots.known:
        parts.append("scan of {} x {}".format(*spots.known["scan_shape"]))
    energy = spots.known.get("energy")
    parts.append("energy not in the file" if energy is None else f"{energy / 1e3:.4g} kV")
    if "alpha" in spots.more:
        alpha = spots.more["alpha"]
        parts.append(f"alpha {alpha.min():g} to {alpha.max():g} degrees")
    if "tilt_axis" in spots.known:
        parts.append(f"tilt axis {spots.known['tilt_axis']:.1f} degrees from qx towards qy")
    return ", ".join([*parts, "in 1/angstrom from the direct beam"])

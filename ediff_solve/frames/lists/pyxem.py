"""Diffraction vectors of pyxem, in the files of HyperSpy (.hspy, .zspy)."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ediff_solve.frames.spot_lists import SpotList
from ediff_utils.core.errors import UserError

_ENDINGS = {".hspy": "rsciio.hspy", ".zspy": "rsciio.zspy"}
_TYPE = "diffraction_vectors"
#: How its units are spelled, in letters, digits and signs alone, and what makes them 1/angstrom.
_UNITS = {"a-1": 1.0, "å-1": 1.0, "angstrom-1": 1.0, "1/a": 1.0, "1/å": 1.0, "1/angstrom": 1.0,
          "nm-1": 0.1, "1/nm": 0.1}  # fmt: skip


def holds_vectors(path: Path) -> bool:
    """Whether a file of HyperSpy has pyxem's diffraction vectors in it, rather than frames."""
    try:
        if path.suffix.lower() == ".hspy":
            with h5py.File(path, "r") as file:
                found: list[str] = []
                file.visititems(lambda _name, item: found.append(_signal_type(item)))
                return any(_TYPE in one for one in found)
        if path.suffix.lower() == ".zspy":
            return any(_TYPE in p.read_text() for p in path.rglob(".zattrs"))
    except Exception:  # a file that reading it will say more of
        return False
    return False


def _signal_type(item: h5py.HLObject) -> str:
    found = item.attrs.get("signal_type", "")
    return found.decode() if isinstance(found, bytes) else str(found)


def read_vectors(path: Path, pixel_size: float | None = None) -> SpotList:
    """Vectors at each position of a scan; the first column is qx, the second qy.

    ``pixel_size`` [1/angstrom] takes the place of the file's scale, and is needed where its units
    are not known.
    """
    signal = _read_signal(path)
    told = (signal.get("metadata") or {}).get("VectorMetadata") or {}
    factor = _find_factor(path, told, pixel_size)
    data = np.asarray(signal["data"], object)
    shape = data.shape if data.ndim else (1,)
    vectors = [np.atleast_2d(np.asarray(one, float)) for one in data.ravel()]
    vectors = [v if v.size else np.empty((0, 2)) for v in vectors]
    wide = {v.shape[1] for v in vectors if len(v)}
    if not wide or min(wide) < 2:
        raise UserError(f"{path}: no diffraction vectors with two components in it")
    names = [str(n) for n in told.get("column_names") or []]
    place = names.index("intensity") if "intensity" in names else 2
    flat = np.concatenate([v[:, :2] for v in vectors])
    intensity = np.concatenate(
        [v[:, place] if v.shape[1] > place else np.ones(len(v)) for v in vectors]
    )
    frame = np.repeat(np.arange(len(vectors)), [len(v) for v in vectors])
    known: dict[str, Any] = {"frames": len(vectors)}
    if len(shape) == 2:
        known["scan_shape"] = [int(n) for n in shape]
    return SpotList(
        frame, factor * flat[:, 0], factor * flat[:, 1], intensity, "diffraction vectors of pyxem",
        known=known,
    )  # fmt: skip


def _read_signal(path: Path) -> dict[str, Any]:
    try:
        module = importlib.import_module(_ENDINGS[path.suffix.lower()])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signals = module.file_reader(str(path), lazy=False)
    except ImportError as error:
        raise UserError(f"{path}: needs the package '{error.name}'; pip install it") from None
    except Exception as error:
        raise UserError(f"{path}: not a file of HyperSpy, or damaged: {error}") from None
    return signals[0]


def _find_factor(path: Path, told: dict[str, Any], pixel_size: float | None) -> float:
    """What makes the vectors 1/angstrom."""
    scales = told.get("scales")
    if pixel_size is not None:
        try:
            return pixel_size / float(np.ravel(np.asarray(scales, float))[0])
        except (TypeError, ValueError, IndexError, ZeroDivisionError):
            raise UserError(f"{path}: pixel_size: the file has no scale to put it for") from None
    units = told.get("units") or [""]
    plain = re.sub(r"[^a-zåÅ0-9/-]", "", str(np.ravel(units)[0]).lower().replace("k_", ""))
    if plain not in _UNITS:
        raise UserError(
            f"{path}: units '{np.ravel(units)[0]}' of the vectors are not known; give pixel_size, "
            "in 1/angstrom"
        )
    return _UNITS[plain]

"""Files of detector frames as lazy arrays: whatever RosettaSciIO reads, py4DSTEM's EMD, Arina.

What a file says of its axes is passed on as it stands; :mod:`ediff_solve.frames.reading` judges it.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np

from ediff_solve.frames.hdf5 import check_hdf5
from ediff_utils.core.errors import UserError

#: Formats that share an ending: which one holds scans of frames.
_PREFERRED = {"mrc": "MRC", "emd": "EMD", "xml": "EMPAD", "img": "Hamamatsu"}
#: Modules that a package of another name brings.
_PACKAGES = {"skimage": "scikit-image"}
_HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".emd")


@dataclass(frozen=True)
class Axis:
    """One axis of an array: step and units as the file has them, and whether it is the scan's.

    None where the file, or its format, does not say.
    """

    scale: float | None = None
    units: str | None = None
    navigate: bool | None = None


@dataclass(frozen=True)
class Stored:
    """An array, its axes, and the beam energy [eV] where the file has it."""

    data: da.Array
    axes: tuple[Axis, ...]
    energy: float | None = None


def open_stored(path: Path, node: str | None) -> Stored:
    """Open a file without reading its frames; ``node`` names a DataCube of several."""
    if not path.exists():
        raise UserError(f"{path}: no such file; expected a scan of detector frames")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if path.suffix.lower() in _HDF5_ENDINGS:
        stored = _open_hdf5(path, node)
        if stored is not None:
            return stored
    return _open_rosettasciio(path)


def _open_hdf5(path: Path, node: str | None) -> Stored | None:
    """EMD 1.0 or Arina; None for HDF5 of other kinds."""
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            kinds = [item.attrs.get("emd_group_type") for item in file.values()]
            cubes: list[str] = []
            file.visititems(lambda name, item: cubes.append(name) if _is_cube(name, item) else None)
            arina = isinstance(file.get("entry/data"), h5py.Group)
            empty = len(file) == 0
            old = file.attrs.get("version_major") == 0 and not cubes
    # Damaged attributes and links end in whatever h5py runs into.
    except Exception as error:
        raise UserError(f"{path}: not an HDF5 file, or cut short: {error}") from None
    if empty:
        raise UserError(f"{path}: HDF5 without anything in it; expected frames")
    if arina:
        return _open_arina(path)
    if not any(kinds):
        return None
    if old:
        raise UserError(
            f"{path}: EMD 0.2, as older programs write it, is not supported; expected DataCubes of "
            "py4DSTEM, or .hspy, as HyperSpy saves it"
        )
    if node is not None:
        cubes = [name for name in cubes if node in (name, name.split("/")[-1])]
    if len(cubes) != 1:
        there = ", ".join(cubes) or "none"
        raise UserError(f"{path}: node: expected one DataCube, found {there}; name one")
    try:
        return _open_emd(path, cubes[0])
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: {cubes[0]}: not a DataCube, or damaged: {error}") from None


def _is_cube(name: str, item: h5py.HLObject) -> bool:
    """Whether a group is a DataCube of py4DSTEM: of 0.14, 0.13, or older ones by its place."""
    kind = item.attrs.get("python_class", item.attrs.get("py4dstem_class"))
    old = name.rpartition("/")[0].endswith("/data/datacubes")
    return kind == "DataCube" or (old and isinstance(item, h5py.Group))


def _lazy(dataset: h5py.Dataset) -> da.Array:
    chunks = dataset.chunks or (*("auto",) * (dataset.ndim - 2), *dataset.shape[-2:])
    return da.from_array(dataset, chunks=chunks, meta=np.empty(0, dataset.dtype))


def _open_emd(path: Path, cube: str) -> Stored:
    # Left open: the array reads from it.
    file = h5py.File(path, "r")
    dataset = file[cube].get("data")
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 4:
        raise UserError(f"{path}: {cube}: expected a DataCube with four-dimensional data")
    top = cube.split("/")[0]
    # Since 0.14, in 0.13.
    places = (f"{top}/metadatabundle/calibration", f"{top}/calibration")
    stored: Any = next((file[place] for place in places if place in file), {})
    values = {name: item[()] for name, item in stored.items() if hasattr(item, "shape")}
    entries: dict[str, Any] = {
        n: v.decode(errors="replace") if isinstance(v, bytes) else v for n, v in values.items()
    }
    axes = []
    for kind in "RRQQ":
        scale, units = (entries.get(f"{kind}_pixel_{name}") for name in ("size", "units"))
        axes.append(
            Axis(
                float(scale) if isinstance(scale, int | float | np.number) else None,
                units if isinstance(units, str) else None,
                kind == "R",
            )
        )
    return Stored(_lazy(dataset), tuple(axes))


def _open_arina(path: Path) -> Stored:
    # py4DSTEM and RosettaSciIO read all frames at once and cut counts to 16 bits; this is their
    # layout, read where it is needed. The filters of the detector come with the import.
    import hdf5plugin  # noqa: F401

    file = h5py.File(path, "r")
    group = file["entry/data"]
    # Links to files that are not there do not resolve.
    missing = [name for name in group if group.get(name) is None]
    if missing:
        raise UserError(f"{path}: the data file behind '{missing[0]}' is missing or cut short")
    sets = [group[name] for name in sorted(group)]
    if not sets or any(s.ndim != 3 or s.shape[1:] != sets[0].shape[1:] for s in sets):
        raise UserError(f"{path}: expected stacks of frames of one size in entry/data")
    axes = (Axis(navigate=True), Axis(navigate=False), Axis(navigate=False))
    return Stored(da.concatenate([_lazy(s) for s in sets]), axes)


def _open_rosettasciio(path: Path) -> Stored:
    signals, _ = _read_signals(path)
    found_shapes = [np.shape(s["data"]) for s in signals if "data" in s]
    if len(found_shapes) == 1 and len(found_shapes[0]) == 2:
        raise UserError(f"{path}: a scan of one probe position, a single frame; expected more")
    signals = [s for s in signals if getattr(s.get("data"), "ndim", 0) >= 3]
    if len(signals) != 1:
        raise UserError(
            f"{path}: expected one scan of frames, found {len(signals)} arrays of three dimensions "
            f"or more"
        )
    return _from_signal(signals[0])


def open_signal(path: Path, node: str | None = None) -> Stored:
    """Open a file of one frame, a stack or a scan; see :func:`open_stored`."""
    if path.suffix.lower() in _HDF5_ENDINGS:
        stored = _open_hdf5(path, node)
        if stored is not None:
            return stored
    signals, name = _read_signals(path)
    signals = [s for s in signals if getattr(s.get("data"), "ndim", 0) >= 2]
    if len(signals) != 1:
        raise UserError(f"{path}: expected one picture or stack, found {len(signals)} in {name}")
    return _from_signal(signals[0])


def _read_signals(path: Path) -> tuple[list[dict], str]:
    """What RosettaSciIO reads of a file, lazily, and the name of its format."""
    from rsciio import IO_PLUGINS

    ending = path.suffix.lower().removeprefix(".")
    ending = {"mrcs": "mrc"}.get(ending, ending)
    found = [p for p in IO_PLUGINS if ending in [e.lower() for e in p["file_extensions"]]]
    if ending in _PREFERRED:
        found = [p for p in found if p["name"] == _PREFERRED[ending]]
    if path.suffix.lower() in _HDF5_ENDINGS and ending != "emd":
        found = [p for p in found if p["name"] == "HSPY" and _is_hyperspy(path)]
    if not found:
        raise UserError(
            f"{path}: frames of this kind ('{path.suffix}') are not known; expected a file of "
            f"RosettaSciIO (.hspy, .zspy, .blo, .mib, .dm4, .mrc ...), py4DSTEM or Arina"
        )
    name = found[0]["name"]
    try:
        module = importlib.import_module(found[0]["api"])
        with warnings.catch_warnings():
            # A header that does not fit its file is judged by reading the last frame.
            warnings.simplefilter("ignore")
            return module.file_reader(str(path), lazy=True), name
    except ImportError as error:
        name = _PACKAGES.get(error.name or "", error.name)
        raise UserError(f"{path}: needs the package '{name}'; pip install it") from None
    # Readers of binary formats meet nonsense in as many ways as there are fields.
    except Exception as error:
        raise UserError(f"{path}: not a {name} file, or cut short: {error}") from None


def _is_hyperspy(path: Path) -> bool:
    with h5py.File(path, "r") as file:
        return "file_format" in file.attrs


def _from_signal(signal: dict) -> Stored:
    data = da.asarray(signal["data"])
    # Without one axis that belongs to the scan, the format knows no difference.
    told = any(axis.get("navigate") for axis in signal["axes"])
    # A reader that finds no scale makes up ones.
    made_up = all(axis.get("scale") == 1 for axis in signal["axes"])
    axes = []
    for axis in signal["axes"]:
        # Undefined units are an object of the format's own.
        units = axis.get("units")
        units = units if isinstance(units, str) and units.strip() else None
        scale = axis.get("scale")
        known = isinstance(scale, int | float | np.number) and not made_up
        axes.append(
            Axis(float(scale) if known else None, units, axis.get("navigate") if told else None)
        )
    energy = None
    node = signal.get("metadata") or {}
    for key in ("Acquisition_instrument", "TEM", "beam_energy"):
        node = node.get(key) if hasattr(node, "get") else None
    if isinstance(node, int | float) and node > 0:
        energy = 1e3 * float(node)
    return Stored(data, tuple(axes), energy)

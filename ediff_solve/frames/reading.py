"""A 4D-STEM scan on disk, block by block, with its axes told apart and its units understood.

The first two axes of what is read are the scan's, x and y, the last two the detector's, qx and qy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dask
import dask.array as da
import numpy as np

from ediff_solve.frames.formats import Axis, Stored, open_stored
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Frames of fewer pixels a side are none: two axes of the scan, taken for the detector's.
SMALLEST_DETECTOR = 16
#: Frames read at once, and looked at to see whether anything is in them.
BLOCK_BYTES, _LOOKED_AT = 2**27, 16

#: Units of a length [angstrom] and of a reciprocal length [1/angstrom].
_LENGTHS = {"a": 1.0, "å": 1.0, "angstrom": 1.0, "nm": 10.0, "um": 1e4, "µm": 1e4, "μm": 1e4,
            "pm": 0.01, "m": 1e10}  # fmt: skip
_ANGLES = {"mrad": 1e-3, "rad": 1.0}
#: 1/nm, nm^-1 and the like, without spaces.
_RECIPROCAL = r"1/\(*(.+?)\)*|(.+?)(?:\^|\*\*)?(?:-1|⁻¹)"


@dataclass(frozen=True)
class Frames:
    """A scan whose frames stay on disk until they are asked for; made by :func:`open_frames`.

    Attributes
    ----------
    path : Path
    data : dask Array, shape (nx, ny, height, width)
    step : float or None
        Of the scan [angstrom]; None where the file does not tell in units that are known.
    pixel_size : float or None
        Of the detector [1/angstrom, without 2 pi]; None likewise.
    """

    path: Path
    data: da.Array
    step: float | None
    pixel_size: float | None

    @property
    def scan_shape(self) -> tuple[int, int]:
        """Probe positions along x and y."""
        nx, ny = self.data.shape[:2]
        return nx, ny

    @property
    def detector_shape(self) -> tuple[int, int]:
        """Pixels along qx and qy."""
        height, width = self.data.shape[2:]
        return height, width

    def read(self, rows: slice, columns: slice = slice(None)) -> np.ndarray:
        """Frames of a rectangle of the scan; shape (n, height, width), columns fastest.

        Raises
        ------
        UserError
            The file has fewer frames than it says, or cannot be read.
        """
        try:
            part = dask.compute(self.data[rows, columns], scheduler="synchronous")[0]
        # Memory maps, HDF5 and its filters, each with errors of its own.
        except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
            raise UserError(
                f"{self.path}: the frames that its shape {self.data.shape} promises cannot be "
                f"read, the file may be cut short: {error}"
            ) from None
        return np.asarray(part).reshape(-1, *self.detector_shape)

    def _rectangles(self, block_bytes: int) -> list[tuple[slice, slice]]:
        """Rectangles of the scan that are its blocks, in order of x, then y."""
        nx, ny = self.scan_shape
        frame = math.prod(self.detector_shape) * self.data.dtype.itemsize
        many = max(1, block_bytes // frame)
        if many < ny:
            return [
                (slice(i, i + 1), slice(j, min(j + many, ny)))
                for i in range(nx)
                for j in range(0, ny, many)
            ]
        rows = many // ny
        return [(slice(i, min(i + rows, nx)), slice(0, ny)) for i in range(0, nx, rows)]

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give all frames, a block at a time, reading one block ahead.

        Parameters
        ----------
        block_bytes : int
            Largest block; one frame at least. Two are in memory at a time.

        Yields
        ------
        numbers : ndarray of int64, shape (n,)
            x * ny + y of each frame.
        frames : ndarray, shape (n, height, width)
        """
        parts = self._rectangles(block_bytes)
        every = np.arange(math.prod(self.scan_shape)).reshape(self.scan_shape)
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.read, *parts[0])
            for k, part in enumerate(parts):
                frames = ahead.result()
                if k + 1 < len(parts):
                    ahead = pool.submit(self.read, *parts[k + 1])
                yield every[part].ravel(), frames

    def sample(self, n: int) -> np.ndarray:
        """Up to n frames, evenly spread over the scan; shape (m, height, width)."""
        n_all = math.prod(self.scan_shape)
        return self.pick(np.unique(np.linspace(0, n_all - 1, min(n, n_all)).round().astype(int)))

    def pick(self, numbers: np.ndarray) -> np.ndarray:
        """Frames of some positions x * ny + y; shape (n, height, width)."""
        places = (divmod(k, self.scan_shape[1]) for k in numbers)
        return np.concatenate([self.read(slice(i, i + 1), slice(j, j + 1)) for i, j in places])


def open_frames(
    path: str | Path,
    *,
    node: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    signal_axes: tuple[int, int] | None = None,
    energy: float | None = None,
) -> Frames:
    """Open a scan of detector frames.

    Parameters
    ----------
    path : str or Path
        A file of RosettaSciIO (.hspy, .zspy, .blo, .mib, .dm4, .mrc ...), an EMD of py4DSTEM with
        a DataCube, or the master file of an Arina detector.
    node : str, optional
        Name of the DataCube where there is more than one.
    scan_shape : tuple of int, optional
        Probe positions along x and y, for files that hold a mere stack of frames.
    signal_axes : tuple of int, optional
        The detector's axes as numbers of the array's, qx first, where the file does not tell them
        from the scan's, or tells them wrongly.
    energy : float, optional
        Of the beam [eV]; for pixels in mrad, where the file has none.

    Returns
    -------
    Frames

    Raises
    ------
    UserError
        The file cannot be read or has fewer frames than it says; it holds no scan of frames, or
        its axes cannot be told apart; all frames are blank.
    """
    path = Path(path)
    stored = open_stored(path, node)
    if stored.data.dtype.kind not in "iuf":
        raise UserError(f"{path}: expected frames of counts, found {stored.data.dtype.name}")
    if stored.data.dtype == np.float16:  # which filters do not know
        stored = Stored(stored.data.astype(np.float32), stored.axes, stored.energy)
    stored = _order_axes(path, stored, signal_axes)
    data, step = _shape_scan(path, stored, scan_shape)
    frames = Frames(path, data, step, find_pixel_size(stored.axes[-2:], energy or stored.energy))
    low = min(frames.detector_shape)
    if low < SMALLEST_DETECTOR:
        raise UserError(
            f"{path}: frames of {frames.detector_shape[0]} x {frames.detector_shape[1]} pixels, "
            f"expected {SMALLEST_DETECTOR} or more; are scan and detector exchanged? signal_axes "
            f"says which are the detector's"
        )
    if math.prod(frames.scan_shape) < 2:
        raise UserError(f"{path}: a scan of one probe position; expected two or more")
    _check_not_blank(frames)
    return frames


def _order_axes(path: Path, stored: Stored, signal_axes: tuple[int, int] | None) -> Stored:
    """The same with the detector's axes last."""
    n = stored.data.ndim
    if n not in (3, 4) or len(stored.axes) != n:
        raise UserError(
            f"{path}: an array of shape {stored.data.shape}; expected four dimensions, two of the "
            f"scan and two of the detector, or a stack of frames"
        )
    if signal_axes is None:
        signal = [k for k, axis in enumerate(stored.axes) if axis.navigate is False]
        if len(signal) != 2:
            raise UserError(
                f"{path}: nothing tells which two axes of shape {stored.data.shape} are the "
                f"detector's; give signal_axes, as a rule ({n - 2}, {n - 1})"
            )
    else:
        signal = [int(k) for k in signal_axes]
        if len(set(signal)) != 2 or not all(0 <= k < n for k in signal):
            raise UserError(f"signal_axes: expected two different numbers from 0 to {n - 1}")
    order = [k for k in range(n) if k not in signal] + signal
    axes = tuple(stored.axes[k] for k in order)
    scan, detector = axes[:-2], axes[-2:]
    kinds = {axis: _unit(axis)[0] for axis in axes}
    # A camera's own pixels, in micrometres beside a scan's step, tell nothing of the pattern.
    lengths = any(kinds[axis] == "length" and _size(axis) is not None for axis in detector)
    exchanged = lengths and not any(kinds[axis] == "length" for axis in scan)
    if any(kinds[axis] in ("angle", "reciprocal") for axis in scan) or exchanged:
        units = ", ".join(axis.units or "none" for axis in stored.axes)
        raise UserError(
            f"{path}: the units of the axes ({units}) say that scan and detector are exchanged; "
            f"give signal_axes, the numbers of the detector's axes"
        )
    return Stored(stored.data.transpose(order), axes, stored.energy)


def _shape_scan(
    path: Path, stored: Stored, scan_shape: tuple[int, int] | None
) -> tuple[da.Array, float | None]:
    data, axes = stored.data, stored.axes
    step = _common([_size(axis) for axis in axes[:-2]])
    if scan_shape is not None:
        n = math.prod(data.shape[:-2])
        if len(scan_shape) != 2 or min(scan_shape) < 1 or math.prod(scan_shape) != n:
            raise UserError(
                f"{path}: scan_shape: expected two numbers whose product is {n}, the frames there, "
                f"got {tuple(scan_shape)}"
            )
        if tuple(scan_shape) != data.shape[:-2]:
            flat = data.reshape(n, *data.shape[-2:]) if data.ndim == 4 else data
            data = flat.reshape(*(int(k) for k in scan_shape), *data.shape[-2:])
            step = None
    if data.ndim == 3:
        raise UserError(
            f"{path}: a stack of {data.shape[0]} frames; give scan_shape, the probe positions "
            f"along x and y"
        )
    return data, step


def _unit(axis: Axis) -> tuple[str, float]:
    """What the units are of, and one of them in angstrom or radian; that of 1/nm is of nm."""
    units = (axis.units or "").strip().lower()
    found = re.fullmatch(_RECIPROCAL, units.replace(" ", ""))
    if found and (inner := found[1] or found[2]) in _LENGTHS:
        return "reciprocal", _LENGTHS[inner]
    if units in _LENGTHS:
        return "length", _LENGTHS[units]
    return ("angle", _ANGLES[units]) if units in _ANGLES else ("", 0.0)


def _size(axis: Axis, energy: float | None = None) -> float | None:
    """Step of an axis [angstrom], or its pixel [1/angstrom]; None where the file does not tell."""
    kind, unit = _unit(axis)
    if axis.scale is None or not (np.isfinite(axis.scale) and axis.scale > 0):
        return None
    if kind == "length":
        return unit * float(axis.scale)
    if kind == "reciprocal":
        # 1, whatever of, is what readers put where a file has none.
        return None if axis.scale == 1 else float(axis.scale) / unit
    # Of q = 2 sin(theta / 2) / lambda the first term: 1e-4 of it is missing at 50 mrad.
    return float(axis.scale) * unit / wavelength(energy) if kind == "angle" and energy else None


def _common(sizes: list[float | None]) -> float | None:
    """The size of two axes: of two that differ neither is it."""
    known = [size for size in sizes if size is not None]
    same = len(known) == len(sizes) and np.allclose(known, known[0], rtol=1e-3)
    return known[0] if same else None


def find_pixel_size(axes: Sequence[Axis], energy: float | None) -> float | None:
    """Pixel of a detector with two axes [1/angstrom]; ``energy`` is for those in mrad [eV].

    None where they do not tell in units that are known, or differ.
    """
    return _common([None if _unit(axis)[0] == "length" else _size(axis, energy) for axis in axes])


def _check_not_blank(frames: Frames) -> None:
    """Read a few frames, the first and the last among them; all where those are blank."""

    def blank(some: np.ndarray) -> bool:
        return bool(np.all(some == some.flat[0]))

    if not all(blank(frame) for frame in frames.sample(_LOOKED_AT)):
        return
    if all(blank(frame) for _, block in frames.blocks() for frame in block):
        raise UserError(f"{frames.path}: all frames are blank: every pixel has the same value")

"""Frames that are no scan: pictures, stacks and folders of them, with what their headers tell.

TIFF by tifffile; SMV, CBF and EDF by FabIO; PNG and the like by Pillow; everything else by
RosettaSciIO (.mrc, .dm4, .tvips, .hspy ...) or as :mod:`ediff_solve.frames.formats` has it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ediff_solve.frames.formats import open_signal
from ediff_solve.frames.reading import find_pixel_size
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

_TIFF = (".tif", ".tiff")
_PLAIN = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_FABIO = (".img", ".smv", ".cbf", ".edf", ".cbf.gz", ".img.gz", ".img.bz2", ".cbf.bz2")
#: Of which a folder may hold any number, one a frame.
_OTHERS = (".mrc", ".mrcs", ".dm3", ".dm4", ".hspy", ".ser", ".tvips", ".mib", ".npy")
PICTURE_ENDINGS = (*_TIFF, *_PLAIN, *_FABIO, *_OTHERS)
#: Weights of red, green and blue in a grey value (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
#: Largest series that is read at once [byte].
MOST_BYTES = 2**33


@dataclass(frozen=True)
class Series:
    """Frames of one camera; made by :func:`open_series`.

    Attributes
    ----------
    name : str
        Of the file, folder or pattern that it was read from.
    frames : ndarray, shape (n, height, width)
        Rows are x, columns y; values as they are in the file.
    pixel_size : float or None
        [1/angstrom, without 2 pi]; None where no header tells in units that are known.
    energy : float or None
        Of the beam [eV]; None likewise.
    alpha : ndarray, shape (n,), or None
        Goniometer angle in the middle of each frame [degree]; None likewise.
    """

    name: str
    frames: np.ndarray
    pixel_size: float | None = None
    energy: float | None = None
    alpha: np.ndarray | None = None

    def describe(self) -> str:
        """One line: what was read."""
        n, height, width = self.frames.shape
        parts = [
            f"{self.name}: {n} frame{'s' if n > 1 else ''} of {height} x {width} pixels, "
            f"{self.frames.dtype.name}",
            "pixel size not in the file"
            if self.pixel_size is None
            else f"pixel size {self.pixel_size:.6g} 1/angstrom",
            "energy not in the file" if self.energy is None else f"{self.energy / 1e3:.4g} kV",
        ]
        if self.alpha is not None:
            parts.append(f"alpha {self.alpha[0]:g} to {self.alpha[-1]:g} degrees")
        return ", ".join(parts)


@dataclass(frozen=True)
class _Read:
    """Frames of one file, and what its header says; None where it does not."""

    frames: np.ndarray
    pixel_size: float | None = None
    energy: float | None = None
    alpha: float | None = None


def find_pictures(paths: Sequence[str | Path]) -> list[Path]:
    """Files that are meant: a folder's pictures, those that fit a pattern, or the files themselves.

    Numbers in their names are compared as numbers; a UserError where there is none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir() and path.suffix.lower() not in (".zspy", ".zarr"):
            inside = [p for p in path.iterdir() if _ending(p) in PICTURE_ENDINGS]
            endings = {_ending(p) for p in inside}
            if not inside:
                raise UserError(f"{path}: no frames in this folder; expected .tif, .mrc, .cbf ...")
            if len({_kind(e) for e in endings}) > 1:
                raise UserError(
                    f"{path}: frames of several kinds ({', '.join(sorted(endings))}); name those "
                    f"that are meant, such as '{path}/*{sorted(endings)[0]}'"
                )
            found += sorted(inside, key=_natural)
        elif not path.exists() and any(c in str(path) for c in "*?["):
            fitting = [Path(p) for p in glob.glob(str(path))]
            if not fitting:
                raise UserError(f"{path}: no file fits this pattern")
            found += sorted(fitting, key=_natural)
        elif not path.exists():
            raise UserError(f"{path}: no such file; expected frames, or a folder of them")
        else:
            found.append(path)
    if not found:
        raise UserError("frames: expected a file, a folder or a pattern")
    return found


def _ending(path: Path) -> str:
    name = path.name.lower()
    packed = re.search(r"\.(?:cbf|img)\.(?:gz|bz2)$", name)
    return packed[0] if packed else path.suffix.lower()


def _kind(ending: str) -> str:
    return ".tif" if ending in _TIFF else ending


def _natural(path: Path) -> list[Any]:
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if part.isdigit() else part.lower() for part in parts]


def open_series(paths: str | Path | Sequence[str | Path]) -> Series:
    """Read frames that are no scan.

    Parameters
    ----------
    paths : str, Path or a sequence of them
        A file with one frame or a stack, a folder, a pattern such as ``"frames/*.tif"``, or files.

    Returns
    -------
    Series

    Raises
    ------
    UserError
        No such file, one that cannot be read, frames of different sizes, or too large together.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    files = find_pictures(paths)
    read: list[_Read] = []
    size = 0
    for file in files:
        one = _read(file)
        if one.frames.dtype.kind not in "biuf":
            raise UserError(f"{file}: expected frames of counts, found {one.frames.dtype.name}")
        if read and one.frames.shape[1:] != read[0].frames.shape[1:]:
            raise UserError(
                f"{file}: frames of {one.frames.shape[1]} x {one.frames.shape[2]} pixels, expected "
                f"{read[0].frames.shape[1]} x {read[0].frames.shape[2]}, as in {files[0].name}"
            )
        size += one.frames.nbytes
        if size > MOST_BYTES:
            raise UserError(f"{file}: more than {MOST_BYTES >> 30} GiB of frames; name fewer")
        read.append(one)
    frames = read[0].frames if len(read) == 1 else np.concatenate([one.frames for one in read])
    if frames.dtype == np.float16 or frames.dtype.kind == "b":
        frames = frames.astype(np.float32)
    if all(np.all(frame == frame.flat[0]) for frame in frames):
        raise UserError(f"{files[0]}: all frames are blank: every pixel has the same value")
    alphas = [one.alpha for one in read]
    each = all(a is not None for a in alphas) and len(alphas) == len(frames)
    name = str(paths[0]) if len(paths) == 1 else f"{files[0]} and {len(files) - 1} more"
    return Series(
        name,
        frames,
        _same([one.pixel_size for one in read]),
        _same([one.energy for one in read]),
        np.array(alphas, float) if each else None,
    )


def _same(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    alike = len(known) == len(values) and np.allclose(known, known[0], rtol=1e-3)
    return known[0] if alike else None


def _read(path: Path) -> _Read:
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    ending = _ending(path)
    try:
        if ending in _TIFF:
            return _read_tiff(path)
        if ending in _PLAIN:
            return _read_plain(path)
        if ending in _FABIO and not _is_hamamatsu(path, ending):
            return _read_fabio(path)
        if ending == ".npy":
            return _Read(_stack(np.load(path, allow_pickle=False), path))
    except UserError:
        raise
    # Damaged pictures end in whatever their readers run into.
    except Exception as error:
        raise UserError(f"{path}: not a picture, damaged or cut short: {error}") from None
    stored = open_signal(path)
    if stored.data.ndim == 4:
        nx, ny = stored.data.shape[:2]
        raise UserError(
            f"{path}: a scan of {nx} x {ny} positions; expected frames that are no scan, 'ediff "
            "maps' is for scans"
        )
    if stored.data.nbytes > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES >> 30} GiB of frames; name fewer")
    frames = _stack(np.asarray(stored.data), path)
    return _Read(frames, find_pixel_size(stored.axes[-2:], stored.energy), stored.energy)


def _stack(data: np.ndarray, path: Path) -> np.ndarray:
    """Frames one behind the other, colours as grey."""
    data = np.asarray(data)
    if data.ndim >= 3 and data.shape[-1] in (3, 4) and min(data.shape[-3:-1]) > 4:
        data = data[..., :3].astype(np.float32) @ _GREY
    if data.ndim < 2:
        raise UserError(f"{path}: an array of shape {data.shape}; expected a frame or a stack")
    return data.reshape(-1, *data.shape[-2:])


def _read_tiff(path: Path) -> _Read:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0].asarray() if len(file.series) == 1 else None
        if series is None:
            # Pages that a program wrote one by one.
            series = np.stack([page.asarray() for page in file.pages])
    return _Read(_stack(series, path))


def _read_plain(path: Path) -> _Read:
    from PIL import Image

    with Image.open(path) as picture:
        grey = picture.convert("L") if picture.mode in ("P", "1") else picture
        return _Read(_stack(np.asarray(grey), path))


def _is_hamamatsu(path: Path, ending: str) -> bool:
    with path.open("rb") as file:
        return ending == ".img" and file.read(2) == b"IM"


def _read_fabio(path: Path) -> _Read:
    import fabio

    with fabio.open(str(path)) as image:
        frames = np.stack([image.get_frame(n).data for n in range(image.nframes)])
        header = {str(k).lower(): str(v) for k, v in image.header.items()}
    text = header.get("_array_data.header_contents", "")
    told = _read_mini_header(text) if text else _read_smv_header(header)
    size, distance, length, angle = told
    pixel_size = size / (distance * length) if size and distance and length else None
    # Pixels between chips have values below zero, or the largest that there is.
    return _Read(frames, pixel_size, energy_of(length) if length else None, angle)


_Told = tuple[float | None, float | None, float | None, float | None]


def _read_smv_header(header: dict[str, str]) -> _Told:
    """Pixel and distance [mm], wavelength [angstrom] and the angle of the frame's middle."""

    def number(*names: str) -> float | None:
        for name in names:
            found = re.match(rf"\s*({_NUMBER})", header.get(name, ""))
            if found:
                return float(found[1])
        return None

    start, width = number("osc_start", "phi"), number("osc_range")
    angle = None if start is None or width is None else start + width / 2
    return (
        _positive(number("pixel_size")),
        _positive(number("distance")),
        _positive(number("wavelength")),
        angle,
    )


def _read_mini_header(text: str) -> _Told:
    """The same of a CBF with the header of a Pilatus or an Eiger, which is in metres."""

    def number(name: str) -> float | None:
        found = re.search(rf"{name}\s*[:=]?\s*({_NUMBER})", text, re.IGNORECASE)
        return float(found[1]) if found else None

    start, width = number("Start_angle"), number("Angle_increment")
    angle = None if start is None else start + (width or 0) / 2
    return (
        _positive(number("Pixel_size")),
        _positive(number("Detector_distance")),
        _positive(number("Wavelength")),
        angle,
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def energy_of(length: float) -> float:
    """Kinetic energy of electrons [eV] of a wavelength [angstrom]."""
    low, high = 1e3, 1e7
    for _ in range(100):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if wavelength(middle) > length else (low, middle)
    return float(low)

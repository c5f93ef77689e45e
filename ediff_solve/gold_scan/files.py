"""The files of a simulated scan: frames as a microscope's software would write them, and truth.

``frames.hspy`` is HyperSpy's HDF5 format, written by RosettaSciIO; its axes are x, y (navigation),
qx, qy (signal), in this order. ``positions.parquet`` and ``domains.parquet`` are described in
:mod:`ediff_solve.gold_scan.truth`, as is ``microscope.json``, which is written last.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
from rsciio.hspy import file_writer

from ediff_solve.gold_scan.render import GoldScan, iterate_frames, prepare_gold_scan
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.gold_scan.truth import compute_domains, compute_microscope, compute_positions
from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_table
from ediff_utils.core.paths import atomic_write

SCAN = made_from.Stage("files of the simulated scan", ("ediff_solve.gold_scan.files",))
#: Frames in a chunk of the file, all of one scan row.
CHUNK = 16


@dataclass(frozen=True)
class GoldScanFiles:
    """Where a simulated scan lies.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @property
    def frames(self) -> Path:
        return self.folder / "frames.hspy"

    @property
    def positions(self) -> Path:
        return self.folder / "positions.parquet"

    @property
    def domains(self) -> Path:
        return self.folder / "domains.parquet"

    @property
    def microscope(self) -> Path:
        return self.folder / "microscope.json"


def write_gold_scan(
    settings: GoldScanSettings, folder: str | Path, *, jobs: int = -1
) -> GoldScanFiles:
    """Simulate a scan and write its frames and its truth.

    Parameters
    ----------
    settings : GoldScanSettings
    folder : str or Path
        Made where it is not there; files of that name are replaced, each in one step.
    jobs : int
        Threads, -1 for one a core; they change no byte.

    Returns
    -------
    GoldScanFiles

    Raises
    ------
    UserError
        The particles do not fit on the scan, or the folder cannot be written to.
    """
    if jobs == 0 or jobs < -1:
        raise UserError(f"jobs: expected a number of threads, or -1 for one a core, got {jobs}")
    files = GoldScanFiles(Path(folder))
    scan = prepare_gold_scan(settings)
    # the finished scan's record must not stand beside another one's frames
    if files.microscope.exists():
        files.microscope.unlink()
    with atomic_write(files.positions) as partial:
        compute_positions(scan).to_parquet(partial, index=False)
    with atomic_write(files.domains) as partial:
        compute_domains(scan).to_parquet(partial, index=False)
    write_frames(scan, files.frames, jobs=(os.cpu_count() or 1) if jobs == -1 else jobs)
    record = compute_microscope(scan) | {made_from.KEY: _identify(settings)}
    with atomic_write(files.microscope) as partial:
        text = json.dumps(record, indent=2, sort_keys=True)
        partial.write_text(text + "\n", encoding="utf-8")
    return files


def prepare_files(settings: GoldScanSettings, folder: Path, *, jobs: int = -1) -> GoldScanFiles:
    """Files of a simulated scan, written where they are not there yet.

    Parameters
    ----------
    settings, folder, jobs
        See :func:`write_gold_scan`.

    Returns
    -------
    GoldScanFiles

    Raises
    ------
    UserError
        As :func:`write_gold_scan`.
    """
    files = GoldScanFiles(Path(folder))
    # The record is written last.
    if SCAN.is_same(made_from.read(files.microscope), _identify(settings)):
        return files
    return write_gold_scan(settings, folder, jobs=jobs)


def _identify(settings: GoldScanSettings) -> dict[str, dict]:
    """What a scan is made from."""
    return SCAN.identify(settings.model_dump(mode="json"), {})


def write_frames(scan: GoldScan, path: Path, *, jobs: int = 1) -> None:
    """Write the frames alone, chunk by chunk, so that few of them are in memory at once.

    Parameters
    ----------
    scan : GoldScan
    path : Path
        Ends in ``.hspy``.
    jobs : int
        Threads.

    Raises
    ------
    UserError
        Another ending, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix != ".hspy":
        raise UserError(f"{path}: unknown ending '{path.suffix}', expected .hspy")
    n, size = scan.settings.scan_size, scan.settings.frame_size
    width = min(CHUNK, n)
    pieces = iterate_frames(scan, width, jobs)
    wanted = [(row, y) for row in range(n) for y in range(0, n, width)]
    waiting: dict[tuple[int, int], np.ndarray] = {}
    upcoming = iter(wanted)

    def piece(block_info: dict) -> np.ndarray:
        row, y = (first for first, _ in block_info[None]["array-location"][:2])
        # as a rule the next one; the order is dask's own
        while (row, y) not in waiting:
            waiting[next(upcoming)] = next(pieces)
        return waiting.pop((row, y))[None]

    columns = tuple(min(width, n - y) for y in range(0, n, width))
    data = da.map_blocks(
        piece,
        chunks=((1,) * n, columns, (size,), (size,)),
        dtype=np.uint16,
        meta=np.empty((0,) * 4, np.uint16),
    )
    # one thread writes, or the order of the chunks in the file would be left to chance
    with atomic_write(path) as partial, dask.config.set(scheduler="synchronous"):
        file_writer(
            str(partial),
            _signal(data, scan.settings),
            chunks=(1, width, size, size),
            compression="gzip",
            compression_opts=1,
            show_progressbar=False,
        )


def _signal(data: da.Array, settings: GoldScanSettings) -> dict[str, object]:
    """A scan as RosettaSciIO takes it."""
    stated = settings.pixel_size * (1 + settings.pixel_size_error)
    steps = (settings.step, settings.step, stated, stated)
    units = ("angstrom", "angstrom", "1/angstrom", "1/angstrom")
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "size": length,
            "scale": steps[i] if settings.calibrated else 1.0,
            "offset": 0.0,
            "units": units[i] if settings.calibrated else None,
            "navigate": i < 2,
            "is_binned": False,
        }
        for i, (name, length) in enumerate(zip(("x", "y", "qx", "qy"), data.shape, strict=True))
    ]
    version = metadata.version("ediff-utils")
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": ""}, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "learning_results": {},
        "attributes": {"_lazy": True, "ragged": False},
        "models": {},
        "tmp_parameters": {},
        "package_info": {"package": "ediff_utils", "package_version": version},
    }


def read_positions(files: GoldScanFiles) -> pd.DataFrame:
    """The truth of a written scan; see :func:`ediff_solve.gold_scan.truth.compute_positions`.

    Raises
    ------
    UserError
        The scan is not there.
    """
    return read_table(files.positions, made_by="write_gold_scan").to_pandas()


def read_domains(files: GoldScanFiles) -> pd.DataFrame:
    """Domains of a written scan; see :func:`ediff_solve.gold_scan.truth.compute_domains`.

    Raises
    ------
    UserError
        The scan is not there.
    """
    return read_table(files.domains, made_by="write_gold_scan").to_pandas()

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
    """Where a simulated scan lies."""

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

    Files in the folder, which is made, are replaced, each in one step; so many threads, -1 for one
    a core, change no byte. A UserError where the particles do not fit, or nothing can be written.
    """
    if jobs == 0 or jobs < -1:
        raise UserError(f"jobs: expected a number of threads, or -1 for one a core, got {jobs}")
    files = GoldScanFiles(Path(folder))
    scan = prepare_gold_scan(settings)
    # the finished scan's record must not stand beside another one's frames
    files.microscope.unlink(missing_ok=True)
    for path, table in (
        (files.positions, compute_positions(scan)),
        (files.domains, compute_domains(scan)),
    ):
        with atomic_write(path) as partial:
            table.to_parquet(partial, index=False)
    write_frames(scan, files.frames, jobs=(os.cpu_count() or 1) if jobs == -1 else jobs)
    record = compute_microscope(scan) | {made_from.KEY: _identify(settings)}
    with atomic_write(files.microscope) as partial:
        text = json.dumps(record, indent=2, sort_keys=True)
        partial.write_text(text + "\n", encoding="utf-8")
    return files


def prepare_files(settings: GoldScanSettings, folder: Path, *, jobs: int = -1) -> GoldScanFiles:
    """Files of a simulated scan, written (:func:`write_gold_scan`) where they are not there yet."""
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

    With so many threads; a UserError where the ending is not ``.hspy``, or nothing can be written.
    """
    if path.suffix != ".hspy":
        raise UserError(f"{path}: unknown ending '{path.suffix}', expected .hspy")
    n, size = scan.settings.scan_size, scan.settings.frame_size
    width = min(CHUNK, n)
    waiting: dict[tuple[int, int], np.ndarray] = {}
    places = ((row, y) for row in range(n) for y in range(0, n, width))
    upcoming = zip(places, iterate_frames(scan, width, jobs), strict=True)

    def piece(block_info: dict) -> np.ndarray:
        row, y = (first for first, _ in block_info[None]["array-location"][:2])
        # as a rule the next one; the order is dask's own
        while (row, y) not in waiting:
            place, frames = next(upcoming)
            waiting[place] = frames
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
    place, detector = (settings.step, "angstrom"), (stated, "1/angstrom")
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "size": length,
            "scale": scale if settings.calibrated else 1.0,
            "offset": 0.0,
            "units": unit if settings.calibrated else None,
            "navigate": unit == "angstrom",
            "is_binned": False,
        }
        for name, length, (scale, unit) in zip(
            ("x", "y", "qx", "qy"), data.shape, (place, place, detector, detector), strict=True
        )
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


def read_truth(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Positions and domains of a written scan (:mod:`ediff_solve.gold_scan.truth`)."""
    files = GoldScanFiles(folder)
    positions, domains = (
        read_table(path, made_by="write_gold_scan").to_pandas()
        for path in (files.positions, files.domains)
    )
    return positions, domains

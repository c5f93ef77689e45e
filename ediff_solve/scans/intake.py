"""What notebook 6 works on: a user's frames, a user's Bragg lists, or the simulated gold scan.

Conventions: ``x`` and ``qx`` run along the first axis of the scan and of the detector (rows, drawn
downwards), ``y`` and ``qy`` along the second (columns, drawn to the right); q counts from the
direct beam, in 1/angstrom without 2 pi. A detector that is turned by a positive angle against the
scan shows a vector along the scan's x turned from x towards y.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_solve.frames.bragg import read_bragg_lists
from ediff_solve.frames.calibrate import Calibration
from ediff_solve.frames.detect import DetectionSettings
from ediff_solve.frames.powder import RingCalibration
from ediff_solve.frames.reading import Frames, open_frames
from ediff_solve.frames.rings import Ring
from ediff_solve.frames.stream import Detected, Looks, calibrate_scan, compute_looks
from ediff_solve.gold_scan import files
from ediff_solve.gold_scan.crystal import GOLD_LATTICE
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper.scan.bragg import BraggLists

#: Half of a simulated frame is 1.44 1/angstrom, whatever its pixels.
_HALF_FRAME = 1.44
#: By how much the simulated file's pixel size is off: a camera length that was not calibrated.
_STATED_ERROR = 0.02


def gold_settings(settings: ScanSettings) -> GoldScanSettings:
    """The simulated scan that the notebook's parameters ask for.

    Its file states a pixel size that is off by 2 %; gold's own 111 ring mends it.
    """
    return GoldScanSettings(
        scan_size=settings.scan_size,
        frame_size=settings.frame_size,
        pixel_size=2 * _HALF_FRAME / settings.frame_size,
        step=settings.step,
        energy=settings.energy,
        calibrated=True,
        pixel_size_error=_STATED_ERROR,
        seed=settings.seed,
    )


def open_scan(settings: ScanSettings, folder: Path) -> Frames | None:
    """Open the user's frames, or those of the simulated scan, which is written where it is missing.

    In the folder lie the simulated scan's files. None where ``bragg_file`` takes the place of
    frames; a UserError as :func:`ediff_solve.frames.reading.open_frames` raises it.
    """
    if settings.bragg_file:
        return None
    if settings.scan_file:
        return open_frames(
            settings.scan_file,
            node=settings.node or None,
            scan_shape=settings.scan_shape,
            signal_axes=settings.signal_axes,
            energy=settings.energy,
        )
    simulated = files.prepare_files(gold_settings(settings), folder, jobs=settings.jobs)
    return open_frames(simulated.frames)


def is_simulated(settings: ScanSettings) -> bool:
    """Whether the scan is the simulated one, of which the truth is known."""
    return not (settings.scan_file or settings.bragg_file)


def read_truth(settings: ScanSettings, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Positions and domains of the simulated scan (:mod:`ediff_solve.gold_scan.truth`).

    None of a user's, of which nobody knows them; a UserError where it is not written yet.
    """
    return files.read_truth(folder) if is_simulated(settings) else None


def look_at_scan(frames: Frames, settings: ScanSettings) -> Looks:
    """Hot pixels, mean frame, noise and disks of a scan, of the disks' radius if that is given."""
    radius = settings.disk_radius
    return compute_looks(frames, None if radius is None else DetectionSettings(radius=radius))


def calibrate(
    frames: Frames,
    detected: Detected,
    settings: ScanSettings,
    known: RingCalibration | None = None,
) -> tuple[Calibration, Ring | None]:
    """Origin, descan, ellipse, pixel size and rotation, as the user or the sample gives them.

    Pixel size and ellipse of ``known`` are taken where the settings name neither ring nor size.

    On the simulated scan gold's 111 ring is taken where neither ring nor pixel size is named. A
    UserError as :func:`ediff_solve.frames.stream.calibrate_scan` raises it.
    """
    spacing = settings.ring_spacing
    if spacing is None and settings.pixel_size is None and is_simulated(settings):
        spacing = GOLD_LATTICE / np.sqrt(3)
    size = settings.pixel_size or (known.pixel_size if known else frames.pixel_size)
    calibration, ring = calibrate_scan(
        detected,
        pixel_size=size,
        ring_radius=None if spacing is None else 1 / spacing,
        ring_window=settings.ring_window,
        rotation=settings.detector_rotation,
    )
    if known is not None and ring is None:
        calibration = replace(calibration, ellipticity=known.ellipticity, axis=known.axis)
    return calibration, ring


def find_step(frames: Frames | None, settings: ScanSettings) -> float:
    """Distance of probe positions: the file's where it tells, else the user's [angstrom]."""
    return frames.step if frames is not None and frames.step else settings.step


def read_lists(path: str | Path, settings: ScanSettings) -> BraggLists:
    """Bragg lists of a scan: of the user's file, or of the one that the step before wrote.

    A UserError as :func:`ediff_solve.frames.bragg.read_bragg_lists` raises it, or where the file
    has one probe position alone.
    """
    lists = read_bragg_lists(path, node=settings.node or None)
    if np.prod(lists.shape) < 2:
        raise UserError(f"{path}: a scan of one probe position; expected two or more")
    return lists


def count_spots(lists: BraggLists) -> np.ndarray:
    """Spots at each position of the scan; shape (nx, ny)."""
    counts = np.zeros(lists.shape, np.int64)
    counts[lists.x, lists.y] = lists.n_spots
    return counts


def find_typical(n_spots: np.ndarray) -> tuple[int, int]:
    """Place of a position with many spots, x and y: of those with any, nine tenths have fewer."""
    flat = n_spots.ravel()
    filled = np.flatnonzero(flat)
    place = filled[np.argsort(flat[filled], kind="stable")[int(0.9 * (len(filled) - 1))]]
    x, y = np.unravel_index(place, n_spots.shape)
    return int(x), int(y)


def true_domains(truth: tuple[pd.DataFrame, pd.DataFrame] | None) -> np.ndarray | None:
    """Domain that scatters most at each position, 0 for none; None where nobody knows."""
    if truth is None:
        return None
    positions = truth[0]
    return positions["domain"].to_numpy().reshape(positions["x"].max() + 1, -1)

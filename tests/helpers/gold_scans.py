"""A small simulated gold scan, and its Bragg lists as the program finds them."""

from pathlib import Path

import dask.array as da
import numpy as np

from ediff_solve.frames.reading import Frames
from ediff_solve.frames.stream import build_lists, calibrate_scan, compute_looks, detect_scan
from ediff_solve.gold_scan.render import FramePainter, GoldScan
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_utils.paper.scan.bragg import BraggLists

SMALL = {"scan_size": 12, "frame_size": 96, "pixel_size": 0.03, "coverage": 0.4}
#: Pixels so fine that disks are told apart as in a real scan.
FINE = {"frame_size": 192, "pixel_size": 0.015}


def small_settings(**values: object) -> GoldScanSettings:
    """Settings of a scan that is simulated in no time."""
    return GoldScanSettings(**SMALL | values)


def find_lists(scan: GoldScan) -> BraggLists:
    """Bragg lists of a scan's own frames, at the pixel size that is true."""
    painter = FramePainter(scan)
    data = np.stack([painter.frames(row) for row in range(scan.settings.scan_size)])
    how = scan.settings
    frames = Frames(Path("scan.hspy"), da.from_array(data), how.step, how.pixel_size)
    detected = detect_scan(frames, compute_looks(frames), threads=1)
    calibration, _ = calibrate_scan(
        detected, pixel_size=how.pixel_size, rotation=scan.microscope.rotation
    )
    return build_lists(detected, calibration)

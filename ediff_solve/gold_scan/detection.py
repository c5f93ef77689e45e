"""Bragg detection on the simulated scan's own frames: ours and py4DSTEM's against the truth."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ediff_solve.frames.calibrate import replace_pixels
from ediff_solve.frames.detect import detect_spots
from ediff_solve.frames.reading import Frames
from ediff_solve.frames.stream import Looks
from ediff_solve.gold_scan.kernels.columns import merge_spots
from ediff_solve.gold_scan.render import GoldScan, prepare_gold_scan, scatter_positions
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_utils.core.errors import import_extra

#: Spots of each of some frames, a row a spot.
Spots = Sequence[np.ndarray]

#: A spot is found within this distance [pixel].
NEAR = 1.5
#: ``find_Bragg_disks`` as py4DSTEM's users call it.
REFERENCE = "py4DSTEM, multicorr"
#: Electrons of a spot that has to be found, and of one that may be; what is weaker may not.
WANTED, ALLOWED = 20.0, 2.0
#: py4DSTEM's smoothing of the correlation that is tried, its methods of subpixel refinement, and
#: the thresholds tried: so many, at quantiles of what it finds.
_SIGMAS, _SUBPIXEL, _THRESHOLDS = (0.0, 1.0, 2.0), ("poly", "multicorr"), 40


def check_detection(
    frames: Frames, looks: Looks, n_spots: np.ndarray, settings: GoldScanSettings, n: int = 24
) -> pd.DataFrame:
    """Hold our detector and py4DSTEM's against the truth, on frames of the simulated scan.

    Both work on the same frames, on one core, in processor time. py4DSTEM correlates with the disk
    that our detector takes, its rim made negative as its ``get_kernel`` does. Its smoothing and its
    threshold are those of the best F1 score on these very frames, which flatters it; our detector
    runs at its own threshold.

    Parameters
    ----------
    frames, looks, settings
        Of that scan.
    n_spots : ndarray of int, shape (nx, ny)
        Spots found at each position.
    n : int
        Frames.

    Returns
    -------
    DataFrame
        A row a detector: detector, seconds a frame, recall, of true spots of :data:`WANTED`
        electrons or more, precision, of found ones near a true one of :data:`ALLOWED` or more, rms
        of the distance between them, and rms_common: of the spots that all of them find, as weak
        ones are less exact than others [pixel]. The direct beam is left out.
    """
    scan = prepare_gold_scan(settings)
    flat = n_spots.ravel()
    # of the two fifths that have most spots
    good = np.flatnonzero(flat >= max(np.quantile(flat, 0.6), 3))
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(good)[:n])
    beams = scan.microscope.centres.reshape(-1, 2)[chosen]
    return _compare_detectors(frames.pick(chosen), looks, _true_spots(scan, chosen), beams)


def _true_spots(scan: GoldScan, chosen: np.ndarray) -> list[np.ndarray]:
    """Row, column [pixel] and expected electrons of the spots that frames were painted from.

    Of those on the frame; spots nearer to a stronger one than a disk's radius are part of it.
    """
    settings, microscope = scan.settings, scan.microscope
    passed = settings.electrons * (1 - settings.carbon)
    out = []
    for number in chosen:
        row, column = divmod(int(number), settings.scan_size)
        found = scatter_positions(scan, row, slice(column, column + 1))
        spots = found.qx, found.qy, found.intensity, found.spot_offsets
        qx, qy, intensity, _ = merge_spots(*spots, settings.disk_radius)
        place = microscope.centres[row, column] + np.column_stack([qx, qy]) @ microscope.matrix.T
        edge = settings.disk_radius / settings.pixel_size
        inside = np.all((place > edge) & (place < settings.frame_size - 1 - edge), axis=1)
        out.append(np.column_stack([place, passed * intensity])[inside])
    return out


def _look_up(
    own: np.ndarray, true: np.ndarray, beam: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of found spots beside the direct beam how far the next true one is, and its number.

    And which of the true ones, all that may be found, have to be.
    """
    own = own[np.hypot(*(own[:, :2] - beam).T) > 2 * NEAR, :2]
    real = true[true[:, 2] >= ALLOWED]
    distance, nearest = np.full(len(own), np.inf), np.zeros(len(own), np.int64)
    if len(own) and len(real):
        distance, nearest = cKDTree(real[:, :2]).query(own)
    return distance, nearest, real[:, 2] >= WANTED


def _score_spots(found: Spots, truth: Spots, beams: np.ndarray) -> dict[str, float]:
    """Recall, precision and error of position of frames' spots (:func:`check_detection`)."""
    wanted = hit = seen = right = 0
    errors = [np.empty(0)]
    for own, true, beam in zip(found, truth, beams, strict=True):
        distance, nearest, strong = _look_up(own, true, beam)
        wanted, seen = wanted + strong.sum(), seen + len(distance)
        close = np.flatnonzero(distance < NEAR)
        important = close[strong[nearest[close]]]
        # Of several that are near the same spot one is right.
        right += len(np.unique(nearest[close]))
        hit += len(np.unique(nearest[important]))
        errors.append(distance[important])
    off = np.concatenate(errors)
    return {
        "recall": float(hit / wanted) if wanted else np.nan,
        "precision": float(right / seen) if seen else np.nan,
        "rms": float(np.sqrt(np.mean(off**2))) if len(off) else np.nan,
    }


def _distances_found(found: Spots, truth: Spots, beams: np.ndarray) -> np.ndarray:
    """How far from each true spot that has to be found the next found one is [pixel], or NaN."""
    out = [np.empty(0)]
    for own, true, beam in zip(found, truth, beams, strict=True):
        distance, index, strong = _look_up(own, true, beam)
        close = distance < NEAR
        nearest = np.full(len(strong), np.nan)
        np.fmin.at(nearest, index[close], distance[close])
        out.append(nearest[strong])
    return np.concatenate(out)


def _compare_detectors(
    frames: np.ndarray, looks: Looks, truth: Spots, beams: np.ndarray
) -> pd.DataFrame:
    """The table of :func:`check_detection`, of frames as they are read."""
    clean = replace_pixels(frames, looks.hot)
    # the first call compiles
    detect_spots(clean[:1], looks.detector, threads=1)
    start = time.process_time()
    spots, offsets = detect_spots(clean, looks.detector, threads=1)
    rows = [("ours", time.process_time() - start, np.split(spots, offsets[1:-1]))]
    options = _tune_py4dstem(clean, looks, truth, beams)
    for subpixel in _SUBPIXEL:
        seconds, found = _run_py4dstem(clean, looks, **options | {"subpixel": subpixel})
        rows.append((f"py4DSTEM, {subpixel}", seconds, found))
    table = pd.DataFrame(
        [
            {"detector": name, "seconds": seconds / len(frames)} | _score_spots(found, truth, beams)
            for name, seconds, found in rows
        ]
    )
    off = np.array([_distances_found(found, truth, beams) for _, _, found in rows])
    common = off[:, np.isfinite(off).all(axis=0)]
    table["rms_common"] = np.sqrt(np.mean(common**2, axis=1)) if common.size else np.nan
    return table


def _tune_py4dstem(
    frames: np.ndarray, looks: Looks, truth: Spots, beams: np.ndarray
) -> dict[str, float]:
    """Smoothing and threshold of the best F1 score."""
    best, chosen = -1.0, {"sigma_cc": _SIGMAS[0], "minAbsoluteIntensity": 0.0}
    for sigma in _SIGMAS:
        _, found = _run_py4dstem(frames, looks, sigma_cc=sigma)
        heights = np.concatenate([spots[:, 2] for spots in found])
        for threshold in np.quantile(heights, np.linspace(0, 0.98, _THRESHOLDS)):
            kept = [spots[spots[:, 2] >= threshold] for spots in found]
            got = _score_spots(kept, truth, beams)
            f1 = 2 / (1 / max(got["recall"], 1e-9) + 1 / max(got["precision"], 1e-9))
            if f1 > best:
                best = f1
                chosen = {"sigma_cc": sigma, "minAbsoluteIntensity": float(threshold)}
    return chosen


def _run_py4dstem(
    frames: np.ndarray, looks: Looks, **options: object
) -> tuple[float, list[np.ndarray]]:
    """Seconds of processor time; row, column and correlation of each frame's spots."""
    probe_of = import_extra("py4DSTEM").Probe
    find_disks = import_extra("py4DSTEM.braggvectors.diskdetection")._find_Bragg_disks_stack
    shape, radius = frames.shape[1:], looks.settings.radius
    centre, radii = (shape[0] // 2, shape[1] // 2), (radius, 2 * radius + 2)
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    # py4DSTEM prints what it does
    with contextlib.redirect_stdout(io.StringIO()):
        probe = probe_of(np.clip(radius + 0.5 - distance, 0, 1))
        kernel = probe.get_kernel(mode="sigmoid", origin=centre, radii=radii)
    own = looks.detector
    common = {"minPeakSpacing": own.spacing, "edgeBoundary": own.edge, "maxNumPeaks": 1000}
    start = time.process_time()
    found = find_disks(frames, getattr(kernel, "data", kernel), **common | options)
    seconds = time.process_time() - start
    names = ("qx", "qy", "intensity")
    return seconds, [np.column_stack([p.data[name] for name in names]) for p in found]

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

#: A spot is found within this distance [pixel].
NEAR = 1.5
#: The reference: ``find_Bragg_disks`` as py4DSTEM's users call it.
DEFAULT = "py4DSTEM, multicorr"
#: Electrons of a spot that has to be found, and of one that may be; what is weaker may not.
WANTED, ALLOWED = 20.0, 2.0
#: py4DSTEM's smoothing of the correlation that is tried, its methods of subpixel refinement, and
#: the thresholds tried: so many, at quantiles of what it finds.
_SIGMAS, _SUBPIXEL, _THRESHOLDS = (0.0, 1.0, 2.0), ("poly", "multicorr"), 40


def check_detection(
    frames: Frames, looks: Looks, n_spots: np.ndarray, settings: GoldScanSettings, n: int = 24
) -> pd.DataFrame:
    """Hold our detector and py4DSTEM's against the truth, on frames of the simulated scan.

    Parameters
    ----------
    frames : Frames
        Of that scan.
    looks : Looks
    n_spots : ndarray of int, shape (nx, ny)
        Spots found at each position.
    settings : GoldScanSettings
        What the scan was made of.
    n : int
        Frames.

    Returns
    -------
    DataFrame
        See :func:`compare_detectors`.
    """
    scan = prepare_gold_scan(settings)
    chosen = choose_positions(n_spots, n, settings.seed)
    truth = true_spots(scan, chosen)
    beams = scan.microscope.centres.reshape(-1, 2)[chosen]
    return compare_detectors(read_positions(frames, chosen), looks, truth, beams)


def choose_positions(detected: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Positions to compare detectors on, drawn from the two fifths that have most spots.

    Parameters
    ----------
    detected : ndarray of int, shape (nx, ny)
        Spots of each position.
    n : int
        How many at most.
    seed : int

    Returns
    -------
    ndarray of int64, shape (m,)
        x * ny + y, rising.
    """
    flat = detected.ravel()
    good = np.flatnonzero(flat >= max(np.quantile(flat, 0.6), 3))
    chosen = np.random.default_rng(seed).permutation(good)[:n]
    return np.sort(chosen).astype(np.int64)


def read_positions(frames: Frames, chosen: np.ndarray) -> np.ndarray:
    """Frames of some positions; shape (n, height, width)."""
    ny = frames.scan_shape[1]
    return np.concatenate(
        [frames.read(slice(i, i + 1), slice(j, j + 1)) for i, j in (divmod(k, ny) for k in chosen)]
    )


def true_spots(scan: GoldScan, chosen: np.ndarray) -> list[np.ndarray]:
    """Spots that the frames of some positions were painted from.

    Parameters
    ----------
    scan : GoldScan
    chosen : ndarray of int, shape (n,)
        x * ny + y.

    Returns
    -------
    list of ndarray, shape (m, 3)
        Row and column [pixel] and expected electrons, of those on the frame; spots nearer to a
        stronger one than a disk's radius are part of it.
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


def score_spots(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], beams: np.ndarray, near: float = NEAR
) -> dict[str, float]:
    """Recall, precision and error of position, the direct beam left out.

    Parameters
    ----------
    found : sequence of ndarray, shape (m, 2 or more)
        Row and column of each frame's spots [pixel].
    truth : sequence of ndarray, shape (m, 3)
        See :func:`true_spots`.
    beams : ndarray, shape (n, 2)
        Row and column of the direct beam [pixel].
    near : float
        [pixel]

    Returns
    -------
    dict
        recall, of true spots of :data:`WANTED` electrons or more; precision, of found ones near a
        true one of :data:`ALLOWED` or more; rms, of the distance between them [pixel].
    """
    wanted = hit = seen = right = 0
    errors = [np.empty(0)]
    for own, all_true, beam in zip(found, truth, beams, strict=True):
        own = own[np.hypot(*(own[:, :2] - beam).T) > 2 * near, :2]
        real = all_true[all_true[:, 2] >= ALLOWED]
        strong = real[:, 2] >= WANTED
        wanted, seen = wanted + strong.sum(), seen + len(own)
        if not len(own) or not len(real):
            continue
        distance, nearest = cKDTree(real[:, :2]).query(own)
        close = distance < near
        # Of several that are near the same spot one is right.
        right += len(np.unique(nearest[close]))
        hit += len(np.unique(nearest[close & strong[nearest]]))
        errors.append(distance[close & strong[nearest]])
    off = np.concatenate(errors)
    return {
        "recall": float(hit / wanted) if wanted else np.nan,
        "precision": float(right / seen) if seen else np.nan,
        "rms": float(np.sqrt(np.mean(off**2))) if len(off) else np.nan,
    }


def distances_found(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], beams: np.ndarray, near: float = NEAR
) -> np.ndarray:
    """How far from each true spot of :data:`WANTED` electrons or more the next found one is.

    Parameters
    ----------
    found, truth, beams, near
        See :func:`score_spots`.

    Returns
    -------
    ndarray, shape (spots of all frames,)
        NaN for those that are not found [pixel].
    """
    out = [np.empty(0)]
    for own, all_true, beam in zip(found, truth, beams, strict=True):
        own = own[np.hypot(*(own[:, :2] - beam).T) > 2 * near, :2]
        real = all_true[all_true[:, 2] >= ALLOWED]
        nearest = np.full(len(real), np.inf)
        if len(own) and len(real):
            distance, index = cKDTree(real[:, :2]).query(own)
            np.minimum.at(nearest, index, distance)
        strong = real[:, 2] >= WANTED
        out.append(np.where(nearest[strong] < near, nearest[strong], np.nan))
    return np.concatenate(out)


def compare_detectors(
    frames: np.ndarray, looks: Looks, truth: Sequence[np.ndarray], beams: np.ndarray
) -> pd.DataFrame:
    """Ours and py4DSTEM's detector on the same frames, on one core, in processor time.

    py4DSTEM correlates with the disk that our detector takes, its rim made negative as its
    ``get_kernel`` does. Its smoothing and its threshold are those of the best F1 score on these
    very frames, which flatters it; our detector runs at its own threshold.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
        As they are read.
    looks : Looks
    truth, beams
        See :func:`score_spots`.

    Returns
    -------
    DataFrame
        A row a detector: name, seconds a frame, recall, precision, rms, and rms_common: of the
        spots that all of them find, as weak ones are less exact than others [pixel].
    """
    clean = replace_pixels(frames, looks.hot)
    # the first call compiles
    detect_spots(clean[:1], looks.detector, threads=1)
    start = time.process_time()
    spots, offsets = detect_spots(clean, looks.detector, threads=1)
    rows = [("ours", (time.process_time() - start), np.split(spots, offsets[1:-1]))]
    options = _tune_py4dstem(clean, looks, truth, beams)
    for subpixel in _SUBPIXEL:
        seconds, found = _run_py4dstem(clean, looks, **options | {"subpixel": subpixel})
        rows.append((f"py4DSTEM, {subpixel}", seconds, found))
    table = pd.DataFrame(
        [
            {"detector": name, "seconds": seconds / len(frames)} | score_spots(found, truth, beams)
            for name, seconds, found in rows
        ]
    )
    off = np.array([distances_found(found, truth, beams) for _, _, found in rows])
    common = off[:, np.isfinite(off).all(axis=0)]
    table["rms_common"] = np.sqrt(np.mean(common**2, axis=1)) if common.size else np.nan
    return table


def _tune_py4dstem(
    frames: np.ndarray, looks: Looks, truth: Sequence[np.ndarray], beams: np.ndarray
) -> dict[str, float]:
    """Smoothing and threshold of the best F1 score."""
    best, chosen = -1.0, {"sigma_cc": _SIGMAS[0], "minAbsoluteIntensity": 0.0}
    for sigma in _SIGMAS:
        _, found = _run_py4dstem(frames, looks, sigma_cc=sigma)
        heights = np.concatenate([spots[:, 2] for spots in found])
        for threshold in np.quantile(heights, np.linspace(0, 0.98, _THRESHOLDS)):
            kept = [spots[spots[:, 2] >= threshold] for spots in found]
            got = score_spots(kept, truth, beams)
            f1 = 2 / (1 / max(got["recall"], 1e-9) + 1 / max(got["precision"], 1e-9))
            if f1 > best:
                best = f1
                chosen = {"sigma_cc": sigma, "minAbsoluteIntensity": float(threshold)}
    return chosen


def _run_py4dstem(
    frames: np.ndarray, looks: Looks, **options: object
) -> tuple[float, list[np.ndarray]]:
    """Seconds of processor time; row, column and correlation of each frame's spots."""
    from py4DSTEM import Probe
    from py4DSTEM.braggvectors.diskdetection import _find_Bragg_disks_stack

    shape, radius = frames.shape[1:], looks.settings.radius
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - shape[0] // 2, columns - shape[1] // 2)
    # py4DSTEM prints what it does
    with contextlib.redirect_stdout(io.StringIO()):
        probe = Probe(np.clip(radius + 0.5 - distance, 0, 1))
        centre = (shape[0] // 2, shape[1] // 2)
        radii = (radius, 2 * radius + 2)
        kernel = probe.get_kernel(mode="sigmoid", origin=centre, radii=radii)
    common = {
        "minPeakSpacing": looks.detector.spacing,
        "edgeBoundary": looks.detector.edge,
        "maxNumPeaks": 1000,
    }
    start = time.process_time()
    found = _find_Bragg_disks_stack(frames, getattr(kernel, "data", kernel), **common | options)
    seconds = time.process_time() - start
    return seconds, [
        np.column_stack([p.data["qx"], p.data["qy"], p.data["intensity"]]) for p in found
    ]

"""Spots of a series of frames of one camera: what the frames tell together, then each alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import poisson

from ediff_solve.frames.counting.centre import Centre, Gap, find_centre, find_gap
from ediff_solve.frames.counting.detection import (
    Camera,
    FrameSpots,
    SpotSettings,
    compute_camera,
    find_frame_spots,
    find_tail_threshold,
)
from ediff_solve.frames.counting.masks import find_bad_pixels, find_pedestal
from ediff_utils.core.errors import UserError

#: Frames that bad pixels, and the spots' width, are found on.
_SAMPLE, _MEASURED = 60, 6
#: Widths tried [pixel], spots a frame that decide, and significance of spots that are measured.
_SIGMAS, _BEST, _STRONG = (0.8, 1.2, 1.8, 2.7, 4.0), 10, 8.0
#: Least and largest width of a spot [pixel].
_RANGE = (0.6, 8.0)
#: Beams of a series scatter by less [pixel], or the blobs are none: a beam stop hides it.
_WANDERING = 5.0
#: Friedel pairs that alone tell where q = 0 is; scatter of their midpoints where no frame shows
#: its beam [pixel].
_SURE, _UNSEEN = 8.0, 1.3
#: q = 0 is so near to the beam's blob, and to a place that was guessed [pixel].
_NEAR, _GUESSED = 6.0, 20.0
#: Spots within so many pixels in this share of the frames, of so many or more, never move.
_SAME, _ALWAYS, _MANY = 2.5, 0.3, 8
#: A frame holds a crystal if noise alone gives so many spots less often than this.
_CHANCE = 1e-3


@dataclass(frozen=True)
class SeriesSpots:
    """Spots of a series of frames.

    Attributes
    ----------
    frames : tuple of FrameSpots
        As each frame alone shows them, spots that never move left out.
    origins : ndarray, shape (n, 2)
        Row and column of q = 0 in each frame, on the camera with its gap [pixel].
    centre : Centre
        How q = 0 was found from the direct beam's blob.
    gap : Gap or None
    bad : ndarray of bool, shape (height, width)
    sigma : float
        Of a spot [pixel].
    fewest : int
        Spots that a frame must have to hold a crystal.
    fixed : int
        Spots that never move, in all frames together; left out.
    """

    frames: tuple[FrameSpots, ...]
    origins: np.ndarray
    centre: Centre
    gap: Gap | None
    bad: np.ndarray
    sigma: float
    fewest: int
    fixed: int

    @property
    def empty(self) -> np.ndarray:
        """Numbers of the frames that hold no crystal, from 0."""
        return np.flatnonzero([len(f.spots) < self.fewest for f in self.frames])

    def places(self) -> list[np.ndarray]:
        """Rows and columns of each frame's spots from q = 0 [pixel]; shape (n, 2) each."""
        return [
            _insert(self.gap, frame.spots[:, :2]) - origin
            for frame, origin in zip(self.frames, self.origins, strict=True)
        ]


def _insert(gap: Gap | None, places: np.ndarray) -> np.ndarray:
    return places if gap is None else gap.insert(places)


def measure_sigma(frames: Sequence[np.ndarray], found: Sequence[FrameSpots], start: float) -> float:
    """Width of the strong spots, a Gaussian's standard deviation; ``start`` if there are none."""
    widths = []
    reach, window = int(np.ceil(4 * start)), (2 * start) ** 2
    for frame, one in zip(frames, found, strict=True):
        for row, column, *_, z in one.spots:
            i, j = round(row), round(column)
            inside = (
                min(i, j) >= reach and i + reach < frame.shape[0] and j + reach < frame.shape[1]
            )
            if z < _STRONG or not inside:
                continue
            cut = slice(i - reach, i + reach + 1), slice(j - reach, j + reach + 1)
            part = np.asarray(frame[cut], float) - one.background[cut]
            u, v = np.ogrid[cut]
            square = (u - row) ** 2 + (v - column) ** 2
            weight = part * np.exp(-0.5 * square / window)
            seen = (weight * square).sum() / weight.sum() / 2 if weight.sum() > 0 else 0
            # Under a window of its own, a Gaussian looks narrower.
            if 0 < seen < window:
                widths.append(1 / (1 / seen - 1 / window))
    return float(np.sqrt(np.median(widths))) if len(widths) >= 3 else start


def _find_sigma(frames: np.ndarray, bad: np.ndarray, settings: SpotSettings) -> float:
    """Width under which the best spots stand out most, then as they are."""

    def look(sigma: float) -> list[FrameSpots]:
        camera = compute_camera(bad, sigma)
        return [find_frame_spots(frame, camera, settings) for frame in frames]

    tried = {sigma: look(sigma) for sigma in _SIGMAS}
    # Beside each other, spots of a narrow filter are more, not better: the best of each count.
    score = {
        sigma: sum(np.sort(f.spots[:, 4])[-_BEST:].sum() for f in found)
        for sigma, found in tried.items()
    }
    best = max(_SIGMAS, key=lambda sigma: score[sigma])
    sigma = best
    for _ in range(6):
        # Spots have tails: the window that sees as wide a spot as itself is the right one.
        sigma = float(np.clip(measure_sigma(list(frames), tried[best], sigma), *_RANGE))
    return sigma


def _run(
    frames: np.ndarray,
    camera: Camera,
    settings: SpotSettings,
    beams: np.ndarray | None,
    threads: int | None,
) -> list[FrameSpots]:
    def one(number: int) -> FrameSpots:
        beam = None if beams is None else beams[number]
        return find_frame_spots(frames[number], camera, settings, beam)

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        found = list(pool.map(one, range(len(frames))))
    maxima = np.concatenate([f.maxima for f in found])
    least = find_tail_threshold(maxima, len(found), settings.false_alarms)
    return [
        replace(f, spots=f.spots[f.spots[:, 4] >= least], threshold=max(f.threshold, least))
        for f in found
    ]


def _from_beam(found: Sequence[FrameSpots]) -> list[np.ndarray]:
    return [f.spots[:, :2] - f.beam for f in found]


def _drop_fixed(found: Sequence[FrameSpots]) -> tuple[list[FrameSpots], int]:
    """Leave out what stays at one place throughout, unless that is most of it: a still crystal."""
    n = len(found)
    if n < _MANY:
        return list(found), 0
    every = np.concatenate([f.spots[:, :2] for f in found])
    owner = np.repeat(np.arange(n), [len(f.spots) for f in found])
    fixed = np.zeros(len(every), bool)
    for k, place in enumerate(every):
        near = ((every - place) ** 2).sum(axis=1) < _SAME**2
        fixed[k] = len(np.unique(owner[near])) > max(_ALWAYS * n, 2)
    if fixed.mean() > 0.5:
        return list(found), 0
    kept = [replace(f, spots=f.spots[~fixed[owner == k]]) for k, f in enumerate(found)]
    return kept, int(fixed.sum())


def find_spots(
    frames: np.ndarray,
    settings: SpotSettings | None = None,
    *,
    beam: tuple[float, float] | None = None,
    gap: Gap | None = None,
    look_for_gap: bool = True,
    mask: np.ndarray | None = None,
    threads: int | None = None,
) -> SeriesSpots:
    """Find the spots of a series of frames, or of one.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
        Of one camera at one camera length; counts, or what is proportional to them.
    settings : SpotSettings, optional
    beam : tuple of float, optional
        Row and column of the direct beam to within 20 pixels, where a beam stop hides it [pixel].
    gap : Gap, optional
        Between the camera's chips, missing in the file; looked for from twelve frames on.
    look_for_gap : bool
        Whether it is, where none is given.
    mask : ndarray of bool, shape (height, width), optional
        Pixels that say nothing, beside those that are found.
    threads : int, optional
        One a core by default.

    Returns
    -------
    SeriesSpots

    Raises
    ------
    UserError
        Not a stack of frames; the direct beam is hidden, and Friedel pairs do not tell where.
    """
    settings = settings or SpotSettings()
    frames = _check(frames)
    sample = frames[np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).astype(int))]
    bad = find_bad_pixels(sample)
    if mask is not None:
        if np.shape(mask) != bad.shape:
            raise UserError(f"mask: shape {np.shape(mask)}, expected {bad.shape}, as the frames")
        bad = bad | np.asarray(mask, bool)
    if pedestal := find_pedestal(sample):
        frames = np.maximum(frames + np.float32(pedestal), 0)
    if settings.sigma is None:
        some = frames[np.unique(np.linspace(0, len(frames) - 1, _MEASURED).astype(int))]
        settings = settings.model_copy(update={"sigma": _find_sigma(some, bad, settings)})
    assert settings.sigma is not None
    camera = compute_camera(bad, settings.sigma)
    found, beams, centre = _find_origin(frames, camera, settings, beam, threads)
    found, fixed = _drop_fixed(found)
    if gap is None and look_for_gap:
        height, width = bad.shape
        gap = find_gap([f.spots[:, :2] for f in found], beams, (height, width))
    if gap is not None:
        centre = find_centre(
            [gap.insert(f.spots[:, :2]) - gap.insert(b) for f, b in zip(found, beams, strict=True)],
            _NEAR,
        )
    origins = _insert(gap, np.array(beams)) + centre.offset
    fewest = int(poisson.isf(_CHANCE, settings.false_alarms)) + 1
    return SeriesSpots(tuple(found), origins, centre, gap, bad, settings.sigma, fewest, fixed)


def _check(frames: np.ndarray) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim == 2:
        frames = frames[None]
    if frames.ndim != 3 or not len(frames) or frames.dtype.kind not in "biuf":
        raise UserError(
            f"frames: expected a stack of frames of counts, got shape {frames.shape} of "
            f"{frames.dtype.name}"
        )
    return frames


def _find_origin(
    frames: np.ndarray,
    camera: Camera,
    settings: SpotSettings,
    beam: tuple[float, float] | None,
    threads: int | None,
) -> tuple[list[FrameSpots], list[np.ndarray], Centre]:
    """Spots, beams and how far q = 0 is from these; by a guess or the pairs where no beam shows."""
    if beam is None:
        found = _run(frames, camera, settings, None, threads)
        beams = np.array([f.beam for f in found])
        scatter = np.median(np.hypot(*(beams - np.median(beams, axis=0)).T))
        hollow = np.mean([f.hollow for f in found]) >= 0.5
        hidden = hollow or scatter > _WANDERING
        centre = find_centre(_from_beam(found), _NEAR)
        if centre.credible and not hidden:
            return found, list(beams), centre
        # What is brightest beside a beam stop may be far from the beam, or one side, then another.
        middle = (np.array(frames.shape[1:]) - 1) / 2
        guess, reach = middle if hidden else np.median(beams, axis=0), min(frames.shape[1:]) / 10
        far = find_centre([f.spots[:, :2] - guess for f in found], reach, _UNSEEN)
        if far.credible and far.weight >= _SURE:
            guess, reach = guess + far.offset, _NEAR
        elif not hidden:
            return found, list(beams), centre
    else:
        guess, reach = np.asarray(beam, float), _GUESSED
    for _ in range(2):
        core = settings.core or 6 * camera.sigma
        fixed = settings.model_copy(update={"core": core})
        found = _run(frames, camera, fixed, np.tile(guess, (len(frames), 1)), threads)
        centre = find_centre(_from_beam(found), reach, _UNSEEN)
        if beam is None and centre.weight < _SURE:
            centre = replace(centre, credible=False)
        if not centre.credible:
            break
        guess, reach = guess + centre.offset, _NEAR
    if not centre.credible and beam is None:
        raise UserError(
            "beam: no direct beam is seen, and no Friedel pairs tell where it is; give its row and "
            "column to within 20 pixels"
        )
    return found, [f.beam for f in found], centre

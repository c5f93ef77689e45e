"""How fast Bragg disks are found, how many, and how exactly: ours beside py4DSTEM's.

    python benchmarks/bragg.py [--frames 200] [--size 192] [--radius 4]

Frames are synthetic: crystal lattices turned at random whose disks fall off outwards and vary, a
background around the direct beam, the camera's point spread, Poisson counts and hot pixels, which
both detectors get replaced. Both run in this process on one core; py4DSTEM with each of its kinds
of subpixel refinement. Our threshold, unless it is the default, and py4DSTEM's with its smoothing
are those of the best F1 score on frames of their own. Prints a Markdown table.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import contextlib
import io
import time
from dataclasses import dataclass

import click
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from ediff_solve.frames.calibrate import compute_hot_pixels, replace_pixels
from ediff_solve.frames.detect import (
    DetectionSettings,
    compute_detector,
    detect_spots,
)
from ediff_solve.frames.noise import compute_noise

#: A spot is found within this distance [pixel].
NEAR = 1.5
#: Spots with fewer expected counts are nobody's to find, and finding them is no mistake either.
WEAKEST = 30.0
_OVERSAMPLING = 4


@dataclass(frozen=True)
class World:
    """Synthetic frames and what is in them.

    Attributes
    ----------
    frames : ndarray of uint16, shape (n, size, size)
    template : ndarray, shape (size, size)
        The probe without a sample, in the middle of the frame.
    spots : list of ndarray, shape (m, 3)
        Of each frame: x, y [pixel] and expected counts; the direct beam is the first.
    hot : ndarray of bool, shape (size, size)
    """

    frames: np.ndarray
    template: np.ndarray
    spots: list[np.ndarray]
    hot: np.ndarray


def make_disk(radius: float, blur: float) -> np.ndarray:
    """A disk of sum 1 on a grid finer than the pixels; shape (k, k), k odd."""
    half = int(np.ceil((radius + 4 * blur + 2) * _OVERSAMPLING))
    axis = np.arange(-half, half + 1) / _OVERSAMPLING
    disk = (np.hypot(axis[:, None], axis[None]) <= radius).astype(float)
    disk = gaussian_filter(disk, blur * _OVERSAMPLING)
    return disk / disk.sum()


def add_disk(frame: np.ndarray, disk: np.ndarray, x: float, y: float, counts: float) -> None:
    """Add a disk at a place anywhere between the pixels: its fine pixels are shared out."""
    half = len(disk) // 2
    fine = np.arange(-half, half + 1) / _OVERSAMPLING
    rows, columns = x + fine, y + fine
    size = len(frame)

    def shares(place: np.ndarray) -> np.ndarray:
        # A fine pixel is a box of 1 / oversampling: its share of either pixel it touches.
        edges = np.arange(size)[:, None] - 0.5
        width = 1 / _OVERSAMPLING
        low = np.clip(place - width / 2, edges, edges + 1)
        high = np.clip(place + width / 2, edges, edges + 1)
        return (high - low) / width

    frame += counts * shares(rows) @ disk @ shares(columns).T


def make_world(n: int, size: int, radius: float, blur: float, dose: float, seed: int) -> World:
    """Frames of small crystals."""
    rng = np.random.default_rng(seed)
    disk = make_disk(radius, blur)
    rows, columns = np.indices((size, size))
    hot = np.zeros((size, size), bool)
    hot.ravel()[rng.choice(size * size, size // 8, replace=False)] = True
    brightness = rng.uniform(0.02, 0.3, hot.sum()) * dose / 50
    frames, spots = [], []
    for _ in range(n):
        centre = (size - 1) / 2 + rng.uniform(-2, 2, 2)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        expected = dose * (3e-5 * np.exp(-distance / (size / 8)) + 3e-6)
        own = make_spots(centre, size, radius, dose, rng)
        for x, y, counts in own:
            add_disk(expected, disk, x, y, counts)
        counts = rng.poisson(expected)
        counts[hot] += rng.poisson(brightness)
        frames.append(np.minimum(counts, 65535).astype(np.uint16))
        spots.append(own)
    template = np.zeros((size, size))
    add_disk(template, disk, size // 2, size // 2, 1e6)
    return World(np.array(frames), template, spots, hot)


def make_spots(
    centre: np.ndarray, size: int, radius: float, dose: float, rng: np.random.Generator
) -> np.ndarray:
    """The spots of one frame, none of which lies on another or over the edge."""
    a = rng.uniform(3 * radius + 4, 6 * radius + 8)
    angle, turn = rng.uniform(np.pi / 3, np.pi / 2), rng.uniform(0, 2 * np.pi)
    b = a * rng.uniform(1, 1.5)
    h, k = (v.ravel() for v in np.mgrid[-20:21, -20:21])
    z = (h * a + k * b * np.exp(1j * angle)) * np.exp(1j * turn)
    z = z[np.argsort(np.abs(z))]
    counts = 0.05 * dose * np.exp(-np.abs(z) / (size / 6)) * rng.exponential(size=z.size)
    counts[0] = 0.5 * dose
    x, y = centre[0] + z.real, centre[1] + z.imag
    margin = radius + 4
    inside = (np.minimum(x, y) > margin) & (np.maximum(x, y) < size - 1 - margin)
    return np.column_stack([x, y, counts])[inside]


def score(found: list[np.ndarray], world: World) -> dict[str, float]:
    """Recall, precision and errors against the truth, the direct beam left out.

    Parameters
    ----------
    found : list of ndarray, shape (m, 2)
        Of each frame: x, y [pixel].
    world : World
    """
    wanted = right = seen = false = 0
    errors = []
    for own, truth in zip(found, world.spots, strict=True):
        beam, rest = truth[0], truth[1:]
        own = own[np.hypot(*(own[:, :2] - beam[:2]).T) > NEAR * 2][:, :2]
        strong = rest[:, 2] >= WEAKEST
        wanted += strong.sum()
        seen += len(own)
        if not len(own) or not len(rest):
            false += len(own)
            continue
        distance, nearest = cKDTree(rest[:, :2]).query(own)
        near = distance < NEAR
        false += len(own) - len(np.unique(nearest[near]))
        hit = np.unique(nearest[near & strong[nearest]])
        right += len(hit)
        errors.append(distance[near & strong[nearest]])
    rms = np.sqrt(np.mean(np.concatenate(errors) ** 2)) if errors else np.nan
    return {"recall": right / wanted, "precision": 1 - false / max(seen, 1), "rms": float(rms)}


def run_ours(
    frames: np.ndarray, sample: np.ndarray, settings: DetectionSettings
) -> tuple[list[np.ndarray], float]:
    """Our spots, and the seconds of processor time that they took."""
    detector = compute_detector(settings, compute_noise(sample, settings))
    detect_spots(frames[:2], detector, threads=1)
    start = time.process_time()
    spots, offsets = detect_spots(frames, detector, threads=1)
    seconds = time.process_time() - start
    return np.split(spots, offsets[1:-1]), seconds


def run_py4dstem(
    frames: np.ndarray, template: np.ndarray, radius: float, **options: object
) -> tuple[list[np.ndarray], float]:
    """py4DSTEM's spots, and the seconds of processor time that they took."""
    import py4DSTEM

    with contextlib.redirect_stdout(io.StringIO()):
        probe = py4DSTEM.Probe(template)
        size = template.shape[0] // 2
        kernel = probe.get_kernel(
            mode="sigmoid", origin=(size, size), radii=(radius, 2 * radius + 2)
        )
    kernel = getattr(kernel, "data", kernel)
    common = {"minPeakSpacing": radius + 2, "edgeBoundary": int(radius), "maxNumPeaks": 1000}
    start = time.process_time()
    found = py4DSTEM.braggvectors.diskdetection._find_Bragg_disks_stack(
        frames, kernel, **common | options
    )
    seconds = time.process_time() - start
    return [np.column_stack([p.data["qx"], p.data["qy"]]) for p in found], seconds


def tune_py4dstem(world: World, frames: np.ndarray, radius: float, subpixel: str) -> dict:
    """The smoothing and absolute threshold with the best F1 score on these frames."""
    best, chosen = -1.0, {}
    for sigma in (0.0, 0.5, 1.0, 1.5):
        options = {"subpixel": subpixel, "sigma_cc": sigma}
        for floor in np.geomspace(0.1, 30, 16):
            options["minAbsoluteIntensity"] = float(floor)
            found, _ = run_py4dstem(frames, world.template, radius, **options)
            got = score(found, world)
            if f1(got) > best:
                best, chosen = f1(got), dict(options)
    return chosen


def tune_ours(world: World, frames: np.ndarray, settings: DetectionSettings) -> DetectionSettings:
    """The threshold with the best F1 score on these frames."""
    choices = [
        settings.model_copy(update={"threshold": t}) for t in (3.5, 3.75, 4.0, 4.25, 4.5, 5.0)
    ]
    return max(choices, key=lambda s: f1(score(run_ours(frames, frames, s)[0], world)))


def f1(got: dict[str, float]) -> float:
    """Harmonic mean of precision and recall."""
    p, r = got["precision"], got["recall"]
    return 2 * p * r / max(p + r, 1e-9)


@click.command(help=__doc__)
@click.option("--frames", "n", default=200, show_default=True)
@click.option("--size", default=192, show_default=True, help="Of a frame [pixel].")
@click.option("--radius", default=4.0, show_default=True, help="Of a disk [pixel].")
@click.option("--blur", default=0.7, show_default=True, help="Point spread [pixel].")
@click.option("--dose", default=1e5, show_default=True, help="Electrons a frame, roughly.")
@click.option("--pixel-size", default=0.016, show_default=True, help="[1/angstrom]")
@click.option("--seed", default=0, show_default=True)
def main(
    n: int, size: int, radius: float, blur: float, dose: float, pixel_size: float, seed: int
) -> None:
    world = make_world(n, size, radius, blur, dose, seed)
    mask = compute_hot_pixels(world.frames.mean(axis=0), np.median(world.frames, axis=0))
    click.echo(
        f"hot pixels: {(mask & world.hot).sum()} of {world.hot.sum()} found, "
        f"{(mask & ~world.hot).sum()} others\n"
    )
    clean = replace_pixels(world.frames, mask)
    settings = DetectionSettings(radius=radius, blur=blur)
    few = make_world(12, size, radius, blur, dose, seed + 1)
    few_clean = replace_pixels(few.frames, few.hot)
    tuned = tune_ours(few, few_clean, settings)
    lines = []
    for own, why in ((tuned, "tuned"), (settings, "default")):
        found, seconds = run_ours(clean, clean[:20], own)
        name = f"ours, threshold {own.threshold:g} ({why})"
        lines.append((name, seconds, score(found, world)))
    for subpixel in ("poly", "multicorr"):
        options = tune_py4dstem(few, few_clean, radius, "poly") | {"subpixel": subpixel}
        found, seconds = run_py4dstem(clean, world.template, radius, **options)
        name = f"py4DSTEM, {subpixel}, sigma_cc {options['sigma_cc']:g}"
        lines.append((name, seconds, score(found, world)))
    click.echo(_markdown(lines, n, pixel_size))


def _markdown(lines: list[tuple[str, float, dict]], n: int, pixel_size: float) -> str:
    head = [
        "",
        "frames a second",
        "ours is faster by",
        "recall",
        "precision",
        "rms error [pixel]",
        "rms error [1/Å]",
    ]
    rows = [
        [
            name,
            f"{n / seconds:.0f}",
            f"{seconds / lines[0][1]:.1f}",
            f"{got['recall']:.1%}",
            f"{got['precision']:.1%}",
            f"{got['rms']:.3f}",
            f"{got['rms'] * pixel_size:.5f}",
        ]
        for name, seconds, got in lines
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    main()

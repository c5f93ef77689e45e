"""Spots in frames of few electrons, one defect at a time and all together: ours beside py4DSTEM's.

    python benchmarks/spots.py [--frames 12] [--size 256]

Frames are simulated (``ediff_solve/frames/counting/simulated.py``). Ours runs as it is: nothing is
chosen for them. py4DSTEM's ``find_Bragg_disks`` runs with the best F1 score of its template radii,
smoothings, ceilings and thresholds for these very frames, its bad pixels replaced by what we found.
Both are told where the direct beam is where a beam stop hides it. Times are processor time on one
core. Prints a Markdown table and writes ``spots`` into ``benchmarks/results.json``.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import contextlib
import io
import itertools
import json
import time
from pathlib import Path

import click
import numpy as np

from ediff_solve.frames.calibrate import replace_pixels
from ediff_solve.frames.counting.detection import SpotSettings, compute_camera, find_frame_spots
from ediff_solve.frames.counting.series import SeriesSpots, find_spots
from ediff_solve.frames.counting.simulated import DEFECTS, SimulatedFrames, simulate_frames

RESULTS = Path(__file__).parent / "results.json"
#: A spot is found within this distance [pixel]; those of fewer expected electrons are nobody's to
#: find, and finding them is no mistake.
NEAR, WEAKEST = 3.0, 25.0
#: Settings of py4DSTEM that are tried: the template's radius, smoothing of the correlation, ceiling
#: of the counts, and share of the found maxima that are left out.
RADII, SMOOTHINGS, CEILINGS = (1.5, 2.5, 3.5, 4.5), (0.5, 1.0, 2.0, 3.0), (np.inf, 60.0, 15.0)
SHARES = (0, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)


def score(found: list[np.ndarray], sim: SimulatedFrames) -> dict[str, float]:
    """Recall of the spots worth finding, and precision of the found ones."""
    seen = wanted = false = total = 0
    for places, true in zip(found, sim.places, strict=True):
        bright = true[:, 2] >= WEAKEST
        wanted += int(bright.sum())
        total += len(places)
        if not len(places) or not len(true):
            false += len(places)
            continue
        off = np.hypot(*(places[:, None, :2] - true[None, :, :2]).transpose(2, 0, 1))
        seen += int((off.min(axis=0)[bright] < NEAR).sum())
        false += int((off.min(axis=1) >= NEAR).sum())
    return {"recall": seen / max(wanted, 1), "precision": 1 - false / max(total, 1)}


def f1(got: dict[str, float]) -> float:
    return 2 * got["recall"] * got["precision"] / max(got["recall"] + got["precision"], 1e-9)


def run_ours(sim: SimulatedFrames, beam: tuple[float, float] | None) -> tuple[SeriesSpots, float]:
    """What is found, and frames a second of the search itself."""
    found = find_spots(sim.frames, SpotSettings(), beam=beam, threads=1)
    camera, settings = compute_camera(found.bad, found.sigma), SpotSettings(sigma=found.sigma)

    def search() -> None:
        for frame in sim.frames:
            find_frame_spots(frame, camera, settings, beam)

    return found, len(sim.frames) / timing.measure(search)


def run_py4dstem(sim: SimulatedFrames, found: SeriesSpots) -> tuple[dict[str, float], float]:
    """Its best score for these frames, and frames a second."""
    with contextlib.redirect_stdout(io.StringIO()):
        from py4DSTEM import Probe
        from py4DSTEM.braggvectors.diskdetection import _find_Bragg_disks_stack
    clean = replace_pixels(sim.frames, found.bad).astype(float)
    size = clean.shape[1]
    distance = np.hypot(*(np.indices((size, size)) - size // 2))
    core = max(frame.core for frame in found.frames)
    best, speed = {"recall": 0.0, "precision": 0.0}, 0.0
    for radius in RADII:
        with contextlib.redirect_stdout(io.StringIO()):
            kernel = Probe(np.clip(radius + 0.5 - distance, 0, 1)).get_kernel(
                mode="sigmoid", origin=(size // 2, size // 2), radii=(radius, 2 * radius + 2)
            )
        kernel = getattr(kernel, "data", kernel)
        for smoothing, ceiling in itertools.product(SMOOTHINGS, CEILINGS):
            start = time.process_time()
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                lists = _find_Bragg_disks_stack(
                    np.minimum(clean, ceiling), kernel, minPeakSpacing=4.5, edgeBoundary=2,
                    maxNumPeaks=1000, subpixel="poly", sigma_cc=smoothing,
                )  # fmt: skip
            speed = max(speed, len(clean) / (time.process_time() - start))
            every = [np.c_[p.data["qx"], p.data["qy"], p.data["intensity"]] for p in lists]
            every = [
                e[np.hypot(*(e[:, :2] - f.beam).T) > core]
                for e, f in zip(every, found.frames, strict=True)
            ]
            heights = np.concatenate([e[:, 2] for e in every])
            for share in SHARES if len(heights) else ():
                least = np.quantile(heights, share)
                best = max(best, score([e[e[:, 2] >= least] for e in every], sim), key=f1)
    return best, speed


@click.command()
@click.option("--frames", default=12, show_default=True)
@click.option("--size", default=256, show_default=True)
@click.option("--seed", default=11, show_default=True)
def main(frames: int, size: int, seed: int) -> None:
    """Find spots in frames with each defect and with all, and write benchmarks/results.json."""
    rows, speeds = {}, []
    for defect in (*DEFECTS, "all"):
        sim = simulate_frames(frames, size, defects=(defect,), seed=seed)
        hidden = defect in ("stop", "all")
        # To within ten pixels.
        beam = tuple(sim.centres.mean(axis=0) + 7) if hidden else None
        found, speed = run_ours(sim, beam)
        ours = score([f.spots for f in found.frames], sim)
        theirs, their_speed = run_py4dstem(sim, found)
        speeds.append((speed, their_speed))
        rows[defect] = ours | {f"{name}_py4dstem": value for name, value in theirs.items()}
        click.echo(
            f"{defect}: {rows[defect]}, {speed:.0f} and {their_speed:.0f} frames/s", err=True
        )
    ratio = float(np.exp(np.mean([np.log(a / b) for a, b in speeds])))
    click.echo("| defect | recall | precision | recall, py4DSTEM | precision, py4DSTEM |")
    click.echo("| --- | --- | --- | --- | --- |")
    for defect, row in rows.items():
        click.echo(f"| {defect} | " + " | ".join(f"{v:.1%}" for v in row.values()) + " |")
    click.echo(f"\n{ratio:.1f} times py4DSTEM's speed, {size} x {size} pixels")
    results = json.loads(RESULTS.read_text())
    results["spots"] = rows
    results["spots_speed_vs_py4dstem"] = ratio
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Frames of a counting camera with a known truth, clean or with one defect or with all.

For tests and benchmarks: a net about a wandering beam, on a background that falls off with
the radius; Poisson counts of few electrons a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: What can be wrong with a frame. ``all`` has every one of them.
DEFECTS = (
    "none", "streak", "gap", "hot", "zingers", "dead", "stop", "halo", "rings", "8bit", "float",
    "binned", "interpolated",
)  # fmt: skip


@dataclass(frozen=True)
class SimulatedFrames:
    """Frames and where their spots are.

    Attributes
    ----------
    frames : ndarray, shape (n, size, size)
    places : list of ndarray, shape (n, 3)
        Row and column in the file [pixel] and expected electrons of each frame's spots.
    centres : ndarray, shape (n, 2)
        Row and column of q = 0 in the file, without a gap [pixel].
    """

    frames: np.ndarray
    places: list[np.ndarray]
    centres: np.ndarray


def simulate_frames(
    n: int = 12,
    size: int = 256,
    *,
    defects: tuple[str, ...] = (),
    sigma: float = 1.5,
    spots: int = 14,
    electrons: float = 60.0,
    background: float = 0.6,
    gap: float = 2.0,
    seed: int = 0,
) -> SimulatedFrames:
    """Make frames of one crystal in many orientations.

    Parameters
    ----------
    n, size : int
        Frames, and their pixels each way; ``binned`` halves the latter.
    defects : tuple of str
        Of :data:`DEFECTS`; ``"all"`` for every one.
    sigma : float
        Of a spot [pixel].
    spots : int
        About so many a frame; 0 for none, and no crystal.
    electrons : float
        Median of a spot's electrons; they are distributed exponentially.
    background : float
        Electrons a pixel, at a quarter of the frame's side from the beam.
    gap : float
        Pixels that the defect of this name leaves out, each way.
    seed : int

    Returns
    -------
    SimulatedFrames
    """
    wrong = set(DEFECTS[1:]) if "all" in defects else set(defects)
    rng = np.random.default_rng(seed)
    bad = rng.random((size, size))
    width = round(gap) if "gap" in wrong else 0
    full = size + width
    middle = (full - 1) / 2
    blob = rng.normal(0, 1, 2) + (1.5, -0.8)
    frames, places, centres = [], [], []
    for _ in range(n):
        # Well on one chip: of what falls between them nothing is seen.
        centre = np.array([middle + 4, middle - 5]) + rng.normal(0, 1.0, 2)
        found = _place_spots(centre, full, spots, electrons, rng)
        expected = _background(centre, full, background, wrong)
        expected += _beam(centre + (blob if "streak" in wrong else 0), full, "streak" in wrong)
        for row, column, total in found:
            _add_spot(expected, row, column, total, sigma)
        kept, shown = found, centre
        if width:
            expected, kept, shown = _leave_out(expected, found, centre, width)
        frames.append(_count(expected, bad, wrong, rng))
        if "stop" in wrong:
            row, column = (int(v) for v in np.rint(shown))
            frames[-1][max(row - 11, 0) : row + 11, : column + 11] = 0
            hidden = (np.abs(kept[:, 0] - row) < 14) & (kept[:, 1] < column + 14)
            kept = kept[~hidden]
        if "binned" in wrong:
            kept, shown = (kept - (0.5, 0.5, 0)) / (2, 2, 1), (shown - 0.5) / 2
        places.append(kept)
        centres.append(shown)
    return SimulatedFrames(np.stack(frames), places, np.array(centres))


def _place_spots(
    centre: np.ndarray, size: int, spots: int, electrons: float, rng: np.random.Generator
) -> np.ndarray:
    """Row, column and electrons of a net's spots, half of them in Friedel pairs."""
    if not spots:
        return np.empty((0, 3))
    angle = rng.uniform(0, np.pi)
    a = rng.uniform(0.075, 0.11) * size * np.array([np.cos(angle), np.sin(angle)])
    b = rng.uniform(0.09, 0.13) * size * np.array([-np.sin(angle + 0.2), np.cos(angle + 0.2)])
    hk = np.stack(np.meshgrid(*(np.arange(-6, 7),) * 2, indexing="ij"), -1).reshape(-1, 2)
    hk = hk[(hk[:, 0] > 0) | ((hk[:, 0] == 0) & (hk[:, 1] > 0))]
    place = hk @ np.array([a, b])
    far = np.hypot(*place.T)
    place = place[(far < 0.42 * size) & (far > 0.07 * size)]
    chosen = place[rng.permutation(len(place))[: max(spots * 2 // 3, 1)]]
    both = rng.random(len(chosen)) < 0.5
    chosen = np.concatenate([chosen, -chosen[both]])
    total = electrons / np.log(2) * rng.exponential(1, len(chosen))
    return np.column_stack([chosen + centre, total])


def _background(centre: np.ndarray, size: int, level: float, wrong: set[str]) -> np.ndarray:
    radius = np.hypot(*(np.indices((size, size)) - centre[:, None, None])) / size
    shape = level * (np.exp(-(radius - 0.25) / 0.08) + 0.15) / 1.15
    if "halo" in wrong:
        shape += 3 * level * np.exp(-0.5 * ((radius - 0.2) / 0.06) ** 2)
    if "rings" in wrong:
        for at, height in ((0.19, 1.5), (0.31, 0.8)):
            shape += height * level * np.exp(-0.5 * ((radius - at) * size / 2.5) ** 2)
    return np.minimum(shape, 40 * level + 5)


def _beam(centre: np.ndarray, size: int, streaked: bool) -> np.ndarray:
    rows, columns = np.indices((size, size)) - centre[:, None, None]
    beam = 3e4 * np.exp(-0.5 * (rows**2 + columns**2) / 2.0**2)
    if streaked:
        along = (rows + columns) / np.sqrt(2)
        across = (rows - columns) / np.sqrt(2)
        beam += 20 * np.exp(-0.5 * (across / 1.8) ** 2 - np.abs(along) / 12) * (along < 0)
    return beam


def _add_spot(image: np.ndarray, row: float, column: float, total: float, sigma: float) -> None:
    reach = int(np.ceil(5 * sigma))
    i, j = round(row), round(column)
    cut = (
        slice(max(i - reach, 0), i + reach + 1),
        slice(max(j - reach, 0), j + reach + 1),
    )
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    square = (rows[cut[0]] - row) ** 2 + (columns[:, cut[1]] - column) ** 2
    image[cut] += total / (2 * np.pi * sigma**2) * np.exp(-0.5 * square / sigma**2)


def _leave_out(
    expected: np.ndarray, found: np.ndarray, centre: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the middle rows and columns out: image, spots and centre as the file has them."""
    first = (len(expected) - width) // 2
    keep = np.r_[:first, first + width : len(expected)]
    low, high = first - 0.5, first + width - 0.5

    def move(places: np.ndarray) -> np.ndarray:
        return places - np.where(places > high, width, 0)

    kept = found[~((found[:, :2] > low) & (found[:, :2] < high)).any(axis=1)].copy()
    kept[:, :2] = move(kept[:, :2])
    return expected[np.ix_(keep, keep)], kept, move(centre)


def _count(
    expected: np.ndarray, bad: np.ndarray, wrong: set[str], rng: np.random.Generator
) -> np.ndarray:
    """What the camera makes of the expected electrons."""
    counts = rng.poisson(expected).astype(np.float32)
    if "interpolated" in wrong:
        counts = 16 * (0.5 * counts + 0.25 * np.roll(counts, 1, 0) + 0.25 * np.roll(counts, 1, 1))
    scale = 16.0 if "interpolated" in wrong else 1.0
    if "hot" in wrong:
        counts[bad < 5e-4] = 400 * scale
    if "zingers" in wrong:
        counts[tuple(rng.integers(0, len(counts), (2, 12)))] = 900 * scale
    if "dead" in wrong:
        counts[(bad > 1 - 5e-4)] = 0
        counts[len(counts) // 3] = 0
    if "binned" in wrong:
        half = len(counts) // 2
        counts = counts[: 2 * half, : 2 * half].reshape(half, 2, half, 2).sum(axis=(1, 3))
    if "8bit" in wrong:
        return np.clip(counts / scale, 0, 255).astype(np.uint8)
    if "float" in wrong:
        return (0.37 * counts).astype(np.float32)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)

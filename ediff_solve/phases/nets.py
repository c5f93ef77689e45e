"""Plane nets of a scan whose positions share an orientation: no cell can be told, a net can.

Spots of all positions gather at peaks. A net is two vectors and explains the peaks near its points;
that with most gain over chance is told first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from ediff_solve.phases.zones import CubicZone, find_cubic_zones

#: Bin and blur of the map of all spots; distance of two peaks; how far a peak's spots lie from it
#: [1/angstrom].
BIN, BLUR, APART, REACH = 0.004, 0.008, 0.05, 0.03
#: Fewest spots of a peak, and how far above the ring around it [standard deviations].
FEWEST, ABOVE = 20, 5.0
#: A spot lies on a net within this [1/angstrom].
TOLERANCE = 0.02
#: Strongest peaks whose differences are tried, the shortest and longest of them, the smallest area
#: of a net [1/angstrom, 1/angstrom^2], and how far two differences are apart.
N_PEAKS, SHORTEST, LONGEST, AREA, DISTINCT = 40, 0.08, 0.8, 0.01, 0.012
#: Gain of a net that is told, and fewest peaks of it.
NET_GAIN, FEWEST_PEAKS = 30.0, 6
#: Far positions: at least so many steps apart, or this part of the scan.
FAR, FAR_SHARE = 6.0, 0.25
#: Spots that two positions share lie this near [1/angstrom]; positions with fewer are not asked.
SHARED, ASKED = 0.02, 8
#: Pairs of positions compared; the turn that tells chance [radian].
N_PAIRS, TURN = 400, 0.65
#: One orientation prevails where far positions share so many times what chance would, and this.
TIMES_CHANCE, LEAST_SHARED = 3.0, 0.08
#: Indices modulo this make sub-nets; rows are weak that have less than this of the share of spots
#: that rows have which are as strong as the others.
SUB_NETS, WEAK = (2, 3), 0.75


@dataclass(frozen=True)
class Prevailing:
    """Share of its spots that a position has in common with a far one, and after a turn."""

    shared: float
    chance: float

    @property
    def prevails(self) -> bool:
        """Whether one orientation prevails in the scan."""
        return self.shared > max(TIMES_CHANCE * self.chance, LEAST_SHARED)


@dataclass(frozen=True)
class SubNet:
    """Rows of a net whose index is no multiple of a number, and where they are seen.

    Parameters
    ----------
    axis, modulus : int
        Which index (0 or 1), and the number.
    spots, seen : ndarray of int, shape (positions,)
        Spots on the net at each position, and how many of them are on such rows.
    """

    axis: int
    modulus: int
    spots: np.ndarray
    seen: np.ndarray

    @property
    def share(self) -> float:
        """Of all spots on the net that are on such rows."""
        return float(self.seen.sum() / max(self.spots.sum(), 1))

    @property
    def is_weak(self) -> bool:
        """Whether such rows are seen less than others are: the net has a sub-net without them."""
        return self.share < WEAK * (1 - 1 / self.modulus)


@dataclass(frozen=True)
class Net:
    """A plane net of spots.

    Parameters
    ----------
    vectors : ndarray, shape (2, 2)
        Rows are the two shortest vectors, 60 to 90 degrees apart [1/angstrom].
    errors : ndarray, shape (2,)
        Standard uncertainties of their lengths [1/angstrom].
    centre : ndarray, shape (2,)
        Where the direct beam lies [1/angstrom].
    gain : float
        Logarithm of how much likelier the peaks are than by chance.
    peaks : tuple of int
        How many of the peaks it explains, and of how many.
    explained, chance : float
        Share of all spots on it, and by chance.
    sub_nets : tuple of SubNet
    cubic : tuple of CubicZone
        Cubic lattices that have it as a zone, the nearest first: guesses, not answers.
    """

    vectors: np.ndarray
    errors: np.ndarray
    centre: np.ndarray
    gain: float
    peaks: tuple[int, int]
    explained: float
    chance: float
    sub_nets: tuple[SubNet, ...] = ()
    cubic: tuple[CubicZone, ...] = ()

    @property
    def lengths(self) -> np.ndarray:
        """Of the two vectors [1/angstrom]."""
        return np.linalg.norm(self.vectors, axis=1)

    @property
    def angle(self) -> float:
        """Between them [degree]."""
        return describe_net(self.vectors)[2]


def compare_far_positions(
    places: np.ndarray, patterns: list[np.ndarray], seed: int = 0
) -> Prevailing:
    """How many spots far positions share: as many as by chance, unless they share an orientation.

    Parameters
    ----------
    places : ndarray of int, shape (positions, 2)
    patterns : list of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of each position.
    seed : int
        Of the pairs that are drawn.

    Returns
    -------
    Prevailing
        Zeros where fewer than ten pairs of far positions have enough spots.
    """
    rng = np.random.default_rng(seed)
    usable = np.array([p for p, s in enumerate(patterns) if len(s) >= ASKED])
    if len(usable) < 2:
        return Prevailing(0.0, 0.0)
    apart = min(FAR, FAR_SHARE * float(np.hypot(*np.ptp(places, axis=0))))
    turn = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
    same, chance = [], []
    for a, b in rng.choice(usable, (10 * N_PAIRS, 2)):
        if np.hypot(*(places[a] - places[b])) <= apart:
            continue
        tree = cKDTree(patterns[b][:, :2])
        own = patterns[a][:, :2]
        same.append((tree.query(own)[0] < SHARED).mean())
        chance.append((tree.query(own @ turn)[0] < SHARED).mean())
        if len(same) == N_PAIRS:
            break
    if len(same) < 10:
        return Prevailing(0.0, 0.0)
    return Prevailing(float(np.mean(same)), float(np.mean(chance)))


def find_peaks(patterns: list[np.ndarray], fewest: int = FEWEST) -> np.ndarray:
    """Peaks of the spots of all positions: qx, qy [1/angstrom] and number; shape (n, 3)."""
    flat = np.concatenate(patterns)[:, :2]
    top = np.abs(flat).max() + APART
    edges = np.arange(-top, top + BIN, BIN)
    count, *_ = np.histogram2d(flat[:, 0], flat[:, 1], bins=[edges, edges])
    smooth = gaussian_filter(count, BLUR / BIN)
    peak = (maximum_filter(smooth, int(APART / BIN)) == smooth) & (smooth > 0)
    places = edges[np.argwhere(peak)] + BIN / 2
    tree = cKDTree(flat)
    inner, middle, outer = (
        tree.query_ball_point(places, r * REACH, return_length=True) for r in (1, 1.4, 2)
    )
    expected = (outer - middle) / (2**2 - 1.4**2)
    above = inner - expected > ABOVE * np.sqrt(inner + expected + 1)
    places = places[(inner > fewest) & above]
    for _ in range(3):
        own = tree.query_ball_point(places, REACH)
        places = np.array([np.median(flat[i], axis=0) for i in own]).reshape(-1, 2)
    number = tree.query_ball_point(places, REACH, return_length=True)
    return np.column_stack([places, number])


def reduce_net(vectors: np.ndarray) -> np.ndarray:
    """The two shortest vectors of a net, shape (2, 2), whose angle is 60 to 90 degrees."""
    a, b = vectors
    while True:
        if a @ a > b @ b:
            a, b = b, a
        n = np.rint(a @ b / (a @ a))
        if n == 0:
            return np.array([a, b if a @ b >= 0 else -b])
        b = b - n * a


def describe_net(vectors: np.ndarray) -> tuple[float, float, float]:
    """Lengths of two vectors, and the angle between them [degree]."""
    a, b = np.linalg.norm(vectors, axis=1)
    cosine = np.clip(vectors[0] @ vectors[1] / (a * b), -1, 1)
    return float(a), float(b), float(np.degrees(np.arccos(cosine)))


def lie_on(vectors: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which places, shape (n, 2), lie on a net about the origin."""
    off = places - np.rint(places @ np.linalg.inv(vectors)) @ vectors
    return np.hypot(off[:, 0], off[:, 1]) < TOLERANCE


def _chance(vectors: np.ndarray) -> float:
    return float(min(np.pi * TOLERANCE**2 / abs(np.linalg.det(vectors)), 0.95))


def _gain(vectors: np.ndarray, places: np.ndarray, weight: np.ndarray) -> float:
    """Logarithm of how much likelier the peaks are by a net than by chance."""
    chance = _chance(vectors)
    share = np.average(lie_on(vectors, places), weights=weight)
    if share <= chance:
        return 0.0
    share = np.clip(share, 1e-6, 1 - 1e-6)
    each = share * np.log(share / chance) + (1 - share) * np.log((1 - share) / (1 - chance))
    return float(weight.sum() * each)


def _candidates(places: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Differences of the strongest peaks, and these, each once; shape (n, 2), shortest first."""
    strong = places[np.argsort(-weight, kind="stable")[:N_PEAKS]]
    i, j = np.triu_indices(len(strong), 1)
    vectors = np.concatenate([strong, strong[j] - strong[i]])
    length = np.hypot(*vectors.T)
    vectors = vectors[(length > SHORTEST) & (length < LONGEST)]
    kept: list[np.ndarray] = []
    for v in vectors[np.argsort(np.hypot(*vectors.T), kind="stable")]:
        if all(min(np.hypot(*(v - k)), np.hypot(*(v + k))) > DISTINCT for k in kept):
            kept.append(v)
    return np.array(kept).reshape(-1, 2)


def _refine(
    vectors: np.ndarray, places: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net, errors of its lengths and centre, by least squares over the peaks on it."""
    centre, errors = np.zeros(2), np.full(2, np.nan)
    for _ in range(4):
        good = lie_on(vectors, places - centre)
        index = np.rint((places[good] - centre) @ np.linalg.inv(vectors))
        root = np.sqrt(weight[good])[:, None]
        design = np.column_stack([index, np.ones(good.sum())]) * root
        solved, *_ = np.linalg.lstsq(design, places[good] * root, rcond=None)
        left = places[good] * root - design @ solved
        free = max(2 * (len(left) - 3), 1)
        normal = np.linalg.pinv(design.T @ design)
        errors = np.sqrt(np.diag(normal)[:2] * (left**2).sum() / free)
        vectors, centre = solved[:2], solved[2]
    return vectors, errors, centre


def find_net(patterns: list[np.ndarray]) -> Net | None:
    """The net of most gain; None where fewer than six peaks lie on any.

    Parameters
    ----------
    patterns : list of ndarray, shape (n, 3)
        qx, qy [1/angstrom] and intensity of each position.
    """
    peaks = find_peaks(patterns)
    if len(peaks) < FEWEST_PEAKS:
        return None
    places, weight = peaks[:, :2], np.sqrt(peaks[:, 2])
    weight = weight / weight.mean()
    tried = _candidates(places, weight)
    best, most = None, 0.0
    for n in range(1, len(tried)):
        for m in range(n):
            vectors = tried[[m, n]]
            if abs(np.linalg.det(vectors)) < AREA:
                continue
            gain = _gain(vectors, places, weight)
            if gain > most:
                best, most = vectors, gain
    if best is None:
        return None
    vectors, errors, centre = _refine(reduce_net(best), places, weight)
    gain = _gain(vectors, places - centre, weight)
    on = int(lie_on(vectors, places - centre).sum())
    if gain < NET_GAIN or on < FEWEST_PEAKS:
        return None
    spots = np.concatenate(patterns)[:, :2] - centre
    net = Net(
        vectors=vectors,
        errors=errors,
        centre=centre,
        gain=gain,
        peaks=(on, len(places)),
        explained=float(lie_on(vectors, spots).mean()),
        chance=_chance(vectors),
        cubic=tuple(find_cubic_zones(vectors)),
    )
    return replace(net, sub_nets=tuple(_map_sub_nets(net, patterns)))


def _map_sub_nets(net: Net, patterns: list[np.ndarray]) -> list[SubNet]:
    """Where the rows whose index is no multiple of 2, or of 3, are seen."""
    inverse = np.linalg.inv(net.vectors)
    flat = np.concatenate(patterns)[:, :2] - net.centre
    owner = np.repeat(np.arange(len(patterns)), [len(s) for s in patterns])
    on = lie_on(net.vectors, flat)
    index = np.rint(flat[on] @ inverse).astype(int)
    spots = np.bincount(owner[on], minlength=len(patterns))
    found = []
    for axis in (0, 1):
        for modulus in SUB_NETS:
            own = owner[on][index[:, axis] % modulus != 0]
            seen = np.bincount(own, minlength=len(patterns))
            found.append(SubNet(axis, modulus, spots, seen))
    return found

"""The net of the zone that a pattern is near, and lattices of that net and layers above it.

Near a zone axis [uvw] the strong spots are those of the plane h u + k v + l w = 0: a net of two
vectors. A third axis is seen in spots of further layers, and in a pattern of one zone alone it is
not seen at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.kernels.nets import best_pair, fit_layers, fit_net, match_shifts
from ediff_solve.lattice.kernels.search import REACH, difference_vectors
from ediff_utils.bloch.scattering import wavelength

#: Strongest spots that choose the net, the power of the intensity that weighs them, and vectors.
MOST_SPOTS, POWER, N_VECTORS = 60, 0.5, 20
#: Longest difference that may be a net's vector [1/angstrom].
LONGEST_VECTOR = 1.2
#: Width of a bin of differences, and how far a spot may lie off its point at first [1/angstrom].
SEARCHES = ((0.005, 0.004), (0.01, 0.009))
#: A net whose gain is so near to that of sharp positions needs no second look.
SHARP_GAIN = 1.0
#: Spots of the net within this of its plane are of the zone [1/angstrom].
ZONE_HEIGHT = 0.07
#: Fewest spots that a net is looked for in, and that layers are looked for in.
FEWEST_SPOTS, FEWEST_AWAY = 5, 3
#: Strongest spots off the net whose places on it are tried as a layer's shift; of how many the
#: halves are tried too, as of a second layer; and how many shifts are fitted.
N_SHIFTS, N_HALVES, N_STARTS = 14, 5, 5
#: Shifts nearer to each other than this part of the net's vectors are one.
SAME_SHIFT = 0.02
#: Power of the intensity that weighs spots of layers.
LAYER_POWER = 0.3
#: Distances of layers that lie straight above each other [1/angstrom], and their limits.
RISES = np.geomspace(0.06, 0.5, 8)
LEAST_RISE, LARGEST_RISE = 1 / 60, 1 / 1.7


@dataclass(frozen=True)
class Net:
    """The net of one zone, in the plane of the pattern.

    - ``basis``, shape (2, 2): rows g1 and g2 [1/angstrom], reduced, the shorter first, at an angle
      of 60 to 90 degrees.
    - ``hk``, int, shape (n, 2): nearest point of the net to each spot.
    - ``on``, bool, shape (n,): which spots lie on it.
    - ``sigma``: standard deviation of a coordinate [1/angstrom].
    - ``gain``: of a spot, by how much likelier the net makes it [logarithm]; a weighted mean.
    - ``tilt``, shape (2,): of the plane against the beam [radian].
    - ``z``, shape (n,): height of the Ewald sphere over the plane [1/angstrom].
    """

    basis: np.ndarray
    hk: np.ndarray
    on: np.ndarray
    sigma: float
    gain: float
    tilt: np.ndarray
    z: np.ndarray

    @property
    def in_zone(self) -> np.ndarray:
        """Spots of the zone: on the net, and near enough to its plane; bool, shape (n,)."""
        return self.on & (np.abs(self.z) < ZONE_HEIGHT)


def find_net(x: np.ndarray, y: np.ndarray, intensity: np.ndarray, energy: float) -> Net | None:
    """The net that explains the strong spots best.

    Spots without the direct beam about their centre [1/angstrom], shape (n,), energy in eV. None
    where there are too few of them, or all are on one line.
    """
    if len(x) < FEWEST_SPOTS or intensity.max() <= 0:
        return None
    relative = intensity / intensity.max()
    order = np.argsort(-intensity, kind="stable")[:MOST_SPOTS]
    strongest = np.append(0.0, x[order]), np.append(0.0, y[order])
    weight = np.append(1.0, relative[order] ** POWER)
    found = None
    for width, tolerance in SEARCHES:
        vectors, _ = difference_vectors(*strongest, LONGEST_VECTOR, width, N_VECTORS)
        if len(vectors) < 2:
            continue
        gain, pair = best_pair(*strongest, weight, vectors, tolerance)
        if np.isfinite(gain) and (found is None or gain > found[0]):
            found = gain, pair, tolerance
            area = abs(np.linalg.det(pair))
            if gain > np.log(area / (2 * np.pi * (tolerance / REACH) ** 2)) - SHARP_GAIN:
                break
    if found is None:
        return None
    gain, basis, tolerance = found
    height = wavelength(energy) / 2 * (x * x + y * y)
    sigma, tilt, on = fit_net(x, y, height, relative**POWER, basis, tolerance)
    if sigma < 0:
        return None
    points = np.column_stack([x, y])
    hk = np.rint(points @ np.linalg.inv(basis)).astype(int)
    return Net(basis, hk, on, float(sigma), float(gain), tilt, height - points @ tilt)


def find_layers(
    net: Net,
    x: np.ndarray,
    y: np.ndarray,
    intensity: np.ndarray,
    energy: float,
    slab: float,
    slab_spread: float,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lattices of the net and a third vector, and their figures; empty where no layer is seen.

    For spots and energy see :func:`find_net`, for the others and the figures
    :func:`~ediff_solve.lattice.kernels.fitting.fit_triple`.
    """
    if (~net.in_zone).sum() < FEWEST_AWAY:
        return []
    weight = (intensity / intensity.max()) ** LAYER_POWER
    spots = x, y, wavelength(energy) / 2 * (x * x + y * y)
    hkl = np.zeros((len(x), 4), np.int64)
    found = []
    for shift, rise in _guess_layers(net, x, y, intensity, weight):
        basis = np.zeros((3, 3))
        basis[:2, :2], basis[2, :2] = net.basis, shift @ net.basis
        basis[:, 2] = basis[:, :2] @ net.tilt
        basis[2, 2] += rise
        figures = fit_layers(spots, weight, basis, net.sigma, slab, slab_spread, hkl)
        if np.isfinite(figures[0]):
            found.append((basis, figures))
    return found


def _guess_layers(
    net: Net, x: np.ndarray, y: np.ndarray, intensity: np.ndarray, weight: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    """Shifts of the first layer in terms of the net's vectors, and its height [1/angstrom]."""
    guesses: list[tuple[np.ndarray, float]] = []
    off = np.flatnonzero(~net.on)
    off = off[np.argsort(-intensity[off], kind="stable")][:N_SHIFTS]
    if len(off) >= FEWEST_AWAY:
        f = np.column_stack([x, y]) @ np.linalg.inv(net.basis)
        own = f[off] - np.rint(f[off])
        corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
        halves = (f[off][:N_HALVES, None] + corners) / 2
        shifts = np.concatenate([own, halves.reshape(-1, 2)])
        tolerance = max(REACH * net.sigma, 0.0015) + 0.001
        share, slope = match_shifts(f, net.z, weight, net.basis, shifts, tolerance)
        for s in np.argsort(-share, kind="stable"):
            # A layer's number rises with the height; the sign of a shift is open.
            shift = shifts[s] if slope[s] >= 0 else -shifts[s]
            rise = float(np.clip(1 / max(abs(slope[s]), 1e-9), LEAST_RISE, LARGEST_RISE))
            apart = [(shift - t) - np.rint(shift - t) for t, _ in guesses]
            if all(np.abs(one).max() > SAME_SHIFT for one in apart):
                guesses.append((shift, rise))
            if len(guesses) == N_STARTS:
                break
    if (np.abs(net.z[net.on]) > ZONE_HEIGHT).sum() >= FEWEST_AWAY:
        guesses += [(np.zeros(2), float(rise)) for rise in RISES]
    return guesses


def net_points(net: Net, reach: float) -> np.ndarray:
    """Points of a net but the direct beam, up to a distance [1/angstrom]; shape (n, 2)."""
    most = np.ceil(reach * np.linalg.norm(np.linalg.inv(net.basis), axis=0)).astype(int)
    h, k = np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij")
    points = np.column_stack([h.ravel(), k.ravel()]) @ net.basis
    length = np.hypot(*points.T)
    found: np.ndarray = points[(length <= reach) & (length > 0)]
    return found

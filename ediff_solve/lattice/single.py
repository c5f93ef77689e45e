"""The reciprocal lattice from one pattern's spots: ranked candidates.

The plane of the pattern settles six of the basis's nine components to the accuracy of the spots.
The ratios of the three along the beam follow from which points lie in the slab of excitation
errors, but their common scale only from the curvature of the Ewald sphere, to 5 to 20 %. Patterns
of one crystal settle it together: :mod:`ediff_solve.lattice.joint`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ediff_solve.lattice.kernels.fitting import FEWEST_SPOTS, fit_triple
from ediff_solve.lattice.kernels.search import REACH, best_triples, difference_vectors, index_spots
from ediff_solve.lattice.nets import find_layers, find_net
from ediff_solve.lattice.refine import Spots
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError

#: Positions x and y and a third number of each spot: its height or its intensity.
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
#: Spots x, y, height and weight that lattices are looked for with.
_Strongest = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: A basis and its figures, as :func:`fit_triple` returns them.
_Fit = tuple[np.ndarray, np.ndarray]
#: Strongest spots that the search looks at; all are indexed in the end.
MOST_SPOTS = 110
#: Strongest spots by which triples are ranked.
RANKING_SPOTS = 60
#: Longest difference between spots that may be a basis vector [1/angstrom].
LONGEST_VECTOR = 0.9
#: Difference vectors kept; how many of them serve as first two of a triple, and as its third.
N_VECTORS, N_PAIRS, N_THIRDS = 40, 8, 12
#: Triples that are fitted at most, and at least where one indexes this share of the spots.
N_TRIPLES, FEWEST_TRIPLES, PERFECT = 16, 4, 0.97
#: Width of a bin of differences, and how far a spot may lie off its point at first [1/angstrom]:
#: for sharp positions, and for ones with errors of some 0.003.
SEARCHES = ((0.005, 0.005), (0.01, 0.009))
#: Spacings of the net planes of a reduced cell [angstrom]: beryllium has 1.98, and the scale along
#: the beam may be off.
SMALLEST_SPACING, LARGEST_SPACING = 1.7, 60.0
#: A lattice that indexes this share of the spots leaves nothing to search for.
ENOUGH = 0.9
#: Strong spots have small excitation errors: power of the intensity that weighs them.
INTENSITY_POWER = 0.3
#: Excitation errors up to this are looked for [1/angstrom].
SLAB = 0.075
#: What the root mean square of the weighted excitation errors is expected to be [1/angstrom]. It
#: matters where the curvature alone does not tell the scale along the beam.
SLAB_SPREAD = 0.016
#: Spots on one line: the second singular value is smaller than this part of the first.
FLAT = 0.01
#: Keeps the normal equations of spots on one plane of indices from being singular.
RIDGE = 1e-6
#: Two candidates whose volumes differ less than this and that index the same spots are one.
SAME_VOLUME = 0.02


@dataclass(frozen=True)
class LatticeCandidate:
    """A reciprocal lattice that explains one pattern.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Rows are the reduced reciprocal basis vectors in the pattern's frame, z against the beam
        [1/angstrom]. Without curvature the sign of z is not known.
    errors : ndarray, shape (3, 3)
        Standard uncertainties of the entries [1/angstrom]. Those of the z components are almost
        the same relative number, ``log_scale_error``, for all three.
    log_scale_error : float
        Standard uncertainty of the logarithm of the scale along the beam.
    hkl : ndarray of int, shape (n, 3)
        Indices of each spot; zero where it has none.
    indexed : ndarray of bool, shape (n,)
        Which spots have indices.
    position_error : float
        Standard deviation of a coordinate of a spot [1/angstrom].
    spread : float
        Root mean square of the excitation errors [1/angstrom].
    gain : float
        Logarithm of how much likelier the spots are than at random; ranks the candidates.
    """

    reciprocal: np.ndarray
    errors: np.ndarray
    log_scale_error: float
    hkl: np.ndarray
    indexed: np.ndarray
    position_error: float
    spread: float
    gain: float

    @property
    def fraction(self) -> float:
        """Share of the spots that are indexed."""
        return float(self.indexed.mean())

    @property
    def lattice(self) -> np.ndarray:
        """Rows are the vectors of the direct primitive cell [angstrom]; shape (3, 3)."""
        return np.linalg.inv(self.reciprocal).T

    def scaled(self, factor: float) -> LatticeCandidate:
        """The same with the z components times a factor."""
        return self.with_basis(self.reciprocal * np.array([1.0, 1.0, factor]), factor)

    def with_basis(self, reciprocal: np.ndarray, factor: float) -> LatticeCandidate:
        """The same with another basis, whose z components are about so many times as large."""
        scales = np.array([1.0, 1.0, factor])
        return replace(self, reciprocal=reciprocal, errors=self.errors * scales)


def check_spots(qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray | None) -> Columns:
    """Spots as float arrays of one length; a UserError where they are none."""
    x, y = np.asarray(qx, float), np.asarray(qy, float)
    strength = np.ones(x.shape) if intensity is None else np.asarray(intensity, float)
    arrays = (x, y, strength)
    if any(a.ndim != 1 or a.shape != x.shape for a in arrays):
        raise UserError("spots: expected qx, qy and intensity of one length")
    if not all(np.isfinite(a).all() for a in arrays):
        raise UserError("spots: expected finite positions and intensities")
    if (strength < 0).any():
        raise UserError("spots: expected intensities that are not negative")
    return arrays


def solve_pattern(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray | None = None,
    energy: float = 300e3,
    n_candidates: int = 4,
    slab: float = SLAB,
    slab_spread: float = SLAB_SPREAD,
) -> list[LatticeCandidate]:
    """Reciprocal lattices that explain one pattern, best first.

    Parameters
    ----------
    qx, qy : ndarray, shape (n,)
        Spots without the direct beam, which lies at the origin [1/angstrom].
    intensity : ndarray, shape (n,), optional
        Strong spots are looked at first.
    energy : float
        Of the electrons [eV].
    n_candidates : int
        At most so many.
    slab : float
        Largest excitation error [1/angstrom].
    slab_spread : float
        Expected root mean square of the excitation errors [1/angstrom].

    Returns
    -------
    list of LatticeCandidate
        Empty where nothing can be told: fewer than five spots, all on one line, or no three
        differences that index more spots than chance would.

    Raises
    ------
    UserError
        Positions or intensities that are not finite, or of different lengths.
    """
    prepared = prepare_spots(qx, qy, intensity, energy, MOST_SPOTS)
    if prepared is None:
        return []
    spots, strongest = prepared
    found: list[_Fit] = []
    for width, tolerance in SEARCHES:
        vectors, _ = difference_vectors(*strongest[:2], LONGEST_VECTOR, width, N_VECTORS)
        numbers = (N_PAIRS, N_THIRDS, N_TRIPLES)
        found += fit_triples(strongest, vectors, tolerance, numbers, slab, slab_spread)
        if found and max(f[1] for _, f in found) >= ENOUGH * len(strongest[0]):
            break
    found += _fit_layers(qx, qy, intensity, energy, slab, slab_spread)
    found.sort(key=lambda pair: -pair[1][0])
    return build_candidates(spots, found, n_candidates, slab)


def _fit_layers(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray | None,
    energy: float,
    slab: float,
    slab_spread: float,
) -> list[_Fit]:
    """Plausible fits of the net of a zone and the layers above it, that have a gain."""
    x, y, strength = check_spots(qx, qy, intensity)
    net = find_net(x, y, strength, energy)
    if net is None:
        return []
    fits = find_layers(net, x, y, strength, energy, slab, slab_spread)
    return [(basis, figures) for basis, figures in fits if figures[0] > 0 and plausible(basis)]


def prepare_spots(
    qx: np.ndarray, qy: np.ndarray, intensity: np.ndarray | None, energy: float, most: int
) -> tuple[Columns, _Strongest] | None:
    """What a search for lattices begins with; None where the spots are few or on one line.

    All spots, qx, qy and the Ewald sphere's height above them, shape (n,); and the direct beam with
    the ``most`` strongest of them, x, y, height and weight, shape (m + 1,) [1/angstrom].
    """
    x, y, strength = check_spots(qx, qy, intensity)
    if x.size < FEWEST_SPOTS:
        return None
    singular = np.linalg.svd(np.column_stack([x, y]), compute_uv=False)
    if singular[1] <= FLAT * singular[0]:
        return None
    height = Spots(x, y, wavelength(energy) / 2).height
    order = np.lexsort((height, -strength))[:most]
    weight = (strength[order] / max(strength.max(), np.finfo(float).tiny)) ** INTENSITY_POWER
    beside_beam = (np.concatenate([[0.0], a[order]]) for a in (x, y, height))
    return (x, y, height), (*beside_beam, np.concatenate([[1.0], weight]))


def build_candidates(
    spots: Columns, found: list[_Fit], n: int, slab: float = SLAB
) -> list[LatticeCandidate]:
    """At most n candidates of different fits, which come best first."""
    kept: list[LatticeCandidate] = []
    known: list[tuple[float, float]] = []
    for basis, figures in found:
        count, volume = figures[1], abs(np.linalg.det(basis))
        if any(c == count and abs(v / volume - 1) < SAME_VOLUME for c, v in known):
            continue
        known.append((count, volume))
        kept.append(_candidate(spots, basis, figures, slab))
        if len(kept) == n:
            break
    return kept


def fit_triples(
    spots: _Strongest,
    vectors: np.ndarray,
    tolerance: float,
    numbers: tuple[int, int, int],
    slab: float,
    slab_spread: float,
    least_gain: float = 0.0,
    fewest: int = FEWEST_TRIPLES,
) -> list[_Fit]:
    """Plausible fits of the best triples of difference vectors, shape (m, 2), that have a gain.

    ``numbers`` are those of :func:`best_triples`. After ``fewest`` triples one that indexes nearly
    all spots is enough.
    """
    x, y = spots[:2]
    if len(vectors) < 3:
        return []
    ranking = slice(0, RANKING_SPOTS)
    hkl = np.zeros((len(x), 4), np.int64)
    fits = []
    triples = best_triples(x[ranking], y[ranking], vectors, tolerance, *numbers)
    for n, triple in enumerate(triples):
        basis, figures = fit_triple(*spots, triple, tolerance, slab, slab_spread, hkl)
        if figures[0] > least_gain and plausible(basis):
            fits.append((basis, figures))
        if n + 1 >= fewest and fits and max(f[1] for _, f in fits) >= PERFECT * len(x):
            break
    return fits


def plausible(reciprocal: np.ndarray) -> bool:
    """Whether the net planes of a reduced basis have spacings that a crystal's may have."""
    lengths = np.sqrt((reciprocal * reciprocal).sum(axis=1))
    return bool(lengths.max() < 1 / SMALLEST_SPACING and lengths.min() > 1 / LARGEST_SPACING)


def _candidate(
    spots: Columns, basis: np.ndarray, figures: np.ndarray, slab: float
) -> LatticeCandidate:
    gain, _, sigma, spread, log_error = (float(f) for f in figures)
    hkl = np.zeros((len(spots[0]), 4), np.int64)
    index_spots(*spots, basis, REACH * sigma, slab, spread, hkl)
    indices, indexed = hkl[:, :3] * hkl[:, 3:], hkl[:, 3] > 0
    normal = indices.T @ indices + RIDGE * np.eye(3)
    unit = np.sqrt(np.diag(np.linalg.inv(normal)))
    along = np.hypot(unit * spread, np.abs(basis[:, 2]) * log_error)
    return LatticeCandidate(
        reciprocal=basis,
        errors=np.column_stack([unit * sigma, unit * sigma, along]),
        log_scale_error=log_error,
        hkl=indices,
        indexed=indexed,
        position_error=sigma,
        spread=spread,
        gain=gain,
    )

"""The numbers that Gleason et al. 2024 (arXiv:2406.16310v2) print, each with its place and unit.

Fractions are stored as fractions (0.67 for 67 %), lengths in angstrom. What the text does not
state has the value ``None``: most cells of figures 4 and 5 stand only in the pictures, and nothing
here is read off a plot. Figures 5 and 6 group by the *predicted* crystal system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ediff_utils.crystals.groups import SYSTEMS

ABSTRACT = "abstract"
DATASET = "Methods, Diffraction Pattern Dataset Generation"
SIMULATION = "Methods, Pattern Simulation"
FORESTS = "Methods, Random Forest Modeling"
TABLE_1 = "table 1"
SCAN = "Methods, Experimental Electron Diffraction Patterns"
SYSTEM_ONE = "Results, Crystal System Accuracy (figure 4)"
SYSTEM_TEN = "Results, Crystal System Accuracy of Aggregate Predictions (figure 4)"
LATTICE = "Results, Lattice Parameter and Space Group Accuracy (figure 5)"
GOLD = "Results, Experimental Validation (figure 7)"
CONCLUSION = "Conclusion"

Exactness = Literal["exact", "about", "above", "range", "about range", "not stated"]
#: Units whose numbers are not set off by a space or scaled.
_COUNT_UNITS = ("", "1")


@dataclass(frozen=True)
class Published:
    """One number of the paper.

    Parameters
    ----------
    value : float or None
        The number as printed; ``None`` for a range and where the paper does not state one.
    unit : str
        ``"fraction"``, ``"angstrom"``, ``"nm"``, ... or empty for a count.
    source : str
        Section, figure or table.
    exactness : {"exact", "about", "above", "range", "about range", "not stated"}
        ``"exact"``: a number without a qualifier, to the digits printed.
    low, high : float, optional
        The ends of a range.
    note : str
        What a reader has to know before a comparison.
    """

    value: float | None
    unit: str
    source: str
    exactness: Exactness = "exact"
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        has_range = self.low is not None and self.high is not None
        if self.exactness.endswith("range") != has_range:
            raise ValueError(f"{self.source}: a range, and only a range, has low and high")
        if (self.value is None) != (has_range or self.exactness == "not stated"):
            raise ValueError(f"{self.source}: value does not fit exactness '{self.exactness}'")

    @property
    def numbers(self) -> float | list[float] | None:
        """The value, the two ends of a range, or ``None``: what ``results.json`` holds."""
        if self.low is not None and self.high is not None:
            return [self.low, self.high]
        return self.value

    def __str__(self) -> str:
        """Write the number with its unit, and as inexact as the paper has it."""
        if self.exactness == "not stated":
            return "not stated"
        if self.low is not None and self.high is not None:
            text = f"{_digits(self.low, self.unit)} to {_digits(self.high, self.unit)}"
        else:
            text = _digits(self.value or 0.0, self.unit)
        if self.exactness.startswith(("about", "above")):
            text = f"{self.exactness.split()[0]} {text}"
        symbol = {"fraction": "%", "angstrom": "Å", "1/angstrom": "1/Å"}.get(self.unit, self.unit)
        return text if self.unit in _COUNT_UNITS else f"{text} {symbol}"


def _digits(value: float, unit: str) -> str:
    scaled = 100 * value if unit == "fraction" else value
    return f"{scaled:,.6g}" if scaled < 1e6 else f"{scaled:,.0f}"


def _exact(value: float, unit: str, source: str, note: str = "") -> Published:
    return Published(value, unit, source, "exact", note=note)


def _about(value: float, unit: str, source: str, note: str = "") -> Published:
    return Published(value, unit, source, "about", note=note)


def _range(low: float, high: float, unit: str, source: str, note: str = "") -> Published:
    return Published(None, unit, source, "range", low, high, note)


def _not_stated(unit: str, source: str, note: str = "") -> Published:
    return Published(None, unit, source, "not stated", note=note)


# --- what was simulated ---------------------------------------------------------------------------
MATERIALS = _exact(36_000, "", DATASET, "the introduction has 36,600")
ZONE_AXES = _exact(100, "", DATASET)
THICKNESSES = _exact(100, "", "Introduction")
THICKNESS_FIRST = _exact(2.0, "nm", SIMULATION)
THICKNESS_LAST = _exact(200.0, "nm", SIMULATION)
THICKNESS_STEP = _exact(2.0, "nm", SIMULATION)
TRAINING_THICKNESS = _exact(20.0, "nm", SIMULATION)
BEAM_ENERGY = _exact(300.0, "keV", SIMULATION)
Q_MAX = _exact(2.0, "1/angstrom", SIMULATION)
PATTERNS_20_NM = _exact(3.6e6, "", SIMULATION)
PATTERNS_ALL = _about(360e6, "", CONCLUSION)
PATTERNS_TRIGONAL = _about(0.2e6, "", FORESTS, "'slightly' more than triclinic, 3.6 less 3.4")
PATTERNS_WITHOUT_TRICLINIC = _about(3.4e6, "", FORESTS)

# --- features -------------------------------------------------------------------------------------
RADIAL_BINS = _exact(41, "", SIMULATION)
RADIAL_STEP = _exact(0.05, "1/angstrom", SIMULATION)
ANGULAR_ORDERS = _exact(13, "", SIMULATION, "0 to 12")
COMPLEX_FEATURES = _exact(533, "", SIMULATION)
FEATURES = _exact(1066, "", SIMULATION)

# --- models ---------------------------------------------------------------------------------------
#: Table 1; every split sees all features.
HYPERPARAMETERS: Mapping[str, Mapping[str, int]] = {
    "crystal_system": {"trees": 80, "depth": 40},
    "lattice": {"trees": 80, "depth": 100},
    "space_group": {"trees": 128, "depth": 30},
}
MAX_FEATURES = _exact(1.0, "fraction", TABLE_1, "printed as 'all'")
MODELS = _exact(13, "", FORESTS)
TEST_SHARE = _exact(0.25, "fraction", FORESTS, "of the materials, not of the patterns")
TRAINING_PATTERNS = _exact(2.5e6, "", FORESTS)
TEST_PATTERNS_ROUNDED = _exact(0.9e6, "", FORESTS)
TEST_PATTERNS = _exact(859_656, "", SYSTEM_ONE)
TEST_MATERIALS = _exact(8_549, "", SYSTEM_ONE)
PATTERNS_PER_PREDICTION = _exact(10, "", SYSTEM_TEN)

# --- crystal system -------------------------------------------------------------------------------
CRYSTAL_SYSTEM_ACCURACY: Mapping[str, Published] = {
    "one": _exact(0.67, "fraction", ABSTRACT),
    "ten": _exact(0.79, "fraction", ABSTRACT),
}
TRICLINIC_ACCURACY = _exact(0.63, "fraction", SIMULATION, "one pattern, seven classes")
TRICLINIC_SENSITIVITY = _exact(0.14, "fraction", SIMULATION, "one pattern; also figure S3")
TRICLINIC_PRECISION = _exact(0.66, "fraction", "figure S3", "one pattern; 'True Pos Rate'")
#: Single patterns: share of the trees; aggregates: share of the summed weights.
MEAN_CONFIDENCE: Mapping[str, Mapping[str, Published]] = {
    "one": {
        "right": _exact(0.55, "fraction", SYSTEM_ONE),
        "wrong": _exact(0.38, "fraction", SYSTEM_ONE),
    },
    "ten": {
        "right": _exact(0.88, "fraction", SYSTEM_TEN),
        "wrong": _exact(0.66, "fraction", SYSTEM_TEN),
    },
}
#: Share of the predictions of a system that are wrong, as printed.
FALSE_POSITIVE_RATE: Mapping[str, Mapping[str, Published]] = {
    "one": {"orthorhombic": _exact(0.43, "fraction", f"{SYSTEM_ONE}, figure S5")},
    "ten": {
        "tetragonal": _exact(0.15, "fraction", LATTICE),
        "orthorhombic": _exact(0.29, "fraction", LATTICE),
        "monoclinic": _exact(0.28, "fraction", LATTICE),
    },
}
#: Improvement of a system from one to ten patterns, a relative one as it reads.
GAIN: Mapping[str, Published] = {
    "cubic": _exact(0.03, "fraction", SYSTEM_TEN),
    "hexagonal": _exact(0.26, "fraction", SYSTEM_TEN),
    "trigonal": _exact(0.34, "fraction", SYSTEM_TEN),
}
#: Share of the test set that is orthorhombic and called monoclinic.
ORTHORHOMBIC_CALLED_MONOCLINIC: Mapping[str, Published] = {
    "one": _exact(0.06, "fraction", SYSTEM_TEN),
    "ten": _exact(0.021, "fraction", SYSTEM_TEN),
}
#: Share of right predictions among hexagonal ones of a confidence in [low, high).
HEXAGONAL_BY_CONFIDENCE: Mapping[tuple[float, float], Published] = {
    (0.30, 0.35): _about(0.66, "fraction", f"{SYSTEM_TEN}, figure S6"),
    (0.50, 0.55): Published(0.90, "fraction", f"{SYSTEM_TEN}, figure S6", "above"),
}


def name_range(low: float, high: float) -> str:
    """Name a range of confidences as ``results.json`` has it: ``0.30-0.35``."""
    return f"{low:.2f}-{high:.2f}"


class WorkedVote(NamedTuple):
    """One of figure 3's three votes on a trigonal material; counts of trees."""

    label: str
    first: int
    second_label: str
    second: int
    trees: int
    weight: float


FIGURE_3_TRUE_SYSTEM = "trigonal"
FIGURE_3_VOTES = (
    WorkedVote("trigonal", 47, "monoclinic", 20, 80, 0.3375),
    WorkedVote("trigonal", 26, "cubic", 19, 80, 0.0875),
    WorkedVote("tetragonal", 24, "trigonal", 21, 80, 0.0375),
)

# --- space group ----------------------------------------------------------------------------------
_MIDDLE = ("hexagonal", "trigonal", "tetragonal")
#: Systems to which the abstract's ranges apply.
ABSTRACT_SYSTEMS = ("cubic", *_MIDDLE)
SPACE_GROUP_RANGE = _range(
    0.70, 0.90, "fraction", ABSTRACT, "in the text these are for ten patterns"
)
SPACE_GROUP_ACCURACY: Mapping[str, Mapping[str, Published]] = {
    "one": {
        "cubic": _about(0.90, "fraction", LATTICE, "'almost 90 %'"),
        **{s: _range(0.50, 0.70, "fraction", LATTICE) for s in _MIDDLE},
        "orthorhombic": _not_stated("fraction", LATTICE),
        "monoclinic": _not_stated("fraction", LATTICE),
    },
    "ten": {
        "cubic": _not_stated("fraction", LATTICE, "'a few percentage points' above one pattern"),
        **{s: _range(0.70, 0.90, "fraction", LATTICE) for s in _MIDDLE},
        "orthorhombic": _exact(0.40, "fraction", LATTICE),
        "monoclinic": _exact(0.45, "fraction", LATTICE),
    },
}
#: Where the crystal system was predicted right.
SPACE_GROUP_GIVEN_SYSTEM: Mapping[str, Mapping[str, Published]] = {
    "ten": {
        "orthorhombic": _exact(0.56, "fraction", LATTICE),
        "monoclinic": _exact(0.63, "fraction", LATTICE),
    },
}

# --- lattice: median absolute errors --------------------------------------------------------------
_NOT_SAID = "one or ten patterns: not stated"
LATTICE_RANGE = _range(0.01, 0.5, "angstrom", ABSTRACT, _NOT_SAID)
LATTICE_RANGE_LOW_SYMMETRY = Published(
    None, "angstrom", CONCLUSION, "about range", 0.5, 1.5, _NOT_SAID
)
LOW_SYMMETRY = ("orthorhombic", "monoclinic")
_A_ONE = _about(0.1, "angstrom", LATTICE)
_A_TEN = _about(0.067, "angstrom", LATTICE, "printed as 'roughly 33 %' below about 0.1")
_C = {
    "one": {
        "hexagonal": _exact(0.26, "angstrom", LATTICE),
        "trigonal": _range(0.5, 0.6, "angstrom", LATTICE),
        "tetragonal": _range(0.5, 0.6, "angstrom", LATTICE),
    },
    "ten": {
        "hexagonal": _exact(0.14, "angstrom", LATTICE),
        "trigonal": _exact(0.40, "angstrom", LATTICE),
        "tetragonal": _exact(0.26, "angstrom", LATTICE),
    },
}


def _lattice(protocol: str, cubic: float, a: Published) -> dict[str, dict[str, Published]]:
    errors = {"cubic": dict.fromkeys("abc", _exact(cubic, "angstrom", LATTICE))}
    errors |= {s: {"a": a, "b": a, "c": _C[protocol][s]} for s in _MIDDLE}
    errors |= {s: dict.fromkeys("abc", LATTICE_RANGE_LOW_SYMMETRY) for s in LOW_SYMMETRY}
    return {system: errors[system] for system in SYSTEMS}


LATTICE_MEDIAN_ERROR: Mapping[str, Mapping[str, Mapping[str, Published]]] = {
    "one": _lattice("one", 0.03, _A_ONE),
    "ten": _lattice("ten", 0.02, _A_TEN),
}

# --- the gold nanoparticles -----------------------------------------------------------------------
GOLD_MEDIAN_LATTICE = _exact(4.03, "angstrom", GOLD)
GOLD_TRUE_LATTICE = _exact(4.08, "angstrom", GOLD)
GOLD_PARTICLE_SHARES: Mapping[str, Published] = {
    system: _about(share, "fraction", GOLD, "of the particles, by their brightest pattern")
    for system, share in (("cubic", 0.40), ("hexagonal", 0.40), ("tetragonal", 0.20))
}
GOLD_CUBIC_PIXELS = _about(0.5, "fraction", GOLD)
SCAN_MIN_SPOTS = _exact(5, "", SCAN)
SCAN_MEDIAN_SIZE = _exact(5, "pixels", SCAN)
SCAN_MIN_CONFIDENCE = _exact(0.005, "1", SCAN)
SCAN_SHAPE = _exact(256, "pixels", SCAN, "square")
SCAN_STEP = _exact(2.1, "nm", SCAN)
SCAN_VOLTAGE = _exact(300.0, "kV", SCAN)
SCAN_CONVERGENCE = _exact(0.63, "mrad", SCAN)
SCAN_DOSE = _about(400.0, "electrons/square angstrom", SCAN)


def compute_paper_results() -> dict[str, dict]:
    """Arrange the paper's results as ``results.json`` arranges a run's.

    ``crystal_system``, ``space_group`` and ``lattice``, each with ``one`` and ``ten``; the leaves
    are :class:`Published`.
    """
    paper: dict[str, dict] = {"crystal_system": {}, "space_group": {}, "lattice": {}}
    for protocol in ("one", "ten"):
        rates = FALSE_POSITIVE_RATE[protocol]
        paper["crystal_system"][protocol] = {
            "accuracy": CRYSTAL_SYSTEM_ACCURACY[protocol],
            "confidence": dict(MEAN_CONFIDENCE[protocol]),
            "systems": {system: {"false_positive_rate": rate} for system, rate in rates.items()},
        }
        given = SPACE_GROUP_GIVEN_SYSTEM.get(protocol, {})
        paper["space_group"][protocol] = {
            "systems": {
                system: {"accuracy": accuracy}
                | ({"accuracy_given_system": given[system]} if system in given else {})
                for system, accuracy in SPACE_GROUP_ACCURACY[protocol].items()
            },
        }
        paper["lattice"][protocol] = {
            "range": LATTICE_RANGE,
            "range_low_symmetry": LATTICE_RANGE_LOW_SYMMETRY,
            "systems": {s: dict(axes) for s, axes in LATTICE_MEDIAN_ERROR[protocol].items()},
        }
    paper["space_group"]["ten"]["range"] = SPACE_GROUP_RANGE
    return paper

"""The published numbers agree with each other and say how exact they are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper import published as p
from ediff_utils.paper.published import Published


def leaves(tree):
    if isinstance(tree, Published):
        yield tree
    elif isinstance(tree, Mapping) and not isinstance(tree, type):
        for value in tree.values():
            yield from leaves(value)


def all_published():
    for name, value in vars(p).items():
        if not name.startswith("__"):
            yield from ((name, leaf) for leaf in leaves(value))


def test_every_number_has_a_source():
    found = list(all_published())
    assert len(found) > 80
    assert all(leaf.source for _, leaf in found)


def test_figure_5_groups_by_predicted_system():
    """Accuracy of all predictions = accuracy where the system is right x share that is right."""
    for system in ("monoclinic", "orthorhombic"):
        given = p.SPACE_GROUP_GIVEN_SYSTEM["ten"][system].value
        false = p.FALSE_POSITIVE_RATE["ten"][system].value
        overall = p.SPACE_GROUP_ACCURACY["ten"][system].value
        assert given * (1 - false) == pytest.approx(overall, abs=0.005)


def test_figure_3_weights():
    for vote in p.FIGURE_3_VOTES:
        assert (vote.first - vote.second) / vote.trees == pytest.approx(vote.weight)
    assert [v.label == p.FIGURE_3_TRUE_SYSTEM for v in p.FIGURE_3_VOTES] == [True, True, False]
    assert {v.trees for v in p.FIGURE_3_VOTES} == {p.HYPERPARAMETERS["crystal_system"]["trees"]}


def test_table_1():
    table = {kind: (row["trees"], row["depth"]) for kind, row in p.HYPERPARAMETERS.items()}
    assert table == {"crystal_system": (80, 40), "lattice": (80, 100), "space_group": (128, 30)}
    assert p.MODELS.value == 1 + 2 * len(SYSTEMS)


def test_sizes_multiply():
    assert p.RADIAL_BINS.value * p.ANGULAR_ORDERS.value == p.COMPLEX_FEATURES.value
    assert 2 * p.COMPLEX_FEATURES.value == p.FEATURES.value
    assert p.Q_MAX.value / p.RADIAL_STEP.value + 1 == pytest.approx(p.RADIAL_BINS.value)
    steps = (p.THICKNESS_LAST.value - p.THICKNESS_FIRST.value) / p.THICKNESS_STEP.value + 1
    assert steps == p.THICKNESSES.value
    assert p.MATERIALS.value * p.ZONE_AXES.value == p.PATTERNS_20_NM.value
    assert p.PATTERNS_20_NM.value * p.THICKNESSES.value == p.PATTERNS_ALL.value
    split = p.TRAINING_PATTERNS.value + p.TEST_PATTERNS_ROUNDED.value
    assert split == pytest.approx(p.PATTERNS_WITHOUT_TRICLINIC.value)
    share = p.TEST_PATTERNS.value / p.PATTERNS_WITHOUT_TRICLINIC.value
    assert share == pytest.approx(p.TEST_SHARE.value, abs=0.005)
    assert p.TEST_PATTERNS.value / p.TEST_MATERIALS.value == pytest.approx(100, abs=1)


def test_what_the_text_does_not_state_is_none():
    accuracy = p.SPACE_GROUP_ACCURACY
    unknown = {(k, s) for k, row in accuracy.items() for s, v in row.items() if v.numbers is None}
    assert unknown == {("one", "orthorhombic"), ("one", "monoclinic"), ("ten", "cubic")}


@pytest.mark.parametrize("protocol", ["one", "ten"])
def test_figure_5_has_every_cell(protocol):
    assert tuple(p.SPACE_GROUP_ACCURACY[protocol]) == SYSTEMS
    errors = p.LATTICE_MEDIAN_ERROR[protocol]
    assert tuple(errors) == SYSTEMS
    assert all(set(axes) == {"a", "b", "c"} for axes in errors.values())


def test_ten_patterns_are_a_third_better_than_one():
    for system in ("hexagonal", "trigonal", "tetragonal"):
        one, ten = (p.LATTICE_MEDIAN_ERROR[k][system]["a"].value for k in ("one", "ten"))
        assert 1 - ten / one == pytest.approx(0.33, abs=0.005)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (p.CRYSTAL_SYSTEM_ACCURACY["one"], "67 %"),
        (p.SPACE_GROUP_ACCURACY["one"]["cubic"], "about 90 %"),
        (p.SPACE_GROUP_RANGE, "70 to 90 %"),
        (p.LATTICE_RANGE, "0.01 to 0.5 Å"),
        (p.LATTICE_RANGE_LOW_SYMMETRY, "about 0.5 to 1.5 Å"),
        (p.SPACE_GROUP_ACCURACY["ten"]["cubic"], "not stated"),
        (p.HEXAGONAL_BY_CONFIDENCE[0.50, 0.55], "above 90 %"),
        (p.TEST_PATTERNS, "859,656"),
        (p.PATTERNS_ALL, "about 360,000,000"),
        (p.ORTHORHOMBIC_CALLED_MONOCLINIC["ten"], "2.1 %"),
        (p.BEAM_ENERGY, "300 keV"),
        (p.Q_MAX, "2 1/Å"),
    ],
)
def test_text_is_as_inexact_as_the_paper(number, text):
    assert str(number) == text


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 1.0, "exactness": "range"},
        {"value": None, "exactness": "exact"},
        {"value": 1.0, "exactness": "not stated"},
        {"value": 1.0, "exactness": "exact", "low": 0.0, "high": 2.0},
        {"value": 1.0, "exactness": "range", "low": 0.0, "high": 2.0},
    ],
)
def test_value_and_exactness_have_to_fit(fields):
    with pytest.raises(ValueError, match="somewhere"):
        Published(unit="", source="somewhere", **fields)

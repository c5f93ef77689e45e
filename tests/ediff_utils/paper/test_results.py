"""Recording parts, merging them, and the table beside the paper."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_tables import make_aggregates, make_predictions

from ediff_utils.core import paths
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import FeatureSettings, ForestSettings, SimulationSettings
from ediff_utils.crystals.groups import SYSTEMS
from ediff_utils.paper import comparison, provenance, published, results


@pytest.fixture
def run(tmp_path, monkeypatch) -> paths.Run:
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    return paths.Run("test")


@pytest.fixture(scope="module")
def evaluated() -> dict:
    predictions = make_predictions(80, 10)
    return results.evaluate_run(predictions, make_aggregates(predictions))


@pytest.fixture(scope="module")
def table(evaluated) -> pd.DataFrame:
    return comparison.comparison_table(evaluated)


def test_record_writes_plain_json(run):
    values = {"n": np.int64(3), "x": np.float32(0.1), "bad": np.nan, "list": np.arange(2)}
    path = results.record(run, "models", values)
    assert json.loads(path.read_text()) == {"n": 3, "x": 0.1, "bad": None, "list": [0, 1]}
    assert list(run.records.iterdir()) == [path]


def test_floats_keep_six_digits():
    assert results.to_plain([1 / 3, 123456.789, 1.23456789e-9]) == [0.333333, 123457.0, 1.23457e-09]


def test_a_type_without_counterpart_is_refused():
    with pytest.raises(TypeError, match="object"):
        results.to_plain({"x": object()})


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(json_like)
def test_plain_values_survive_json(value):
    plain = results.to_plain(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert results.to_plain(plain) == plain


def test_collect_merges_parts(run, evaluated):
    for part, values in evaluated.items():
        results.record(run, part, values)
    results.record(run, "timings.patterns", {"seconds": 2.0})
    results.record(run, "timings.models", {"seconds": 3.0})
    results.record(run, "protocol", {"orientations": 20})
    results.record(run, "gold", {"median": 4.05})
    merged = results.collect(run)
    assert json.loads(run.results.read_text(encoding="utf-8")) == merged
    assert merged["crystal_system"] == evaluated["crystal_system"]
    assert merged["timings"] == {"patterns": {"seconds": 2.0}, "models": {"seconds": 3.0}}
    assert merged["protocol"] == {"orientations": 20}
    assert merged["gold"] == {"median": 4.05}
    assert merged["environment"]["packages"]["numpy"] == np.__version__


def test_a_part_is_replaced_by_a_later_one(run):
    results.record(run, "models", {"old": 1})
    results.record(run, "models", {"new": 2})
    assert results.collect(run)["models"] == {"new": 2}


def test_collect_says_where_records_come_from(run):
    with pytest.raises(UserError, match="records: not there"):
        results.collect(run)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_part_is_named(run, text):
    results.record(run, "models", {}).write_text(text)
    with pytest.raises(UserError, match=r"models\.json: .* run again"):
        results.collect(run)


@pytest.mark.parametrize("part", ["", "../x", "A b", "a..b"])
def test_part_names_are_checked(run, part):
    with pytest.raises(UserError, match="expected lower-case"):
        results.record(run, part, {})


def _paths(tree, prefix=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, key))
        else:
            yield (*prefix, key)


def test_the_paper_is_nested_as_a_run_is(evaluated):
    paper = results.compute_paper_parts()
    assert set(_paths(paper["paper"])) <= set(_paths(evaluated))
    assert set(_paths(paper["paper"])) == set(_paths(paper["paper_as_printed"]))
    assert paper["paper"]["crystal_system"]["one"]["accuracy"] == 0.67
    assert paper["paper"]["space_group"]["ten"]["systems"]["trigonal"]["accuracy"] == [0.7, 0.9]
    assert paper["paper"]["space_group"]["one"]["systems"]["monoclinic"]["accuracy"] is None
    printed = paper["paper_as_printed"]["lattice"]["one"]["systems"]["trigonal"]["a"]
    assert printed.startswith("about 0.1 Å (")


def test_evaluated_numbers_fit_together(evaluated):
    for protocol in ("one", "ten"):
        part = evaluated["crystal_system"][protocol]
        low, high = part["interval"]
        assert low < part["accuracy"] < high
        right = sum(system["n_right"] for system in part["systems"].values())
        assert right / part["n"] == pytest.approx(part["accuracy"], abs=1e-6)
        diagonal = sum(part["confusion"][s][s] for s in SYSTEMS)
        assert diagonal == pytest.approx(part["accuracy"], abs=1e-5)
    assert evaluated["crystal_system"]["one"]["patterns_per_prediction"] == 1
    assert evaluated["crystal_system"]["ten"]["patterns_per_prediction"] == 10
    assert evaluated["lattice"]["ten"]["n"] == 80


def test_range_covers_the_systems_of_the_abstract(evaluated):
    part = evaluated["lattice"]["one"]
    systems = published.ABSTRACT_SYSTEMS
    medians = [part["systems"][s][axis] for s in systems for axis in "abc"]
    assert part["range"] == [min(medians), max(medians)]


def _row(table, quantity, protocol):
    found = table[(table["quantity"] == quantity) & (table["protocol"] == protocol)]
    assert len(found) == 1
    return found.iloc[0]


def test_table_has_every_row_of_the_abstract_and_figure_5(table):
    for reading in ("plainest reading", "round-off zeroed"):
        quantity = f"crystal system accuracy, {reading}"
        assert _row(table, quantity, "1 pattern")["paper"] == "67 %"
        assert _row(table, quantity, "10 patterns")["paper"] == "79 %"
    space_group = "space group accuracy, range of cubic to tetragonal"
    assert _row(table, space_group, "10 patterns")["paper"] == "70 to 90 %"
    lattice = "median lattice error, range of cubic to tetragonal"
    assert _row(table, lattice, "1 pattern")["paper"] == "0.01 to 0.5 Å"
    for protocol in ("1 pattern", "10 patterns"):
        rows = table[table["protocol"] == protocol]
        assert rows["quantity"].str.startswith("space group accuracy, predicted").sum() == 6
        # 1 length of cubic, 2 of each uniaxial system, 3 of orthorhombic and of monoclinic
        assert rows["quantity"].str.match("median error of .*, predicted").sum() == 13
    assert table["paper source"].ne("").all()
    assert not table["quantity"].str.cat(table["protocol"]).duplicated().any()


def test_table_shows_the_run_with_its_interval(table, evaluated):
    row = _row(table, "median error of c, predicted hexagonal", "1 pattern")
    part = evaluated["lattice"]["one"]["systems"]["hexagonal"]
    assert row["this run"] == f"{part['c']:.3g} Å"
    low, high = part["interval"]["c"]
    assert row["95 % interval"] == f"{low:.3g} to {high:.3g} Å"
    assert row["n"] == f"{part['n']:,}"
    assert row["paper"] == "0.26 Å"


def test_false_positives_carry_the_interval_of_the_precision(table, evaluated):
    row = _row(table, "false positives among predicted orthorhombic", "1 pattern")
    system = evaluated["crystal_system"]["one"]["systems"]["orthorhombic"]
    low, high = system["interval"]["precision"]
    assert row["95 % interval"] == f"{100 * (1 - high):.1f} to {100 * (1 - low):.1f} %"
    assert row["n"] == str(system["n_predicted"])


def test_no_exact_number_stands_where_the_paper_is_vague(table):
    row = _row(table, "space group accuracy, predicted monoclinic", "1 pattern")
    assert row["paper"] == "not stated"
    row = _row(table, "median error of a = b, predicted tetragonal", "10 patterns")
    assert row["paper"] == "about 0.067 Å"
    assert "33 %" in row["paper source"]


def test_triclinic_rows_follow_their_part(evaluated):
    predictions = make_predictions(40, 4, triclinic=True)
    part = results.evaluate_with_triclinic(predictions, make_aggregates(predictions))
    table = comparison.comparison_table(evaluated | {"with_triclinic": part})
    row = _row(table, "with triclinic: sensitivity to triclinic", "1 pattern")
    sensitivity = part["one"]["systems"]["triclinic"]["sensitivity"]
    assert (row["this run"], row["paper"]) == (f"{100 * sensitivity:.1f} %", "14 %")


def test_a_run_without_predictions_has_a_table():
    empty = make_predictions(1, 1)[:0]
    aggregates = make_aggregates(make_predictions(1, 1))[:0]
    table = comparison.comparison_table(results.evaluate_run(empty, aggregates))
    assert table["this run"].eq("none").all()
    assert table["95 % interval"].eq("").all()


def test_terminal_and_markdown_show_every_row(table):
    text = comparison.format_table(table)
    assert len(text.splitlines()) == len(table) + 1
    assert "paper source" not in text
    lines = comparison.to_markdown(table).splitlines()
    assert len(lines) == len(table) + 2
    assert lines[0] == "| " + " | ".join(comparison.COLUMNS) + " |"
    assert {line.count("|") for line in lines} == {len(comparison.COLUMNS) + 1}


def test_protocol_counts_crystals(run, monkeypatch):
    sources, systems = ["prototype", "variant", "variant"], ["cubic", "cubic", "trigonal"]
    crystals = pd.DataFrame({"source": sources, "crystal_system": systems})
    split = pd.DataFrame({"part": ["train", "test", "train"]})
    about = {"settings": ForestSettings(tree_fraction=0.1).model_dump(exclude_none=True)}
    stages = {"read_simulation_settings": SimulationSettings(orientations=20, sampling="random")}
    stages |= {"read_feature_settings": FeatureSettings(thickness=200.0), "read_about": about}
    for name, said in stages.items():
        monkeypatch.setattr(provenance, name, lambda folder, said=said: said)
    protocol = provenance.describe_run(run, crystals, split, ForestSettings())
    assert protocol["crystals"] == {
        "n": 3,
        "by_source": {"prototype": 1, "variant": 2},
        "by_system": {"cubic": 2, "trigonal": 1},
    }
    assert protocol["split"]["test_materials"] == 1
    assert (protocol["orientations"], protocol["thickness_angstrom"]) == (20, 200.0)
    assert protocol["in_plane_rotation"] == "uniformly random"
    assert protocol["forests"]["tree_fraction"] == 0.1

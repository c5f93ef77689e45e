"""Time against size: the fit finds a known power, the figure shows what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib import pyplot as plt

from ediff_solve.figures.scaling import compute_power_law, figure_scaling, read_scaling
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import ROOT


@pytest.fixture
def table(tmp_path):
    beams = np.geomspace(50, 1500, 12).astype(int)
    records = [
        {
            "material_id": f"mp-{i}",
            "beams": int(number),
            "volume": number / 1.5,
            "centrosymmetric": bool(i % 2),
            "seconds": 2e-8 * number**2 * (1 + i % 2),
        }
        for i, number in enumerate(beams[::-1])
    ]
    (tmp_path / "results.json").write_text(json.dumps({"scaling": records}))
    return read_scaling(tmp_path / "results.json")


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.5])
def test_a_power_law_is_found_again(exponent):
    x = np.geomspace(10, 1000, 7)
    factor, found = compute_power_law(x, 0.3 * x**exponent)
    assert found == pytest.approx(exponent)
    assert factor == pytest.approx(0.3)


def test_the_table_is_by_beams_and_in_milliseconds(table):
    assert len(table) == 12
    assert table["beams"].is_monotonic_increasing
    np.testing.assert_allclose(table["milliseconds"], 1e3 * table["seconds"])


def test_every_crystal_is_drawn_and_the_exponent_told(table):
    fig = figure_scaling(table)
    left, right = fig.axes
    for ax, column in ((left, "beams"), (right, "volume")):
        marked = [line for line in ax.lines if line.get_linestyle() == "None"]
        drawn = np.sort(np.concatenate([line.get_xdata() for line in marked]))
        np.testing.assert_allclose(drawn, np.sort(table[column]))
        assert ax.get_xscale() == ax.get_yscale() == "log"
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert len(labels) == 2
    assert all("n^{2.00}" in label for label in labels)
    plt.close(fig)


def test_nothing_measured_is_said(tmp_path):
    fig = figure_scaling(read_scaling(tmp_path / "none.json"))
    assert all(ax.texts for ax in fig.axes)
    plt.close(fig)


def test_records_are_those_of_the_benchmarks(tmp_path):
    if not (ROOT / "benchmarks").exists():
        pytest.skip("outside a checkout there are no benchmarks")
    committed = json.loads((ROOT / "benchmarks/results.json").read_text())["scaling"]
    assert sorted(read_scaling()["material_id"]) == sorted(r["material_id"] for r in committed)
    (tmp_path / "broken.json").write_text("[1")
    with pytest.raises(UserError, match="not the results of benchmarks"):
        read_scaling(tmp_path / "broken.json")

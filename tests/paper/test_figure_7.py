"""Figure 7 and its text: the gold nanoparticles; the scans are other ones than the paper's."""

from __future__ import annotations

import pytest
from beside_the_paper import hold

from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_utils.core.paths import FIGURES
from ediff_utils.core.settings import ScanSettings
from ediff_utils.paper import published as p
from ediff_utils.paper.results import read_results


def test_gold():
    hold("gold:")


def test_the_scan_of_gold_is_as_large_and_of_the_same_crystal():
    scan = read_results(FIGURES / "gold")["scan"]
    assert scan["positions"] == p.SCAN_SHAPE.value**2
    assert scan["true_a"] == pytest.approx(p.GOLD_TRUE_LATTICE.value, abs=0.005)


def test_a_scan_is_simulated_and_read_as_the_paper_did():
    scan, steps = GoldScanSettings(), ScanSettings()
    assert scan.step == 10 * p.SCAN_STEP.value
    assert scan.energy == 1e3 * p.SCAN_VOLTAGE.value
    assert (scan.convergence, scan.dose) == (p.SCAN_CONVERGENCE.value, p.SCAN_DOSE.value)
    assert (steps.min_spots, steps.median_size) == (
        p.SCAN_MIN_SPOTS.value,
        p.SCAN_MEDIAN_SIZE.value,
    )
    assert steps.min_confidence == p.SCAN_MIN_CONFIDENCE.value

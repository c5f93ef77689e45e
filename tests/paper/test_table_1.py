"""Table 1, and what the committed runs were grown with instead."""

from __future__ import annotations

import pytest

from ediff_utils.core.paths import FIGURES
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper import published
from ediff_utils.paper.results import read_results
from ediff_utils.paper.training import new_forest

KINDS = sorted(published.HYPERPARAMETERS)
#: Setting, what table 1 has, and what the run has instead.
INSTEAD = {
    "paper": {"max_features": 0.03, "max_samples": 0.25, "min_samples_leaf": 5},
    "quick": {"max_features": 0.03, "max_samples": 1.0, "min_samples_leaf": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_trees_and_depth(kind):
    forest, row = new_forest(kind, ForestSettings()), published.HYPERPARAMETERS[kind]
    assert forest.n_estimators == row["trees"]
    assert forest.max_depth == row["depth"]


@pytest.mark.parametrize("run", sorted(INSTEAD))
def test_what_is_not_as_printed(run):
    settings = read_results(FIGURES / run)["training"]["settings"]
    assert {name: settings[name] for name in INSTEAD[run]} == INSTEAD[run]
    assert published.MAX_FEATURES.value == 1.0
    assert settings["tree_fraction"] == 1.0
    assert settings["test_size"] == published.TEST_SHARE.value

"""Table 1, and the forests of the committed runs that have it."""

from __future__ import annotations

import pytest

from ediff_utils.core.paths import FIGURES
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper import published
from ediff_utils.paper.results import read_results
from ediff_utils.paper.training import new_forest

KINDS = sorted(published.HYPERPARAMETERS)


@pytest.mark.parametrize("kind", KINDS)
def test_trees_and_depth(kind):
    forest, row = new_forest(kind, ForestSettings()), published.HYPERPARAMETERS[kind]
    assert forest.n_estimators == row["trees"]
    assert forest.max_depth == row["depth"]


def test_bootstrap_leaves_and_features_are_as_printed():
    for kind in KINDS:
        forest = new_forest(kind, ForestSettings())
        assert forest.max_features == published.MAX_FEATURES.value == 1.0
        assert (forest.bootstrap, forest.max_samples, forest.min_samples_leaf) == (True, None, 1)


@pytest.mark.parametrize("run", ["paper", "quick"])
def test_the_committed_runs_are_of_table_1(run):
    settings = read_results(FIGURES / run)["training"]["settings"]
    assert settings["tree_fraction"] == 1.0
    assert settings["grower"] == "own"
    assert settings["split_by"] == "material"
    assert not settings["include_triclinic"]
    assert not any(name.startswith(("max_", "min_", "lattice_", "coarse")) for name in settings)
    assert settings["test_size"] == published.TEST_SHARE.value

"""Stored patterns held against the dense solution: what is right passes, what is wrong is seen."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_crystals import make_structure

from ediff_utils.bloch.dataset.checks import compute_dataset_differences
from ediff_utils.bloch.dataset.writing import simulate_dataset
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.symmetry import standardise

NAMES = ["silicon", "magnesium", "rutile", "zinc blende", "quartz (chiral)"]
SETTINGS = SimulationSettings(
    sampling="random", orientations=4, thickness_range=(50.0, 400.0), q_max=1.5, jobs=1
)


def make(folder, settings=SETTINGS):
    rows = [
        standardise(make_structure(name), 0.01)
        | {"material_id": name, "formula": name, "source": "file", "prototype": ""}
        for name in NAMES
    ]
    simulate_dataset(pd.DataFrame(rows), settings, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("checks") / "patterns")


def test_stored_patterns_agree(folder):
    found = compute_dataset_differences(folder, 5)
    assert set(found["material_id"]) == set(NAMES)
    assert found["difference"].max() < 5e-6
    assert not found["missing"].any()
    assert found["thickness"].between(50, 400).all()


def test_fewer_are_spread_over_the_systems(folder):
    found = compute_dataset_differences(folder, 4, seed=3)
    assert len(found) == 4
    assert found["crystal_system"].nunique() == 4


@pytest.mark.parametrize("fault", ["intensity", "missing spot"])
def test_what_is_wrong_is_seen(folder, tmp_path, fault):
    for path in folder.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (part,) = tmp_path.glob("part-*")
    rows = pq.read_table(part).to_pylist()
    for row in rows:
        brightest = row["intensity"].index(max(row["intensity"]))
        if fault == "intensity":
            row["intensity"][brightest] += 1e-3
        else:
            for name in ("qx", "qy", "intensity", "h", "k", "l"):
                del row[name][brightest]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(part)), part)
    found = compute_dataset_differences(tmp_path, 5)
    if fault == "intensity":
        assert (found["difference"] > 0.9e-3).all()
    else:
        assert (found["missing"] == 1).all()


def test_a_precessing_beam_is_refused(tmp_path):
    settings = SETTINGS.model_copy(update={"precession": 5.0, "precession_steps": 3})
    with pytest.raises(UserError, match="precession: expected"):
        compute_dataset_differences(make(tmp_path / "patterns", settings), 5)

"""The data card: its snippets run on a real dataset, and it names every column and parameter."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pytest
from sample_crystals import make_structure

from ediff_utils.bloch.dataset.manifest import MANIFEST
from ediff_utils.bloch.dataset.table import SCHEMA
from ediff_utils.bloch.dataset.writing import simulate_dataset
from ediff_utils.core.paths import ROOT
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.symmetry import standardise
from ediff_utils.crystals.tables import COLUMNS

CARD = (ROOT / "data/README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", CARD, flags=re.DOTALL)
NAMES = ["silicon", "gold", "rutile"]
SETTINGS = SimulationSettings(orientations=2, q_max=1.0, jobs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [
        standardise(make_structure(name), 0.01)
        | {"material_id": name, "formula": name, "source": "file", "prototype": ""}
        for name in NAMES
    ]
    path = tmp_path_factory.mktemp("card") / "patterns"
    simulate_dataset(pd.DataFrame(rows), SETTINGS, path, progress=False)
    return path


def run_snippet(word: str, folder) -> dict:
    (snippet,) = (text for text in SNIPPETS if re.search(rf"^import {word}\b", text, flags=re.M))
    names = {"folder": folder}
    exec(snippet, names)
    return names


def test_pandas(folder):
    names = run_snippet("pandas", folder)
    assert set(names["cubic"]) == {"silicon", "gold"}
    assert names["patterns"]["material_id"].tolist() == ["silicon"] * 2 + ["gold"] * 2


def test_pyarrow(folder):
    from ediff_utils.bloch.dataset.reading import read_patterns

    spots = read_patterns(folder)["intensity"].combine_chunks().flatten()
    assert run_snippet("pyarrow.dataset", folder)["n_spots"] == len(spots) > 0


def test_dask(folder):
    brightest = run_snippet("dask.dataframe", folder)["brightest"]
    assert set(brightest.index) == set(NAMES)
    assert brightest.between(0, 1).all()


def test_duckdb(folder):
    per_system = run_snippet("duckdb", folder)["per_system"].set_index("crystal_system")
    assert per_system["patterns"].to_dict() == {"cubic": 4, "tetragonal": 2}
    assert (per_system["spots"] > 0).all()


def test_every_column_with_its_type():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w ×]+) \|", CARD, flags=re.M))
    lists = dict.fromkeys(("qx", "qy"), "lists of float32") | dict.fromkeys("hkl", "lists of int16")
    for field in SCHEMA:
        if field.name in lists:
            kind = lists[field.name]
            assert re.search(rf"^\| .*`{field.name}`.* \| {kind} \|", CARD, flags=re.M)
            assert str(field.type.value_type).replace("float", "float32") == kind.split()[-1]
            continue
        kind = str(field.type).replace("float", "float32")
        if pa.types.is_fixed_size_list(field.type):
            kind = "3 × float32"
        elif pa.types.is_list(field.type):
            kind = "list of float32"
        assert rows[field.name] == kind
    for name in COLUMNS:
        assert f"`{name}`" in CARD


@pytest.mark.parametrize(
    "name",
    ["sampling", "thicknesses", "thickness_range", "precession", "scattering", "intensity_floor"],
)
def test_parameters_are_those_of_the_settings(name):
    (default,) = re.findall(rf"^\| `{name}` \| (.*?) \|", CARD, flags=re.M)
    value = SimulationSettings.model_fields[name].default
    shown = {"none": None, "`[200.0]`": (200.0,)}.get(default, default.strip("`"))
    assert shown == value or float(shown) == value


def test_files_are_those_that_are_there(folder):
    for name in ("crystals.parquet", MANIFEST, "log.jsonl", "part-00000.parquet"):
        assert f"`{name}`" in CARD
        assert (folder / name).exists()

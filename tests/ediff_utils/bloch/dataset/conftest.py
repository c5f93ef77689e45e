"""The small dataset that these tests read, break and compare with; made once a module."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from dataset_runs import make_table, run


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def finished(crystals, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "patterns"
    run(crystals, folder)
    return folder

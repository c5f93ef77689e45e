"""Small datasets of real patterns: made, copied, interrupted and compared."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from sample_crystals import make_structure

from ediff_utils.bloch.dataset import writing
from ediff_utils.bloch.dataset.writing import DatasetReport, simulate_dataset
from ediff_utils.core.settings import SimulationSettings
from ediff_utils.crystals.symmetry import standardise

NAMES = ["silicon", "magnesium", "rutile", "zinc blende", "quartz (chiral)"]
SETTINGS = SimulationSettings(
    orientations=3, thicknesses=(100.0, 200.0), q_max=1.2, intensity_floor=1e-4, jobs=1
)


@cache
def _row(name: str) -> dict[str, object]:
    return standardise(make_structure(name), 0.01)


def make_table(copies: int = 1) -> pd.DataFrame:
    """A crystals' table of :data:`NAMES`, or of several copies of them under other names."""
    rows = [_row(name) for name in NAMES]
    names = [f"{name} {i}" if i else name for i in range(copies) for name in NAMES]
    return pd.DataFrame(rows * copies).assign(material_id=names)


def run(
    crystals: pd.DataFrame,
    folder: Path,
    settings: SimulationSettings = SETTINGS,
    block_size: int = 2,
    shard_bytes: int = 10_000,
    client=None,
) -> DatasetReport:
    """Simulate in small pieces: a block to a shard, as a rule."""
    layout = {"block_size": block_size, "shard_bytes": shard_bytes}
    return simulate_dataset(crystals, settings, folder, client=client, progress=False, **layout)


def checksums(folder: Path) -> dict[str, str]:
    """Of all files that make up a finished dataset; nothing else may be left but the log."""
    left = [p.name for p in folder.iterdir() if p.is_dir() or p.name.startswith(".")]
    assert not left
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "log.jsonl"
    }


def copy_dataset(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder))


@contextmanager
def stopped_in(monkeypatch, function: str, after: int) -> Iterator[None]:
    """The user interrupts a step of what runs in here, after some calls of it."""
    step = getattr(writing, function)
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(writing, function, interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield

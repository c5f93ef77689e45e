"""Every path of the project hangs on one anchored root."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ediff_utils.core.errors import UserError

ROOT = Path(os.environ.get("EDIFF_ROOT", Path(__file__).resolve().parents[2]))
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
PRESETS = DATA / "presets"
CACHE = DATA / "cache"
EXAMPLE = DATA / "examples" / "anatase.csv"
RUNS = DATA / "runs"
FIGURES = ROOT / "figures"


@dataclass(frozen=True)
class Run:
    """Where one run keeps its files: all of them in ``data/runs``, which git ignores.

    :attr:`published` under ``figures`` is what ``ediff publish`` has copied there to be committed.

    Parameters
    ----------
    name : str
        Name of the run, as a rule its preset; letters, digits, ``-`` and ``_``.
    """

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise UserError(f"run '{self.name}': expected letters, digits, '-' and '_' only")

    @property
    def data(self) -> Path:
        return RUNS / self.name

    @property
    def figures(self) -> Path:
        return self.data / "figures"

    @property
    def published(self) -> Path:
        """Committed figures and results of the run, where it was published."""
        return FIGURES / self.name

    @property
    def notebooks(self) -> Path:
        """Executed copies of the notebooks."""
        return self.data / "notebooks"

    @property
    def crystals(self) -> Path:
        return self.data / "crystals.parquet"

    @property
    def skipped(self) -> Path:
        return self.data / "skipped.json"

    @property
    def patterns(self) -> Path:
        return self.data / "patterns"

    @property
    def features(self) -> Path:
        return self.data / "features.parquet"

    @property
    def split(self) -> Path:
        return self.data / "split.parquet"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def other_models(self) -> Path:
        """Folder of the folders of models that are trained for comparison alone."""
        return self.data / "other-models"

    @property
    def predictions(self) -> Path:
        return self.data / "predictions.parquet"

    @property
    def aggregates(self) -> Path:
        return self.data / "aggregates.parquet"

    @property
    def random_patterns(self) -> Path:
        return self.data / "patterns-random"

    @property
    def random_features(self) -> Path:
        return self.data / "features-random.parquet"

    @property
    def records(self) -> Path:
        """Folder of the parts that make up ``results.json``, one a notebook."""
        return self.data / "records"

    @property
    def results(self) -> Path:
        return self.data / "results.json"

    @property
    def dataset(self) -> Path:
        """What ``ediff dataset`` says of the patterns that it made."""
        return self.data / "dataset.json"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path``, else it is removed.

    Raises
    ------
    UserError
        The folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # Where the folder itself is at fault, its own error is the one to show.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def require(path: Path, made_by: str) -> Path:
    """Return ``path``, or say which step makes it when it is not there.

    Raises
    ------
    UserError
        ``path`` does not exist.
    """
    if not path.exists():
        raise UserError(f"{path}: not there; it is made by {made_by}")
    return path

"""Every path of the project hangs on one anchored root."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ediff_utils.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent
_IS_CHECKOUT = (_CHECKOUT / "pyproject.toml").is_file()
#: The notebooks, presets, examples and predictors that come with the package. Never written to.
SHIPPED = _CHECKOUT if _IS_CHECKOUT else _PACKAGE / "shipped"
#: Names the folder that runs, caches and figures go to.
HOME = "EDIFF_HOME"
#: By default the checkout; of an installed package, where the user is.
ROOT = Path(os.environ.get(HOME) or (_CHECKOUT if _IS_CHECKOUT else Path.cwd())).absolute()
CACHE = ROOT / "data" / "cache"
RUNS = ROOT / "data" / "runs"
FIGURES = ROOT / "figures"
NOTEBOOKS = SHIPPED / "notebooks"
PRESETS = SHIPPED / "data" / "presets"
EXAMPLE = SHIPPED / "data" / "examples" / "anatase.csv"


def find_shipped(name: str) -> Path:
    """A file or folder such as ``data/models/default``: the user's own, where there is one."""
    own = ROOT / name
    return own if own.exists() else SHIPPED / name


class _In:
    """A path in a run's folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: Run, _owner: type[Run]) -> Path:
        return run.data / self._name


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
    def published(self) -> Path:
        """Committed figures and results of the run, where it was published."""
        return FIGURES / self.name

    figures = _In("figures")
    #: Executed copies of the notebooks.
    notebooks = _In("notebooks")
    crystals = _In("crystals.parquet")
    skipped = _In("skipped.json")
    patterns = _In("patterns")
    features = _In("features.parquet")
    split = _In("split.parquet")
    models = _In("models")
    #: Folder of the folders of models that are trained for comparison alone.
    other_models = _In("other-models")
    predictions = _In("predictions.parquet")
    aggregates = _In("aggregates.parquet")
    random_patterns = _In("patterns-random")
    random_features = _In("features-random.parquet")
    #: Folder of the parts that make up ``results.json``, one a notebook.
    records = _In("records")
    results = _In("results.json")
    #: What ``ediff dataset`` says of the patterns that it made.
    dataset = _In("dataset.json")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path``, else it is removed.

    A UserError where the folder cannot be written to, or the disk is full.
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
    """Return ``path``, or say by a UserError which step makes it when it is not there."""
    if not path.exists():
        raise UserError(f"{path}: not there; it is made by {made_by}")
    return path

"""What keeps a long training going: trees on disk as they are grown, and workers to grow them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import joblib
import skops.io
from joblib.parallel import ThreadingBackend
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ediff_utils.core import made_from
from ediff_utils.core.paths import atomic_write
from ediff_utils.core.workers import open_client

if TYPE_CHECKING:
    from distributed import Client

Tree: TypeAlias = DecisionTreeClassifier | DecisionTreeRegressor
#: Types that a skops file of trees holds beyond skops' own list of harmless ones.
TRUSTED = ("sklearn.tree._tree.Tree", "numpy.dtype")


class Checkpoint:
    """Trees of one forest, a file for each batch of them, in a folder of their own.

    ``identity`` is what the forest is made from; trees of anything else are thrown away.
    """

    def __init__(self, folder: Path, identity: made_from.Identity) -> None:
        self.folder = folder
        label = folder / "about.json"
        stage = made_from.Stage(f"trees of {folder.name}", ())
        if stage.is_same(made_from.read(label), identity):
            return
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_write(label) as partial:
            text = json.dumps({made_from.KEY: identity}, indent=2)
            partial.write_text(text + "\n", encoding="utf-8")

    def save(self, first: int, trees: list[Tree]) -> None:
        """Keep some trees, of which the first has this number in the forest."""
        with atomic_write(self.folder / f"trees-{first:04d}.skops") as partial:
            skops.io.dump(trees, partial, compression=zipfile.ZIP_DEFLATED, compresslevel=1)

    def load(self) -> list[Tree]:
        """Trees that were kept, in order, up to the first that is missing or damaged."""
        trees: list[Tree] = []
        while (path := self.folder / f"trees-{len(trees):04d}.skops").exists():
            try:
                found = skops.io.load(path, trusted=list(TRUSTED))
            # skops lets through whatever zipfile, json and numpy say of a damaged file.
            except Exception:
                break
            trees.extend(found)
        return trees


class TreeCount:
    """Tells a progress bar, by its ``update``, of each tree as it is grown."""

    def __init__(self, update: Callable[[int], object]) -> None:
        self._update = update
        self._early = 0

    def early(self, n: int) -> None:
        """Count trees of a batch that is not finished."""
        self._early += n
        self._update(n)

    def __call__(self, n: int) -> None:
        """Count a finished batch of ``n``, less those of it that were counted early."""
        self._update(n - self._early)
        self._early = 0


class _CountingThreads(ThreadingBackend):
    """joblib's threads, which say when a task is done."""

    def __init__(self, *, count: Callable[[int], object], **options: object) -> None:
        super().__init__(**options)
        self._count = count

    def batch_completed(self, batch_size: int, duration: float) -> None:
        super().batch_completed(batch_size, duration)
        self._count(batch_size)


@contextmanager
def tree_workers(
    cluster: str | Client, jobs: int, count: Callable[[int], object]
) -> Iterator[None]:
    """Where trees are grown: ``jobs`` threads of this process (-1: one a core), or a Dask cluster.

    ``cluster`` is a scheduler's address or a client, empty for this machine; ``count`` is told of
    every tree that a thread here has grown.
    """
    if not cluster:
        with joblib.parallel_config(_CountingThreads(count=count), n_jobs=jobs):
            yield
        return
    with open_client(cluster) as client, joblib.parallel_config("dask", client=client):
        yield

"""What a dataset of patterns says of itself: parameters, versions, checksums, and how long it took.

``manifest.json`` is the same however often a run was stopped and on whatever machines it went on.
``log.jsonl`` holds what is not: a line for each piece of work as it was done.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import file_sha256
from ediff_utils.core.made_from import Identity, Stage
from ediff_utils.core.paths import FIGURES, atomic_write, require
from ediff_utils.core.settings import SimulationSettings, check

MANIFEST = "manifest.json"
LOG = "log.jsonl"
#: Packages whose versions the numbers may hang on.
_PACKAGES = ("ediff-utils", "numpy", "scipy", "numba", "spglib", "pymatgen", "pyarrow")
#: How and where the work is done is no property of the patterns.
_NOT_OF_PATTERNS = {"jobs", "cluster"}
PATTERNS = Stage("patterns", ("ediff_utils.bloch.dataset.table",))
#: Up to so many patterns take minutes, and are made again without being asked for.
SMALL = 100_000


def build_identity(
    crystals: pd.DataFrame, settings: SimulationSettings, **sizes: int
) -> dict[str, dict]:
    """What two runs must have in common to work on the same dataset, ready for JSON.

    ``sizes`` say how the work and the files are cut.
    """
    digest = hashlib.sha256()
    for row in crystals.itertuples():
        digest.update(str(row.material_id).encode())
        digest.update(np.asarray(row.lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.conventional_lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.numbers, dtype=np.int64).tobytes())
        digest.update(np.asarray(row.frac_coords, dtype=float).tobytes())
    return PATTERNS.identify(
        settings.model_dump(mode="json", exclude=_NOT_OF_PATTERNS),
        {"crystals": digest.hexdigest()},
        sizes=sizes,
        packages={name: metadata.version(name) for name in _PACKAGES},
    )


def claim(folder: Path, identity: Identity, n_crystals: int) -> dict[str, object]:
    """Begin a dataset, or make sure that the one that is there is the same; gives its manifest.

    Patterns of other crystals, parameters or code are a UserError. Where only the code is another,
    a dataset of up to :data:`SMALL` patterns is removed to be made again instead.
    """
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        # To a finished dataset nothing is added; it may be read with any version of anything.
        wanted = {k: v for k, v in identity.items() if k != "packages" or not found["finished"]}
        reason = PATTERNS.why_not(found, wanted)
        if not reason:
            return found
        by_code = made_from.differ_in_code(found, wanted)
        if not by_code or _count(identity, n_crystals) > SMALL:
            way_out = f", or set {made_from.OLD_CODE}=use to take them as they are"
            raise UserError(
                f"{folder}: holds patterns that were made otherwise: {reason}; remove the folder "
                f"or choose another run name{way_out if by_code else ''}"
            )
        PATTERNS.is_same(found, wanted)
        with alone(folder):
            for path in [folder / MANIFEST, folder / LOG, *folder.glob("**/*.parquet")]:
                path.unlink(missing_ok=True)
    manifest = {"n_crystals": n_crystals, **identity, "finished": False}
    write_manifest(folder, manifest)
    return manifest


def _count(identity: Identity, n_crystals: int) -> int:
    """Patterns of a dataset."""
    settings = identity["settings"]
    thicknesses = 1 if settings["thickness_range"] else len(settings["thicknesses"])
    return n_crystals * settings["orientations"] * thicknesses


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs off a dataset; the lock goes with the process, however that ends."""
    path = folder / "blocks" / ".lock"
    lock = FileLock(path, blocking=False)
    try:
        path.parent.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder}: another run is at work there; wait for it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def fingerprint(folder: Path) -> str:
    """What tells the patterns of a dataset from others; says so where old code made them.

    Where there is no manifest the files are read.
    """
    if (folder / MANIFEST).exists():
        manifest = read_finished(folder)
        PATTERNS.note_old(manifest)
        return _join(manifest["shards"])
    return _join({"sha256": file_sha256(path)} for path in sorted(folder.glob("part-*.parquet")))


def _join(shards: Iterable[Mapping[str, str]]) -> str:
    """One checksum of all files' checksums."""
    return hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write ``manifest.json``."""
    with atomic_write(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict:
    """Read ``manifest.json`` of a dataset; a UserError where there is none."""
    path = require(folder / MANIFEST, "notebook 01")
    try:
        found = json.loads(path.read_text())
        dict(found["settings"])
        bool(found["finished"])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: not a manifest of patterns; remove {folder} to start afresh"
        ) from None
    return found


def read_finished(folder: Path) -> dict:
    """Read ``manifest.json`` of a dataset; a UserError where that is not whole."""
    manifest = read_manifest(folder)
    if not manifest["finished"]:
        raise UserError(f"{folder}: not finished; simulate again to go on")
    return manifest


def read_settings(folder: Path) -> SimulationSettings:
    """Parameters that a dataset was simulated with."""
    values = read_manifest(folder)["settings"]
    return check(SimulationSettings, where=f"{folder / MANIFEST}: ", **values)


class Session:
    """One call's share of the work on a dataset, written down as it is done.

    Processes that work are counted where that is known; ``spent`` [s] belongs to it from before.
    """

    def __init__(self, folder: Path, workers: int | None, spent: float = 0.0) -> None:
        self._path = folder / LOG
        self._shared = {"session": datetime.now(UTC).isoformat(), "workers": workers}
        self._start = time.perf_counter() - spent

    @property
    def elapsed(self) -> float:
        """Time since the start [s]."""
        return time.perf_counter() - self._start

    def note(self, patterns: int = 0, peak_gib: float = 0.0) -> None:
        """Add a line to the log: patterns simulated, peak memory of the process that did it."""
        entry = {"elapsed": round(self.elapsed, 2), "patterns": patterns, "peak_gib": peak_gib}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read() != b"\n":
                        # What a killed run left half-written.
                        file.write(b"\n")
                file.write(json.dumps(self._shared | entry).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from error


def read_log(folder: Path) -> pd.DataFrame:
    """Read the log: one row a piece of work.

    Columns are ``session`` (when its run was started), ``elapsed`` since then [s], ``patterns``,
    ``peak_gib`` (of the process that did it) and ``workers``.
    """
    path = require(folder / LOG, "notebook 01")
    rows = []
    for line in path.read_text().splitlines():
        # A killed run, or a full disk, may have left a line half-written.
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return pd.DataFrame(rows, columns=["session", "elapsed", "patterns", "peak_gib", "workers"])


def summarise(folder: Path) -> dict[str, object]:
    """Describe a finished dataset in a few lines: what it is, and what it took.

    That is the manifest without its list of files, and ``minutes`` of all its runs together,
    ``worker_peak_gib``, ``workers``, ``gib`` on disk.
    """
    manifest = read_finished(folder)
    log = read_log(folder)
    shards = manifest.pop("shards")
    return manifest | {
        "n_shards": len(shards),
        "gib": round(sum(shard["bytes"] for shard in shards) / 2**30, 3),
        "shards_sha256": _join(shards),
        "minutes": round(log.groupby("session")["elapsed"].max().sum() / 60, 2),
        "workers": None if log["workers"].isna().all() else int(log["workers"].max()),
        "worker_peak_gib": round(float(log["peak_gib"].max()), 3),
    }


def read_summaries() -> pd.DataFrame:
    """Committed summaries of datasets, ``dataset.json`` beside their runs' figures.

    Indexed by run: crystals, patterns, failures, size [GiB], time [minutes], peak memory of a
    worker [GiB], and the largest difference to a dense eigen-decomposition where it was looked for.
    """
    rows = {}
    for path in sorted(FIGURES.glob("*/dataset.json")):
        found = json.loads(path.read_text())
        rows[path.parent.name] = {
            "crystals": found["n_crystals"],
            "patterns": found["patterns"],
            "failures": len(found["failures"]),
            "GiB": found["gib"],
            "minutes": found["minutes"],
            "worker peak [GiB]": found["worker_peak_gib"],
            "check": found.get("check", {}).get("difference"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")

"""What a dataset of patterns says of itself: parameters, versions, checksums, and how long it took.

``manifest.json`` is the same however often a run was stopped and on whatever machines it went on.
``log.jsonl`` holds what is not: a line for each piece of work as it was done.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import FIGURES, atomic_write, require
from ediff_utils.core.settings import SimulationSettings, check

MANIFEST = "manifest.json"
LOG = "log.jsonl"
#: Packages whose versions the numbers may hang on.
_PACKAGES = ("ediff-utils", "numpy", "scipy", "numba", "spglib", "pymatgen", "pyarrow")
#: How and where the work is done is no property of the patterns.
_NOT_OF_PATTERNS = {"jobs", "cluster"}


def build_identity(
    crystals: pd.DataFrame, settings: SimulationSettings, **layout: int
) -> dict[str, object]:
    """What two runs must have in common to work on the same dataset.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : SimulationSettings
    **layout
        How the work and the files are cut.

    Returns
    -------
    dict
        Ready for JSON.
    """
    digest = hashlib.sha256()
    for row in crystals.itertuples():
        digest.update(str(row.material_id).encode())
        digest.update(np.asarray(row.lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.conventional_lattice, dtype=float).tobytes())
        digest.update(np.asarray(row.numbers, dtype=np.int64).tobytes())
        digest.update(np.asarray(row.frac_coords, dtype=float).tobytes())
    return {
        "n_crystals": len(crystals),
        "crystals_sha256": digest.hexdigest(),
        **layout,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "settings": json.loads(settings.model_dump_json(exclude=_NOT_OF_PATTERNS)),
    }


def claim(folder: Path, identity: Mapping[str, object]) -> dict[str, object]:
    """Begin a dataset, or make sure that the one that is there is the same.

    Parameters
    ----------
    folder : Path
    identity : mapping
        See :func:`build_identity`.

    Returns
    -------
    dict
        The manifest that is there, or the new one, in which ``finished`` is false.

    Raises
    ------
    UserError
        The folder holds patterns of other crystals or parameters, or cannot be written to.
    """
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        # To a finished dataset nothing is added; it may be read with any version of anything.
        own = [name for name in identity if name != "packages" or not found["finished"]]
        if any(found.get(name) != identity[name] for name in own):
            raise UserError(
                f"{folder}: holds patterns made with another {_differences(found, identity)}; "
                "remove the folder or choose another run name"
            )
        return found
    manifest = {**identity, "finished": False}
    write_manifest(folder, manifest)
    return manifest


def _differences(found: Mapping, wanted: Mapping) -> str:
    groups = ("packages", "settings")
    names = [name for name in wanted if name not in groups and found.get(name) != wanted[name]]
    for group in groups:
        values = wanted[group]
        names += [n for n in values if (found.get(group) or {}).get(n) != values[n]]
    return ", ".join(
        "set of crystals" if name == "crystals_sha256" else name
        for name in names
        if name != "n_crystals"
    )


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write ``manifest.json``."""
    with atomic_write(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict:
    """Read ``manifest.json`` of a dataset.

    Raises
    ------
    UserError
        It is not there, or not a manifest.
    """
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
    """Read ``manifest.json`` of a dataset that is whole.

    Raises
    ------
    UserError
        No dataset there, or an unfinished one.
    """
    manifest = read_manifest(folder)
    if not manifest["finished"]:
        raise UserError(f"{folder}: not finished; simulate again to go on")
    return manifest


def read_settings(folder: Path) -> SimulationSettings:
    """Parameters that a dataset was simulated with.

    Raises
    ------
    UserError
        The folder has no manifest of patterns.
    """
    values = read_manifest(folder)["settings"]
    return check(SimulationSettings, where=f"{folder / MANIFEST}: ", **values)


class Session:
    """One call's share of the work, written down as it is done.

    Parameters
    ----------
    folder : Path
        The dataset.
    workers : int or None
        Processes that work, where that is known.
    spent : float
        Time that belongs to it from before [s].
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
        """Add a line to the log: patterns simulated, peak memory of the process that did it.

        Raises
        ------
        UserError
            The log cannot be written to, or the disk is full.
        """
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

    Parameters
    ----------
    folder : Path

    Returns
    -------
    DataFrame
        ``session`` (when its run was started), ``elapsed`` since then [s], ``patterns``,
        ``peak_gib`` (of the process that did it), ``workers``.
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

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        The manifest without its list of files, and ``minutes`` of all its runs together,
        ``worker_peak_gib``, ``workers``, ``gib`` on disk.

    Raises
    ------
    UserError
        The dataset is not finished.
    """
    manifest = read_finished(folder)
    log = read_log(folder)
    shards = manifest.pop("shards")
    return manifest | {
        "n_shards": len(shards),
        "gib": round(sum(shard["bytes"] for shard in shards) / 2**30, 3),
        "shards_sha256": hashlib.sha256("".join(s["sha256"] for s in shards).encode()).hexdigest(),
        "minutes": round(log.groupby("session")["elapsed"].max().sum() / 60, 2),
        "workers": None if log["workers"].isna().all() else int(log["workers"].max()),
        "worker_peak_gib": round(float(log["peak_gib"].max()), 3),
    }


def read_summaries() -> pd.DataFrame:
    """Committed summaries of datasets, ``dataset.json`` beside their runs' figures.

    Returns
    -------
    DataFrame
        Indexed by run: crystals, patterns, failures, size [GiB], time [minutes], peak memory of a
        worker [GiB], and the largest difference to a dense eigen-decomposition where it was looked
        for. No rows where there are none.
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

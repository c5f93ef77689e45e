"""Crystals from the user's own files: CIFs, or a Parquet table."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from ediff_utils.core.errors import UserError
from ediff_utils.core.files import read_table
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.cif import read_cif
from ediff_utils.crystals.symmetry import (
    MIN_DISTANCE,
    Row,
    UnusableCrystalError,
    build_structure,
    standardise,
    volume_reason,
)

#: What a table of crystals needs; ``formula`` and other columns may stand beside them.
TABLE_COLUMNS = ("material_id", "lattice", "numbers", "frac_coords")
_TABLE = f"a table of crystals with the columns {', '.join(TABLE_COLUMNS)}"
#: From this number on starting worker processes takes less time than it saves.
_PARALLEL_FROM = 500


@dataclass(frozen=True)
class Candidate:
    """A crystal as its source, "file" or "materials-project", gives it, not looked at yet."""

    material_id: str
    source: str
    #: A CIF, or lattice (9) [angstrom], atomic numbers (n) and fractional coordinates (3 n).
    content: Path | tuple[object, object, object]


def find_candidates(path: Path) -> list[Candidate]:
    """List the crystals of a folder of CIFs and the folders in it, of a CIF or of a Parquet table.

    They are in the order of the files' names, or of the table's rows. A UserError where there is no
    such path, no CIF in the folder, or no table of crystals.
    """
    if path.is_dir():
        files = list_cifs(path)
        if not files:
            raise UserError(f"{path}: expected a folder with CIFs (*.cif), found none in it")
        return [Candidate(name, "file", file) for name, file in _name_files(files, path)]
    if not path.is_file():
        raise UserError(
            f"crystals: {path}: no such file or folder; expected a folder of CIFs, a CIF, a "
            "Parquet table, 'embedded' or 'materials-project'"
        )
    if path.suffix.lower() == ".cif":
        return [Candidate(path.stem, "file", path)]
    return table_candidates(read_table(path, TABLE_COLUMNS, what=_TABLE).to_pandas(), "file")


def list_cifs(folder: Path) -> list[Path]:
    """CIFs in a folder and the folders in it, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".cif" and p.is_file())


def _name_files(files: list[Path], folder: Path) -> list[tuple[str, Path]]:
    """Name files by their stems, or by their paths in the folder where stems repeat."""
    names = [file.stem for file in files]
    for longer in (
        lambda file: file.relative_to(folder).with_suffix("").as_posix(),
        lambda file: file.relative_to(folder).as_posix(),
    ):
        count = Counter(names)
        names = [longer(f) if count[n] > 1 else n for n, f in zip(names, files, strict=True)]
    return list(zip(names, files, strict=True))


def table_candidates(table: pd.DataFrame, source: str) -> list[Candidate]:
    """Make a candidate of each row of a table with the columns :data:`TABLE_COLUMNS`."""
    columns = (table[name] for name in TABLE_COLUMNS)
    rows = zip(*columns, strict=True)
    return [Candidate(str(name), source, tuple(content)) for name, *content in rows]


def label_candidate(
    candidate: Candidate, symprec: float, max_volume: float, closest: float = MIN_DISTANCE
) -> Row | str:
    """A crystal's row of the crystals' table, or the reason why there is none.

    With spglib's tolerance ``symprec`` [angstrom], the largest primitive cell [cubic angstrom], and
    how close two atoms may be [angstrom].
    """
    with warnings.catch_warnings():
        # spglib warns of what it rounds; what cannot be used is said by its reason.
        warnings.simplefilter("ignore")
        try:
            if isinstance(candidate.content, Path):
                structure = read_cif(candidate.content)
            else:
                structure = build_structure(*candidate.content, closest)
            row = standardise(structure, symprec, closest)
        except UnusableCrystalError as error:
            return str(error)
    if row["volume"] > max_volume:
        return volume_reason(row["volume"], max_volume)
    name = candidate.material_id
    return {"material_id": name, "source": candidate.source, **row}


def _label_all(
    candidates: list[Candidate], settings: CrystalSettings, bar: tqdm
) -> list[Row | str]:
    jobs = -1 if len(candidates) > _PARALLEL_FROM else 1
    work = (delayed(label_candidate)(c, settings.symprec, settings.max_volume) for c in candidates)
    results = []
    for result in Parallel(n_jobs=jobs, return_as="generator")(work):
        results.append(result)
        bar.update()
    return results


def _drop_unnamed(candidates: list[Candidate]) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """Leave out rows without a name and those whose name another row has already."""
    seen: set[str] = set()
    kept, skipped = [], []
    for index, candidate in enumerate(candidates):
        name = candidate.material_id
        if name in ("", "None", "nan", "<NA>"):
            skipped.append((f"row {index}", "material_id missing"))
        elif name in seen:
            skipped.append((name, "material_id repeated"))
        else:
            seen.add(name)
            kept.append(candidate)
    return kept, skipped


def label_candidates(
    candidates: list[Candidate], settings: CrystalSettings, progress: bool = True
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Standardise crystals, a random sample of them where there are more than ``max_crystals``.

    Gives rows of the crystals' table in the order of ``candidates``, and name and reason of those
    that were tried and cannot be used.
    """
    candidates, skipped = _drop_unnamed(candidates)
    order = np.random.default_rng(settings.seed).permutation(len(candidates))
    wanted, start = min(settings.max_crystals, len(candidates)), 0
    usable: dict[int, Row] = {}
    unusable: dict[int, str] = {}
    with tqdm(total=wanted, desc="crystals", disable=not progress) as bar:
        # Drawn one after the other until there are enough, so that a small sample of a large
        # table costs little. What is drawn depends on the seed alone, not on the batches.
        while len(usable) < wanted and start < len(order):
            batch = order[start : start + wanted - len(usable)]
            start += len(batch)
            results = _label_all([candidates[i] for i in batch], settings, bar)
            for i, result in zip(batch, results, strict=True):
                if isinstance(result, str):
                    unusable[int(i)] = result
                else:
                    usable[int(i)] = result
            bar.total = bar.n + wanted - len(usable)
    skipped += [(candidates[i].material_id, unusable[i]) for i in sorted(unusable)]
    return [usable[i] for i in sorted(usable)], skipped

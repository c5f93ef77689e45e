"""Crystals of the Materials Project that have been observed in experiments.

They are fetched once and kept in ``data/cache`` as a Parquet table of the form that
:mod:`ediff_utils.crystals.files` reads. What an interrupted fetch has got is kept as well: the
next one asks only for the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from pymatgen.core import Structure

from ediff_utils.core import made_from, paths
from ediff_utils.core.errors import UserError, import_extra
from ediff_utils.core.files import read_table
from ediff_utils.core.progress import tqdm
from ediff_utils.crystals.files import TABLE_COLUMNS
from ediff_utils.crystals.symmetry import Row, UnusableCrystalError, atomic_numbers

if TYPE_CHECKING:
    from mp_api.client import MPRester

_KEY = "MP_API_KEY"
_ENDPOINT = "MP_API_ENDPOINT"
#: Materials a request. Their names stand in its address, which servers cut at about 8,000 letters.
_CHUNK = 200
#: Names a page when materials are listed; the server's limit.
_PAGE = 1000
#: What was fetched is never fetched again by itself: that needs a key, and the database changes.
FETCHED = made_from.Stage(
    "crystals of the Materials Project",
    ("ediff_utils.crystals.materials_project",),
    without=("ediff_utils.crystals.files", "ediff_utils.crystals.symmetry"),
)
_FILTER = {"theoretical": False, "deprecated": False}
_FIELDS = ["material_id", "structure", "formula_pretty"]
_COLUMNS = ["material_id", "formula", "lattice", "numbers", "frac_coords"]


def cache_path() -> Path:
    """Where the fetched table is kept."""
    return paths.CACHE / "materials-project.parquet"


def fetch_table(progress: bool = True) -> pd.DataFrame:
    """Return the table of experimentally observed crystals, from the cache where it is there.

    Columns are ``material_id``, ``formula``, ``lattice`` (9) [angstrom], ``numbers`` (n) and
    ``frac_coords`` (3 n). A crystal without a structure, or with partial occupancy, has no
    ``numbers``. A UserError where the key is missing or refused, or the server does not answer.
    """
    path = cache_path()
    found = made_from.read(path)
    if found is None:
        _fetch(path, progress)
    elif found:
        FETCHED.note_old(found)
    return read_table(path, TABLE_COLUMNS).to_pandas()


def _fetch(path: Path, progress: bool) -> None:
    parts = path.with_name(f"{path.stem}-parts")
    with _open_client() as client:
        names = _list_materials(client, parts / "materials.json")
        chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
        files = [parts / f"part-{i:05d}.parquet" for i in range(len(chunks))]
        with tqdm(total=len(names), desc="Materials Project", disable=not progress) as bar:
            for file, chunk in zip(files, chunks, strict=True):
                if not file.exists():
                    # Fetched before the file is opened: an error of the network is an OSError too.
                    table = _fetch_chunk(client, chunk)
                    _write(table, file)
                bar.update(len(chunk))
    tables = [read_table(file, TABLE_COLUMNS).to_pandas() for file in files]
    _write(pd.concat(tables, ignore_index=True), path, FETCHED.identify({}, {}))
    shutil.rmtree(parts, ignore_errors=True)


def _write(table: pd.DataFrame, path: Path, identity: made_from.Identity | None = None) -> None:
    content = pa.Table.from_pandas(table, preserve_index=False)
    content = content.replace_schema_metadata(
        content.schema.metadata | made_from.metadata(identity)
    )
    with paths.atomic_write(path) as partial:
        pq.write_table(content, partial)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Say in one line what the Materials Project, or the way to it, objects to."""
    their_error = import_extra("mp_api.client.core").MPRestError
    try:
        yield
    # The client passes on whatever an answer that is not the expected JSON runs into.
    except (their_error, requests.RequestException, ValueError, KeyError) as error:
        refused = any(f"status code {code}" in str(error) for code in (401, 403))
        if refused or "valid API key" in str(error):
            raise UserError(
                f"{_KEY}: the Materials Project refuses this key; see your dashboard at "
                "materialsproject.org for the right one"
            ) from None
        raise UserError(f"Materials Project: no usable answer, try again later: {error}") from None


def _open_client() -> MPRester:
    key = os.environ.get(_KEY, "").strip()
    if not key:
        raise UserError(
            f"{_KEY}: not set; get an API key from your dashboard at materialsproject.org and "
            f"'export {_KEY}=...', or choose other crystals"
        )
    # The import takes seconds, which other crystals need not wait for.
    client = import_extra("mp_api.client")
    with _one_line_errors():
        return client.MPRester(
            key,
            # The client itself reads this variable when it is imported, too early for a test.
            endpoint=os.environ.get(_ENDPOINT) or None,
            use_document_model=False,
            mute_progress_bars=True,
        )


def _list_materials(client: MPRester, path: Path) -> list[str]:
    """Names of the observed crystals; kept, so that a resumed fetch splits them the same way."""
    if path.exists():
        with suppress(ValueError, KeyError, TypeError):
            return list(json.loads(path.read_text(encoding="utf-8"))["material_ids"])
    with _one_line_errors():
        # With a filter the client asks the REST interface; without one it would download
        # everything there is from a bucket.
        summary = client.materials.summary
        documents = summary.search(
            **_FILTER, fields=["material_id"], chunk_size=_PAGE, _sort_fields="material_id"
        )
        names = sorted({str(document["material_id"]) for document in documents})
        total = summary.count(dict(_FILTER))
    if not names:
        raise UserError("Materials Project: the server knows of no observed crystals")
    # The client does not notice pages that are shorter than asked for.
    if len(names) < total:
        raise UserError(
            f"Materials Project: it listed {len(names)} of {total} crystals; try again later"
        )
    # Another list means other parts.
    shutil.rmtree(path.parent, ignore_errors=True)
    with paths.atomic_write(path) as partial:
        partial.write_text(json.dumps({"material_ids": names}), encoding="utf-8")
    return names


def _fetch_chunk(client: MPRester, names: list[str]) -> pd.DataFrame:
    with _one_line_errors():
        documents = client.materials.summary.search(
            material_ids=names, fields=_FIELDS, chunk_size=len(names)
        )
    served = {str(document["material_id"]): document for document in documents}
    rows = [_to_row(name, served.get(name, {})) for name in names]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _to_row(name: str, document: dict[str, Any]) -> Row:
    try:
        structure = Structure.from_dict(document["structure"])
        numbers = atomic_numbers(structure).tolist()
        lattice, sites = structure.lattice.matrix.ravel().tolist(), structure.frac_coords.ravel()
    # Without sites the crystal is listed among the skipped ones later.
    except (UnusableCrystalError, KeyError, TypeError, ValueError):
        lattice, numbers, sites = [0.0] * 9, [], np.empty(0)
    values = (name, document.get("formula_pretty", ""), lattice, numbers, sites.tolist())
    return dict(zip(_COLUMNS, values, strict=True))

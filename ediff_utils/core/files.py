"""What all stages need of files: checksums, and tables that are read with one line for mistakes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import require


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_schema(
    path: Path, columns: Sequence[str] = (), *, what: str = "a Parquet table", made_by: str = ""
) -> pa.Schema:
    """Columns of a Parquet file; a UserError where it is none, or lacks one of ``columns``.

    Messages say ``what`` is expected there and, where that is known, what it is ``made_by``.
    """
    path = Path(path)
    if made_by:
        require(path, made_by)
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {what}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, what, error) from None
    missing = ", ".join(name for name in columns if name not in schema.names)
    if missing:
        detail = f"; it is made by {made_by}" if made_by else ""
        raise UserError(f"{path}: column {missing} missing; expected {what}{detail}")
    return schema


def read_table(
    path: Path,
    columns: Sequence[str] = (),
    *,
    others: bool = True,
    what: str = "a Parquet table",
    made_by: str = "",
) -> pa.Table:
    """Read a Parquet file as :func:`read_schema` does, all columns or without the ``others``."""
    read_schema(path, columns, what=what, made_by=made_by)
    try:
        return pq.read_table(path, columns=None if others else list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, what, error) from None


def _unreadable(path: Path, what: str, error: Exception) -> UserError:
    detail = str(error).split("\n")[0]
    return UserError(f"{path}: not a Parquet table, or a damaged one: {detail}; expected {what}")

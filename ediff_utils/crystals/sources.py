"""Crystals: one interface, three sources.

``settings.crystals`` is ``"embedded"`` (prototypes and variants of them, no network; see
:mod:`~ediff_utils.crystals.embedded`), a path (CIFs or a Parquet table, see
:mod:`~ediff_utils.crystals.files`), or ``"materials-project"`` (see
:mod:`~ediff_utils.crystals.materials_project`). All of them are standardised and labelled by
:func:`~ediff_utils.crystals.symmetry.standardise`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import file_sha256
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.embedded import load_embedded
from ediff_utils.crystals.files import (
    find_candidates,
    label_candidates,
    list_cifs,
    table_candidates,
)
from ediff_utils.crystals.materials_project import cache_path, fetch_table
from ediff_utils.crystals.tables import COLUMNS, CrystalSet, read_again, write_crystals
from ediff_utils.crystals.tables import read_crystals as read_crystals

#: The values of ``settings.crystals`` that are no paths.
EMBEDDED = "embedded"
MATERIALS_PROJECT = "materials-project"
CRYSTALS = made_from.Stage("crystals", ("ediff_utils.crystals.sources",))


def load_crystals(settings: CrystalSettings, progress: bool = True) -> CrystalSet:
    """Get crystals from the source that the settings name, standardised and labelled.

    Parameters
    ----------
    settings : CrystalSettings
        Source, number, largest primitive volume [cubic angstrom], spglib tolerance [angstrom] and
        seed. Where a source has more than ``max_crystals``, they are drawn at random.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    CrystalSet
        Triclinic crystals are among them; ``crystal_system`` tells.

    Raises
    ------
    UserError
        No such source, nothing in it, or nothing in it that can be used.
    """
    if settings.crystals == EMBEDDED:
        rows, skipped = load_embedded(settings, progress)
    else:
        if settings.crystals == MATERIALS_PROJECT:
            candidates = table_candidates(fetch_table(progress), MATERIALS_PROJECT)
        else:
            candidates = find_candidates(Path(settings.crystals).expanduser())
        rows, skipped = label_candidates(candidates, settings, progress)
    if not rows:
        first = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise UserError(
            f"crystals: {settings.crystals}: none of {len(skipped)} crystals can be used{first}"
        )
    return CrystalSet(
        table=pd.DataFrame(rows, columns=list(COLUMNS)),
        skipped=pd.DataFrame(skipped, columns=["material_id", "reason"]),
    )


def prepare_crystals(settings: CrystalSettings, run: Run, progress: bool = True) -> CrystalSet:
    """Crystals of a run: loaded and written, or read again where that was done before.

    Parameters
    ----------
    settings : CrystalSettings
        See :func:`load_crystals`.
    run : Run
        Whose ``crystals.parquet`` and ``skipped.json``.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    CrystalSet

    Raises
    ------
    UserError
        As :func:`load_crystals`, or the files cannot be written.
    """
    identity = _identify(settings)
    same = CRYSTALS.is_same(made_from.read(run.crystals), identity)
    found = read_again(run) if same else None
    if found is None:
        found = load_crystals(settings, progress)
        if not identity["inputs"]["sources"]:
            # What was fetched for them is there only now.
            identity = _identify(settings)
        write_crystals(found, run, identity)
    return found


def _identify(settings: CrystalSettings) -> dict[str, dict]:
    """What crystals of these settings are made from, as it is on disk now."""
    if settings.crystals == EMBEDDED:
        content = EMBEDDED
    elif settings.crystals == MATERIALS_PROJECT:
        content = _digest(cache_path())
    else:
        content = _digest(Path(settings.crystals).expanduser())
    others = settings.model_dump(mode="json", exclude={"crystals"})
    return CRYSTALS.identify(others, {"sources": content})


def _digest(path: Path) -> str:
    """Of a file, or of all CIFs of a folder with their names; empty where there is none."""
    # By its content: a copy of the file, or the same file fetched again, is no other table.
    if path.is_file():
        return file_sha256(path)
    named = [(str(p.relative_to(path)), _digest(p)) for p in list_cifs(path)]
    return hashlib.sha256(repr(named).encode()).hexdigest() if named else ""

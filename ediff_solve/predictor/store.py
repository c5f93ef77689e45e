"""Predictors on disk: a folder with a model card and a file of boosters for each kind of question.

``card.json`` says what the predictor was trained on, how well it does, and the checksums of the
other files, which are numpy archives of plain arrays. Nothing in them is executed, and they do not
depend on the versions of what they were trained with.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from ediff_solve.predictor.boosting import Booster, SpaceGroupModel
from ediff_solve.predictor.evidence import NAMES, VERSION
from ediff_solve.predictor.trees import check_trees
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write

#: One pattern on its own, and several of one crystal.
KINDS = ("single", "several")
#: What limits are fitted for: also one pattern that shows one zone alone.
LIMITS = (*KINDS, "zone")
#: Counts up when files of an older program can no longer be understood.
FORMAT = 2
CARD = "card.json"
#: What the numbers that trees ask for are called.
_FEATURES = hashlib.sha256("\n".join(NAMES).encode()).hexdigest()
#: What a card must say for the predictor to be understood.
_CURRENT = {"format": FORMAT, "features": _FEATURES, "evidence": VERSION}
_PACKAGES = ("ediff-utils", "lightgbm", "numpy", "scipy", "numba")


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.npz"


def _pack(name: str, booster: Booster) -> dict[str, np.ndarray]:
    own = {"classes": booster.classes, "temperature": np.array(booster.temperature)}
    if booster.trees is not None:
        own |= booster.trees._asdict()
    return {f"{name}.{key}": array for key, array in own.items()}


def _unpack(name: str, arrays: Mapping[str, np.ndarray]) -> Booster:
    start = f"{name}."
    own = {key.removeprefix(start): a for key, a in arrays.items() if key.startswith(start)}
    classes, temperature = own.pop("classes"), float(own.pop("temperature"))
    if not own and len(classes) == 1:
        return Booster(None, classes, temperature)
    return Booster(check_trees(own, len(NAMES), len(classes)), classes, temperature)


def _write(model: SpaceGroupModel) -> bytes:
    """The same model is the same file: a numpy archive has no times in it."""
    arrays = _pack("system", model.system)
    for k, booster in model.groups.items():
        arrays |= _pack(f"group {k}", booster)
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    return archive.getvalue()


def _read(data: bytes) -> SpaceGroupModel:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    system = _unpack("system", arrays)
    groups = {int(k): _unpack(f"group {k}", arrays) for k in system.classes}
    return SpaceGroupModel(system, groups)


def save_models(models: dict[str, SpaceGroupModel], card: dict, folder: Path) -> None:
    """Write a predictor, models by kind; its card last, so that a folder with a card is whole.

    Format, features, versions and checksums are added to the card. A UserError where the files
    cannot be written.
    """
    digests = {}
    for kind, model in models.items():
        data = _write(model)
        with atomic_write(_file(folder, kind)) as partial:
            partial.write_bytes(data)
        digests[kind] = hashlib.sha256(data).hexdigest()
    card = card | {
        **_CURRENT,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "sha256": digests,
    }
    write_card(card, folder)


def write_card(card: dict, folder: Path) -> None:
    """Write a predictor's card, whose format, features, versions and checksums are there already.

    A UserError where the file cannot be written.
    """
    with atomic_write(Path(folder) / CARD) as partial:
        partial.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _is_complete(card: object) -> bool:
    """Whether a card has what an answer needs, and of the right kind."""
    if not isinstance(card, dict) or not {"format", "packages", "sha256"} <= set(card):
        return False
    parts = (card["packages"], card["sha256"])
    if not all(isinstance(part, dict) for part in parts):
        return False
    for name in ("thresholds", "least_indexed"):
        own = card.get(name, dict.fromkeys(LIMITS, 0.0))
        if not isinstance(own, dict) or not set(LIMITS) <= set(own):
            return False
        if not all(isinstance(value, int | float) for value in own.values()):
            return False
    return set(card["sha256"]) == set(KINDS)


def read_card(folder: Path) -> dict:
    """Read a predictor's card.

    A UserError where there is none, or it is damaged, or of another version of the program.
    """
    path = Path(folder) / CARD
    if not path.exists():
        raise UserError(f"{path}: no predictor there; expected a folder with a model card")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        complete = _is_complete(card)
    except (ValueError, TypeError, OSError, RecursionError):
        complete = False
    if not complete:
        raise UserError(f"{path}: damaged; expected a model card in JSON")
    if any(card.get(name) != value for name, value in _CURRENT.items()):
        own = metadata.version("ediff-utils")
        made = card["packages"].get("ediff-utils", "unknown")
        raise UserError(f"{path}: made by version {made}, which {own} cannot use; train it again")
    return card


def load_models(folder: Path) -> tuple[dict[str, SpaceGroupModel], dict]:
    """Read a predictor: its models by kind, and its card.

    A UserError as :func:`read_card`, or where a file is missing, cut short or not the one that the
    card speaks of.
    """
    folder = Path(folder)
    card = read_card(folder)
    models = {}
    for kind, digest in card["sha256"].items():
        path = _file(folder, kind)
        if not path.exists():
            raise UserError(f"{path}: missing; expected beside {CARD}")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise UserError(f"{path}: cut short, changed, or not the one that {CARD} speaks of")
        try:
            models[kind] = _read(data)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            raise UserError(f"{path}: not a predictor's boosters; train it again") from None
    return models, card

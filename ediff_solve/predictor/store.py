"""Predictors on disk: a folder with a model card and a file of boosters for each kind of question.

``card.json`` says what the predictor was trained on, how well it does, and the checksums of the
other files, which are gzipped JSON around LightGBM's own text. Nothing in them is executed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from importlib import metadata
from pathlib import Path

import lightgbm
import numpy as np

from ediff_solve.predictor.boosting import Booster, SpaceGroupModel, shorten
from ediff_solve.predictor.evidence import NAMES, VERSION
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import atomic_write

#: One pattern on its own, and several of one crystal.
KINDS = ("single", "several")
#: Counts up when files of an older program can no longer be understood.
FORMAT = 1
CARD = "card.json"
#: What the numbers that trees ask for are called.
_FEATURES = hashlib.sha256("\n".join(NAMES).encode()).hexdigest()
#: What a card must say for the predictor to be understood.
_CURRENT = {"format": FORMAT, "features": _FEATURES, "evidence": VERSION}
_PACKAGES = ("ediff-utils", "lightgbm", "numpy", "scipy", "numba")


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.json.gz"


def _pack(booster: Booster) -> dict:
    return {
        "classes": booster.classes.tolist(),
        "temperature": booster.temperature,
        "model": None if booster.model is None else shorten(booster.model.model_to_string()),
    }


def _unpack(packed: dict) -> Booster:
    text = packed["model"]
    model = None if text is None else lightgbm.Booster(model_str=text, params={"verbosity": -1})
    if model is not None and model.num_feature() != len(NAMES):
        raise ValueError("another number of features")
    return Booster(model, np.array(packed["classes"]), float(packed["temperature"]))


def save_models(models: dict[str, SpaceGroupModel], card: dict, folder: Path) -> None:
    """Write a predictor, models by kind; its card last, so that a folder with a card is whole.

    Format, features, versions and checksums are added to the card. A UserError where the files
    cannot be written.
    """
    digests = {}
    for kind, model in models.items():
        packed = {
            "system": _pack(model.system),
            "groups": {str(k): _pack(booster) for k, booster in model.groups.items()},
        }
        # Without a time in its head the same model is the same file.
        data = gzip.compress(json.dumps(packed).encode(), compresslevel=9, mtime=0)
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


def read_card(folder: Path) -> dict:
    """Read a predictor's card.

    A UserError where there is none, or it is damaged, or of another version of the program.
    """
    path = Path(folder) / CARD
    if not path.exists():
        raise UserError(f"{path}: no predictor there; expected a folder with a model card")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        complete = {"format", "packages", "sha256"} <= set(card)
    except (ValueError, TypeError, OSError):
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
            packed = json.loads(gzip.decompress(data))
            groups = {int(k): _unpack(booster) for k, booster in packed["groups"].items()}
            models[kind] = SpaceGroupModel(_unpack(packed["system"]), groups)
        except (OSError, EOFError, ValueError, KeyError, TypeError, lightgbm.basic.LightGBMError):
            raise UserError(f"{path}: not a predictor's boosters; train it again") from None
    return models, card

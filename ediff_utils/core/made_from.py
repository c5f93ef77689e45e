"""What a file was made from, and whether it can be used again.

A stage writes down beside its results the settings, the inputs and the code that they were made
from: its identity. Results whose identity is the one that is wanted are used again; others are made
again, and a line on stderr says why. Of the code only what can change a number counts: the stage's
own modules and all that these import from the project's packages, without comments, docstrings,
layout and annotations.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ediff_utils.core.files import file_sha256

#: Parts of an identity by their names: settings, inputs, code and whatever else a stage has.
Identity = Mapping[str, Mapping[str, Any]]

#: Set to "use" it lets results of other code pass.
OLD_CODE = "EDIFF_OLD_CODE"
#: Where the packages lie, installed or not.
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("ediff_utils", "ediff_solve")
#: Modules that carry, check and report but make no number; values of settings count by themselves.
_NEUTRAL = {
    f"ediff_utils.core.{name}"
    for name in ("errors", "files", "made_from", "paths", "progress", "settings", "workers")
} | {"ediff_utils", "ediff_utils.core", "ediff_solve"}
#: Entry of a JSON file that holds the identity of what it goes with.
KEY = "made_from"
_METADATA = b"ediff_made_from"
#: Kinds of nodes of a syntax tree, with those of their fields that change what the code does.
_FIELDS = {
    kind: [
        field
        for field in kind._fields
        if field not in ("annotation", "returns", "type_comment", "kind", "simple", "ctx")
    ]
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


@dataclass(frozen=True)
class Stage:
    """A step whose results are kept."""

    #: Of what it makes, in the plural, as lines on stderr have it.
    name: str
    #: Those that make it; what they import is found.
    modules: tuple[str, ...]
    #: Where the search ends: those that made the inputs, or have no part in the results.
    without: tuple[str, ...] = ()

    def code(self) -> dict[str, str]:
        """Digests of all modules that the results depend on, by name."""
        found: dict[str, str] = {}
        waiting = list(self.modules)
        while waiting:
            name = waiting.pop(0)
            if name in found or name in self.without or name in _NEUTRAL:
                continue
            found[name], imported = _read_module(name, _ROOT)
            waiting += imported
        return found

    def identify(
        self, settings: Mapping[str, object], inputs: Mapping[str, str], **others: Mapping
    ) -> dict[str, dict]:
        """Identity of the results to be made, of all that they depend on.

        Settings and ``others`` are ready for JSON. Of each input, by its name in the plural, there
        is a digest, empty where it cannot be told from others.
        """
        found = {"settings": settings, "inputs": inputs, **others, "code": self.code()}
        return json.loads(json.dumps(found))

    def why_not(self, found: Identity, wanted: Identity) -> str:
        """Why results that are there cannot be used again; empty where they can.

        Only the parts of ``wanted`` are looked at; ``found`` is empty where there are none.
        """
        reason = _explain(found, wanted)
        if reason and os.environ.get(OLD_CODE) == "use" and differ_in_code(found, wanted):
            _say(f"{self.name}: used again by {OLD_CODE}=use, though {reason}")
            return ""
        return reason

    def which_same(self, found: Sequence[Identity | None], wanted: Identity) -> list[bool]:
        """Which of several results can be used again; says on stderr why others cannot.

        Of what is not there the identity is None.
        """
        reasons = [None if one is None else self.why_not(one, wanted) for one in found]
        for reason in dict.fromkeys(filter(None, reasons)):
            _say(f"{self.name}: made again, since {reason}")
        return [reason == "" for reason in reasons]

    def is_same(self, found: Identity | None, wanted: Identity) -> bool:
        """Whether results can be used again; see :meth:`which_same`."""
        return self.which_same([found], wanted)[0]

    def note_old(self, found: Identity) -> None:
        """Say on stderr where results that are read were made by other code than there is."""
        reason = _explain(found, {"code": self.code()})
        if reason and os.environ.get(OLD_CODE) != "use":
            _say(f"{self.name}: read as they are, though {reason}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def digest(identity: Identity) -> str:
    """One name for an identity, to be an input of the next stage."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differ_in_code(found: Identity, wanted: Identity) -> bool:
    """Whether nothing but the code differs."""
    return not _explain(found, {name: part for name, part in wanted.items() if name != "code"})


def _explain(found: Identity, wanted: Identity) -> str:
    """Why one identity lacks the parts of another, in words for the user; empty if it does not."""
    if not found:
        return "what is there does not say what it was made from"
    reasons = []
    for part, values in wanted.items():
        own = found.get(part)
        if not isinstance(own, Mapping):
            reasons.append(f"what is there does not say its {part}")
            continue
        names = [name for name in {**values, **own} if own.get(name) != values.get(name)]
        if names:
            reasons.append(_describe(part, names))
    blank = [name for name, value in wanted.get("inputs", {}).items() if not value]
    if blank and not reasons:
        # Without a digest they are never known to be the same.
        reasons = [f"{' and '.join(blank)} are not known"]
    return "; ".join(reasons)


def _describe(part: str, names: Sequence[str]) -> str:
    if part == "inputs":
        return f"{' and '.join(names)} are others"
    if part != "code":
        return f"{part} differ: {', '.join(names)}"
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{others} {'have' if others else 'has'} changed"


def read(path: Path) -> dict | None:
    """Identity in a Parquet or JSON file; None where there is no file, empty where it has none."""
    if not path.exists():
        return None
    try:
        if path.suffix == ".json":
            return dict(json.loads(path.read_text(encoding="utf-8"))[KEY])
        return dict(json.loads((pq.read_schema(path).metadata or {})[_METADATA]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return {}


def metadata(identity: Identity | None) -> dict[bytes, bytes]:
    """What goes into the metadata of a Parquet file for :func:`read`."""
    return {_METADATA: json.dumps(identity).encode() if identity else b""}


@cache
def _read_module(name: str, root: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's code, and the modules of the packages that it imports."""
    path = _find(name, root)
    if path is None:
        raise ValueError(f"{name}: no such module under {root}")
    words: list[str] = []
    imported: dict[str, None] = {}
    stack: list[Any] = [ast.parse(path.read_bytes())]
    # By hand, since a stage waits for thousands of lines to be read.
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is list:
            kept = [item for item in node if not _is_silent(item)]
            words.append(str(len(kept)))
            stack += kept
        elif kind is ast.AnnAssign and node.value is not None:
            stack.append(ast.Assign([node.target], node.value))
        elif kind in _FIELDS:
            words.append(kind.__name__)
            stack += [getattr(node, field, None) for field in _FIELDS[kind]]
            if kind is ast.Import or kind is ast.ImportFrom:
                imported.update(dict.fromkeys(_imported(node, root)))
        else:
            words.append(repr(node))
            if kind is str and "/" in node[:100] and (path.parent / node[:100]).is_file():
                # A table of the package that the module reads.
                words.append(file_sha256(path.parent / node))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16], tuple(imported)


def _is_silent(node: object) -> bool:
    """Docstrings, what only a type checker sees, and what does nothing."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass)


def _imported(node: ast.Import | ast.ImportFrom, root: Path) -> list[str]:
    """Modules of the packages that a statement imports, or imports from."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    own = [name for name in names if name.split(".")[0] in _PACKAGES]
    return [name for name in own if _find(name, root)]


@cache
def _find(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None

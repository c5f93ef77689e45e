"""What counts as code, and why results are made again."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ediff_utils.core import made_from
from ediff_utils.core.made_from import OLD_CODE, Stage, digest, metadata, read

STAGE = Stage("things", ("ediff_utils.first",))


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Write modules of a package, each time to a new folder; gives what counts as their code."""
    trees = []

    def write(numbers: str = "1", **modules: str) -> dict[str, str]:
        root = tmp_path / str(len(trees))
        trees.append(root)
        for name, text in modules.items():
            # Two underscores for a folder, as for ``room__init``.
            *folders, name = name.split("__")
            path = root.joinpath("ediff_utils", *folders)
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{'__init__' if name == 'init' else name}.py").write_text(text)
        (root / "ediff_utils" / "numbers.csv").write_text(numbers)
        monkeypatch.setattr(made_from, "_ROOT", root)
        return STAGE.code() if "first" in modules else {}

    return write


SOURCE = '''"""First."""
from __future__ import annotations
from typing import TYPE_CHECKING
from dataclasses import dataclass
if TYPE_CHECKING:
    from ediff_utils.second import B
A = 3
@dataclass
class C:
    """A class."""
    x: int
    y: float = 2.0
def f(a: int, *, b: str = "s") -> int:
    """A function."""
    return [a + A, b, -1j][0]
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A = 3\n", "# three\nA = 3  # it is\n\n\n"),
        ('"""First."""\n', '"""Another."""\n'),
        ('    """A class."""\n', ""),
        ('    """A function."""\n', '    """Another."""\n\n'),
        ("a: int, *, b: str = ", "a, *, b="),
        (" -> int", ""),
        ("    x: int\n", "    x: float\n"),
        ("    y: float = 2.0\n", "    y = 2.0\n"),
        ('[a + A, b, -1j]', '[\n        (a + A),\n        b,\n        -1j,\n    ]'),
        ('"s"', "'s'"),
        ("    from ediff_utils.second import B\n", "    from ediff_utils.third import B\n"),
    ],
)  # fmt: skip
def test_what_does_not_count(packages, before, after):
    assert SOURCE.count(before) == 1
    assert packages(first=SOURCE) == packages(first=SOURCE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A = 3", "A = 4"),
        ("A = 3", "A = 3.0"),
        ("2.0", "2.5"),
        ('"s"', '"t"'),
        ("a + A", "a - A"),
        ("a + A", "A + a"),
        ("-1j", "1j"),
        ("*, b", "b"),
        ("@dataclass\n", ""),
        ("    x: int\n", ""),
        ("    x: int\n", "    z: int\n"),
        ("[a + A, b, -1j]", "[a + A, [b, -1j]]"),
        ("import dataclass", "import field as dataclass"),
        ("def f", "async def f"),
    ],
)
def test_what_counts(packages, before, after):
    assert SOURCE.count(before) == 1
    assert packages(first=SOURCE) != packages(first=SOURCE.replace(before, after))


class TestImports:
    @pytest.mark.parametrize(
        "line",
        [
            "import ediff_utils.room.second",
            "from ediff_utils.room.second import x",
            "from ediff_utils.room import second",
            "def f():\n    from ediff_utils.room import second as other",
            "try:\n    import ediff_utils.room.second as other\nexcept ImportError:\n    pass",
        ],
    )
    def test_they_are_followed(self, packages, line):
        rest = {"room__init": "", "room__second": "import ediff_utils.third"}
        found = packages(first=line, **rest, third="x = 1")
        assert next(iter(found)) == "ediff_utils.first"
        assert {"ediff_utils.room.second", "ediff_utils.third"} <= set(found)
        other = packages(first=line, **rest, third="x = 2")
        assert [name for name in found if found[name] != other[name]] == ["ediff_utils.third"]

    def test_a_package_stands_for_what_it_imports(self, packages):
        init = "from ediff_utils.room.second import x"
        found = packages(
            first="from ediff_utils.room import x", room__init=init, room__second="x = 1"
        )
        assert set(found) == {
            "ediff_utils.first",
            "ediff_utils.room",
            "ediff_utils.room.second",
        }

    def test_circles_and_the_end_of_the_search(self, packages):
        packages(
            first="import ediff_utils.second, numpy, ediff_utils.core.errors",
            second="import ediff_utils.first, ediff_utils.third",
            third="import ediff_utils.fourth",
            fourth="",
            core__errors="",
        )
        assert set(Stage("things", ("ediff_utils.first",), ("ediff_utils.third",)).code()) == {
            "ediff_utils.first",
            "ediff_utils.second",
        }

    def test_a_module_that_is_not_there(self, packages):
        packages(second="")
        with pytest.raises(ValueError, match=r"ediff_utils\.first: no such module"):
            STAGE.code()

    def test_a_table_that_a_module_reads(self, packages):
        text = 'table = "./numbers.csv"'
        assert packages(first=text) == packages(first=text)
        assert packages(first=text) != packages("2", first=text)


# --- reasons --------------------------------------------------------------------------------------
WANTED = {
    "settings": {"size": 1, "shape": "round"},
    "inputs": {"patterns": "abc"},
    "packages": {"numpy": "1"},
    "code": {"ediff_utils.first": "1", "ediff_utils.second": "2"},
}


@pytest.mark.parametrize(
    ("part", "values", "reason"),
    [
        ("settings", {"size": 2, "shape": "round"}, "settings differ: size"),
        ("settings", {"shape": "flat"}, "settings differ: size, shape"),
        ("settings", WANTED["settings"] | {"old": 1}, "settings differ: old"),
        ("inputs", {"patterns": "abd"}, "patterns are others"),
        ("packages", {"numpy": "2"}, "packages differ: numpy"),
        ("code", WANTED["code"] | {"ediff_utils.second": "3"}, "ediff_utils.second has changed"),
        ("code", {"ediff_utils.first": "1"}, "ediff_utils.second has changed"),
        ("code", {}, "ediff_utils.first and 1 more have changed"),
        ("code", None, "what is there does not say its code"),
        ("settings", 3, "what is there does not say its settings"),
    ],
)
def test_reasons(part, values, reason):
    assert made_from._explain(WANTED, WANTED) == ""
    assert made_from._explain(WANTED | {"finished": True}, WANTED) == ""
    assert made_from._explain(WANTED | {part: values}, WANTED) == reason
    assert made_from._explain({}, WANTED) == "what is there does not say what it was made from"


def test_several_reasons():
    found = WANTED | {"settings": {"size": 2, "shape": "round"}, "inputs": {"patterns": "x"}}
    assert made_from._explain(found, WANTED) == "settings differ: size; patterns are others"


def test_an_input_that_is_not_known_is_never_the_same():
    unknown = WANTED | {"inputs": {"patterns": ""}}
    assert made_from._explain(unknown, unknown) == "patterns are not known"


def test_lines_on_stderr(capsys, monkeypatch):
    changed = WANTED | {"code": {"ediff_utils.first": "1", "ediff_utils.second": "0"}}
    resized = WANTED | {"settings": {"size": 2, "shape": "round"}}
    assert not STAGE.is_same(None, WANTED)
    assert STAGE.is_same(WANTED, WANTED)
    assert capsys.readouterr().err == ""
    assert STAGE.which_same([changed, None, WANTED, changed, resized], WANTED) == [
        *(False, False, True, False, False)
    ]
    # Each reason once.
    assert capsys.readouterr().err == (
        "things: made again, since ediff_utils.second has changed\n"
        "things: made again, since settings differ: size\n"
    )
    monkeypatch.setenv(OLD_CODE, "use")
    assert STAGE.which_same([changed, resized], WANTED) == [True, False]
    assert capsys.readouterr().err == (
        "things: used again by EDIFF_OLD_CODE=use, though ediff_utils.second has changed\n"
        "things: made again, since settings differ: size\n"
    )


def test_old_results_that_are_read(capsys, monkeypatch, packages):
    code = packages(first="x = 1")
    STAGE.note_old({"settings": {}, "code": code})
    assert capsys.readouterr().err == ""
    packages(first="x = 2")
    STAGE.note_old({"settings": {}, "code": code})
    line = "things: read as they are, though ediff_utils.first has changed\n"
    assert capsys.readouterr().err == line
    STAGE.note_old({})
    assert "does not say what it was made from\n" in capsys.readouterr().err
    monkeypatch.setenv(OLD_CODE, "use")
    STAGE.note_old({"settings": {}, "code": code})
    assert capsys.readouterr().err == ""


# --- files ----------------------------------------------------------------------------------------
def test_identities_come_back_from_files(tmp_path, packages):
    packages(first="")
    identity = STAGE.identify({"sizes": (1, 2)}, {"patterns": "abc"}, others={"a": None})
    assert identity["settings"] == {"sizes": [1, 2]}
    table = pa.table({"x": [1]}).replace_schema_metadata(metadata(identity))
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == identity
    (tmp_path / "a.json").write_text(json.dumps({"made_from": identity, "x": 1}))
    assert read(tmp_path / "a.json") == identity
    assert digest(identity) == digest(read(tmp_path / "a.json"))
    assert digest(identity) != digest(identity | {"inputs": {}})


def test_files_that_do_not_say(tmp_path):
    assert read(tmp_path / "a.parquet") is None
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"x": [1]}).replace_schema_metadata(metadata(None)), tmp_path / "b.parquet"
    )
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    for number, text in enumerate(("", "[]", "{}", '{"made_from": 3}')):
        (tmp_path / f"{number}.json").write_text(text)
    assert [read(path) for path in sorted(tmp_path.iterdir())] == [{}] * 7

"""The real Materials Project client against a server of this test's own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from pymatgen.core import Lattice, Structure

from ediff_utils.core import paths
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals import materials_project
from ediff_utils.crystals.sources import load_crystals

pytest.importorskip("mp_api")


KEY = "k" * 32
N = 7
CHUNK = 3


def make_documents():
    documents = {}
    for i in range(N):
        structure = Structure(Lattice.cubic(4 + 0.1 * i), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
        documents[f"mp-{i + 1}"] = {
            "material_id": f"mp-{i + 1}",
            "formula_pretty": "CsCl",
            "structure": structure.as_dict(),
            "theoretical": False,
        }
    theoretical = {**documents["mp-1"], "material_id": "mp-99", "theoretical": True}
    return {**documents, "mp-99": theoretical}


class Server(ThreadingHTTPServer):
    """Answers as the Materials Project does, and remembers what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.documents = make_documents()
        self.asked = []
        self.fails_after = None
        self.max_limit = 1000

    @property
    def chunks(self):
        return [sorted(q["material_ids"].split(",")) for q in self.asked if "material_ids" in q]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/heartbeat":
            self.server.asked.append({"path": url.path})
            version = {"version": "0.87.0", "db_version": "2026.01.01"}
            self.answer(200, {"status": "OK", **version, "access_controlled_batch_ids": []})
            return
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.server.asked.append({"path": url.path, **query})
        if self.headers.get("x-api-key") != KEY:
            self.answer(403, {"message": "Invalid authentication credentials"})
        elif url.path.rstrip("/") != "/materials/summary":
            self.answer(404, {"detail": "Not Found"})
        elif (
            self.server.fails_after is not None
            and len(self.server.chunks) > self.server.fails_after
        ):
            self.answer(500, {"detail": "Internal Server Error"})
        else:
            self.answer(200, self.find(query))

    def find(self, query):
        found = list(self.server.documents.values())
        if "theoretical" in query:
            wanted = query["theoretical"].lower() == "true"
            found = [d for d in found if d["theoretical"] is wanted]
        if "material_ids" in query:
            found = [d for d in found if d["material_id"] in query["material_ids"].split(",")]
        start, limit = (
            int(query.get("_skip", 0)),
            min(int(query.get("_limit", 100)), self.server.max_limit),
        )
        fields = query.get("_fields", "material_id").split(",")
        page = [{f: d[f] for f in fields} for d in found[start : start + limit]]
        return {"data": page, "meta": {"total_doc": len(found), "max_limit": 1000}}


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(materials_project, "_CHUNK", CHUNK)
    monkeypatch.setattr(materials_project, "_PAGE", 4)
    for name in (
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("MP_API_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("MP_API_KEY", KEY)
        yield server
        server.shutdown()
        thread.join()


def load(**values):
    return load_crystals(CrystalSettings(crystals="materials-project", **values), progress=False)


def test_fetch(server):
    crystals = load()
    assert list(crystals.table["material_id"]) == [f"mp-{i + 1}" for i in range(N)]
    assert crystals.table["a"].to_list() == pytest.approx([4 + 0.1 * i for i in range(N)])
    assert set(crystals.table["space_group"]) == {221}
    assert set(crystals.table["source"]) == {"materials-project"}
    assert crystals.skipped.empty
    assert [len(chunk) for chunk in server.chunks] == [3, 3, 1]
    questions = [q for q in server.asked if "material_ids" in q]
    assert {q["_fields"] for q in questions} == {"material_id,structure,formula_pretty"}
    listing = [q for q in server.asked if "theoretical" in q]
    assert {q["theoretical"].lower() for q in listing} == {"false"}
    assert [q["_fields"] for q in listing if "_fields" in q] == ["material_id"] * 2  # two pages


def test_cached_table_needs_neither_server_nor_key(server, monkeypatch):
    first = load()
    server.asked.clear()
    monkeypatch.delenv("MP_API_KEY")
    second = load()
    assert server.asked == []
    assert second.table.equals(first.table)
    # nothing but the table is left behind
    assert [p.name for p in paths.CACHE.iterdir()] == ["materials-project.parquet"]


def test_interrupted_fetch_is_resumed(server):
    server.fails_after = 2
    with pytest.raises(UserError, match=r"Materials Project: no usable answer.*500"):
        load()
    assert not materials_project.cache_path().exists()
    got = server.chunks[:2]
    server.fails_after = None
    server.asked.clear()
    assert len(load().table) == N
    assert len(server.chunks) == 1
    assert sorted(name for chunk in [*got, *server.chunks] for name in chunk) == sorted(
        f"mp-{i + 1}" for i in range(N)
    )
    assert not any("theoretical" in q for q in server.asked)


def test_damaged_list_is_fetched_again(server):
    server.fails_after = 1
    with pytest.raises(UserError):
        load()
    (listing,) = paths.CACHE.glob("*/materials.json")
    listing.write_text('{"material_ids": ["mp-')
    server.fails_after = None
    assert len(load().table) == N


def test_crystal_without_structure_is_listed(server):
    server.documents["mp-2"]["structure"] = None
    crystals = load()
    assert len(crystals.table) == N - 1
    assert crystals.skipped.to_dict("records") == [{"material_id": "mp-2", "reason": "no sites"}]


def test_crystal_that_is_listed_but_not_served(server):
    server.fails_after = 0
    with pytest.raises(UserError):
        load()
    server.fails_after = None
    del server.documents["mp-3"]
    crystals = load()
    assert len(crystals.table) == N - 1
    assert crystals.skipped.to_dict("records") == [{"material_id": "mp-3", "reason": "no sites"}]


def test_incomplete_list_is_noticed(server):
    server.max_limit = 2
    with pytest.raises(UserError, match="listed 4 of 7 crystals"):
        load()


def test_sample(server):
    assert len(load(max_crystals=4).table) == 4


def test_refused_key(server, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "x" * 32)
    with pytest.raises(UserError, match="MP_API_KEY: the Materials Project refuses this key"):
        load()


def test_key_of_the_wrong_length(server, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "short")
    with pytest.raises(UserError, match="MP_API_KEY: the Materials Project refuses this key"):
        load()


@pytest.mark.parametrize("key", [None, "", "  "])
def test_missing_key(server, monkeypatch, key):
    monkeypatch.delenv("MP_API_KEY")
    if key is not None:
        monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(UserError, match=r"MP_API_KEY: not set;.*materialsproject\.org.*export"):
        load()
    assert server.asked == []


def test_no_server(server, monkeypatch):
    # nothing listens on the discard port
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    with pytest.raises(UserError, match="Materials Project: no usable answer") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_no_crystals(server):
    server.documents.clear()
    with pytest.raises(UserError, match="knows of no observed crystals"):
        load()

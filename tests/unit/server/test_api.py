from __future__ import annotations

import base64
import math
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from qcov.classical.status import Status
from qcov.errors import KeyTaken, ServerBusy, error_class

if TYPE_CHECKING:
    from conftest import MemoryEngine, Server


def test_dispatches_are_paged_filtered_and_found(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    for number in range(5):
        engine.store.add(f"id{number}", status="FAILED" if number == 2 else "COMPLETED")
    engine.store.add("child", parent_id="id1", name="inner")

    page = client.get("/api/v1/dispatches", params={"limit": 2, "offset": 1}).json()
    assert [row["id"] for row in page["items"]] == ["id3", "id2"]
    assert page["total"] == 5

    failed = client.get("/api/v1/dispatches", params={"status": "FAILED"}).json()
    assert [row["id"] for row in failed["items"]] == ["id2"]

    found = client.get("/api/v1/dispatches", params={"search": "inner"}).json()
    assert [row["id"] for row in found["items"]] == ["child"]


def test_dispatches_and_nodes_are_sorted_and_chosen(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    nodes = [{"status": "FAILED"}, {"status": "COMPLETED", "kind": "parameter"}, {}]
    engine.store.add("d", nodes=nodes, status="FAILED")
    engine.store.add("e", status="RUNNING")

    asked = "status=FAILED&status=RUNNING&created_after=5&created_before=2e3&sort=-duration"
    page = client.get(f"/api/v1/dispatches?{asked}").json()
    assert (page["total"], engine.store.asked) == (
        2,
        {"after": 5.0, "before": 2000.0, "sort": "-duration"},
    )

    def found(query: str) -> list[int]:
        page = client.get(f"/api/v1/dispatches/d/nodes?{query}").json()
        assert page["total"] == len(page["items"])
        return [node["node_id"] for node in page["items"]]

    assert found("status=FAILED&status=PENDING") == [0, 2]
    assert found("kind=parameter") == [1]
    assert found("search=task 2&sort=-name") == [2]
    assert engine.store.asked == {"sort": "-name"}
    assert found("node_id=1") == [1]
    assert found("node_id=77") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "offset=-1", "sort=key", "statsu=x", "created_after=nan"],
)
def test_a_wrong_query_is_a_problem(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/dispatches?{query}")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:qcov:error:InvalidRequest"
    name, _, value = query.partition("=")
    assert answer.json()["detail"].startswith(f"query.{name}: ")
    assert answer.json()["detail"].endswith(f", not '{value}'")


def test_an_unknown_status_is_told_which_there_are(client: httpx.Client) -> None:
    answer = client.get("/api/v1/dispatches?status=junk")

    assert answer.status_code == 422
    assert all(f"'{status}'" in answer.json()["detail"] for status in Status)


PROBLEMS: dict[str, tuple[int, str, Callable[[httpx.Client], httpx.Response]]] = {
    "body": (422, "InvalidRequest", lambda client: client.post(DISPATCHES, json=[1])),
    "manifest": (422, "InvalidRequest", lambda client: client.post(DISPATCHES, json={"a": 1})),
    "blobs": (422, "InvalidRequest", lambda client: client.post(DISPATCHES, json={"blobs": 1})),
    "no JSON": (415, "InvalidRequest", lambda client: client.post(DISPATCHES, content=b"x")),
    "method": (405, "InvalidRequest", lambda client: client.request("TRACE", DISPATCHES)),
    "host": (
        421, "InvalidRequest", lambda client: client.get(DISPATCHES, headers={"host": "evil"}),
    ),
    "site": (
        403, "AccessRefused",
        lambda client: client.get(DISPATCHES, headers={"origin": "http://evil"}),
    ),
    "token": (
        401, "AccessRefused",
        lambda client: client.get(DISPATCHES, headers={"authorization": "Bearer no"}),
    ),
    "node": (404, "NodeNotFound", lambda client: client.get("/dispatches/a/nodes/7")),
}  # fmt: skip
DISPATCHES = "/api/v1/dispatches"


@pytest.mark.parametrize("what", PROBLEMS)
def test_a_problem_has_a_type_that_programs_know(
    client: httpx.Client, engine: MemoryEngine, what: str
) -> None:
    status, kind, ask = PROBLEMS[what]
    engine.store.add("a")

    answer = ask(client)

    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:qcov:error:{kind}"
    assert error_class(kind).__name__ == kind


def test_a_refused_dispatch_says_why(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.refusal = KeyTaken(key="k", dispatch_id="a", inputs="{}")

    answer = client.post(DISPATCHES, json={"nodes": []})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:qcov:error:KeyTaken"
    assert answer.json()["detail"] == str(engine.refusal)


@pytest.mark.parametrize(
    "below", ["", "/nodes", "/graph", "/circuits", "/circuits/summary", "/wait"]
)
def test_an_unknown_dispatch_is_a_problem(client: httpx.Client, below: str) -> None:
    answer = client.get(f"/api/v1/dispatches/nope{below}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:qcov:error:DispatchNotFound"
    assert "'nope'" in answer.json()["detail"]


def test_one_dispatch_keeps_its_secrets(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", key="private", manifest_seal="seal", result_repr="42")

    answer = client.get("/api/v1/dispatches/a").json()

    assert answer["result_repr"] == "42"
    assert "key" not in answer
    assert "manifest_seal" not in answer


def test_nodes_and_graph(client: httpx.Client, engine: MemoryEngine) -> None:
    nodes = [
        {"name": ":parameter:7", "kind": "parameter"},
        {"name": "f", "status": "COMPLETED", "stdout": "hi\n"},
    ]
    engine.store.add("a", nodes, [(0, 1, "x")])

    page = client.get("/api/v1/dispatches/a/nodes", params={"offset": 1}).json()
    assert page["total"] == 2
    assert page["items"][0]["stdout"] == "hi\n"

    graph = client.get("/api/v1/dispatches/a/graph").json()
    assert [node["label"] for node in graph["nodes"]] == ["7", "f"]
    assert graph["nodes"][0]["y"] < graph["nodes"][1]["y"]
    assert graph["edges"] == [{"source": 0, "target": 1, "label": "x"}]


def test_circuits_are_plain_json(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")
    record = {"node_id": 1, "result": [1.0, math.nan], "raw": b"\x00\xff", "shape": (2, 3)}
    engine.store.circuits["a"] = [record, {"node_id": 2}]

    page = client.get("/api/v1/dispatches/a/circuits", params={"node_id": 1}).json()
    summary = client.get("/api/v1/dispatches/a/circuits/summary").json()

    assert page["items"] == [{"node_id": 1, "result": [1.0, "nan"], "raw": "AP8=", "shape": [2, 3]}]
    assert summary == [{"executor": "Simulator", "device": None, "circuits": 2, "seconds": 1.5}]


def test_a_dispatch_is_submitted(client: httpx.Client, engine: MemoryEngine) -> None:
    blob = base64.b64encode(b"payload").decode()
    manifest = {"nodes": [], "blobs": {"d1": blob}, "spilled": {"d2": 5}}

    answer = client.post("/api/v1/dispatches", json=manifest)

    assert answer.status_code == 201
    assert answer.json() == {"id": "new-id"}
    assert engine.submitted == [{"nodes": [], "blobs": {"d1": b"payload"}, "spilled": {}}]


@pytest.mark.parametrize(
    "manifest",
    [{}, {"nodes": [], "blobs": {"d": "not base64!"}}, {"blobs": [1]}, {"blobs": {"d": 1}}],
)
def test_what_is_not_a_manifest_is_refused(
    client: httpx.Client, engine: MemoryEngine, manifest: object
) -> None:
    answer = client.post("/api/v1/dispatches", json=manifest)

    assert answer.status_code == 422
    assert not engine.submitted


@pytest.mark.parametrize("body", ["", "[", "[1]", '"x"', "{" * 5000])
def test_a_body_that_is_no_object_is_refused(client: httpx.Client, body: str) -> None:
    headers = {"content-type": "application/json"}

    assert client.post("/api/v1/dispatches", content=body, headers=headers).status_code == 422


def test_waiting(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", status="RUNNING")
    engine.store.add("b", status="FAILED")

    assert client.get("/api/v1/dispatches/a/wait?timeout=0").json()["finished"] is False
    assert client.get("/api/v1/dispatches/b/wait").json() == {
        "id": "b", "status": "FAILED", "finished": True, "dispatch": None,
    }  # fmt: skip
    whole = client.get("/api/v1/dispatches/b/wait?whole=true").json()
    assert whole["dispatch"] == client.get("/api/v1/dispatches/b").json()
    assert client.get("/api/v1/dispatches/b/wait?timeout=1e9").status_code == 422


def test_starting_what_was_stored(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", status="NEW_OBJECT")
    assert client.post("/api/v1/dispatches/a/start", json={}).json() == {"id": "a"}
    assert engine.started == [("a", {})]
    assert client.post("/api/v1/dispatches/x/start", json={}).status_code == 404


def test_cancelling(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", status="RUNNING")

    assert client.post("/api/v1/dispatches/a/cancel", json={}).status_code == 200
    assert client.post("/api/v1/dispatches/a/cancel", json={"node_ids": [1]}).status_code == 200
    assert engine.cancelled == [("a", None), ("a", [1])]
    assert client.post("/api/v1/dispatches/a/cancel", json={"nodes": [1]}).status_code == 422
    assert client.post("/api/v1/dispatches/x/cancel", json={}).status_code == 404


def test_the_openapi_document_names_every_verb(client: httpx.Client) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]

    assert "/api/v1/dispatches/{dispatch_id}/graph" in paths
    assert not [path for path in paths if not path.startswith("/api/v1/")]


def test_the_openapi_document_has_examples_of_bodies(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    schemas = client.get("/api/v1/openapi.json").json()["components"]["schemas"]
    engine.store.add("a", status="RUNNING")

    for example in schemas["CancelRequest"]["examples"]:
        assert client.post("/api/v1/dispatches/a/cancel", json=example).status_code == 200
    assert engine.cancelled == [("a", None), ("a", [0, 3])]


def test_a_payload_comes_with_its_digest(engine: MemoryEngine, client: httpx.Client) -> None:
    engine.store.add("d1")

    found = client.get("/api/v1/dispatches/d1/payloads/result")
    missing = client.get("/api/v1/dispatches/d1/payloads/7")

    assert (found.content, found.headers["etag"]) == (b"pickle", f'"{"d" * 64}"')
    assert missing.status_code == 204


def test_progress_counts_electrons(engine: MemoryEngine, client: httpx.Client) -> None:
    engine.store.add("d1", status="RUNNING")

    assert client.get("/api/v1/dispatches/d1/progress").json() == {
        "seq": 0, "status": "RUNNING", "done": 1, "total": 2,
    }  # fmt: skip


def test_delete(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")
    engine.store.add("b", status="RUNNING")
    json = {"content-type": "application/json"}

    assert client.delete("/api/v1/dispatches/a").status_code == 204  # it has no body
    refused = client.delete("/api/v1/dispatches/b", headers=json)

    assert engine.deleted == ["a"]
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:qcov:error:DeletionRefused"
    assert client.delete("/api/v1/dispatches/c", headers=json).status_code == 404


def test_a_status_that_nobody_knows_is_told_each_once(client: httpx.Client) -> None:
    detail = client.get("/api/v1/dispatches?status=x").json()["detail"]

    assert sorted(re.findall("'([A-Z_]+)'", detail)) == sorted(Status)


def test_an_export_that_has_to_wait_is_told_so(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("d")
    engine.refusal = ServerBusy(what="exports are being written", limit=2)
    busy = client.get("/api/v1/dispatches/d/export")
    engine.refusal = None

    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert busy.json()["type"] == "urn:qcov:error:ServerBusy"
    assert "2 exports are being written" in busy.json()["detail"]
    assert client.get("/api/v1/dispatches/d/export").content == b"d"


def test_readers_leave_their_owner_a_place_to_export_at(
    client: httpx.Client, server: Server, engine: MemoryEngine, shared: str, only: str
) -> None:
    """An engine writes two at a time."""
    engine.store.add("mine")
    begun, go_on, write = threading.Semaphore(0), threading.Event(), engine.export

    def slowly(dispatch_id: str, path: Path) -> None:
        begun.release()
        assert go_on.wait(10)
        write(dispatch_id, path)

    def export(token: str) -> httpx.Response:
        head = {"authorization": f"Bearer {token}"}
        return httpx.get(f"{server.url}/api/v1/dispatches/mine/export", headers=head, timeout=15)

    engine.export = slowly
    with ThreadPoolExecutor() as threads:
        held = [threads.submit(export, shared)]
        assert begun.acquire(timeout=10)
        refused = [threads.submit(export, token) for token in (shared, only)]
        told = [one.result(10) for one in refused]
        held.append(threads.submit(export, server.token))
        assert begun.acquire(timeout=10)
        go_on.set()
        assert [one.result(10).content for one in held] == [b"mine", b"mine"]

    assert [one.status_code for one in told] == [503, 503]
    assert "1 export of a reader is being written" in told[0].json()["detail"]
    engine.refusal = ServerBusy(what="exports are being written", limit=2)
    assert export(only).status_code == 503
    engine.refusal = None
    assert export(only).content == b"mine"  # one that was refused counts no more
    del engine.export

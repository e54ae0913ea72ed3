"""The pages of electrons and circuits, over a real store, with text that means no good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qcov.job_entries import Intent
from qcov.journal import Journal
from qcov.store.changes import Changes
from qcov.store.circuits import to_row
from qcov.store.store import Store
from qcov.transport import address
from qcov.wire import pack

if TYPE_CHECKING:
    from conftest import MemoryEngine

EVIL = '"><script>alert(1)</script>\x1b[31m\u202e'
BELL = (
    '{"operations":[["Hadamard",[0],[],null],["CNOT",[0,"<w>"],[],{"control_wires":[0],'
    '"control_values":[true]}],["RX",[0],[[]],null]],"measurements":[["counts",null,[0,"<w>"]]],'
    '"shots":[[100,1]]}'
)
HTML = {"accept": "text/html"}


def node(number: int, **columns: Any) -> dict[str, Any]:
    row = {
        "dispatch_id": "d", "node_id": number, "name": EVIL, "kind": "electron",
        "status": "COMPLETED", "executor": EVIL, "attempt": 3, "value_repr": EVIL,
        "output": None, "output_seal": None,
    }  # fmt: skip
    return row | columns


def circuit(number: int, **fields: Any) -> dict[str, Any]:
    record = {
        "id": f"c{number}", "qelectron": EVIL, "description": EVIL, "executor": EVIL,
        "device": EVIL, "execution_time": 0.001 * number, "structure": "bell",
        "structure_data": BELL, "shots": 100, "wires": 2, "queued": 1.0, "started": 2.0,
        "finished": 3.0, "parameters": [0.25], "result": {"00": 48, "11": 52},
        "job_id": EVIL, "error": None, "cost": {"USD": 0.3}, "metadata": {EVIL: EVIL},
        "attempts": [
            {"executor": EVIL, "number": 1, "started": 1.5, "finished": 1.8, "job_id": None,
             "error": EVIL, "kind": "offline"},
            {"executor": "Simulator", "number": 2, "started": 2.0, "finished": 3.0,
             "job_id": EVIL, "error": None},
        ],
    }  # fmt: skip
    return to_row(record | fields, "d", 0)


MANIFEST: dict[str, Any] = {
    "nodes": [
        {"id": 0, "name": EVIL, "kind": "electron", "function": 0, "executor": 0, "retries": 2,
         "preparation": 0, "args": [1], "kwargs": {"y": 2}},
        {"id": 1, "name": ":parameter:1", "kind": "parameter"},
        {"id": 2, "name": "before", "kind": "electron", "function": 0, "executor": 0},
    ],
    "edges": [[1, 0, "arg[0]"], [2, 0, "y"]],
    "functions": [
        {"digest": "x", "name": "f", "source": f"def f(first, y):\n    return {EVIL!r}\n"}
    ],
    "executors": [
        {"type": "ssh", "attributes": {
            "hostname": EVIL, "api_key": "hunter2", "password": "hunter2", "empty": "",
            "url": "https://user:hunter2@host/path", "nested": {"AWS_SECRET": "hunter2"},
        }},
    ],
    "preparations": [
        {"packages": [EVIL], "before": [{"kind": "DepsBash", "label": EVIL, "keyword": ""}],
         "after": []},
    ],
    "result": {"node": 0},
}  # fmt: skip


@pytest.fixture
def store(engine: MemoryEngine, tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    blob = pack(MANIFEST)
    dispatch = {
        "id": "d", "name": EVIL, "status": "RUNNING", "key": None, "root_id": "d",
        "parent_id": None, "parent_node": None, "created": 1.0, "inputs_repr": "{}",
        "manifest": address(blob), "manifest_seal": store.seal(address(blob), "d", "manifest"),
        "nodes_total": 3, "environment": None,
    }  # fmt: skip
    tried = {"dispatch_id": "d", "node_id": 0, "started": 1.0, "ended": 2.0, "error": EVIL}
    put(
        store,
        {
            "blob": [store.blob_row(address(blob), blob)],
            "dispatch": [dispatch],
            "node": [
                node(0, status="RUNNING"),
                node(1, name=":parameter:1", kind="parameter"),
                node(2, name="before"),
            ],
            "node_attempt": [tried | {"attempt": 1}, tried | {"attempt": 2}],
            "node_printed": [
                {"of_dispatch": "d", "of_node": 0, "of_attempt": 3, "new_stdout": f"1 %\r{EVIL}",
                 "new_stderr": ""}
            ],
            "structure": [{"key": "bell", "text": BELL}],
            "circuit": [circuit(number) for number in range(250)]
            + [circuit(250, error=EVIL, result=None), circuit(251, **UNKEPT)],
        },
    )  # fmt: skip
    engine.store = store  # type: ignore[assignment]
    yield store
    store.close()


UNKEPT = {"structure": None, "structure_data": None, "parameters": None, "result": None}


def put(store: Store, changes: Changes) -> None:
    told: list[object] = []
    done = threading.Event()
    store.put(changes, lambda error: (told.append(error), done.set()))
    assert done.wait(10)
    assert told == [None]


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert tag != "script" or any(name == "src" for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


PAGES = ("/nodes/0", "/nodes/1", "/circuits", "/circuits/c3", "/circuits/c250", "/circuits/c251")


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_stays_text(client: httpx.Client, store: Store, path: str) -> None:
    answer = client.get(f"/dispatches/d{path}", headers=HTML)
    assert answer.status_code == 200

    page = Page(answer.text)
    assert not {"style", "onclick", "onerror"} & set(page.attributes)
    assert "\x1b" not in answer.text
    assert "\u202e" not in answer.text
    assert "alert(1)" in page.text


def test_an_electron(client: httpx.Client, store: Store) -> None:
    answer = client.get("/dispatches/d/nodes/0")
    page = Page(answer.text)

    assert "first" in page.text  # the name of its first argument, from its source
    assert {"/dispatches/d/nodes/1", "/dispatches/d/nodes/2"} <= set(page.links)
    assert "/dispatches/d/circuits?node=0" in page.links
    assert "hunter2" not in answer.text
    assert "https://host/path" in page.text
    assert "1 %" not in page.text  # it was overwritten
    assert 'class="k"' in answer.text  # a keyword, coloured
    assert page.text.count("Failed") == 2
    assert client.get("/dispatches/d/nodes/0/state").text.startswith('<div id="electron"')
    assert client.get("/dispatches/d/nodes/9", headers=HTML).status_code == 404


def test_an_electron_over_rest(client: httpx.Client, store: Store) -> None:
    answer = client.get("/api/v1/dispatches/d/nodes/0")
    found = answer.json()

    assert [one["attempt"] for one in found["attempts"]] == [1, 2]
    assert [(one["argument"], one["node_id"]) for one in found["inputs"]] == [
        ("first", 1),
        ("y", 2),
    ]
    assert found["settings"]["api_key"] == found["settings"]["nested"]["AWS_SECRET"] == "hidden"
    assert "hunter2" not in answer.text
    assert (found["retries"], found["packages"]) == (2, [EVIL])
    assert (
        client.get("/api/v1/dispatches/d/nodes/9").json()["type"] == "urn:qcov:error:NodeNotFound"
    )


def ids(text: str) -> list[str]:
    links = [link.partition("/circuits/")[2] for link in Page(text).links]
    return [link for link in links if link]


def test_windows_of_circuits(client: httpx.Client, store: Store) -> None:
    address, seen, pages = "/dispatches/d/circuits?sort=-time", list[str](), list[str]()
    while address:
        text = client.get(address, headers={"hx-request": "true"}).text
        assert text.startswith('<div id="circuits"')
        pages.append(address)
        seen += ids(text)
        onwards = [link for link in Page(text).links if "after=" in link]
        address = onwards[0] if onwards else ""

    assert seen == [f"c{number}" for number in reversed(range(252))]
    assert len(pages) == 3
    back = [link for link in Page(client.get(pages[-1]).text).links if "before=" in link]
    assert ids(client.get(back[0]).text) == seen[100:200]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=FAILED", ["c250"]),
        ("node=1", []),
        (
            "node=&executor=&status=&sort=-duration",
            [f"c{number}" for number in range(251, 151, -1)],
        ),
        ("executor=other", []),
    ],
)
def test_circuits_are_chosen(
    client: httpx.Client, store: Store, query: str, found: list[str]
) -> None:
    text = client.get(f"/dispatches/d/circuits?{query}").text

    assert ids(text) == found
    assert ("No circuit matches" in text) == (not found)


def test_one_circuit(client: httpx.Client, store: Store) -> None:
    answer = client.get("/dispatches/d/circuits/c3")

    assert {"svg", "rect", "circle", "title"} <= set(Page(answer.text).tags)
    assert "OPENQASM 2.0" in answer.text
    assert "failed over" in answer.text
    assert "$0.30" in answer.text
    found = client.get("/api/v1/dispatches/d/circuits/c3").json()
    assert found["record"]["result"] == {"00": 48, "11": 52}
    assert found["specs"]["depth"] == 3
    assert "RX(0.25)" in found["drawing"]


def test_a_circuit_leads_to_its_job(client: httpx.Client, store: Store, data_folder: Path) -> None:
    assert "/jobs/" not in client.get("/dispatches/d/circuits/c3").text.partition("<main")[2]
    intent = Intent(
        token="f00d" * 8, run="r", part=0, scope="s", dispatch_id="d", node_id=0, provider="P",
        device="q", account="a", keys=["k"], shots=5, estimate={},
    )  # fmt: skip
    data_folder.mkdir(exist_ok=True)
    Journal().intend(intent, {})
    Journal().submitted(intent.token, EVIL)

    assert f'href="/jobs/{intent.token}"' in client.get("/dispatches/d/circuits/c3").text


def test_a_circuit_that_was_not_kept(client: httpx.Client, store: Store) -> None:
    text = client.get("/dispatches/d/circuits/c251").text

    assert "persist_data=False" in text
    assert 'class="circuit"' not in text


def test_a_circuit_that_is_not_there(client: httpx.Client, store: Store) -> None:
    answer = client.get("/api/v1/dispatches/d/circuits/nope")

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:qcov:error:CircuitNotFound")
    assert client.get("/dispatches/d/circuits/nope", headers=HTML).status_code == 404


def test_lists_of_circuits_over_rest(client: httpx.Client, store: Store) -> None:
    address, seen, place = "/api/v1/dispatches/d/circuits", list[str](), None
    while True:
        query = {"sort": "-duration", "limit": 100, "status": "COMPLETED"}
        found = client.get(address, params=query | ({"after": place} if place else {})).json()
        seen += [item["id"] for item in found["items"]]
        place = found["next"]
        if place is None:
            break
    assert found["total"] == len(seen) == 251
    assert seen[:2] == ["c251", "c249"]
    for wrong in ("after=x", "sort=name", "colour=red", "status=NEW"):
        assert client.get(f"{address}?{wrong}").status_code == 422

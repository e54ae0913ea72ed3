"""What the pages of dispatches say, and how they are asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import qcov
from qcov_server.ui.comparing import pairs
from qcov_server.ui.timeline import ready_moments
from qcov_server.ui.tracebacks import pieces

if TYPE_CHECKING:
    from conftest import MemoryEngine

HTML = {"accept": "text/html"}
OURS = qcov.__file__.replace("__init__", "classical/engine/worker")


# -- the list ----------------------------------------------------------------------------------


def test_heads_sort_and_say_so(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")
    page = client.get("/?status=COMPLETED&sort=-name", headers=HTML).text

    assert engine.store.asked["sort"] == "-name"
    assert re.search(
        r'aria-sort="descending"><a id="sort-name" href="/\?sort=name&amp;status', page
    )
    assert 'id="sort-duration" href="/?sort=-duration&amp;status=COMPLETED"' in page
    assert page.count("aria-sort") == 1


@pytest.mark.parametrize("sort", ["nope", "--name", "name;drop", "inputs_repr"])
def test_an_order_that_nobody_knows_is_left_out(
    client: httpx.Client, engine: MemoryEngine, sort: str
) -> None:
    engine.store.add("a", [{}])

    assert client.get("/", params={"sort": sort}).status_code == 200
    assert engine.store.asked["sort"] == "-created"
    assert client.get("/dispatches/a/nodes", params={"sort": sort}).status_code == 200
    assert engine.store.asked["sort"] == "node_id"


def test_running_ones_are_all_that_have_not_ended(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    for status in ("PENDING", "RUNNING", "CANCELING", "COMPLETED"):
        engine.store.add(status, name=f"is {status}", status=status)
    page = client.get("/?status=RUNNING", headers=HTML).text

    assert [s for s in ("PENDING", "RUNNING", "CANCELING", "COMPLETED") if f"is {s}" in page] == [
        "PENDING", "RUNNING", "CANCELING",
    ]  # fmt: skip


def test_a_page_past_the_end_says_so(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")

    assert "This page is empty" in client.get("/?page=9", headers=HTML).text


# -- one dispatch ------------------------------------------------------------------------------


def test_frames_of_qcov_are_folded(client: httpx.Client, engine: MemoryEngine) -> None:
    error = (
        "Traceback (most recent call last):\n"
        '  File "/home/me/vqe.py", line 3, in energy\n    call()\n'
        f'  File "{OURS}", line 7, in load\n    loads()\n    ^^^^^\n'
        f'  File "{OURS}", line 9, in more\n    more()\n'
        "ValueError: no"
    )
    engine.store.add("a", [{"status": "FAILED", "error": error}], status="FAILED", error="f(0): no")

    page = client.get("/dispatches/a", headers=HTML).text

    assert "2 frames of qcov" in page
    assert 'href="/dispatches/a/nodes/0"' in page
    assert [piece.folded for piece in pieces(error)] == [0, 2, 0]
    assert "\n".join(piece.text for piece in pieces(error)) == error


def test_a_folder_that_is_called_qcov_is_the_users() -> None:
    error = 'Traceback:\n  File "/home/me/qcov/vqe.py", line 3, in energy\nValueError: no'

    assert [piece.folded for piece in pieces(error)] == [0]


def test_source_and_environment_are_shown(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", inputs_repr='{"args": ["0.74"], "kwargs": {"steps": "3"}}')
    engine.store.manifests["a"] = {
        "source": "@ct.lattice\ndef curve(x):\n    return 2",
        "environment": {"python": "3.12", "cwd": "/home/me"},
        "packages": ["scipy==1.14"],
    }
    page = client.get("/dispatches/a", headers=HTML).text

    assert '<span class="nf">curve</span>' in page
    assert "scipy==1.14" in page
    assert "/home/me" in page
    assert '<dt><code>steps</code></dt><dd><pre tabindex="0">3</pre></dd>' in page


@pytest.mark.parametrize(
    ("columns", "there", "missing"),
    [
        ({"status": "COMPLETED"}, {"rerun", "delete"}, {"start", "cancel", "resume"}),
        ({"status": "FAILED"}, {"resume", "rerun", "delete"}, {"start", "cancel"}),
        ({"status": "RUNNING", "ended": None}, {"rerun", "cancel"}, {"start", "delete"}),
        ({"status": "NEW_OBJECT", "ended": None}, {"start", "cancel"}, {"rerun", "delete"}),
        ({"parent_id": "b"}, {"compare"}, {"rerun", "delete", "export", "start"}),
    ],
)
def test_buttons_are_those_that_do_something(
    client: httpx.Client,
    engine: MemoryEngine,
    columns: dict[str, Any],
    there: set[str],
    missing: set[str],
) -> None:
    engine.store.add("a", **columns)
    found = set(re.findall(r'id="do-(\w+)"', client.get("/dispatches/a", headers=HTML).text))

    assert there <= found
    assert not missing & found


def test_what_a_trigger_runs_again_is_not_offered_to_be_deleted(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    engine.store.add("a")
    active = {"id": "t-1", "name": "nightly<b>", "status": "ACTIVE"}
    engine.store.triggers["a"] = [active, {"id": "t-2", "name": "old", "status": "STOPPED"}]
    text = client.get("/dispatches/a", headers=HTML).text

    assert 'id="do-delete"' not in text
    assert '<a href="/triggers/t-1">nightly&lt;b&gt;</a>' in text
    assert "t-2" not in text
    engine.store.triggers["a"] = []
    assert 'id="do-delete"' in client.get("/dispatches/a/heading", headers=HTML).text


def test_what_circuits_cost(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")
    engine.store.circuits["a"] = [{"node_id": 0}]
    row = {"executor": "IBMQ", "device": "fez", "circuits": 1234, "failed": 1, "jobs": 2}
    engine.store.costs = [
        {**row, "shots": 4000, "seconds": 2.0, "cost": {"USD": 1.5, "QPU seconds": 3}}
    ]
    part = client.get("/dispatches/a/cost").text

    assert "IBMQ(fez)" in part.replace("&#40;", "(")
    assert "1,234" in part
    assert "$1.50 · 3 QPU seconds" in part
    assert "$1.50" in client.get("/dispatches/a/heading").text


def test_the_table_is_filtered_and_says_where_it_is(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    engine.store.add("a", [{"name": "alpha"}, {"name": "beta", "status": "FAILED"}])
    answer = client.get("/dispatches/a/nodes?status=FAILED&sort=-started")

    assert ("alpha" in answer.text, "beta" in answer.text) == (False, True)
    assert answer.headers["hx-replace-url"] == (
        "/dispatches/a?sort=-started&view=table&status=FAILED&page=1"
    )
    assert "No node matches" in client.get("/dispatches/a/nodes?search=three").text


# -- the timeline ------------------------------------------------------------------------------


def node(number: int, kind: str = "electron", **columns: Any) -> dict[str, Any]:
    return {"node_id": number, "kind": kind, "started": None, "ended": None, **columns}


def test_what_never_began_is_not_run_once_the_dispatch_has_ended(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    nodes: list[dict[str, Any]] = [
        {"status": "FAILED"}, {"status": "NEW_OBJECT"}, {"status": "PENDING"},
    ]  # fmt: skip
    for dispatch_id, status in (("ended", "FAILED"), ("runs", "RUNNING")):
        engine.store.add(dispatch_id, nodes=nodes, status=status)

    def statuses(dispatch_id: str) -> list[list[str]]:
        graph = client.get(f"/dispatches/{dispatch_id}/graph").json()
        rows = client.get(f"/dispatches/{dispatch_id}/timeline").json()["rows"]
        return [[node[3] for node in graph["nodes"]], [row[2] for row in rows]]

    assert statuses("ended") == [["FAILED", "NOT_RUN", "NOT_RUN"]] * 2
    assert statuses("runs") == [["FAILED", "NEW_OBJECT", "PENDING"]] * 2
    table = client.get("/dispatches/ended?view=table", headers={"accept": "text/html"}).text
    assert table.count("#not-run") == 2
    assert '<option value="NEW_OBJECT">Not run</option>' in table
    assert "Waiting" not in table
    assert "Pending" not in table
    part = client.get("/dispatches/ended/nodes?status=NEW_OBJECT").text
    assert part.count("<tr data-node") == 2
    inspected = client.get("/dispatches/ended/nodes/1", headers={"hx-request": "true"}).text
    assert "Not run" in inspected


def test_a_node_waits_since_its_inputs_are_there() -> None:
    nodes = [
        node(0, "parameter"),
        node(1, started=11.0, ended=12.0),
        node(2, "element", started=12.5, ended=14.0),
        node(3),
        node(4),
    ]
    edges = [(0, 1, "x"), (1, 2, "item"), (2, 3, "x"), (3, 4, "x")]

    assert ready_moments({"started": 10.0}, nodes, edges) == {0: 10, 1: 10, 2: 12, 3: 12}
    assert ready_moments({"started": None}, nodes, edges) == {}


def test_the_timeline_is_in_the_order_of_beginnings(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    nodes = [
        {"kind": "parameter", "name": ":parameter:1"},
        {"name": "late", "started": 1002.0, "ended": 1003.0, "status": "COMPLETED"},
        {"name": "\x1b[1mearly", "started": 1001.0, "sub_dispatch_id": "s", "status": "RUNNING"},
        {"name": "never"},
    ]
    edges = [(0, 2, "x"), (2, 1, "x"), (1, 3, "x")]
    engine.store.add("a", nodes, edges, status="RUNNING", ended=None)
    found = client.get("/dispatches/a/timeline").json()

    assert found["ended"] is None
    assert found["rows"] == [
        [2, "early", "RUNNING", 0.0, 1.0, None, "s"],
        [1, "late", "COMPLETED", None, 2.0, 3.0, None],
        [3, "never", "PENDING", None, None, None, None],
    ]


# -- two dispatches ----------------------------------------------------------------------------


def compared(**columns: Any) -> dict[str, Any]:
    same = {"name": "f", "status": "COMPLETED", "value_repr": "1", "error": None, "node_id": 0}
    return {**same, "kind": "electron", "started": 1.0, "ended": 2.0, **columns}


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ({}, {}, ()),
        ({}, {"value_repr": "2"}, ("value",)),
        ({}, {"status": "FAILED", "error": "E: no"}, ("status", "value")),
        ({}, {"ended": 3.0}, ("duration",)),
        ({"ended": 1.01}, {"ended": 1.05}, ()),  # nobody notices
        ({}, {"started": 101.0, "ended": 102.0}, ()),
        ({"name": ":parameter:1", "kind": "parameter"},) * 2 + ((),),
    ],
)
def test_nodes_differ(one: dict[str, Any], other: dict[str, Any], differs: tuple[str, ...]) -> None:
    assert [pair.differs for pair in pairs([compared(**one)], [compared(**other)])] == [differs]


def test_nodes_are_matched_by_name_and_place() -> None:
    ones = [compared(node_id=0), compared(node_id=1, value_repr="2"), compared(name="g")]
    others = [compared(node_id=5), compared(name="h"), compared(node_id=7, value_repr="2")]
    found = [(pair.one, pair.other, pair.differs) for pair in pairs(ones, others)]

    assert found == [
        (ones[0], others[0], ()),
        (ones[1], others[2], ()),
        (ones[2], None, ("missing",)),
        (None, others[1], ("missing",)),
    ]


def test_two_runs_side_by_side(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", [{"name": "f", "value_repr": "1"}], result_repr="1")
    engine.store.add("b", [{"name": "f", "value_repr": "2"}], result_repr="2")
    for name, number in (("a", 1), ("b", 2)):
        source = f"def f():\n    return {number}"
        environment = {"python": "3.12", "cwd": f"/run/{number}"}
        engine.store.manifests[name] = {"source": source, "environment": environment}
    page = client.get("/compare?a=a&b=b", headers=HTML).text

    assert "1 differs, 0 are equal" in " ".join(page.split())
    assert '<span class="removed">-     return 1</span>' in page
    assert '<span class="added">+     return 2</span>' in page
    assert "/run/2" in page
    assert "3.12" not in page
    assert "The same in both" in client.get("/compare?a=a&b=a", headers=HTML).text


def test_another_run_can_be_chosen(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", name="flow")
    engine.store.add("b", name="flow")
    engine.store.add("c", name="other")
    page = client.get("/compare?a=a", headers=HTML).text

    assert 'href="/compare?a=a&amp;b=b"' in page
    assert "b=c" not in page
    assert client.get("/compare?a=a&b=nope", headers=HTML).status_code == 404
    assert client.get("/compare", headers=HTML).status_code == 422


def test_the_graph_is_as_small_as_can_be(client: httpx.Client, engine: MemoryEngine) -> None:
    nodes = [{"name": ":parameter:1", "kind": "parameter", "status": "COMPLETED"}]
    nodes += [{"name": "\x1b[1mf", "status": "RUNNING", "sub_dispatch_id": "s"}]
    engine.store.add("a", nodes, [(0, 1, "x")])

    assert client.get("/dispatches/a/graph").json() == {
        "nodes": [
            [0, "1", "parameter", "COMPLETED", None, 0.0, 0.0],
            [1, "f", "electron", "RUNNING", "s", 0.0, 100.0],
        ],
        "edges": [[0, 1]],
    }
    assert client.get("/dispatches/nope/graph").status_code == 404

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import qcov_server.ui

if TYPE_CHECKING:
    from conftest import MemoryEngine

HTML = {"accept": "text/html"}
UI = Path(qcov_server.ui.__file__).parent


def test_an_empty_list_teaches_the_first_command(client: httpx.Client) -> None:
    page = client.get("/", headers=HTML).text

    assert "Nothing has been dispatched yet" in page
    assert "qcov demo" in page


def test_a_filter_without_matches_says_so(client: httpx.Client) -> None:
    page = client.get("/?status=FAILED&search=<b>", headers=HTML).text

    assert "No dispatch matches" in page
    assert "<b>" not in page


def test_the_list_shows_and_pages(client: httpx.Client, engine: MemoryEngine) -> None:
    for number in range(120):
        engine.store.add(f"{number:08d}-x", name=f"run {number}")

    first, last = client.get("/").text, client.get("/?page=3").text

    assert "run 119" in first
    assert "run 69" not in first
    assert "1\N{EN DASH}50 of 120" in first
    assert "101\N{EN DASH}120 of 120" in last
    assert "run 0<" in last


def test_htmx_gets_the_rows_alone(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a")
    part = client.get("/", headers={"hx-request": "true"})

    assert part.text.lstrip().startswith('<div id="rows"')
    assert part.headers["vary"] == "HX-Request"


def test_a_dispatch_page(client: httpx.Client, engine: MemoryEngine) -> None:
    error = "Traceback\n  File x\nValueError: no"
    nodes = [{"name": "f", "status": "FAILED", "error": error, "started": 1.0, "ended": 2.0}]
    engine.store.add("a", nodes, name="flow", status="FAILED", error=error)

    page = client.get("/dispatches/a", headers=HTML).text

    assert "<h1>flow</h1>" in page
    assert "ValueError: no" in page
    assert 'href="/dispatches/a/nodes/0"' in page
    assert "data-cancel" not in page
    assert client.get("/dispatches/a/heading").text.lstrip().startswith('<div id="heading"')
    assert client.get("/dispatches/a/nodes").text.lstrip().startswith('<div id="nodes"')


def test_a_running_dispatch_can_be_cancelled(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", status="RUNNING", ended=None)

    assert 'data-cancel="a"' in client.get("/dispatches/a").text


def test_a_node(client: httpx.Client, engine: MemoryEngine) -> None:
    node = {"name": "f", "value_repr": "42", "stdout": "out", "sub_dispatch_id": "child-id"}
    node["reused_from"] = "earlier-id"
    engine.store.add("a", [node])
    part = client.get("/dispatches/a/nodes/0", headers={"hx-request": "true"}).text

    assert "<pre" in part
    assert 'href="/dispatches/a/nodes/0">Open page' in part
    assert "42" in part
    assert 'href="/dispatches/child-id"' in part
    assert 'href="/dispatches/earlier-id"' in part


@pytest.mark.parametrize("path", ["/dispatches/nope", "/nowhere", "/dispatches/a/nodes/9"])
def test_a_missing_page_says_so(client: httpx.Client, engine: MemoryEngine, path: str) -> None:
    engine.store.add("a")
    answer = client.get(path, headers=HTML)

    assert answer.status_code == 404
    assert "All dispatches" in answer.text
    assert client.get(path).headers["content-type"] == "application/problem+json"


COSTS = {"circuits": 1, "failed": 0, "jobs": 1, "shots": 9, "seconds": 1.0, "cost": {"USD": 1.0}}
PAGES = [
    "/", "/dispatches/a", "/dispatches/a?view=timeline", "/dispatches/a?view=table",
    "/dispatches/b", "/dispatches/b/cost", "/dispatches/b/result", "/dispatches/a/nodes/0",
    "/compare?a=a", "/compare?a=a&b=b&every=true",
]  # fmt: skip
ATTACKS = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}",
    "\x1b[31mred\x1b]0;title\x07",
    "user\u202etxt.exe",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_from_users_is_inert(client: httpx.Client, engine: MemoryEngine, attack: str) -> None:
    node = {
        "name": attack, "error": attack, "value_repr": attack, "stdout": attack, "stderr": attack,
        "executor": attack,
    }  # fmt: skip
    inputs = json.dumps({"args": [attack], "kwargs": {attack: attack}})
    given = {"name": attack, "inputs_repr": inputs, "error": attack, "result_repr": attack}
    engine.store.add("a", [{**node, "status": "FAILED"}], status="FAILED", **given)
    engine.store.add("b", [node], status="COMPLETED", **given)
    engine.store.circuits["b"] = [{"node_id": 0}]
    engine.store.costs = [{"executor": attack, "device": attack, **COSTS}]
    environment = {"python": attack, "cwd": attack, attack: attack}
    engine.store.manifests["a"] = {"source": attack, "environment": environment}
    engine.store.manifests["b"] = {"source": attack[::-1], "environment": {}}

    for path in PAGES:
        page = client.get(path, headers=HTML).text
        assert "<img src=x" not in page
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert ">49<" not in page


def test_pages_hold_no_inline_script_or_style(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", [{}])

    engine.store.add("b", [{}])
    for path in PAGES:
        page = client.get(path, headers=HTML).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"\son\w+=|\sstyle=|<style", page)
        assert not re.search(r'(src|href)="(https?:)?//', page)


def test_everything_that_pages_load_is_there(client: httpx.Client, engine: MemoryEngine) -> None:
    engine.store.add("a", [{}])
    engine.store.add("b", [{}])
    pages = "".join(client.get(path, headers=HTML).text for path in PAGES)
    paths = set(re.findall(r'(?:src|href)="(/static/[^"#]+)', pages))

    assert len(paths) >= 8
    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_vendored_scripts_are_the_published_ones() -> None:
    folder = UI / "static" / "vendor"
    listed = dict(
        re.findall(r"\| (\S+\.js) \|.*\| ([0-9a-f]{64}) \|", (folder / "VENDORED.md").read_text())
    )
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.js")
    }

    assert listed == found

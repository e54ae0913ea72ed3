"""Nothing that is sent becomes a part of an SQL statement."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qcov as ct

if TYPE_CHECKING:
    from conftest import Site

_TRICKS = [
    "' OR '1'='1", "'; DROP TABLE dispatches; --", '" OR ""="', "1; SELECT 1",
    "x' UNION SELECT 1--",
    "%", "_", "\\", "created; --", "-created, (SELECT 1)", "0x27", "'||(SELECT 1)||'", "\x00",
    "NULL",
    "id IN (SELECT id FROM blobs)", "a\nb", "\N{MODIFIER LETTER APOSTROPHE} OR 1=1",
]  # fmt: skip
_LISTS = {
    "/api/v1/dispatches": ("search", "sort", "status", "created_after", "limit", "offset"),
    "/api/v1/dispatches/{}/nodes": ("search", "sort", "status", "kind", "node_id", "limit"),
    "/api/v1/dispatches/{}/circuits": ("sort", "status", "executor", "node_id", "after", "before"),
    "/api/v1/triggers": ("status", "dispatch_id", "limit"),
    "/api/v1/jobs": ("device", "dispatch_id", "open", "offset"),
    "/api/v1/events": ("after",),
    "/": ("search", "sort", "status", "page"),
    "/dispatches/{}/nodes": ("search", "sort", "status", "page"),
    "/dispatches/{}/circuits": ("sort", "status", "executor", "node", "after", "before"),
    "/jobs": ("device", "dispatch", "open"), "/triggers": ("status",), "/compare": ("a", "b"),
    "/executors": ("since", "over"), "/logs": ("search", "level", "dispatch"),
}  # fmt: skip
_PLACES = [(path, name) for path, names in _LISTS.items() for name in names]


@ct.electron
def task(x: int) -> int:
    return x


@ct.lattice
def flow(x: int) -> int:
    return task(x)


@pytest.fixture
def known(site: Site) -> str:
    """A dispatch that must not be lost."""
    dispatch_id = ct.dispatch(flow, key="the one that is there")(1)
    ct.get_result(dispatch_id, wait=True)
    return dispatch_id


def _asked(client: httpx.Client, path: str, given: dict[str, str]) -> None:
    with client.stream("GET", path, params=given) as answer:
        assert answer.status_code in (200, 404, 422), (path, given, answer.status_code)
        if answer.headers["content-type"].startswith("text/event-stream"):
            return
        answer.read()
        for word in ("sqlite3", "sqlalchemy", "OperationalError", "syntax error"):
            assert word not in answer.text, (path, given)


@pytest.mark.process
def test_no_filter_sort_or_search_is_a_part_of_a_statement(site: Site, known: str) -> None:
    """16: known tricks and made up ones, in every filter, on REST and on pages."""
    with site.client() as client:
        before = client.get("/api/v1/dispatches").json()["total"]
        for path, name in _PLACES:
            for trick in _TRICKS:
                _asked(client, path.format(known), {name: trick})
        for trick in _TRICKS[:5]:  # a search that were a part of the statement would find all
            found = client.get("/api/v1/dispatches", params={"search": trick}).json()
            assert found["total"] == 0, trick
        for wild in ("%", "_"):
            assert client.get("/api/v1/dispatches", params={"search": wild}).json()["total"] == 0

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.sampled_from(_PLACES), st.text(max_size=40) | st.text("'\";-%_()\\ 01", max_size=20)
        )
        def asked(place: tuple[str, str], value: str) -> None:
            _asked(client, place[0].format(known), {place[1]: value})

        asked()
        assert client.get("/api/v1/dispatches").json()["total"] == before
        assert client.get(f"/api/v1/dispatches/{known}").json()["status"] == "COMPLETED"


@pytest.mark.process
def test_what_no_text_has_is_refused_and_not_left_out(site: Site) -> None:
    """16: databases take a NUL each in their own way; some of them read no further."""
    with site.client() as client:
        for path, name in _PLACES:
            answer = client.get(path.format("a"), params={name: "a\0b"})
            assert (answer.status_code, answer.json()["type"]) == (
                422, "urn:qcov:error:InvalidRequest"
            ), (path, name)  # fmt: skip
        for path in ("/dispatches/%00", "/api/v1/dispatches/%00", "/api/v1/triggers/a%00b"):
            assert client.get(path).json()["status"] == 404


@pytest.mark.process
def test_what_is_no_id_of_a_trigger_is_the_id_of_none(site: Site) -> None:
    with site.client() as client:
        for no_id in ("a", "' OR 1=1", "1" * 35):
            for path in (f"/api/v1/triggers/{no_id}", f"/api/v1/triggers/{no_id}/runs"):
                problem = client.get(path).json()
                kind = "urn:qcov:error:InvalidRequest"
                assert (problem["status"], problem["type"]) == (404, kind)
                assert repr(path) in problem["detail"] or "'" in no_id
            problem = client.get(f"/triggers/{no_id}").json()
            kind = "urn:qcov:error:TriggerNotFound"
            assert (problem["status"], problem["type"]) == (404, kind)
            assert repr(no_id) in problem["detail"]


# -- how statements are written

_ROOT = Path(__file__).parents[2]
_RUNS = frozenset({"execute", "executemany", "executescript", "exec_driver_sql", "text", "scalar"})
#: Statements that are put together from texts of this program; nobody sends a part of them.
_OF_CONSTANTS = {
    ("qcov/store/migrations/__init__.py", "_LOCK"), ("qcov/store/migrations/__init__.py", "name"),
    ("qcov/store/sqlite.py", "pragma"), ("qcov/store/cache.py", "name"),
    ("qcov/journal.py", "where"), ("qcov/journal.py", "default"), ("qcov/journal.py", "_VERSION"),
}  # fmt: skip


def _names_in(call: ast.Call) -> Iterator[str]:
    """What is put into the text of a statement that a call runs."""
    for argument in call.args[:1]:
        match argument:
            case ast.JoinedStr(values=parts):
                held = (part.value for part in parts if isinstance(part, ast.FormattedValue))
                yield from (ast.unparse(one) for one in held)
            case ast.BinOp(op=ast.Mod() | ast.Add(), left=left, right=right):
                sides: list[Any] = [left, right]
                if any(isinstance(side, ast.Constant | ast.JoinedStr) for side in sides):
                    yield ast.unparse(argument)
            case ast.Call(func=ast.Attribute(attr="format")):
                yield ast.unparse(argument)


def _composed(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _RUNS:
                found |= set(_names_in(node))
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('db.execute(f"SELECT {x}")', {"x"}),
        ('sa.text("SELECT " + x)', {"'SELECT ' + x"}),
        ('db.execute("SELECT %s" % x)', {"'SELECT %s' % x"}),
        ('db.execute("SELECT {}".format(x))', {"'SELECT {}'.format(x)"}),
        ('db.execute("SELECT ?", (x,))', set()),
    ],
)
def test_a_statement_that_is_put_together_is_found(source: str, found: set[str]) -> None:
    """16: the next test can fail."""
    assert _composed(source) == found


def test_no_statement_has_values_in_its_text() -> None:
    """16: values are bound, never written into a statement."""
    files = [
        *(_ROOT / "qcov").rglob("*.py"), *(_ROOT / "server").rglob("*.py"),
    ]  # fmt: skip
    versions = _ROOT / "qcov/store/migrations/versions"
    found = {
        (str(path.relative_to(_ROOT)), name)
        for path in files
        if not path.is_relative_to(versions)  # a release's own, run without anybody's values
        for name in _composed(path.read_text(encoding="utf-8"))
    }
    question_marks = re.compile(r"_marks\(\w+\)")
    found = {(path, name) for path, name in found if not question_marks.fullmatch(name)}
    assert found == _OF_CONSTANTS

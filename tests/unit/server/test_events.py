from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qcov_server.api import events

if TYPE_CHECKING:
    from conftest import Server


@contextmanager
def stream(
    client: httpx.Client, query: str = "", **headers: str
) -> Iterator[Iterator[dict[str, str]]]:
    """The messages of the event stream, as field to value."""
    with client.stream("GET", f"/api/v1/events{query}", headers=headers, timeout=5) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        yield read_messages(lines)


def read_messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    message: dict[str, str] = {}
    for line in lines:
        if line:
            field, _, value = line.partition(": ")
            message[field] = value
        else:
            yield message
            message = {}


def next_changes(messages: Iterator[dict[str, str]]) -> tuple[str, list[Any]]:
    message = next(message for message in messages if message.get("event") == "changes")
    return message["id"], json.loads(message["data"])


def test_changes_arrive_together(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)  # connected
        server.happen("a", None, "RUNNING")
        server.happen("a", 3, "COMPLETED")
        _, changes = next_changes(messages)

    assert [(c["dispatch"], c["node"], c["status"]) for c in changes] == [
        ("a", None, "RUNNING"),
        ("a", 3, "COMPLETED"),
    ]


def test_one_dispatch_can_be_followed(client: httpx.Client, server: Server) -> None:
    with stream(client, "?dispatch=b") as messages:
        next(messages)
        server.happen("a", 1, "RUNNING")
        server.happen("b", 2, "RUNNING")
        _, changes = next_changes(messages)

    assert [change["dispatch"] for change in changes] == ["b"]


def test_what_was_missed_comes_first(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)
        server.happen("a", 1, "RUNNING")
        last_id, _ = next_changes(messages)
    server.happen("a", 1, "COMPLETED")

    with stream(client, **{"last-event-id": last_id}) as messages:
        _, changes = next_changes(messages)

    assert [change["status"] for change in changes] == ["COMPLETED"]


@pytest.mark.parametrize("last_id", ["other-1", "7", "x-y", "-"])
def test_an_unknown_past_means_to_read_anew(client: httpx.Client, last_id: str) -> None:
    with stream(client, **{"last-event-id": last_id}) as messages:
        assert any(message.get("event") == "reset" for message in (next(messages), next(messages)))


def test_a_client_that_leaves_is_forgotten(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)
        assert len(server.engine.events._subscribers) == 1

    for _ in range(200):
        if not server.engine.events._subscribers:
            break
        client.get("/api/v1/status")

    assert not server.engine.events._subscribers
    assert events._open_streams == 0


def test_there_may_be_too_many_streams(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_STREAMS", 0)
    answer = client.get("/api/v1/events")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:qcov:error:ServerBusy"

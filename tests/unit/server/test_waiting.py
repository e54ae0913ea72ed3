"""`get_result` of a server waits no longer than it is told to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import qcov as ct
from qcov.classical.engine.remote import RemoteEngine
from qcov.errors import EngineUnavailable, StillRunning

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MemoryEngine, Server


@pytest.fixture(autouse=True)
def token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOV_TOKEN", server.token)


def test_what_takes_too_long(server: Server, engine: MemoryEngine) -> None:
    engine.store.add("a", status="RUNNING")

    with pytest.raises(StillRunning, match="dispatch a is still RUNNING after 0.5 s"):
        ct.get_result("a", wait=True, dispatcher_addr=server.url, timeout=0.5)

    assert engine.waited == [pytest.approx(0.5, abs=0.1)]


def test_what_ends_in_time(server: Server, engine: MemoryEngine) -> None:
    engine.store.add("a", status="FAILED")

    found = ct.get_result("a", wait=True, dispatcher_addr=server.url, timeout=9)

    assert found.status == "FAILED"


def test_a_long_time_is_waited_for_piece_by_piece(server: Server, engine: MemoryEngine) -> None:
    engine.store.add("a", status="RUNNING")
    clock = iter([0.0, 0.0, 30.0]).__next__

    found = RemoteEngine(server.url, clock=clock).outcome("a", None, 45)
    assert found["dispatch"]["status"] == "RUNNING"
    assert engine.waited == [30, 15]


def test_who_has_no_token_is_told_which_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("QCOV_TOKEN")
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))

    with pytest.raises(EngineUnavailable, match="it refused the token. Set QCOV_TOKEN"):
        RemoteEngine(server.url).outcome("a", None)


def test_a_servers_dispatches_are_listed(server: Server, engine: MemoryEngine) -> None:
    for number in range(3):
        engine.store.add(f"id-{number}", name=f"flow {number}", status="RUNNING")

    found = ct.list_dispatches(2, dispatcher_addr=server.url)
    assert len(found) == 2
    only = ct.list_dispatches(search="flow 1", status="running", dispatcher_addr=server.url)
    assert [(each.dispatch_id, each.status) for each in only] == [("id-1", "RUNNING")]


def test_no_connection_is_left_open(server: Server, engine: MemoryEngine) -> None:
    engine.store.add("a")
    code = f"import qcov as ct; print(len(ct.list_dispatches(dispatcher_addr={server.url!r})))"

    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60
    )

    assert ran.stdout == "1\n", ran.stderr
    assert "unclosed" not in ran.stderr

"""`get_result` of the embedded engine waits no longer than it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine import address, client
from qcov.classical.engine.channel import PROTOCOL, BlockingChannel
from qcov.errors import ConnectionLost, StillRunning, WorkflowError, WrongSetting

RUNNING = {"dispatch": {"id": "id", "status": "RUNNING"}, "result": None}


class Socket(socketserver.ThreadingUnixStreamServer):
    """What an engine answers on its socket, for a dispatch that does not end."""

    daemon_threads = True  # clients keep their connections
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        self.timeouts: list[float | None] = []
        super().__init__(str(folder / "socket"), Connection)
        (folder / "engine.json").write_text(json.dumps({"socket": self.server_address}))

    def answer(self, verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "outcome":
            self.timeouts.append(arguments.get("timeout"))
            return RUNNING
        return {"protocol": PROTOCOL, "version": ct.__version__}


class Connection(socketserver.BaseRequestHandler):
    server: Socket

    def handle(self) -> None:
        channel = BlockingChannel(self.request)
        with contextlib.suppress(EOFError):
            while True:
                for request in channel.receive():
                    value = self.server.answer(request["verb"], request["arguments"])
                    channel.send({"number": request["number"], "value": value})


@pytest.fixture
def engine(data_folder: Path) -> Iterator[Socket]:
    data_folder.mkdir()
    with Socket(data_folder) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def test_what_takes_too_long(engine: Socket) -> None:
    with pytest.raises(StillRunning, match="dispatch id is still RUNNING after 5 s") as caught:
        ct.get_result("id", wait=True, timeout=5)

    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, WorkflowError)
    assert engine.timeouts == [pytest.approx(5, abs=1)]


def test_what_takes_too_long_in_an_event_loop(engine: Socket) -> None:
    with pytest.raises(StillRunning, match="It goes on: ask again"):
        asyncio.run(ct.aio.get_result("id", wait=True, timeout=0))

    assert engine.timeouts == [0]


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "5", True])
def test_a_timeout_is_a_number_of_seconds(timeout: Any, data_folder: Path) -> None:
    with pytest.raises(
        WrongSetting, match="timeout must be a number of seconds, 0 or more, at most"
    ):
        ct.get_result("id", wait=True, timeout=timeout)

    assert not data_folder.exists()


def test_a_timeout_without_waiting_has_no_effect() -> None:
    with pytest.raises(WrongSetting, match="timeout must be given along with wait=True, not alone"):
        ct.get_result("id", timeout=5)


def test_an_engine_that_starts_anew_does_not_start_the_time_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, asked = iter([100.0, 100.0, 103.0]), []

    def lose(verb: str, *, timeout: float, **_: object) -> dict[str, Any]:
        asked.append((verb, timeout))
        if len(asked) == 1:
            raise ConnectionLost(address="here", reason="it was killed")
        return RUNNING

    monkeypatch.setattr(client, "call_once", lose)
    # The module's own clock: everybody else's, event loops in other threads among them, goes on.
    monkeypatch.setattr(address, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    assert address.LocalEngine().outcome("id", None, 5.0) == RUNNING
    assert asked == [("outcome", 5.0), ("outcome", 2.0)]

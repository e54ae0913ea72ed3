"""Connections that keep the server waiting are closed, and no number of them keeps others out."""

from __future__ import annotations

import resource
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from qcov_server import connections
from qcov_server.connections import Connections, allow_files

if TYPE_CHECKING:
    from conftest import Server

HEAD = "POST /api/v1/dispatches/a/cancel HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
KNOWN = HEAD + "Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"


def connect(server: Server, sent: str = "") -> socket.socket:
    sent = sent.format(port=server.port, token=server.token).encode()  # which takes a while
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sock.sendall(sent)
    return sock


def until_closed(sock: socket.socket, *, trickle: bytes = b"") -> bytes:
    """What comes until the server hangs up, while `trickle` is sent again and again."""
    found, ends = b"", time.monotonic() + 10
    sock.settimeout(0.05)
    while time.monotonic() < ends:
        try:
            if trickle:
                sock.sendall(trickle)
            piece = sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return found
        if not piece:
            return found
        found += piece
    raise AssertionError("the connection is still open")


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        pytest.param("", b"", id="nothing"),
        pytest.param("GET / HTTP/1.1\r\n", b"a: b\r\n", id="a head that never ends"),
        pytest.param(KNOWN + "Content-Length: 9\r\n\r\n{{", b"", id="a body that stops"),
        pytest.param(HEAD + "Content-Length: 999999\r\n\r\n", b"x", id="a body that was refused"),
    ],
)
def test_a_connection_that_does_not_get_on_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: str, trickle: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.3)
    monkeypatch.setattr(connections, "BODY_PAUSE", 0.3)
    with connect(server, sent) as sock:
        until_closed(sock, trickle=trickle)


def test_a_body_that_goes_on_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 2.0)
    monkeypatch.setattr(connections, "BODY_PAUSE", 2.0)
    server.engine.store.add("a")
    with connect(server, KNOWN + "Content-Length: 7\r\nConnection: close\r\n\r\n") as sock:
        for _ in range(5):
            sock.sendall(b" ")
            time.sleep(0.5)  # longer in all than either, and no pause is
        sock.sendall(b"{}")
        assert until_closed(sock).startswith(b"HTTP/1.1 200")


def test_a_stream_stays_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 1.5)
    monkeypatch.setattr(connections, "BODY_PAUSE", 1.5)
    headers = {"authorization": f"Bearer {server.token}"}
    with httpx.stream("GET", f"{server.url}/api/v1/events", headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line == "event: hello")
        time.sleep(2)  # longer than anything may be waited for
        server.happen("d", 0, "RUNNING")
        assert next(line for line in lines if line.startswith("event")) == "event: changes"


@pytest.fixture
def few(server: Server, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many connections the server takes, which is not many."""
    monkeypatch.setattr(server.http._server.server_state, "most", 8)
    return 8


def test_the_oldest_idle_connection_makes_room(server: Server, few: int) -> None:
    headers = {"authorization": f"Bearer {server.token}"}
    holding = [connect(server, "GET / HTTP/1.1\r\n") for _ in range(3 * few)]
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60) as client:
        assert client.get("/api/v1/status").status_code == 200
        assert client.get("/api/v1/status").status_code == 200
    for sock in holding[: 2 * few]:
        assert until_closed(sock) == b""
    for sock in holding:
        sock.close()


def test_who_comes_while_all_are_at_work_is_told_so(server: Server, few: int) -> None:
    events = "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    at_work = [
        connect(server, events + "Authorization: Bearer {token}\r\n\r\n") for _ in range(few)
    ]
    for sock in at_work:
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    with connect(server) as late:
        assert until_closed(late).startswith(b"HTTP/1.1 503")
    for sock in at_work:
        sock.close()


def test_as_many_files_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
        allowed = allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, before[1])
        assert allowed > 600
        assert Connections.allowed().most > 88
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

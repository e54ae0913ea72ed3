"""However much comes, the server stays responsive; `test_connections.py` has the times."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from qcov_server.guard import MAX_BODY

if TYPE_CHECKING:
    from conftest import Site

pytestmark = [pytest.mark.process, pytest.mark.slow]

_SOON = 2.0  # seconds; an answer takes a few milliseconds on a machine that is not busy


def answers(site: Site) -> float:
    """Seconds until the owner, with a new connection, has the first page of dispatches.

    The best of some: a machine that stands still for a moment is no fault of the server's.
    """
    return min(_answers(site) for _ in range(10))


def _answers(site: Site) -> float:
    began = time.monotonic()
    with site.client() as client:
        assert client.get("/api/v1/dispatches").status_code == 200
    return time.monotonic() - began


def say(site: Site, sent: bytes, *, then: bytes = b"") -> bytes:
    """What a raw request is answered."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as sock:
        try:
            sock.sendall(sent)
            if then:
                sock.sendall(then)
        except OSError:
            pass  # it has hung up already: what it said can still be read
        try:
            return sock.recv(65536)
        except OSError:
            return b""


def head(site: Site, *lines: str) -> bytes:
    first = ("POST /api/v1/dispatches HTTP/1.1", f"Host: 127.0.0.1:{site.port}",
             f"Authorization: Bearer {site.token}", "Content-Type: application/json")  # fmt: skip
    return "\r\n".join([*first, *lines, "", ""]).encode()


def test_a_body_that_is_too_large_is_refused_by_its_size(site: Site) -> None:
    """15: nothing of it is read."""
    for size in (MAX_BODY + 1, 10**18):
        answer = say(site, head(site, f"Content-Length: {size}"))
        assert answer.startswith(b"HTTP/1.1 413")
    for wrong in ("-1", "1e9", "many", "1, 2", "0x10"):
        answer = say(site, head(site, f"Content-Length: {wrong}"))
        assert answer.startswith(b"HTTP/1.1 400"), wrong


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(["X: " + "a" * 200_000], id="a long one"),
        pytest.param([f"X-{number}: a" for number in range(50_000)], id="many"),
        pytest.param(["Cookie: " + "a=b; " * 50_000], id="cookies"),
        pytest.param(["X: a\r\n " + "b\r\n " * 50_000], id="one that is continued"),
    ],
)
def test_a_bomb_of_headers_is_refused(site: Site, bomb: list[str]) -> None:
    """15: no more than 64 kB of a head are kept."""
    answer = say(site, head(site, *bomb))

    assert not answer or answer.startswith(b"HTTP/1.1 400")
    assert answers(site) < _SOON


@pytest.mark.parametrize("depth", [300, 900, 5_000, 200_000])
@pytest.mark.parametrize("path", ["dispatches", "triggers", "dispatches/a/cancel"])
def test_lists_in_lists_in_lists_are_refused(site: Site, path: str, depth: int) -> None:
    """15: a manifest, too, that could be read now and not from a deeper stack."""
    lists = '{"nodes": ' + "[" * depth + "]" * depth + "}"
    bodies = ["[" * depth, lists, '{"a":' * depth + "1" + "}" * depth]
    with site.client() as client:
        client.headers["content-type"] = "application/json"
        for body in bodies:
            answer = client.post(f"/api/v1/{path}", content=body)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        if path == "dispatches" and depth < 1000:
            told = client.post("/api/v1/dispatches", content=lists).text
            assert "200 lists or objects in each other" in told


@contextmanager
def _open_files(wanted: int) -> Iterator[int]:
    """How many connections this process may open, up to `wanted`."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    allowed = before[1] if before[1] != resource.RLIM_INFINITY else wanted * 2
    yield min(wanted, allowed - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


_SENT: dict[str, Callable[[Site], bytes]] = {
    "nothing": lambda site: b"",
    "half a head": lambda site: b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    "half a body": lambda site: head(site, "Content-Length: 100").replace(b"Bearer ", b"Bearer x"),
}


@pytest.mark.parametrize("what", _SENT)
def test_ten_thousand_connections_keep_nobody_out(site: Site, what: str) -> None:
    """15: slowloris: connections that send nothing, or begin and do not go on."""
    sent = _SENT[what](site)
    with _open_files(10_000) as number, ExitStack() as held:
        for _ in range(number):
            sock = held.enter_context(
                socket.create_connection(("127.0.0.1", site.port), timeout=30)
            )
            with suppress(OSError):  # it had to make room already
                sock.sendall(sent)
        assert answers(site) < _SOON
        assert psutil.Process(site.pid).num_fds() < 5_500
    assert answers(site) < _SOON


def test_thousands_of_streams_leave_the_rest_as_it_is(site: Site) -> None:
    """15: of event streams only so many are open; the others are told to come back."""
    request = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
        f"Authorization: Bearer {site.token}\r\n\r\n"
    ).encode()
    statuses: dict[bytes, int] = {}
    with _open_files(2_000) as number, ExitStack() as held:
        for _ in range(number):
            sock = held.enter_context(
                socket.create_connection(("127.0.0.1", site.port), timeout=30)
            )
            sock.sendall(request)
            status = sock.recv(4096)[9:12]
            statuses[status] = statuses.get(status, 0) + 1
        assert statuses == {b"200": 256, b"503": number - 256}
        assert answers(site) < _SOON
        with site.client() as client:
            late = client.get("/api/v1/events")
        assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        assert late.json()["type"] == "urn:qcov:error:ServerBusy"


def test_large_requests_of_strangers_do_not_stop_the_owner(site: Site) -> None:
    """15: who has no token is refused before the body is read, and may not go on for ever."""
    stop = threading.Event()

    def send() -> None:
        line = head(site, "Content-Length: 500000000").replace(b"Bearer ", b"Bearer x")
        while not stop.is_set():
            with socket.create_connection(("127.0.0.1", site.port), timeout=60) as sock:
                try:
                    sock.sendall(line)
                    while not stop.is_set():
                        sock.sendall(b" " * 65536)
                except OSError:
                    continue

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        memory = psutil.Process(site.pid).memory_info().rss
        took = answers(site)
        grown = psutil.Process(site.pid).memory_info().rss - memory
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert took < _SOON
    assert grown < 100_000_000

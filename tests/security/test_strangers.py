"""Who has no token gets nothing; who may look changes nothing."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

import qcov as ct
from qcov_server.app import create_app
from qcov_server.tokens import Tokens

if TYPE_CHECKING:
    from conftest import Site

pytestmark = pytest.mark.process


def routes() -> list[tuple[str, str]]:
    """Method and path of everything that the application answers."""
    app = create_app(cast("Any", None), tokens=cast("Any", None), port=1)
    found = [("GET", f"{route.path}/app.css") for route in app.routes if isinstance(route, Mount)]
    for context in iter_route_contexts(app.routes):
        path = re.sub(r"\{[^}]*\}", "1", context.path or "")
        found.extend((method, path) for method in context.methods or ())
    return [(method, path) for method, path in found if path != "/login"]


WAYS = ["none", "wrong", "query", "basic", "cookie", "body", "twice", "lower case", "revoked"]


@pytest.mark.parametrize("way", WAYS)
def test_no_route_answers_without_the_right_token(site: Site, way: str) -> None:
    """1: every route, every way."""
    right, tokens = site.token, Tokens(site.folder)
    revoked = tokens.share("gone", lifetime=60.0)
    tokens.revoke("gone")
    headers = {
        "wrong": {"authorization": f"Bearer {right[:-1]}"},
        "basic": {"authorization": f"Basic {right}"},
        "cookie": {"cookie": f"qcov-session-{site.port}={right}; token={right}"},
        "twice": {"authorization": f"Bearer {right} {right}"},
        "lower case": {"authorization": f"Bearer {right.lower()}"},
        "revoked": {"authorization": f"Bearer {revoked}"},
    }.get(way, {})
    query = f"?token={right}&access_token={right}&code={right}" if way == "query" else ""
    body = {"token": right} if way == "body" else {}

    found = routes()
    assert len(found) > 50
    with httpx.Client(base_url=site.url, headers=headers, trust_env=False, timeout=60) as stranger:
        for method, path in found:
            answer = stranger.request(method, path + query, json=body)
            assert answer.status_code == 401, (method, path)
            assert not {"set-cookie", "location"} & set(answer.headers), (method, path)


def test_a_reader_changes_nothing(site: Site) -> None:
    """1: with a token that lets somebody look, all that is refused is refused before any route."""
    tokens = Tokens(site.folder)
    with site.client(tokens.share("a reader", lifetime=60.0)) as reader:
        for method, path in routes():
            answer = (
                reader.request(method, path, json={})
                if path != "/api/v1/events" and not path.endswith(("/wait", "/progress"))
                else None
            )
            if method not in ("GET", "HEAD") or path in ("/logs", "/settings"):
                assert answer is not None
                assert answer.status_code == 403, (method, path)
                assert "You may look here" in answer.text
            elif answer is not None:
                assert answer.status_code in (200, 303, 404, 422), (method, path)
    tokens.revoke("a reader")


@pytest.mark.parametrize("path", ["/login%3F", "/login%23/x", "/%6cogin/", "//login", "/login/.."])
def test_no_other_address_is_as_open_as_the_login(site: Site, path: str) -> None:
    """1: an address that some parser reads as the login's."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port)) as sock:
        sock.sendall(request.encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
    ],
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_stream_is_refused_before_it_begins(
    site: Site, headers: dict[str, str], status: int, upgrade: bool
) -> None:
    """5: an event stream, and a WebSocket, which nothing here speaks."""
    known = {"authorization": f"Bearer {site.token}"} if headers else {}
    asked = {"connection": "Upgrade", "upgrade": "websocket"} if upgrade else {}
    with site.client() as client:
        before = client.get("/api/v1/status").json()["event_streams"]
        answer = httpx.get(
            f"{site.url}/api/v1/events",
            headers=known | headers | asked,
            trust_env=False,
            timeout=60,
        )
        after = client.get("/api/v1/status").json()["event_streams"]

    assert answer.status_code == status
    assert answer.headers["content-type"] != "text/event-stream"
    assert after == before


@ct.lattice
def nothing() -> int:
    return 1


def test_a_reader_hears_nothing_of_the_log(site: Site) -> None:
    """1: the log tells of more than the dispatches."""
    tokens = Tokens(site.folder)
    heard = {}
    for who, token in (("owner", site.token), ("reader", tokens.share("r", lifetime=60.0))):
        address = "/api/v1/events?topic=log"
        with site.client(token) as client, client.stream("GET", address) as stream:
            lines = stream.iter_lines()
            next(line for line in lines if line == "event: hello")
            let_something_be_logged(site)
            ct.dispatch_sync(nothing)()
            heard[who] = next(line for line in lines if line in ("event: log", "event: changes"))
    tokens.revoke("r")
    assert heard == {"owner": "event: log", "reader": "event: changes"}


def let_something_be_logged(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as sock:
        sock.sendall(b"this is not HTTP\r\n\r\n")  # uvicorn warns of it
        sock.recv(4096)

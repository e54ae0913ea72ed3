from __future__ import annotations

import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from qcov_server import guard
from qcov_server.app import create_app
from qcov_server.auth import Sessions

if TYPE_CHECKING:
    from conftest import MemoryEngine, Server

PUBLIC = {"/login"}
MUTATIONS = ["/api/v1/dispatches", "/api/v1/dispatches/a/cancel"]


def all_routes(engine: MemoryEngine) -> list[tuple[str, str]]:
    """Method and path of everything that the application answers, the REST part in it."""
    app = create_app(engine, tokens=cast("Any", None), port=1)
    found = [("GET", f"{route.path}/app.css") for route in app.routes if isinstance(route, Mount)]
    for context in iter_route_contexts(app.routes):
        path = re.sub(r"\{[^}]*\}", "1", context.path or "")
        found.extend((method, path) for method in context.methods or ())
    return found


def test_every_route_is_found(engine: MemoryEngine) -> None:
    routes = set(all_routes(engine))

    assert ("GET", "/") in routes
    assert ("POST", "/api/v1/dispatches") in routes
    assert ("GET", "/api/v1/events") in routes
    assert ("GET", "/api/v1/openapi.json") in routes
    assert ("GET", "/dispatches/1/nodes/1") in routes
    assert len(routes) > 15


@pytest.mark.parametrize("way", ["none", "wrong", "query", "basic", "cookie", "empty"])
def test_no_route_answers_a_stranger(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, way: str
) -> None:
    headers = {
        "wrong": {"authorization": "Bearer wrong"},
        "basic": {"authorization": f"Basic {server.token}"},
        "cookie": {"cookie": f"qcov-session-{server.port}=99999999999.00ff"},
        "empty": {"authorization": "Bearer"},
    }.get(way, {})
    query = f"?token={server.token}&access_token={server.token}" if way == "query" else ""

    for method, path in all_routes(engine):
        if path not in PUBLIC:
            answer = stranger.request(method, path + query, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/static/../app.py", "/api/v1/nowhere", "//", "/login/x"]
)
def test_what_does_not_exist_is_hidden_from_strangers_too(
    stranger: httpx.Client, path: str
) -> None:
    assert stranger.get(path).status_code == 401


def test_a_token_opens_everything(client: httpx.Client) -> None:
    assert client.get("/api/v1/status").status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.:{port}",
        "localhost:{other}",
        "localhost",
        "127.0.0.1",
        "0.0.0.0:{port}",
        "[::2]:{port}",
        "::1:{port}",
        "localhost:{port}@evil.example",
        "",
    ],
)
def test_a_foreign_host_header_is_refused(client: httpx.Client, server: Server, host: str) -> None:
    name = host.format(port=server.port, other=server.port + 1)

    assert client.get("/api/v1/status", headers={"host": name}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_its_own_names_pass(client: httpx.Client, server: Server, host: str) -> None:
    headers = {"host": f"{host}:{server.port}"}

    assert client.get("/api/v1/status", headers=headers).status_code == 200


def test_two_host_headers_are_refused(server: Server) -> None:
    request = (
        f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n"
        f"Authorization: Bearer {server.token}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(request.encode())
        answer = sock.recv(4096).decode()

    assert answer.split()[1] in {"400", "421"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "anything"},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ],
)
def test_other_sites_are_refused_with_a_valid_session_too(
    stranger: httpx.Client, server: Server, method: str, headers: dict[str, str]
) -> None:
    stranger.get("/login", params={"code": server.login_code()})
    assert stranger.get("/").status_code == 200

    for path in ("/", "/api/v1/events", "/api/v1/dispatches", "/login?on=1"):
        assert stranger.request(method, path, headers=headers).status_code == 403
    if method != "GET" or "sec-fetch-mode" not in headers:
        assert stranger.request(method, "/login", headers=headers).status_code == 403


#: What Chromium sends when a link on another site is followed.
FROM_MAIL = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "accept": "text/html",
}


@pytest.mark.parametrize(
    ("asked", "led_to"),
    [
        ("/dispatches/d?view=table&page=2", "/dispatches/d?view=table&amp;page=2"),
        ("//evil.example/x", "/evil.example/x"),
        ("/%5Cevil.example", "/evil.example"),
        ('/%22%3E%3Cscript%3E?"><script>', "/%22%3E%3Cscript%3E?%22%3E%3Cscript%3E"),
        ("/login?on=1", "/login?on=1"),
    ],
)
def test_a_link_from_another_site_says_what_to_do(server: Server, asked: str, led_to: str) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in FROM_MAIL.items())
    request = f"GET {asked} HTTP/1.0\r\nHost: localhost:{server.port}\r\n{head}\r\n"
    with socket.create_connection(("localhost", server.port)) as sock:
        sock.sendall(request.encode())
        told = b"".join(iter(lambda: sock.recv(4096), b"")).decode()

    assert told.split()[1] == "403"
    assert re.findall(r'href="(/.*?)"', told) == [led_to]
    assert "open the page from here" in told
    assert "refresh" not in told


def test_a_login_link_in_a_mail_leads_on_and_works_once(
    stranger: httpx.Client, server: Server
) -> None:
    code = server.login_code()
    link = {"code": code, "to": "/dispatches/d"}
    for _ in range(2):  # it is not used before the browser can be seen to be in already
        step = stranger.get("/login", params=link, headers=FROM_MAIL)
        assert step.status_code == 200
        assert "set-cookie" not in step.headers
    [on] = re.findall(r'http-equiv="refresh" content="0; url=(.*?)"', step.text)
    assert on == f"/login?code={code}&amp;to=%2Fdispatches%2Fd&amp;on=1"
    on = on.replace("&amp;", "&")
    assert stranger.get(on, headers=FROM_MAIL).status_code == 403  # so it does not go in circles
    assert 'href="/dispatches/d"' in stranger.get(on).text
    assert stranger.get(on).status_code == 401


def test_a_link_from_a_notebook_on_this_machine_opens_a_page(
    client: httpx.Client, server: Server
) -> None:
    visit = {
        "sec-fetch-site": "same-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }

    assert client.get("/", headers=visit).status_code == 200
    assert client.post("/api/v1/dispatches", headers=visit, json={}).status_code == 403
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert client.get("/api/v1/status", headers=own).status_code == 200


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "OPTIONS", "CONNECTX"])
def test_other_methods_are_refused(client: httpx.Client, method: str) -> None:
    assert client.request(method, "/api/v1/dispatches").status_code == 405


def test_no_preflight_ever_succeeds(client: httpx.Client) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = client.options("/api/v1/dispatches", headers=headers)

    assert answer.status_code >= 400
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", MUTATIONS)
@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "application/x-www-form-urlencoded", "text/plain", "", "text/json",
     "application/octet-stream", "application/jsonp"],
)  # fmt: skip
def test_only_json_changes_anything(
    client: httpx.Client, engine: MemoryEngine, path: str, kind: str
) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = client.post(path, content=json.dumps({"nodes": []}), headers=headers)

    assert answer.status_code == 415
    assert not engine.submitted
    assert not engine.cancelled


def test_a_body_may_be_too_large(
    client: httpx.Client, engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_BODY", 100)
    said = client.post("/api/v1/dispatches", json={"nodes": ["x" * 200]})
    assert said.status_code == 413

    def unsaid() -> object:  # chunked: no content-length
        yield b'{"nodes": ["' + b"x" * 200 + b'"]}'

    headers = {"content-type": "application/json"}
    try:
        answer = client.post("/api/v1/dispatches", content=unsaid(), headers=headers)
        assert answer.status_code >= 400
    except httpx.RemoteProtocolError:
        pass  # hung up on
    assert not engine.submitted


def test_a_code_logs_one_browser_in_once(stranger: httpx.Client, server: Server) -> None:
    code = server.login_code()
    first = stranger.get("/login", params={"code": code})

    assert first.status_code == 200
    assert 'href="/"' in first.text
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert server.token.lower() not in cookie
    assert stranger.get("/").status_code == 200

    with httpx.Client(base_url=server.url, verify=False, trust_env=False, timeout=60) as second:
        again = second.get("/login", params={"code": code}, headers={"accept": "text/html"})
        assert again.status_code == 401
        assert "used already" in again.text
        assert "set-cookie" not in again.headers


def test_a_browser_without_a_session_learns_how_to_get_one(stranger: httpx.Client) -> None:
    answer = stranger.get("/", headers={"accept": "text/html"})

    assert answer.status_code == 401
    assert "qcov start" in answer.text


def test_every_answer_carries_the_headers(client: httpx.Client, stranger: httpx.Client) -> None:
    for path in ("/", "/api/v1/status", "/static/app.css", "/nowhere", "/api/v1/dispatches/x"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert client.get("/").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "%252e%252e/app.py", "..%5capp.py", "/etc/passwd",
     "%00", "C:%5c", "x" * 3000, "status"],
)  # fmt: skip
def test_static_files_stay_in_their_folder(client: httpx.Client, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("TRACE", "/api/v1/dispatches", "GET, POST"),
        ("PUT", "/api/v1/dispatches", "GET, POST"),
        ("OPTIONS", "/api/v1/dispatches/a/cancel", "POST"),
        ("BREW", "/", "GET"),
    ],
)
def test_what_a_path_does_not_serve_is_told_what_it_does(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_body_that_is_no_text_is_a_problem(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/dispatches/a/rerun", content=b"\xff\xfe", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:qcov:error:InvalidRequest")


@pytest.mark.parametrize(
    "path",
    ["/?search=a%00b", "/api/v1/dispatches?search=%00", "/dispatches/d/nodes?x=1&search=%00"],
)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_nothing_is_looked_for_that_has_a_nul(
    client: httpx.Client, engine: MemoryEngine, path: str, accept: str
) -> None:
    engine.store.add("d")
    assert client.get(path.replace("%00", "0")).status_code == 200
    answer = client.get(path, headers={"accept": accept})

    assert answer.status_code == 422
    assert "cannot have a NUL character in it" in answer.text


def test_who_was_let_in_to_look_changes_nothing(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, shared: str
) -> None:
    engine.store.add("d")
    for changed in (False, True):
        assert stranger.get("/api/v1/dispatches/d").status_code == (200 if changed else 401)
        link = {"code": shared, "to": "/dispatches/d"}
        let_in = stranger.get("/login", params=link)
        assert (let_in.status_code, let_in.headers["location"]) == (303, "/dispatches/d")
    assert stranger.get("/dispatches/d").status_code == 200
    for method, path in all_routes(engine):
        if method not in ("GET", "HEAD") or path.startswith(guard._OWNERS_ONLY):
            assert stranger.request(method, path, json={}).status_code == 403, (method, path)
    head = {"authorization": f"Bearer {shared}"}
    with httpx.Client(base_url=server.url, headers=head, timeout=60) as other:
        assert other.get("/api/v1/dispatches/d").status_code == 200
        assert other.post("/api/v1/dispatches/d/cancel", json={}).status_code == 403
    assert engine.cancelled == []

    server.tokens.revoke("a colleague")
    assert stranger.get("/api/v1/dispatches/d").status_code == 401


def test_a_reader_is_led_to_nothing_that_is_refused(
    client: httpx.Client, engine: MemoryEngine, shared: str
) -> None:
    engine.store.add("d", [{}])
    reader = {"authorization": f"Bearer {shared}"}
    for path in ("/", "/dispatches/d"):
        seen, owners = client.get(path, headers=reader).text, client.get(path).text
        assert 'data-access="reader"' in seen  # where the style hides what changes something
        assert "data-changes" in owners
        assert not re.search(r"<button(?![^>]*data-changes)[^>]*data-(do|send|cancel)=", owners)
        for place in guard._OWNERS_ONLY[:2]:
            assert f'href="{place}"' in owners
            assert f'href="{place}"' not in seen


def test_a_cookie_alone_changes_nothing(
    stranger: httpx.Client, server: Server, engine: MemoryEngine
) -> None:
    """Browsers send it to each server on this machine, and that may belong to somebody else."""
    engine.store.add("d")
    stranger.get("/login", params={"code": server.login_code()})
    other = Sessions(server.tokens, server.port, lambda: time.time() + 9).make()[0]
    wrong = ["", "0" * 64, "é", server.token, server.http.sessions.key(other)]
    changes = [pair for pair in all_routes(engine) if pair[0] not in ("GET", "HEAD")]
    assert ("DELETE", "/api/v1/dispatches/1") in changes
    for method, path in changes:
        for sent in ({}, {"authorization": ""}, *({"qcov-key": one.encode()} for one in wrong)):
            answer = stranger.request(method, path, json={}, headers=sent)
            assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden"), (path, sent)
            assert "Log in again" in answer.json()["detail"]
    cancel = "/api/v1/dispatches/d/cancel"
    assert engine.cancelled == []
    with_key = {"qcov-key": server.key_of(stranger)}
    assert stranger.post(cancel, json={}, headers=with_key).status_code == 200
    assert [one for one, _ in engine.cancelled] == ["d"]


def test_no_page_but_the_login_tells_the_key(
    stranger: httpx.Client, server: Server, engine: MemoryEngine
) -> None:
    engine.store.add("d", [{}])
    login = stranger.get("/login", params={"code": server.login_code()})
    key = server.key_of(stranger)
    assert key in login.text
    for path in ("/", "/dispatches/d", "/settings", "/api/v1/status", "/login?code=used", "/no"):
        answer = stranger.get(path)
        assert key not in answer.text + str(answer.headers), path


@pytest.mark.parametrize("how", ["token", "cookie"])
def test_a_link_to_one_dispatch_shows_nothing_else(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, only: str, how: str
) -> None:
    add, page = engine.store.add, {"accept": "text/html"}
    add("other", [{}])
    add("mine", [{}])
    add("part", [{}], parent_id="mine", root_id="mine")
    add("deeper", [{}], parent_id="part", root_id="mine")
    if how == "token":
        stranger.headers["authorization"] = f"Bearer {only}"
    else:
        stranger.get("/login", params={"code": only})
    for name in ("mine", "part", "deeper"):
        for below in ("", "/nodes/0", "/heading", "/nodes", "/graph"):
            answer = stranger.get(f"/dispatches/{name}{below}")
            assert answer.status_code == 200, answer.url
            assert "/compare?" not in answer.text
            assert 'class="places" aria-label="Main">\n  </nav>' in answer.text or below
        assert stranger.get(f"/api/v1/dispatches/{name}").json()["id"] == name
    for method, route in all_routes(engine):
        if method in ("GET", "HEAD") and route not in ("/", "/login", "/api/v1/events"):
            for path in {route, route.replace("/1", "/other", 1)} - {"/static/app.css"}:
                told = stranger.request(method, path, headers=page)
                assert told.status_code == 404, (method, path)
                assert "<title>Not Found" in told.text or method == "HEAD" or "/api/" in path
        elif method not in ("GET", "HEAD"):
            assert stranger.request(method, route, json={}).status_code == 404
            mine = route.replace("/1", "/mine", 1)
            assert stranger.request(method, mine, json={}).status_code == (
                403 if "dispatches/mine" in mine else 404
            )
    for path in (
        "/dispatches/mine/../other", "/dispatches/mine%2f..%2fother", "/dispatches//other",
        "/compare?a=mine&b=other", "//dispatches/other", "/dispatches/nobodys",
    ):  # fmt: skip
        assert stranger.get(path).status_code == 404, path
    assert stranger.get("/").headers["location"] == "/dispatches/mine"


def test_a_link_to_one_dispatch_names_no_other(
    client: httpx.Client, engine: MemoryEngine, only: str
) -> None:
    add, names = engine.store.add, ("above-id", "every night", "/triggers/", "earlier")
    add("above-id")
    add("mine", [{"reused_from": "earlier"}], parent_id="above-id", root_id="above-id")
    add("part", [{"reused_from": "earlier"}], parent_id="mine", root_id="above-id")
    trigger = {"id": "t1", "name": "every night", "status": "ACTIVE"}
    engine.store.triggers = {"mine": [trigger], "part": [trigger]}
    addresses = ("", "/heading", "/nodes", "?view=table", "/nodes/0", "/nodes/0/state")
    told: dict[tuple[str, bool], dict[tuple[str, str], str]] = {}
    for name in ("mine", "part"):
        for bound in (False, True):
            head = {"authorization": f"Bearer {only}"} if bound else {}
            pages = told[name, bound] = {}
            for below in addresses:
                for part in ("true", "false"):
                    asked = {**head, "hx-request": part, "hx-target": "inspector"}
                    answer = client.get(f"/dispatches/{name}{below}", headers=asked)
                    assert answer.status_code == 200
                    pages[below, part] = answer.text
    for (name, bound), pages in told.items():
        expected = () if bound else names if name == "mine" else names[1:]
        assert [one for one in names if one in "".join(pages.values())] == [*expected], name
    assert 'href="/dispatches/mine"' in told["part", True]["/heading", "true"]  # it may be seen
    assert ">reused<" in told["part", True]["/nodes", "true"]


def test_what_was_waited_for_is_not_told_to_who_may_look_no_more(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, only: str
) -> None:
    async def revoked_meanwhile(*_: Any) -> str:
        server.tokens.revoke("a guest")
        return "COMPLETED"

    engine.store.add("mine", result_repr="a secret")
    engine.wait = revoked_meanwhile
    stranger.headers["authorization"] = f"Bearer {only}"
    answer = stranger.get("/api/v1/dispatches/mine/wait?whole=true")
    del engine.wait

    assert answer.status_code == 401
    assert "COMPLETED" not in answer.text


def test_the_owner_who_opens_a_shared_link_stays_the_owner(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, shared: str
) -> None:
    engine.store.add("d")
    stranger.get("/login", params={"code": server.login_code()})
    stranger.get("/login", params={"code": shared})
    stranger.headers["qcov-key"] = server.key_of(stranger)
    assert stranger.post("/api/v1/dispatches/d/cancel", json={}).status_code == 200


def test_a_second_link_shows_what_it_is_to(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, shared: str, only: str
) -> None:
    """As does the first one again; what shows no more than before leaves all as it was."""
    for name in ("mine", "other"):
        engine.store.add(name)
    links = {
        "mine": only,
        "other": server.tokens.share("to another", lifetime=60.0, dispatch="other"),
        "all": shared,
        "all, longer": server.tokens.share("for longer", lifetime=90.0),
        "owner": server.login_code(),
    }
    sees = {"mine": ("mine",), "other": ("other",)}
    opened = ["mine", "other", "mine", "all", "other", "all, longer", "all", "owner", "mine"]
    expected = ["mine", "other", "mine", "all", "all", *["all, longer"] * 2, *["owner"] * 2]
    cookies: dict[str, str] = {}
    for link, holds in zip(opened, expected, strict=True):
        stranger.get("/login", params={"code": links[link]})
        for name in ("mine", "other"):
            seen = stranger.get(f"/dispatches/{name}").status_code == 200
            assert seen == (name in sees.get(holds, ("mine", "other"))), (link, name)
        cookie = stranger.cookies[server.http.sessions.cookie]
        assert cookies.setdefault(holds, cookie) == cookie
    assert len({*cookies.values()}) == len(cookies)

    server.tokens.rotate()  # whoever was in is not any more
    new = server.tokens.share("a guest", lifetime=60.0, dispatch="mine")
    stranger.get("/login", params={"code": new})
    assert stranger.get("/dispatches/mine").status_code == 200


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil", "/a?b", "x"])
def test_a_login_leads_nowhere_else(stranger: httpx.Client, shared: str, to: str) -> None:
    assert stranger.get("/login", params={"code": shared, "to": to}).status_code == 422


def test_a_new_token_ends_the_old_one_and_every_session(
    server: Server,
) -> None:
    headers = {"authorization": f"Bearer {server.token}"}
    at = {"base_url": server.url, "timeout": 60}
    with httpx.Client(**at) as browser, httpx.Client(**at) as program:
        browser.get("/login", params={"code": server.login_code()})
        assert browser.get("/api/v1/status").status_code == 200
        new = server.tokens.rotate()
        assert browser.get("/api/v1/status").status_code == 401
        assert program.get("/api/v1/status", headers=headers).status_code == 401
        headers = {"authorization": f"Bearer {new}"}
        assert program.get("/api/v1/status", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/api/v1/dispatches/d", "*/*", "application/problem+json"),
        ("/api/v1/dispatches/d", "text/html", "application/problem+json"),
        ("/dispatches/d", "text/html", "text/html; charset=utf-8"),
        ("/dispatches/part", "*/*", "application/problem+json"),  # found out on the way there
    ],
)
def test_a_defect_is_a_problem_that_tells_nothing(
    stranger: httpx.Client, server: Server, engine: MemoryEngine, only: str,
    caplog: pytest.LogCaptureFixture, path: str, accept: str, kind: str,
) -> None:  # fmt: skip
    def broken(dispatch_id: str) -> dict[str, Any]:
        raise RuntimeError("a canary")

    engine.store.get_dispatch = broken
    token = only if path.endswith("part") else server.token
    headers = {"accept": accept, "authorization": f"Bearer {token}"}
    answer = stranger.get(path, headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (500, kind)
    assert "qcov logs" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    for told in ("canary", "RuntimeError", "Traceback"):
        assert told not in answer.text
    assert "RuntimeError: a canary" in caplog.text
    assert f"GET {path} has failed" in caplog.text

"""The door: every request passes here before any route sees it.

The server is for one user on one machine, but any page open in that user's browser can send it
requests, and a name server can make a foreign name point at it. So the checks come in this order:
the Host header names this server; the browser does not say that another site sent the request (see
`sites`); the token or a session is there, with its key for what changes something; who may see one
dispatch asks for no other; the body is of a kind that no HTML form can send, and not too large.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qcov.errors import AccessRefused, InvalidRequest
from qcov_server.auth import Sessions
from qcov_server.bounds import Bounds
from qcov_server.problems import answer, problem
from qcov_server.sites import LOGIN_PATH, is_visit, is_welcome, own_address
from qcov_server.tokens import STILL_IN, VISITOR, Access, Tokens, Visitor, same
from qcov_server.ui.render import SIGN_IN_STYLE_DIGEST, foreign_page, sign_in_page, wants_page

#: The largest body, in bytes. A dispatch carries its inputs.
MAX_BODY = 512 * 1024 * 1024

#: What tells of more than the dispatches.
_OWNERS_ONLY = ("/settings", "/logs", "/api/v1/settings", "/api/v1/logs")

_log = logging.getLogger(__name__)
_INVALID, _REFUSED = InvalidRequest.__name__, AccessRefused.__name__
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_SAFE = frozenset({"GET", "HEAD"})
KEY_HEADER = "qcov-key"  #: brings the second secret of a browser's session
_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' '{style}'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY.format(style=SIGN_IN_STYLE_DIGEST),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """The ASGI application around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens,
        sessions: Sessions,
        bounds: Bounds,
        hosts: Collection[str],
        routes: Sequence[BaseRoute],
    ) -> None:
        self._app = app
        self._routes = routes
        self._tokens = tokens
        self._sessions = sessions
        self._bounds = bounds
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            served = _without_defects(self._serve)
            await served(scope, receive, _with_headers(send, scope["path"]))
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        refusal = (
            self._refuse_host(request.headers)
            or _refuse_foreign_site(request)
            or self._refuse_stranger(request)
            or await self._refuse_elsewhere(request)
            or self._refuse_change(request)
            or _refuse_nul(request)
            or self._refuse_method(request)
            or self._refuse_body(request)
        )
        if refusal is not None:
            await refusal(scope, receive, send)
        elif request.method in _SAFE and STILL_IN in scope:
            await self._app(scope, _limited(receive), _if_still_in(request, receive, send))
        else:
            await self._app(scope, _limited(receive), send)

    def _refuse_host(self, headers: Headers) -> Response | None:
        given = headers.getlist("host")
        if len(given) == 1 and given[0].lower() in self._hosts:
            return None
        detail = "This server does not answer to that Host header."
        return problem(421, detail, kind=_INVALID)

    def _refuse_method(self, request: Request) -> Response | None:
        if self._serves(request.scope):
            return None
        allowed = [name for name in _METHODS if self._serves({**request.scope, "method": name})]
        if not allowed:  # there is nothing at all, which is for the routes to say
            return None
        names = {"allow": ", ".join(allowed)}
        return problem(405, f"{request.method} is not served here.", kind=_INVALID, headers=names)

    def _serves(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)

    def _refuse_stranger(self, request: Request) -> Response | None:
        if request.scope["path"] == LOGIN_PATH:  # its URL may be read in another way
            return None
        cookie = self._cookie(request)
        visitor = self._visitor(request, cookie)
        if visitor is None:
            return _who_is_it(request)
        request.scope[VISITOR] = visitor
        request.scope[STILL_IN] = lambda: self._visitor(request, cookie) == visitor
        return None

    def _refuse_change(self, request: Request) -> Response | None:
        visitor: Visitor | None = request.scope.get(VISITOR)
        if visitor is None:  # on the way to the login
            return None
        if visitor.access is Access.READER and (
            request.method not in _SAFE or request.scope["path"].startswith(_OWNERS_ONLY)
        ):
            detail = "You may look here, and not at this, nor change anything."
            return problem(403, detail, kind=_REFUSED)
        if request.method not in _SAFE and not self._has_key(request):
            detail = (
                "This browser may look, but has lost the key to change anything. "
                "Log in again: `qcov start` prints a link."
            )
            return problem(403, detail, kind=_REFUSED)
        return None

    def _cookie(self, request: Request) -> str | None:
        """The session with which a request comes; None if it comes with something else."""
        if request.headers.get("authorization"):
            return None
        return _cookie(request.headers, self._sessions.cookie)

    def _visitor(self, request: Request, cookie: str | None) -> Visitor | None:
        if cookie is not None:
            return self._sessions.visitor(cookie)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return self._tokens.visitor(given.strip()) if scheme.lower() == "bearer" else None

    def _has_key(self, request: Request) -> bool:
        """A cookie alone may come from another server on this machine: browsers give it to all."""
        cookie = self._cookie(request)
        given = request.headers.get(KEY_HEADER, "")
        return cookie is None or same(given, self._sessions.key(cookie))

    async def _refuse_elsewhere(self, request: Request) -> Response | None:
        """Who was let in to see one dispatch finds nothing else here, as if there were nothing."""
        visitor: Visitor | None = request.scope.get(VISITOR)
        if visitor is None or visitor.dispatch is None:
            return None
        path = request.scope["path"]
        if path == "/":
            return RedirectResponse(f"/dispatches/{visitor.dispatch}", status_code=303)
        if await self._bounds.hold(path, visitor.dispatch):
            return None
        return answer(request, 404, "There is nothing here that you were let in to see.")

    def _refuse_body(self, request: Request) -> Response | None:
        length = request.headers.get("content-length", "0")
        if request.method in _SAFE or (request.method == "DELETE" and length == "0"):
            return None  # no form sends DELETE, and a script elsewhere has to ask first
        if length.isdecimal() and int(length) > MAX_BODY:
            detail = f"A request may have at most {MAX_BODY} bytes."
            return problem(413, detail, kind=_INVALID)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or (
            kind == "application/octet-stream" and request.method == "PUT"
        ):
            return None
        detail = "Send JSON, with 'Content-Type: application/json'."
        return problem(415, detail, kind=_INVALID)


def _refuse_foreign_site(request: Request) -> Response | None:
    if is_welcome(request):
        return None
    if is_visit(request) and wants_page(request):
        return foreign_page(own_address(request))
    return problem(403, "Requests from other sites are refused.", kind=_REFUSED)


def _refuse_nul(request: Request) -> Response | None:
    """No text that is kept here has one, and databases and files each take it in their own way."""
    if "\0" in request.scope["path"]:
        return answer(request, 404, "No address has a NUL character in it.")
    if b"%00" in request.scope["query_string"]:
        detail = "What is asked for cannot have a NUL character in it."
        return answer(request, 422, detail, kind=_INVALID)
    return None


def _who_is_it(request: Request) -> Response:
    if wants_page(request):
        return sign_in_page()
    detail = "Send the token as 'Authorization: Bearer ...', or log in: `qcov start`."
    return problem(401, detail, kind=_REFUSED, headers={"www-authenticate": "Bearer"})


def _if_still_in(request: Request, receive: Receive, send: Send) -> Send:
    """Some answers are waited for: whoever may see nothing more by then is told so instead."""
    out = False

    async def sent(message: Message) -> None:
        nonlocal out
        if message["type"] == "http.response.start" and not request.scope[STILL_IN]():
            out = True
            await _who_is_it(request)(request.scope, receive, send)
        elif not out:
            await send(message)

    return sent


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found else None


def _without_defects(app: ASGIApp) -> ASGIApp:
    """Answer what nobody foresaw as a problem, which says nothing of it; the log says all."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, sent)
        except Exception:
            if begun:  # the connection is closed, and whoever runs the server logs it
                raise
            _log.exception("%s %s has failed", scope["method"], scope["path"])
            await _defect(Request(scope))(scope, receive, send)

    return served


def _defect(request: Request) -> Response:
    detail = "The server has failed to answer, by a defect of its own: `qcov logs` says which."
    try:
        return answer(request, 500, detail)
    except Exception:  # noqa: BLE001  # the pages may be what is broken
        return problem(500, detail)


def _limited(receive: Receive) -> Receive:
    """Stop reading a body that is larger than it said."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= MAX_BODY else {"type": "http.disconnect"}

    return counted


def _with_headers(send: Send, path: str) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers["cache-control"] = "no-cache" if path.startswith("/static/") else "no-store"
        await send(message)

    return sent

"""Logging in: a code, or a token that was shared, against a session."""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from qcov_server.auth import LoginCodes, Sessions
from qcov_server.sites import LOGIN_PATH, STEP, is_far_login, says_where_from
from qcov_server.tokens import Access, Share, Tokens, Visitor, digest, same
from qcov_server.ui.render import key_page, sign_in_page, step_page

router = APIRouter(include_in_schema=False)

_STEP_COOKIE = "qcov-step"

#: A page of this server, and never `//another.host`.
_PAGE = r"^/([a-z]+(/[\w-]+)*)?$"


@router.get(LOGIN_PATH)
def login(
    request: Request,
    code: Annotated[str, Query(max_length=200)] = "",
    to: Annotated[str, Query(max_length=200, pattern=_PAGE)] = "/",
) -> Response:
    """Let a browser in, and lead it to a page.

    A link that was followed from another site, such as web mail, comes without this server's
    cookies, and so would whatever it leads to. A page of this server's own, which goes on to the
    same link by itself, brings them: nobody loses the session of an owner by a link to less. Where
    browsers do not say that they come from another site, a cookie tells that they have taken it.
    """
    if is_far_login(request):
        return _step(code, to, "1")
    codes: LoginCodes = request.app.state.login_codes
    sessions: Sessions = request.app.state.sessions
    tokens: Tokens = request.app.state.tokens
    if codes.redeem(code):
        value, lifetime = sessions.make()
        response = key_page(sessions.key(value), to)
    else:
        share = tokens.share_of(digest(code))
        if share is None:
            return sign_in_page("That login link was used already, was taken back, or is too old.")
        response = RedirectResponse(to, status_code=303)
        held = sessions.visitor(request.cookies.get(sessions.cookie, ""))
        if held is None and not says_where_from(request) and not _took_step(request):
            taken = secrets.token_urlsafe(16)
            response = _step(code, to, taken)
            response.set_cookie(
                _STEP_COOKIE, taken, max_age=60, httponly=True, samesite="strict", path=LOGIN_PATH
            )
            return response
        if held is not None and _shows_no_more(share, held, tokens):
            return response
        value, lifetime = sessions.make(share)
    response.set_cookie(
        sessions.cookie, value, max_age=lifetime, httponly=True, samesite="strict", path="/"
    )
    return response


def _step(code: str, to: str, taken: str) -> Response:
    return step_page(f"{LOGIN_PATH}?{urlencode({'code': code, 'to': to, STEP: taken})}")


def _took_step(request: Request) -> bool:
    """Whether a page of this server's has led here: its cookie came, so others would have too."""
    taken = request.cookies.get(_STEP_COOKIE, "")
    return bool(taken) and same(taken, request.query_params.get(STEP, ""))


def _shows_no_more(share: Share, held: Visitor, tokens: Tokens) -> bool:
    """Whether a browser that has a session already could see all that a share shows, as long."""
    if held.access is Access.OWNER:
        return True
    if held.dispatch is not None:  # whoever opens a link wants to see what it is to
        return False
    own = tokens.share_of(held.name)
    return share.dispatch is not None or (own is not None and own.expires >= share.expires)

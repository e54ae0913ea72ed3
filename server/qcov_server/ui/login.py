"""Logging in: a code, or a token that was shared, against a session."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from qcov_server.auth import LoginCodes, Sessions
from qcov_server.tokens import Tokens, digest
from qcov_server.ui.render import key_page, sign_in_page

router = APIRouter(include_in_schema=False)

#: A page of this server, and never `//another.host`.
_PAGE = r"^/([a-z]+(/[\w-]+)*)?$"


@router.get("/login")
def login(
    request: Request,
    code: Annotated[str, Query(max_length=200)] = "",
    to: Annotated[str, Query(max_length=200, pattern=_PAGE)] = "/",
) -> Response:
    """Let a browser in, and lead it to a page."""
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
        if sessions.visitor(request.cookies.get(sessions.cookie, "")):
            return response  # who is in already would be able to do less
        value, lifetime = sessions.make(share)
    response.set_cookie(
        sessions.cookie, value, max_age=lifetime, httponly=True, samesite="strict", path="/"
    )
    return response

"""Logging in: a code, or a token that was shared, against a session."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from qcov_server.auth import LoginCodes, Sessions
from qcov_server.sites import LOGIN_PATH, STEP, is_far_login
from qcov_server.tokens import Access, Share, Tokens, Visitor, digest
from qcov_server.ui.render import key_page, sign_in_page, step_page

router = APIRouter(include_in_schema=False)

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
    same link by itself, brings them: nobody loses the session of an owner by a link to less.
    """
    if is_far_login(request):
        return step_page(f"{LOGIN_PATH}?{urlencode({'code': code, 'to': to, STEP: 1})}")
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
        if held is not None and _shows_no_more(share, held, tokens):
            return response
        value, lifetime = sessions.make(share)
    response.set_cookie(
        sessions.cookie, value, max_age=lifetime, httponly=True, samesite="strict", path="/"
    )
    return response


def _shows_no_more(share: Share, held: Visitor, tokens: Tokens) -> bool:
    """Whether a browser that has a session already could see all that a share shows, as long."""
    if held.access is Access.OWNER:
        return True
    if held.dispatch is not None:  # whoever opens a link wants to see what it is to
        return False
    own = tokens.share_of(held.name)
    return share.dispatch is not None or (own is not None and own.expires >= share.expires)

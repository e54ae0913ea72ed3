"""The pages' routes. Reads are plain functions: they run in a worker thread."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from qcov.errors import NodeNotFound
from qcov_server.auth import SESSION_LIFETIME, LoginCodes, Sessions
from qcov_server.ui.render import render, sign_in_page
from qcov_server.ui.windows import TheStore, timed

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login(request: Request, code: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Trade a one-time code for a session."""
    codes: LoginCodes = request.app.state.login_codes
    sessions: Sessions = request.app.state.sessions
    if not codes.redeem(code):
        return sign_in_page("That login link was used already, or is too old.")
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        sessions.cookie, sessions.make(), max_age=int(SESSION_LIFETIME), httponly=True,
        samesite="strict", path="/",
    )  # fmt: skip
    return response


@router.get("/dispatches/{dispatch_id}/nodes/{node_id}")
def node(request: Request, store: TheStore, dispatch_id: str, node_id: int) -> HTMLResponse:
    """All that is known of one node."""
    row = store.get_dispatch(dispatch_id)
    found = store.get_nodes(dispatch_id, node_id=node_id)
    if not found:
        raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
    ran = store.get_circuits(dispatch_id, node_id, limit=1)
    values = {"dispatch": row, "node": timed(found[0]), "ran_circuits": bool(ran)}
    return render(request, "node.html", values)

"""Templates, their filters, and the pages of the login."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from qcov.headline import headline
from qcov.inert import inert
from qcov_server.tokens import VISITOR, Access, Visitor
from qcov_server.ui.present import (
    brief_duration,
    duration,
    exactly,
    icon,
    label,
    money,
    node_label,
)

_TEMPLATES = Path(__file__).parent / "templates"

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    inert=lambda text: inert(str(text)),
    brief_duration=brief_duration,
    duration=duration,
    exactly=exactly,
    label=label,
    icon=icon,
    headline=headline,
    money=money,
    node_label=node_label,
)


#: Where the bar on top leads: address, name, and the key after `g`.
PLACES = (
    ("/", "Dispatches", "d"),
    ("/executors", "Executors", "e"),
    ("/jobs", "Jobs", "j"),
    ("/triggers", "Triggers", "t"),
    ("/logs", "Logs", "l"),
    ("/settings", "Settings", "s"),
)
_OWNERS_ONLY = ("/logs", "/settings")


def render(
    request: Request, template: str, values: Mapping[str, Any], *, status: int = 200
) -> HTMLResponse:
    """A page, or a part of one.

    `bound` in it is the dispatch that the visitor may see and nothing else: links to another one,
    or to what tells of more than dispatches, are left out.
    """
    visitor: Visitor | None = request.scope.get(VISITOR)
    given = {
        **values,
        "path": request.url.path,
        "places": _places(visitor),
        "access": visitor and visitor.access,
        "bound": visitor and visitor.dispatch,
        "as_of": getattr(request.state, "as_of", ""),  # a page of an error has nothing that changes
    }
    text = _environment.get_template(template).render(given)
    return HTMLResponse(text, status, headers={"vary": "HX-Request"})


def _places(visitor: Visitor | None) -> list[tuple[str, str, str]]:
    if visitor is None or visitor.dispatch is not None:
        return []
    owner = visitor.access is Access.OWNER
    return [place for place in PLACES if owner or place[0] not in _OWNERS_ONLY]


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asks, not a program."""
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and not request.scope["path"].startswith(("/api/", "/static/"))


# -- the pages before and after the login --------------------------------------------------------
# Strangers may load nothing from this server, so the few rules of style stand in the page, and the
# policy allows them by their digest.

_SIGN_IN_STYLE = (_TEMPLATES / "sign_in.css").read_text(encoding="utf-8")
SIGN_IN_STYLE_DIGEST = (
    "sha256-" + base64.b64encode(hashlib.sha256(_SIGN_IN_STYLE.encode()).digest()).decode()
)


def sign_in_page(reason: str = "This page is for whoever started the server.") -> Response:
    """Tell a browser without a session how to get one."""
    text = _environment.get_template("sign_in.html").render(style=_SIGN_IN_STYLE, reason=reason)
    return HTMLResponse(text, 401, headers={"www-authenticate": "Bearer"})


def key_page(key: str, to: str) -> Response:
    """Give a browser that has just logged in the key of its session, and lead it on."""
    values = {"style": _SIGN_IN_STYLE, "key": key, "to": to}
    return HTMLResponse(_environment.get_template("key.html").render(values))


def step_page(to: str) -> Response:
    """Lead a browser on that has come from another site: from here on it sends its cookies."""
    return _step("Logging in", "The link is being opened.", "Go on", to, by_itself=True)


def foreign_page(to: str) -> Response:
    """Refuse to show a page to a browser that another site has led here."""
    detail = (
        "Another site has led you here. If you meant to come, open the page from here, or type its "
        "address."
    )
    return _step("A link from another site", detail, "Open the page", to, status=403)


def _step(
    title: str, detail: str, word: str, to: str, *, by_itself: bool = False, status: int = 200
) -> Response:
    values = {"style": _SIGN_IN_STYLE, "title": title, "detail": detail, "word": word, "to": to}
    template = _environment.get_template("step.html")
    return HTMLResponse(template.render(values, by_itself=by_itself), status)

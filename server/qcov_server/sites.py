"""Where a browser says that a request comes from (https://www.w3.org/TR/fetch-metadata/)."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request

from qcov.settings import LOOPBACK

LOGIN_PATH = "/login"
STEP = "on"  #: what the address of a login has once a page of this server has led to it

_SAFE = frozenset({"GET", "HEAD"})


def is_welcome(request: Request) -> bool:
    """Whether a request may come from where it does; programs do not say where that is.

    Links may be followed from another server on this machine, such as a notebook, and a login's
    link from anywhere: from web mail, say. That opens nothing to other sites. They can let a
    browser log in with no link but one that they were given, to what that link shows anyway; and a
    browser with a session keeps it, if the link shows no more (see `ui.login`).
    """
    headers = request.headers
    origin, host = headers.get("origin"), headers["host"].lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return True
    return is_visit(request) and (site == "same-site" or is_far_login(request))


def is_far_login(request: Request) -> bool:
    """Whether it follows a login's link from another site."""
    return (
        request.headers.get("sec-fetch-site") == "cross-site"
        and request.method == "GET"
        and request.scope["path"] == LOGIN_PATH
        and STEP not in request.query_params
    )


def says_where_from(request: Request) -> bool:
    """Whether a browser would say if it came from another site: to loopback addresses it does.

    To others it does only where what it sends is encrypted.
    """
    return "sec-fetch-site" in request.headers or request.url.hostname in LOOPBACK


def is_visit(request: Request) -> bool:
    """Whether it follows a link: it is to show a page in a window, and not within another page."""
    headers = request.headers
    return (
        request.method in _SAFE
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def own_address(request: Request) -> str:
    """The address that is asked for, as one that cannot lead to another host."""
    path = quote(request.scope["path"].lstrip("/\\"))
    query = quote(request.scope["query_string"], safe="=&%+")
    return f"/{path}?{query}" if query else f"/{path}"

"""Errors as problem details (RFC 9457), or as a page where a person asked for one."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from qcov.errors import (
    CircuitNotFound,
    ConfigError,
    DeletionRefused,
    DispatchNotFound,
    EnvironmentMismatch,
    InvalidRequest,
    JobNotFound,
    NodeNotFound,
    QcovError,
    SchemaMismatch,
    ServerBusy,
    StateError,
    StoreUnavailable,
    TransportError,
    TriggerFailed,
    TriggerNotFound,
    WorkflowError,
)
from qcov_server.ui.render import render, wants_page

_STATUS_OF: Mapping[type[QcovError], int] = {
    DispatchNotFound: 404,
    NodeNotFound: 404,
    CircuitNotFound: 404,
    TriggerNotFound: 404,
    JobNotFound: 404,
    StateError: 409,
    DeletionRefused: 409,
    EnvironmentMismatch: 409,
    WorkflowError: 422,
    TransportError: 422,
    InvalidRequest: 422,
    TriggerFailed: 422,
    ServerBusy: 503,
    StoreUnavailable: 503,
    SchemaMismatch: 503,
    ConfigError: 500,
}
_RETRY = {"retry-after": "5"}


def problem(
    status: int, detail: str, *, kind: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem document.

    Args:
        status: the HTTP status.
        detail: what happened and what to do.
        kind: the name of the error in `qcov.errors`, where it is one of those.
        headers: further headers of the response.
    """
    content = {
        "type": f"urn:qcov:error:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(
        content, status, headers=dict(headers or {}), media_type="application/problem+json"
    )


def install(app: FastAPI) -> None:
    """Let every error of the application leave it as a problem or an error page."""
    app.add_exception_handler(QcovError, _qcov_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)


def _qcov_error(request: Request, error: Exception) -> Response:
    kinds = (_STATUS_OF[kind] for kind in type(error).__mro__ if kind in _STATUS_OF)
    headers = _RETRY if isinstance(error, ServerBusy) else None
    name = type(error).__name__
    return answer(request, next(kinds, 500), str(error), kind=name, headers=headers)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's, of what it cannot take apart
        detail = "The body is not JSON in UTF-8, or has too many lists in each other."
        return answer(request, 422, detail, kind=InvalidRequest.__name__)
    if error.detail == HTTPStatus.NOT_FOUND.phrase:  # Starlette's, of what no route has
        detail = f"There is nothing at {request.url.path!r}; the path, or an id in it, is misspelt."
        return answer(request, 404, detail, kind=InvalidRequest.__name__)
    return answer(request, error.status_code, str(error.detail), headers=error.headers)


def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(_wrong(item) for item in error.errors())
    return answer(request, 422, detail, kind=InvalidRequest.__name__)


def _wrong(item: Mapping[str, Any]) -> str:
    where = ".".join(map(str, item["loc"]))
    given = f", not {repr(item['input'])[:80]}" if item["loc"][0] == "query" else ""
    return f"{where}: {item['msg']}{given}"


def answer(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; a page for whoever wants one. Arguments are those of `problem`."""
    if not wants_page(request):
        return problem(status, detail, kind=kind, headers=headers)
    title = HTTPStatus(status).phrase
    return render(
        request, "error.html", {"title": title, "detail": detail, "code": status}, status=status
    )

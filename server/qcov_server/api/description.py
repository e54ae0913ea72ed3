"""The OpenAPI document: what the routes say of themselves, and what the guard in front adds.

FastAPI knows what each route takes and answers. Which problems it may answer with follows from its
method and its path, for all routes alike, so that no route can forget one.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_PROBLEM = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "description": "`urn:qcov:error:NAME` with the name of the error in `qcov.errors`.",
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, and what to do."},
    },
}
_SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token in `server.token` in the data folder.",
    }
}
_DESCRIPTION = (
    "Dispatches, their nodes, circuits and events. Times are seconds since the epoch, UTC. "
    "Errors are problem documents."
)


def describe(app: FastAPI) -> None:
    """Let the application give the whole document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # problems stand in their place
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = _SECURITY
    made["security"] = [{name: []} for name in _SECURITY]
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            answers.pop("422", None)
            answers |= {str(int(status)): _problem(status) for status in _problems(path, method)}
    return made


def _problem(status: HTTPStatus) -> dict[str, Any]:
    return {
        "description": status.phrase,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }


def _problems(path: str, method: str) -> Iterator[HTTPStatus]:
    yield HTTPStatus.UNAUTHORIZED
    yield HTTPStatus.FORBIDDEN  # another site has sent it, or a token that may only read
    yield HTTPStatus.MISDIRECTED_REQUEST  # the Host header is not this server's
    yield HTTPStatus.UNPROCESSABLE_ENTITY
    yield HTTPStatus.SERVICE_UNAVAILABLE  # the database cannot be reached
    if "{" in path or method == "post":  # bodies name dispatches, too
        yield HTTPStatus.NOT_FOUND
    if method not in ("get", "head"):
        yield HTTPStatus.CONFLICT
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE

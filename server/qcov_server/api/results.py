"""What a client needs of a dispatch besides its rows: payloads and progress."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Query, Response
from fastapi.responses import Response as PlainResponse

from qcov_server.api.models.dispatches import Progress
from qcov_server.depends import TheEngine, TheStore

_DIGITS = 10  #: a number of a node has fewer

router = APIRouter(prefix="/dispatches", tags=["dispatches"])


@router.get(
    "/{dispatch_id}/payloads/{of}",
    response_class=PlainResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        204: {"description": "There is none."},
    },
)
def get_payload(store: TheStore, dispatch_id: str, of: str) -> Response:
    """A pickle as it is stored: of a node (its number), `result`, `inputs` or `lattice`.

    The entity tag is its SHA-256, which whoever loads it should check.
    """
    store.get_dispatch(dispatch_id)
    named = of if of in ("result", "inputs", "lattice") else _number(of)
    found = None if named is None else store.payload(dispatch_id, named)
    if found is None:
        return PlainResponse(status_code=204)
    data = cast("bytes | None", found["data"])
    blob = store.blob(found["digest"]) if data is None else data
    tag = {"etag": f'"{found["digest"]}"'}
    return PlainResponse(blob, media_type="application/octet-stream", headers=tag)


@router.get("/{dispatch_id}/progress")
async def get_progress(
    engine: TheEngine,
    dispatch_id: str,
    after: Annotated[int, Query(ge=0)] = 0,
) -> Progress:
    """How far a dispatch is, once something has happened since event number `after`, or soon."""
    return Progress.model_validate(await engine.progress(dispatch_id, after, 30.0))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None

"""Triggers: let them watch, and stop them."""

from __future__ import annotations

import base64
import binascii

from fastapi import APIRouter

from qcov.errors import InvalidRequest
from qcov_server.api.dispatches import TheEngine, TheStore
from qcov_server.api.models import Fired, RegisterRequest, StopRequest, Submitted

router = APIRouter(prefix="/triggers", tags=["triggers"])


@router.post("", status_code=201)
async def register(engine: TheEngine, request: RegisterRequest) -> Submitted:
    """Keep a trigger, and let it watch on this machine. `object` is base64 text."""
    try:
        blob = base64.b64decode(request.object, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest(reason=f"'object' is not base64 text: {error}.") from error
    described = request.model_dump(mode="json") | {"object": blob}
    return Submitted(id=await engine.triggers.register(described))


@router.post("/stop", status_code=204)
async def stop(engine: TheEngine, request: StopRequest) -> None:
    """Stop all triggers of some dispatches."""
    await engine.triggers.stop(request.dispatch_ids)


@router.post("/{trigger_id}/fired", status_code=204)
async def note_fired(engine: TheEngine, trigger_id: str, request: Submitted) -> None:
    """Note that a trigger has started a dispatch that another server has."""
    await engine.triggers.note_fired(trigger_id, request.id)


@router.get("/{trigger_id}")
def get_fired(store: TheStore, trigger_id: str) -> Fired:
    """The dispatches that a trigger has started, oldest first."""
    return Fired(id=trigger_id, dispatch_ids=list(store.fired_by(trigger_id)))

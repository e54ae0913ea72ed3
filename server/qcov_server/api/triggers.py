"""Triggers: let them watch, look at them, and stop them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from qcov.errors import InvalidRequest
from qcov_server.api.dispatches import Limit, Offset
from qcov_server.api.models.dispatches import Submitted
from qcov_server.api.models.triggers import (
    FiredRequest,
    RegisterRequest,
    StopRequest,
    Trigger,
    TriggerPage,
    TriggerRun,
    TriggerRunPage,
)
from qcov_server.depends import TheEngine

router = APIRouter(prefix="/triggers", tags=["triggers"])


@router.get("")
async def list_triggers(
    engine: TheEngine,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[Literal["ACTIVE", "STOPPED", "FAILED"] | None, Query()] = None,
    dispatch_id: Annotated[str | None, Query(max_length=36)] = None,
) -> TriggerPage:
    """The triggers, newest first."""
    found = await engine.triggers.page(
        limit=limit, offset=offset, status=status, dispatch_id=dispatch_id
    )
    items = [Trigger.model_validate(row) for row in found["triggers"]]
    return TriggerPage(items=items, total=found["total"], limit=limit, offset=offset)


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
    await engine.stop_triggers(request.dispatch_ids)


@router.post("/{trigger_id:uuid}/fired", status_code=204)
async def note_fired(engine: TheEngine, trigger_id: UUID, request: FiredRequest) -> None:
    """Note that a trigger has started a dispatch that another server has."""
    await engine.triggers.note_fired(str(trigger_id), str(request.id))


@router.get("/{trigger_id:uuid}")
async def get_trigger(engine: TheEngine, trigger_id: UUID) -> Trigger:
    """One trigger."""
    return Trigger.model_validate(await engine.triggers.get(str(trigger_id)))


@router.get("/{trigger_id:uuid}/runs")
async def get_runs(
    engine: TheEngine, trigger_id: UUID, limit: Limit = 100, offset: Offset = 0
) -> TriggerRunPage:
    """The dispatches that a trigger has started, oldest first; without those removed since."""
    total = (await engine.triggers.get(str(trigger_id)))["runs"]
    rows = await engine.triggers.runs(str(trigger_id), limit, offset)
    items = [TriggerRun.model_validate(row) for row in rows]
    return TriggerRunPage(items=items, total=total, limit=limit, offset=offset)

"""The pages of triggers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov_server.depends import TheEngine
from qcov_server.ui.render import render
from qcov_server.ui.windows import PageNumber, window

router = APIRouter(include_in_schema=False)

_PAGE = 50
_STATES = {"": "All", "ACTIVE": "Active", "STOPPED": "Stopped", "FAILED": "Failed"}


@router.get("/triggers")
async def triggers(
    request: Request,
    engine: TheEngine,
    status: Annotated[str, Query(max_length=16)] = "",
    page: PageNumber = 1,
) -> HTMLResponse:
    """All triggers, or some."""
    status = status if status in _STATES else ""
    offset = (page - 1) * _PAGE
    found = await engine.triggers.page(limit=_PAGE, offset=offset, status=status or None)
    values = {
        "rows": found["triggers"],
        "window": window(page, _PAGE, found["total"]),
        "states": _STATES,
        "status": status,
    }
    whole = "hx-request" not in request.headers
    return render(request, "triggers.html" if whole else "trigger_rows.html", values)


@router.get("/triggers/{trigger_id}")
async def trigger(
    request: Request, engine: TheEngine, trigger_id: str, page: PageNumber = 1
) -> HTMLResponse:
    """One trigger, and what it has started."""
    found = await engine.triggers.get(trigger_id)
    runs = await engine.triggers.runs(trigger_id, _PAGE, (page - 1) * _PAGE)
    values = {"trigger": found, "runs": runs, "window": window(page, _PAGE, found["runs"])}
    whole = "hx-request" not in request.headers
    return render(request, "trigger.html" if whole else "trigger_facts.html", values)

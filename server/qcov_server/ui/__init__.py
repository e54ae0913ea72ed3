"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from qcov_server.depends import note_time
from qcov_server.ui import (
    circuits,
    compare,
    dispatch,
    dispatches,
    electron,
    executors,
    jobs,
    login,
    logs,
    settings,
    triggers,
)

router = APIRouter(dependencies=[Depends(note_time)])
for part in (
    *(login, dispatches, dispatch, electron, circuits, compare),
    *(executors, jobs, triggers, logs, settings),
):
    router.include_router(part.router)

__all__ = ["router"]

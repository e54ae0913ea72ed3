"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.ui import circuits, compare, dispatch, dispatches, electron, login

router = APIRouter()
for part in (login, dispatches, dispatch, electron, circuits, compare):
    router.include_router(part.router)

__all__ = ["router"]

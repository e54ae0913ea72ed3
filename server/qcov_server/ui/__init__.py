"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.ui import jobs, logs, pages, settings, triggers

router = APIRouter()
for part in (pages, logs, jobs, triggers, settings):
    router.include_router(part.router)

__all__ = ["router"]

"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.ui import circuits, electron, login, pages

router = APIRouter()
router.include_router(login.router)
router.include_router(pages.router)
router.include_router(electron.router)
router.include_router(circuits.router)

__all__ = ["router"]

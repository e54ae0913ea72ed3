"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.ui import login, pages

router = APIRouter()
router.include_router(login.router)
router.include_router(pages.router)

__all__ = ["router"]

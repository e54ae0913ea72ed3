"""The REST interface, under `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.api import dispatches, events, jobs, results, status, triggers

router = APIRouter(prefix="/api/v1")
router.include_router(dispatches.router)
router.include_router(triggers.router)
router.include_router(jobs.router)
router.include_router(results.router)
router.include_router(events.router)
router.include_router(status.router)

__all__ = ["router"]

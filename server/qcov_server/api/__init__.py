"""The REST interface, under `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter

from qcov_server.api import (
    circuits,
    dispatches,
    events,
    exports,
    jobs,
    nodes,
    results,
    status,
    streams,
    triggers,
)

router = APIRouter(prefix="/api/v1")
router.include_router(dispatches.router)
router.include_router(circuits.router)
router.include_router(triggers.router)
router.include_router(jobs.router)
router.include_router(results.router)
router.include_router(exports.router)
router.include_router(streams.router)
router.include_router(nodes.router)
router.include_router(events.router)
router.include_router(status.router)

__all__ = ["router"]

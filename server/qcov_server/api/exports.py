"""Dispatches as research objects."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from qcov_server.depends import TheEngine

router = APIRouter(prefix="/dispatches", tags=["dispatches"])

_ZIP = "application/zip"


@router.get(
    "/{dispatch_id}/export",
    response_class=FileResponse,
    responses={200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
)
def export(engine: TheEngine, dispatch_id: str) -> FileResponse:
    """A dispatch with its sublattices as an RO-Crate (Provenance Run Crate), zipped."""
    folder = tempfile.TemporaryDirectory(prefix="qcov-")
    path = Path(folder.name, f"{dispatch_id}.crate.zip")
    try:
        engine.export(dispatch_id, path)
    except BaseException:
        folder.cleanup()
        raise
    gone = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type=_ZIP, filename=path.name, background=gone)

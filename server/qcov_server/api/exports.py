"""Dispatches as research objects."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from qcov.errors import ServerBusy
from qcov_server.depends import TheEngine
from qcov_server.engine import Engine
from qcov_server.tokens import VISITOR, Access, Visitor

router = APIRouter(prefix="/dispatches", tags=["dispatches"])

OF_READERS = 1  #: exports that are written at a time for who may only look
_ZIP = "application/zip"


@router.get(
    "/{dispatch_id}/export",
    response_class=FileResponse,
    responses={200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
)
def export(request: Request, engine: TheEngine, dispatch_id: str) -> FileResponse:
    """A dispatch with its sublattices as an RO-Crate (Provenance Run Crate), zipped."""
    visitor: Visitor = request.scope[VISITOR]
    with request.app.state.readers_exports.of(visitor):
        return _written(engine, dispatch_id)


class ReadersExports:
    """Leaves the owner a place among the exports that are written at a time."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(OF_READERS)

    @contextlib.contextmanager
    def of(self, visitor: Visitor) -> Generator[None]:
        """While it is written; raises `ServerBusy` if readers have enough of them."""
        if visitor.access is not Access.READER:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise ServerBusy(what="export of a reader is being written", limit=OF_READERS)
        try:
            yield
        finally:
            self._free.release()


def _written(engine: Engine, dispatch_id: str) -> FileResponse:
    folder = tempfile.TemporaryDirectory(prefix="qcov-")
    path = Path(folder.name, f"{dispatch_id}.crate.zip")
    try:
        engine.export(dispatch_id, path)
    except BaseException:
        folder.cleanup()
        raise
    gone = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type=_ZIP, filename=path.name, background=gone)

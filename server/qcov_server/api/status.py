"""The server about itself."""

from __future__ import annotations

import os
import platform
from typing import cast

from fastapi import APIRouter, Request

import qcov
from qcov_server.api.models.status import ServerStatus
from qcov_server.streams import Streams

router = APIRouter(tags=["server"])


@router.get("/status")
async def status(request: Request) -> ServerStatus:
    """Which server this is."""
    streams = cast("Streams", request.app.state.streams)
    return ServerStatus(
        version=qcov.__version__,
        pid=os.getpid(),
        python=platform.python_version(),
        event_streams=streams.open,
    )

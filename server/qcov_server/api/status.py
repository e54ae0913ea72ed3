"""The server about itself."""

from __future__ import annotations

import os
import platform

from fastapi import APIRouter

import qcov
from qcov_server.api.models import ServerStatus

router = APIRouter(tags=["server"])


@router.get("/status")
def status() -> ServerStatus:
    """Which server this is."""
    return ServerStatus(version=qcov.__version__, pid=os.getpid(), python=platform.python_version())

"""What routes ask for."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from qcov_server.engine import Engine, Store
from qcov_server.streams import Streams


def current_engine(request: Request) -> Engine:
    """The engine that the application serves."""
    return cast("Engine", request.app.state.engine)


def current_store(request: Request) -> Store:
    """Its store."""
    return current_engine(request).store


async def note_time(request: Request) -> None:
    """Note as of when a page is, before it reads anything: its event stream brings what follows."""
    request.state.as_of = cast("Streams", request.app.state.streams).last_id


TheEngine = Annotated[Engine, Depends(current_engine)]
TheStore = Annotated[Store, Depends(current_store)]

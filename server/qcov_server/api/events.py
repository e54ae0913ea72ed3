"""Changes of status as server-sent events.

A message named `changes` carries a JSON list of `{"dispatch", "node", "status", "time"}`; its id
names this server and the number of the last one. A browser that lost its connection sends that id
back and gets what it missed, or a message named `reset` if that is not remembered: then it should
read everything anew. Changes that come together travel together: thousands a second are no more
than twenty messages.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import StreamingResponse

from qcov.errors import ServerBusy
from qcov_server.depends import current_engine
from qcov_server.engine import Engine

router = APIRouter(tags=["events"])

MAX_STREAMS = 256
_HEARTBEAT = 15.0  #: seconds; shorter than what proxies and browsers wait
_GATHERING = 0.05  #: seconds in which changes gather into one message
_MOST = 1000  #: changes in one message

#: Numbers begin anew with every engine, so an id says whose they are.
_THIS_SERVER = secrets.token_hex(4)

_open_streams = 0

Change = dict[str, Any]


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    engine: Annotated[Engine, Depends(current_engine)],
    dispatch: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Changes of status, of all dispatches or of one, as they happen."""
    if _open_streams >= MAX_STREAMS:
        raise ServerBusy(what="event streams", limit=MAX_STREAMS)
    stream = _stream(engine, dispatch, last_event_id)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(engine: Engine, dispatch: str | None, last_id: str | None) -> AsyncIterator[str]:
    global _open_streams
    _open_streams += 1
    try:
        async with engine.events.subscribe() as queue:
            # No await from here to the loop: nothing falls between the past and the present.
            yield "retry: 1000\n\n" + (_missed(engine, last_id, dispatch) if last_id else "")
            while True:
                yield _message(await _next(queue), dispatch)
    finally:
        _open_streams -= 1


def _missed(engine: Engine, last_id: str, dispatch: str | None) -> str:
    server, _, number = last_id.partition("-")
    known = server == _THIS_SERVER and number.isdecimal()
    changes = engine.events.since(int(number)) if known else None
    return "event: reset\ndata: {}\n\n" if changes is None else _message(changes, dispatch)


async def _next(queue: asyncio.Queue[Change]) -> list[Change]:
    """The next changes; none when it is time for a sign of life."""
    try:
        first = await asyncio.wait_for(queue.get(), _HEARTBEAT)
    except TimeoutError:
        return []
    await asyncio.sleep(_GATHERING)
    changes = [first]
    while len(changes) < _MOST and not queue.empty():
        changes.append(queue.get_nowait())
    return changes


def _message(changes: Sequence[Change], dispatch: str | None) -> str:
    wanted = [change for change in changes if dispatch in (None, change["dispatch"])]
    if not wanted:
        return ": alive\n\n"
    told = [{key: c[key] for key in ("dispatch", "node", "status", "time")} for c in wanted]
    data = json.dumps(told, separators=(",", ":"))
    return f"id: {_THIS_SERVER}-{wanted[-1]['seq']}\nevent: changes\ndata: {data}\n\n"

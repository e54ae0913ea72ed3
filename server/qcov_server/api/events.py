"""What happens, as server-sent events.

A message carries a JSON list of events of one kind, and is named by it:

* `changes`: of status, `{"dispatch", "node", "status", "time"}`; `node` is null for the dispatch;
* `circuits`: how many have ended since the last one, `{"dispatch", "node", "count", "time"}`;
* `jobs`: at providers, made or changed, `{"job", "state", "device", "dispatch", "time"}`;
* `triggers`: `{"trigger", "what", "time"}`, where `what` is FIRED or the new status.

Its id names this server and the number of the last event; the first one, `hello`, has nothing else.
A browser that lost its connection sends that id back and gets what it missed, or a message named
`reset` if that is not remembered: then it should read everything anew. With `topic=log` the
engine's log lines come too, as `log`, to whoever may see the log. When a token or a session ends,
its streams do, with a message named `out`.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from qcov_server.streams import Streams, Wanted
from qcov_server.tokens import STILL_IN, VISITOR, Access, Visitor

router = APIRouter(tags=["events"])


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    request: Request,
    dispatch: Annotated[str | None, Query(max_length=64)] = None,
    topic: Annotated[list[str] | None, Query(max_length=32)] = None,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """What happens, of all dispatches or of one; `after` is for who cannot send a header."""
    streams = cast("Streams", request.app.state.streams)
    topics = frozenset(topic or ())
    visitor: Visitor = request.scope[VISITOR]
    if visitor.access is Access.READER:  # the log tells of more than the dispatches
        topics -= {"log"}
    wanted = Wanted(dispatch=dispatch, within=visitor.dispatch, topics=topics)
    return streams.stream(
        wanted, last_event_id or after, visitor=visitor, still_in=request.scope[STILL_IN]
    )

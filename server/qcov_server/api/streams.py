"""What electrons print, while they run and after."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from qcov.inert import inert
from qcov_server.api.models.nodes import StreamPart, Streams, StreamsQuery
from qcov_server.api.nodes import NodeNumber
from qcov_server.depends import TheEngine
from qcov_server.engine import Part

router = APIRouter(prefix="/dispatches", tags=["dispatches"])


@router.get("/{dispatch_id}/nodes/{node_id}/streams")
async def get_streams(
    engine: TheEngine,
    dispatch_id: str,
    node_id: NodeNumber,
    asked: Annotated[StreamsQuery, Query()],
) -> Streams:
    """What a node has printed.

    To follow it, ask again with the `source` that was answered and the `end` of both streams: the
    answer has what came since, within a fifth of a second, or comes after `timeout` seconds. When
    another attempt begins, or the node has ended, the source is another one, and its text is told
    from the beginning. Of a stream that is too fast to follow only the latest is told.
    """
    after = (asked.stdout, asked.stderr)
    printed = await engine.streams(
        dispatch_id, node_id, source=asked.source, after=after, timeout=asked.timeout
    )
    out, err = map(_shown, printed.parts)
    return Streams(source=printed.source, status=printed.status, stdout=out, stderr=err)


def _shown(part: Part) -> StreamPart:
    """A carriage return stays: what follows it takes the place of its line."""
    lines = part.text.replace("\r\n", "\n").split("\r")
    return StreamPart(start=part.start, end=part.end, text="\r".join(map(inert, lines)))

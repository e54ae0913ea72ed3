"""What happens in an engine, told to whoever watches, and remembered for those who reconnect.

It is told once it is on the disk: whoever hears of something can read it. An event has a number
(`seq`), a `kind`, and what it is about. `changes` are changes of status;
`circuits` say how many circuits ended, `triggers` and `jobs` what became of those. The first two
name the `root` too, of which a dispatch is a part. What only some want to hear, such as an
electron's output, has a `topic` and is not remembered (`seq` is None).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.status import Status

_KEPT = 10_000


class Events:
    """The latest events of an engine, numbered from 1."""

    def __init__(self) -> None:
        self._latest: deque[Message] = deque(maxlen=_KEPT)
        self._subscribers: set[asyncio.Queue[Message]] = set()
        self.number = 0  #: of the last event

    def announce(self, dispatch: str, root: str, node: int | None, status: Status) -> None:
        """Tell the subscribers of a change of status."""
        self.tell("changes", dispatch=dispatch, root=root, node=node, status=status.value)

    def tell(self, kind: str, **about: Any) -> None:
        """Tell the subscribers of something that is remembered."""
        self.number += 1
        event: Message = {"seq": self.number, "kind": kind, "time": time.time(), **about}
        self._latest.append(event)
        self._give(event)

    def pass_on(self, kind: str, topic: str, **about: Any) -> None:
        """Tell the subscribers of something that only those who asked for `topic` want to hear."""
        if self._subscribers:
            self._give({"seq": None, "kind": kind, "topic": topic, "time": time.time(), **about})

    def _give(self, event: Message) -> None:
        for queue in self._subscribers:
            queue.put_nowait(event)

    @property
    def watched(self) -> bool:
        """True while there are subscribers."""
        return bool(self._subscribers)

    @contextlib.asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[asyncio.Queue[Message], None]:
        """A queue that gets every event from now on."""
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)

    def since(self, number: int) -> list[Message] | None:
        """The events after the one with this number; None if they are not remembered."""
        oldest = self.number - len(self._latest)
        if not oldest <= number <= self.number:
            return None
        return [event for event in self._latest if event["seq"] > number]

    async def wait_for(self, root: str, after: int) -> None:
        """Wait for a change in a tree of dispatches that comes after number `after`."""
        async with self.subscribe() as queue:
            if any(event["seq"] > after and _changes(event, root) for event in self._latest):
                return
            while not _changes(await queue.get(), root):
                pass


def _changes(event: Message, root: str) -> bool:
    return event["kind"] == "changes" and event["root"] == root

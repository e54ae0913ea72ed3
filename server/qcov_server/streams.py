"""The event streams: one subscriber to the engine's events, many browsers.

A message is made once for all streams that want the same, however many they are. What comes
together travels together: thousands of events a second are no more than twenty messages.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from qcov.errors import ServerBusy
from qcov.logs import as_line
from qcov_server.engine import Engine, Events
from qcov_server.tokens import Access, Visitor
from qcov_server.watching import JobWatch

MAX_STREAMS = 256
OF_READERS = 192  #: how many of them all who may only look have together
OF_ONE = 64  #: how many a browser has, or who may only look; the owner's token has them all
_HEARTBEAT = 15.0  #: seconds; shorter than what proxies and browsers wait
_GATHERING = 0.02  #: seconds in which events gather into one message
_PAUSE = 0.05  #: seconds from one message to the next
_AFTER_ERROR = 1.0  #: seconds until it is tried again
_MOST = 2000  #: events in one message
_BEHIND = 200  #: messages that wait for one stream, at most

_log = logging.getLogger(__name__)

_ALIVE = b": alive\n\n"
_OUT = b"event: out\ndata: {}\n\n"

#: Numbers begin anew with every engine, so an id says whose they are.
THIS_SERVER = secrets.token_hex(4)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a stream is to carry."""

    dispatch: str | None = None  #: only what is about this one
    within: str | None = None  #: only what is about this one and its sublattices
    topics: frozenset[str] = frozenset()  #: what is told only on request

    def has(self, event: Event) -> bool:
        """Whether an event belongs there."""
        about = event.get("dispatch")
        if self.dispatch not in (None, about):
            return False
        if self.within is not None and self.within not in (about, event.get("root")):
            return False
        return event["seq"] is not None or event["topic"] in self.topics


class Streams:
    """The open streams of one server, in its event loop.

    Args:
        engine: Whose events they carry.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queues: dict[Wanted, set[asyncio.Queue[bytes]]] = {}
        self._sent = 0  # the number of the last event that went to the queues
        self._tasks: list[asyncio.Task[None]] = []
        self._log: logging.Handler = logging.NullHandler()
        self._held: Counter[Visitor] = Counter()
        self._jobs = JobWatch(engine)

    @property
    def open(self) -> int:
        """How many there are."""
        return self._held.total()

    @property
    def last_id(self) -> str:
        """The id of what has happened last; a stream after it brings all that happens from now."""
        return _id_of(self._engine.events.number)

    def stream(
        self, wanted: Wanted, last_id: str | None, *, visitor: Visitor, still_in: Callable[[], bool]
    ) -> StreamingResponse:
        """One stream.

        Args:
            wanted: What it is to carry.
            last_id: It begins with what was missed since then.
            visitor: Whose it is.
            still_in: Says whether they may still see it; it ends when they may not.

        Raises:
            ServerBusy: there are too many.
        """
        self._refuse_many(visitor)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._join(wanted, queue, visitor)
        # No await up to here: nothing falls between the past and the present.
        first = self._missed(last_id, wanted) if last_id else self._named(b"hello")
        messages = _messages(b"retry: 1000\n\n" + first, queue, still_in)
        return _Stream(messages, lambda: self._leave(wanted, queue, visitor))

    def _refuse_many(self, visitor: Visitor) -> None:
        if self.open >= MAX_STREAMS:
            raise ServerBusy(what="event streams are open", limit=MAX_STREAMS)
        if not visitor.has_owners_token and self._held[visitor] >= OF_ONE:
            raise ServerBusy(what="event streams of yours are open", limit=OF_ONE)
        readers = sum(n for who, n in self._held.items() if who.access is Access.READER)
        if visitor.access is Access.READER and readers >= OF_READERS:
            raise ServerBusy(what="event streams of readers are open", limit=OF_READERS)

    def _join(self, wanted: Wanted, queue: asyncio.Queue[bytes], visitor: Visitor) -> None:
        self._held[visitor] += 1
        self._queues.setdefault(wanted, set()).add(queue)
        if not self._tasks:
            self._sent = self._engine.events.number
            self._log = _LogLines(asyncio.get_running_loop(), self._engine.events)
            logging.getLogger().addHandler(self._log)
            self._tasks = [
                asyncio.create_task(self._broadcast(), name="qcov-events"),
                asyncio.create_task(self._jobs.watch(), name="qcov-jobs"),
            ]

    def _leave(self, wanted: Wanted, queue: asyncio.Queue[bytes], visitor: Visitor) -> None:
        self._held -= Counter([visitor])
        self._queues[wanted].discard(queue)
        if not self._queues[wanted]:
            del self._queues[wanted]
        if not self._queues:
            logging.getLogger().removeHandler(self._log)
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def _broadcast(self) -> None:
        """Whatever fails, all streams go on: they begin anew, for something may be missing."""
        while True:
            try:
                await self._listen()
            except Exception:  # noqa: BLE001  # whatever it is, streams wait for what comes next
                _log.exception("events could not be told: streams begin anew")
                self._begin_anew()
            await asyncio.sleep(_AFTER_ERROR)

    async def _listen(self) -> None:
        async with self._engine.events.subscribe() as events:
            missed = self._engine.events.since(self._sent)  # before this
            if missed is None:
                self._begin_anew()
            else:
                self._give(missed)
            while True:
                self._give(await _gathered(events))
                await asyncio.sleep(_PAUSE)

    def _begin_anew(self) -> None:
        self._sent = self._engine.events.number
        for queue in (queue for queues in self._queues.values() for queue in queues):
            self._put(queue, self._named(b"reset"))

    def _give(self, events: Sequence[Event]) -> None:
        self._sent = next((e["seq"] for e in reversed(events) if e["seq"]), self._sent)
        for wanted, queues in self._queues.items():
            message = render(events, wanted)
            for queue in queues if message else ():
                self._put(queue, message)

    def _put(self, queue: asyncio.Queue[bytes], message: bytes) -> None:
        """Queue a message; a browser that does not read is told to read everything anew."""
        if queue.qsize() >= _BEHIND:
            while not queue.empty():
                queue.get_nowait()
            message = self._named(b"reset")
        queue.put_nowait(message)

    def _named(self, kind: bytes) -> bytes:
        """A message that says where this stream begins."""
        return b"event: %b\ndata: {}\nid: %b\n\n" % (kind, _id_of(self._sent).encode())

    def _missed(self, last_id: str, wanted: Wanted) -> bytes:
        """What went out after `last_id`; what has not gone out yet comes by itself."""
        server, _, number = last_id.partition("-")
        known = server == THIS_SERVER and number.isdecimal()
        events = self._engine.events.since(int(number)) if known else None
        if events is None:
            return self._named(b"reset")
        return render([event for event in events if event["seq"] <= self._sent], wanted)


class _Stream(StreamingResponse):
    """Messages, sent on; `leave` is called when that ends, begun or not."""

    def __init__(self, messages: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(messages, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the browser has gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def _messages(
    first: bytes, queue: asyncio.Queue[bytes], still_in: Callable[[], bool]
) -> AsyncIterator[bytes]:
    message = first
    while still_in():
        yield message
        message = await _next(queue)
    yield _OUT


class _LogLines(logging.Handler):
    """Passes what is logged on to the streams that ask for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, events: Events) -> None:
        super().__init__()
        self._loop, self._events = loop, events

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._pass_on, as_line(record))

    def _pass_on(self, line: Mapping[str, Any]) -> None:
        self._events.pass_on("log", "log", line=line)


def _id_of(number: int) -> str:
    return f"{THIS_SERVER}-{number}"


def render(events: Sequence[Event], wanted: Wanted) -> bytes:
    """The messages for what of these events a stream wants: one of each kind, with the last id."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if wanted.has(event):
            told = {key: value for key, value in event.items() if key not in _INSIDE}
            kinds.setdefault(event["kind"], []).append(told)
    if not kinds:
        return b""
    texts = [f"event: {kind}\ndata: {_json(told)}\n" for kind, told in kinds.items()]
    # A browser keeps the last id that it has read whole: who loses the connection before it gets
    # all of these again.
    last = next((e["seq"] for e in reversed(events) if e["seq"]), None)
    texts[-1] += "" if last is None else f"id: {_id_of(last)}\n"
    return "".join(f"{text}\n" for text in texts).encode()


_INSIDE = frozenset({"seq", "kind", "root"})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


async def _gathered(events: asyncio.Queue[Any]) -> list[Event]:
    gathered = [await events.get()]
    await asyncio.sleep(_GATHERING)
    while len(gathered) < _MOST and not events.empty():
        gathered.append(events.get_nowait())
    return gathered


async def _next(queue: asyncio.Queue[bytes]) -> bytes:
    """The next message, or a sign of life when it is time for one."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARTBEAT):
            return await queue.get()
    return _ALIVE

"""How long a connection may keep the server waiting, and how many there may be.

Whoever reaches the port can open connections before saying who they are. So the head of a request
has to come within seconds, a body must not pause for long, and when all places are taken the
connection goes that has waited longest without a request: somebody who only holds connections
never keeps others out. Event streams and answers that take long are not limited here.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_TIME = 10.0  #: seconds from the beginning of a request, or a connection, to the end of a head
BODY_PAUSE = 30.0  #: seconds in which a body does not go on
MOST = 4096  #: connections at a time, where the system allows so many files

_FILES = 65_536  # as many as the process may have open; children would close more for long
_OTHER_FILES = 512  # database, payloads, workers

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\n"
    b"connection: close\r\n\r\nThere are too many connections.\n"
)


def allow_files() -> int:
    """Let the process open as many files as it may, within reason; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Connections(ServerState):
    """The connections of one server.

    Args:
        most: How many there may be at a time.
    """

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self.most = most
        self.idle: dict[Connection, None] = {}  #: without a request, the oldest first

    @classmethod
    def allowed(cls) -> Connections:
        """As many as the system lets this process have."""
        return cls(min(MOST, max(16, allow_files() - _OTHER_FILES)))

    def make_room(self) -> bool:
        """End the oldest idle connection if there are too many; False if none is idle."""
        if len(self.connections) <= self.most:
            return True
        oldest = next(iter(self.idle), None)
        if oldest is None:
            return False
        oldest.end()
        return True


class Connection(H11Protocol):
    """A connection that has to get on."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = cast("Connections", self.server_state)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride]  # uvicorn narrows it
        self, transport: asyncio.Transport
    ) -> None:
        """Wait for a head, if there is room."""
        super().connection_made(transport)
        if not self._all.make_room():
            transport.write(_FULL)
            transport.close()
            return
        self._all.idle[self] = None
        self._within(HEAD_TIME)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and see what is to come."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # a part of a head
            if self._deadline is None:
                self._within(HEAD_TIME)
        elif self._answered:
            return  # the rest of a body that nobody wanted; see below
        elif self.conn.their_state is h11.SEND_BODY:
            self._all.idle.pop(self, None)
            self._within(BODY_PAUSE)
        else:
            self._all.idle.pop(self, None)
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next head, or for the rest of a body that was refused."""
        self._stop_waiting()
        if self in self.connections:
            self._all.idle[self] = None
            if self.conn.their_state is h11.SEND_BODY:
                self._within(HEAD_TIME)
        super().on_response_complete()  # which may begin with the next request at once

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        self._all.idle.pop(self, None)
        super().connection_lost(exc)

    def end(self) -> None:
        """Close it at once."""
        self._all.idle.pop(self, None)
        self.connections.discard(self)
        self._stop_waiting()
        self.transport.abort()

    @property
    def _answered(self) -> bool:
        cycle = cast("Any", self.cycle)  # None before the first request
        return cycle is not None and cycle.response_complete

    def _within(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self.end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

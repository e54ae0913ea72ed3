"""How the processes of an engine talk: messages of JSON-like values and bytes on a socket.

A message is a map in MessagePack (https://msgpack.org), which delimits itself. Nothing that comes
over a channel is ever unpickled by the engine.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from qcov.errors import QcovError, error_class
from qcov.peer import has_said
from qcov.wire import Unpacker, pack

Message = dict[str, Any]

#: Changes when a client of another version would be misunderstood.
PROTOCOL = 3

_CHUNK = 1 << 18


def pack_error(error: QcovError) -> Message:
    """An error as a message: what it is, what it says, and what it is about."""
    about = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return {"type": type(error).__name__, "message": str(error), "about": about}


def unpack_error(message: Message) -> QcovError:
    """The error that `pack_error` described."""
    kind = error_class(message["type"])
    error = kind.__new__(kind, message["message"])
    error.args = (message["message"],)
    vars(error).update(message["about"])
    return error


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def take_turn(callback: Callable[..., None], *args: Any) -> None:
    """Call it; a defect in it is reported to the event loop, and keeps nobody from their turn."""
    try:
        callback(*args)
    except Exception as error:  # noqa: BLE001  # whatever it is, others must not suffer from it
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"a defect in {callback}", "exception": error}
        )


class BlockingChannel:
    """A channel for code that waits: workers and clients. Any thread may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._unpacker = Unpacker()

    def readable(self, timeout: float | None = None) -> bool:
        """Whether something came, or the end did, within so many seconds."""
        return has_said(self._socket, timeout)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message whole. A time limit of the socket is for what it takes at a time."""
        left = memoryview(pack(message))
        with self._sending:
            while left:
                left = left[self._socket.send(left) :]

    def receive(self) -> list[Message]:
        """Wait for bytes; return the messages that they complete.

        Raises `EOFError` when the other side is gone.
        """
        data = self._socket.recv(_CHUNK)
        if not data:
            raise EOFError
        return self.unpack(data)

    def unpack(self, data: bytes) -> list[Message]:
        """The messages that `data`, received by other means, completes."""
        return list(self._unpacker.feed(data))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class ChannelProtocol(asyncio.Protocol):
    """The engine's end of a channel, in its event loop.

    Args:
        on_message: Called with each message that comes.
        on_close: Called once when the other side is gone.
    """

    def __init__(
        self,
        on_message: Callable[[ChannelProtocol, Message], None],
        on_close: Callable[[ChannelProtocol], None],
    ) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        for message in self._unpacker.feed(data):
            self._on_message(self, message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        """The other side is gone."""
        self._transport = None
        self._on_close(self)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; nothing happens if the other side is gone."""
        if self._transport is not None:
            self._transport.write(pack(message))

    def close(self) -> None:
        """Hang up after what was sent has left."""
        if self._transport is not None:
            self._transport.close()


class WorkerChannel:
    """The engine's end of a worker's channel, in its event loop.

    A worker that has died can no longer be written to, but what it had sent is still there to be
    read. asyncio's own transports drop that when a write fails, and electrons that had ended would
    run again.

    Args:
        sock: The engine's end of a socket pair.
        on_message: Called with each message that comes.
        on_close: Called once when all that was sent has been read.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_close: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._on_message = on_message
        self._on_close = on_close
        self._unpacker = Unpacker()
        self._unsent = bytearray()
        self._open = True
        self._refused = False  # a write has failed
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)

    def send(self, *messages: Mapping[str, Any]) -> bool:
        """Send messages; False if the other side is known to be gone, and gets none of them."""
        if self._open and not self._refused:
            waiting = bool(self._unsent)
            self._unsent += b"".join(map(pack, messages))
            if not waiting:
                self._write()
        return self._open and not self._refused

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:  # it is gone; reading goes on to the end
            self._refused = True
            sent = len(self._unsent)
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:  # it died with something unread
            data = b""
        if data:
            for message in self._unpacker.feed(data):
                take_turn(self._on_message, message)
        else:
            self.close()
            self._loop.call_soon(self._on_close)

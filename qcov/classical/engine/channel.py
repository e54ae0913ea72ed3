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
from qcov.wire import Unpacker, pack

Message = dict[str, Any]

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


class BlockingChannel:
    """A channel for code that waits: workers and clients. Any thread may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._unpacker = Unpacker()

    def fileno(self) -> int:
        """The socket's descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message whole."""
        data = pack(message)
        with self._sending:
            self._socket.sendall(data)

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
        self._early: list[bytes] = []
        self._closed = False

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands: send what came early."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.writelines(self._early)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        for message in self._unpacker.feed(data):
            self._on_message(self, message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        """The other side is gone."""
        self._transport = None
        self._closed = True
        self._on_close(self)

    def send(self, *messages: Mapping[str, Any]) -> None:
        """Send messages, now or once connected; nothing happens if the other side is gone."""
        data = b"".join(map(pack, messages))
        if self._transport is not None:
            self._transport.write(data)
        elif not self._closed:
            self._early.append(data)

    def close(self) -> None:
        """Hang up after what was sent has left."""
        if self._transport is not None:
            self._transport.close()

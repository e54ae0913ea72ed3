"""MessagePack (https://msgpack.org): JSON-like values and bytes, compact and self-delimiting."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

_msgpack: Any = importlib.import_module("msgpack")  # it ships no types

_LIMIT = 2**31 - 1  # bytes in one message


def pack(value: object) -> bytes:
    """A value as bytes.

    >>> unpack(pack({"size": 3, "data": b"abc"}))
    {'size': 3, 'data': b'abc'}
    """
    # what an electron prints or raises may hold what UTF-8 has no place for
    return _msgpack.packb(value, unicode_errors="backslashreplace")


def unpack(data: bytes) -> Any:
    """The value that `pack` made into bytes."""
    return _msgpack.unpackb(data, strict_map_key=False)


class Unpacker:
    """Turns bytes into values as they come."""

    def __init__(self) -> None:
        self._unpacker = _msgpack.Unpacker(max_buffer_size=_LIMIT, strict_map_key=False)

    def feed(self, data: bytes) -> Iterator[Any]:
        """The values that are complete with `data`."""
        self._unpacker.feed(data)
        yield from self._unpacker

"""Blobs on a stream, each with its length before it."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

_LENGTH = 8  # bytes


def write_frame(stream: BinaryIO | Any, blob: bytes) -> None:
    """Send one blob."""
    stream.write(len(blob).to_bytes(_LENGTH, "big"))
    stream.write(blob)
    stream.flush()


def read_frame(stream: BinaryIO | Any) -> bytes:
    """Receive one blob; raises EOFError when the other side is gone."""
    length = int.from_bytes(_read(stream, _LENGTH), "big")
    return _read(stream, length)


def _read(stream: BinaryIO | Any, size: int) -> bytes:
    data = cast("bytes", stream.read(size))
    if len(data) < size:
        raise EOFError
    return data

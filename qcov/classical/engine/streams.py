"""What an electron prints: standard output and error, caught at the level of the process.

Python's prints, C libraries' and child processes' alike end in files without names. The engine
makes them for each worker; the worker reads them while an electron runs and when it ends, the
engine when the worker has died.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from typing import TextIO

#: Of a stream that is longer than both together, the middle is left out. In bytes.
_HEAD = _TAIL = 1 << 19
#: The files are emptied between two electrons once they are this large.
_LARGE = 1 << 26
#: Whoever looks gets so many bytes at most, and only the latest of what is too far behind.
_GLANCE, _BEHIND = 1 << 16, 1 << 18
#: What may be the beginning of a line end, or of an escape sequence, whose rest is yet to come.
_UNFINISHED = re.compile(rb"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}\x1b?)?)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of what was printed, and where it stands; positions are bytes from the beginning."""

    start: int  #: later than was asked for if what is in between was left out
    end: int  #: where the next part begins
    text: str


class Tail:
    """A file that others append to, read on from where it was read before.

    It is never shortened while somebody may be writing: what came in between would be lost.

    Args:
        descriptor: The open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = self._at = 0
        self._decoder = _decoder()

    @property
    def at(self) -> int:
        """Up to where it has been read, in bytes."""
        return self._at

    def move(self, at: int, *, begin: bool) -> None:
        """Another process has read it up to here; with `begin`, an electron ended there."""
        self._at = at
        if begin or at < self._begun:  # or it was emptied since
            self._begun = at if begin else 0

    def begin(self) -> None:
        """What follows is another electron's."""
        self._begun = self._at = self._size()
        self._decoder = _decoder()
        if self._at > _LARGE:
            os.ftruncate(self._descriptor, 0)
            self._begun = self._at = 0

    def read(self, *, final: bool) -> str:
        """What came since the last call.

        After the head nothing more comes until the electron has ended (`final`): then the end does.
        """
        size, limit = self._size(), self._begun + _HEAD
        if size < self._at:  # it was emptied since
            self._at, limit = 0, _HEAD
        upto = min(size, limit)
        text = self._decoder.decode(self._between(self._at, upto)) if self._at < upto else ""
        self._at = max(self._at, upto)
        if not final or size <= limit:
            return text
        start = max(limit, size - _TAIL)
        note = f"\n[{start - limit} bytes are left out here]\n" if start > limit else ""
        self._at = size
        return text + note + self._decoder.decode(self._between(start, size))

    def glance(self, after: int) -> Part:
        """What the electron that runs has printed after this position; nothing is read by it."""
        begun, size = self._begun, self._size()
        if size < begun:  # it was emptied since
            begun = 0
        start, printed = max(0, after), size - begun
        if start > printed or printed - start > _BEHIND:
            start = max(0, printed - _GLANCE)
        data = self._between(begun + start, begun + min(printed, start + _GLANCE))
        unfinished = _UNFINISHED.search(data)
        decoder = _decoder()
        text = decoder.decode(data[: unfinished.start()] if unfinished else data)
        kept = len(unfinished[0]) if unfinished else len(decoder.getstate()[0])
        return Part(start=start, end=start + len(data) - kept, text=text)

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _between(self, start: int, end: int) -> bytes:
        return os.pread(self._descriptor, end - start, start)


class Streams:
    """Takes over standard output and error of this process.

    Args:
        descriptors: The files that they shall go to.
    """

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = descriptors
        self._tails = [Tail(descriptor) for descriptor in descriptors]
        self._streams: tuple[TextIO, ...] = ()
        self.begin()

    def begin(self) -> None:
        """Take over for the next electron, whatever the last one did to its streams."""
        for standard, file in enumerate(self._descriptors, start=1):
            os.dup2(file, standard)
        for tail in self._tails:
            tail.begin()
        if (sys.stdout, sys.stderr) != self._streams or sys.stdout.closed or sys.stderr.closed:
            self._streams = (_writer(1), _writer(2))
            sys.stdout, sys.stderr = self._streams

    def take(self, *, final: bool) -> dict[str, object]:
        """What was printed to both since the last call, and up to where that is."""
        for stream in (*self._streams, sys.stdout, sys.stderr):
            # electrons may put anything there, and close it
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        out, err = (tail.read(final=final) for tail in self._tails)
        return {"stdout": out, "stderr": err, "read": [tail.at for tail in self._tails]}


def unnamed_file() -> int:
    """The descriptor of a new file that is gone when nobody has it open any more."""
    with tempfile.TemporaryFile() as file:
        return os.open(f"/dev/fd/{file.fileno()}", os.O_RDWR | os.O_APPEND)


def _writer(descriptor: int) -> io.TextIOWrapper:
    file = os.fdopen(descriptor, "wb", closefd=False)
    # by lines: what was printed before a crash must not be lost with a buffer
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _decoder() -> codecs.IncrementalDecoder:
    """A character may come in two parts."""
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")

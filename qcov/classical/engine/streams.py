"""What an electron prints: standard output and error, caught at the level of the process.

Python's prints, C libraries' and child processes' alike end in a file without a name, which is read
when the electron ends, or now and then while it runs.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import tempfile
from typing import TextIO

#: At most this much of a stream is kept for one electron, in bytes.
_LIMIT = 1 << 20
#: The files are emptied between two electrons once they are this large.
_LARGE = 1 << 26


class Streams:
    """Takes over standard output and error of this process."""

    def __init__(self) -> None:
        self._files = (_Tail(), _Tail())
        self._streams: tuple[TextIO, ...] = ()
        self.begin()

    def begin(self) -> None:
        """Take over for the next electron, whatever the last one did to its streams."""
        for descriptor, file in enumerate(self._files, start=1):
            file.begin()
            os.dup2(file.descriptor, descriptor)
        if (sys.stdout, sys.stderr) != self._streams or sys.stdout.closed or sys.stderr.closed:
            self._streams = (_writer(1, errors="strict"), _writer(2, errors="backslashreplace"))
            sys.stdout, sys.stderr = self._streams

    def take(self) -> tuple[str, str]:
        """What was printed to both since the last call."""
        for stream in (*self._streams, sys.stdout, sys.stderr):
            # electrons may put anything there, and close it
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        return self._files[0].read(), self._files[1].read()


def _writer(descriptor: int, *, errors: str) -> io.TextIOWrapper:
    file = os.fdopen(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(file, encoding="utf-8", errors=errors)


class _Tail:
    """A file without a name that is appended to, and read on from where it was read before.

    It is never shortened while somebody may be writing: what came in between would be lost.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self.descriptor = os.open(f"/dev/fd/{file.fileno()}", os.O_RDWR | os.O_APPEND)
        self._at = 0
        self._left = _LIMIT
        self._decoder = _decoder()

    def begin(self) -> None:
        """What follows is another electron's."""
        self._at = os.fstat(self.descriptor).st_size
        self._left = _LIMIT
        self._decoder = _decoder()
        if self._at > _LARGE:
            os.ftruncate(self.descriptor, 0)
            self._at = 0

    def read(self) -> str:
        """What came since the last call, as long as the electron's share lasts."""
        size = os.fstat(self.descriptor).st_size
        if size <= self._at:
            return ""
        data = os.pread(self.descriptor, min(size - self._at, self._left), self._at)
        cut = self._left > 0 and size - self._at > self._left
        self._at = size
        self._left -= len(data)
        note = f"\n[what follows the first {_LIMIT} bytes is left out]\n" if cut else ""
        return self._decoder.decode(data) + note


def _decoder() -> codecs.IncrementalDecoder:
    """A character may come in two parts."""
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")

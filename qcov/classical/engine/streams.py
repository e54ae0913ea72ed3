"""What an electron prints: standard output and error, caught at the level of the process.

Python's prints, C libraries' and child processes' alike end in a file without a name, which is read
when the electron ends, or now and then while it runs.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from typing import TextIO

#: At most this much of a stream is kept for one report; the end is what matters.
_LIMIT = 1 << 20


class Streams:
    """Takes over standard output and error of this process."""

    def __init__(self) -> None:
        self._files = (_nameless(), _nameless())
        self._streams: tuple[TextIO, ...] = ()
        self.install()

    def install(self) -> None:
        """Take over, whatever an electron did to its streams."""
        for descriptor, file in enumerate(self._files, start=1):
            os.dup2(file, descriptor)
        if (sys.stdout, sys.stderr) != self._streams or sys.stdout.closed or sys.stderr.closed:
            self._streams = (_writer(1, errors="strict"), _writer(2, errors="backslashreplace"))
            sys.stdout, sys.stderr = self._streams

    def take(self) -> tuple[str, str]:
        """What was printed to both since the last call."""
        for stream in (*self._streams, sys.stdout, sys.stderr):
            # electrons may put anything there, and close it
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        return _drain(self._files[0]), _drain(self._files[1])


def _writer(descriptor: int, *, errors: str) -> io.TextIOWrapper:
    file = os.fdopen(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(file, encoding="utf-8", errors=errors)


def _nameless() -> int:
    """A new file without a name, which is appended to."""
    with tempfile.TemporaryFile() as file:
        return os.open(f"/dev/fd/{file.fileno()}", os.O_RDWR | os.O_APPEND)


def _drain(file: int) -> str:
    size = os.fstat(file).st_size
    if not size:
        return ""
    text = os.pread(file, _LIMIT, max(0, size - _LIMIT)).decode("utf-8", "backslashreplace")
    os.ftruncate(file, 0)
    return text if size <= _LIMIT else f"[... {size - _LIMIT} bytes left out]\n{text}"

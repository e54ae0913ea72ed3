"""What an electron prints: standard output and error, caught at the level of the process.

Python's prints, C libraries' and child processes' alike end in a file without a name, which is read
when the electron ends, or now and then while it runs.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile

#: At most this much of a stream is kept for one report; the end is what matters.
_LIMIT = 1 << 20


class Streams:
    """Takes over standard output and error of this process."""

    def __init__(self) -> None:
        self._files = tuple(_redirect(descriptor) for descriptor in (1, 2))
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(
            os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace"
        )
        self._streams = (sys.stdout, sys.stderr)

    def take(self) -> tuple[str, str]:
        """What was printed to both since the last call."""
        for stream in (*self._streams, sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        return _drain(self._files[0]), _drain(self._files[1])


def _redirect(descriptor: int) -> int:
    """Let the descriptor append to a new file without a name; return another one to read it."""
    with tempfile.TemporaryFile() as file:
        flags = os.O_RDWR | os.O_APPEND
        appending = os.open(f"/dev/fd/{file.fileno()}", flags)
    os.dup2(appending, descriptor)
    return appending


def _drain(file: int) -> str:
    size = os.fstat(file).st_size
    if not size:
        return ""
    text = os.pread(file, _LIMIT, max(0, size - _LIMIT)).decode("utf-8", "backslashreplace")
    os.ftruncate(file, 0)
    return text if size <= _LIMIT else f"[... {size - _LIMIT} bytes left out]\n{text}"

"""Processes that users' code has forked, and that come back to ours.

A function that calls `os.fork` may return twice, once in each process. One of them goes on with
what comes after it; a child that went on as well would answer in the place of its parent.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn


class OnlyParent:
    """A block that only the process which enters it leaves: a child forked inside ends with it.

    It ends as a program would that is done: with 0, with what `sys.exit` was given, or with 1
    and its traceback on standard error. Nothing that was registered with `atexit` runs.
    """

    __slots__ = ("_pid",)

    def __enter__(self) -> None:
        self._pid = os.getpid()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if os.getpid() != self._pid:
            _end(error)


def _end(error: BaseException | None) -> NoReturn:
    status = 1
    try:
        status = _told(error)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError, OSError):  # closed, or replaced
                stream.flush()
    finally:
        os._exit(status)


def _told(error: BaseException | None) -> int:
    """The status to end with; says why on standard error as the interpreter does."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1

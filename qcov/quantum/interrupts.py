"""Ctrl-C and the books of circuits: who runs which, and who waits for them, must stay in balance.

Python raises `KeyboardInterrupt` between any two steps of the main thread. Where that is in the
midst of taking circuits or handing out results, nobody would run what waits, and the program would
not end. There it is deferred until the books balance. What takes its time, executors, waiting and
the user's own code, is interrupted at once, and so is everything by a second Ctrl-C.
"""

from __future__ import annotations

import signal
import threading
from typing import Any


class _State:
    """Of the main thread, the only one that is ever interrupted."""

    deferring = False  #: whether some block of `deferred` is entered
    allowed = False  #: whether an interrupt is for what runs now
    pending = False  #: whether one came that was not
    handler: Any = None  #: what the program does with one


_state = _State()


def _defer(number: int, frame: Any) -> None:
    if _state.allowed or _state.pending:
        _state.pending = False
        _state.handler(number, frame)
    else:
        _state.pending = True


class deferred:  # noqa: N801  # used as a function; a generator would cost each circuit more
    """Let Ctrl-C wait inside, but for what is `allowed` there; it has its effect at the end.

    A program's own handler of the signal is called as ever, only later. In other threads, and where
    Ctrl-C is ignored or ends the process, nothing changes.
    """

    __slots__ = ("_allowed_before", "_outermost")

    def __enter__(self) -> None:
        self._allowed_before: bool | None = None  #: None where nothing is deferred
        if threading.current_thread() is not threading.main_thread():
            return
        self._outermost = not _state.deferring
        if self._outermost:
            if not callable(signal.getsignal(signal.SIGINT)):
                return
            _state.allowed = _state.pending = False
            try:
                _state.handler = signal.signal(signal.SIGINT, _defer)
            except ValueError:  # the main thread of another interpreter than the main one
                return
            _state.deferring = self._allowed_before = True
        else:
            self._allowed_before, _state.allowed = _state.allowed, False

    def __exit__(self, *_: object) -> None:
        if self._allowed_before is None:
            return
        if self._outermost:
            _state.deferring = False
            now = signal.signal(signal.SIGINT, _state.handler)
            if now is not _defer:  # somebody wants something else of it since
                signal.signal(signal.SIGINT, now)
        _state.allowed = self._allowed_before
        _tell_if_allowed()


class allowed:  # noqa: N801  # as above
    """Let Ctrl-C have its effect at once inside, also one that waits."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before: bool | None = None
        if threading.current_thread() is threading.main_thread():
            self._before, _state.allowed = _state.allowed, True
            _tell_if_allowed()

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _state.allowed = self._before


def _tell_if_allowed() -> None:
    if _state.pending and _state.allowed:
        _state.pending = False
        _state.handler(signal.SIGINT, None)

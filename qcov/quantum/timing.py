"""The router's clock: what time it is, and calls when a time has come."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the router needs of time; tests have a fake one."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Call `function` after `seconds`, in another thread. What is returned calls it off."""
        ...

    def start(self) -> None:
        """Be ready for calls to come."""
        ...


class SystemClock:
    """The real time. One thread calls everything, so what it calls must be short.

    It starts early and stays: when the interpreter ends, no thread can start any more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[_Call] = []  # a heap, the next one first
        self._running = False

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Call `function` after `seconds`, in another thread. What is returned calls it off."""
        call = _Call(self.now() + seconds, function)
        with self._changed:
            if len(self._calls) >= _MANY and sum(one.is_off for one in self._calls) > _MANY // 2:
                self._calls = [one for one in self._calls if not one.is_off]
                heapq.heapify(self._calls)
            heapq.heappush(self._calls, call)
            self._changed.notify()
        self.start()
        return call.off

    def start(self) -> None:
        """Be ready for calls to come."""
        with self._changed:
            if self._running:
                return
            threading.Thread(target=self._run, name="qcov-clock", daemon=True).start()
            self._running = True

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> _Call:
        """Wait for the next call that is due."""
        with self._changed:
            while True:
                wait = self._calls[0].due - self.now() if self._calls else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._calls)
                self._changed.wait(wait)


_MANY = 128  #: calls, from which on those that were called off are looked for


class _Call:
    """A call that is to come."""

    __slots__ = ("_function", "due")

    def __init__(self, due: float, function: Callable[[], None]) -> None:
        self.due = due
        self._function: Callable[[], None] | None = function

    def __call__(self) -> None:
        function = self._function
        if function is not None:
            function()

    def __lt__(self, other: _Call) -> bool:
        return self.due < other.due

    @property
    def is_off(self) -> bool:
        """Whether it was called off."""
        return self._function is None

    def off(self) -> None:
        """Call it off, and let go of all that it holds."""
        self._function = None

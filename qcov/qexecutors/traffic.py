"""What one process knows of an executor's work: circuits under way, and how long they take."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

_WEIGHT = 0.3  #: of the newest batch in the average: about the last five count


class Traffic:
    """Counts what goes to an executor and comes back. Safe under threads.

    It belongs to one process: a copy, a pickle or a forked child of it starts from nothing.

    >>> traffic = Traffic()
    >>> traffic.enter(2)
    >>> traffic.leave(1, seconds=0.5)
    >>> traffic.in_flight, traffic.seconds
    (1, 0.5)
    """

    def __init__(self) -> None:
        self.forget()
        _alive.add(self)

    def forget(self) -> None:
        """Start from nothing."""
        self._lock = threading.Lock()
        self.in_flight = 0  #: circuits that wait or run
        self.seconds: float | None = None  #: of one circuit, lately

    def enter(self, count: int = 1) -> None:
        """Count circuits that were given to the executor."""
        with self._lock:
            self.in_flight += count

    def leave(self, count: int = 1, seconds: float | None = None) -> None:
        """Count circuits that came back, after `seconds` each if they succeeded."""
        with self._lock:
            self.in_flight -= count
            if seconds is not None:
                before = seconds if self.seconds is None else self.seconds
                self.seconds = before + _WEIGHT * (seconds - before)

    def __reduce__(self) -> tuple[type[Traffic], tuple[()]]:
        return Traffic, ()

    def __deepcopy__(self, _memo: object) -> Traffic:
        return Traffic()


_alive: WeakSet[Traffic] = WeakSet()


def _forget_parent() -> None:
    for traffic in _alive:
        traffic.forget()


os.register_at_fork(after_in_child=_forget_parent)

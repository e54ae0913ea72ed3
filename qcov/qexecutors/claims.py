"""Which programs of earlier jobs have been taken over already.

An electron that runs again goes on with the jobs of its first try. Where it asks for the same
circuit twice, each time must get a program of its own: what one has taken, another may not. A try
that failed gives its programs back, so that the next one finds its job.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

from qcov.context import Try, get_context
from qcov.job_entries import JobEntry

#: A program of a job: the job's token, and its number there.
Place = tuple[str, int]

_here = Try()
_taken: WeakKeyDictionary[Try, set[Place]] = WeakKeyDictionary()
_lock = threading.Lock()


def current_try() -> Try:
    """The electron's that runs here, or else this process's only one."""
    context = get_context()
    return _here if context is None else context.once


class Claims:
    """What one run of circuits has taken, in one try."""

    def __init__(self, once: Try) -> None:
        self._once = once
        self._own: set[Place] = set()

    def take_over(
        self, jobs: Iterable[tuple[JobEntry, Sequence[str]]], keys: Sequence[str]
    ) -> dict[int, Place]:
        """Take programs of earlier jobs for those with the same keys.

        Args:
            jobs: Jobs, and the keys of their programs.
            keys: Of the programs that are wanted.

        Returns:
            For each wanted program that was found, its place.
        """
        with _lock:
            taken = _taken.setdefault(self._once, set())
            free: dict[str, list[Place]] = {}
            for entry, own in jobs:
                for number, key in enumerate(own):
                    if (entry.token, number) not in taken:
                        free.setdefault(key, []).append((entry.token, number))
            found: dict[int, Place] = {}
            for number, key in enumerate(keys):
                if free.get(key):
                    found[number] = free[key].pop(0)
            self._take(found.values())
        return found

    def take(self, places: Iterable[Place]) -> None:
        """Take programs of a job of one's own."""
        with _lock:
            self._take(places)

    def give_back(self, places: Iterable[Place]) -> None:
        """Let others have programs whose results did not come."""
        with _lock:
            back = self._own.intersection(places)
            self._own -= back
            _taken[self._once] -= back

    def _take(self, places: Iterable[Place]) -> None:
        new = set(places)
        self._own |= new
        _taken.setdefault(self._once, set()).update(new)

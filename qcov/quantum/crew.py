"""The threads that run circuits: kept, for executors have a device in each of them.

They are daemons: one that never comes back must not keep the interpreter from ending. When it ends,
Python 3.12 and later start no threads any more: then what waits is run by those that are there, or
by whoever would have to wait for it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue


@dataclass(frozen=True, slots=True)
class Task:
    """Something to run in a thread of its own."""

    run: Callable[[], object]
    #: What to do instead where there is no such thread; None if any may run it.
    refuse: Callable[[], object] | None = None


class Crew:
    """Threads of one lane."""

    def __init__(self) -> None:
        self._team = _Team()
        weakref.finalize(self, self._team.dismiss).atexit = False

    def start(self, task: Task, name: str) -> None:
        """Run a task in a thread that is free, or in a new one."""
        self._team.start(task, name)

    def lose(self) -> None:
        """One of the threads is left behind: it may never come back."""
        self._team.leave()

    def regain(self) -> None:
        """It has come back."""
        self._team.come_back()


class _Here(threading.local):
    team: _Team | None = None  #: whose tasks this thread runs
    member = False  #: whether it is one of its threads
    doing = False  #: whether it runs all that waits, for there is nobody else
    away = 0  #: waits that it is in


_here = _Here()


@contextmanager
def away() -> Generator[None, None, None]:
    """Wait for circuits inside: the thread takes no tasks meanwhile."""
    team = _here.team
    if team is None:
        yield
        return
    counts = _here.member and not _here.away
    _here.away += 1
    try:
        team.leave(counts=counts, waits=True)
        yield
    finally:
        _here.away -= 1
        if counts:
            team.come_back()


class _Team:
    """What the threads share; it does not keep their crew, so that this can go."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._members = 0
        self._idle = 0  #: below 0: tasks wait for threads that are busy
        self._coming = 0  #: threads that take tasks, or will once they have done theirs

    def start(self, task: Task, name: str) -> None:
        """See `Crew.start`."""
        with self._lock:
            self._idle -= 1
            new = self._idle < 0
            if new:
                self._idle += 1
                self._members += 1
                self._coming += 1
        self._tasks.put(task)
        if new:
            thread = threading.Thread(target=self._work, name=f"qcov-{name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends
                with self._lock:
                    self._members -= 1
                    self._idle -= 1
                self.leave()

    def leave(self, *, counts: bool = True, waits: bool = False) -> None:
        """A thread takes no tasks from now on; if it was the last, what waits is done here.

        Args:
            counts: Whether it has taken tasks until now.
            waits: Whether it waits, so that no earlier call here goes on with the tasks.
        """
        with self._lock:
            self._coming -= counts
            stranded = self._coming <= 0
        if stranded and (waits or not _here.doing):
            self._do_here()

    def come_back(self) -> None:
        """A thread takes tasks again."""
        with self._lock:
            self._coming += 1

    def dismiss(self) -> None:
        """Let all threads end."""
        for _ in range(self._members):
            self._tasks.put(None)

    def _work(self) -> None:
        _here.team, _here.member = self, True
        while (task := self._tasks.get()) is not None:
            task.run()
            del task  # which would keep the executor alive
            with self._lock:
                self._idle += 1

    def _do_here(self) -> None:
        before = _here.team, _here.doing
        _here.team, _here.doing = self, True
        try:
            while (task := self._next()) is not None:
                (task.refuse or task.run)()
        finally:
            _here.team, _here.doing = before

    def _next(self) -> Task | None:
        try:
            task = self._tasks.get_nowait()
        except Empty:
            return None
        if task is None:  # the crew is dismissed
            self._tasks.put(None)
            return None
        with self._lock:
            self._idle += 1
        return task

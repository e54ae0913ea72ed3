"""Lanes: the circuits that wait for one executor, and the threads that run them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from qcov.policy import CLOSED, Breaker
from qcov.qexecutors.base import BaseQExecutor
from qcov.quantum.crew import Crew, Task
from qcov.quantum.futures import calling_back_later
from qcov.quantum.tickets import Job


class Round:
    """Jobs that one thread took from a lane, to run them batch by batch."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.groups: deque[list[Job]] = deque()
        self.batch: object = None  #: what runs now against time
        self.done: Sequence[object] = ()  #: futures that will call back when its turn is over
        self.lost = False  #: its thread was left behind, for it did not come back in time

    def next(self) -> list[Job] | None:
        """The next jobs to run as one batch; None if there are no more for this thread."""
        ends = self.lost or self.done  # what waits must not wait for callbacks, nor they for it
        return self.groups.popleft() if self.groups and not ends else None


Run: TypeAlias = Callable[[BaseQExecutor, "Lane", Round], None]
Refuse: TypeAlias = Callable[[BaseQExecutor, Sequence[Job]], None]


class Lane:
    """What waits for one executor.

    Whoever calls and finds it idle runs circuits itself, in its own thread; whoever finds it busy
    leaves them there. While circuits keep coming, the lane's own thread rests: it would only fight
    with the thread that builds them for Python's lock. Whoever wants a result meanwhile takes over.

    Where the executor has a time limit, only the lane's own threads run circuits, so that they can
    be left behind.

    Args:
        run: Runs what a thread took.
        refuse: Settles what must not run in any thread that there is.
    """

    def __init__(self, run: Run, refuse: Refuse) -> None:
        self.breaker: Breaker = CLOSED
        self.trouble = ""  #: the last error
        self._run_round = run
        self._refuse = refuse
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._shed = 0  #: of those that wait, the ones that nobody wants any more
        self._running = 0  #: threads that run circuits, or will
        self._leaving = 0  #: threads that run circuits, or call back those who wait for them
        self._resting = False  #: one of them is the lane's own, which rests first
        self._crew = Crew()

    @property
    def busy(self) -> bool:
        """Whether circuits run or wait."""
        return bool(self._running or self._leaving)

    def run(self, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        """Run jobs in this thread if it may; otherwise they wait for their turn."""
        if executor.watched_limit is not None:
            self.submit(executor, jobs, rest=False)
            return
        with self._lock:
            self._waiting.extend(jobs)
            mine = self._take_turn(executor)
        if mine:
            self._serve(executor)

    def submit(self, executor: BaseQExecutor, jobs: Sequence[Job], *, rest: bool = True) -> None:
        """Run jobs in the lane's own thread."""
        with self._lock:
            self._waiting.extend(jobs)
            idle = self._running < executor.max_jobs and not self._resting
            if idle:
                self._running, self._resting = self._running + 1, rest
        if idle:
            self._start(executor, rest=rest)

    def hurry(self, executor: BaseQExecutor) -> None:
        """Run what waits in this thread, if the lane's own still rests."""
        with self._lock:
            if not self._resting or executor.watched_limit is not None:
                return
            self._resting = False
        self._serve(executor)

    def shed(self, count: int) -> None:
        """Let go of jobs that nobody wants any more, once they are many."""
        with self._lock:
            self._shed += count
            if self._shed > len(self._waiting) // 2:
                self._waiting = deque(job for job in self._waiting if job.ticket is not None)
                self._shed = 0

    def abandon(self, executor: BaseQExecutor, round_: Round, batch: object) -> bool:
        """Go on without the thread that still runs `batch`; False if it has come back."""
        with self._lock:
            if round_.batch is not batch:
                return False
            round_.lost = True
            self._leaving -= 1
        self._crew.lose()
        self._end_turn(executor, round_)
        return True

    def back_in_time(self, round_: Round) -> bool:
        """Say that a batch is back; False if nobody waits for this thread any more."""
        with self._lock:
            round_.batch = None
            return not round_.lost

    def _take_turn(self, executor: BaseQExecutor) -> bool:
        if self._resting:
            self._resting = False
            return True
        if self._running < executor.max_jobs:
            self._running += 1
            return True
        return False

    def _serve(self, executor: BaseQExecutor) -> None:
        """Run what waits, at most a batch; the rest is the business of the lane's own threads.

        What is not taken has not started: it can be cancelled, and others may run it meanwhile.
        """
        with self._lock:
            round_ = Round(self._take(executor.max_batch))
            spare = self._running < executor.max_jobs and not self._resting
            helped = spare and bool(self._waiting)
            self._running += helped
            self._leaving += 1
        if helped:
            self._start(executor, rest=False)
        try:
            with calling_back_later() as done:
                round_.done = done
                try:
                    self._run_round(executor, self, round_)
                finally:
                    if not round_.lost:
                        self._end_turn(executor, round_)
        finally:
            with self._lock:
                self._leaving -= not round_.lost
            if round_.lost:
                self._crew.regain()

    def _take(self, size: int | None) -> list[Job]:
        if size is None:
            taken = [job for job in self._waiting if job.ticket is not None]
            self._waiting.clear()
            self._shed = 0
            return taken
        taken = list[Job]()
        while self._waiting and len(taken) < size:
            job = self._waiting.popleft()
            if job.ticket is not None:
                taken.append(job)
            elif self._shed:
                self._shed -= 1
        return taken

    def _end_turn(self, executor: BaseQExecutor, round_: Round) -> None:
        """Put back what the round has not run, and see that somebody runs all that waits."""
        with self._lock:
            while round_.groups:
                for job in reversed(round_.groups.pop()):
                    job.running = False
                    self._waiting.appendleft(job)
            more = bool(self._waiting) and not self._resting
            rest = executor.max_batch is None  # else what waits makes a batch already
            if more:
                self._resting = rest
            else:
                self._running -= 1
        if more:
            self._start(executor, rest=rest)

    def _start(self, executor: BaseQExecutor, *, rest: bool) -> None:
        limited = executor.watched_limit is not None
        refuse = partial(self._turn_away, executor) if limited else None
        task = Task(partial(self._rest_and_serve, executor, rest=rest), refuse)
        self._crew.start(task, executor.name)

    def _turn_away(self, executor: BaseQExecutor) -> None:
        with self._lock:
            jobs, self._resting = self._take(None), False
            self._running -= 1
            self._leaving += 1
        try:
            self._refuse(executor, jobs)
        finally:
            with self._lock:
                self._leaving -= 1

    def _rest_and_serve(self, executor: BaseQExecutor, *, rest: bool) -> None:
        if rest and not self._rest():
            return
        self._serve(executor)

    def _rest(self) -> bool:
        """Wait until no more jobs come; False if somebody else has run them meanwhile."""
        pause, before = _SHORTEST_REST, 0
        while self._resting and before < len(self._waiting):
            before = len(self._waiting)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_REST)
        with self._lock:
            mine, self._resting = self._resting, False
        return mine


_SHORTEST_REST, _LONGEST_REST = 0.0005, 0.016  # seconds; the rest ends when nothing came meanwhile

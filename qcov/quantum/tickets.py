"""What somebody asks for together: a request, the ticket that follows it, a job per circuit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from qcov.budget import Budget
from qcov.context import Context, get_context
from qcov.policy import ErrorKind
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.quantum import interrupts
from qcov.quantum.crew import away
from qcov.quantum.recording import Caller
from qcov.records import Attempt

_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Circuits that somebody asks for together."""

    circuits: tuple[Circuit, ...]
    executor: BaseQExecutor
    caller: Caller
    wires: int | tuple[Any, ...] | None
    mcm_method: str | None
    postselect_mode: str | None
    budgets: tuple[Budget, ...] = ()  #: that pay where the circuits are asked for
    diff_method: str | None = None  #: how the circuits are being differentiated, if they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A try that failed."""

    executor: BaseQExecutor
    kind: ErrorKind
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A circuit that its cache was asked for, in vain."""

    executor: BaseQExecutor  #: where it was to run
    key: bytes | None = None  #: under which its result is kept, if it can be
    said: str = ""  #: else why not


class Job:
    """One circuit on its way to an executor."""

    __slots__ = ("circuit", "executor", "failures", "index", "inquiry", "running", "ticket")

    def __init__(
        self, ticket: Ticket, index: int, circuit: Circuit, executor: BaseQExecutor
    ) -> None:
        self.ticket: Ticket | None = ticket  #: None once nobody wants it any more
        self.index = index
        self.circuit: Any = circuit
        self.executor = executor
        self.failures: tuple[Failure, ...] = ()
        self.inquiry: Inquiry | None = None
        self.running = False


class Ticket:
    """A request on its way: its parts may run on different executors."""

    def __init__(
        self,
        request: Request,
        *,
        begin: Callable[[], bool] | None = None,
        done: Callable[[Ticket], None] | None = None,
    ) -> None:
        self.request = request
        self.context: Context | None = get_context()
        self.queued = time.time()
        self.jobs: list[Job] = []
        self.finished = not request.circuits  #: whether all circuits have run
        self._outcomes: list[Any] = [_MISSING] * len(request.circuits)
        self._missing = len(request.circuits)
        self._lock = threading.Lock()
        self._awaited: threading.Event | None = None  #: only if somebody waits: it is not cheap
        self._begin, self._begun = begin, begin is None
        self._withdrawn = False
        self._done = done

    def add(self, index: int, circuit: Circuit, executor: BaseQExecutor) -> Job:
        """A job for one of its circuits; `executor.traffic` counts it from then on."""
        job = Job(self, index, circuit, executor)
        self.jobs.append(job)
        return job

    def move(self, job: Job, circuit: Circuit, executor: BaseQExecutor) -> bool:
        """Give a job that failed to an executor again; False if nobody wants it any more."""
        with self._lock:
            if self._withdrawn:
                return False
            job.circuit, job.executor, job.running = circuit, executor, False
        executor.traffic.enter()
        return True

    def begin(self, jobs: Iterable[Job]) -> bool:
        """Say that some of its jobs start to run; False if nobody wants the results any more."""
        with self._lock:
            if self._withdrawn:
                return False
            if not self._begun and self._begin is not None:
                self._begun = self._begin()
            for job in jobs:
                job.running = self._begun
            return self._begun

    def withdraw(self) -> list[Job]:
        """Say that nobody wants the results. Jobs that do not run let go of all; they come back."""
        with self._lock:
            self._withdrawn = True
            waiting = [job for job in self.jobs if not job.running]
            self.jobs = []
        for job in waiting:
            job.executor.traffic.leave()
            job.ticket = job.circuit = None
        return waiting

    def settle(self, outcomes: Iterable[tuple[int, Any]]) -> None:
        """Take outcomes of its circuits, results or exceptions; the first one of each counts."""
        with self._lock:
            for index, outcome in outcomes:
                if self._outcomes[index] is _MISSING:
                    self._outcomes[index] = outcome
                    self._missing -= 1
            last = self._missing == 0 and not self.finished
            if last:
                self.jobs, self.finished = [], True
                if self._awaited is not None:
                    self._awaited.set()
        if last and self._done is not None:
            self._done(self)

    def wait(self) -> list[Any]:
        """Wait for all circuits; their results, or the first error."""
        if not self.finished:
            with self._lock:
                if self._awaited is None:
                    self._awaited = threading.Event()
                if self.finished:
                    self._awaited.set()
            with away(), interrupts.allowed():
                self._awaited.wait()
        return self.results()

    def results(self) -> list[Any]:
        """The results of all circuits, once they are there; raises the first error."""
        for outcome in self._outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return self._outcomes

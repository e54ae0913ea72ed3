"""The router: which circuit runs on which executor, and when.

Every executor has one *lane*. Whoever calls and finds it idle runs circuits itself, in its own
thread; whoever finds it busy leaves circuits there. What gathered meanwhile runs as one batch when
the lane is free again. Circuits for later gather until no more come, or until somebody wants one.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from qcov import records
from qcov.context import Context, get_context
from qcov.errors import CircuitError
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, CircuitResult
from qcov.quantum.recording import Caller, CircuitRun

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
        self.executors: tuple[BaseQExecutor, ...] = ()
        self._outcomes: list[Any] = [_MISSING] * len(request.circuits)
        self._missing = len(request.circuits)
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._begin, self._begun = begin, begin is None
        self._done = done

    def begin(self) -> bool:
        """Say that a part starts to run; False if nobody wants the results any more."""
        with self._lock:
            if not self._begun and self._begin is not None:
                self._begun = self._begin()
            return self._begun

    def settle(self, index: int, outcome: Any) -> None:
        """Take the outcome of one circuit, a result or an exception; the first one counts."""
        with self._lock:
            if self._outcomes[index] is not _MISSING:
                return
            self._outcomes[index] = outcome
            self._missing -= 1
            last = self._missing == 0
        if last:
            self._finished.set()
            if self._done is not None:
                self._done(self)

    @property
    def finished(self) -> bool:
        """Whether all circuits have run."""
        return self._finished.is_set()

    def hurry(self) -> None:
        """Run what still waits for its turn in this thread, where nobody runs anything yet."""
        for executor in self.executors:
            if not self._finished.is_set():
                _lane(executor).take_over(executor)

    def wait(self) -> list[Any]:
        """Wait for all circuits; their results, or the first error."""
        self._finished.wait()
        return self.results()

    def results(self) -> list[Any]:
        """The results of all circuits, once they are there; raises the first error."""
        for outcome in self._outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return self._outcomes


@dataclass(slots=True)
class _Job:
    """One circuit in a lane."""

    ticket: Ticket
    index: int
    circuit: Circuit


def run(request: Request) -> list[Any]:
    """Run circuits and wait for their results. What one idle executor can do runs right here."""
    ticket = Ticket(request)
    *others, (executor, jobs) = _split(ticket)
    for other, its_jobs in others:
        _lane(other).submit(other, its_jobs)
    _lane(executor).run(executor, jobs)
    return ticket.wait()


def submit(
    request: Request, *, begin: Callable[[], bool], done: Callable[[Ticket], None]
) -> Ticket:
    """Run circuits in the background: `begin` is asked before, `done` is told after."""
    ticket = Ticket(request, begin=begin, done=done)
    for executor, jobs in _split(ticket):
        _lane(executor).submit(executor, jobs)
    return ticket


def remember(runs: Sequence[CircuitRun]) -> None:
    """File circuits that ran."""
    for one in runs:
        one.caller.history.append(one)
    records.record(runs)


def _split(ticket: Ticket) -> list[tuple[BaseQExecutor, list[_Job]]]:
    """Select an executor for every circuit."""
    parts: dict[int, tuple[BaseQExecutor, list[_Job]]] = {}
    for index, circuit in enumerate(ticket.request.circuits):
        executor = ticket.request.executor.select(circuit)
        jobs = parts.setdefault(id(executor), (executor, []))[1]
        jobs.append(_Job(ticket, index, _with_its_shots(executor, circuit)))
    ticket.executors = tuple([executor for executor, _ in parts.values()])
    return list(parts.values())


def _with_its_shots(executor: BaseQExecutor, circuit: Circuit) -> Circuit:
    if executor.shots == 0 or adapter.total_shots(circuit) == executor.shots:
        return circuit
    return adapter.with_shots(circuit, executor.shots)


class _Lane:
    """The circuits that wait for one executor, and the thread that runs them.

    While circuits keep coming, the lane's own thread rests: it would only fight with the thread
    that builds them for Python's lock. Whoever wants a result meanwhile takes over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._busy = False  #: somebody runs circuits, or will
        self._resting = False  #: it is the lane's own thread, which rests first
        self._thread: ThreadPoolExecutor | None = None

    def run(self, executor: BaseQExecutor, jobs: Sequence[_Job]) -> None:
        """Run jobs in this thread if nobody else runs some; otherwise they wait for their turn."""
        with self._lock:
            self._waiting.extend(jobs)
            mine = self._resting or not self._busy
            self._busy, self._resting = True, self._resting and not mine
        if mine:
            self._serve(executor)

    def submit(self, executor: BaseQExecutor, jobs: Sequence[_Job]) -> None:
        """Run jobs in the lane's own thread."""
        with self._lock:
            self._waiting.extend(jobs)
            idle = not self._busy
            if idle:
                self._busy = self._resting = True
        if idle:
            self._start(executor)

    def take_over(self, executor: BaseQExecutor) -> None:
        """Run what waits in this thread, if the lane's own still rests."""
        with self._lock:
            mine, self._resting = self._resting, False
        if mine:
            self._serve(executor)

    def _serve(self, executor: BaseQExecutor) -> None:
        """Run all that waits; what came meanwhile is the business of the lane's own thread."""
        with self._lock:
            jobs = list(self._waiting)
            self._waiting.clear()
        try:
            _execute(executor, jobs)
        finally:
            with self._lock:
                more = self._busy = self._resting = bool(self._waiting)
            if more:
                self._start(executor)

    def _start(self, executor: BaseQExecutor) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"qcov-{executor.name}")
        self._thread.submit(self._rest_and_serve, executor)

    def _rest_and_serve(self, executor: BaseQExecutor) -> None:
        pause, before = _SHORTEST_REST, 0
        while self._resting and before < len(self._waiting):
            before = len(self._waiting)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_REST)
        self.take_over(executor)


_SHORTEST_REST, _LONGEST_REST = 0.0005, 0.016  # seconds; the rest ends when nothing came meanwhile


_lanes: dict[int, _Lane] = {}


def _lane(executor: BaseQExecutor) -> _Lane:
    lane = _lanes.get(id(executor))
    if lane is None:
        lane = _lanes.setdefault(id(executor), _Lane())
        weakref.finalize(executor, _lanes.pop, id(executor), None)
    return lane


os.register_at_fork(after_in_child=_lanes.clear)


def _execute(executor: BaseQExecutor, jobs: Sequence[_Job]) -> None:
    """Run jobs as few batches as their settings allow; every one of them is settled after."""
    jobs = [job for job in jobs if job.ticket.begin()]
    try:
        for group in _alike(jobs):
            _run_group(executor, group)
    except BaseException:
        # Interrupted in the midst: whoever waits for the rest must not wait for ever.
        _settle_rest(executor, jobs)
        raise


def _alike(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Group jobs that can run as one batch."""
    if len(jobs) <= 1:
        return [list(jobs)] if jobs else []
    groups: dict[Any, list[_Job]] = {}
    for job in jobs:
        request = job.ticket.request
        how = (request.wires, request.mcm_method, request.postselect_mode)
        key = (how, job.circuit.shots, adapter.measures_midway(job.circuit))
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _run_group(executor: BaseQExecutor, jobs: Sequence[_Job]) -> None:
    request = jobs[0].ticket.request
    batch = CircuitBatch(
        circuits=tuple([job.circuit for job in jobs]),
        wires=request.wires,
        mcm_method=request.mcm_method,
        postselect_mode=request.postselect_mode,
    )
    started, clock = time.time(), time.perf_counter()
    try:
        outcomes = _run_batch(executor, batch)
    except Exception as error:  # noqa: BLE001  # it belongs to whoever asked for the circuits
        tickets = {id(job.ticket): job.ticket for job in jobs}
        if len(tickets) > 1:  # none of them ran, and one may have spoilt it for the others
            for ticket in tickets.values():
                _run_group(executor, [job for job in jobs if job.ticket is ticket])
            return
        outcomes = [error] * len(jobs)
    share = (time.perf_counter() - clock) / len(jobs)
    _settle(executor, jobs, outcomes, started, share)


def _run_batch(executor: BaseQExecutor, batch: CircuitBatch) -> Sequence[Any]:
    outcomes = executor.run_batch(batch)
    if len(outcomes) != len(batch.circuits):
        raise CircuitError(
            executor=executor.name,
            reason=f"its run_batch gave {len(outcomes)} results for {len(batch.circuits)} circuits",
        )
    return outcomes


def _settle(
    executor: BaseQExecutor,
    jobs: Sequence[_Job],
    outcomes: Sequence[Any],
    started: float,
    share: float,
) -> None:
    finished = time.time()
    remember(
        [
            CircuitRun(
                caller=job.ticket.request.caller,
                context=job.ticket.context,
                circuit=job.circuit,
                executor=executor,
                outcome=outcome,
                queued=job.ticket.queued,
                started=started,
                finished=finished,
                share=share,
            )
            for job, outcome in zip(jobs, outcomes, strict=True)
        ]
    )
    for job, outcome in zip(jobs, outcomes, strict=True):
        value = outcome.value if isinstance(outcome, CircuitResult) else outcome
        job.ticket.settle(job.index, value)


def _settle_rest(executor: BaseQExecutor, jobs: Sequence[_Job]) -> None:
    error = CircuitError(executor=executor.name, reason="it was interrupted")
    for job in jobs:
        job.ticket.settle(job.index, error)

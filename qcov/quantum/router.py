"""The router: which circuit runs on which executor, when, and what follows when it fails.

Circuits are selected for, coalesced in the *lanes* of their executors, run as batches, recorded and
settled. What fails is classed by its executor; `qcov.policy` decides whether it is tried again
there, goes to another executor, or is raised. An executor that fails again and again is left alone
for a while.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from qcov import policy, records
from qcov.errors import CircuitError, CircuitTimedOut
from qcov.policy import ErrorKind
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, ordinary
from qcov.quantum import batches, flights, interrupts, reuse
from qcov.quantum.fleet import Fleet
from qcov.quantum.futures import calling_back_later
from qcov.quantum.lanes import Lane, Round
from qcov.quantum.tickets import Failure, Job, Request, Ticket
from qcov.quantum.timing import Clock, SystemClock

#: Circuits for each executor, by its identity.
_Parts: TypeAlias = dict[int, tuple[BaseQExecutor, list[Job]]]


class Router:
    """Brings circuits to executors. `run` and `submit` are those of the one that qelectrons use.

    Args:
        clock: What time it is; tests have one of their own.
        chance: Gives random numbers from 0 to 1.
    """

    def __init__(
        self, clock: Clock | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock or SystemClock()
        self._chance = chance
        self._fleet = Fleet(self._run_round, self._too_late, self._clock)
        self._lock = threading.Lock()
        self._in_between = 0  #: groups of circuits that are in no lane, but will be, or be settled

    def run(self, request: Request) -> list[Any]:
        """Run circuits and wait for their results. What one idle executor can do runs here."""
        with interrupts.deferred():
            ticket = Ticket(request)
            parts = self._split(ticket)
            try:
                for executor, jobs in parts[:-1]:
                    self._fleet.lane(executor).submit(executor, jobs, rest=False)
                for executor, jobs in parts[-1:]:
                    self._fleet.lane(executor).run(executor, jobs)
                return ticket.wait()
            except BaseException:
                if not ticket.finished:  # interrupted: nobody waits for the rest
                    self.withdraw(ticket)
                raise

    def submit(
        self, request: Request, *, begin: Callable[[], bool], done: Callable[[Ticket], None]
    ) -> Ticket:
        """Run circuits in the background: `begin` is asked before, `done` is told after."""
        ticket = Ticket(request, begin=begin, done=done)
        with interrupts.deferred():
            for executor, jobs in self._split(ticket):
                self._fleet.lane(executor).submit(executor, jobs)
        return ticket

    def hurry(self, ticket: Ticket) -> None:
        """Run what still waits for its turn in this thread, where nobody runs anything yet."""
        with interrupts.deferred():
            for executor in _executors_of(ticket.jobs):
                if not ticket.finished:
                    self._fleet.lane(executor).hurry(executor)

    def withdraw(self, ticket: Ticket) -> None:
        """Take what has not started out of its lanes."""
        with interrupts.deferred():
            for job in ticket.withdraw():
                self._fleet.lane(job.executor).shed(1)

    def finish(self) -> None:
        """Wait until nothing runs or is to be tried again, as the interpreter's end does."""
        while self._in_between or self._fleet.busy:
            time.sleep(_PATIENCE)

    # -- who runs what -----------------------------------------------------------------------

    def _split(self, ticket: Ticket) -> list[tuple[BaseQExecutor, list[Job]]]:
        """Select an executor for every circuit."""
        executor = ticket.request.executor
        allowed = None
        if self._fleet.troubled:
            if not any(map(self._fleet.allows, executor.leaves())):
                self._turn_away(ticket)
                return []
            allowed = self._fleet.allows
        parts: _Parts = {}
        hits: list[reuse.Hit] = []
        try:
            for index, circuit in enumerate(ticket.request.circuits):
                chosen = executor.select(circuit, allowed)
                own = _with_its_shots(chosen, circuit)
                found = reuse.look_up(ticket.request, index, own, chosen)
                if isinstance(found, reuse.Hit):
                    hits.append(found)
                    continue
                chosen.traffic.enter()  # which the next choice may depend on
                job = ticket.add(index, own, chosen)
                job.inquiry = found
                parts.setdefault(id(chosen), (chosen, []))[1].append(job)
        except BaseException:
            ticket.withdraw()
            raise
        if hits:
            flights.remember(reuse.hand_out(ticket, hits, time.time()))
        return list(parts.values())

    def _turn_away(self, ticket: Ticket) -> None:
        """Settle circuits for which no executor is left."""
        executors = ticket.request.executor.leaves()
        circuits = ticket.request.circuits
        jobs = [ticket.add(index, one, executors[0]) for index, one in enumerate(circuits)]
        executors[0].traffic.enter(len(jobs))
        flights.refuse(executors[0], batches.wanted(jobs), self._fleet.offline(executors))

    # -- running -----------------------------------------------------------------------------

    def _run_round(self, executor: BaseQExecutor, lane: Lane, round_: Round) -> None:
        """Run jobs as few batches as their settings allow."""
        wanted = batches.wanted(round_.jobs)
        groups = batches.alike(wanted, in_order=executor.fills_circuits)
        size = executor.max_batch
        round_.groups.extend(groups if size is None else batches.cut(groups, size))
        round_.jobs = []
        while (group := round_.next()) is not None:
            self._run_group(executor, lane, round_, group)

    def _run_group(
        self, executor: BaseQExecutor, lane: Lane, round_: Round, jobs: list[Job]
    ) -> None:
        """Run jobs as one batch and deal with what comes back."""
        if not self._fleet.begin_trial(executor, lane):
            self._send_elsewhere(executor, jobs)
            return
        call_off = self._limit(executor, lane, round_, jobs)
        started, clock, spoilt = time.time(), time.perf_counter(), False
        try:
            outcomes = batches.run_batch(executor, batches.batch_of(jobs))
        except BaseException as error:
            if batches.is_interrupt(error):  # whoever waits for these must not wait for ever
                flights.refuse(
                    executor, jobs, batches.interrupted(executor, error), ErrorKind.PERMANENT
                )
                raise
            outcomes = [ordinary(executor, error)] * len(jobs)
            spoilt = self._spoilt(executor, jobs, outcomes[0])
        seconds = time.perf_counter() - clock
        if call_off is not None:
            call_off()
            if not lane.back_in_time(round_):
                return
        if spoilt:
            batches.split_by_ticket(round_, jobs)
        else:
            self._settle(flights.Flight(executor, jobs, outcomes, started, seconds))

    def _limit(
        self, executor: BaseQExecutor, lane: Lane, round_: Round, jobs: list[Job]
    ) -> Callable[[], None] | None:
        """Start to count the time of a batch; what is returned ends that."""
        limit = executor.watched_limit
        if limit is None:
            return None
        round_.batch, started = jobs, time.time()

        def settle() -> None:
            try:
                outcomes = [CircuitTimedOut(executor=executor.name, seconds=limit)] * len(jobs)
                self._settle(flights.Flight(executor, jobs, outcomes, started, limit))
            finally:
                self._count(-1)

        def too_late() -> None:
            self._count(1)  # before the lane may look as if all were over
            if not lane.abandon(executor, round_, jobs):
                self._count(-1)
                return
            # What settles circuits may take its time, and the clock has other calls to make.
            try:
                threading.Thread(target=settle, daemon=True).start()
            except RuntimeError:  # when the interpreter ends, none starts any more
                settle()

        return self._clock.call_later(limit, too_late)

    def _too_late(self, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        """Settle circuits with a time limit that have no thread when the interpreter ends."""
        error = CircuitError(executor=executor.name, reason=_NO_THREAD)
        flights.refuse(executor, batches.wanted(jobs), error, ErrorKind.PERMANENT)

    def _spoilt(self, executor: BaseQExecutor, jobs: Sequence[Job], error: BaseException) -> bool:
        """Whether one request may have spoilt a batch for others: none of its circuits ran."""
        several = any(job.ticket is not jobs[0].ticket for job in jobs)
        return several and flights.kind_of(executor, error) is ErrorKind.PERMANENT

    # -- what comes back ---------------------------------------------------------------------

    def _settle(self, flight: flights.Flight) -> None:
        """Hand out what is final; let what failed go on."""
        executor, values, failed = flight.executor, flight.outcomes, flights.NO_FAILURES
        if batches.need_a_look(values):
            values = [flights.value_of(outcome) for outcome in values]
            failed = {
                index: flights.kind_of(executor, value)
                for index, value in enumerate(values)
                if isinstance(value, BaseException)
            }
            executor.traffic.leave(len(failed))
        last = values[max(failed)] if failed else None
        self._fleet.judge(executor, failed.values(), len(values), last)
        if len(failed) < len(values):
            executor.traffic.leave(len(values) - len(failed), flight.share)
        again = flights.NONE_AGAIN
        try:
            if failed:
                again = self._again(flight, failed)
            flights.file(flight, again, failed)
        finally:  # whatever goes wrong here, nobody must wait for ever
            pairs = enumerate(zip(flight.jobs, values, strict=True))
            with calling_back_later():
                flights.hand_out(pair for index, pair in pairs if index not in again)

    def _again(self, flight: flights.Flight, failed: Mapping[int, ErrorKind]) -> frozenset[int]:
        """Send circuits on that may be tried again; which ones those are."""
        executor, chance, again = flight.executor, self._chance(), set[int]()
        waits: dict[float, list[Job]] = {}
        moved: _Parts = {}
        for index, kind in failed.items():
            job = flight.jobs[index]
            failures = (*job.failures, flights.failure(flight, index, kind))
            here = [failure.kind for failure in failures if failure.executor is executor]
            others = kind is not ErrorKind.PERMANENT and self._has_others(job, failures)
            step = policy.next_step(here, _retry_policy(executor), others=others, chance=chance)
            before, job.failures = job.failures, failures
            if isinstance(step, policy.Retry):
                waits.setdefault(step.wait, []).append(job)
            elif isinstance(step, policy.GiveUp) or not self._fail_over(job, moved):
                job.failures = before  # the last one is the record's own
                flights.tell_of_executors(flight, index)
                continue
            again.add(index)
        for wait, jobs in waits.items():
            self._try_later(wait, executor, jobs)
        self._submit_parts(moved)
        return frozenset(again)

    def _try_later(self, wait: float, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        self._count(1)
        self._clock.call_later(wait, partial(self._resume, executor, jobs))

    def _resume(self, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        """Try circuits again on the same executor."""
        try:
            self._submit_again(executor, jobs)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._in_between += change

    def _submit_again(self, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        wanted = [job for job in jobs if _move(job, executor)]
        if wanted:
            self._fleet.lane(executor).submit(executor, wanted, rest=False)

    def _has_others(self, job: Job, failures: Iterable[Failure]) -> bool:
        if job.ticket is None:
            return False
        tried = {id(failure.executor) for failure in failures}
        return any(map(self._untried(tried), job.ticket.request.executor.leaves()))

    def _fail_over(self, job: Job, moved: _Parts) -> bool:
        """Give a circuit to an executor that has not failed it; False if there is none."""
        if job.ticket is None:
            return False
        request = job.ticket.request
        allowed = self._untried({id(failure.executor) for failure in job.failures})
        try:
            chosen = request.executor.select(request.circuits[job.index], allowed)
        except Exception:  # noqa: BLE001  # a selector that cannot do without: the error is told
            return False
        if _move(job, chosen):
            moved.setdefault(id(chosen), (chosen, []))[1].append(job)
        return True

    def _submit_parts(self, parts: _Parts) -> None:
        for executor, jobs in parts.values():
            self._fleet.lane(executor).submit(executor, jobs)

    def _untried(self, tried: Set[int]) -> Callable[[BaseQExecutor], bool]:
        return lambda leaf: id(leaf) not in tried and self._fleet.allows(leaf)

    def _send_elsewhere(self, executor: BaseQExecutor, jobs: Sequence[Job]) -> None:
        """Deal with circuits that came to an executor which is left alone."""
        stay: list[Job] = []
        moved: _Parts = {}
        for job in jobs:
            if self._has_others(job, job.failures) and self._fail_over(job, moved):
                executor.traffic.leave()
            else:
                stay.append(job)
        self._submit_parts(moved)
        tried = [job for job in stay if any(one.executor is executor for one in job.failures)]
        if tried:
            executor.traffic.leave(len(tried))
            self._try_later(self._fleet.wait(executor), executor, tried)
        flights.refuse(
            executor, [job for job in stay if job not in tried], self._fleet.offline([executor])
        )


_NO_THREAD = (
    "the program ends, and no thread starts any more that could be left behind at its time limit. "
    "Wait for the results before the program ends"
)
_PATIENCE = 0.005  # seconds between two looks at lanes that are still busy


# -- small things ------------------------------------------------------------------------------


def _with_its_shots(executor: BaseQExecutor, circuit: Circuit) -> Circuit:
    if executor.shots == 0 or adapter.total_shots(circuit) == executor.shots:
        return circuit
    return adapter.with_shots(circuit, executor.shots)


def _move(job: Job, executor: BaseQExecutor) -> bool:
    ticket = job.ticket
    if ticket is None:
        return False
    circuit = ticket.request.circuits[job.index]
    return ticket.move(job, _with_its_shots(executor, circuit), executor)


def _executors_of(jobs: Iterable[Job]) -> list[BaseQExecutor]:
    return list({id(job.executor): job.executor for job in jobs}.values())


def _retry_policy(executor: BaseQExecutor) -> policy.RetryPolicy:
    return policy.RetryPolicy(retries=executor.retries, delay=executor.retry_delay)


# -- the router of this process ----------------------------------------------------------------

_router = Router()


def run(request: Request) -> list[Any]:
    """Run circuits and wait for their results."""
    return _router.run(request)


def submit(
    request: Request, *, begin: Callable[[], bool], done: Callable[[Ticket], None]
) -> Ticket:
    """Run circuits in the background: `begin` is asked before, `done` is told after."""
    return _router.submit(request, begin=begin, done=done)


def hurry(ticket: Ticket) -> None:
    """Run what still waits for its turn in this thread."""
    _router.hurry(ticket)


def withdraw(ticket: Ticket) -> None:
    """Take what has not started out of its lanes."""
    _router.withdraw(ticket)


def finish() -> None:
    """Wait until all lanes are empty, as the interpreter's end does."""
    _router.finish()


def _start_anew() -> None:
    global _router
    _router = Router()  # the threads of the parent are not here


def _finish_at_the_end() -> None:
    with suppress(KeyboardInterrupt):
        finish()


os.register_at_fork(after_in_child=_start_anew)
# Finalizers, which end worker processes, have one entry among what runs at the interpreter's end;
# it is made by the first of them. What is registered later runs earlier.
weakref.finalize(_router, id, None)
atexit.register(_finish_at_the_end)
records.before_the_end(finish)

"""What came of a batch: its outcomes, the records of them, and handing them out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from qcov import records
from qcov.policy import ErrorKind
from qcov.qexecutors.base import BaseQExecutor, CircuitResult
from qcov.quantum import reuse
from qcov.quantum.recording import CircuitRun
from qcov.quantum.tickets import Failure, Job


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch that ran, or failed to."""

    executor: BaseQExecutor
    jobs: Sequence[Job]
    outcomes: Sequence[Any]
    started: float  #: unix seconds
    seconds: float = 0.0

    @property
    def finished(self) -> float:
        """When it was back, in unix seconds."""
        return self.started + self.seconds

    @property
    def share(self) -> float:
        """Seconds for each circuit."""
        return self.seconds / len(self.jobs)


NO_FAILURES: dict[int, ErrorKind] = {}
NONE_AGAIN = frozenset[int]()


def hand_out(pairs: Iterable[tuple[Job, Any]]) -> None:
    """Settle jobs; those of one ticket that stand together at once."""
    for ticket, own in groupby(pairs, key=lambda pair: pair[0].ticket):
        if ticket is not None:
            ticket.settle((job.index, value) for job, value in own)


def value_of(outcome: Any) -> Any:
    """A circuit's value or its error, without what else its executor knows."""
    return outcome.value if isinstance(outcome, CircuitResult) else outcome


def kind_of(executor: BaseQExecutor, error: BaseException) -> ErrorKind:
    """What an error says about another try, as its executor sees it."""
    try:
        return ErrorKind(executor.classify(error))
    except Exception:  # noqa: BLE001  # the circuit's error is what counts
        return ErrorKind.PERMANENT


def failure(flight: Flight, index: int, kind: ErrorKind) -> Failure:
    """What is remembered of a try that failed."""
    outcome = flight.outcomes[index]
    job_id = getattr(outcome, "job_id", None)
    attempt = records.Attempt(
        executor=flight.executor.name,
        number=len(flight.jobs[index].failures) + 1,
        started=flight.started,
        finished=flight.finished,
        job_id=None if job_id is None else str(job_id),
        error=records.error_text(value_of(outcome)),
        kind=kind.value,
    )
    return Failure(executor=flight.executor, kind=kind, attempt=attempt)


def tell_of_executors(flight: Flight, index: int) -> None:
    """Note on an error that is final whose it is, and what other executors said before."""
    error = value_of(flight.outcomes[index])
    known: Sequence[str] = getattr(error, "__notes__", ())
    notes = [
        f"Before that, {one.executor.name}: {one.attempt.error}"
        for one in flight.jobs[index].failures
        if one.executor is not flight.executor
    ]
    if getattr(error, "executor", None) != flight.executor.name:  # else it says that itself
        notes.insert(0, f"The circuit was given to {flight.executor.name}.")
    for note in notes:
        if note not in known:
            error.add_note(note)


def file(flight: Flight, again: Set[int], failed: Mapping[int, ErrorKind]) -> None:
    """Record circuits that are done."""
    said = reuse.keep(flight.executor, flight.jobs, flight.outcomes)
    remember(
        [
            CircuitRun(
                caller=job.ticket.request.caller,
                context=job.ticket.context,
                circuit=job.circuit,
                executor=flight.executor,
                outcome=outcome,
                queued=job.ticket.queued,
                started=flight.started,
                finished=flight.finished,
                share=flight.share,
                before=tuple([one.attempt for one in job.failures]) if job.failures else (),
                kind=failed[index].value if index in failed else None,
                diff_method=job.ticket.request.diff_method,
                cache=said.get(index),
            )
            for index, (job, outcome) in enumerate(zip(flight.jobs, flight.outcomes, strict=True))
            if index not in again and job.ticket is not None
        ]
    )


def refuse(
    executor: BaseQExecutor,
    jobs: Sequence[Job],
    error: Exception,
    kind: ErrorKind = ErrorKind.OFFLINE,
) -> None:
    """Settle circuits that do not run."""
    if not jobs:
        return
    executor.traffic.leave(len(jobs))
    flight = Flight(executor, jobs, [error] * len(jobs), started=time.time())
    file(flight, frozenset(), dict.fromkeys(range(len(jobs)), kind))
    hand_out((job, error) for job in jobs)


def remember(runs: Sequence[CircuitRun]) -> None:
    """File circuits that ran."""
    for one in runs:
        one.caller.history.append(one)
    records.record(runs)

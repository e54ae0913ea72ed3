"""A provider that does what a test tells it, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qcov.budget import Unit
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.provider import (
    JobOutput,
    JobState,
    JobView,
    Limits,
    Program,
    Translation,
)


class Killed(BaseException):
    """The process is gone here."""


class FakeClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def programs(*names: str) -> list[Program]:
    """A program for each name; equal names are equal programs."""
    return [Program(payload=name, key=f"key of {name}", shots=10) for name in names]


def translation(*names: str) -> Translation:
    return Translation(programs=programs(*names), read=list)


@dataclass
class Scripted:
    """A provider. What a test sets is what happens next.

    Args:
        looks: How often a job is seen waiting before it has completed.
        before: Called before a job is made; may raise.
        after: Called after it was made, before its id is returned; may raise.
        on_look: Called with each look; may raise.
    """

    limits: Limits = field(default_factory=Limits)
    idempotent: bool = False
    looks: int = 0
    fails: frozenset[str] = frozenset()
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    on_look: Callable[[], None] = lambda: None
    on_fetch: Callable[[], None] = lambda: None
    confirms: bool = True
    is_online: bool = True
    knows_tags: bool = True
    usd: float | None = 1.0
    name: str = "Scripted"
    device: str = "one"
    account: str = "me"
    prices: str | None = "a test's"

    def __post_init__(self) -> None:
        self.jobs: dict[str, tuple[str, list[Program]]] = {}
        self.seen: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.opened = self.closed = 0
        self.requests: list[str] = []

    @property
    def submitted(self) -> list[list[str]]:
        """The names of the programs of each job."""
        return [[program.payload for program in own] for _, own in self.jobs.values()]

    def translate(self, batch: CircuitBatch) -> Translation:
        raise NotImplementedError

    def submit(self, programs: Sequence[Program], token: str) -> str:
        self.requests.append("submit")
        self.before()
        known = next((job for job, (own, _) in self.jobs.items() if own == token), None)
        if known is None or not self.idempotent:
            known = f"job-{len(self.jobs)}"
            self.jobs[known] = token, list(programs)
        self.after()
        return known

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        self.requests.append("look")
        self.on_look()
        return {job: self._view(job) for job in job_ids}

    def _view(self, job: str) -> JobView:
        if job in self.cancelled:
            return JobView(state=JobState.CANCELLED)
        self.seen[job] = self.seen.get(job, 0) + 1
        if self.seen[job] <= self.looks:
            return JobView(state=JobState.QUEUED)
        if job in self.fails:
            return JobView(state=JobState.FAILED, error="it melted")
        return JobView(state=JobState.COMPLETED)

    def fetch(self, job_id: str, programs: Sequence[Program]) -> JobOutput:
        self.requests.append("fetch")
        self.on_fetch()
        _, own = self.jobs[job_id]
        pairs = zip(own, programs, strict=True)
        assert all(asked.key in (had.key, "") for had, asked in pairs)  # "": nobody wants it
        results = [f"{program.payload} of {job_id}" for program in own]
        return JobOutput(results=results, amounts={Unit.USD: 0.5}, seconds=1.0)

    def cancel(self, job_id: str) -> JobState:
        self.requests.append("cancel")
        if self.confirms:
            self.cancelled.add(job_id)
            return JobState.CANCELLED
        return JobState.RUNNING

    def find(self, token: str) -> str | None:
        self.requests.append("find")
        if not self.knows_tags:
            return None
        return next((job for job, (own, _) in self.jobs.items() if own == token), None)

    def used(self, job_id: str) -> Mapping[str, float] | None:
        return {}

    def online(self) -> bool:
        return self.is_online

    def queue_depth(self) -> int | None:
        return None

    def estimate(self, programs: Sequence[Program]) -> Mapping[str, float] | None:
        return {} if self.usd is None else {Unit.USD: self.usd}

    @contextmanager
    def running(self, jobs: int) -> Iterator[None]:
        self.opened += 1
        try:
            yield
        finally:
            self.closed += 1

    def sent(self, error: BaseException) -> bool | None:
        return False if isinstance(error, (ValueError, ConnectionRefusedError)) else None


def raising(*errors: BaseException | None) -> Callable[[], None]:
    """Raise these one after the other, then nothing any more; None raises nothing once."""
    left: list[Any] = list(errors)

    def act() -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return act

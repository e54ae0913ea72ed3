"""What a run of circuits as jobs is made of: its terms, its clock, its jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qcov.budget import Budget
from qcov.qexecutors.claims import Place
from qcov.qexecutors.provider import Program


class Clock(Protocol):
    """What a run needs of time; tests have a fake one."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real time."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms circuits run as jobs.

    Args:
        executor: What the executor is called.
        longest_pause: Seconds between two looks at jobs, at most.
        patience: Seconds that a provider may be out of reach.
        time_limit: Seconds that jobs may take; then they are cancelled.
        others: Whether another executor may take what this device leaves waiting.
        resubmit_unknown: Whether to submit again what may have been submitted.
        budgets: What pays for the jobs.
        prices: Which prices estimates are made from.
    """

    executor: str
    longest_pause: float = 2.0
    patience: float = 900.0
    time_limit: float | None = None
    others: bool = False
    resubmit_unknown: bool = False
    budgets: Sequence[Budget] = ()
    prices: str | None = None


@dataclass(slots=True, kw_only=True)
class Part:
    """A job, and what a run wants of it.

    Args:
        token: What the provider knows it by before it has an id.
        programs: All of the job.
        wanted: Numbers of programs of the run, by their numbers in the job.
        job_id: Once it is known.
        begun: When the run began with it.
        unsure: Whether it may have been submitted although nobody has said so.
    """

    token: str
    programs: Sequence[Program]
    wanted: Mapping[int, int]
    job_id: str | None = None
    begun: float = 0.0
    unsure: bool = False
    running: float | None = None  #: since when it is known to run
    unread: float | None = None  #: since when its results are there and cannot be read
    ended: bool = False  #: whether its results are there, readable or not
    absent: float | None = None  #: since when the provider does not know it
    timing: dict[str, float] = field(default_factory=dict[str, float])
    amounts: Mapping[str, float] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.job_id or self.token

    @property
    def places(self) -> list[Place]:
        """Where what is wanted is."""
        return [(self.token, number) for number in self.wanted]

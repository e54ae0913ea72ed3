"""What qcov needs of a provider of quantum computers: programs go in, jobs come out.

An executor that runs circuits as jobs gives a `Provider`; all that jobs have in common (see
`qcov.qexecutors.job_run`) is done with it: splitting by limits, the journal, waiting, what follows
a crash, money. A provider only speaks its own language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from qcov.policy import ErrorKind
from qcov.qexecutors.base import CircuitBatch

#: What something costs, in the provider's own units: see `qcov.budget.Unit`.
Amounts: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One circuit as a provider takes it.

    Args:
        payload: What is submitted. It must be picklable.
        key: SHA-256, in hex digits, of the circuit and its shots, before it is made to fit a device
            whose calibration changes: the same in every process.
        shots: How often it runs; None if it is analytic.
        size: Bytes of the payload, about.
        alone: Whether it must be the only one of its job.
    """

    payload: Any
    key: str
    shots: int | None
    size: int = 0
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A batch of circuits as programs, and the way back.

    Args:
        programs: A circuit may be several, for terms that do not commute.
        read: Makes a value, or an exception, for each circuit of the batch from what came of the
            programs: raw results in their order, an exception where one failed.
        owners: For each program, which circuit of the batch it belongs to; None if there is no
            telling.
    """

    programs: Sequence[Program]
    read: Callable[[Sequence[Any]], Sequence[Any]]
    owners: Sequence[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a provider takes; None where no limit is known.

    Args:
        programs: In one job.
        size: Bytes in one job.
        shots: Of one program.
        total_shots: Of all programs of one job together.
        pending: Jobs of one account that wait or run at the same time.
        per_second: Requests.
    """

    programs: int | None = None
    size: int | None = None
    shots: int | None = None
    total_shots: int | None = None
    pending: int | None = None
    per_second: float | None = None


class JobState(StrEnum):
    """What a provider says of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def over(self) -> bool:
        """Whether nothing more will come of the job."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """How a job stands.

    Args:
        state: What the provider says.
        error: Why it failed, in the provider's words.
        kind: What that says about another try.
        position: In the queue.
    """

    state: JobState
    error: str | None = None
    kind: ErrorKind = ErrorKind.PERMANENT
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutput:
    """What came of a job.

    Args:
        results: A raw result or an exception for each program, in their order.
        amounts: What it has used; None if the provider does not say.
        seconds: On the device, all programs together.
        metadata: What else is worth remembering.
    """

    results: Sequence[Any]
    amounts: Amounts | None = None
    seconds: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Provider(Protocol):
    """One device of a provider, as an executor reaches it. Several threads may use it at once."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def device(self) -> str:
        """The device's name."""
        ...

    @property
    def account(self) -> str:
        """What tells the accounts of the provider apart that jobs are counted for; no secret."""
        ...

    @property
    def prices(self) -> str | None:
        """Where the prices of estimates come from, and of which day; None if there are none."""
        ...

    @property
    def limits(self) -> Limits:
        """What it takes."""
        ...

    @property
    def idempotent(self) -> bool:
        """Whether submitting again with a known token gives the job that stands."""
        ...

    def translate(self, batch: CircuitBatch) -> Translation:
        """Make programs of circuits. `CircuitRejected` for what the device cannot run."""
        ...

    def submit(self, programs: Sequence[Program], token: str) -> str:
        """Ask for one job that runs all programs; its id.

        Args:
            programs: What to run.
            token: 32 hex digits that the provider keeps with the job, so that it can be found.
        """
        ...

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """How jobs stand, by id."""
        ...

    def fetch(self, job_id: str, programs: Sequence[Program]) -> JobOutput:
        """The output of a job that has completed; `programs` are those that it was given.

        The process that asks need not be the one that has submitted them.
        """
        ...

    def cancel(self, job_id: str) -> JobState:
        """Cancel a job; how it stands then. CANCELLED only if the provider confirms it."""
        ...

    def find(self, token: str) -> str | None:
        """The id of the job with a token; None if the provider has none."""
        ...

    def used(self, job_id: str) -> Amounts | None:
        """What a job that did not complete has used; None if there is no telling."""
        ...

    def online(self) -> bool:
        """Whether the device runs jobs now."""
        ...

    def queue_depth(self) -> int | None:
        """How many jobs wait for the device, all users' together; None if there is no telling."""
        ...

    def estimate(self, programs: Sequence[Program]) -> Amounts | None:
        """What one job with these programs costs at most; None if that cannot be known."""
        ...

    def running(self, jobs: int) -> AbstractContextManager[None]:
        """What is open while so many jobs are submitted and run: a session, or nothing."""
        ...

    def sent(self, error: BaseException) -> bool | None:
        """After `submit` failed: False if there is no job, None if that cannot be known."""
        ...

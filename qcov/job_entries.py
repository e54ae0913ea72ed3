"""What the journal of jobs says of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

#: What a budget allows, by unit.
Allowance: TypeAlias = Mapping[str, float]


class State(StrEnum):
    """How a job stands, as far as is known here."""

    SUBMITTING = "SUBMITTING"  #: asked for; whether it was taken is not known here
    SUBMITTED = "SUBMITTED"  #: the provider has it
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REFUSED = "REFUSED"  #: the provider never had it
    UNKNOWN_SUBMISSION = "UNKNOWN_SUBMISSION"  #: nobody can tell whether the provider has it

    @property
    def open(self) -> bool:
        """Whether it may still run."""
        return self in OPEN


OPEN = (State.SUBMITTING, State.SUBMITTED, State.UNKNOWN_SUBMISSION)
#: What circuits may still be waiting for, or have as a result.
OF_USE = (*OPEN, State.COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A job that is about to be submitted.

    Args:
        token: What the provider is asked to keep with the job: 32 hex digits.
        run: The run of circuits that it is a part of.
        part: Which one, from 0.
        scope: Who may take over the job: the electron, or this process.
        dispatch_id: The dispatch of that electron.
        node_id: Its node.
        provider: The provider's name.
        device: The device's name.
        account: What tells apart all that jobs are counted for together.
        keys: Of its programs; see `qcov.qexecutors.provider.Program`.
        shots: Of all programs together.
        estimate: What it costs at most, by unit.
        prices: Which prices the estimate is made from.
    """

    token: str
    run: str
    part: int
    scope: str
    dispatch_id: str | None
    node_id: int | None
    provider: str
    device: str
    account: str
    keys: Sequence[str]
    shots: int
    estimate: Mapping[str, float]
    prices: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEntry:
    """A job in the journal."""

    token: str
    run: str
    part: int
    scope: str
    dispatch_id: str | None
    node_id: int | None
    provider: str
    device: str
    account: str
    state: State
    job_id: str | None
    error: str | None
    programs: int
    shots: int
    created: float  #: unix seconds
    submitted: float | None
    ended: float | None
    prices: str | None

    @property
    def name(self) -> str:
        """What it is called: by the provider's id, or by the token until that is known."""
        return self.job_id or self.token


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A budget that does not allow a job."""

    budget: str
    unit: str
    needs: float
    left: float

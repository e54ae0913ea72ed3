"""What is measured: anything that runs circuits, ours or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from qcov_bench.backends.phases import Phases
from qcov_bench.backends.workload import Numbers, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement.

    Args:
        seconds: From the call until the caller has all values.
        values: What came back: a value for each circuit, none for a gradient.
        circuits: How many circuits ran.
        phases: Where the time went; None where that cannot be seen.
        usd: What it cost, in US dollars; None if nobody says.
    """

    seconds: float
    values: Sequence[Any]
    circuits: int
    phases: Phases | None = None
    usd: float | None = None


class Runner(Protocol):
    """Runs the circuits of one case."""

    def call(self, point: Numbers) -> Run:
        """One circuit."""
        ...

    def batch(self, points: Sequence[Numbers]) -> Run:
        """Many circuits, handed over together."""
        ...

    def gradient(self, point: Numbers) -> Run:
        """The derivative with respect to all parameters, by parameter shifts."""
        ...


class Subject(Protocol):
    """An executor, or a peer."""

    @property
    def label(self) -> str:
        """How people call it; no other subject is called so."""
        ...

    @property
    def role(self) -> str:
        """Either "executor" or "peer"."""
        ...

    @property
    def identity(self) -> str:
        """A digest of its settings: results with other ones are not mixed with these."""
        ...

    @property
    def bare(self) -> str | None:
        """The label of the peer that is the same device without qcov, if there is one."""
        ...

    def refusal(self, shots: int | None) -> str | None:
        """Why it cannot run circuits with so many shots; None if it may."""
        ...

    def estimate(self, circuit: Any, count: int) -> float | None:
        """US dollars that so many circuits may cost; None if nobody knows."""
        ...

    def open(self, workload: Workload, shots: int | None) -> AbstractContextManager[Runner]:
        """Be ready to run circuits."""
        ...


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it gives."""
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value

"""An electron to be run, and who wants it to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from qcov.classical.engine.channel import Message
from qcov.classical.engine.spawn import Environment
from qcov.errors import QcovError

#: Dispatch, node, attempt.
Key = tuple[str, int, int]


class Owner(Protocol):
    """Who gave a task: it is told what becomes of it."""

    def task_started(self, task: Task) -> None:
        """A worker has begun with it."""
        ...

    def task_progressed(self, task: Task, report: Message) -> None:
        """It has printed, or run circuits."""
        ...

    def task_ended(self, task: Task, outcome: Message) -> None:
        """It has come to its end."""
        ...

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        """Its process has ended before it did; what it had printed by then, if anything."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """An electron to be run."""

    key: Key
    name: str
    environment: Environment
    bundle: Message  #: what the worker gets, without the function's blob
    function: tuple[str, bytes | None] | None  #: digest and blob
    time_limit: float | None
    owner: Owner
    packages: tuple[str, ...] = ()  #: what must be installed for it
    hosted: bool = False  #: it runs on an executor of the user's own
    on_dask: bool = False  #: it runs in the engine's own Dask cluster
    elsewhere: Callable[[], None] | None = None  #: has it run where others do, if it may
    unbegun: int = 0  #: how many workers have died that were to begin with it
    number: int = 0  #: in the order in which they came

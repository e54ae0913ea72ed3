"""A worker process as its pool knows it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from qcov.classical.engine.spawn import Environment, WorkerProcess
from qcov.classical.engine.tasks import Task
from qcov.errors import QcovError


@dataclass(slots=True, eq=False)
class Link:
    """A worker process as the engine knows it."""

    environment: Environment
    process: WorkerProcess
    tasks: deque[Task] = field(default_factory=deque[Task])  #: the first one runs
    known: set[str] = field(default_factory=set[str])  #: digests of the functions it has
    queued: int = 0  #: how many of the last tasks have not been sent yet
    since: float = 0.0  #: when the first task began, or when the last one ended
    blocked: int = 0  #: how many threads of its electron wait for another dispatch
    recalled: bool = False  #: asked to give back what waits
    alarm: asyncio.TimerHandle | None = None
    retiring: asyncio.TimerHandle | None = None
    verdict: tuple[Task, QcovError] | None = None  #: which task we stopped it for, and why
    giving_up: tuple[Task, QcovError] | None = None  #: the same, while its executor is asked to
    ready: bool = False  #: it has started, and has imported what it needs
    retired: bool = False  #: it goes once it has nothing to do
    gone: bool = False

    @property
    def idle(self) -> bool:
        """True if it has nothing to do, and can be given electrons."""
        return not self.tasks and self.able

    @property
    def able(self) -> bool:
        """True if it can be given electrons."""
        return not (self.gone or self.retired or self.process.leaving or self.verdict)

    @property
    def takes_a_place(self) -> bool:
        """True unless another one may run beside it: where it runs is to go, say."""
        return not (self.blocked or self.retired or self.process.leaving)

    def runs(self, dispatch_id: str, node_id: int) -> bool:
        """True while this electron runs in it."""
        return bool(self.tasks) and self.tasks[0].key[:2] == (dispatch_id, node_id)

    def disarm(self) -> None:
        """What was to happen to the electron that runs does not happen."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

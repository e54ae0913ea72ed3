"""The worker processes of an engine, and which electron goes to which.

Workers are kept per environment (interpreter, working directory, import path). An idle worker gets
an electron at once; electrons that are known to be short are also handed over ahead of time, so
that a worker need not wait for the engine between two of them. When one turns out long, those that
wait behind it are taken back. Each reports on its own; a worker's death fails the one that ran.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.engine.durations import Durations
from qcov.classical.engine.link import Link
from qcov.classical.engine.spawn import Environment, NoPlace, Spawner, WorkerProcess
from qcov.classical.engine.tasks import Key, Task
from qcov.errors import (
    EngineError,
    EnvironmentMismatch,
    MemoryLimitExceeded,
    QcovError,
    TimeLimitExceeded,
    WorkerLost,
)

_log = logging.getLogger("qcov.engine")

_NO_FOLDER = "the working folder does not exist"
_AHEAD = 16  # electrons that a worker holds at most
_LONG = 0.1  # seconds: after this the electrons behind are taken back
_GIVE_UP = 30.0  # seconds for a user's own executor to stop its work
_IDLE = 60.0  # seconds until an idle worker is let go
_NOT_BEGUN = 2  # how often an electron is given out again whose worker died before it began
_FUNCTIONS = 256  # functions that a worker keeps before it is replaced


class Pool:
    """Workers and the electrons that wait for them. All calls happen in the engine's loop.

    Args:
        size: How many electrons run at a time.
        settings: What every worker is told: where blobs are, how many cores it may use.
        on_trouble: Called with what a worker tells of an executor of circuits, and its number.
        spawner: What starts its workers, if not this process.
        takes: False while it passes electrons on that may as well run elsewhere.
    """

    def __init__(
        self,
        *,
        size: int,
        settings: Message,
        on_trouble: Callable[[int | None, Message], None] | None = None,
        spawner: Spawner | None = None,
        takes: Callable[[], bool] = lambda: True,
    ) -> None:
        self._size, self._takes = size, takes
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._spawner = spawner or Spawner(settings)
        self._spawner.on_places = self.resize
        self._spawner.on_crowded = self._let_idle_go
        self._spawner.on_refused = self._refuse
        self._links: list[Link] = []
        self._waiting: dict[Environment, deque[Task]] = {}
        self._durations = Durations()
        self._stopping: dict[Key, QcovError] = {}  # to be stopped once they are taken back
        self._numbers = itertools.count()
        self._closed = False
        self._feeding = False
        self._watching = False
        self._heard: dict[str, Callable[[Link, Message], None]] = {
            "ready": self._on_ready,
            "outcome": self._on_outcome,
            "progress": self._on_progress,
            "trouble": self._on_told,
            "returned": self._on_returned,
            "gave up": self._on_giving_up,
            "leave": self._on_leaving,
            "stranded": self._on_stranded,
        }

    # -- what the engine asks

    def submit(self, task: Task) -> None:
        """Run a task as soon as a worker is free."""
        task.number = next(self._numbers)
        self._waiting.setdefault(task.environment, deque()).append(task)
        self._feed_soon()

    def stop(self, key: Key) -> bool:
        """Stop a task; its owner hears of it. False if the pool does not have it."""
        for waiting in self._waiting.values():
            for task in waiting:
                if task.key == key:
                    waiting.remove(task)
                    self._loop.call_soon(task.owner.task_died, task, _cancelled(task))
                    return True
        for link in self._links:
            held = [task for task in link.tasks if task.key == key]
            if held:
                self._stop_held(link, held[0])
                return True
        return False

    def running(self, dispatch_id: str, node_id: int) -> Link | None:
        """The worker that runs this electron now, if one of this pool does."""
        return next((link for link in self._links if link.runs(dispatch_id, node_id)), None)

    @contextmanager
    def blocked(self, dispatch_id: str, node_id: int) -> Generator[None, None, None]:
        """While an electron waits for another dispatch, its place goes to another one."""
        links = [link for link in self._links if link.runs(dispatch_id, node_id)]
        for link in links:
            link.blocked += 1
            self._recall(link)
        self._feed_soon()
        try:
            yield
        finally:
            for link in links:
                link.blocked -= 1

    def resize(self, size: int) -> None:
        """Let so many electrons run at a time from now on."""
        self._size = size
        self._feed_soon()

    def look(self) -> None:
        """See anew whether it takes electrons."""
        self._feed_soon()

    def working(self) -> list[WorkerProcess]:
        """The workers that run electrons now."""
        return [link.process for link in self._links if link.tasks]

    @property
    def busy(self) -> bool:
        """True while electrons run or wait."""
        return any(self._waiting.values()) or any(link.tasks for link in self._links)

    def close(self) -> None:
        """Stop all workers and what they run; nobody hears of it."""
        self._closed = True
        for link in self._links:
            link.process.kill()
        self._spawner.close()

    # -- handing out

    def _feed_soon(self) -> None:
        """Hand out once for all that happens in this turn of the loop."""
        if not self._feeding:
            self._feeding = True
            self._loop.call_soon(self._feed)

    def _feed(self) -> None:
        self._feeding = False
        if self._closed:
            return
        if not self._takes():
            self._pass_on()
        # the program that has waited longest comes first
        for environment, waiting in sorted(self._waiting.items(), key=_age):
            try:
                self._feed_one(environment, waiting)
            except OSError as error:
                self._give_up(environment, waiting, _reason(error))
            if not waiting:
                del self._waiting[environment]
        for link in list(self._links):
            self._flush(link)
        at_work = sum(link.takes_a_place for link in self._links)
        self._spawner.need(at_work + sum(map(len, self._waiting.values())))

    def _pass_on(self) -> None:
        for environment, waiting in self._waiting.items():
            for task in waiting:
                if task.elsewhere is not None:
                    self._loop.call_soon(task.elsewhere)
            stay = [task for task in waiting if task.elsewhere is None]
            self._waiting[environment] = deque(stay)

    def _refuse(self, reason: str) -> None:
        """There is no place, and none can be had: what cannot run elsewhere fails."""
        self._pass_on()
        for waiting in self._waiting.values():
            for task in waiting:
                lost = WorkerLost(electron=task.name, reason=reason)
                self._loop.call_soon(task.owner.task_died, task, lost)
        self._waiting.clear()

    def _flush(self, link: Link) -> None:
        queued, link.queued = link.queued, 0
        if not link.process.flush():  # it has died: these have not begun
            unsent = list(link.tasks)[-queued:]
            if len(unsent) == len(link.tasks):
                link.disarm()
            self._take_back(link, [list(task.key) for task in unsent])

    def _feed_one(self, environment: Environment, waiting: deque[Task]) -> None:
        while waiting:
            link = self._choose(environment, waiting[0])
            if link is None:
                return
            self._send(link, waiting.popleft())

    def _give_up(self, environment: Environment, waiting: deque[Task], reason: str) -> None:
        """No worker can be started for a program: its electrons fail, others go on."""
        for task in waiting:
            mismatch = EnvironmentMismatch(
                reason=f"no worker process of {environment.executable} can be started in "
                f"{environment.cwd} ({reason})",
                advice="Are the virtual environment and the working folder still there?",
            )
            self._loop.call_soon(task.owner.task_died, task, mismatch)
        waiting.clear()

    def _choose(self, environment: Environment, task: Task) -> Link | None:
        mine = [link for link in self._links if link.environment == environment]
        for link in mine:
            if link.idle:
                return link
        if self._room():
            try:
                return self._hire(environment)
            except NoPlace:
                return None
        if not self._durations.is_short(task):
            return None
        open_ = [link for link in mine if link.able and not (link.blocked or link.recalled)]
        link = min(open_, key=lambda link: len(link.tasks), default=None)
        if link is None or len(link.tasks) >= _AHEAD:
            return None
        return link if self._durations.is_short(link.tasks[0]) else None

    def _room(self) -> bool:
        """See whether one more worker may run; an idle one of another environment makes room."""
        at_work = [link for link in self._links if link.takes_a_place]
        if len(at_work) < self._size:
            return True
        idle = next((link for link in at_work if link.idle), None)
        if idle is None:
            return False
        self._dismiss(idle)
        return True

    def _send(self, link: Link, task: Task) -> None:
        blobs: dict[str, bytes] = task.bundle["blobs"]
        if task.function is not None and task.function[0] not in link.known:
            digest, blob = task.function
            link.known.add(digest)
            if blob is not None:
                blobs = {**blobs, digest: blob}
        link.tasks.append(task)
        link.queued += 1
        link.process.queue({**task.bundle, "do": "run", "task": list(task.key), "blobs": blobs})
        if len(link.tasks) > 1:
            self._watch()
        elif link.ready:
            self._begin(link)

    def _begin(self, link: Link) -> None:
        """The link's first task runs now."""
        task = link.tasks[0]
        link.since = self._loop.time()
        if verdict := self._stopping.pop(task.key, None):  # it began before it was taken back
            self._kill(link, task, verdict)
            return
        task.owner.task_started(task)
        if task.time_limit is not None:
            link.alarm = self._loop.call_later(task.time_limit, self._overrun, link, task)

    def _overrun(self, link: Link, task: Task) -> None:
        assert task.time_limit is not None
        limit = TimeLimitExceeded(electron=task.name, seconds=task.time_limit)
        self._stop_running(link, task, limit)

    # -- taking back

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.call_later(_LONG / 2, self._look)

    def _look(self) -> None:
        """Take back what waits behind an electron that turned out long."""
        self._watching = False
        now = self._loop.time()
        for link in self._links:
            if len(link.tasks) > 1:
                self._watch()
                if link.ready and now - link.since > _LONG:
                    self._recall(link)

    def _recall(self, link: Link) -> None:
        if len(link.tasks) > 1 and not link.recalled:
            link.recalled = True
            link.process.send({"do": "return"})

    def _take_back(self, link: Link, keys: list[list[Any]]) -> None:
        back = {tuple(key) for key in keys}
        returned = [task for task in link.tasks if task.key in back]
        link.tasks = deque(task for task in link.tasks if task.key not in back)
        for task in reversed(returned):
            verdict = self._stopping.pop(task.key, None)
            if verdict is None:
                self._waiting.setdefault(task.environment, deque()).appendleft(task)
            else:
                self._loop.call_soon(task.owner.task_died, task, verdict)
        self._feed_soon()

    # -- what workers say

    def _on_message(self, link: Link, message: Message) -> None:
        if not self._closed:
            self._heard[message["did"]](link, message)

    def _on_ready(self, link: Link, _: Message) -> None:
        link.ready = True
        if link.tasks:
            self._begin(link)

    def _on_returned(self, link: Link, message: Message) -> None:
        link.recalled = False
        self._take_back(link, message["tasks"])

    def _on_told(self, link: Link, message: Message) -> None:
        if self._on_trouble is not None:
            self._on_trouble(link.process.pid, message)

    def _on_progress(self, link: Link, message: Message) -> None:
        if link.tasks and link.tasks[0].key == tuple(message["task"]):
            link.tasks[0].owner.task_progressed(link.tasks[0], message)

    def _on_giving_up(self, link: Link, message: Message) -> None:
        """An executor of a user's own has stopped its work."""
        if link.giving_up is None or not link.tasks or link.tasks[0] is not link.giving_up[0]:
            return
        if tuple(message["task"]) == link.tasks[0].key:
            self._kill(link, *link.giving_up)

    def _on_leaving(self, link: Link, message: Message) -> None:
        """The code on disk has changed: a new worker must import it."""
        if message["fresh"]:
            self._spawner.renew(link.process)
        link.disarm()
        for stopped in (link.giving_up, link.verdict):  # it shall not run elsewhere instead
            if stopped is not None:
                self._stopping[stopped[0].key] = stopped[1]
        self._take_back(link, [list(task.key) for task in link.tasks])
        self._dismiss(link)

    def _on_stranded(self, link: Link, message: Message) -> None:
        """Its working folder is gone, or not for us: it was there when it was started."""
        link.disarm()
        for task in link.tasks:
            self._stopping.pop(task.key, None)
        reason = message["reason"] if _is_folder(link.environment.cwd) else _NO_FOLDER
        self._give_up(link.environment, link.tasks, reason)
        self._dismiss(link)
        self._feed_soon()

    def _on_outcome(self, link: Link, outcome: Message) -> None:
        if not link.tasks or link.tasks[0].key != tuple(outcome["task"]):
            return  # it was stopped while its outcome was under way
        task = link.tasks.popleft()
        self._stopping.pop(task.key, None)
        link.disarm()
        given_up, link.giving_up = link.giving_up, None
        self._durations.learn(task, outcome["ended"] - outcome["started"])
        if link.verdict is not None:  # it was stopped, too late: those behind do not go with it
            self._take_back(link, [list(held.key) for held in link.tasks])
        elif link.tasks:
            self._begin(link)
        else:
            self._rest(link)
        if given_up is not None:  # what its executor made of it in the end is not wanted any more
            kept = ("task", "started", "ended", "stdout", "stderr", "circuits")
            outcome = {name: outcome[name] for name in kept if name in outcome}
            outcome |= {"status": "FAILED", "error": _text(given_up[1])}
        try:
            task.owner.task_ended(task, outcome)
        except Exception as error:  # noqa: BLE001  # a defect of ours: no node is to run for ever
            _log.exception("the outcome of %s could not be taken", task.name)
            what = f"the engine could not take its outcome: {type(error).__name__}: {error}"
            task.owner.task_died(task, EngineError(what))
        self._feed_soon()

    def _rest(self, link: Link) -> None:
        """A worker has nothing to do."""
        link.since = self._loop.time()
        if link.retired or len(link.known) > _FUNCTIONS:
            self._dismiss(link)
        elif link.retiring is None:
            link.retiring = self._loop.call_later(_IDLE, self._retire, link)

    # -- a worker's life

    def _hire(self, environment: Environment) -> Link:
        if not _is_folder(environment.cwd):
            raise FileNotFoundError(errno.ENOENT, _NO_FOLDER)
        process = self._spawner.start(environment)
        link = Link(environment, process)
        process.on_message = lambda message: self._on_message(link, message)
        process.on_end = lambda reason: self._on_end(link, reason)
        process.on_retire = lambda: self._on_retire(link)
        process.on_excess = partial(self._on_excess, link)
        self._links.append(link)
        return link

    def _retire(self, link: Link) -> None:
        """Let an idle worker go if it has stayed idle."""
        link.retiring = None
        if not link.idle:
            return
        rested = self._loop.time() - link.since
        if rested >= _IDLE:
            self._dismiss(link)
        else:
            link.retiring = self._loop.call_later(_IDLE - rested, self._retire, link)

    def _let_idle_go(self) -> None:
        for link in [link for link in self._links if link.idle]:
            self._dismiss(link)

    def _on_retire(self, link: Link) -> None:
        """Where it runs is to go: it ends its electron, and those behind run elsewhere."""
        link.retired = True
        if link.tasks:
            self._recall(link)
        else:
            self._dismiss(link)
        self._feed_soon()

    def _on_excess(self, link: Link, memory: int, limit: int, measured: float) -> None:
        """What it runs has taken too much memory; or what it ran, if it is idle."""
        if link.since > measured:  # what took it has ended; if it is not freed, we hear of it again
            return
        if not link.tasks:
            self._dismiss(link)
            link.process.kill()
            return
        task = link.tasks[0]
        over = MemoryLimitExceeded(electron=task.name, memory=memory, limit=limit)
        self._kill(link, task, over)

    def _dismiss(self, link: Link) -> None:
        """Let a worker go that has nothing to do; it ends when its channel closes."""
        link.gone = True
        if link in self._links:
            self._links.remove(link)
        link.process.dismiss()

    def _stop_held(self, link: Link, task: Task) -> None:
        """Stop a task that a worker has.

        The one that runs ends with its process; another one is taken back first.
        """
        if task is link.tasks[0]:
            self._stop_running(link, task, _cancelled(task))
        else:
            self._recall(link)
            self._stopping[task.key] = _cancelled(task)

    def _stop_running(self, link: Link, task: Task, verdict: QcovError) -> None:
        """End a task with its process; the user's own executor is asked to stop its work first."""
        if task.hosted and link.ready and link.giving_up is None:
            link.giving_up = task, verdict
            link.disarm()
            link.alarm = self._loop.call_later(_GIVE_UP, self._kill, link, task, verdict)
            link.process.send({"do": "cancel", "task": list(task.key)})
        elif link.giving_up is None:
            self._kill(link, task, verdict)

    def _kill(self, link: Link, task: Task, verdict: QcovError) -> None:
        link.verdict = link.verdict or (task, verdict)
        link.process.kill()
        if link.process.pid is None:  # the zygote is busy with an import: it need not be waited for
            self._loop.call_soon(self._on_end, link, "it was stopped before it began")

    def _on_end(self, link: Link, reason: str) -> None:
        """A worker's process has ended: the electron that ran died with it, the others wait."""
        if link in self._links:
            self._links.remove(link)
        link.gone = True
        link.disarm()
        if self._closed:
            return
        stopped = link.verdict[0] if link.verdict else None
        if link.tasks and stopped in (None, link.tasks[0]):
            self._lose_first(link, reason)
        self._take_back(link, [list(task.key) for task in link.tasks])
        self._feed_soon()

    def _lose_first(self, link: Link, reason: str) -> None:
        """The electron that ran has died; one that had not begun runs again, some times."""
        task = link.tasks[0]
        if not (link.ready or link.verdict) and task.unbegun < _NOT_BEGUN:
            task.unbegun += 1
            return
        link.tasks.popleft()
        lost = WorkerLost(electron=task.name, reason=reason)
        error = link.verdict[1] if link.verdict else lost
        task.owner.task_died(task, error, link.process.printed())


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  # a string, and often


def _reason(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{said}: {error.filename}" if error.filename else said


def _text(error: QcovError) -> str:
    return f"{type(error).__name__}: {error}"


def _cancelled(task: Task) -> QcovError:
    return WorkerLost(electron=task.name, reason="it was cancelled")


def _age(entry: tuple[Environment, deque[Task]]) -> int:
    return entry[1][0].number if entry[1] else 0

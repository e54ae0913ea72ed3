"""Which worker an electron is given to, with workers that only the test speaks for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from qcov.classical.engine import spawn
from qcov.classical.engine.channel import Message
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.spawn import Environment, Spawner, WorkerProcess
from qcov.classical.engine.tasks import Task
from qcov.errors import MemoryLimitExceeded, QcovError

PROGRAM = Environment(key="k", executable="python", cwd="/", sys_path=(), preload=(), variables={})


class _Hired(Spawner):
    """Starts workers that have no process."""

    def __init__(self) -> None:
        super().__init__({})
        self.workers: list[WorkerProcess] = []
        self.forgot: list[WorkerProcess] = []
        self.waiting: list[WorkerProcess] = []
        self._ends: list[int] = []

    def start(self, environment: Environment) -> WorkerProcess:
        worker, ends = spawn._unborn()
        self.workers.append(worker)
        self._ends += ends
        return worker

    def forget(self, worker: WorkerProcess) -> None:
        self.forgot.append(worker)

    def waits(self, worker: WorkerProcess) -> bool:
        return worker in self.waiting

    def close(self) -> None:
        for worker in self.workers:
            worker.drop()
        for end in self._ends:
            os.close(end)


class _Owner:
    """Who gives the electrons."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.died: list[tuple[str, QcovError]] = []

    def task_started(self, task: Task) -> None:
        self.began.append(task.name)

    def task_progressed(self, task: Task, report: Message) -> None: ...

    def task_ended(self, task: Task, outcome: Message) -> None: ...

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        self.died.append((task.name, error))

    def task(self, number: int) -> Task:
        return Task(
            key=("d", number, 1),
            name=f"e{number}",
            environment=PROGRAM,
            bundle={"blobs": {}},
            function=None,
            time_limit=None,
            owner=self,
        )


def _in_pool(size: int, does: Callable[[Pool, _Hired, _Owner], Awaitable[None]]) -> None:
    async def main() -> None:
        hired = _Hired()
        pool = Pool(size=size, settings={}, spawner=hired)
        try:
            await does(pool, hired, _Owner())
        finally:
            pool.close()

    asyncio.run(main())


async def _given(pool: Pool, *tasks: Task) -> None:
    for task in tasks:
        pool.submit(task)
    await asyncio.sleep(0)


def _says(worker: WorkerProcess, did: str, **more: Any) -> None:
    worker.on_message({"did": did, **more})


def test_one_that_is_to_go_takes_no_place_of_those_that_stay() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1), owner.task(2))
        pool.resize(1)
        hired.workers[0].on_retire()
        hired.workers[1].on_retire()
        await _given(pool, owner.task(3), owner.task(4))
        for worker in hired.workers:
            _says(worker, "ready")

        assert owner.began == ["e1", "e2", "e3"]

    _in_pool(2, start)


def test_one_that_is_stopped_before_it_is_born_need_not_be() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1))
        pool.stop(("d", 1, 1))
        await asyncio.sleep(0)

        assert [name for name, _ in owner.died] == ["e1"]
        assert hired.forgot == hired.workers

    _in_pool(1, start)


def _outcome(task: Task) -> Message:
    return {"task": list(task.key), "started": 0.0, "ended": 1.0}


def test_an_idle_one_that_has_too_much_memory_is_given_nothing() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        first, second = owner.task(1), owner.task(2)
        await _given(pool, first)
        (worker,) = hired.workers
        _says(worker, "ready")
        _says(worker, "outcome", **_outcome(first))
        worker.on_excess(500, 400, time.monotonic())
        await _given(pool, second)
        _says(hired.workers[-1], "ready")

        assert owner.began == ["e1", "e2"]
        assert len(hired.workers) == 2

    _in_pool(1, start)


def test_the_memory_of_one_electron_is_not_held_against_the_next() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        first, second = owner.task(1), owner.task(2)
        await _given(pool, first)
        (worker,) = hired.workers
        _says(worker, "ready")
        measured = time.monotonic()
        _says(worker, "outcome", **_outcome(first))
        await _given(pool, second)
        worker.on_excess(500, 400, measured)
        assert owner.died == []
        worker.on_excess(500_000_001, 400_000_000, time.monotonic())
        await asyncio.sleep(0)

        ((name, error),) = owner.died
        assert (name, type(error)) == ("e2", MemoryLimitExceeded)
        assert "took 501 MB with the electrons in it, and may take 400 MB" in str(error)

    _in_pool(1, start)


def test_an_electron_that_waits_for_a_place_that_goes_is_given_to_another_worker() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        first, second = owner.task(1), owner.task(2)
        await _given(pool, first, second)
        _says(hired.workers[0], "ready")
        hired.waiting = hired.workers[1:]
        pool.resize(1)
        _says(hired.workers[0], "outcome", **_outcome(first))
        await asyncio.sleep(0)

        assert owner.began == ["e1", "e2"]
        assert owner.died == []
        assert hired.forgot == hired.waiting

    _in_pool(2, start)


def test_what_waits_begins_as_soon_as_a_worker_is_to_go() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1), owner.task(2))
        hired.workers[0].on_retire()
        await asyncio.sleep(0)
        assert len(hired.workers) == 2

    _in_pool(1, start)

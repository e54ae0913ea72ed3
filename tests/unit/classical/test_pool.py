"""Which worker an electron is given to, with workers that only the test speaks for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from qcov.classical.engine import spawn
from qcov.classical.engine.channel import Message
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.spawn import Environment, NoPlace, Spawner, WorkerProcess
from qcov.classical.engine.tasks import Task
from qcov.errors import MemoryLimitExceeded, QcovError, WorkerLost

PROGRAM = Environment(key="k", executable="python", cwd="/", sys_path=(), preload=(), variables={})


class _Hired(Spawner):
    """Starts workers that have no process."""

    def __init__(self) -> None:
        super().__init__({})
        self.workers: list[WorkerProcess] = []
        self.needed: list[int] = []
        self.full = False
        self._ends: list[int] = []

    def start(self, environment: Environment) -> WorkerProcess:
        if self.full:
            raise NoPlace
        worker, ends = spawn._unborn()
        self.workers.append(worker)
        self._ends += ends
        return worker

    def need(self, places: int) -> None:
        self.needed.append(places)

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


def test_one_that_is_stopped_before_it_is_born_is_not_waited_for() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1))
        pool.stop(("d", 1, 1))
        await asyncio.sleep(0)

        assert [name for name, _ in owner.died] == ["e1"]

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


def test_electrons_wait_until_there_are_places() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1), owner.task(2))
        assert (hired.workers, hired.needed[-1]) == ([], 2)
        hired.full = True  # it has just gone, unheard of
        hired.on_places(2)
        await asyncio.sleep(0)
        assert (hired.workers, owner.died) == ([], [])
        hired.full = False
        hired.on_places(1)
        await asyncio.sleep(0)
        assert (len(hired.workers), hired.needed[-1]) == (1, 2)
        with pool.blocked("d", 1):  # a place is enough, however many wait in it
            await asyncio.sleep(0)
            assert len(hired.workers) == 2

    _in_pool(0, start)


def test_idle_ones_make_room_for_others() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        first, second = owner.task(1), owner.task(2)
        await _given(pool, first, second)
        for worker in hired.workers:
            _says(worker, "ready")
        _says(hired.workers[0], "outcome", **_outcome(first))
        hired.on_crowded()

        assert [worker.dismissed for worker in hired.workers] == [True, False]

    _in_pool(2, start)


def test_what_waits_fails_if_no_place_can_be_had() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        passed = list[str]()
        movable = owner.task(2)
        movable.elsewhere = partial(passed.append, movable.name)
        await _given(pool, owner.task(1), movable)
        hired.on_refused("it did not come up")
        await asyncio.sleep(0)
        ((name, error),) = owner.died
        assert (name, type(error)) == ("e1", WorkerLost)
        assert "it did not come up" in str(error)
        assert passed == ["e2"]

    _in_pool(0, start)


def test_what_may_run_elsewhere_does_once_nothing_is_taken() -> None:
    async def main() -> None:
        hired, owner, up, passed = _Hired(), _Owner(), True, list[str]()
        pool = Pool(size=1, settings={}, spawner=hired, takes=lambda: up)
        tasks = [owner.task(number) for number in range(4)]
        for task in tasks[:3]:
            task.elsewhere = partial(passed.append, task.name)
        await _given(pool, *tasks)
        _says(hired.workers[0], "ready")
        up = False
        pool.look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert (owner.began, passed) == (["e0"], ["e1", "e2"])
        _says(hired.workers[0], "outcome", **_outcome(tasks[0]))
        await asyncio.sleep(0)
        assert owner.began == ["e0", "e3"]
        pool.close()

    asyncio.run(main())


def test_an_electron_whose_worker_dies_before_it_began_runs_again_twice() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1))
        for number in range(3):
            assert owner.died == []
            assert len(hired.workers) == number + 1
            hired.workers[-1].on_end("the system has ended it")
            await asyncio.sleep(0)

        ((name, error),) = owner.died
        assert (name, type(error), owner.began) == ("e1", WorkerLost, [])
        assert len(hired.workers) == 3

    _in_pool(1, start)


def test_one_that_has_begun_does_not_run_again() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1))
        _says(hired.workers[0], "ready")
        hired.workers[0].on_end("the system has ended it")
        await asyncio.sleep(0)

        assert [(name, type(error)) for name, error in owner.died] == [("e1", WorkerLost)]
        assert len(hired.workers) == 1

    _in_pool(1, start)


def test_what_waits_begins_as_soon_as_a_worker_is_to_go() -> None:
    async def start(pool: Pool, hired: _Hired, owner: _Owner) -> None:
        await _given(pool, owner.task(1), owner.task(2))
        hired.workers[0].on_retire()
        await asyncio.sleep(0)
        assert len(hired.workers) == 2

    _in_pool(1, start)

"""Workers of the own Dask cluster that are to go, or to end electrons.

Only the tests speak for the cluster.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine.cluster_members import Members


class _Cluster:
    """A worker of it is named like its process."""

    def __init__(self, **statuses: str) -> None:
        self.ended: list[str] = []
        self.worker_spec = dict.fromkeys(["stays", "goes"])
        self.workers: dict[str, object] = {"stays": None}
        self.scheduler: Any = SimpleNamespace(
            workers={name: _worker(name, status) for name, status in statuses.items()},
            handle_worker_status_change=self._changes,
            stream_comms={name: SimpleNamespace(send=lambda _: None) for name in statuses},
        )

    def _changes(self, status: str, ws: Any, _: str) -> None:
        ws.status.name = status

    async def scale_down(self, names: list[str]) -> None:
        self.ended += names


def _worker(name: str, status: str) -> Any:
    about = {"name": name, "pid": name, "address": name, "processing": {}, "executing": {}}
    return SimpleNamespace(**about, status=SimpleNamespace(name=status))


@pytest.mark.parametrize(
    ("statuses", "looks", "ended"),
    [
        ({}, 3, []),
        ({"goes": "init"}, 3, []),
        ({"goes": "running"}, 1, []),
        ({"goes": "running"}, 2, ["goes"]),
    ],
    ids=["starts", "registers", "has come up", "takes no more"],
)
def test_one_that_starts_is_ended_once_it_can_be_given_nothing(
    statuses: dict[str, str], looks: int, ended: list[str]
) -> None:
    async def main() -> None:
        cluster = _Cluster(**statuses)
        members = Members(cluster, None, lambda _: None, limited=False)
        members._leaving = {"goes": 0.0}
        for _ in range(looks):
            await members._drain()
        assert cluster.ended == ended

    asyncio.run(main())


def test_one_that_has_died_is_ended() -> None:
    async def main() -> None:
        cluster = _Cluster()
        cluster.workers["goes"] = None
        members = Members(cluster, None, lambda _: None, limited=False)
        members._leaving = {"goes": 0.0}
        await members._drain()
        assert cluster.ended == ["goes"]

    asyncio.run(main())


class _Client:
    """A client of a cluster of which one worker is silent, and what it has been asked."""

    def __init__(self, silent: int) -> None:
        self._silent = silent
        self.asked: Counter[int] = Counter()
        self.pending = 0

    async def run(self, _: Callable[..., None], *, workers: list[int], **told: float) -> None:
        assert told["memory"] > told["limit"]
        self.asked.update(workers)
        if workers == [self._silent]:
            self.pending += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.pending -= 1

    async def until(self, asked: dict[int, int]) -> None:
        """Come back once workers have been asked so often, at least."""
        async with asyncio.timeout(20):
            while not self.asked >= Counter(asked):  # it is a loop that is watched
                await asyncio.sleep(0.01)


@pytest.fixture
def over_limits() -> Iterator[tuple[_Cluster, int, int]]:
    """A cluster with two workers that run electrons and take too much, and their processes."""
    command = ["sh", "-c", 'sh -c "read line" engine.dask_child; :']
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
    cluster, (first, second) = _Cluster(), (process.pid for process in processes)
    cluster.workers = cluster.worker_spec = {}
    cluster.scheduler.workers = {pid: _over_limit(pid) for pid in (first, second)}
    cluster.scheduler.queued = [SimpleNamespace(key="somebody's own")]
    yield cluster, first, second
    for process in processes:
        process.communicate()


def _over_limit(pid: int) -> Any:
    worker = _worker(str(pid), "running")
    worker.pid = worker.address = pid
    worker.processing, worker.memory_limit = {"an electron": 0.0}, 1
    return worker


def test_a_worker_that_does_not_answer_keeps_nothing_waiting(
    over_limits: tuple[_Cluster, int, int],
) -> None:
    cluster, silent, other = over_limits

    async def main() -> None:
        said: list[dict[str, Any]] = []
        client = _Client(silent)
        watching = asyncio.create_task(Members(cluster, client, said.append, limited=True).watch())
        await client.until({silent: 1, other: 3})
        assert said.count({"crowded": True}) >= 3
        assert client.asked[silent] == client.pending == 1
        watching.cancel()
        await asyncio.wait([watching])
        assert client.pending == 0

    asyncio.run(main())


def test_a_worker_that_does_not_answer_is_asked_again(
    over_limits: tuple[_Cluster, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, silent, other = over_limits
    monkeypatch.setattr("qcov.classical.engine.cluster_members._ANSWERS", 0.01)

    async def main() -> None:
        client = _Client(silent)
        watching = asyncio.create_task(Members(cluster, client, print, limited=True).watch())
        await client.until({silent: 2, other: 2})
        watching.cancel()

    asyncio.run(main())

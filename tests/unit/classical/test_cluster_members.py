"""Workers of the own Dask cluster that are to go, with a cluster that only the test speaks for."""

from __future__ import annotations

import asyncio
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

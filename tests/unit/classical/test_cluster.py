"""How many places the own Dask cluster has while it gets more or fewer workers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine.cluster import OwnCluster
from qcov.errors import ClusterUnavailable


@pytest.fixture
def in_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[OwnCluster, list[int]], Awaitable[None]]], None]:
    """Run something with a cluster of two workers whose process only the test speaks for."""

    async def lives(_: OwnCluster) -> None:
        await asyncio.Event().wait()

    async def main(does: Callable[[OwnCluster, list[int]], Awaitable[None]]) -> None:
        told: list[int] = []
        settings = {"workers": 2, "threads": 1, "memory": "auto", "least": 0, "most": 0}
        cluster = OwnCluster(
            tmp_path, settings, lambda: told.append(cluster.places), sockets=tmp_path
        )
        slots = cluster.spawner({})
        cluster.about = {"status": "running", "members": 2}
        process: Any = SimpleNamespace(stdin=SimpleNamespace(write=json.loads), returncode=0)
        cluster._process = process
        try:
            await does(cluster, told)
        finally:
            slots.close()
            cluster._living.cancel()

    monkeypatch.setattr(OwnCluster, "_live", lives)
    return lambda does: asyncio.run(main(does))


def test_there_are_fewer_places_before_workers_leave(in_cluster: Any) -> None:
    async def scale(cluster: OwnCluster, told: list[int]) -> None:
        asked = asyncio.create_task(cluster.ask("scale", n=1, busy=[]))
        await asyncio.sleep(0)
        assert cluster._slots is not None
        assert (told, cluster._slots.size) == ([1], 1)
        cluster._take({"number": 1, "value": {}})
        await asked
        assert cluster._slots.size == 1

    in_cluster(scale)


def test_there_are_more_places_once_there_are_workers(in_cluster: Any) -> None:
    async def scale(cluster: OwnCluster, told: list[int]) -> None:
        assert cluster._slots is not None
        asked = asyncio.create_task(cluster.ask("scale", n=3, busy=[]))
        await asyncio.sleep(0)
        cluster._take({"number": 1, "value": {"coming": 1}})
        await asked  # Dask may take long
        assert told == [2]
        cluster._take({"members": 3})
        cluster._take({"members": 2})  # one has died, and will be back
        assert (told, cluster._slots.size) == ([2, 3, 3], 3)

    in_cluster(scale)


def test_there_are_as_many_as_before_if_no_worker_leaves(in_cluster: Any) -> None:
    async def scale(cluster: OwnCluster, told: list[int]) -> None:
        asked = asyncio.create_task(cluster.ask("scale", n=1, busy=[]))
        await asyncio.sleep(0)
        cluster._take({"number": 1, "error": "no"})
        with pytest.raises(ClusterUnavailable):
            await asked
        assert told == [1, 2]

    in_cluster(scale)


@pytest.mark.process
def test_one_that_does_not_come_up_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "distributed.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr("qcov.classical.engine.cluster._UP_WITHIN", -0.9)  # and 1 s for a worker

    async def main() -> None:
        settings = {"workers": 1, "threads": 1, "memory": "auto", "least": 0, "most": 0}
        cluster = OwnCluster(tmp_path / "dask", settings, lambda: None, sockets=tmp_path)
        seen: set[int] = set()
        try:
            async with asyncio.timeout(30):
                while len(seen) < 2:
                    await asyncio.sleep(0.01)
                    if cluster._process is not None:
                        seen.add(cluster._process.pid)
                assert "has not come up in 0.1 s, and is ended" in caplog.text
                await cluster.ask("restart")  # it does not wait for the pause to pass
                while len(seen) < 3:
                    await asyncio.sleep(0.01)
                    if cluster._process is not None:
                        seen.add(cluster._process.pid)
        finally:
            await cluster.close()

    with caplog.at_level("WARNING", logger="qcov.cluster"):
        asyncio.run(main())

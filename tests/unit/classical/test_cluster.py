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


def _with_dask_that(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something else in the place of Dask where a cluster comes up."""
    (folder / "distributed.py").write_text(does)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def _of_one_worker(folder: Path) -> OwnCluster:
    settings = {"workers": 1, "threads": 1, "memory": "auto", "least": 0, "most": 0}
    return OwnCluster(folder / "dask", settings, lambda: None, sockets=folder)


@pytest.mark.process
def test_one_that_does_not_come_up_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _with_dask_that("import time\ntime.sleep(3600)\n", tmp_path, monkeypatch)
    monkeypatch.setattr("qcov.classical.engine.cluster._UP_WITHIN", -0.9)  # and 1 s for a worker

    async def main() -> None:
        cluster = _of_one_worker(tmp_path)
        seen: set[int] = set()

        async def started(count: int) -> None:
            while len(seen) < count:
                await asyncio.sleep(0.01)
                if cluster._process is not None:  # it has none before the next one has started
                    seen.add(cluster._process.pid)

        try:
            async with asyncio.timeout(30):
                await started(2)
                assert "has not come up in 0.1 s, and is ended" in caplog.text
                await cluster.ask("restart")  # it does not wait for the pause to pass
                await started(3)
        finally:
            await cluster.close()

    with caplog.at_level("WARNING", logger="qcov.cluster"):
        asyncio.run(main())


@pytest.mark.process
def test_one_that_cannot_be_followed_leaves_no_number_to_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = "from qcov.classical.engine.cluster_process import _answers as to\n"
    said += "import time\nprint('it is up', file=to, flush=True)\ntime.sleep(3600)\n"
    _with_dask_that(said, tmp_path, monkeypatch)

    async def main() -> None:
        cluster = _of_one_worker(tmp_path)
        try:
            async with asyncio.timeout(30):
                while "could not be followed" not in caplog.text:
                    await asyncio.sleep(0.01)
            assert cluster._process is None
        finally:
            await cluster.close()

    asyncio.run(main())


@pytest.mark.process
def test_one_that_was_closed_leaves_no_number_to_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_dask_that("import time\ntime.sleep(3600)\n", tmp_path, monkeypatch)

    async def main() -> None:
        cluster = _of_one_worker(tmp_path)
        async with asyncio.timeout(30):
            while cluster._process is None:
                await asyncio.sleep(0.01)
            cluster.about = {"status": "running", "members": 1}
            await cluster.close()
            await asyncio.wait([cluster._living])
        assert cluster._process is None
        cluster._want("a slot that is wanted meanwhile")

    asyncio.run(main())

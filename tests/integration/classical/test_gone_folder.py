"""A program's working folder vanishes after it has dispatched."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import qcov as ct
from qcov.classical.engine.channel import Message
from qcov.classical.engine.spawn import Environment, Spawner
from tests.integration.classical.conftest import Gate

MISMATCH = "EnvironmentMismatch: the engine cannot run this dispatch"


@pytest.fixture
def vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Remove the folder that this program runs in."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def remove() -> None:
        monkeypatch.chdir(tmp_path)
        folder.rmdir()

    return remove


@pytest.mark.usefixtures("common_engine")
def test_between_two_electrons(vanish: Callable[[], None], gate: Gate, tmp_path: Path) -> None:
    @ct.electron
    def first() -> int:
        gate.pass_through()
        return 1

    @ct.electron
    def second(x: int) -> int:
        return x + 1

    dispatch_id = ct.dispatch(ct.lattice(lambda: second(first())))()
    gate.wait()
    vanish()
    gate.let_go()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert f"second(1): {MISMATCH}" in str(result.error)
    assert f"{tmp_path / 'gone'} (the working folder does not exist)" in str(result.error)
    assert ct.dispatch_sync(ct.lattice(second))(2).result == 3


def test_a_worker_that_starts_too_late(tmp_path: Path) -> None:
    async def said() -> Message:
        spawner = Spawner({"payloads": str(tmp_path), "cores": 1})
        worker = spawner.start(
            Environment(
                key="any", executable=sys.executable, cwd=str(tmp_path / "gone"),
                sys_path=tuple(sys.path), preload=(), variables={},
            )
        )  # fmt: skip
        message: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        worker.on_message = message.set_result
        worker.on_end = lambda reason: message.set_result({"ended": reason})
        try:
            return await asyncio.wait_for(message, 60)
        finally:
            spawner.close()

    assert asyncio.run(said()) == {"did": "stranded", "reason": "No such file or directory"}

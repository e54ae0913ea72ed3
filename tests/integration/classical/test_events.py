"""Who hears of something can read it, however slow the disk is."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest

import qcov as ct
from qcov.classical.engine.engine import Engine
from qcov.classical.engine.process import configured_store
from qcov.classical.manifest import build_manifest, code_of, environment
from qcov.store.store import Store
from qcov.store.writer import Writer

pytestmark = pytest.mark.process


@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(angle: float) -> Any:
    qml.RX(angle, 0)
    return qml.expval(qml.Z(0))


@ct.electron
def wait_for(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.01)
    return gate


@ct.electron
def measure(_: str) -> float:
    return circuit(0.5)


@ct.electron
@ct.lattice
def inner(gate: str) -> float:
    return measure(wait_for(gate))


@ct.lattice
def gated(gate: str) -> float:
    return inner(gate)


def status_in(store: Store, event: dict[str, Any]) -> str:
    if event["node"] is None:
        return store.status(event["dispatch"])
    [row] = store.get_nodes(event["dispatch"], node_id=event["node"])
    return row["status"]


async def submit(engine: Engine, gate: Path, dispatch_id: str = "") -> str:
    manifest = build_manifest(gated, (str(gate),), {})
    manifest["id"] = dispatch_id or str(uuid.uuid4())
    manifest["environment"] = environment(code_of(manifest))
    return await engine.submit(manifest)


@pytest.fixture
def store(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One on a slow disk."""
    commit = Writer._commit

    def slowly(writer: Writer, group: Any) -> None:
        time.sleep(0.05)
        commit(writer, group)

    monkeypatch.setattr(Writer, "_commit", slowly)
    data_folder.mkdir(mode=0o700)
    return configured_store(data_folder)


def test_a_dispatch_that_is_cancelled_at_once_does_not_run_afterwards(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def run() -> None:
        engine = Engine(store, workers=1)
        tell = engine.events.tell

        def noted(kind: str, **about: Any) -> None:
            if about["node"] is None:
                told.append(about["status"])
            tell(kind, **about)

        monkeypatch.setattr(engine.events, "tell", noted)
        for _ in range(5):
            dispatch_id = str(uuid.uuid4())
            submitting = asyncio.create_task(submit(engine, tmp_path / "never", dispatch_id))
            while dispatch_id not in engine._runner.runs:
                await asyncio.sleep(0.001)
            await asyncio.gather(engine.cancel(dispatch_id), submitting)
            async with asyncio.timeout(60):
                while told[-1] != "CANCELLED":
                    await asyncio.sleep(0.01)
        engine.close()

    asyncio.run(run())
    assert told == ["RUNNING", "CANCELING", "CANCELLED"] * 5


def test_what_is_told_is_on_the_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, str]] = []  # of what, what was told of it, and what could be read

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.02)

    async def run() -> None:
        engine = Engine(store, workers=1)
        tell = engine.events.tell
        of_circuits = 0

        def noted(kind: str, **about: Any) -> None:
            nonlocal of_circuits
            if kind == "changes":
                what = "dispatch" if about["node"] is None else "node"
                told.append((what, about["status"], status_in(store, about)))
            if kind == "circuits":
                of_circuits += about["count"]
                told.append(("circuits", str(of_circuits), str(len(store.get_circuits()))))
            tell(kind, **about)

        monkeypatch.setattr(engine.events, "tell", noted)
        first = await submit(engine, tmp_path / "gate")
        await until(lambda: sum(each[:2] == ("node", "RUNNING") for each in told) == 2)
        (tmp_path / "gate").touch()
        await until(lambda: store.status(first) == "COMPLETED" and of_circuits == 1)
        second = await submit(engine, tmp_path / "never")
        await until(lambda: sum(each[:2] == ("node", "RUNNING") for each in told) == 4)
        await engine.cancel(second)
        await until(lambda: store.status(second) == "CANCELLED")
        engine.close()

    asyncio.run(run())

    assert {status for what, status, _ in told if what == "dispatch"} == {
        "RUNNING", "COMPLETED", "CANCELING", "CANCELLED"
    }  # fmt: skip
    assert [each for each in told if each[1] != each[2]] == []

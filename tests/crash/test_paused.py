"""A paused engine keeps its store: nobody takes over behind its back, and programs are told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.engine import client
from qcov.errors import EngineUnavailable, StoreUnavailable
from qcov.store.folder import Ownership


@ct.electron
def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def paused(
    data_folder: Path, engine_of: Callable[[Path], psutil.Process]
) -> Iterator[psutil.Process]:
    """The folder's engine, which does nothing until it is resumed."""
    assert ct.dispatch_sync(ct.lattice(add))(1, 2).result == 3
    engine = engine_of(data_folder)
    engine.suspend()
    yield engine
    if engine.is_running():
        engine.resume()


def test_a_program_is_told_of_a_paused_engine(
    data_folder: Path, paused: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ANSWERS_WITHIN", 0.5)
    with (
        ThreadPoolExecutor() as other_thread,  # it has no connection yet
        pytest.raises(EngineUnavailable, match=f"process {paused.pid} does not answer") as told,
    ):
        other_thread.submit(ct.get_result, "any").result()

    assert f"kill -CONT {paused.pid}" in str(told.value)
    paused.resume()
    assert ct.dispatch_sync(ct.lattice(add))(2, 3).result == 5


def elsewhere(ask: Callable[[], Any]) -> Any:
    """Ask in another thread, which has no connection yet."""
    with ThreadPoolExecutor() as other_thread:
        return other_thread.submit(ask).result()


def here(ask: Callable[[], Any]) -> Any:
    return ask()


@pytest.mark.parametrize("where", [here, elsewhere])
def test_a_limit_of_ones_own_holds_while_an_engine_is_paused(
    paused: psutil.Process, monkeypatch: pytest.MonkeyPatch, where: Any
) -> None:
    monkeypatch.setattr(client, "_GRACE", 0.5)
    began = time.monotonic()
    with pytest.raises(EngineUnavailable, match=f"process {paused.pid} does not answer"):
        where(lambda: ct.get_result("any", wait=True, timeout=0.5))
    assert 0.9 < time.monotonic() - began < 10  # far from 30, the limit of others

    paused.resume()
    assert ct.dispatch_sync(ct.lattice(add))(2, 3).result == 5


@pytest.mark.parametrize("size", [1, 3_000], ids=["small", "larger than a socket takes"])
def test_what_is_answered_at_once_is_given_up(
    paused: psutil.Process, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(client, "_ANSWERS_WITHIN", 0.5)
    monkeypatch.setattr(client, "_GRACE", 0.5)
    workflow = ct.lattice(lambda: [add(number, 1) for number in range(size)])

    with pytest.raises(EngineUnavailable, match=f"process {paused.pid} does not answer"):
        ct.dispatch(workflow)()


def test_an_engine_that_lets_nobody_in(
    data_folder: Path, paused: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_GRACE", 0.5)
    path = json.loads((data_folder / "engine.json").read_text())["socket"]
    with contextlib.ExitStack() as others:
        with contextlib.suppress(BlockingIOError):
            while True:  # until no more can wait
                sock = others.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                sock.connect(path)
        with pytest.raises(EngineUnavailable, match=f"process {paused.pid} does not answer"):
            elsewhere(lambda: ct.get_result("any", wait=True, timeout=0.5))


def test_an_engine_that_is_only_slow_is_waited_for(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = ct.lattice(add)
    assert ct.dispatch_sync(workflow)(1, 2).result == 3
    with (
        contextlib.closing(sqlite3.connect(data_folder / "qcov.sqlite")) as other,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        pool.submit(ct.list_dispatches).result()  # its thread is connected from now on
        monkeypatch.setattr(client, "_ANSWERS_WITHIN", 0.5)
        other.execute("BEGIN IMMEDIATE")  # what the engine writes has to wait
        submitted = pool.submit(ct.dispatch(workflow), 3, 4)
        with pytest.raises(TimeoutError):
            submitted.result(2)
        other.rollback()
        assert ct.get_result(submitted.result(), wait=True).result == 7


def test_nobody_else_writes_while_an_engine_is_paused(
    data_folder: Path, paused: psutil.Process
) -> None:
    owner = Ownership(data_folder)
    with pytest.raises(StoreUnavailable, match=f"process {paused.pid} writes to it"):
        owner.acquire(1)
    owner.release()


def test_a_second_engine_is_refused_and_harms_nothing(
    data_folder: Path, paused: psutil.Process
) -> None:
    code = (
        "import sys; from qcov.classical.engine import process; process._TAKE_OVER = 1;"
        "process.main()"
    )
    receiving, sending = os.pipe()
    command = [sys.executable, "-c", code, "--folder", str(data_folder), "--workers", "1"]
    second = subprocess.run(
        [*command, "--idle-timeout", "1", "--ready", str(sending)],
        pass_fds=[sending], capture_output=True, timeout=60,
    )  # fmt: skip
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        assert "does not answer" in pipe.read()
    assert second.returncode == 1

    paused.resume()
    assert ct.dispatch_sync(ct.lattice(add))(3, 4).result == 7


def test_a_paused_engine_that_is_killed_is_replaced(
    data_folder: Path, paused: psutil.Process, engine_of: Callable[[Path], psutil.Process]
) -> None:
    paused.send_signal(signal.SIGKILL)
    paused.wait(60)

    assert ct.dispatch_sync(ct.lattice(add))(4, 5).result == 9
    assert engine_of(data_folder).pid != paused.pid


def test_what_waits_for_a_paused_engine_gets_its_result(
    data_folder: Path, paused: psutil.Process
) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: ct.dispatch_sync(ct.lattice(add))(5, 6).result)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        paused.resume()
        assert waiting.result(120) == 11

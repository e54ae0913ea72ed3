"""Workers that cannot be started: what is out of order is told, once, and nothing else suffers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qcov.classical.engine import slot as slot_module
from qcov.classical.engine import slots as slots_module
from qcov.classical.engine import spawn
from qcov.classical.engine.slots import Slots
from qcov.classical.engine.spawn import Environment, NoPlace, Spawner
from qcov.wire import Unpacker, pack

FULL = OSError(errno.EMFILE, "Too many open files")
PROGRAM = Environment(
    key="k", executable=sys.executable, cwd="/", sys_path=(), preload=(), variables={}
)


def _fails(patched: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let a call fail in this thread; those of other tests need it too."""
    real, here = getattr(module, name), threading.get_ident()

    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            raise FULL
        return real(*args, **kwargs)

    patched.setattr(module, name, call)


def _descriptors() -> set[str]:
    folder = Path("/proc/self/fd")
    return {path.name for path in folder.iterdir() if path.is_symlink()}  # not that of the folder


def _in_slots(tmp_path: Path, does: Callable[[Slots, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        asked: list[str] = []
        slots = Slots({"payloads": str(tmp_path), "cores": 1}, tmp_path / "s", asked.append)
        slots.size = 2
        try:
            await does(slots, asked)
        finally:
            slots.close()

    gc.disable()  # what an earlier test has left open stays so while descriptors are counted
    try:
        asyncio.run(main())
    finally:
        gc.enable()


class _Slot:
    """The other end of a slot: it says its name, and which process of Dask's it is in."""

    def __init__(self, slots: Slots, name: str, pid: int) -> None:
        self._slots, self.name = slots, name
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(slots.path))
        self._socket.sendall(pack({"slot": name, "pid": pid}))
        self.zygotes: list[socket.socket] = []

    @classmethod
    async def comes(cls, slots: Slots, name: str, pid: int = 1) -> _Slot:
        """One that the engine has seen."""
        slot = cls(slots, name, pid)
        while not slots._told:
            await asyncio.sleep(0)
        await asyncio.wait(slots._told)
        return slot

    def zygote(self) -> list[Any]:
        """What the zygote that it is asked for now is asked, up to now."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 18, 1)
        assert next(iter(Unpacker().feed(data)))["executable"] == sys.executable
        self.zygotes.append(socket.socket(fileno=descriptors[0]))
        return list(Unpacker().feed(self.zygotes[-1].recv(1 << 16)))

    @property
    def let_go(self) -> bool:
        """Whether the engine has hung up."""
        with contextlib.suppress(BlockingIOError):
            return not self._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        return False

    def dies(self) -> None:
        for sock in (self._socket, *self.zygotes):
            sock.close()


@pytest.mark.parametrize(
    ("module", "name"),
    [(spawn.socket, "socketpair"), (spawn, "unnamed_file"), (spawn.os, "dup")],
    ids=["sockets", "files", "copies"],
)
def test_what_cannot_be_made_is_told_and_the_slot_lives_on(
    module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slot = await _Slot.comes(slots, asked[0])
        before = _descriptors()
        with monkeypatch.context() as patched:
            _fails(patched, module, name)
            with pytest.raises(OSError, match="Too many open files"):
                slots.start(PROGRAM)
        assert (_descriptors() - before, slot.let_go) == (set(), False)
        slots.start(PROGRAM)
        slot.dies()

    _in_slots(tmp_path, start)


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slot = await _Slot.comes(slots, asked[0])
        before = _descriptors()
        with pytest.raises(FileNotFoundError, match="/no/python"):
            slots.start(replace(PROGRAM, executable="/no/python"))
        assert (_descriptors() - before, slot.let_go) == (set(), False)
        slot.dies()

    _in_slots(tmp_path, start)


def test_there_is_no_place_in_a_slot_that_has_died_unheard_of(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        places = list[int]()
        slots.on_places = places.append
        with pytest.raises(NoPlace):
            slots.start(PROGRAM)
        slots.need(2)
        first, second = [await _Slot.comes(slots, name) for name in asked]
        before = _descriptors()
        first.dies()
        worker = slots.start(PROGRAM)
        assert [message["do"] for message in second.zygote()] == ["fork"]
        second.dies()
        with pytest.raises(NoPlace):
            slots.start(PROGRAM)
        slots.need(2)

        assert places == [1, 2, 1, 0]
        assert worker.leaving
        assert len(asked) == 4
        worker.drop()
        assert len(_descriptors()) < len(before)

    _in_slots(tmp_path, start)


def test_all_programs_find_a_place_in_the_one_slot_that_there_is(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.size = 1
        other = replace(PROGRAM, key="o", variables={"OMP_NUM_THREADS": "3"})
        slots.need(9)
        slot = await _Slot.comes(slots, asked[0])
        worker = slots.start(PROGRAM)
        assert len(slot.zygote()) == 1
        slots.start(other)
        assert len(slot.zygote()) == 1
        slots.renew(worker)  # it goes on
        slots.start(PROGRAM)
        assert len(slot.zygote()) == 1
        slots.need(9)

        assert (len(asked), worker.leaving) == (1, False)
        slot.dies()

    _in_slots(tmp_path, start)


def test_a_slot_that_comes_unasked_is_sent_away(tmp_path: Path) -> None:
    async def start(slots: Slots, _: list[str]) -> None:
        slot = await _Slot.comes(slots, "unheard of")
        with pytest.raises(NoPlace):
            slots.start(PROGRAM)
        assert slot.let_go
        slot.dies()

    _in_slots(tmp_path, start)


def test_slots_that_run_nothing_go_when_others_wait(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(2)
        first, second = [await _Slot.comes(slots, name) for name in asked]
        idle, _ = slots.start(PROGRAM), slots.start(PROGRAM)
        for slot in (first, second):
            slot.zygote()
        slots.on_crowded = idle.dismiss
        slots.crowd()

        assert (first.let_go, second.let_go) == (True, False)
        for slot in (first, second):
            slot.dies()

    _in_slots(tmp_path, start)


def test_what_has_no_worker_goes_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "_KEPT", 0.01)

    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slot = await _Slot.comes(slots, asked[0])
        async with asyncio.timeout(5):
            while not slot.let_go:
                await asyncio.sleep(0.01)
        slot.dies()

    _in_slots(tmp_path, start)


def test_what_cannot_be_made_ends_no_worker_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        spawner = Spawner({"payloads": str(tmp_path), "cores": 1})
        worker, ended, ready = spawner.start(PROGRAM), list[str](), asyncio.Event()
        worker.on_end, worker.on_message = ended.append, lambda _: ready.set()
        try:
            await asyncio.wait_for(ready.wait(), 60)
            with monkeypatch.context() as patched:
                _fails(patched, spawn.socket, "socketpair")
                with pytest.raises(OSError, match="Too many open files"):
                    spawner.start(PROGRAM)
            assert worker.pid is not None
            os.kill(worker.pid, 0)
            assert not worker.leaving
            assert ended == []
        finally:
            spawner.close()

    asyncio.run(main())


def test_a_zygote_that_has_died_unheard_of_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        spawner = Spawner({"payloads": str(tmp_path), "cores": 1})
        try:
            spawner.start(PROGRAM)
            (zygote,) = spawner._zygotes.values()
            assert zygote._process is not None
            zygote._process.kill()
            zygote._process.wait()
            worker = spawner.start(PROGRAM)
            ready = asyncio.Event()
            worker.on_message = lambda _: ready.set()
            await asyncio.wait_for(ready.wait(), 60)
        finally:
            spawner.close()

    asyncio.run(main())


def test_a_slot_that_ends_before_it_came_is_asked_for_again_and_given_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "_AGAIN_AFTER", 0.0)

    async def start(slots: Slots, asked: list[str]) -> None:
        refused = list[str]()
        slots.on_refused = refused.append
        slots.need(1)
        async with asyncio.timeout(5):
            while not refused:
                seen = len(asked)
                slots.ended(asked[-1], "it was late")
                while len(asked) == seen and not refused:
                    await asyncio.sleep(0.01)
        assert len(set(asked)) == len(asked) == 1 + slots_module._TRIES
        assert refused == ["its slot in the Dask cluster did not come up: it was late"]

    _in_slots(tmp_path, start)


def test_the_end_of_a_slot_that_came_is_heard_by_its_socket(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slot = await _Slot.comes(slots, asked[0], 1234)
        worker, ended = slots.start(PROGRAM), asyncio.get_running_loop().create_future()
        worker.on_end = ended.set_result
        slots.ended(asked[0], "Dask has run it again")
        assert (slots.busy([worker]), worker.leaving, len(asked)) == ([1234], False, 1)
        slot.dies()
        assert "has ended" in await asyncio.wait_for(ended, 5)

    _in_slots(tmp_path, start)


def test_a_new_cluster_is_asked_for_what_the_last_one_was(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.on_places = lambda places: slots.need(1)
        slots.need(1)
        slots.came_up()
        assert len(asked) == 2
        slots.ended(asked[0], "the last one has ended")
        assert len(asked) == 2

    _in_slots(tmp_path, start)


@pytest.mark.parametrize("busy", [True, False])
def test_a_slot_in_a_worker_that_leaves_goes_with_its_last_electron(
    busy: bool, tmp_path: Path
) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slot, retired = await _Slot.comes(slots, asked[0], 1234), list[int]()
        if busy:
            slots.start(PROGRAM).on_retire = lambda: retired.append(1)
            slot.zygote()
        slots.leave([1234])
        assert (slot.let_go, len(retired)) == (not busy, busy)
        with pytest.raises(NoPlace):
            slots.start(PROGRAM)
        for zygote in slot.zygotes:
            zygote.sendall(pack({"did": "fork", "worker": 1, "pid": None, "error": "it ended"}))
        async with asyncio.timeout(5):
            while not slot.let_go:
                await asyncio.sleep(0.01)
        slot.dies()

    _in_slots(tmp_path, start)


def test_a_slot_that_comes_in_a_worker_that_leaves_is_let_go(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.need(1)
        slots.leave([1234])
        slot = await _Slot.comes(slots, asked[0], 1234)
        slots.need(1)
        assert (slot.let_go, len(asked)) == (True, 2)
        slot.dies()

        slots.leave([])
        slot = await _Slot.comes(slots, asked[1], 1234)
        assert slots.busy([slots.start(PROGRAM)]) == [1234]
        slot.dies()

    _in_slots(tmp_path, start)

"""Workers that cannot be started: what is out of order is told, once, and nothing else suffers."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from qcov.classical.engine import slots as slots_module
from qcov.classical.engine import spawn
from qcov.classical.engine.slots import Slots
from qcov.classical.engine.spawn import Environment, Spawner, Zygote
from qcov.wire import Unpacker, pack

FULL = OSError(errno.EMFILE, "Too many open files")
PROGRAM = Environment(
    key="k", executable=sys.executable, cwd="/", sys_path=(), preload=(), variables={}
)


def _fails(error: OSError) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


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


@pytest.mark.parametrize(
    ("module", "name"),
    [(spawn.socket, "socketpair"), (spawn, "unnamed_file"), (spawn.os, "dup")],
    ids=["sockets", "files", "copies"],
)
def test_no_slot_is_asked_for_what_cannot_be_made(
    module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        before = _descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(module, name, _fails(FULL))
            with pytest.raises(OSError, match="Too many open files"):
                slots.start(PROGRAM)
        assert asked == []
        assert _descriptors() == before

    _in_slots(tmp_path, start)


class _Slot:
    """A slot that has come up: our end of its socket is all that matters."""

    def __init__(self, slots: Slots, name: str) -> None:
        ours, self.theirs = socket.socketpair()
        slots._slots[name].attach(ours)

    def heard(self) -> list[Any]:
        return list(Unpacker().feed(self.theirs.recv(1 << 16)))

    def dies(self) -> None:
        self.theirs.close()


def test_a_slot_that_has_died_unheard_of_is_replaced_by_one_new_one(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.start(PROGRAM)
        slot = _Slot(slots, asked[0])
        slots.size = 1  # the next one is to come of it
        slot.dies()
        ended: list[str] = []
        worker = slots.start(PROGRAM)
        worker.on_end = ended.append
        await asyncio.sleep(0)  # what was read of the old one does not concern the new one
        assert len(asked) == 2
        assert slots._slots[asked[1]].has(worker)
        assert ended == []

    _in_slots(tmp_path, start)


def test_a_second_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        before = _descriptors()
        monkeypatch.setattr(Zygote, "_send", _fails(BrokenPipeError()))
        with pytest.raises(BrokenPipeError):
            slots.start(PROGRAM)
        assert len(asked) == 2
        assert _descriptors() == before

    _in_slots(tmp_path, start)


def test_what_cannot_be_sent_for_lack_of_room_is_no_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        monkeypatch.setattr(Zygote, "_send", _fails(FULL))
        with pytest.raises(OSError, match="Too many open files"):
            slots.start(PROGRAM)
        assert len(asked) == 1
        assert not slots._slots[asked[0]].gone

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
                patched.setattr(spawn.socket, "socketpair", _fails(FULL))
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
        worker, ended = slots.start(PROGRAM), asyncio.get_running_loop().create_future()
        worker.on_end = ended.set_result
        while not ended.done():
            slots.ended(asked[-1], "it was late")
            seen = len(asked)
            while len(asked) == seen and not ended.done():
                await asyncio.sleep(0.01)
        assert len(set(asked)) == len(asked) == 1 + slots_module._TRIES
        assert "did not come up: it was late" in ended.result()

    _in_slots(tmp_path, start)


def test_the_end_of_a_slot_that_came_is_heard_by_its_socket(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        worker = slots.start(PROGRAM)
        _Slot(slots, asked[0])
        slots.ended(asked[0], "Dask has run it again")
        assert slots._slots[asked[0]].has(worker)
        assert not worker.leaving

    _in_slots(tmp_path, start)


def test_a_slot_that_waits_for_what_was_stopped_is_not_wanted(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        before = _descriptors()
        worker, ended = slots.start(PROGRAM), asyncio.get_running_loop().create_future()
        worker.on_end = ended.set_result
        worker.kill()
        slots.forget(worker)
        slots.came_up()

        assert len(asked) == 1
        assert "before it began" in await asyncio.wait_for(ended, 5)
        assert _descriptors() == before

    _in_slots(tmp_path, start)


def test_a_slot_that_comes_starts_none_that_was_stopped(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        slots.size = 1
        stopped, other = slots.start(PROGRAM), slots.start(PROGRAM)
        slots.forget(stopped)
        assert slots.waits(other)
        slot = _Slot(slots, asked[0])

        assert not slots.waits(other)
        assert len(asked) == 1
        assert slots._slots[asked[0]].workers == [other]
        assert [message["worker"] for message in slot.heard()] == [2]

    _in_slots(tmp_path, start)


async def _comes(slots: Slots, name: str, pid: int) -> socket.socket:
    """A slot that has come up: it says its name, and which process of Dask's it is in."""
    theirs = socket.socket(socket.AF_UNIX)
    theirs.connect(str(slots.path))
    theirs.sendall(pack({"slot": name, "pid": pid}))
    while not slots._told:
        await asyncio.sleep(0)
    return theirs


def test_a_slot_in_a_worker_that_leaves_already_is_retired(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        worker, retired = slots.start(PROGRAM), list[int]()
        worker.on_retire = lambda: retired.append(1)
        slots.leave([1234])
        with await _comes(slots, asked[0], 1234):
            await asyncio.wait(slots._told)
            assert retired == [1]
            slots.start(PROGRAM)
            assert len(asked) == 2

    _in_slots(tmp_path, start)


def test_one_that_came_after_those_that_left_is_not_retired(tmp_path: Path) -> None:
    async def start(slots: Slots, asked: list[str]) -> None:
        worker, retired = slots.start(PROGRAM), list[int]()
        worker.on_retire = lambda: retired.append(1)
        slots.leave([1234])
        slots.leave([])
        with await _comes(slots, asked[0], 1234):
            await asyncio.wait(slots._told)
            assert slots.busy([worker]) == [1234]
            assert retired == []

    _in_slots(tmp_path, start)


def test_a_slot_that_dies_as_it_comes_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "_AGAIN_AFTER", 0.0)

    async def start(slots: Slots, asked: list[str]) -> None:
        worker = slots.start(PROGRAM)
        used = _descriptors()
        (await _comes(slots, asked[0], 1234)).close()
        async with asyncio.timeout(5):
            while len(asked) < 2:
                await asyncio.sleep(0.01)
        assert (slots.busy([worker]), worker.leaving, _descriptors()) == ([0], False, used)
        slot = _Slot(slots, asked[1])
        assert [message["do"] for message in slot.heard()] == ["fork"]

    _in_slots(tmp_path, start)

"""Workers of an engine in its own Dask cluster.

A task of Dask's for each electron would cost more than most electrons take. So a task is a *slot*:
it has a thread of a Dask worker for as long as there are electrons, and starts a zygote there,
which forks workers as it does elsewhere (see `spawn`). What they run, print and return goes
between them and the engine, by a socket in the data folder; Dask says where there is room, and
starts anew what dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.engine.spawn import (
    Environment,
    Spawner,
    WorkerProcess,
    Zygote,
    read_at_import,
)
from qcov.wire import Unpacker, pack

_log = logging.getLogger("qcov.cluster")

_KEPT = 10.0  # seconds that a slot is kept without a worker
_SAYS_WITHIN = 10.0  # seconds for a slot to say which one it is
_WAITS = 5.0  # seconds that a slot is waited for without a word
_TRIES, _AGAIN_AFTER = 3, 1.0  # how often a slot is asked for again; seconds, doubled each time


class Slots(Spawner):
    """Starts workers in the threads of Dask's workers.

    Args:
        settings: What every worker is told besides its environment.
        path: Where to listen for slots.
        wanted: Called with the name of a slot that Dask is to make.
    """

    def __init__(self, settings: Message, path: Path, wanted: Callable[[str], None]) -> None:
        super().__init__(settings)
        self.path, self.size = path, 0  #: `size` is how many slots there is room for
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._slots: dict[str, _Slot] = {}
        self._leaving: set[int] = set()  # Dask's processes that are to go
        self._warned = False  # that electrons wait; until the next slot comes
        self._told: set[asyncio.Task[None]] = set()
        self._listening = _listening_at(path)
        self._loop.add_reader(self._listening, self._accept)

    def renew(self, worker: WorkerProcess) -> None:
        """What a worker was forked from has imported code that has changed: no more come of it."""
        self._note_renewal()
        for slot in [*self._slots.values()]:
            if slot.has(worker):
                slot.retired = True
                slot.retire()

    def forget(self, worker: WorkerProcess) -> None:
        """A worker has been stopped: a slot that waits for Dask only for it is not wanted."""
        for slot in [*self._alive().values()]:
            if not slot.attached and slot.has(worker):
                slot.take_back(worker)
                if not slot.workers:
                    slot.close()

    def waits(self, worker: WorkerProcess) -> bool:
        """Whether Dask has not made its slot yet."""
        return any(slot.has(worker) for slot in self._alive().values() if not slot.attached)

    def close(self) -> None:
        """Let all slots go, and their workers with them."""
        for slot in self._slots.values():
            slot.close()
        if self._listening.fileno() != -1:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self.path.unlink(missing_ok=True)

    # -- what is told of the cluster

    def came_up(self) -> None:
        """There is a new cluster: it knows nothing of the slots that wait."""
        self._leaving.clear()
        for name, slot in self._alive().items():
            if not slot.attached:
                self._wanted(name)

    def ended(self, name: str, reason: str) -> None:
        """A slot has ended in Dask; one that never came here is asked for again, some times."""
        slot = self._slots.get(name)
        if slot is None or slot.attached:
            return None
        slot.tries += 1
        if slot.gone or slot.tries > _TRIES:
            return slot.close(f"its slot in the Dask cluster did not come up: {reason}")
        _log.warning(
            "a slot did not come up in the Dask cluster: %s; it is asked for again", reason
        )
        del self._slots[name]
        name = secrets.token_hex(16)  # Dask may still know the other one
        self._slots[name] = slot
        self._loop.call_later(_AGAIN_AFTER * 2**slot.tries, self._want_still, name)
        return None

    def _want_still(self, name: str) -> None:
        slot = self._alive().get(name)
        if slot is not None and not slot.attached:
            self._wanted(name)

    def busy(self, workers: list[WorkerProcess]) -> list[int]:
        """The processes of Dask's that these workers are below, one for each worker."""
        slots = self._alive().values()
        return [slot.dask_worker for slot in slots for worker in workers if slot.has(worker)]

    def leave(self, processes: list[int]) -> None:
        """These processes of Dask's, and no others, are to go once their electrons have ended."""
        self._leaving = set(processes)
        for slot in [*self._alive().values()]:
            if slot.dask_worker in self._leaving:
                slot.leave()

    def exceeded(self, process: int, memory: int, limit: int, measured: float) -> None:
        """A worker was what took most below a process of Dask's that was over its limit."""
        for slot in [*self._alive().values()]:
            for worker in slot.workers:
                if worker.pid == process:
                    worker.on_excess(memory, limit, measured)

    # -- its own

    def _alive(self) -> dict[str, _Slot]:
        self._slots = {name: slot for name, slot in self._slots.items() if not slot.gone}
        return self._slots

    def _chosen(self, environment: Environment) -> Zygote:
        """A slot for one more worker: a free one, a new one, or else the one with the fewest."""
        alive = [slot for slot in self._alive().values() if not slot.retired]
        mine = [slot for slot in alive if slot.settings == _settings(environment)]
        best = min(mine, key=lambda slot: len(slot.workers), default=None)
        if best is not None and (not best.workers or len(alive) >= self.size):
            return best
        if len(alive) >= self.size:  # one of another program makes room
            idle = next((slot for slot in alive if not slot.workers), None)
            if idle is not None:
                idle.close()
        return self._begun(environment)

    def _begun(self, environment: Environment) -> Zygote:
        name = secrets.token_hex(16)
        slot = self._slots[name] = _Slot(*_settings(environment))
        slot.on_idle = partial(self._let_go_later, slot)
        self._wanted(name)
        self._loop.call_later(_WAITS, self._warn_if_waiting, slot)
        return slot

    def _warn_if_waiting(self, slot: _Slot) -> None:
        if not (slot.attached or slot.gone or self._warned):
            self._warned = True
            told = "electrons wait for a worker of the Dask cluster: `qcov cluster` says how it is"
            _log.warning(told)

    def _let_go_later(self, slot: _Slot) -> None:
        self._loop.call_later(_KEPT, self._let_go, slot)

    def _let_go(self, slot: _Slot) -> None:
        if not slot.workers:
            slot.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listening.accept()
        except OSError:  # it has hung up already
            return
        telling = self._loop.create_task(self._take(sock))
        self._told.add(telling)
        telling.add_done_callback(self._told.discard)

    async def _take(self, sock: socket.socket) -> None:
        """Take a slot that has just been made, if it is wanted."""
        sock.setblocking(False)
        said: Message = {}
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            data = await asyncio.wait_for(self._loop.sock_recv(sock, 4096), _SAYS_WITHIN)
            said = next(iter(Unpacker().feed(data)), said)
        name = str(said.get("slot"))
        slot = self._alive().get(name)
        if slot is None or slot.attached:  # Dask runs again what died: that is not wanted twice
            sock.close()
            return
        executable, library = slot.settings
        about = pack({"executable": executable, "variables": {**os.environ, **library}})
        sock.setblocking(True)
        try:
            sock.sendall(len(about).to_bytes(4, "big") + about)
            slot.attach(sock)
        except OSError as error:
            sock.close()
            self.ended(name, f"its Dask worker died: {error}")
            return
        self._warned = False
        slot.dask_worker = int(said["pid"])
        if slot.dask_worker in self._leaving:  # Dask had given it this slot before
            slot.leave()


class _Slot(Zygote):
    """A thread of a Dask worker; it forks workers once Dask has made it."""

    def __init__(self, executable: str, library: Message) -> None:
        super().__init__()
        self.settings = (executable, library)
        self.dask_worker = 0  #: the number of its process
        self.retired = False
        self.tries = 0  #: how often it has not come up

    def leave(self) -> None:
        """It is to go once the electrons in it have ended."""
        self.retired = True
        for worker in self.workers:
            worker.on_retire()
        self.retire()


def _settings(environment: Environment) -> tuple[str, Message]:
    return environment.executable, read_at_import(environment)


def _listening_at(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by an engine that was killed
    listening: Any = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(256)
    listening.setblocking(False)
    return listening

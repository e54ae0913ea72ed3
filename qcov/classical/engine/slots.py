"""Workers of an engine in its own Dask cluster.

A task of Dask's for each electron would cost more than most electrons take. So a task is a *slot*:
it has a thread of a Dask worker for as long as there are electrons, and starts zygotes there, for
whatever programs need them, which fork workers as they do elsewhere (see `spawn`). What they run,
print and return goes between them and the engine, by a socket in the data folder; Dask says where
there is room, and starts anew what dies.

A worker is only started in a slot that is there. Its electron may wait for others of a nested
dispatch, whose workers go beside it if there is no other slot: so they never wait for a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.engine.slot import Slot
from qcov.classical.engine.spawn import Environment, NoPlace, Spawner, WorkerProcess, key_of
from qcov.wire import Unpacker

_log = logging.getLogger("qcov.cluster")

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
        self.path, self._size = path, 0
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._asked: dict[str, int] = {}  # names of slots that are to come; how often they have not
        self._slots: list[Slot] = []
        self._leaving: set[int] = set()  # Dask's processes that are to go
        self._warned = False  # that electrons wait; until the next slot comes
        self._told: set[asyncio.Task[None]] = set()
        self._listening = _listening_at(path)
        self._loop.add_reader(self._listening, self._accept)

    @property
    def size(self) -> int:
        """How many slots there is room for."""
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        self._size = size
        self._tell_places()

    # -- what the pool asks

    def need(self, places: int) -> None:
        """Ask for the slots that are missing, as far as there is room for them."""
        missing = min(places, self._size) - len(self._staying()) - len(self._asked)
        for _ in range(missing):
            self._ask(0)

    def start(self, environment: Environment) -> WorkerProcess:
        """Start a worker in the slot that has fewest. Errors: those of `Spawner.start`."""
        key = key_of(environment)
        while staying := self._staying():
            slot = min(staying, key=lambda slot: (slot.load, not slot.knows(key)))
            try:
                return slot.start(environment)
            except ConnectionError:  # it has died, and we have not heard of it yet
                slot.close()
        raise NoPlace

    def renew(self, worker: WorkerProcess) -> None:
        """What a worker was forked from has imported code that has changed: no more come of it."""
        for slot in self._slots:
            if slot.has(worker):
                slot.renew(worker)

    def close(self) -> None:
        """Let all slots go, and their workers with them."""
        self._asked.clear()
        for slot in [*self._slots]:
            slot.close()
        if self._listening.fileno() != -1:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self.path.unlink(missing_ok=True)

    # -- what is told of the cluster

    def came_up(self) -> None:
        """There is a new cluster: it knows nothing of the slots that were asked for."""
        self._leaving.clear()
        self._asked.clear()
        self._tell_places()

    def ended(self, name: str, reason: str) -> None:
        """A slot has ended in Dask; one that never came here is asked for again, some times."""
        tries = self._asked.pop(name, None)
        if tries is None:
            return
        if tries < _TRIES:
            _log.warning(
                "a slot did not come up in the Dask cluster: %s; it is asked for again", reason
            )
            self._ask(tries + 1)  # by another name: Dask may still know this one
        elif not self._slots and not self._asked:
            self.on_refused(f"its slot in the Dask cluster did not come up: {reason}")

    def crowd(self) -> None:
        """Others wait for threads of Dask's: slots that run nothing are let go."""
        self.on_crowded()
        for slot in [*self._slots]:
            if not slot.load:
                slot.close()

    def busy(self, workers: list[WorkerProcess]) -> list[int]:
        """The processes of Dask's that these workers are below, one for each worker."""
        return [slot.dask_worker for slot in self._slots for each in workers if slot.has(each)]

    def leave(self, processes: list[int]) -> None:
        """These processes of Dask's, and no others, are to go once their electrons have ended."""
        self._leaving = set(processes)
        for slot in [*self._slots]:
            if slot.dask_worker in self._leaving:
                slot.leave()
        self._tell_places()

    def exceeded(self, process: int, memory: int, limit: int, measured: float) -> None:
        """A worker was what took most below a process of Dask's that was over its limit."""
        for slot in [*self._slots]:
            for worker in slot.workers:
                if worker.pid == process:
                    worker.on_excess(memory, limit, measured)

    # -- its own

    def _staying(self) -> list[Slot]:
        return [slot for slot in self._slots if not slot.leaving]

    def _tell_places(self) -> None:
        self.on_places(min(self._size, len(self._staying())))

    def _ask(self, tries: int) -> None:
        name = secrets.token_hex(16)
        self._asked[name] = tries
        if tries:
            self._loop.call_later(_AGAIN_AFTER * 2**tries, self._want_still, name)
        else:
            self._wanted(name)
        self._loop.call_later(_WAITS, self._warn_if_waiting, name)

    def _want_still(self, name: str) -> None:
        if name in self._asked:
            self._wanted(name)

    def _warn_if_waiting(self, name: str) -> None:
        if name in self._asked and not (self._slots or self._warned):
            self._warned = True
            told = "electrons wait for a worker of the Dask cluster: `qcov cluster` says how it is"
            _log.warning(told)

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
        if self._asked.pop(str(said.get("slot")), None) is None:
            sock.close()  # Dask runs again what died: that is not wanted twice
            return
        sock.setblocking(True)
        slot = Slot(self._settings, sock, int(said["pid"]), self._renewed, self._lose)
        self._slots.append(slot)
        self._warned = False
        if slot.dask_worker in self._leaving:  # Dask had given it this slot before
            slot.leave()
        self._tell_places()

    def _lose(self, slot: Slot) -> None:
        self._slots.remove(slot)
        self._tell_places()


def _listening_at(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by an engine that was killed
    listening: Any = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(256)
    listening.setblocking(False)
    return listening

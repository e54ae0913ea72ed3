"""A slot in the own Dask cluster as the engine sees it (see `slots`); `cluster_slot` runs there."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable

from qcov.classical.engine.channel import Message
from qcov.classical.engine.spawn import (
    Environment,
    Spawner,
    WorkerProcess,
    Zygote,
    ZygoteKey,
    key_of,
    read_at_import,
    send_with,
)

_KEPT = 10.0  # seconds that a slot, or a zygote in it, is kept without a worker


class Slot(Spawner):
    """A thread of a Dask worker; it starts zygotes, and has workers forked from them.

    Args:
        settings: What every worker is told besides its environment.
        sock: It listens on the other end of this socket, until that is closed.
        dask_worker: The number of the process that it is in.
        renewed: When what workers were forked from had to be made anew, in any slot.
        lost: Called once it is gone.
    """

    def __init__(
        self,
        settings: Message,
        sock: socket.socket,
        dask_worker: int,
        renewed: deque[float],
        lost: Callable[[Slot], None],
    ) -> None:
        super().__init__(settings)
        self.dask_worker, self._renewed, self._lost = dask_worker, renewed, lost
        self.leaving = self.gone = False
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self.close)  # it says nothing: its process has ended
        self._rest()

    @property
    def workers(self) -> list[WorkerProcess]:
        """All that were started here and have not ended."""
        zygotes = (*self._zygotes.values(), *self._retired)
        return [worker for zygote in zygotes for worker in zygote.workers]

    @property
    def load(self) -> int:
        """How many workers it has that have not been let go."""
        return sum(not worker.dismissed for worker in self.workers)

    def has(self, worker: WorkerProcess) -> bool:
        """True if this one was started here."""
        return worker in self.workers

    def knows(self, key: ZygoteKey) -> bool:
        """Whether there is a zygote for it (see `key_of`)."""
        return key in self._zygotes and not self._zygotes[key].gone

    def leave(self) -> None:
        """It is to go once the electrons in it have ended."""
        self.leaving = True
        for worker in self.workers:
            worker.on_retire()
        self._rest()

    def close(self) -> None:
        """Give the thread back; its workers end."""
        if self.gone:
            return
        self.gone = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        super().close()
        self._lost(self)

    def _begun(self, environment: Environment) -> Zygote:
        executable = environment.executable
        if not os.access(executable, os.X_OK):  # there it could not be said as well
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), executable)
        variables = {**os.environ, **read_at_import(environment)}
        asked: Message = {"executable": executable, "variables": variables}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                send_with(self._socket, asked, [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        zygote = self._zygotes[key_of(environment)] = Zygote(ours)
        zygote.on_idle = self._rest
        return zygote

    def _rest(self) -> None:
        """Let go what has no workers, if it stays so."""
        if self.leaving and not self.workers:
            self.close()
        elif not self.gone:
            self._loop.call_later(_KEPT, self._let_go)

    def _let_go(self) -> None:
        for key, zygote in [*self._zygotes.items()]:
            if not zygote.workers:
                del self._zygotes[key]
                zygote.close()
        if not self.workers:
            self.close()

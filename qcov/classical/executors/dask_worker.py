"""What runs in a worker of a Dask cluster: an electron at a time for each of its threads.

A thread of Python cannot be stopped, so each thread of a worker has a process beside it that runs
its electrons. It is kept as long as electrons of one program come, and ended with an electron that
is cancelled or overruns. The process ends with its worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from qcov.classical.executors.dask_client import versions
from qcov.classical.executors.dask_surroundings import fetched
from qcov.wire import Unpacker, pack, unpack

_LOOKS = 0.1  # seconds between two looks whether an electron was taken back
_LAST_WORDS = 1 << 16  # bytes of each stream that are kept of a process that died
_READS = 1 << 20
_ROOT = str(Path(__file__).parents[3])
#: Our own package comes last on the path: an installed one wins.
_BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from qcov.classical.engine.dask_child import main; main()"
)
_NOTHING: Mapping[str, Any] = {
    "reason": "",
    "stdout": "",
    "stderr": "",
    "circuits": [],
    "value": None,
    "digest": None,
    "text": "",
    "memory": 0,
    "limit": 0,
}


def run_electron(asked: bytes) -> bytes:
    """Run an electron in the process beside this thread; all that came of it, as data."""
    message: dict[str, Any] = unpack(asked)
    if message["versions"] != versions():
        reason = f"a worker has {_told(versions())}, this program has {_told(message['versions'])}"
        return pack({**_NOTHING, "did": "refused", "reason": reason})
    if not _claimed(message["name"]):
        reason = "its Dask worker died"
        return pack({**_NOTHING, "did": "lost", "reason": reason})
    message["surroundings"] = fetched(message["surroundings"])
    answer = _process_for(message).run(message, _is_taken_back())
    return pack({**_NOTHING, **answer})


def exceeded(process: int, memory: int, limit: int, measured: float) -> None:
    """What runs an electron took most below this worker when that was over its limit: end it."""
    running = _running.get(process)
    if running is not None:
        running.excess = (memory, limit, measured)


def _told(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _claimed(name: str) -> bool:
    """Claim an electron; False if another worker has begun with it, and has died since.

    Dask runs again what it had given to a worker that died. An electron may have done something
    that must not be done twice: whether it is tried again is for its `retries` to say.
    """
    distributed: Any = importlib.import_module("distributed")
    event = distributed.Event(name, client=distributed.get_client())
    if event.is_set():
        return False
    event.set()
    return True


def _is_taken_back() -> Callable[[], bool]:
    """Whether the task that runs in this thread is not wanted any more."""
    distributed: Any = importlib.import_module("distributed")
    worker = distributed.get_worker()
    key = worker.get_current_task()

    def look() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return look


class _Process:
    """A process that runs electrons, one after the other.

    Args:
        key: What it is made for; see `_key_of`.
        executable: Its interpreter.
    """

    def __init__(self, key: str, executable: str) -> None:
        self.key = key
        #: how much memory the worker took, how much it may take, and when it was too much
        self.excess: tuple[int, int, float] = (0, 0, -math.inf)
        self._socket, theirs = socket.socketpair()
        self._files = _unnamed_file(), _unnamed_file()
        self._unpacker = Unpacker()
        self._said: deque[dict[str, Any]] = deque()
        numbers = [theirs.fileno(), *(file.fileno() for file in self._files)]
        with theirs:
            self._process = subprocess.Popen(
                [executable, "-P", "-c", _BOOT, _ROOT, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                pass_fds=numbers,
                start_new_session=True,  # what an electron starts ends with it
            )

    @property
    def alive(self) -> bool:
        """True if it can run another electron."""
        return self._process.poll() is None

    def run(self, asked: Mapping[str, Any], taken_back: Callable[[], bool]) -> dict[str, Any]:
        """Run an electron; what came of it."""
        _running[self._process.pid] = self
        try:
            answer = self._answer(asked, taken_back)
        finally:
            del _running[self._process.pid]
        if answer["did"] != "outdated":
            return answer
        self.close()
        return _process_for(asked).run(asked, taken_back)

    def _answer(self, asked: Mapping[str, Any], taken_back: Callable[[], bool]) -> dict[str, Any]:
        at = [os.fstat(file.fileno()).st_size for file in self._files]
        began, limit = math.inf, asked["time_limit"]  # its process has to start first
        try:
            self._socket.sendall(pack({**asked, "versions": None}))
            while (answer := self._heard()) is None or answer["did"] == "begun":
                if answer is not None:
                    began = time.monotonic()
                if taken_back():
                    return self._stopped("lost", "it was cancelled", at)
                if limit is not None and time.monotonic() > began + limit:
                    return self._stopped("overran", "", at)
                memory, allowed, measured = self.excess
                if measured > began:
                    return self._stopped("exceeded", "", at) | {"memory": memory, "limit": allowed}
        except OSError:  # it is gone
            return self._stopped("lost", self._end(), at)
        return answer

    def close(self) -> None:
        """End it, and everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _heard(self) -> dict[str, Any] | None:
        """What it says next; None if that is not there yet. Raises `OSError` if it is gone."""
        if self._said:
            return self._said.popleft()
        readable, _, _ = select.select([self._socket], [], [], _LOOKS)
        if not readable:
            return None
        data = self._socket.recv(_READS)
        if not data:
            raise ConnectionResetError
        self._said.extend(self._unpacker.feed(data))
        return self._said.popleft() if self._said else None

    def _stopped(self, did: str, reason: str, begun: list[int]) -> dict[str, Any]:
        self.close()
        out, err = (
            os.pread(file.fileno(), _LAST_WORDS, at).decode(errors="backslashreplace")
            for file, at in zip(self._files, begun, strict=True)
        )
        return {"did": did, "reason": reason, "stdout": out, "stderr": err}

    def _end(self) -> str:
        """How it has ended, in words."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"


def _unnamed_file() -> IO[bytes]:
    """A file that is gone when nobody has it open; what is written goes to its end."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it is open as long as the process lives
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file


_here = threading.local()
_running: dict[int, _Process] = {}  # by number; what runs electrons now


def _process_for(asked: Mapping[str, Any]) -> _Process:
    """The process beside this thread, made anew if it was another program's."""
    surroundings: Mapping[str, Any] = asked["surroundings"] or {}
    key = json.dumps(surroundings, sort_keys=True)
    process: _Process | None = getattr(_here, "process", None)
    if process is not None and (process.key != key or not process.alive):
        process.close()
        process = None
    if process is None:
        process = _here.process = _Process(key, surroundings.get("executable") or sys.executable)
    return process

"""What runs in a worker of a Dask cluster: an electron at a time for each of its threads.

A thread of Python cannot be stopped, so each electron runs in a process beside the worker. That is
kept for a minute for the next one of the same program, and ended with an electron that is cancelled
or overruns. The process ends with its worker. The thread of an electron that waits for another
dispatch goes to others: there may be no other one for what it waits for.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from qcov.classical.executors.dask_client import versions
from qcov.classical.executors.dask_surroundings import fetched
from qcov.peer import has_said
from qcov.wire import Unpacker, pack, unpack

_LOOKS = 0.1  # seconds between two looks whether an electron was taken back
_KEPT = 60.0  # seconds that a process is kept without an electron
_ENDS = {"closing", "closed", "failed"}  # how a worker is that ends
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
    """Run an electron in a process of its program; all that came of it, as data."""
    message: dict[str, Any] = unpack(asked)
    if message["versions"] != versions():
        reason = f"a worker has {_told(versions())}, this program has {_told(message['versions'])}"
        return pack({**_NOTHING, "did": "refused", "reason": reason})
    if not _claimed(message["name"]):
        reason = "its Dask worker died"
        return pack({**_NOTHING, "did": "lost", "reason": reason})
    try:
        message["surroundings"] = fetched(message["surroundings"])
    except (ConnectionError, TimeoutError) as error:
        how = "is gone" if isinstance(error, ConnectionError) else "does not answer"
        reason = f"the program that gave it to Dask {how}"
        return pack({**_NOTHING, "did": "lost", "reason": reason})
    return pack({**_NOTHING, **_answer_to(message, _Task())})


def _answer_to(message: Mapping[str, Any], task: _Task) -> dict[str, Any]:
    while True:
        process = _process_for(message)
        try:
            answer = process.run(message, task)
        except BaseException:
            process.close()
            raise
        if answer["did"] != "outdated":
            _keep(process, at_most=task.threads)
            return answer
        process.close()


def exceeded(process: int, memory: int, limit: int, measured: float) -> None:
    """What runs an electron took most below this worker when that was over its limit: end it.

    Dask calls it in the thread by which the worker hears and answers, so it does not wait for the
    end: what a large process had takes the system a while to take back.
    """
    running = _running.get(process)
    if running is not None:
        running.excess = (memory, limit, measured)
        return
    with _idle_lock:
        idle = [each for each in _idle if each.pid == process]
    for each in idle:  # it keeps what an electron has left
        if _withdrawn(each):
            each.kill()
            threading.Thread(target=each.close, name="qcov-close", daemon=True).start()


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


class _Task:
    """The task of Dask's that runs in this thread."""

    def __init__(self) -> None:
        self._distributed: Any = importlib.import_module("distributed")
        self._worker = self._distributed.get_worker()
        self._key = self._worker.get_current_task()
        self._aside = False

    @property
    def threads(self) -> int:
        """How many its worker has."""
        return self._worker.state.nthreads

    @property
    def unwanted(self) -> bool:
        """True once it was taken back, or its worker ends, as one does that lost its scheduler."""
        task = self._worker.state.tasks.get(self._key)
        return task is None or task.state == "cancelled" or self._worker.status.name in _ENDS

    def step_aside(self) -> None:
        """Let the worker have another thread in the place of this one, which ends with the task."""
        if not self._aside:
            self._aside = True
            self._distributed.secede()


class _Process:
    """A process that runs electrons, one after the other.

    Args:
        key: What it is made for; see `_process_for`.
        executable: Its interpreter.
    """

    def __init__(self, key: str, executable: str) -> None:
        self.key = key
        self.end_later = threading.Timer(0, self.close)
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
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True if it can run another electron."""
        return self._process.poll() is None

    def run(self, asked: Mapping[str, Any], task: _Task) -> dict[str, Any]:
        """Run an electron; what came of it."""
        _running[self._process.pid] = self
        try:
            return self._answer(asked, task)
        finally:
            del _running[self._process.pid]

    def _answer(self, asked: Mapping[str, Any], task: _Task) -> dict[str, Any]:
        at = [os.fstat(file.fileno()).st_size for file in self._files]
        began, limit = math.inf, asked["time_limit"]  # its process has to start first
        try:
            self._socket.sendall(pack({**asked, "versions": None}))
            while (answer := self._heard()) is None or answer["did"] in {"begun", "waits"}:
                if answer is not None and answer["did"] == "begun":
                    began = time.monotonic()
                elif answer is not None and answer["name"] == asked["name"]:
                    task.step_aside()
                if task.unwanted:
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
        if self._socket.fileno() == -1:  # others may have its number by now
            return
        self.kill()
        self._process.wait()
        self._socket.close()

    def kill(self) -> None:
        """Begin to end it; `close` has to follow."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _heard(self) -> dict[str, Any] | None:
        """What it says next; None if that is not there yet. Raises `OSError` if it is gone."""
        if self._said:
            return self._said.popleft()
        if not has_said(self._socket, _LOOKS):
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


_running: dict[int, _Process] = {}  # by number; what runs electrons now
_idle: list[_Process] = []
_idle_lock = threading.Lock()


def _process_for(asked: Mapping[str, Any]) -> _Process:
    """A process that was kept of an electron's program, or a new one."""
    surroundings: Mapping[str, Any] = asked["surroundings"] or {}
    key = json.dumps(surroundings, sort_keys=True)
    with _idle_lock:
        kept = next((process for process in reversed(_idle) if process.key == key), None)
        if kept is not None:
            _idle.remove(kept)
    if kept is None:
        return _Process(key, surroundings.get("executable") or sys.executable)
    kept.end_later.cancel()
    if kept.alive:
        return kept
    kept.close()
    return _process_for(asked)


def _keep(process: _Process, *, at_most: int) -> None:
    """Keep a process for the next electron of its program, unless there are enough."""
    if not process.alive:
        process.close()
        return
    process.end_later = threading.Timer(_KEPT, _let_go, [process])
    process.end_later.daemon = True
    with _idle_lock:
        _idle.append(process)
        process.end_later.start()
        surplus = _idle[: max(0, len(_idle) - at_most)]
    for each in surplus:
        _let_go(each)


def _let_go(process: _Process) -> None:
    if _withdrawn(process):
        process.close()


def _withdrawn(process: _Process) -> bool:
    """Withdraw a process that is kept; False if it has been taken."""
    with _idle_lock:
        if process not in _idle:
            return False
        _idle.remove(process)
    process.end_later.cancel()
    return True

"""Starting worker processes of simulators, seen from the process that owns them.

The first one starts the zygote, a clean interpreter that imports PennyLane once; all others are
forked from it. It is never a fork of the user's process (which hangs after JAX was used), and never
a pool that imports `__main__` again (which breaks unguarded scripts, standard input, notebooks).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any

from qcov.qexecutors.frames import read_frame, write_frame

_IMPORT, _FORK = 2.0, 0.1  # seconds that starting the zygote takes, and forking workers from it
_GRACE = 2.0  # seconds that a worker gets to end by itself
#: Every worker has a core or so of its own, and circuits are spread over the workers.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def _thread_limits() -> dict[str, str]:
    """The environment of the workers: one thread each, unless the user's says otherwise."""
    environment = {**_ONE_THREAD, **os.environ}
    # Lightning asks for more threads than OMP_NUM_THREADS from 18 qubits on, and they wait for
    # work by spinning: one circuit takes the time of two cores. Only the limit holds there.
    if environment["OMP_NUM_THREADS"].isdecimal():
        environment.setdefault("OMP_THREAD_LIMIT", environment["OMP_NUM_THREADS"])
    return environment


class ForkedWorker:
    """One worker process.

    Args:
        setup: The blob that it is sent first.
    """

    def __init__(self, setup: bytes) -> None:
        zygote = _zygote()
        ours, theirs = socket.socketpair()
        with theirs:
            self.pid = zygote.fork(theirs)
        self._setup: bytes | None = setup
        self._connection = ours
        self._sending, self._receiving = ours.makefile("wb"), ours.makefile("rb")
        streams = (self._sending, self._receiving, ours)
        self._end = weakref.finalize(self, _end, zygote, self.pid, streams, os.getpid())

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its reply; EOFError or OSError if the worker died."""
        if self._setup is not None:
            write_frame(self._sending, self._setup)
            self._setup = None
        write_frame(self._sending, request)
        return read_frame(self._receiving)

    def is_alive(self) -> bool:
        """Whether it still waits for requests; an idle worker has nothing to say."""
        try:
            return bool(self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> int | None:
        """End the process; its exit code."""
        return self._end()


class _Zygote:
    """The process that forks workers; started on first use, and again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-P", "-m", "qcov.qexecutors.simulator_zygote",
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**_thread_limits(), "PYTHONPATH": os.pathsep.join(_search_path())},
            )  # fmt: skip
        weakref.finalize(self, _close, self._control, self.process, os.getpid())

    def fork(self, descriptor: socket.socket) -> int:
        """Start a worker on its end of a socket pair; its process id."""
        message = {"do": "fork", "path": _search_path()}
        return self._ask(message, [descriptor.fileno()])["pid"]

    def end(self, pid: int) -> int | None:
        """Wait for a worker to end, or make it; its exit code, None if nobody knows."""
        try:
            return self._ask({"do": "end", "pid": pid, "grace": _GRACE})["code"]
        except (OSError, EOFError):
            return None

    def _ask(self, message: dict[str, Any], descriptors: list[int] | None = None) -> dict[str, Any]:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._control, [data], descriptors or [])
            self._control.sendall(data[sent:])
            answer = b""
            while not answer.endswith(b"\n"):
                part = self._control.recv(1 << 16)
                if not part:
                    raise EOFError
                answer += part
        return json.loads(answer)


_current: _Zygote | None = None
_starting = threading.Lock()


def _zygote() -> _Zygote:
    global _current
    with _starting:
        if _current is None or _current.process.poll() is not None:
            _current = _Zygote()
        return _current


def seconds_to_start() -> float:
    """About how long it takes until a new worker can be used."""
    current = _current
    return _IMPORT if current is None or current.process.poll() is not None else _FORK


def _forget_parent() -> None:
    global _current, _starting
    _current, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)


def _search_path() -> list[str]:
    """Where this program imports from, with the folder that `""` stands for."""
    try:
        here = os.getcwd()  # noqa: PTH109  # as Python itself has it
    except FileNotFoundError:  # it was deleted: nothing can be imported from it
        return [entry for entry in sys.path if entry]
    return [entry or here for entry in sys.path]


def _end(zygote: _Zygote, pid: int, streams: tuple[Any, ...], owner: int) -> int | None:
    if os.getpid() != owner:  # a fork of the owner: its parent still needs the worker
        return None
    *files, connection = streams
    with suppress(OSError):  # a fork of this process may hold the other copy of it
        connection.shutdown(socket.SHUT_RDWR)
    for stream in (*files, connection):
        with suppress(OSError):
            stream.close()
    return zygote.end(pid)


def _close(control: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    with suppress(OSError):
        control.shutdown(socket.SHUT_RDWR)
    control.close()
    process.wait()

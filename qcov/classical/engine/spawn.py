"""How the engine starts worker processes, and learns of their ends.

A zygote forks the workers; each worker gets one end of a socket pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qcov.classical.engine.channel import Message, WorkerChannel
from qcov.classical.engine.streams import Part, Tail, unnamed_file
from qcov.wire import Unpacker, pack

#: So many renewals within so many seconds, and workers begin even if code changes once more.
_RENEWALS, _IN_SHORT = 3, 60.0
_REASON_WAIT = 10.0  # seconds to wait for the zygote's word on how a worker ended
_REST_WAIT = 1.0  # seconds to wait for what a worker that has ended had still sent

ZygoteKey = tuple[str, bool, frozenset[tuple[str, str]]]

#: Our own package comes last on the zygote's path: an installed one wins.
_BOOT = (
    "import sys; sys.path.append(sys.argv[2]); "
    "from qcov.classical.engine.zygote import main; main(int(sys.argv[1]))"
)
#: Variables that libraries look at when they are imported, which the zygote does.
_READ_AT_IMPORT = ("CUDA_", "JAX_", "KMP_", "MKL_", "OMP_", "OPENBLAS_", "XLA_")
_ROOT = str(Path(__file__).parents[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a worker must be like to run a program's electrons."""

    key: str  #: equal for equal environments
    executable: str = field(compare=False)
    cwd: str = field(compare=False)
    sys_path: tuple[str, ...] = field(compare=False)
    preload: tuple[str, ...] = field(compare=False)
    variables: Message = field(compare=False, repr=False)

    @classmethod
    def from_json(cls, described: Message, variables: Message) -> Environment:
        """From a manifest's `environment`, and the program's environment variables."""
        executable, cwd = described["executable"], described["cwd"]
        sys_path = tuple(described["sys_path"])
        content = json.dumps([executable, cwd, sys_path, sorted(variables.items())])
        return cls(
            key=hashlib.sha256(content.encode()).hexdigest(),
            executable=executable,
            cwd=cwd,
            sys_path=sys_path,
            preload=tuple(described["preload"]),
            variables=variables,
        )

    def importing(self, package: str) -> Environment:
        """The same, for workers that all need a package."""
        return replace(self, preload=(*self.preload, package))


class WorkerProcess:
    """A worker as seen from the engine; its `on_...` are set by whoever uses it.

    Args:
        sock: Our end of its channel.
        files: Where its standard output and error go.
    """

    def __init__(self, sock: socket.socket, files: Sequence[int]) -> None:
        self.pid: int | None = None
        self.on_message: Callable[[Message], None] = lambda _message: None
        self.on_end: Callable[[str], None] = lambda _reason: None
        #: Called when it is to take no more electrons, and to go when it has none.
        self.on_retire: Callable[[], None] = lambda: None
        #: Called when too much memory is in use, of which it has most: how much, how much may be,
        #: and when that was measured.
        self.on_excess: Callable[[int, int, float], None] = lambda _memory, _limit, _measured: None
        self._reason: str | None = None
        self._closed = False
        self._killed = False
        self._told = False
        self.dismissed = False  #: it has been let go
        self._queued: list[Message] = []
        self._files = files
        self._tails = [Tail(file) for file in files]
        self.channel = WorkerChannel(sock, self._received, self._hung_up)

    def send(self, message: Message) -> None:
        """Send it a message."""
        self.channel.send(message)

    def queue(self, message: Message) -> None:
        """Send it a message with the next `flush`."""
        self._queued.append(message)

    def flush(self) -> bool:
        """Send what was queued, at once; False if it is known not to have arrived."""
        queued, self._queued = self._queued, []
        return not queued or self.channel.send(*queued)

    @property
    def leaving(self) -> bool:
        """True once its end is known of, if not yet the reason."""
        return self._closed or self._reason is not None

    def dismiss(self) -> None:
        """Let it go: it ends when its channel closes."""
        self.dismissed = True
        self.channel.close()

    def kill(self) -> None:
        """Stop it and everything that it has started."""
        self._killed = True
        if self.pid is not None:
            kill_group(self.pid)

    def born(self, pid: int) -> None:
        """The zygote has forked it."""
        self.pid = pid
        if self._killed:
            kill_group(pid)

    def ended(self, reason: str) -> None:
        """The zygote has seen its end."""
        self._reason = reason
        if self.pid is not None:
            kill_group(self.pid)  # what it has started goes with it
        if self._closed:
            asyncio.get_running_loop().call_soon(self._tell)
        else:  # there may be more to read; but what left its group could hold its end for ever
            asyncio.get_running_loop().call_later(_REST_WAIT, self._tell)

    def drop(self) -> None:
        """It was never born."""
        self.channel.close()
        _close_all(self._files)

    def printed(self) -> Message:
        """What its electron has printed that it could not report any more."""
        out, err = (tail.read(final=True) for tail in self._tails)
        return {"stdout": out, "stderr": err}

    def glance(self, after: Sequence[int]) -> list[Part]:
        """What the electron that it runs has printed after these positions of its two streams."""
        return [tail.glance(at) for tail, at in zip(self._tails, after, strict=True)]

    def _received(self, message: Message) -> None:
        for tail, at in zip(self._tails, message.get("read", ()), strict=False):
            tail.move(at, begin=message["did"] == "outcome")
        self.on_message(message)

    def _hung_up(self) -> None:
        """All that it had sent has been read."""
        self._closed = True
        if self._reason is not None:
            self._tell()
        else:
            asyncio.get_running_loop().call_later(_REASON_WAIT, self._tell)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self.channel.close()
            self.on_end(self._reason or "it hung up without a word")
            _close_all(self._files)


def kill_group(pid: int) -> None:
    """Stop the processes of a group; there may be none left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class NoPlace(Exception):
    """There is no place for a worker now: the pool hears of it when there is one."""


class Spawner:
    """Starts workers; keeps zygotes per interpreter and libraries' settings.

    Where places for workers come and go, the pool is told by `on_...`, which it sets.

    Args:
        settings: What every worker is told besides its environment.
    """

    def __init__(self, settings: Message) -> None:
        self._settings = settings
        self._zygotes: dict[ZygoteKey, Zygote] = {}
        self._retired: list[Zygote] = []
        self._renewed: deque[float] = deque(maxlen=_RENEWALS)
        #: Called with how many places there are, when that changes.
        self.on_places: Callable[[int], None] = lambda _places: None
        #: Called when others need the places of idle workers.
        self.on_crowded: Callable[[], None] = lambda: None
        #: Called when there is no place, and none can be had, with the reason.
        self.on_refused: Callable[[str], None] = lambda _reason: None

    def need(self, places: int) -> None:
        """So many workers would have something to do, those there are included."""

    def start(self, environment: Environment) -> WorkerProcess:
        """Start a worker; messages may be sent to it at once.

        Raises:
            NoPlace: it must wait until there is a place.
            OSError: it cannot be started.
        """
        settings = self._settings_for(environment)
        worker, ends = _unborn()  # first: where this fails, no zygote is to blame
        try:
            zygote = self._chosen(environment)
            try:
                zygote.fork(worker, ends, settings, environment.preload)
            except ConnectionError:  # it has died, and we have not heard of it yet
                zygote.close()
                zygote = self._begun(environment)
                zygote.fork(worker, ends, settings, environment.preload)
        except OSError:
            worker.drop()
            _close_all(ends)
            raise
        return worker

    def _chosen(self, environment: Environment) -> Zygote:
        """The zygote that one more worker is forked from."""
        zygote = self._zygotes.get(key_of(environment))
        return self._begun(environment) if zygote is None or zygote.gone else zygote

    def _begun(self, environment: Environment) -> Zygote:
        """A new one."""
        library = read_at_import(environment)
        zygote = self._zygotes[key_of(environment)] = _started(environment.executable, library)
        return zygote

    def _settings_for(self, environment: Environment) -> Message:
        return {
            **self._settings,
            "cwd": environment.cwd,
            "sys_path": list(environment.sys_path),
            "variables": environment.variables,
            "hurried": self._hurried(),
        }

    def _hurried(self) -> bool:
        """True if code changes so often that no worker would ever be up to date."""
        recent = len(self._renewed) == _RENEWALS
        return recent and time.monotonic() - self._renewed[0] < _IN_SHORT

    def renew(self, worker: WorkerProcess) -> None:
        """What a worker was forked from has imported code that has changed: no more come of it."""
        self._note_renewal()
        self._retired = [zygote for zygote in self._retired if not zygote.gone]
        for key, zygote in list(self._zygotes.items()):
            if zygote.has(worker):
                del self._zygotes[key]
                self._retired.append(zygote)
                zygote.retire()

    def _note_renewal(self) -> None:
        self._renewed.append(time.monotonic())

    def close(self) -> None:
        """Let all zygotes go, and their workers with them."""
        for zygote in (*self._zygotes.values(), *self._retired):
            zygote.close()


def key_of(environment: Environment) -> ZygoteKey:
    """Equal for environments whose workers are forked from one zygote."""
    library = read_at_import(environment)
    # what needs no imports must not wait for them: it has a zygote of its own
    return environment.executable, bool(environment.preload), frozenset(library.items())


def _unborn() -> tuple[WorkerProcess, list[int]]:
    """A worker that is yet to be forked, and what it is to have of its channel and files."""
    with contextlib.ExitStack() as undone:
        ours, theirs = socket.socketpair()
        undone.callback(ours.close)
        undone.callback(theirs.close)
        files, ends = list[int](), list[int]()
        undone.callback(lambda: _close_all([*files, *ends]))
        for _ in range(2):
            files.append(unnamed_file())
        for descriptor in (theirs.fileno(), *files):
            ends.append(os.dup(descriptor))
        worker = WorkerProcess(ours, files)
        undone.pop_all()
        theirs.close()
    return worker, ends


def read_at_import(environment: Environment) -> Message:
    """The variables of a program that its libraries look at when they are imported."""
    return {
        name: value
        for name, value in environment.variables.items()
        if name.startswith(_READ_AT_IMPORT)
    }


def zygote_process(
    executable: str, descriptor: int, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a zygote that is asked over a descriptor."""
    return subprocess.Popen(
        [executable, "-P", "-c", _BOOT, str(descriptor), _ROOT],
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        env=variables,
    )


def _started(executable: str, variables: Message) -> Zygote:
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = zygote_process(executable, theirs.fileno(), {**os.environ, **variables})
        except OSError:
            ours.close()
            raise
    return Zygote(ours, process)


class Zygote:
    """A zygote as seen from the engine.

    Args:
        sock: It listens on the other end of this socket.
        process: It, if it is a child of this process.
    """

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self.gone = False
        self._retiring = False
        self._loop = asyncio.get_running_loop()
        self._workers: dict[int, WorkerProcess] = {}
        self._by_pid: dict[int, WorkerProcess] = {}
        self._numbers = 0
        self._preloaded: set[str] = set()
        self._unpacker = Unpacker()
        self._process = process
        self._socket = sock
        self._loop.add_reader(sock, self._read)
        self.on_idle: Callable[[], object] = lambda: None  #: called when it has no workers any more

    def fork(
        self,
        worker: WorkerProcess,
        ends: list[int],
        settings: Message,
        preload: tuple[str, ...],
    ) -> None:
        """Have it fork a worker, to which messages may be sent at once.

        Args:
            worker: The worker as we see it.
            ends: Its ends of channel and files, which are closed once they are sent.
            settings: What it is told.
            preload: What is imported before.

        Raises:
            ConnectionError: the zygote has died; the ends are as they were.
        """
        missing = [name for name in preload if name not in self._preloaded]
        if missing:
            self._send({"do": "preload", "modules": missing}, [])
            self._preloaded.update(missing)
        request = {"do": "fork", "worker": self._numbers + 1, "settings": settings}
        self._send(request, ends)
        self._numbers += 1
        self._workers[self._numbers] = worker

    def _send(self, message: Message, descriptors: list[int]) -> None:
        """Send a message, with descriptors that are closed once they are sent."""
        send_with(self._socket, message, descriptors)
        _close_all(descriptors)

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            return
        for message in self._unpacker.feed(data):
            if message["did"] == "fork":
                worker = self._workers.pop(message["worker"])
                if message["pid"] is None:
                    worker.ended(message["error"])
                    continue
                self._by_pid[message["pid"]] = worker
                worker.born(message["pid"])
            elif message["pid"] in self._by_pid:
                self._by_pid.pop(message["pid"]).ended(message["reason"])
        if not self.workers:
            self.on_idle()
        self._end_if_done()

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those that it has forked, or will have."""
        return [*self._workers.values(), *self._by_pid.values()]

    def has(self, worker: WorkerProcess) -> bool:
        """True if it has forked this one."""
        return worker in self._workers.values() or worker in self._by_pid.values()

    def retire(self) -> None:
        """End once the last of its workers has."""
        self._retiring = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._retiring and not self._workers and not self._by_pid:
            self.close()

    def close(self, reason: str = "the process that it was forked from has ended") -> None:
        """End it, and its workers."""
        if self.gone:
            return
        self.gone = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for worker in self.workers:
            worker.ended(reason)
        self._workers.clear()
        self._by_pid.clear()
        self.on_idle()


def send_with(sock: socket.socket, message: Message, descriptors: list[int]) -> None:
    """Send a message, and descriptors with its first bytes."""
    if descriptors:
        socket.send_fds(sock, [pack(message)], descriptors)
    else:
        sock.sendall(pack(message))


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

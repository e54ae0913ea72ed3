"""How a program reaches its engine: find it, start it if need be, ask it.

A connection belongs to the thread and the process that opened it, so that threads do not wait for
each other and a forked child opens its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from qcov import private_file
from qcov.classical.engine.channel import PROTOCOL, BlockingChannel, Message, unpack_error
from qcov.config import data_dir, get_config
from qcov.errors import ConnectionLost, EngineUnavailable, StoreUnavailable
from qcov.peer import is_ours
from qcov.store.blobs import variables_for
from qcov.version import __version__

#: It goes on in a child whose parent ends at once: the engine is nobody's child to wait for.
_BOOT = (
    "import os, sys; os.fork() and os._exit(0); sys.path.append(sys.argv.pop(1)); "
    "from qcov.classical.engine.process import main; main()"
)
_ANSWERS_WITHIN = 30.0  # seconds: an engine that lives answers a ping in a hundredth of one
_GRACE = 5.0  # seconds for what is overdue
#: Verbs that are answered when something has happened: after their `timeout`, or whenever it is.
#: Others may take long too, while the engine is busy, the disk full or a database away: they are
#: given up only if the process was paused.
_WAITING = frozenset({"outcome", "progress", "run"})
TRIES = 5  #: how often a request is made before an engine that breaks is reported
_ROOT = str(Path(__file__).parents[3])


class Client:
    """A connection to the engine of a data folder."""

    def __init__(self, sock: socket.socket, folder: Path) -> None:
        self.folder = folder
        self._socket = sock
        self._channel = BlockingChannel(sock)
        self._number = 0
        self._limit: float | None = None

    def call(self, verb: str, **arguments: Any) -> Any:
        """Ask the engine; its errors are raised here.

        Raises `EngineUnavailable` if it does not answer in time: it was paused, or is busy.
        """
        return self._ask(verb, arguments, _overdue_after(verb, arguments))

    def _ask(self, verb: str, arguments: Message, limit: float | None) -> Any:
        self._number += 1
        try:
            self._set_limit(limit)
            request = {"number": self._number, "verb": verb, "arguments": arguments}
            self._channel.send(request)
            answer = self._receive(may_take_long=verb not in {*_WAITING, "ping"})
        except TimeoutError as error:
            self.close()
            raise _overdue(self.folder) from error
        except (OSError, EOFError) as error:
            self.close()
            raise ConnectionLost(
                address=str(self.folder),
                reason="it went away in the middle of a request",
                advice="What it had acknowledged is safe; ask again.",
            ) from error
        if "error" in answer:
            raise unpack_error(answer["error"])
        return answer["value"]

    def ping(self, within: float | None = None) -> Message:
        """Ask how it is, and expect an answer in so many seconds."""
        return self._ask("ping", {}, _ANSWERS_WITHIN if within is None else within)

    def _receive(self, *, may_take_long: bool) -> Message:
        while True:
            try:
                for message in self._channel.receive():
                    return message
            except TimeoutError:
                if not may_take_long or _is_paused(_pid(self.folder)):
                    raise

    def _set_limit(self, seconds: float | None) -> None:
        if seconds != self._limit:
            self._socket.settimeout(seconds)
            self._limit = seconds

    @property
    def hung_up(self) -> bool:
        """True if the engine has left since the last answer."""
        return self._channel.readable(0)  # nothing is asked, so only the end can be there

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __del__(self) -> None:
        self.close()  # its thread has ended, or the program


class _Connections(threading.local):
    """This thread's connections, per process and data folder."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, Path], Client] = {}


_connections = _Connections()


def call(verb: str, **arguments: Any) -> Any:
    """Ask the engine of the configured data folder, starting it if need be.

    A connection that breaks is opened again, and the engine started again: all verbs may be asked
    twice. An engine that breaks again and again is reported.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(ConnectionLost):
            return call_once(verb, **arguments)
    return call_once(verb, **arguments)


def call_once(verb: str, **arguments: Any) -> Any:
    """As `call`, but a connection that breaks is reported with `ConnectionLost`."""
    with _connection(_overdue_after(verb, arguments)) as client:
        return client.call(verb, **arguments)


def _overdue_after(verb: str, arguments: Message) -> float | None:
    """Seconds after which an answer is overdue; None if it may come at any time."""
    if verb not in _WAITING:
        return _ANSWERS_WITHIN
    timeout = arguments.get("timeout")
    return None if timeout is None else timeout + _GRACE


@contextlib.contextmanager
def _connection(within: float | None) -> Generator[Client, None, None]:
    key = (os.getpid(), data_dir())
    client = _connections.open.pop(key, None)
    if client is not None and client.hung_up:
        client.close()
        client = None
    client = client or connect(start=True, within=within)
    try:
        yield client
    except BaseException:  # Ctrl-C too: the answer may still come, so it is not kept
        client.close()
        raise
    _connections.open[key] = client


def connect(*, start: bool, within: float | None = None) -> Client:
    """Open a connection to the engine of the configured data folder.

    Raises `EngineUnavailable` if there is none and `start` is false, if it cannot be started, or
    if it does not answer soon, or not `within` so many seconds.
    """
    folder = data_dir()
    within = _ANSWERS_WITHIN if within is None else min(within, _ANSWERS_WITHIN)
    client = _reach(folder, within)
    if client is not None and (not start or _same_version(client, within)):
        return client
    if not start:
        raise EngineUnavailable(
            address=str(folder), reason="none runs there", advice="Start one with `qcov start`."
        )
    with _starting(folder):
        client = _reach(folder, within)  # another program may have started it in the meantime
        if client is None or not _same_version(client, within):
            _spawn(folder)
            client = _reach(folder, within)
    if client is None:
        raise ConnectionLost(
            address=str(folder), reason="it ended as soon as it began", advice=_see_log(folder)
        )
    return client


def announcement(folder: Path) -> Message | None:
    """What the engine of a data folder says about itself; None if there is none."""
    try:
        said = json.loads((folder / "engine.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except PermissionError as error:
        raise _foreign(folder, error) from error
    return cast("Message", said) if isinstance(said, dict) and "socket" in said else None


def _reach(folder: Path, within: float) -> Client | None:
    about = announcement(folder)
    if about is None:
        return None
    sock = socket.socket(socket.AF_UNIX)
    try:
        _connect(sock, about["socket"], within)
    except (ConnectionError, FileNotFoundError):  # it was killed and could not tidy up
        sock.close()
        return None
    except BlockingIOError as error:  # it has not let anybody in for so long
        sock.close()
        raise _overdue(folder) from error
    except PermissionError as error:
        sock.close()
        raise _foreign(folder, error) from error
    if not is_ours(sock):
        sock.close()
        raise EngineUnavailable(
            address=str(folder),
            reason=f"the process behind {about['socket']} belongs to another user",
            advice=f"Remove {folder / 'engine.json'}.",
        )
    return Client(sock, folder)


def _connect(sock: socket.socket, path: str, within: float) -> None:
    """Connect once there is room among those that wait, which Python's own limit does not await."""
    sock.settimeout(None)  # a program may have set another default
    _limit_sending(sock, within)
    sock.connect(path)
    _limit_sending(sock, 0.0)  # none


def _limit_sending(sock: socket.socket, seconds: float) -> None:
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _foreign(folder: Path, error: OSError) -> StoreUnavailable:
    reason = error.strerror or str(error)
    advice = "It belongs to another user: set QCOV_DATA_DIR to a folder of yours."
    return StoreUnavailable(path=str(folder), reason=reason, advice=advice)


def _overdue(folder: Path) -> EngineUnavailable:
    """Its answer has not come in time: because it was paused, or because it is busy."""
    pid = _pid(folder)
    if not _is_paused(pid):
        return EngineUnavailable(
            address=str(folder),
            reason=f"process {pid} is busy, and has not answered in time",
            advice="Ask again, or allow more time: nothing that it has acknowledged is lost.",
        )
    return EngineUnavailable(
        address=str(folder),
        reason=f"process {pid} does not answer, it was paused",
        advice=f"Let it go on (`kill -CONT {pid}`), or end it (`kill -9 {pid}`): nothing that it "
        "has acknowledged is lost.",
    )


def _pid(folder: Path) -> int | None:
    return (announcement(folder) or {}).get("pid")


def _is_paused(pid: int | None) -> bool:
    """True for a process that was stopped (SIGSTOP, Ctrl-Z); false if that cannot be known."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:  # not Linux, or it has ended
        asked = ["ps", "-o", "state=", "-p", str(pid)]
        try:
            state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        except OSError:
            return False
    return state.strip().upper().startswith("T")


def _same_version(client: Client, within: float) -> bool:
    """False if the engine is of another version and has made room for ours."""
    about = client.ping(within)
    if about["protocol"] == PROTOCOL and about["version"] == __version__:
        return True
    if client.call("leave"):
        return False
    raise EngineUnavailable(
        address=str(client.folder),
        reason=f"an engine of qcov {about['version']} (process {about['pid']}) is at work there, "
        f"this is {__version__}",
        advice="Let its dispatches end, or stop it with `qcov stop`.",
    )


@contextlib.contextmanager
def _starting(folder: Path) -> Generator[None, None, None]:
    """One program at a time starts the engine of a folder; others wait for it."""
    from qcov.store.folder import prepare_folder

    prepare_folder(folder, get_config("workflow_data.db_url"))
    with private_file.touch(folder / "start.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _spawn(folder: Path) -> None:
    """Start the engine process; return once it can be reached, or raise what it says."""
    log = folder / "engine.log"
    receiving, sending = os.pipe()
    with open(log, "ab", opener=_private) as output:
        began = subprocess.Popen(
            [
                *(sys.executable, "-P", "-c", _BOOT, _ROOT),
                *("--folder", str(folder), "--ready", str(sending)),
                *("--workers", str(get_config("engine.workers") or os.cpu_count() or 1)),
                *("--idle-timeout", str(get_config("engine.idle_timeout"))),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[sending],
            start_new_session=True,  # it outlives this program, and its Ctrl-C
            cwd=folder,
            env={**_engine_variables(), "QCOV_DATA_DIR": str(folder)},
        )
    os.close(sending)
    with os.fdopen(receiving, encoding="utf-8") as pipe:
        said = pipe.read()
    began.wait()
    if not said:  # it was killed, perhaps: worth another try
        raise ConnectionLost(
            address=str(folder), reason="it could not be started", advice=_see_log(folder)
        )
    answer = json.loads(said)
    if "error" in answer:
        raise unpack_error(answer["error"])


def _engine_variables() -> dict[str, str]:
    """What the engine itself needs of this program's variables.

    It outlives the program and runs the electrons of others, so it gets no tokens; how to reach
    PostgreSQL and payloads in a bucket it must know.
    """
    kept = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ", "VIRTUAL_ENV")
    prefixes = ("LC_", "LD_", "DYLD_", "PYTHON", "PYENV", "QCOV_", "XDG_", "OMP_", "COVERAGE", "PG")
    prefixes += variables_for(get_config("workflow_data.base_dir"))
    return {
        name: value
        for name, value in os.environ.items()
        if (name in kept or name.startswith(prefixes)) and name != "QCOV_TOKEN"
    }


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _see_log(folder: Path) -> str:
    return f"Its log is {folder / 'engine.log'}."

"""What is around an electron in its program, for workers of the same user on the same machine.

Variables may hold secrets, and an address does not say where a worker is: behind a tunnel all of
them are at 127.0.0.1. So nothing is sent. What is around an electron lies ready at a socket of the
file system, which only a process of this user and this machine can reach, and who runs the
electron comes for it. Machines may share the folder: what is sent says where the socket is and of
which machine it is.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from qcov.peer import is_ours
from qcov.wire import pack, unpack

_COMES = 30.0  #: seconds for all of it to come
_READS = 1 << 20
_PATH_LIMIT = 90  # bytes; systems take 104 at least
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # see proc_sys_kernel(5)


@contextlib.contextmanager
def offered(surroundings: Mapping[str, Any]) -> Generator[dict[str, str]]:
    """Have this ready for workers here; gives the place at which `fetched` finds it."""
    folder = _private_folder()
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "around"))
            listening.listen()
            over, told = socket.socketpair()
            giving = threading.Thread(
                target=_give, args=(listening, told, pack(surroundings)), daemon=True
            )
            giving.start()
            try:
                yield {"machine": _this_machine(), "path": str(folder / "around")}
            finally:
                over.sendall(b".")  # a process that was forked meanwhile may keep it open
                giving.join()
                over.close()
                told.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetched(place: Mapping[str, str]) -> dict[str, Any] | None:
    """What lies ready at a place; None on another machine, or for another user.

    Raises:
        ConnectionError: who had it ready is gone.
        TimeoutError: who has it ready does not answer.
    """
    if place["machine"] != _this_machine():  # its socket would refuse though its program is there
        return None
    path = place["path"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_COMES)
        try:
            sock.connect(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        if os.lstat(path).st_uid != os.geteuid() or not is_ours(sock):
            return None
        data = b""
        while part := sock.recv(_READS):
            data += part
    try:
        return unpack(data)
    except ValueError:
        raise ConnectionResetError("what is around an electron came in part only") from None


@functools.cache
def _this_machine() -> str:
    """What tells it from others that may see its files; the same in all of its containers."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        return socket.gethostname()


def _private_folder() -> Path:
    """With mode 0700, and a path that is short enough for a socket's."""
    short = len(os.fsencode(tempfile.gettempdir())) < _PATH_LIMIT - len("/qcov-xxxxxxxx/around")
    return Path(tempfile.mkdtemp(prefix="qcov-", dir=None if short else "/tmp"))  # noqa: S108


def _give(listening: socket.socket, told: socket.socket, data: bytes) -> None:
    """Give it to all that come, until told that it is over."""
    with selectors.DefaultSelector() as looks:
        for sock in (listening, told):
            looks.register(sock, selectors.EVENT_READ)
        while told not in {key.fileobj for key, _ in looks.select()}:
            with contextlib.suppress(OSError):  # it has hung up
                sock, _ = listening.accept()
                with sock:
                    sock.settimeout(_COMES)
                    sock.sendall(data)

"""What runs in a thread of the own cluster's workers: a zygote, until the engine needs it no more.

The engine says over its socket what the zygote is started with, so that nothing of it goes through
Dask. The zygote ends with this thread's process, and this task with the zygote.
"""

from __future__ import annotations

import os
import socket

from qcov.classical.engine.spawn import zygote_process
from qcov.wire import pack, unpack

_LENGTH = 4  # bytes that say how long what follows is


def hold(path: str, name: str) -> None:
    """Be a slot for electrons: returns when it is let go, or was not wanted.

    Raises:
        OSError: the engine could not be reached.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            raise OSError(f"the engine's socket {path} cannot be reached: {error}") from None
        try:
            sock.sendall(pack({"slot": name, "pid": os.getpid()}))
            # not a byte more is read: what follows is the zygote's
            length = int.from_bytes(_exactly(sock, _LENGTH), "big")
            asked = unpack(_exactly(sock, length))
        except (EOFError, ConnectionError):  # the engine, told of this end, knows whether it minds
            return
        zygote = zygote_process(asked["executable"], sock.fileno(), asked["variables"])
    zygote.wait()


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        data = sock.recv(count - len(found))
        if not data:
            raise EOFError
        found += data
    return found

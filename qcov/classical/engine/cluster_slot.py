"""What runs in a thread of the own cluster's workers: zygotes, until the engine needs them no more.

The engine says over its socket what zygotes are started with, so that nothing of it goes through
Dask, and sends the descriptor along by which it asks each. They end with this thread's process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from qcov.classical.engine.channel import Message
from qcov.classical.engine.spawn import zygote_process
from qcov.wire import Unpacker, pack

_AT_ONCE = 1 << 18  # bytes that are read


def hold(path: str, name: str) -> None:
    """Be a slot for electrons: returns when it is let go, or was not wanted.

    Raises:
        OSError: the engine could not be reached.
    """
    zygotes: list[subprocess.Popen[bytes]] = []
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            raise OSError(f"the engine's socket {path} cannot be reached: {error}") from None
        try:
            sock.sendall(pack({"slot": name, "pid": os.getpid()}))
            _serve(sock, zygotes)
        except ConnectionError:  # the engine, told of this end, knows whether it minds
            pass
    for zygote in zygotes:  # they end without the engine
        zygote.wait()


def _serve(sock: socket.socket, zygotes: list[subprocess.Popen[bytes]]) -> None:
    """Start what the engine asks for until it hangs up."""
    unpacker, descriptors = Unpacker(), list[int]()
    while True:
        data, came, _, _ = socket.recv_fds(sock, _AT_ONCE, 16)
        if not data:
            return
        for descriptor in came:  # they come with a message's first bytes
            os.set_inheritable(descriptor, False)  # to what else is started here
            descriptors.append(descriptor)
        for asked in unpacker.feed(data):
            zygotes[:] = [zygote for zygote in zygotes if zygote.poll() is None]
            zygotes += _started(asked, descriptors.pop(0))


def _started(asked: Message, descriptor: int) -> list[subprocess.Popen[bytes]]:
    """A zygote; none if it cannot be started, which the engine hears by its end of the channel."""
    try:
        return [zygote_process(asked["executable"], descriptor, asked["variables"])]
    except OSError as error:
        sys.stderr.write(f"qcov: {asked['executable']} could not be started: {error}\n")
        return []
    finally:
        os.close(descriptor)

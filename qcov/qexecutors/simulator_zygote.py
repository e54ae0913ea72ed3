"""The zygote of simulators: a clean process that has imported PennyLane, and forks workers.

It has never used what it imported, so that its children start within milliseconds and safely: a
fork of the user's own process hangs after JAX was used, and importing PennyLane anew costs each
worker seconds. It owns nothing but its children, and ends when its owner does.

On its socket come JSON messages of one line: `fork`, with the worker's end of a socket pair, is
answered with a process id, `end` with the exit code.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
import warnings
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)
_TICK = 0.005  # seconds


def main(descriptor: int) -> None:
    """Do what the owner asks until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    os.dup2(2, 1)  # what circuits print is not the owner's output
    control = socket.socket(fileno=descriptor)
    from qcov.qexecutors.simulator_worker import serve

    gc.collect()
    gc.freeze()  # what was imported stays, and children share it as long as nobody touches it
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 1)
        while data and not data.endswith(b"\n"):
            data += control.recv(1 << 20)
        if not data:  # the owner is gone
            os._exit(0)
        message = json.loads(data)
        if message["do"] == "end":
            answer = {"code": _end(message["pid"], message["grace"])}
        else:
            pid = _fork(control, descriptors[0], message, serve)
            answer = {"pid": pid}
            os.close(descriptors[0])
        control.sendall(json.dumps(answer).encode() + b"\n")


def _fork(control: socket.socket, descriptor: int, message: dict[str, Any], serve: Any) -> int:
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of any fork once it is imported
        pid = os.fork()
    if pid:
        return pid
    try:
        _die_with(parent)
        control.close()
        sys.path[:] = message["path"]
        serve(socket.socket(fileno=descriptor))
    except BaseException as error:  # noqa: BLE001  # a child must not go on where its parent was
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(1)


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends; elsewhere the closed socket does."""
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that was asked
        os._exit(1)


def _end(pid: int, grace: float) -> int:
    """Wait for a worker to end, then make it; its exit code."""
    until = time.monotonic() + grace
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_TICK)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))

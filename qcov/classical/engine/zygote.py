"""The zygote: a clean process that forks workers.

It has imported the heavy packages but never used them: forking after JAX or Torch have started
their threads hangs, and importing them anew in every worker costs seconds. It is single-threaded
and owns nothing but its children; when the engine is gone it ends, and they do.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import selectors
import signal
import socket
import sys
import warnings
from collections import deque
from typing import Any, NoReturn

from qcov.classical.engine.channel import BlockingChannel, Message
from qcov.classical.engine.imported import ImportedModules
from qcov.classical.files_read import FILES_READ
from qcov.classical.forked import OnlyParent

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Zygote:
    """Forks workers on request, and tells how they ended.

    Args:
        control: The engine's end of it is how it is asked.
        modules: What it has imported; workers look at that too.
    """

    def __init__(self, control: socket.socket, modules: ImportedModules) -> None:
        self._control = control
        self._modules = modules
        self._channel = BlockingChannel(control)
        self._descriptors: deque[int] = deque()
        self._workers: set[int] = set()
        self._ended, self._wake = os.pipe()
        for end in (self._ended, self._wake):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Do what the engine asks until it is gone."""
        # whoever is forked here, and lives on, must not hide the end of this process
        os.register_at_fork(after_in_child=self._control.close)
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._end())
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._control:
                    self._take()
                else:
                    os.read(self._ended, 4096)
                    self._reap()

    def _take(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 18, 16)
        except ConnectionError:
            data, descriptors = b"", list[int]()
        if not data:  # the engine is gone
            self._end()
        for descriptor in descriptors:  # they come with a message's first bytes
            os.set_inheritable(descriptor, False)  # to what electrons start
            self._descriptors.append(descriptor)
        for message in self._channel.unpack(data):
            if message["do"] == "preload":
                _preload(message["modules"])
                self._modules.note(None)
            else:
                self._fork(message, [self._descriptors.popleft() for _ in range(3)])

    def _fork(self, message: Message, descriptors: list[int]) -> None:
        me = os.getpid()
        with warnings.catch_warnings():
            # JAX warns of any fork once it is imported; it has not been used here.
            warnings.simplefilter("ignore")
            try:
                pid = os.fork()
            except OSError as error:  # no memory, or too many processes: those there are live on
                self._say_forked(message, descriptors, None, f"it could not be forked: {error}")
                return
        if pid == 0:
            self._become_worker(message, descriptors, me)
        self._workers.add(pid)
        _own_group(pid)  # both do it: the engine may stop the worker before it has come that far
        self._say_forked(message, descriptors, pid)

    def _say_forked(
        self, message: Message, descriptors: list[int], pid: int | None, error: str = ""
    ) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        about = {"worker": message["worker"], "pid": pid, "error": error}
        self._say({"did": "fork", **about})

    def _become_worker(self, message: Message, descriptors: list[int], parent: int) -> None:
        _own_group(0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:  # it died before that was asked
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._ended, self._wake):
            os.close(end)
        from qcov.classical.engine.worker import run_worker

        channel, *files = descriptors
        connected = BlockingChannel(socket.socket(fileno=channel))
        run_worker(connected, files, message["settings"], self._modules)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._workers.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            self._say({"did": "end", "pid": pid, "reason": _reason(code)})

    def _say(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except ConnectionError:  # the engine is gone
            self._end()

    def _end(self) -> NoReturn:
        """End with all workers, and with what their electrons have started."""
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        os._exit(0)


def _wake_up(_number: int, _frame: object) -> None:
    """Nothing: the byte that the signal writes wakes the loop."""


def _own_group(pid: int) -> None:
    """Give a worker a group of its own: what an electron starts is stopped with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.setpgid(pid, pid)


def _reason(code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}"
    name = signal.Signals(-code).name
    hint = ", which the system sends when memory runs out" if name == "SIGKILL" else ""
    return f"signal {name}{hint}"


def _preload(modules: list[str]) -> None:
    for name in modules:
        try:
            with OnlyParent():
                importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  # a broken package is reported by the electron that needs it
            sys.stderr.write(f"qcov: {name} could not be imported ahead of time: {error}\n")


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent ends.

    Only Linux can; elsewhere the closed socket does it, a little later.
    """
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, number)


def main(descriptor: int) -> None:
    """Run a zygote on this end of a socket pair."""
    die_with_parent(signal.SIGTERM)  # not SIGKILL: the workers' groups go with it
    modules = ImportedModules(FILES_READ)
    importlib.import_module("qcov.classical.engine.worker")  # every worker needs it: once
    # Nothing is doubted here: where a clock is wrong, that would never let a worker begin.
    modules.note(None)
    Zygote(socket.socket(fileno=descriptor), modules).serve()

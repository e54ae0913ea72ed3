"""The process that runs electrons beside a thread of a Dask worker; see `executors.dask_worker`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from qcov import records
from qcov.classical.engine.imported import ImportedModules
from qcov.classical.engine.streams import Streams
from qcov.classical.engine.telling import describe
from qcov.classical.files_read import FILES_READ
from qcov.classical.forked import OnlyParent
from qcov.classical.prepared import called
from qcov.context import Context, running
from qcov.records import collecting
from qcov.tracing import below
from qcov.transport import address, dumps, loads, shorten
from qcov.wire import Unpacker, pack

_READS = 1 << 20

Message = dict[str, Any]


class Child:
    """Runs the electrons that come over a socket.

    Args:
        sock: The way to the worker.
        streams: Where what electrons print goes.
        modules: What this process has imported.
    """

    def __init__(self, sock: socket.socket, streams: Streams, modules: ImportedModules) -> None:
        self._socket, self._streams, self._modules = sock, streams, modules
        self._asked: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._saying = threading.Lock()
        self._dispatch: object = None
        self._fresh = True
        self._before: tuple[dict[str, str], list[str]] | None = None

    def serve(self) -> None:
        """Run electrons until the worker is gone."""
        threading.Thread(target=self._listen, name="qcov-listen", daemon=True).start()
        while True:
            self._say(self._answer(self._asked.get()))

    def _say(self, message: Message) -> None:
        with self._saying:  # threads of an electron's may wait for dispatches
            self._socket.sendall(pack(message))

    def _listen(self) -> None:
        """Take what comes; without a worker there is nobody to run anything for."""
        unpacker = Unpacker()
        with contextlib.suppress(OSError):
            while data := self._socket.recv(_READS):
                for message in unpacker.feed(data):
                    self._asked.put(message)
        os.killpg(0, signal.SIGKILL)

    def _answer(self, asked: Message) -> Message:
        if self._outdated(asked["context"]):
            return {"did": "outdated"}
        self._fresh = False
        self._say({"did": "begun"})
        self._surround(asked["surroundings"])
        began = time.time_ns()
        with collecting() as sink:
            self._streams.begin()
            answer = _run(asked, lambda: self._say({"did": "waits", "name": asked["name"]}))
            printed = self._streams.take(final=True)
            circuits = sink.drain()
        self._modules.note(began)
        return {
            "reason": "",
            "value": None,
            "digest": None,
            "text": "",
            "stdout": printed["stdout"],
            "stderr": printed["stderr"],
            "circuits": circuits,
            **answer,
        }

    def _outdated(self, context: Mapping[str, Any] | None) -> bool:
        """True if what this process has imported was changed on disk since."""
        dispatch = context and context["dispatch_id"]
        if dispatch == self._dispatch:
            return False
        self._dispatch = dispatch
        return not self._fresh and self._modules.changed()

    def _surround(self, surroundings: Mapping[str, Any] | None) -> None:
        """Be where the program is, or as the worker was started; undo what others have changed."""
        if surroundings is None:
            if self._before is None:
                self._before = dict(os.environ), list(sys.path)
            variables, sys_path = self._before
        else:
            os.chdir(surroundings["cwd"])
            variables, sys_path = surroundings["variables"], surroundings["sys_path"]
        if os.environ != variables:
            os.environ.clear()
            os.environ.update(variables)
        sys.path[:] = sys_path


def _run(asked: Message, waits: Callable[[], None]) -> Message:
    """What came of an electron, but for what it has printed and its circuits."""
    try:
        function, args, kwargs = loads(asked["call"], digest=asked["digest"])
    except ImportError as error:
        missing = _missing(asked["modules"], error)
        return {"did": "refused", "reason": f"its workers cannot import {missing}"}
    except BaseException as error:  # noqa: BLE001  # loading runs the user's own code
        return {"did": "raised", "reason": describe(error)}
    context = Context(**asked["context"], waits=waits) if asked["context"] else None
    try:
        with contextlib.ExitStack() as around:
            if context is not None:
                around.enter_context(running(context))
                around.enter_context(below(context.traceparent))
            around.enter_context(OnlyParent())
            try:
                value = called(function, args, kwargs)
            finally:
                records.finish()
        blob = dumps(value, what=f"the value that electron {asked['electron']!r} returned")
    except BaseException as error:  # noqa: BLE001  # an electron may raise anything
        return {"did": "raised", "reason": describe(error)}
    return {"did": "returned", "value": blob, "digest": address(blob), "text": shorten(value)}


def _missing(modules: list[str], error: ImportError) -> str:
    """The packages that an electron refers to and that are not here."""
    names = {name.partition(".")[0] for name in modules}
    missing = {name for name in names if not _is_here(name)}
    if not missing and error.name:
        missing.add(error.name)
    return ", ".join(sorted(missing)) or str(error)


def _is_here(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def main() -> None:
    """Run electrons; the arguments are descriptors: the socket, and files for both streams."""
    number, *files = map(int, sys.argv[1:])
    sys.argv[1:] = []
    sock = socket.socket(fileno=number)
    sock.set_inheritable(False)
    Child(sock, Streams(*files), ImportedModules(FILES_READ)).serve()

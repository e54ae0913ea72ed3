"""The functions that a worker has been sent.

An engine sends each of them once, so their bytes stay. What was loaded from them stays for one
dispatch: a list or a counter that travels with a function would else go on from one to the next.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.transport import loads

_MUCH = 1 << 24  # bytes of functions that may wait for the garbage collector, which counts objects


class Functions:
    """The functions that a worker has been sent.

    Args:
        read: Gives the bytes with a digest, which are among these or where payloads are.
    """

    def __init__(self, read: Callable[[str, Mapping[str, bytes]], bytes]) -> None:
        self._read = read
        self._blobs: dict[str, bytes] = {}
        self._loaded: dict[str, Any] = {}
        self._size = 0  # of what was loaded since garbage was collected
        self.garbage = False  #: whether functions of earlier dispatches may still be there

    def keep(self, task: Message) -> None:
        """Keep what came with a task, even if that is given back or fails early."""
        digest: str = task.get("function", "")
        if digest in task["blobs"]:
            self._blobs[digest] = task["blobs"][digest]

    def begin(self) -> None:
        """What follows belongs to another dispatch."""
        self.garbage = self.garbage or bool(self._loaded)
        self._loaded = {}
        if self._size > _MUCH:  # too much to wait for a moment of rest
            self.collect()

    def collect(self) -> None:
        """Let go of functions that hold themselves, and of what they hold: processes, memory."""
        gc.collect()
        self._size, self.garbage = 0, False

    def __getitem__(self, digest: str) -> Callable[..., Any]:
        """The function with this digest, as this dispatch has left it."""
        if digest not in self._loaded:
            blob = self._read(digest, self._blobs)
            self._loaded[digest] = loads(blob, digest=digest)
            self._size += len(blob)
        return self._loaded[digest]

"""Requests to IBM's SDK, which is made for one thread and may wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from qcov.errors import TransientFailure

_T = TypeVar("_T")
_Queue: TypeAlias = "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]"


class Calls:
    """Makes calls one after the other in a thread of its own, and gives up those that hang.

    The SDK sets no time limit for answers. A call that takes too long is left to its thread, which
    does not keep the program from ending; another thread makes the next ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: _Queue | None = None

    def ask(self, call: Callable[[], _T], seconds: float) -> _T:
        """What a call gives.

        Raises:
            TimeoutError: It takes longer than `seconds`.
            TransientFailure: It was not made in this time, and never will be.
        """
        future: Future[_T] = Future()
        with self._lock:
            if self._queue is None:
                self._queue = _started()
            queue = self._queue
            queue.put((future, call))
        try:
            return future.result(seconds)
        except TimeoutError as error:
            if future.done():
                raise
            self._leave(queue)
            if future.cancel():  # nobody may make later what was given up
                reason = f"an earlier request has not been answered for {seconds:g} s"
                raise TransientFailure(reason, executor="IBM Quantum") from error
            raise

    def __del__(self) -> None:
        if self._queue is not None:
            self._queue.put(None)  # its thread would wait for ever

    def _leave(self, queue: _Queue) -> None:
        """Let a thread alone that hangs, with all that waits for it."""
        with self._lock:
            if self._queue is queue:
                self._queue = None
        queue.put(None)


def _started() -> _Queue:
    queue: _Queue = SimpleQueue()
    threading.Thread(target=_serve, args=(queue,), name="qcov-ibm", daemon=True).start()
    return queue


def _serve(queue: _Queue) -> None:
    while (item := queue.get()) is not None:
        future, call = item
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # whoever asked gets it
            future.set_exception(error)

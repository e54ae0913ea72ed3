"""The worker processes of a `Simulator`: which circuits run where, and again where one dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, cast

from qcov import transport
from qcov.errors import CircuitError, ExecutorOffline
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_wire import pack
from qcov.qexecutors.result_columns import Columns, unpack_results
from qcov.qexecutors.simulator_fork import ForkedWorker

_CHUNKS = 3  #: for each worker, so that none waits long for the slowest


class ProcessPool:
    """Runs batches on worker processes; what a worker that died left undone runs again.

    Args:
        workers: How many there are.
        setup: The blob of a `DeviceSetup`.
    """

    def __init__(self, workers: int, setup: bytes) -> None:
        self.workers = workers
        self.warm = threading.Event()  #: set when the first worker has answered
        self._setup = setup
        self._closed = False
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="qcov-simulator")
        self._idle: SimpleQueue[ForkedWorker | None] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)  # one that has not started yet

    def start(self) -> None:
        """Start the workers in the background."""
        nothing = pack(CircuitBatch(circuits=()))
        with suppress(RuntimeError):  # when the interpreter ends
            for _ in range(self.workers):
                self._threads.submit(self._ask, transport.dumps(nothing, what="nothing"))

    def run(self, batch: CircuitBatch) -> list[Any]:
        """Run all circuits; an exception stands where one failed."""
        size = len(batch.circuits)
        step = max(1, -(-size // (self.workers * _CHUNKS)))
        shares = [range(first, min(first + step, size)) for first in range(0, size, step)]
        running = [self._submit(partial(self._run, batch, share)) for share in shares]
        return [result for get in running for result in get()]

    def _submit(self, work: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
        try:
            return self._threads.submit(work).result
        except RuntimeError:
            if self._closed:
                raise
            return work  # when the interpreter ends, no thread starts any more

    def close(self) -> None:
        """End all workers, once they have done what they were asked."""
        self._closed = True
        self._threads.shutdown()
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()

    def _run(self, batch: CircuitBatch, share: Sequence[int]) -> list[Any]:
        """Run some circuits of a batch. Simulation changes nothing, so it can be done again."""
        try:
            return self._once(batch.only(share))
        except _WorkerDied:
            return [self._run_again(batch, index) for index in share]

    def _run_again(self, batch: CircuitBatch, index: int) -> Any:
        """Run a circuit by itself whose worker died once."""
        try:
            return self._once(batch.only([index]))[0]
        except _WorkerDied as died:
            return CircuitError(
                executor="Simulator",
                reason=f"its worker process died twice (exit code {died.code}) while it ran "
                f"circuit {index + 1} of {len(batch.circuits)}, {batch.circuits[index]!r}. "
                "Exit code -9 often means that memory ran out",
            )

    def _once(self, batch: CircuitBatch) -> list[Any]:
        reply = self._ask(transport.dumps(pack(batch), what="a batch of circuits"))
        return unpack_results(cast("Columns | list[Any]", transport.loads(reply)))

    def _ask(self, request: bytes) -> bytes:
        worker = self._idle.get()
        try:
            if worker is not None and not worker.is_alive():  # which no circuit of ours has done
                worker.close()
                worker = None
            worker = worker or _started(self._setup)
            reply = worker.ask(request)
        except (OSError, EOFError) as error:
            code = worker.close() if worker else None
            worker = None
            raise _WorkerDied(code) from error
        finally:
            self._idle.put(worker)
        self.warm.set()
        return reply


class _WorkerDied(Exception):
    """A worker ended in the midst of a request."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"the worker process ended with exit code {code}")
        self.code = code


def _started(setup: bytes) -> ForkedWorker:
    try:
        return ForkedWorker(setup)
    except (OSError, EOFError) as error:
        reason = f"its worker processes could not be started: {type(error).__name__}: {error}"
        raise ExecutorOffline(executor="Simulator", reason=reason) from error

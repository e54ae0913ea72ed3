"""Worker processes of `Simulator(parallel="process")`, seen from the process that owns them.

A worker is a small program of its own, started by a clean interpreter: never a fork of the user's
process (which hangs after JAX was used), and never a pool that imports `__main__` again (which
breaks unguarded scripts, standard input and notebooks). It talks over its standard input and
output and ends when its input does, so it cannot outlive its owner.
"""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, cast

from qcov import transport
from qcov.errors import CircuitError
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.simulator_worker import read_frame, write_frame

_GRACE = 2.0  # seconds that a worker gets to end by itself


class ProcessPool:
    """Runs batches on worker processes, one at a time on each; replaces a worker that died."""

    def __init__(self, workers: int, device: str, options: Mapping[str, Any]) -> None:
        self._setup = transport.dumps((device, dict(options)), what=f"the options of {device}")
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="qcov-simulator")
        self._share = max(1, (os.cpu_count() or 1) // workers)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(_Worker(self._setup, self._share))

    def submit(self, batch: CircuitBatch) -> Future[Sequence[Any]]:
        """Run a batch on the next worker that is free."""
        return self._threads.submit(self._run, batch)

    def close(self) -> None:
        """End all workers, once they have done what they were asked."""
        self._threads.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    def _run(self, batch: CircuitBatch) -> Sequence[Any]:
        request = transport.dumps(batch, what="a batch of circuits")
        worker = self._idle.get()
        try:
            reply = worker.ask(request)
        except (OSError, EOFError) as error:
            code = worker.close()
            worker = _Worker(self._setup, self._share)
            raise CircuitError(
                executor="Simulator",
                reason=f"its worker process ended with exit code {code}; a new one was started",
            ) from error
        finally:
            self._idle.put(worker)
        return cast("Sequence[Any]", transport.loads(reply))


class _Worker:
    """One worker process."""

    def __init__(self, setup: bytes, threads: int) -> None:
        environment = {
            "OMP_NUM_THREADS": str(threads),  # or all workers together crowd the cores
            **os.environ,
            "PYTHONPATH": os.pathsep.join(_search_path()),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qcov.qexecutors.simulator_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._setup: bytes | None = setup
        self._finalizer = weakref.finalize(self, _end, self._process)

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its reply."""
        sending, receiving = self._process.stdin, self._process.stdout
        if sending is None or receiving is None:
            raise EOFError
        if self._setup is not None:
            write_frame(sending, self._setup)
            self._setup = None
        write_frame(sending, request)
        return read_frame(receiving)

    def close(self) -> int:
        """End the process; its exit code."""
        self._finalizer()
        return self._process.returncode


def _search_path() -> list[str]:
    """Where this program imports from, with the folder that `""` stands for."""
    try:
        here = os.getcwd()  # noqa: PTH109  # as Python itself has it
    except FileNotFoundError:  # it was deleted: nothing can be imported from it
        return [entry for entry in sys.path if entry]
    return [entry or here for entry in sys.path]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

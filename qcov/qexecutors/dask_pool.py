"""Circuits on a Dask cluster.

A batch travels in the form of `qcov.qexecutors.pennylane_wire`, cut into pieces so that the workers
stay evenly busy. Workers keep their devices. Dask runs a piece again whose worker was lost.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

from qcov import transport
from qcov.errors import CircuitError, ExecutorOffline, InvalidSetting
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_wire import PackedBatch, pack
from qcov.qexecutors.result_columns import Columns, unpack_results
from qcov.qexecutors.simulator_worker import DeviceSetup, Workbench, pack_reply

_CHUNKS = 4  #: for each thread of the cluster
_EXECUTOR = "DaskQExecutor"


class DaskPool:
    """Runs batches on a Dask cluster.

    Args:
        cluster: A `distributed.Client`, or the address of a scheduler. None takes the client that
            the program has, and starts workers on this machine if it has none: once, for all
            pools of the process.
        setup: The blob of a `DeviceSetup`.
    """

    def __init__(self, cluster: Any, setup: bytes) -> None:
        self._distributed = _distributed()
        self._cluster = cluster
        self._setup = setup
        self._lock = threading.Lock()
        self._client: Any = None
        self._owned: Any = None  #: a client that `close` has to close

    def run(self, batch: CircuitBatch) -> list[Any]:
        """Run all circuits; an exception stands where one failed."""
        with self._connected() as client:
            size = len(batch.circuits)
            threads = sum(client.nthreads().values()) or 1
            step = max(1, size // (threads * _CHUNKS))
            shares = [range(first, min(first + step, size)) for first in range(0, size, step)]
            futures = [self._submit(client, batch.only(share)) for share in shares]
            results: list[Any] = []
            for share, future in zip(shares, futures, strict=True):
                results += self._collect(client, batch, share, future)
            return results

    def close(self) -> None:
        """Leave the cluster; end the workers that were started if nobody else uses them."""
        with self._lock:
            if self._owned is not None:
                self._owned.close()
            self._owned = self._client = None
        _started.leave(self)

    def _submit(self, client: Any, batch: CircuitBatch) -> Any:
        request = transport.dumps(pack(batch), what="a batch of circuits")
        return client.submit(run_batch, self._setup, request, pure=False)

    def _collect(
        self, client: Any, batch: CircuitBatch, share: Sequence[int], future: Any
    ) -> list[Any]:
        try:
            return unpack_results(cast("Columns | list[Any]", transport.loads(future.result())))
        except self._distributed.KilledWorker as died:
            if len(share) == 1:
                return [_killed(batch, share[0], died)]
        except (OSError, self._distributed.client.FutureCancelledError) as error:
            raise _offline(error) from error
        futures = [self._submit(client, batch.only([index])) for index in share]
        return [
            self._collect(client, batch, [index], single)[0]
            for index, single in zip(share, futures, strict=True)
        ]

    @contextmanager
    def _connected(self) -> Generator[Any, None, None]:
        """The client; a task of Dask's own steps aside while it waits for others."""
        if self._cluster is None and _is_task(self._distributed):
            with self._distributed.worker_client() as client:
                yield client
            return
        with self._lock:
            if self._client is None or self._client.status == "closed":
                self._client = self._connect()
        yield self._client

    def _connect(self) -> Any:
        if self._cluster is not None and not isinstance(self._cluster, str):
            if self._cluster.status == "closed":
                reason = "the client that it was given is closed"
                raise ExecutorOffline(executor=_EXECUTOR, reason=reason)
            return self._cluster
        try:
            if self._cluster is None:
                return self._of_the_program()
            client = self._distributed.Client(self._cluster, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise _offline(error) from error
        except ValueError as error:  # a protocol that nobody brings
            reason = f"{self._cluster!r} cannot be used: {error}"
            raise InvalidSetting(
                executor=_EXECUTOR, setting="scheduler_address", reason=reason
            ) from error
        self._owned = client
        return client

    def _of_the_program(self) -> Any:
        """The client that the program has, or else one of workers that are started."""
        with contextlib.suppress(ValueError):  # there is none
            return self._distributed.default_client()
        return _started.client(self, self._distributed)


class _Started:
    """Workers on this machine that this process has started, for all pools that have no others.

    An electron may make an executor each time that it runs, and close none: there is one cluster at
    most, which ends with the last pool that is closed, or with the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: WeakSet[DaskPool] = WeakSet()
        self._cluster: Any = None
        self._client: Any = None

    def client(self, user: DaskPool, distributed: Any) -> Any:
        """A client of them, started if need be."""
        with self._lock:
            self._users.add(user)
            if self._client is None or self._client.status == "closed":
                self._end()
                self._cluster = _start_cluster()
                self._client = distributed.Client(self._cluster, set_as_default=False)
            return self._client

    def leave(self, user: DaskPool) -> None:
        """A pool needs them no more."""
        with self._lock:
            self._users.discard(user)
            if not self._users:
                self._end()

    def _end(self) -> None:
        ending = (self._client, self._cluster)
        self._client = self._cluster = None
        for each in ending:
            if each is not None:
                each.close()


_started = _Started()


def _forget_parent() -> None:
    global _started
    _started = _Started()


os.register_at_fork(after_in_child=_forget_parent)


def _start_cluster() -> Any:
    """Start workers, which do not import the user's program again."""
    if not threading.main_thread().is_alive():  # they would outlive the program
        reason = "the program ends, and no Dask workers are started any more. Wait for results"
        raise ExecutorOffline(executor=_EXECUTOR, reason=reason)
    module = importlib.import_module("distributed.deploy.subprocess")
    with _own_programs_first():
        return module.SubprocessCluster(
            n_workers=len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1,
            threads_per_worker=1,
            dashboard_address=None,
        )


@contextmanager
def _own_programs_first() -> Generator[None, None, None]:
    """Let Dask find its `dask` command: before 2026 it looks on PATH, where ours need not be."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise InvalidSetting(
            executor=_EXECUTOR,
            setting="parallel='dask'",
            reason="needs Dask, which is not installed. Run: pip install 'qcov[dask]'",
        ) from error


def _is_task(distributed: Any) -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _offline(error: Exception) -> ExecutorOffline:
    reason = f"its Dask cluster cannot be reached: {type(error).__name__}: {error}"
    return ExecutorOffline(executor=_EXECUTOR, reason=reason)


def _killed(batch: CircuitBatch, index: int, died: Exception) -> CircuitError:
    circuit = batch.circuits[index]
    return CircuitError(
        executor=_EXECUTOR,
        reason=f"the Dask workers that ran circuit {index + 1} of {len(batch.circuits)}, "
        f"{circuit!r}, died one after the other ({died})",
    )


# -- what runs in a worker of the cluster ------------------------------------------------------


_benches = threading.local()


def run_batch(setup: bytes, request: bytes) -> bytes:
    """Run a packed batch on this thread's devices."""
    known = cast("dict[bytes, Workbench]", _benches.__dict__)
    bench = known.get(setup)  # pyright: ignore[reportArgumentType]
    if bench is None:
        bench = Workbench(cast("DeviceSetup", transport.loads(setup)))
        known[setup] = bench  # pyright: ignore[reportArgumentType]
    return pack_reply(bench.run(cast("PackedBatch", transport.loads(request))))

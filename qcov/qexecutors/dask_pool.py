"""Circuits on a Dask cluster.

A batch travels in the form of `qcov.qexecutors.pennylane_wire`, cut into pieces so that the workers
stay evenly busy. Workers keep their devices. Dask runs a piece again whose worker was lost.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

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
            the program has, and starts workers on this machine if it has none.
        setup: The blob of a `DeviceSetup`.
    """

    def __init__(self, cluster: Any, setup: bytes) -> None:
        self._distributed = _distributed()
        self._cluster = cluster
        self._setup = setup
        self._lock = threading.Lock()
        self._client: Any = None
        self._owned: list[Any] = []  #: what `close` has to close

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
        """Leave the cluster; end the workers that were started for it."""
        with self._lock:
            for owned in self._owned:
                owned.close()
            self._owned, self._client = [], None

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
        if self._cluster is None:
            try:
                return self._distributed.default_client()
            except ValueError:  # there is none
                pass
        try:
            address = self._cluster or self._start_cluster()
            client = self._distributed.Client(address, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise _offline(error) from error
        except ValueError as error:  # a protocol that nobody brings
            reason = f"{self._cluster!r} cannot be used: {error}"
            raise InvalidSetting(
                executor=_EXECUTOR, setting="scheduler_address", reason=reason
            ) from error
        self._owned.insert(0, client)
        return client

    def _start_cluster(self) -> Any:
        """Workers on this machine, which do not import the user's program again."""
        if not threading.main_thread().is_alive():  # they would outlive the program
            reason = "the program ends, and no Dask workers are started any more. Wait for results"
            raise ExecutorOffline(executor=_EXECUTOR, reason=reason)
        module = importlib.import_module("distributed.deploy.subprocess")
        with _own_programs_first():
            cluster = module.SubprocessCluster(
                n_workers=len(os.sched_getaffinity(0))
                if hasattr(os, "sched_getaffinity")
                else os.cpu_count() or 1,
                threads_per_worker=1,
                dashboard_address=None,
            )
        self._owned.append(cluster)
        return cluster


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

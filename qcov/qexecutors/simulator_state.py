"""What a `Simulator` holds in one process only: devices, threads, workers, what circuits cost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from weakref import WeakSet

from qcov import transport
from qcov.qexecutors.dask_pool import DaskPool
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.simulator_choice import Costs
from qcov.qexecutors.simulator_fork import seconds_to_start
from qcov.qexecutors.simulator_processes import ProcessPool
from qcov.qexecutors.simulator_worker import DeviceSetup


class LocalState:
    """What a Simulator holds in this process only: devices, threads, workers, measurements.

    A copy, a pickle or a forked child of it starts with nothing but the template.
    """

    def __init__(self, template: Any = None, client: Any = None) -> None:
        self.template = template  #: a device whose options new ones get
        self.client = client  #: the user's own client of a Dask cluster
        self.seeded: dict[Any, Any] = {}  #: devices with a seed, by wires: others share its numbers
        self.costs = Costs()
        self.forget()
        _alive.add(self)

    def forget(self) -> None:
        """Leave everything to the process that it belongs to."""
        self._lock = threading.Lock()
        self._devices = threading.local()
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPool | None = None
        self._dask: DaskPool | None = None
        self.can_fork = True  #: until it turns out that processes do not work here

    @property
    def seconds_to_start(self) -> float:
        """About how long it takes until worker processes can be used."""
        if self._processes is not None and self._processes.warm.is_set():
            return 0.0
        return seconds_to_start()

    def simulation(
        self, wires: int | tuple[Any, ...] | None, make: Callable[[Any], Any]
    ) -> Simulation:
        """This thread's simulation on `wires`; `make` makes its device."""
        known = cast("dict[Any, Simulation]", self._devices.__dict__)
        found = known.get(wires)
        if found is None:
            found = known[wires] = Simulation(make(wires))
        return found

    def threads(self, workers: int) -> ThreadPoolExecutor:
        """The threads, started on first use."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(workers, thread_name_prefix="qcov-simulator")
            return self._threads

    def processes(self, workers: int, device: str, options: Mapping[str, Any]) -> ProcessPool:
        """The processes, which start on first use."""
        with self._lock:
            if self._processes is None:
                self._processes = ProcessPool(workers, self._setup(device, options))
            return self._processes

    def dask(self, address: str | None, device: str, options: Mapping[str, Any]) -> DaskPool:
        """The workers of a Dask cluster, connected on first use."""
        with self._lock:
            if self._dask is None:
                self._dask = DaskPool(self.client or address, self._setup(device, options))
            return self._dask

    def _setup(self, device: str, options: Mapping[str, Any]) -> bytes:
        setup = DeviceSetup(device=device, options=dict(options), template=self.template)
        return transport.dumps(setup, what=f"the options of {device}")

    def close(self) -> None:
        """End threads and processes; they start again when they are needed."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown()
            for pool in (self._processes, self._dask):
                if pool is not None:
                    pool.close()
            self._threads = self._processes = self._dask = None

    def __reduce__(self) -> tuple[type[LocalState], tuple[Any, ...]]:
        return LocalState, (self.template,)

    def __deepcopy__(self, _memo: object) -> LocalState:
        return LocalState(self.template)

    def __copy__(self) -> LocalState:
        return LocalState(self.template, self.client)


_alive: WeakSet[LocalState] = WeakSet()


def _forget_parent() -> None:
    for local in _alive:
        local.forget()


os.register_at_fork(after_in_child=_forget_parent)

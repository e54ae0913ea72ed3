"""`Simulator` runs circuits on a PennyLane simulator: here, in threads, in processes, on Dask."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from concurrent.futures import Future
from copy import copy
from typing import Any, Literal, Self, cast

from pydantic import Field, PrivateAttr, field_validator

from qcov.context import get_context
from qcov.errors import (
    ExecutorOffline,
    InvalidSetting,
    SerializationError,
    UnknownDevice,
    suggest,
)
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, whole
from qcov.qexecutors.pennylane_broadcast import MERGED_UNTIL
from qcov.qexecutors.pennylane_identity import device_settings_of, device_versions
from qcov.qexecutors.pennylane_refusal import refusal_of
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.simulator_choice import Options, Way
from qcov.qexecutors.simulator_state import LocalState

#: Where no device is given: the one of the settings, or the class's default.
AS_CONFIGURED: Any = object()

Parallel = Literal["auto", "thread", "process", "dask", False] | None

#: Settings that what a `LocalState` holds was made from.
_OF_WHAT_RUNS = frozenset({"device", "device_options", "workers", "scheduler_address"})
_TOGETHER = ("device", "device_options", "parallel", "scheduler_address")
_PARALLEL = ("auto", "thread", "process", "dask", False, None)
_UP_TO_THE_QNODE = "are the QNode's: give them to its device, as in qml.device(name, wires=2)."
#: Dask's own protocols need a port; others it asks the extensions that bring them.
_ADDRESS = re.compile(
    r"((tcp|tls|ws|wss)://)?[^\s/]+:\d+(/\S*)?|(?!(tcp|tls|ws|wss):)[\w.+-]+://\S+"
)
#: From here on a circuit on default.qubit keeps NumPy busy long enough to gain from threads.
_THREADS_PAY_FROM = 16  # wires
#: How many circuits run to see what one costs, where one alone says little.
_SAMPLE = 64
#: Up to here several states at a time fit into the memory of most machines.
_SEVERAL_FIT_UNTIL = 24  # wires


class Simulator(BaseQExecutor):
    """Runs circuits on a PennyLane simulator.

    Args:
        device: The name of a PennyLane device.
        parallel: "thread", "process", "dask", or False for one circuit after the other. "auto"
            measures what circuits cost, and uses threads or processes where a batch is done sooner
            with them; circuits with shots it runs one after the other, so that seeds hold. With a
            `seed`, those run so in this process by all settings.
        workers: How many threads or processes; as many as there are cores by default, and within
            an electron as many as it may use.
        scheduler_address: For "dask": where its scheduler is. By default the program's own Dask
            client is used; without one, workers are started on this machine.
        shots: 0 takes the QNode's own shots, None makes circuits analytic, a number overrides.
        device_options: Keywords for the device. They may also be given directly.

    Raises:
        UnknownDevice: No device has this name; the message lists those that exist.
        InvalidSetting: A setting does not exist or has a wrong value.

    Example:
        >>> Simulator("lightning.qubit", parallel="process", workers=2, batch_obs=True)
        Simulator(...device='lightning.qubit', parallel='process', workers=2, ...)
    """

    device: str = "default.qubit"
    parallel: Parallel = "auto"
    workers: int | None = None
    scheduler_address: str | None = None
    device_options: dict[str, Any] = Field(default_factory=dict[str, Any])

    _local: LocalState = PrivateAttr(default_factory=LocalState)

    @field_validator("device", mode="before")
    @classmethod
    def _exists(cls, device: object) -> str:
        if not isinstance(device, str):
            raise InvalidSetting(executor=cls.__name__, setting="device", reason=_no_name(device))
        if device not in adapter.known_devices():
            raise UnknownDevice(device=device, known=adapter.known_devices())
        return device

    @field_validator("parallel", mode="before")
    @classmethod
    def _is_a_way(cls, parallel: object) -> object:
        if not any(parallel is way or parallel == way != 0 for way in _PARALLEL):
            known = ", ".join(map(repr, _PARALLEL))
            raise InvalidSetting(
                executor=cls.__name__,
                setting=f"parallel={parallel!r}",
                reason=f"is not a way to run circuits. Known: {known}.",
            )
        return parallel

    @field_validator("workers", mode="before")
    @classmethod
    def _counts_workers(cls, workers: object) -> int | None:
        what = "None (one for each core) or a whole number above 0"
        return None if workers is None else whole(workers, 1, cls.__name__, "workers", what)

    @field_validator("scheduler_address", mode="before")
    @classmethod
    def _is_an_address(cls, address: object) -> str | None:
        if address is None or (isinstance(address, str) and _ADDRESS.fullmatch(address)):
            return address
        reason = f"must be an address such as 'tcp://10.0.0.1:8786', not {address!r}"
        raise InvalidSetting(executor=cls.__name__, setting="scheduler_address", reason=reason)

    def __init__(self, device: str = AS_CONFIGURED, **settings: Any) -> None:
        super().__init__(**settings if device is AS_CONFIGURED else {**settings, "device": device})

    @classmethod
    def as_fields(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as fields: what the device takes goes to `device_options`."""
        fields = {name: one.default for name, one in cls.model_fields.items()}
        device, way = (settings.get(name, fields[name]) for name in ("device", "parallel"))
        options = adapter.device_settings(cls._exists(device))
        if way != "dask" and settings.get("scheduler_address") is not None:
            reason = f"is for parallel='dask'; with parallel={way!r} it would have no effect"
            raise InvalidSetting(executor=cls.__name__, setting="scheduler_address", reason=reason)
        return super().as_fields(cls._with_options(options, settings))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _TOGETHER:  # what fits together, `__init__` says
            Simulator(**{one: getattr(self, one) for one in _TOGETHER} | {name: value})
        super().__setattr__(name, value)
        if name in _OF_WHAT_RUNS:  # devices and workers that stand were made for the old value
            template = None if name in ("device", "device_options") else self._local.template
            self._local = LocalState(template, self._local.client)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._local = copy(self._local)
        return copied

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return same if same is not True else _options_of(self) == _options_of(other)

    __hash__ = None  # its settings may change  # pyright: ignore[reportAssignmentType]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with devices, threads and processes of its own."""
        copied = super().model_copy(update=update, deep=deep)
        if update and update.keys() & {"device", "device_options"}:
            copied._local = LocalState(None, self._local.client)
        return copied

    @classmethod
    def on_device(cls, device: Any) -> Self:
        """A Simulator on devices with the same options as `device`."""
        simulator = cls(device.name)
        simulator._local.template = adapter.renew_device(device)
        return simulator

    @property
    def fills_circuits(self) -> bool:
        """It does, by whichever way circuits go."""
        return True

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch`; an exception stands where one failed."""
        if self._draws_in_order(batch):
            return self._run_here(batch)
        match self.parallel:
            case "auto":
                return self._where_it_is_fastest(batch)
            case "thread":
                return self._in_threads(batch)
            case "process":
                return self._in_processes(batch)
            case "dask":
                return self._on_dask(batch)
            case _:
                return self._run_here(batch)

    def derivative_device(self, wires: int | tuple[Any, ...] | None) -> Any | None:
        """This thread's device, unless circuits run in other processes or with other shots."""
        if self.parallel in ("process", "dask") or self.shots:
            return None
        if type(self).run_batch is not Simulator.run_batch:  # its results may be others
            return None
        return self._simulation(wires).device

    def refusal(self, circuit: Circuit) -> str | None:
        """Why the device cannot run `circuit` with this executor's shots; None if it can."""
        if self.shots != 0:
            circuit = adapter.with_shots(circuit, self.shots)
        return refusal_of(lambda: self._simulation(None).device, circuit)

    def estimate_cost(self, circuit: Circuit) -> float | None:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def cache_key(self) -> object | None:
        """The device, its options, and the versions of what simulates."""
        template = self._local.template
        settings = None if template is None else device_settings_of(template)
        return (self.device, self.device_options, settings, device_versions(self.device))

    def close(self) -> None:
        """End threads and processes, leave the Dask cluster; all starts again when it is needed."""
        self._local.close()

    @classmethod
    def _with_options(cls, own: Set[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Move what are settings of the device to `device_options`."""
        fields = cls.model_fields.keys() | {"type"}
        options = settings.get("device_options", {})
        if not isinstance(options, Mapping):
            return dict(settings)  # it is refused as any wrong value is
        direct = {name: value for name, value in settings.items() if name not in fields}
        options = {**cast("Mapping[str, Any]", options), **direct}
        for name in sorted(options.keys() - own):
            raise InvalidSetting(
                executor=cls.__name__,
                setting=repr(name),
                reason=_UP_TO_THE_QNODE
                if name == "wires"
                else "is not a setting, and not one of the device. "
                + suggest(name, cls.model_fields.keys() | own),
            )
        kept = {name: value for name, value in settings.items() if name in fields}
        return {**kept, "device_options": options}

    def _simulation(self, wires: int | tuple[Any, ...] | None) -> Simulation:
        return self._local.simulation(wires, self._new_device)

    def _new_device(self, wires: int | tuple[Any, ...] | None) -> Any:
        template = self._local.template
        if template is None or adapter.device_wires(template) != wires:
            template = adapter.make_device(self.device, wires, self.device_options)
            if self.device_options.get("seed") is None:
                return template
            # The devices of all threads draw from one generator, in the order of the circuits.
            template = self._local.seeded.setdefault(wires, template)
        return adapter.renew_device(template)

    def _draws_in_order(self, batch: CircuitBatch) -> bool:
        """Whether circuits draw one after the other from the numbers of one seed."""
        seeded = self.device_options.get("seed") is not None
        return seeded and any(circuit.shots for circuit in batch.circuits)

    def _count_workers(self) -> int:
        context = get_context()
        return self.workers or (context.cores if context else _cores())

    def _where_it_is_fastest(self, batch: CircuitBatch) -> list[Any]:
        size = len(batch.circuits)
        if size <= 1:
            return self._run_here(batch)
        workers, first = self._count_workers(), batch.circuits[0]
        wires = len(first.wires)
        if workers == 1 or first.shots or wires > _SEVERAL_FIT_UNTIL:
            return self._run_here(batch)
        kind = (self.device, wires, adapter.count_gates(first), len(first.measurements))
        results: list[Any] = []
        if not self._local.costs.known(kind):
            some = 1 if wires > MERGED_UNTIL else min(size, _SAMPLE)
            results = self._timed(kind, "here", batch.only(range(some)))
            batch = batch.only(range(some, size))
        return results + self._chosen(kind, batch, workers) if batch.circuits else results

    def _chosen(self, kind: Hashable, batch: CircuitBatch, workers: int) -> list[Any]:
        local, count = self._local, len(batch.circuits)
        options = Options(
            workers=workers,
            threads=self.device == "default.qubit"
            and len(batch.circuits[0].wires) >= _THREADS_PAY_FROM,
            processes=count > 1 and local.can_fork,
            start=local.seconds_to_start,
        )
        way = local.costs.choose(kind, count, options)
        try:
            if local.costs.should_start(kind, count, options):
                local.processes(workers, self.device, self.device_options).start()
            cold = way == "processes" and options.start > 0
            return self._in_processes(batch) if cold else self._timed(kind, way, batch)
        except (ExecutorOffline, SerializationError):  # processes do not work for this device
            local.can_fork = False
            return self._timed(kind, "here", batch)

    def _timed(self, kind: Hashable, way: Way, batch: CircuitBatch) -> list[Any]:
        run = {"here": self._run_here, "threads": self._in_threads, "processes": self._in_processes}
        started = time.perf_counter()
        results = run[way](batch)
        taken = time.perf_counter() - started
        self._local.costs.note(kind, way, taken / len(batch.circuits))
        return results

    def _in_threads(self, batch: CircuitBatch) -> list[Any]:
        workers = self._count_workers()
        if workers == 1 or len(batch.circuits) == 1:
            return self._run_here(batch)
        pool = self._local.threads(workers)
        return _spread(batch, workers, lambda part: pool.submit(self._run_here, part))

    def _run_here(self, batch: CircuitBatch) -> list[Any]:
        return self._simulation(batch.wires).run(batch)

    def _in_processes(self, batch: CircuitBatch) -> list[Any]:
        workers = self._count_workers()
        return self._local.processes(workers, self.device, self.device_options).run(batch)

    def _on_dask(self, batch: CircuitBatch) -> list[Any]:
        address = self.scheduler_address
        return self._local.dask(address, self.device, self.device_options).run(batch)


def _options_of(simulator: Any) -> object:
    """What the device that a Simulator was made like was made with."""
    template = simulator._local.template
    return None if template is None else repr(device_settings_of(template))


def _cores() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _no_name(device: object) -> str:
    """Why a device cannot be given, and what to give instead."""
    name = getattr(device, "name", None)
    if not isinstance(name, str):
        return f"must be the name of a PennyLane device, such as 'default.qubit', not {device!r}"
    return (
        f"must be a name, not the device {device!r}: a Simulator makes devices of its own. "
        f"Give {name!r}, with the device's options as keywords; the wires are the QNode's"
    )


def _spread(
    batch: CircuitBatch, workers: int, start: Callable[[CircuitBatch], Future[Sequence[Any]]]
) -> list[Any]:
    """Run every n-th circuit on each of n workers; put the results back in order."""
    size = len(batch.circuits)
    shares = [range(first, size, workers) for first in range(min(workers, size))]
    futures = [start(batch.only(share)) for share in shares]
    results: list[Any] = [None] * size
    for share, future in zip(shares, futures, strict=True):
        for index, result in zip(share, future.result(), strict=True):
            results[index] = result
    return results

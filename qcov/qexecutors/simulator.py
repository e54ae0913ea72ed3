"""`Simulator` runs circuits on a PennyLane simulator, here, in threads, or in processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Future
from typing import Any, Literal, Self, cast

from pydantic import Field, PrivateAttr, field_validator

from qcov.context import get_context
from qcov.errors import InvalidSetting, UnknownDevice, suggest
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, whole
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.pennylane_identity import device_settings_of, device_versions
from qcov.qexecutors.simulator_state import LocalState

_PARALLEL = ("auto", "thread", "process", False, None)
#: From here on a circuit on default.qubit keeps NumPy busy long enough to gain from threads.
_THREADS_PAY_FROM = 16  # wires


class Simulator(BaseQExecutor):
    """Runs circuits on a PennyLane simulator.

    Args:
        device: The name of a PennyLane device.
        parallel: "thread", "process", or False for one circuit after the other. "auto" uses
            threads where they pay: for large circuits on `default.qubit`. Lightning holds Python's
            lock while it computes, so only processes speed it up, and only from about 2 ms per
            circuit on.
        workers: How many threads or processes; as many as there are cores by default.
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
    parallel: Literal["auto", "thread", "process", False] | None = "auto"
    workers: int | None = None
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

    def __init__(self, device: str = "default.qubit", **settings: Any) -> None:
        options = adapter.device_settings(self._exists(device))
        super().__init__(device=device, **self._with_options(options, settings))

    @classmethod
    def on_device(cls, device: Any) -> Self:
        """A Simulator on devices with the same options as `device`."""
        simulator = cls(device.name)
        simulator._local.template = adapter.renew_device(device)
        return simulator

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch`; an exception stands where one failed."""
        if self.parallel == "process":
            return self._in_processes(batch)
        if len(batch.circuits) > 1 and self._uses_threads(batch):
            return self._in_threads(batch)
        return self._run_here(batch)

    def derivative_device(self, wires: int | tuple[Any, ...] | None) -> Any | None:
        """This thread's device, unless circuits run in other processes or with other shots."""
        if self.parallel == "process" or self.shots:
            return None
        return self._simulation(wires).device

    def cache_key(self) -> object | None:
        """The device, its options, and the versions of what simulates."""
        template = self._local.template
        settings = None if template is None else device_settings_of(template)
        return (self.device, self.device_options, settings, device_versions(self.device))

    def close(self) -> None:
        """End threads and processes; they start again when they are needed."""
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
                reason="is not a setting, and not one of the device. "
                + suggest(name, cls.model_fields.keys() | own),
            )
        kept = {name: value for name, value in settings.items() if name in fields}
        return {**kept, "device_options": options}

    def _simulation(self, wires: int | tuple[Any, ...] | None) -> Simulation:
        return self._local.simulation(wires, self._new_device)

    def _new_device(self, wires: int | tuple[Any, ...] | None) -> Any:
        template = self._local.template
        if template is not None and adapter.device_wires(template) == wires:
            return adapter.renew_device(template)
        return adapter.make_device(self.device, wires, self.device_options)

    def _count_workers(self) -> int:
        context = get_context()
        return self.workers or (context.cores if context else os.cpu_count() or 1)

    def _uses_threads(self, batch: CircuitBatch) -> bool:
        if self.parallel != "auto":
            return self.parallel == "thread"
        wires = len(batch.circuits[0].wires)
        return self.device == "default.qubit" and wires >= _THREADS_PAY_FROM

    def _in_threads(self, batch: CircuitBatch) -> list[Any]:
        workers = self._count_workers()
        if workers == 1:
            return self._run_here(batch)
        pool = self._local.threads(workers)
        return _spread(batch, workers, lambda part: pool.submit(self._run_here, part))

    def _run_here(self, batch: CircuitBatch) -> list[Any]:
        return self._simulation(batch.wires).run(batch)

    def _in_processes(self, batch: CircuitBatch) -> list[Any]:
        workers = self._count_workers()
        pool = self._local.processes(workers, self.device, self.device_options)
        return _spread(batch, workers, pool.submit)


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

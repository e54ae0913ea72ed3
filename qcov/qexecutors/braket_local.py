"""`LocalBraketQubitExecutor` runs circuits on the simulators of Amazon Braket's SDK, here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from copy import copy
from importlib import metadata
from typing import Any, Self, cast

from pydantic import Field, PrivateAttr, field_validator

from qcov import transport
from qcov.errors import CircuitRejected, InvalidSetting, suggest
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, whole
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.pennylane_refusal import refusal_of
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.simulator_state import LocalState
from qcov.qexecutors.simulator_worker import DeviceSetup

_BACKENDS = ("default", "braket_sv", "braket_dm")
_NOT_FOR_GATES = (
    "simulates atoms under a Hamiltonian and runs no circuits of gates. For those there are "
    f"{', '.join(map(repr, _BACKENDS))}."
)
_OF_WHAT_RUNS = frozenset({"backend", "num_threads", "num_processes", "run_kwargs"})


class BraketSetup(DeviceSetup):
    """What worker processes need to make devices: here `device` is the name of a backend."""

    def make(self, wires: int | tuple[Any, ...] | None) -> Any:
        """A new device."""
        return _sdk("device").LocalBraketDevice(wires, backend=self.device, **self.options)


class BraketState(LocalState):
    """What a `LocalBraketQubitExecutor` holds in one process only."""

    def _setup(self, device: str, options: Mapping[str, Any]) -> bytes:
        setup = BraketSetup(device=device, options=dict(options))
        return transport.dumps(setup, what=f"the options of {device}")

    def __reduce__(self) -> tuple[type[BraketState], tuple[()]]:
        return BraketState, ()

    def __deepcopy__(self, _memo: object) -> BraketState:
        return BraketState()

    def __copy__(self) -> BraketState:
        return BraketState()


class LocalBraketQubitExecutor(BaseQExecutor):
    """Runs circuits on a local simulator of Amazon Braket: no account, no network.

    Args:
        backend: "braket_sv" or "default" for state vectors; "braket_dm" for density matrices, which
            run noise too. It may also be given as `device`.
        num_processes: How many worker processes share a batch. By default circuits run in this
            process, one after the other; the simulator keeps several cores busy from 10 qubits on.
        num_threads: The same, by the name that Covalent also had.
        shots: 0 takes the QNode's own shots, None makes circuits analytic, a number overrides.
        run_kwargs: What else the simulator takes: `batch_size`, how many gates "braket_sv"
            multiplies before it applies them.

    Raises:
        InvalidSetting: A setting does not exist or has a wrong value, or the SDK is not installed.

    Example:
        >>> LocalBraketQubitExecutor("braket_dm", shots=1000)
        LocalBraketQubitExecutor(shots=1000, ..., backend='braket_dm', ...)
    """

    backend: str = "default"
    num_processes: int | None = None
    num_threads: int | None = None
    run_kwargs: dict[str, Any] = Field(default_factory=dict[str, Any])

    _local: BraketState = PrivateAttr(default_factory=BraketState)

    def __init__(self, backend: str | None = None, **settings: Any) -> None:
        given = settings if backend is None else {**settings, "backend": backend}
        if "device" in given:
            device = given.pop("device")
            if given.setdefault("backend", device) != device:
                reason = f"is {backend!r}, and device, another name for it, {device!r}"
                raise self._wrong("backend", reason)
        super().__init__(**given)

    @classmethod
    def as_fields(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as fields: in `qcov.conf` a backend may be a device as well."""
        fields = super().as_fields(settings)
        if "device" in fields:
            fields.setdefault("backend", fields.pop("device"))
        return fields

    @field_validator("backend", mode="before")
    @classmethod
    def _runs_gates(cls, backend: object) -> str:
        if backend == "braket_ahs":
            raise cls._wrong("backend='braket_ahs'", _NOT_FOR_GATES)
        if not isinstance(backend, str) or backend not in _BACKENDS:
            advice = suggest(str(backend), _BACKENDS)
            raise cls._wrong(f"backend={backend!r}", f"is no local simulator. {advice}")
        return backend

    @field_validator("num_processes", "num_threads", mode="before")
    @classmethod
    def _counts_workers(cls, workers: object) -> int | None:
        what = "None (circuits run in this process) or a whole number above 0"
        return None if workers is None else whole(workers, 1, cls.__name__, "num_processes", what)

    @field_validator("run_kwargs", mode="before")
    @classmethod
    def _are_the_simulators(cls, options: object) -> dict[str, Any]:
        if not isinstance(options, Mapping):
            raise cls._wrong("run_kwargs", f"must be a dictionary, not {options!r}")
        given = cast("Mapping[str, Any]", options)
        for name in given.keys() - {"batch_size"}:
            raise cls._wrong(f"run_kwargs[{name!r}]", "is unknown to the simulator: batch_size is.")
        setting, what = "run_kwargs['batch_size']", "a whole number above 0"
        return {name: whole(size, 1, cls.__name__, setting, what) for name, size in given.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _OF_WHAT_RUNS:  # what stands was made for the old value
            self._local = BraketState()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._local = copy(self._local)
        return copied

    @classmethod
    def _wrong(cls, setting: str, reason: str) -> InvalidSetting:
        return InvalidSetting(executor=cls.__name__, setting=setting, reason=reason)

    @property
    def device(self) -> str:
        """The backend, by its other name."""
        return self.backend

    @device.setter
    def device(self, backend: str) -> None:
        self.backend = backend

    @property
    def fills_circuits(self) -> bool:
        """It does."""
        return True

    @property
    def capabilities(self) -> Capabilities:
        """Braket says how many qubits a simulator has; what it does not know is decomposed."""
        return Capabilities(wires=_sdk("device").most_qubits(self._simulator))

    def refusal(self, circuit: Circuit) -> str | None:
        """Why the simulator cannot run `circuit` with this executor's shots; None if it can."""
        if self.shots != 0:
            circuit = adapter.with_shots(circuit, self.shots)
        return super().refusal(circuit) or refusal_of(
            lambda: self._simulation(None).device, circuit
        )

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch`; an exception stands where one failed."""
        workers = self.num_processes or self.num_threads or 1
        if workers == 1 or len(batch.circuits) == 1:
            results = self._simulation(batch.wires).run(batch)
        else:
            results = self._local.processes(workers, self._simulator, self.run_kwargs).run(batch)
        return [self._refused(result) for result in results]

    def estimate_cost(self, circuit: Circuit) -> float | None:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def cache_key(self) -> object | None:
        """The simulator, and the versions of what simulates."""
        packages = ("pennylane", "amazon-braket-default-simulator")
        return (self._simulator, [metadata.version(package) for package in packages])

    def close(self) -> None:
        """End the worker processes; they start again when they are needed."""
        self._local.close()

    def _refused(self, result: Any) -> Any:
        """A result; what PennyLane says of a circuit that the simulator cannot run as our error."""
        if not isinstance(result, adapter.REFUSALS):
            return result
        rejected = CircuitRejected(executor=self.name, reason=result)
        rejected.__cause__ = result
        return rejected

    @property
    def _simulator(self) -> str:
        return "braket_sv" if self.backend == "default" else self.backend

    def _simulation(self, wires: int | tuple[Any, ...] | None) -> Simulation:
        setup = BraketSetup(device=self._simulator, options=self.run_kwargs)
        return self._local.simulation(wires, setup.make)


def _sdk(part: str) -> Any:
    """A module of ours that needs Braket's SDK."""
    try:
        return importlib.import_module(f"qcov.qexecutors.braket_local_{part}")
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            executor="LocalBraketQubitExecutor",
            setting="backend",
            reason="needs Amazon Braket's SDK, which is not installed. "
            "Run: pip install 'qcov[braket]'",
        ) from error

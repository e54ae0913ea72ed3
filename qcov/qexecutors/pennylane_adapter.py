"""All of PennyLane that executors need: what is private or untyped there gets a type here.

This adapter is the only place that touches PennyLane, and the only one where the type checker looks
away, for PennyLane ships no types. It lies where the layers need it: here what executors use, in
`qcov.quantum.pennylane_device` and `qcov.quantum.pennylane_qnode` what qelectrons are built on.

Importing it makes PennyLane's queuing safe under threads. PennyLane keeps the queues that record
operations in a list that all threads share, and `stop_recording` swaps that list without a lock:
two threads with devices and QNodes of their own lose gates, get each other's, or wait for ever.
Here each thread gets its own list.
"""

# pyright: basic

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, cast

import numpy as np
import pennylane
from pennylane.devices import Device, ExecutionConfig, MCMConfig
from pennylane.measurements import ExpectationMP, ProbabilityMP, Shots, StateMP, VarianceMP
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters
from pennylane.workflow._setup_transform_program import _setup_transform_program
from pennylane.workflow.resolution import _resolve_execution_config

from qcov.errors import CircuitError, UnknownDevice
from qcov.qexecutors.base import Circuit, CircuitBatch

qml: Any = pennylane

# -- queuing -----------------------------------------------------------------------------------


class _ThreadQueues(threading.local):
    """The stack of recording queues, one per thread; looks like the list that it replaces."""

    def __init__(self) -> None:
        self.stack: list[Any] = []

    def swap(self, stack: list[Any]) -> list[Any]:
        before, self.stack = self.stack, stack
        return before

    def append(self, queue: Any) -> None:
        self.stack.append(queue)

    def pop(self) -> Any:
        return self.stack.pop()

    def __len__(self) -> int:
        return len(self.stack)

    def __getitem__(self, index: int) -> Any:
        return self.stack[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stack)


class _NoLock:
    """Stands where PennyLane keeps one thread out while another one records."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _stop_recording(cls):  # noqa: ANN001, ANN202  # takes the place of PennyLane's own code
    before = cls._active_contexts.swap([])
    try:
        yield
    finally:
        cls._active_contexts.swap(before)


def isolate_queues() -> None:
    """Give every thread its own recording queues. Does nothing the second time."""
    if isinstance(QueuingManager._active_contexts, _ThreadQueues):
        return
    generator = inspect.unwrap(QueuingManager.__dict__["stop_recording"].__func__)
    if inspect.signature(generator).parameters.keys() != {"cls"} or generator.__closure__:
        raise CircuitError(executor="PennyLane", reason=_MOVED)
    cast("Any", QueuingManager)._active_contexts = _ThreadQueues()
    cast("Any", AnnotatedQueue)._lock = _NoLock()
    # Decorators made while PennyLane was imported hold this very function, so its code changes.
    generator.__code__ = _stop_recording.__code__
    check_queues()


def check_queues() -> None:
    """Raise `CircuitError` unless threads record apart from each other."""
    seen: list[bool] = []
    with AnnotatedQueue() as outer:
        with QueuingManager.stop_recording():
            qml.X(0)
        other = threading.Thread(target=lambda: seen.append(QueuingManager.recording()))
        other.start()
        other.join()
        qml.Z(0)
    if seen != [False] or len(outer.queue) != 1 or QueuingManager.recording():
        raise CircuitError(executor="PennyLane", reason=_MOVED)


_MOVED = (
    f"the queuing of PennyLane {qml.version()} works in a way that this qcov does not know, so "
    "circuits built in several threads would be wrong. Install a version that qcov supports"
)

isolate_queues()

# -- devices -----------------------------------------------------------------------------------


@cache
def known_devices() -> frozenset[str]:
    """The names of all PennyLane devices that are installed."""
    return frozenset(entry.name for entry in metadata.entry_points(group="pennylane.plugins"))


@cache
def device_settings(name: str) -> frozenset[str]:
    """The keywords that the device called `name` takes, besides its wires and shots."""
    (entry,) = metadata.entry_points(group="pennylane.plugins", name=name)
    return frozenset(inspect.signature(entry.load()).parameters) - {"wires", "shots"}


def make_device(
    name: str, wires: int | tuple[Any, ...] | None, options: Mapping[str, Any]
) -> Device:
    """A new device, for one thread."""
    if name not in known_devices():
        raise UnknownDevice(device=name, known=known_devices())
    return cast("Device", qml.device(name, wires=wires, **options))


def renew_device(device: Device) -> Device:
    """A device with the same options as `device`, and nothing of what it ran."""
    new: Any = copy.copy(device)
    new.tracker = qml.Tracker()
    new._shots = Shots(None)  # shots travel with the circuits
    if hasattr(new, "_statevector"):
        new._statevector = None  # lightning's memory: not picklable, and wrong if shared
    return new


def is_simulator(device: Device) -> bool:
    """Whether a device is a simulator of PennyLane's own, so that more like it can be made."""
    family = device.name.partition(".")[0]
    return device.name in known_devices() and family in _SIMULATORS


_SIMULATORS = frozenset({"default", "lightning", "null", "reference"})


def device_wires(device: Device) -> int | tuple[Any, ...] | None:
    """A device's wires in the form that `qml.device` takes; numbered ones cost lightning less."""
    if device.wires is None:
        return None
    labels = tuple(device.wires.labels)
    return len(labels) if labels == tuple(range(len(labels))) else labels


# -- circuits ----------------------------------------------------------------------------------


def total_shots(circuit: Circuit) -> int | None:
    """All shots of a circuit together; None if it is analytic."""
    return circuit.shots.total_shots


def with_shots(circuit: Circuit, shots: int | None) -> Circuit:
    """The same circuit with other shots."""
    return cast("Any", circuit).copy(shots=Shots(shots))


def with_numpy_parameters(circuit: Circuit) -> Circuit:
    """The same circuit with plain NumPy parameters."""
    (converted,), _ = cast("Any", convert_to_numpy_parameters)(circuit)
    return converted


def untraced(value: Any) -> Any:
    """Numbers without the derivatives that hang on them; None where JAX has no numbers yet."""
    if isinstance(value, list | tuple):
        return tuple([untraced(item) for item in value])
    if isinstance(value, dict):
        return value
    try:
        return qml.math.to_numpy(value)
    except Exception:  # noqa: BLE001  # every framework refuses in a way of its own
        return None


def untraced_circuit(circuit: Circuit) -> Circuit:
    """The same circuit with numbers only, so that keeping it keeps no trace alive."""
    try:
        return with_numpy_parameters(circuit)
    except Exception:  # noqa: BLE001  # every framework refuses in a way of its own
        values = cast("Any", circuit).get_parameters(trainable_only=False)
        empty = [np.full(np.shape(value), np.nan) for value in values]
        return cast("Any", circuit).bind_new_parameters(empty, list(range(len(values))))


def measures_midway(circuit: Circuit) -> bool:
    """Whether a circuit measures before its end."""
    return not _MIDWAY.isdisjoint(map(type, circuit.operations))


_MIDWAY = frozenset({qml.ops.MidMeasure, qml.ops.PauliMeasure})


# -- running -----------------------------------------------------------------------------------

_PLAIN_GATES = frozenset(
    {
        qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard, qml.S, qml.T, qml.SX, qml.RX, qml.RY,
        qml.RZ, qml.PhaseShift, qml.Rot, qml.U1, qml.U2, qml.U3, qml.CNOT, qml.CY, qml.CZ, qml.CH,
        qml.SWAP, qml.CRX, qml.CRY, qml.CRZ, qml.ControlledPhaseShift, qml.Toffoli, qml.CSWAP,
        qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.SingleExcitation, qml.DoubleExcitation,
        qml.BasisState,
    }
)  # fmt: skip
_PLAIN_OBSERVABLES = frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard})
_COMPOSITES = (qml.ops.Prod, qml.ops.Sum, qml.ops.SProd)
_PLAIN_MEASUREMENTS = frozenset({ExpectationMP, VarianceMP, ProbabilityMP, StateMP})
_MAX_PLANS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How circuits of one structure run on one device."""

    config: ExecutionConfig
    pipeline: Any  #: the device's preprocessing; None where it changes nothing


class Simulation:
    """A device that belongs to one thread, and what was learnt of the circuits it ran.

    PennyLane resolves the same configuration and rewrites the same circuit again on every call.
    Here that is done once for each structure that is made of plain gates and observables only.
    """

    def __init__(self, device: Device) -> None:
        self.device: Any = device
        self._plans: dict[Hashable, _Plan] = {}
        self._observables: dict[int, tuple[Any, Hashable]] = {}
        self._takes_tensors = device.name == "default.qubit"

    def run(self, batch: CircuitBatch) -> list[Any]:
        """Run circuits; an exception stands where one failed."""
        groups: dict[Hashable, list[int]] = {}
        for index, circuit in enumerate(batch.circuits):
            groups.setdefault(self._structure(circuit) or ("other", index), []).append(index)
        results: list[Any] = [None] * len(batch.circuits)
        for structure, indices in groups.items():
            part = batch.only(indices) if len(groups) > 1 else batch
            for index, result in zip(indices, self._run_alike(structure, part), strict=True):
                results[index] = result
        return results

    def _run_alike(self, structure: Hashable, batch: CircuitBatch) -> Sequence[Any]:
        try:
            return self._execute(structure, batch)
        except Exception as error:  # noqa: BLE001  # it becomes the circuit's result
            if len(batch.circuits) == 1:
                return [error]
        singles = (batch.only([index]) for index in range(len(batch.circuits)))
        return [self._run_alike(structure, single)[0] for single in singles]

    def _execute(self, structure: Hashable, batch: CircuitBatch) -> Sequence[Any]:
        circuits: Sequence[Any] = batch.circuits
        if not self._takes_tensors:
            circuits = [_unwrapped(circuit) for circuit in circuits]
        plan = self._plan(structure, circuits, batch)
        if plan.pipeline is None:
            return self.device.execute(circuits, plan.config)
        circuits, finish = plan.pipeline(circuits)
        return finish(self.device.execute(circuits, plan.config))

    def _plan(self, structure: Hashable, circuits: Sequence[Any], batch: CircuitBatch) -> _Plan:
        key = (structure, batch.mcm_method, batch.postselect_mode)
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        config = ExecutionConfig(
            interface=qml.math.Interface.NUMPY,
            gradient_method=None,
            mcm_config=MCMConfig(
                mcm_method=batch.mcm_method, postselect_mode=batch.postselect_mode
            ),
        )
        config = _resolve_execution_config(config, self.device, circuits)
        _, pipeline = _setup_transform_program(self.device, config, None, 0)
        if not _is_plain(structure):
            return _Plan(config=config, pipeline=pipeline)
        plan = _Plan(
            config=config, pipeline=None if _changes_nothing(pipeline, circuits[0]) else pipeline
        )
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _structure(self, circuit: Circuit) -> Hashable | None:
        """What decides how the device prepares a circuit; None if more than that may decide."""
        key: list[Hashable] = [circuit.shots]
        for operation in circuit.operations:
            if type(operation) not in _PLAIN_GATES:
                return None
            shapes = tuple([getattr(value, "shape", ()) for value in operation.data])
            key.append((type(operation), _labels(operation), shapes))
        for measurement in circuit.measurements:
            if type(measurement) not in _PLAIN_MEASUREMENTS or measurement.mv is not None:
                return None
            observable = self._observable(measurement.obs)
            if observable is None or measurement._eigvals is not None:
                return None
            key.append((type(measurement), measurement.wires.labels, observable))
        return tuple(key)

    def _observable(self, observable: Any) -> Hashable | None:
        if observable is None:
            return ()
        kind = type(observable)
        if kind in _PLAIN_OBSERVABLES:
            return (kind, observable.wires.labels)
        if not isinstance(observable, _COMPOSITES):
            return None
        known = self._observables.get(id(observable))
        if known is not None:
            return known[1]
        parts = observable.operands if hasattr(observable, "operands") else (observable.base,)
        keys = tuple(self._observable(part) for part in parts)
        key = None if None in keys else (kind, keys)
        if len(self._observables) >= _MAX_PLANS:
            self._observables.clear()
        self._observables[id(observable)] = (observable, key)  # kept, so that the id stays its own
        return key


def _labels(operation: Any) -> Hashable:
    """An operation's wires; a controlled one would put them together anew each time."""
    parts = operation.hyperparameters
    if "control_wires" in parts:
        return parts["control_wires"].labels, parts["base"].wires.labels
    return operation.wires.labels


def _is_plain(structure: Hashable) -> bool:
    return not (isinstance(structure, tuple) and structure[0] == "other")


def _changes_nothing(pipeline: Any, circuit: QuantumScript) -> bool:
    circuits, _ = pipeline((circuit,))
    if len(circuits) != 1:
        return False
    new = circuits[0]
    return (
        len(new.operations) == len(circuit.operations)
        and len(new.measurements) == len(circuit.measurements)
        and all(a is b for a, b in zip(new.operations, circuit.operations, strict=True))
        and all(a is b for a, b in zip(new.measurements, circuit.measurements, strict=True))
    )


def _unwrapped(circuit: Any) -> Any:
    if any(isinstance(value, qml.numpy.tensor) for op in circuit.operations for value in op.data):
        return with_numpy_parameters(circuit)
    return circuit

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
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from importlib import metadata
from typing import Any, cast

import numpy as np
import pennylane
from pennylane.devices import Device
from pennylane.exceptions import (
    DecompositionUndefinedError,
    DeviceError,
    QuantumFunctionError,
    WireError,
)
from pennylane.measurements import Shots
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane.transforms import convert_to_numpy_parameters

from qcov.errors import CircuitError, UnknownDevice
from qcov.qexecutors.base import Circuit
from qcov.qexecutors.pennylane_compact import CompactCircuit

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
    """Give every thread its own recording queues. Does nothing the second time.

    Raises:
        CircuitError: PennyLane's queuing is not the one that is replaced here.
    """
    try:
        if isinstance(QueuingManager._active_contexts, _ThreadQueues):
            return
        generator = inspect.unwrap(QueuingManager.__dict__["stop_recording"].__func__)
        known = inspect.signature(generator).parameters.keys() == {"cls"}
        if not known or generator.__closure__:
            raise CircuitError(executor="PennyLane", reason=_MOVED)
        cast("Any", QueuingManager)._active_contexts = _ThreadQueues()
        cast("Any", AnnotatedQueue)._lock = _NoLock()
        # Decorators made while PennyLane was imported hold this very function: its code changes.
        generator.__code__ = _stop_recording.__code__
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CircuitError(executor="PennyLane", reason=_MOVED) from error
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


def unrecorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the operations that `function` makes out of a circuit that is being built around it."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not QueuingManager.recording():
            return function(*args, **kwargs)
        with QueuingManager.stop_recording():
            return function(*args, **kwargs)

    return wrapper


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


#: What devices raise for circuits that they cannot run.
REFUSALS: tuple[type[Exception], ...] = (
    DecompositionUndefinedError,
    DeviceError,
    QuantumFunctionError,
    WireError,
)


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


def is_tensor(value: object) -> bool:
    """Whether a value is one of PennyLane's own arrays."""
    return isinstance(value, qml.numpy.tensor)


def as_tensor(value: Any, *, requires_grad: bool) -> Any:
    """A value as one of PennyLane's own arrays."""
    return qml.numpy.tensor(value, requires_grad=requires_grad)


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
        try:
            return cast("Any", circuit).bind_new_parameters(empty, list(range(len(values))))
        except Exception:  # noqa: BLE001  # PennyLane cannot for some, such as TrotterProduct
            return circuit


def count_gates(circuit: Circuit) -> int:
    """How many operations a circuit has."""
    compact = type(circuit) is CompactCircuit
    return len(circuit.structure.gates if compact else circuit.operations)


def measures_midway(circuit: Circuit) -> bool:
    """Whether a circuit measures before its end."""
    return type(circuit) is not CompactCircuit and not _MIDWAY.isdisjoint(
        map(type, circuit.operations)
    )


_MIDWAY = frozenset({qml.ops.MidMeasure, qml.ops.PauliMeasure})

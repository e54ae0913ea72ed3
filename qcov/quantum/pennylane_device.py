"""The device under every qelectron, as PennyLane wants a device to be.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pennylane.devices import Device, ExecutionConfig, LegacyDeviceFacade
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.measurements import ExpectationMP, VarianceMP
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline

from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.qexecutors.pennylane_compact import compacted
from qcov.qexecutors.pennylane_support import supports_derivatives
from qcov.quantum import pennylane_derivatives as derivatives

#: Methods by which a device differentiates, rather than PennyLane around it.
DEVICE_METHODS = ("best", "adjoint", "backprop", "device")


class BatchDevice(Device):
    """Looks like `original`, and hands batches to `run`.

    Whoever looks at it (`qml.specs`, `qml.draw`, transforms) finds the original's name, class and
    preprocessing. What runs circuits is `handing_over`: nothing is prepared there, for every
    executor prepares circuits for its own device.

    Derivatives are the executors' own where all of them can and the method is a device's.
    """

    executor: BaseQExecutor

    def __init__(self, original: Device) -> None:
        self.original = original
        self._diff_method: str | None = None  #: what this batch is run for, by name
        self._prepares = True
        self._was_watched = False  #: by `qml.snapshots`, at some time
        super().__init__(wires=original.wires)
        self._shots = original.shots  # set on the device itself, as PennyLane once did
        self.executor_wires = adapter.device_wires(original)

    def handing_over(self, diff_method: str | None) -> BatchDevice:
        """This device without any preparation, for a batch that is differentiated so."""
        hand = copy.copy(self)
        hand._prepares, hand._diff_method = False, diff_method
        return hand

    # -- looks -------------------------------------------------------------------------------

    @property
    def __class__(self) -> type:  # type: ignore[override]
        """The original's class: PennyLane asks what a device is an instance of."""
        legacy = isinstance(self.original, LegacyDeviceFacade)  # which is asked for more than that
        return type(self) if legacy else type(self.original)

    def __getattr__(self, name: str) -> Any:
        """What else the original has, such as its options."""
        if name.startswith("_") or "original" not in vars(self):
            raise AttributeError(name)
        return getattr(self.original, name)

    # What `qml.Tracker` is given, be it this device or the original one, sees what happens here.
    @property
    def tracker(self) -> Any:
        """The original device's tracker."""
        return self.original.tracker

    @tracker.setter
    def tracker(self, tracker: Any) -> None:
        if tracker is not self.original.tracker and hasattr(self, "executor_wires"):
            self.original.tracker = tracker

    @property
    def name(self) -> str:
        """The original device's name."""
        return self.original.name

    @property
    def _debugger(self) -> Any:
        """What `qml.snapshots` sets on the device that runs circuits, if there is only one."""
        return self._snapshot_device()._debugger

    @_debugger.setter
    def _debugger(self, debugger: Any) -> None:
        self._snapshot_device()._debugger = debugger
        self._was_watched = True

    def _snapshot_device(self) -> Any:
        devices = self.derivative_devices()
        if len(devices) != 1 or not hasattr(self.original, "_debugger"):
            raise AttributeError("_debugger")  # PennyLane runs a circuit per snapshot instead
        return devices[0]

    @property
    def takes_snapshots(self) -> bool:
        """Whether `qml.snapshots` looks at what runs now."""
        # Every call asks, and most devices are never looked at.
        return self._was_watched and getattr(self, "_debugger", None) is not None

    # -- for subclasses ----------------------------------------------------------------------

    def run(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> list[Any]:
        """Run circuits and wait for their results."""
        raise NotImplementedError

    def remember(
        self,
        circuits: Sequence[Circuit],
        results: Sequence[Any],
        executor: BaseQExecutor,
        started: float,
    ) -> None:
        """File circuits that an executor's own device ran."""
        raise NotImplementedError

    def compacted(self, circuits: Sequence[Any]) -> Sequence[Any]:
        """Circuits in the form that costs least where none of the executors needs the gates."""
        if all(leaf.fills_circuits for leaf in self.executor.leaves()):
            return [compacted(circuit) for circuit in circuits]
        return circuits

    # -- results -----------------------------------------------------------------------------

    def is_original(self) -> bool:
        """Whether all executors run the original's kind of device, whose results stay as is."""
        name = self.original.name
        return all(getattr(leaf, "device", None) == name for leaf in self.executor.leaves())

    def as_original(self, results: Sequence[Any], circuits: Sequence[Any]) -> Sequence[Any]:
        """Give the results of another kind of device the types that the original gives."""
        if self.is_original():
            return results
        lightning = self.original.name.startswith("lightning")
        pairs = zip(results, circuits, strict=True)
        return [_like(lightning, result, circuit) for result, circuit in pairs]

    # -- derivatives -------------------------------------------------------------------------

    def derivative_devices(self) -> list[Any]:
        """This thread's devices of all executors; none if one of them cannot differentiate."""
        return derivatives.devices_of(self.executor, self.executor_wires)

    def differentiates(self, config: ExecutionConfig, circuits: Sequence[Any]) -> bool:
        """Whether the devices of all executors can differentiate circuits in this way."""
        devices = self.derivative_devices()
        return bool(devices) and all(
            supports_derivatives(device, config, circuit)
            for device in devices
            for circuit in circuits
        )

    def _settles(self, config: ExecutionConfig, circuit: Any) -> bool:
        own = DEVICE_METHODS if self._prepares else ("adjoint", "backprop")
        return config.gradient_method in own and self.differentiates(config, [circuit])

    # -- what PennyLane asks of a device -----------------------------------------------------

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """Take the choices of the device that differentiates, if one does."""
        config = config or ExecutionConfig()
        if self._settles(config, circuit):
            return self.derivative_devices()[0].setup_execution_config(config, circuit)
        if config.gradient_method == "best":
            config = replace(config, gradient_method=None)
        if self._prepares and config.gradient_method not in DEVICE_METHODS:
            return self.original.setup_execution_config(config, circuit)
        return config

    def preprocess_transforms(
        self, execution_config: ExecutionConfig | None = None
    ) -> CompilePipeline:
        """Prepare nothing, except for whoever looks and for devices that differentiate."""
        if execution_config is None:  # PennyLane asks so whether JAX may hand over batches
            return derivatives.pipeline_of(self.derivative_devices(), ExecutionConfig())
        config = execution_config
        if config.use_device_gradient or self.takes_snapshots:
            return derivatives.pipeline_of(self.derivative_devices(), config)
        if self._prepares:
            return self.original.preprocess_transforms(config)
        return CompilePipeline()

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether the method is a device's own and all executors have it."""
        if execution_config is None:
            return True
        if circuit is None and execution_config.gradient_method in DEVICE_METHODS:
            # While the QNode is made; what a circuit gets is decided when it is there.
            return self.original.supports_derivatives(execution_config) or self._settles(
                execution_config, circuit
            )
        return self._settles(execution_config, circuit)

    def supports_vjp(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether all executors multiply with Jacobians from the left."""
        return self._multiplies("supports_vjp", execution_config, circuit)

    def supports_jvp(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether all executors multiply with Jacobians from the right."""
        return self._multiplies("supports_jvp", execution_config, circuit)

    def _multiplies(self, question: str, config: Any, circuit: Any) -> bool:
        devices = self.derivative_devices()
        return bool(devices) and all(
            getattr(device, question)(config, circuit) for device in devices
        )

    def execute(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        """Run a batch."""
        config = execution_config or ExecutionConfig()
        if config.use_device_gradient or self.takes_snapshots:
            return self._on_executors("execute", circuits, (), config)
        mcm: Any = config.mcm_config
        circuits = self.compacted(circuits)
        results = self.run(circuits, mcm.mcm_method, mcm.postselect_mode)
        return tuple(self.as_original(results, circuits))

    def compute_derivatives(
        self, circuits: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Differentiate a batch."""
        return self._on_executors("compute_derivatives", circuits, (), execution_config)

    def execute_and_compute_derivatives(
        self, circuits: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Run a batch and differentiate it."""
        return self._on_executors("execute_and_compute_derivatives", circuits, (), execution_config)

    def compute_vjp(self, circuits: Any, cotangents: Any, execution_config: Any = None) -> Any:
        """Multiply Jacobians from the left."""
        return self._on_executors("compute_vjp", circuits, (cotangents,), execution_config)

    def execute_and_compute_vjp(
        self, circuits: Any, cotangents: Any, execution_config: Any = None
    ) -> Any:
        """Run a batch and multiply its Jacobians from the left."""
        method = "execute_and_compute_vjp"
        return self._on_executors(method, circuits, (cotangents,), execution_config)

    def compute_jvp(self, circuits: Any, tangents: Any, execution_config: Any = None) -> Any:
        """Multiply Jacobians from the right."""
        return self._on_executors("compute_jvp", circuits, (tangents,), execution_config)

    def execute_and_compute_jvp(
        self, circuits: Any, tangents: Any, execution_config: Any = None
    ) -> Any:
        """Run a batch and multiply its Jacobians from the right."""
        method = "execute_and_compute_jvp"
        return self._on_executors(method, circuits, (tangents,), execution_config)

    def _on_executors(
        self, method: str, circuits: Any, vectors: tuple[Any, ...], config: Any
    ) -> Any:
        """Call a method of the executors' own devices, each with its share of the circuits."""
        config = config or ExecutionConfig()
        traced = config.gradient_method == "backprop" or not config.use_device_gradient
        shares = derivatives.shares_of(self.executor, circuits, threads=not traced)

        def work(share: derivatives.Share) -> Any:
            return self._on_executor(method, share, circuits, vectors, config)

        answers = derivatives.run_shares(shares, work) if not traced else [*map(work, shares)]
        pairs = list(zip(shares, answers, strict=True))
        if not method.startswith("execute_and"):
            return _in_order([(share.indices, answer) for share, answer in pairs])
        first, second = zip(*answers, strict=True)
        return tuple(
            _in_order([(s.indices, answer) for s, answer in zip(shares, column, strict=True)])
            for column in (first, second)
        )

    def _on_executor(
        self,
        method: str,
        share: derivatives.Share,
        circuits: Any,
        vectors: tuple[Any, ...],
        config: Any,
    ) -> Any:
        started = time.time()
        mine = [circuits[index] for index in share.indices]
        some = [tuple([vector[index] for index in share.indices]) for vector in vectors]
        device = share.executor.derivative_device(self.executor_wires)
        first = self.derivative_devices()[0]
        its_config = derivatives.config_for(device, first, config, mine[0])
        share.executor.traffic.enter(len(mine))
        try:
            answer = getattr(device, method)(tuple(mine), *some, its_config)
        except Exception as error:
            self._remember_failure(mine, error, share.executor, started)
            raise
        finally:
            share.executor.traffic.leave(len(mine))
        if not method.startswith("execute"):
            return answer
        results = answer if method == "execute" else answer[0]
        if config.gradient_method != "backprop":  # whose results PennyLane's boundary takes
            results = tuple(self.as_original(results, mine))
        self.remember(
            [adapter.untraced_circuit(circuit) for circuit in mine],
            [adapter.untraced(result) for result in results],
            share.executor,
            started,
        )
        return results if method == "execute" else (results, answer[1])

    def _remember_failure(
        self, circuits: Sequence[Any], error: Exception, executor: BaseQExecutor, started: float
    ) -> None:
        plain = [adapter.untraced_circuit(circuit) for circuit in circuits]
        self.remember(plain, [error] * len(plain), executor, started)

    def __copy__(self) -> BatchDevice:
        return _restore(type(self), vars(self))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {**self.__dict__, "original": adapter.renew_device(self.original)}
        return _restore, (type(self), state)

    def __qcov_key__(self) -> object:
        """What keys of electrons that use it are made from."""
        _, (_, state) = self.__reduce__()
        return sorted(state.items())


# In place; as decorators they would hide the type.
single_tape_support(BatchDevice)
simulator_tracking(BatchDevice)


def _restore(cls: type[BatchDevice], state: Mapping[str, Any]) -> BatchDevice:
    device = cls.__new__(cls)
    vars(device).update(state)
    return device


def _in_order(parts: Sequence[tuple[Sequence[int], Sequence[Any]]]) -> tuple[Any, ...]:
    answers = {
        index: answer
        for indices, some in parts
        for index, answer in zip(indices, some, strict=True)
    }
    return tuple([answers[index] for index in range(len(answers))])


def _like(lightning: bool, result: Any, circuit: Any) -> Any:
    """Give a result PennyLane's usual types, or lightning's."""
    if circuit.shots:
        return result
    result = as_arrays(result)
    return _like_lightning(result, circuit.measurements) if lightning else result


def as_arrays(result: Any) -> Any:
    """Make Python's floats NumPy's: Torch would take the former for single precision."""
    if isinstance(result, float):
        return np.float64(result)
    if isinstance(result, tuple):
        return tuple([as_arrays(item) for item in result])
    return result


def _like_lightning(result: Any, measurements: Sequence[Any]) -> Any:
    """Lightning gives analytic expectation values and variances as Python's floats."""
    if len(measurements) == 1:
        plain = isinstance(measurements[0], ExpectationMP | VarianceMP) and np.ndim(result) == 0
        return float(result) if plain else result
    pairs = zip(result, measurements, strict=True)
    return tuple([_like_lightning(item, [measurement]) for item, measurement in pairs])
